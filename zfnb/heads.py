"""A softmax classifier on a layer of a trained network, whose own weights stay as they are.

This gives a trunk of filters classes of its own (here: ImageNet's AlexNet the 200 of Tiny ImageNet)
in minutes: every picture goes up the network once or a few times, the features are kept on disk,
and only the classifier is trained (Sec. 5.2 and 5.3 do the same with other datasets).

Shapes: N pictures, V views of each, D features, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from zfnb.batches import Augmentation, Squares, central, fetch, in_parts, seeded, training_inputs
from zfnb.errors import BadInput
from zfnb.files import replacing
from zfnb.models import Network, build, device_of, evaluating
from zfnb.recipes import cosine
from zfnb.weights import fingerprint

# Views beside the central crop: mild, since each picture gets few of them.
VIEWS = Augmentation("random", area=(0.6, 1.0), aspect=1.15, colour=0.1)


def extract(
    net: Network,
    squares: Squares,
    layer: str,
    path: Path,
    views: int = 1,
    seed: int = 0,
    batch: int = 128,
    progress: bool = False,
) -> np.ndarray:
    """Features of a layer for every picture, on disk.

    Parameters
    ----------
    net : Network
    squares : Squares
        Pictures as stored squares; `zfnb.batches.cached`.
    layer : str
    path : path of a .npy file
        Written view by view. If it was begun for the same network and layer and as many `views`,
        those that are there whole are not computed again; otherwise it is begun anew.
    views : int
        The first is the central crop, the others are random crops, flipped or not.

    Returns
    -------
    array (V, N, D) float16, mapped from the file
    """
    d = int(torch.Size(net.shapes[net.check_layer(layer)]).numel())
    shape, note = (views, len(squares), d), path.with_suffix(".views.json")
    made_of = {"network": fingerprint(net), "layer": layer, "seed": seed, "shape": list(shape)}
    first = views_done(path, note, made_of)
    if not first:  # an interruption must not leave a note beside the file that is begun anew
        note.unlink(missing_ok=True)
    found = np.lib.format.open_memmap(path, *(("r+",) if first else ("w+", np.float16, shape)))
    parts = list(in_parts(np.arange(len(squares)), batch))
    device = device_of(net)
    for view in range(first, views):
        loader = tqdm(fetch(squares, parts), f"view {view + 1}", len(parts), disable=not progress)
        for number, (places, pictures) in enumerate(zip(parts, loader, strict=True)):
            if view == 0:
                x = central(pictures, net.preprocessing)
            else:
                generator = torch.Generator().manual_seed(seeded("views", seed, view, number))
                x = training_inputs(pictures, net.preprocessing, VIEWS, generator)
            # Pools are faster with channels last.
            x = x.to(device).contiguous(memory_format=torch.channels_last)
            with evaluating(net):
                found[view, places] = net(x, to=layer).flatten(1).half().cpu().numpy()
        found.flush()
        with replacing(note) as temporary:
            temporary.write_text(json.dumps({**made_of, "views": view + 1}), encoding="utf-8")
    return found


def views_done(path: Path, note: Path, made_of: dict) -> int:
    """How many views a file of features holds, by the note beside it; 0 if of something else."""
    try:
        facts = json.loads(note.read_text(encoding="utf-8"))
        views = int(facts.pop("views"))
        whole = list(np.load(path, mmap_mode="r").shape) == made_of["shape"]
    except (OSError, ValueError, EOFError, KeyError, TypeError, AttributeError):
        return 0
    return views if whole and facts == made_of else 0


def fit_softmax(
    features: np.ndarray,
    targets: Sequence[int] | Tensor,
    classes: int,
    *,
    learn: np.ndarray | None = None,
    epochs: int = 8,
    batch: int = 256,
    lr: float = 0.1,
    weight_decay: float = 1e-3,
    dropout: float = 0.5,
    seed: int = 0,
    progress: bool = False,
) -> nn.Linear:
    """Multinomial logistic regression by stochastic gradient descent.

    Features are divided by their root mean square while learning, so that `lr` and `weight_decay`
    mean the same for every layer; the returned classifier takes them as they are.

    Parameters
    ----------
    features : array (V, N, D)
    targets : (N,) int
    classes : int
    learn : array of int, optional
        Pictures to learn from; all by default.
    epochs : int
        Over all views. The learning rate falls to 0 along a cosine.
    dropout : float
        Part of the features left out in each step.

    Returns
    -------
    nn.Linear (D to K)

    Raises
    ------
    BadInput
        If the numbers of features and targets differ, or there is nothing to learn from.
    """
    views, n, d = features.shape
    targets = torch.as_tensor(np.asarray(targets), dtype=torch.long)
    learn = np.arange(n) if learn is None else np.asarray(learn)
    if len(targets) != n:
        raise BadInput(
            f"There are features of {n} pictures but {len(targets)} targets; give one a picture."
        )
    if not len(learn):
        raise BadInput("There is no picture to learn from; give at least one.")
    generator = np.random.default_rng(seeded("head", seed))
    sample = features[0, np.sort(generator.choice(learn, min(512, len(learn)), replace=False))]
    scale = float(np.sqrt(np.square(sample.astype(np.float32)).mean())) or 1.0
    torch.manual_seed(seeded("head", seed))
    head = nn.Linear(d, classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.SGD(
        [
            {"params": [head.weight], "weight_decay": weight_decay},
            {"params": [head.bias], "weight_decay": 0.0},
        ],
        lr=lr / d**0.5,  # a step moves the outputs alike, however many features there are
        momentum=0.9,
        nesterov=True,
    )
    steps = max(1, len(learn) * views // batch)
    bar = tqdm(total=epochs * steps, desc="softmax", disable=not progress)
    for epoch in range(epochs):
        order = generator.permutation(len(learn) * views)
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            view, place = np.divmod(chosen, len(learn))
            x = torch.from_numpy(features[view, learn[place]]).float() / scale
            for group in optimizer.param_groups:
                group["lr"] = lr / d**0.5 * cosine((epoch * steps + step) / (epochs * steps), 0)
            logits = head(F.dropout(x, dropout))
            loss = F.cross_entropy(logits, targets[learn[place]])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            bar.update()
    bar.close()
    with torch.no_grad():
        head.weight /= scale
    return head.requires_grad_(False)


@torch.inference_mode()
def scores(head: nn.Linear, features: np.ndarray, batch: int = 1024) -> Tensor:
    """Logits (N, K) of features (N, D)."""
    rows = [features[part] for part in in_parts(np.arange(len(features)), batch)]
    return torch.cat([head(torch.from_numpy(row).float()) for row in rows]).clone()


def with_head(
    net: Network, head: nn.Linear, classes: Sequence[tuple[str, str]], weights: str = ""
) -> Network:
    """A network of `net`'s layers of filters and the classifier `head` on the last of them."""
    plain = build(
        replace(net.description, fc={}),
        head.out_features,
        preprocessing=net.preprocessing,
        classes=list(classes),
        weights=weights or net.weights,
    )
    state = {k: v for k, v in net.state_dict().items() if not k.startswith("fc")}
    state |= {"fc8.linear.weight": head.weight, "fc8.linear.bias": head.bias}
    plain.load_state_dict(state)
    return plain
