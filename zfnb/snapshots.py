"""The snapshots of a training run: a network as it was after some epochs (Sec. 4, Fig. 4).

`zfnb train` keeps them; those of one run travel with the package.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from zfnb.errors import BadInput, BadWeights, MissingData
from zfnb.models import Network
from zfnb.paths import embedded
from zfnb.runs import read_json, read_log
from zfnb.weights import EMBEDDED, fill, read_file, read_metadata

Nets = Mapping[int, Network]


def snapshots(
    run: str | os.PathLike | None = None, network: str = "zfnet", weights: str = "tiny-imagenet"
) -> dict[int, Network]:
    """A network as it was after some epochs of its training: its layers of filters, no classifier.

    Parameters
    ----------
    run : path, optional
        Folder of a run of ``zfnb train``, or its folder of snapshots. Without it, the run that
        travels with the package.
    network, weights : str
        Which of the embedded runs. The finished network is its last point.

    Returns
    -------
    dict {epoch: Network}
        From the first epoch to the last.

    Raises
    ------
    MissingData
        If the package has no such run, or there is no folder `run`.
    BadInput
        If the folder holds no snapshot, or snapshots of several networks.
    BadWeights
        If a file is damaged.
    """
    paths = _in_folder(Path(run).expanduser()) if run else _embedded(network, weights)
    nets = {epoch: _filters_only(paths[epoch], network) for epoch in sorted(paths)}
    check_alike(nets)
    return nets


def _in_folder(folder: Path) -> dict[int, Path]:
    if not folder.is_dir():
        raise MissingData(f"There is no folder {str(folder)!r}; give that of a finished run.")
    inside = folder / "snapshots"
    files = sorted((inside if inside.is_dir() else folder).glob("*.safetensors"))
    named = [(re.fullmatch(r"epoch-(\d+)", file.stem), file) for file in files]
    paths = {int(match[1]): file for match, file in named if match}
    if not paths:
        raise BadInput(
            f"{str(folder)!r} holds no snapshot (epoch-001.safetensors, ...); give the folder of a "
            "run of `zfnb train`."
        )
    return paths


def _embedded(network: str, weights: str) -> dict[int, Path]:
    files = {  # a network in several files has its filters in the first
        name: embedded("data", "weights", first)
        for (owner, name), (first, *_) in EMBEDDED.items()
        if owner == network
    }
    matches = [(re.fullmatch(rf"{re.escape(weights)}-epoch-(\d+)", name), name) for name in files]
    paths = {int(match[1]): files[name] for match, name in matches if match}
    if not paths or weights not in files:
        raise MissingData(
            f"No snapshots of {network} on {weights} travel with the package; train a network with "
            "`zfnb train` and give the folder of the run."
        )
    last = read_metadata(files[weights]).get("epochs", "")
    if not last.isdecimal():
        raise BadWeights(f"{files[weights].name} does not say after how many epochs it was saved.")
    earlier = {epoch: path for epoch, path in paths.items() if epoch < int(last)}
    return {**earlier, int(last): files[weights]}


def _filters_only(path: Path, network: str) -> Network:
    stored = read_file(path)
    state = {key: value for key, value in stored.state.items() if not key.startswith("fc")}
    trunk = replace(stored, state=state, classes=None)
    return fill(stored.network or network, trunk, 1000, {})


def check_alike(nets: Nets) -> None:
    """All must take the same inputs and have the same layers."""
    if not nets:
        raise BadInput("There is no snapshot; give at least one.")
    first, *others = nets.items()
    for epoch, net in others:
        for part in ("name", "shapes", "preprocessing"):
            if getattr(net, part) != getattr(first[1], part):
                raise BadInput(
                    f"The snapshots of epochs {first[0]} and {epoch} are not of one network: they "
                    f"differ in {part}. Keep each run in a folder of its own."
                )


def thinned(nets: Nets, count: int) -> dict[int, Network]:
    """At most `count` of the snapshots, evenly spread, with the first and the last."""
    if count < 2:
        raise BadInput(f"count must be at least 2: the first snapshot and the last; not {count}.")
    epochs = list(nets)
    places = np.linspace(0, len(epochs) - 1, min(count, len(epochs))).round().astype(int)
    return {epochs[place]: nets[epochs[place]] for place in places}


def learning_rates(
    run: str | os.PathLike | None = None, network: str = "zfnet"
) -> tuple[np.ndarray, np.ndarray] | None:
    """The learning rate after each epoch of a run.

    Parameters
    ----------
    run : path, optional
        Folder of a run; its log is read. Without it, what is kept of the embedded run.

    Returns
    -------
    epochs, rates : arrays, or None
        None where nothing is kept.
    """
    if run:
        folder = Path(run).expanduser()
        if not (folder / "log.jsonl").is_file():
            return None
        lines = read_log(folder)["epoch"]
    else:
        kept = embedded("data", "results", "training", f"{network}.json")
        lines = read_json(kept).get("epochs", []) if kept.is_file() else []
    if not lines:
        return None
    return np.array([line["epoch"] for line in lines]), np.array([line["lr"] for line in lines])


def last_at_full_rate(epochs: Sequence[int], rates: tuple[np.ndarray, np.ndarray]) -> int:
    """The last of the snapshots' `epochs` at which the learning rate had not fallen by a tenth.

    The first of them, if it had fallen by then.
    """
    when, rate = rates
    until = when[rate >= 0.9 * rate.max()].max()
    return max((epoch for epoch in epochs if epoch <= until), default=min(epochs))
