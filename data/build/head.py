"""Train the 200-class softmax on layer 5 of the ImageNet AlexNet trunk that travels with zfnb.

    python data/build/head.py --work FOLDER

Features of Tiny ImageNet's training pictures, enlarged to 224 pixels, go to FOLDER (1.5 GB a
view). The weight decay is chosen on 10 pictures of each class that are held out; then the
softmax is trained on all. It writes data/weights/alexnet-tiny-imagenet-head.safetensors (8 bits)
and data/results/training/head.json. Its errors are measured by `zfnb evaluate`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

import zfnb
from zfnb import heads
from zfnb.batches import cached, hold_out
from zfnb.errors import ZfnbError
from zfnb.evaluate import top_k_errors
from zfnb.paths import embedded
from zfnb.quantise import pack
from zfnb.runs import commit, machine, write_json
from zfnb.data.base import class_names
from zfnb.weights import PACKED
from zfnb.memory import keep_memory
from zfnb.winograd import use_winograd

LAYER = "pool5"
HELD = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the features")
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--decays", type=float, nargs="+", default=[1e-3, 3e-3, 1e-2])
    parser.add_argument("--out", type=Path, default=embedded("data"), help="instead of data/")
    arguments = parser.parse_args()
    keep_memory()
    began = time.perf_counter()
    arguments.work.mkdir(parents=True, exist_ok=True)
    train = zfnb.load_dataset("tiny-imagenet", "train")
    net = use_winograd(zfnb.load_model("torchvision-alexnet", weights="imagenet-trunk"))
    squares = cached(train, 64, arguments.work)
    features = heads.extract(
        net, squares, LAYER, arguments.work / "features.npy", arguments.views, progress=True
    )
    count = len(train.classes)
    learn, held = hold_out(train.targets, HELD)
    targets = torch.as_tensor(train.targets)
    tried = {}
    for decay in arguments.decays:
        head = heads.fit_softmax(
            features,
            targets,
            count,
            learn=learn,
            epochs=arguments.epochs,
            weight_decay=decay,
            dropout=0.0,
            progress=True,
        )
        errors = top_k_errors(heads.scores(head, features[0, held]), targets[held])
        tried[decay] = [errors[1], errors[5]]
        print(f"weight decay {decay:g}: held-out error {errors[1]:.2f} %, top-5 {errors[5]:.2f} %")
    best = min(tried, key=tried.get)
    head = heads.fit_softmax(
        features,
        targets,
        count,
        epochs=arguments.epochs,
        weight_decay=best,
        dropout=0.0,
        progress=True,
    )
    weights = arguments.out / "weights" / "alexnet-tiny-imagenet-head.safetensors"
    save_head(head, class_names(train), weights)
    facts = {
        "command": f"python data/build/head.py --work FOLDER --views {arguments.views} "
        f"--epochs {arguments.epochs} --decays {' '.join(f'{d:g}' for d in arguments.decays)}",
        "code": {"zfnb": zfnb.__version__, **commit()},
        "data": {"name": "tiny-imagenet", "training_pictures": len(train), "held_out": len(held)},
        "machine": machine(torch.device("cpu")),
        "layer": LAYER,
        "held_out_errors": {f"{decay:g}": errors for decay, errors in tried.items()},
        "weight_decay": best,
        "seconds": round(time.perf_counter() - began, 1),
    }
    results = arguments.out / "results" / "training" / "head.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    write_json(results, facts)


def save_head(head: torch.nn.Linear, classes: list[tuple[str, str]], path: Path) -> None:
    """The classifier alone; `load_model` puts it on the trunk."""
    import json

    from safetensors.torch import save_file

    from zfnb.files import replacing

    state = pack({"fc8.linear.weight": head.weight, "fc8.linear.bias": head.bias}, {"fc8": 8})
    state["fc8.linear.bias"] = state["fc8.linear.bias"].half()
    facts = {"network": "torchvision-alexnet", "format": PACKED, "classes": json.dumps(classes)}
    with replacing(path) as temporary:
        save_file(state, temporary, {**facts, "data": "tiny-imagenet"})


if __name__ == "__main__":
    try:
        main()
    except ZfnbError as error:
        raise SystemExit(f"head.py: {error}") from None
