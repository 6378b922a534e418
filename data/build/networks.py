"""Turn finished training runs into what travels with the package.

    python data/build/networks.py runs/zfnet --snapshots
    python data/build/networks.py runs/alexnet

For a run of `zfnb train NETWORK --data tiny-imagenet --out RUN` it writes

    data/weights/NETWORK-tiny-imagenet.safetensors  the network: filters and classifier in 8 bits,
                                                    layers 6 and 7 in 4 (zfnb.quantise)
    data/weights/NETWORK-epoch-NNN.safetensors      with --snapshots: its layers of filters as they
                                                    were after some epochs, in 8 bits (Fig. 4)
    data/results/training/NETWORK.json              how it was trained: command, commit, curves

What the fewer bits cost is measured with the errors, by `zfnb evaluate`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import zfnb
from zfnb.errors import ZfnbError
from zfnb.models import Network, build
from zfnb.paths import embedded
from zfnb.runs import read_json, read_log, write_json
from zfnb.weights import SNAPSHOTS, read_metadata, save_weights

THIN = 20  # one of so many steps is kept in the curves


def bits(net: Network) -> dict[str, int]:
    """8 for filters and the classifier, 4 for the hidden fully connected layers."""
    with_weights = [n for n in net.layer_names if n.startswith(("conv", "fc"))]
    return {name: 4 if name in ("fc6", "fc7") else 8 for name in with_weights}


def trunk(net: Network) -> Network:
    """The layers of filters alone."""
    cut = build(replace(net.description, fc=None), preprocessing=net.preprocessing)
    state = net.state_dict()
    cut.load_state_dict({key: state[key] for key in cut.state_dict()})
    return cut


def keep(source: Path, target: Path, name: str, cut: bool = False) -> None:
    """Pack a weights file of a run."""
    net = zfnb.load_model(name, weights=source)
    facts = {k: v for k, v in read_metadata(source).items() if k in FACTS}
    net = trunk(net) if cut else net
    save_weights(net, target, bits=bits(net), **facts)
    print(f"{target.name}: {target.stat().st_size / 1e6:.1f} MB")


FACTS = ("data", "recipe", "epochs", "seed", "commit")


def curves(run: Path) -> dict:
    """What is kept of a run's log."""
    facts, log = read_json(run / "run.json"), read_log(run)
    steps = [{key: line[key] for key in ("step", "lr", "loss")} for line in log["step"]]
    result = run / "result.json"
    return {
        "command": facts["command"],
        "code": facts["code"],
        "data": facts["data"],
        "settings": facts["settings"],
        "machine": facts["machine"],
        "started": facts["started"],
        "continued": facts.get("continued", []),
        "commits": commits(run, facts["settings"]["network"]),
        "result": read_json(result) if result.exists() else {},
        "epochs": log["epoch"],
        "steps": steps[THIN - 1 :: THIN],
    }


def commits(run: Path, name: str) -> list[str]:
    """Commits that a run which was interrupted went through, as its snapshots tell."""
    files = [*sorted((run / "snapshots").glob("epoch-*.safetensors")), run / f"{name}.safetensors"]
    return list(dict.fromkeys(read_metadata(file).get("commit", "") for file in files))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--snapshots", action="store_true", help="keep those of Fig. 4 too")
    parser.add_argument("--out", type=Path, default=embedded("data"), help="instead of data/")
    arguments = parser.parse_args()
    run, out = arguments.run, arguments.out
    try:
        facts = read_json(run / "run.json")
        name, data = facts["settings"]["network"], facts["settings"]["data"]
        weights = out / "weights"
        weights.mkdir(parents=True, exist_ok=True)
        keep(run / f"{name}.safetensors", weights / f"{name}-{data}.safetensors", name)
        if arguments.snapshots:
            last = facts["settings"]["recipe"]["epochs"]
            for epoch in SNAPSHOTS:
                source = run / "snapshots" / f"epoch-{epoch:03d}.safetensors"
                if epoch < last and source.exists():
                    target = weights / f"{name}-epoch-{epoch:03d}.safetensors"
                    keep(source, target, name, cut=True)
        path = out / "results" / "training" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = curves(run)
        write_json(path, kept)
        print(json.dumps(kept["result"]))
    except ZfnbError as error:
        raise SystemExit(f"networks.py: {error}") from None


if __name__ == "__main__":
    main()
