"""Features of a dataset at some layers of a network, computed once and kept on disk (Sec. 5.2).

Every picture goes up the network once, for all layers together. What is kept of it is float16 and
mapped from disk, so that nothing has to fit in memory. A cache is a folder whose name holds a
checksum of all that its numbers depend on; another network, other weights, another dataset or
another preparation of its pictures make another folder.

    FOLDER/NAME-KEY/facts.json   what it was made from, in words and checksums
                    LAYER.npy    (N, D) float16
                    LAYER.json   a checksum for each block of rows that is done

A block without a checksum, or with a wrong one, is computed again, and no other. So a pass that was
killed goes on where it stood, and a file that was damaged is mended.

Shapes: N pictures, D numbers of a layer, B blocks.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import warnings
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset
from tqdm import tqdm

from zfnb.activations import as_input, dataset_fingerprint, preparation
from zfnb.adopt import as_network
from zfnb.checkpoints import check_space, saving
from zfnb.data.base import PictureDataset
from zfnb.data.loading import iterate, unreadable
from zfnb.errors import BadInput
from zfnb.files import replacing
from zfnb.models import Network, check_images, device_of, evaluating
from zfnb.paths import cache_root
from zfnb.weights import fingerprint

FORMAT = "zfnb features 1"
BLOCK = 256  # rows that share a checksum
SAVE_EVERY = 20.0  # seconds between two notes of what is done
NUMBERED = re.compile(r"[a-z]+(\d+)").fullmatch


@dataclass(frozen=True)
class Features:
    """What a layer says of every picture of a dataset.

    Attributes
    ----------
    layer : str
    values : array (N, D) float16
        Mapped from the file, read only: D is maps x height x width, in this order.
    readable : array (N,) bool
        False for pictures that could not be read; their rows are zeros.
    path : Path
        Of the file; what is computed from the values may be kept beside it.
    checksum : str
        Of the values.
    """

    layer: str
    values: np.ndarray
    readable: np.ndarray
    path: Path
    checksum: str


def top_of_layer(net: nn.Module, number: int) -> str:
    """The last step of layer `number` in the paper's sense, e.g. "norm1", "pool5" or "fc7".

    In Fig. 3 a layer is filters, ReLU, and the pool and the contrast normalisation that follow.

    Raises
    ------
    BadInput
        If the network has no such layer.
    """
    net = as_network(net)
    found = [(name, int(match[1])) for name in net.layer_names if (match := NUMBERED(name))]
    own = [name for name, its in found if its == number]
    if not own:
        numbers = ", ".join(str(n) for n in dict.fromkeys(its for _, its in found))
        raise BadInput(f"{net} has no layer {number}; choose one of {numbers}.")
    return own[-1]


def cache_key(net: Network, dataset: Dataset) -> dict[str, str]:
    """All that the features of a dataset depend on, besides the layer.

    Raises
    ------
    BadInput
        A dataset whose fingerprint does not tell what its transform makes of the pictures.
    """
    if callable(getattr(dataset, "fingerprint", None)) and getattr(dataset, "transform", None):
        raise BadInput(
            "Features of a dataset with a transform cannot be kept, since no name tells one "
            "transform from another; load it without, the network prepares its pictures itself."
        )
    return {
        "format": FORMAT,
        "weights": fingerprint(net),
        "data": dataset_fingerprint(dataset, pictures=None),
        "preprocessing": preparation(net),
    }


def extract(
    net: nn.Module,
    dataset: Dataset,
    layers: Sequence[str],
    folder: str | os.PathLike | None = None,
    *,
    batch: int = 32,
    workers: int = 2,
    progress: bool = False,
    on_block: Callable[[int], object] | None = None,
) -> dict[str, Features]:
    """Features of all pictures at some layers, from the cache as far as it holds them.

    Parameters
    ----------
    net : Network, or nn.Module that `zfnb.load_model` takes
        On any device. Layers above the highest that is asked for are not computed.
    dataset : Dataset
        Items (picture or tensor (3, H, W), target); see `zfnb.load_dataset`. One without a
        ``fingerprint()`` of its own is read once more, to know it again.
    layers : sequence of str
        Names from ``net.layer_names``; `top_of_layer` gives them by the paper's numbers.
    folder : path, optional
        Where caches are kept; by default the folder "features" of zfnb's cache.
    batch : int
        Pictures at a time.
    workers : int
        Threads that read pictures.
    progress : bool
        Show a bar.
    on_block : callable, optional
        Called with the number of each block of rows that has been written.

    Returns
    -------
    dict {layer: Features}

    Raises
    ------
    UnknownName, BadInput
        An unknown layer, no layer, an empty dataset, one of zfnb's with a transform, activations
        beyond the range of float16.
    CannotSave
        A disk without enough space. Run again: what was done is kept.
    """
    net = as_network(net)
    layers = [layers] if isinstance(layers, str) else list(dict.fromkeys(layers))
    for layer in layers:
        net.check_layer(layer)
    if not layers or not len(dataset):
        raise BadInput("Features need at least one layer and one picture; give some.")
    if batch < 1:
        raise BadInput(f"batch must be at least 1, not {batch}.")
    key = cache_key(net, dataset)
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    base = cache_root() / "features" if folder is None else Path(folder)
    data = str(getattr(dataset, "name", type(dataset).__name__))
    home = base / f"{net.name}-{data}-{digest[:16]}"
    files = {layer: LayerFile(home, layer, net, len(dataset)) for layer in layers}
    write_facts(home, {"network": str(net), "dataset": data, "pictures": len(dataset), **key})
    new = [file for file in files.values() if not file.fits()]
    check_space(
        home,
        sum(file.need for file in new),
        f"The features in {', '.join(file.path.name for file in new)}",
        "choose another folder for the cache (ZFNB_CACHE), or fewer layers",
    )
    for file in files.values():
        file.make() if file in new else file.read()
    _forget_mended(dataset, files.values())
    _fill(net, dataset, files, batch, workers, progress, on_block)
    unread = {int(item) for file in files.values() for item in file.skipped}
    readable = np.ones(len(dataset), dtype=bool)
    readable[sorted(unread)] = False
    return {
        layer: Features(layer, file.values(), readable, file.path, file.checksum())
        for layer, file in files.items()
    }


def write_facts(home: Path, facts: dict) -> None:
    """Say beside the numbers what they were made from, for whoever finds the folder."""
    path = home / "facts.json"
    with saving(path):
        home.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


class LayerFile:
    """The file of one layer, and which of its blocks of rows are done."""

    def __init__(self, home: Path, layer: str, net: Network, pictures: int) -> None:
        d = int(torch.Size(net.shapes[layer]).numel())
        self.shape, self.layer = (pictures, d), layer
        self.path, self.notes = home / f"{layer}.npy", home / f"{layer}.json"
        self.sums: list[int | None] = [None] * -(-pictures // BLOCK)
        self.skipped: dict[str, str] = {}  # item, as JSON has it -> why

    @property
    def need(self) -> int:
        """Bytes of the whole file."""
        return 2 * self.shape[0] * self.shape[1]

    def read(self) -> None:
        """Find what is done."""
        self._read_notes()
        self._check()

    def make(self) -> None:
        """Make the file anew: nothing is done."""
        self.notes.unlink(missing_ok=True)  # they speak of the file that is replaced
        with saving(self.path), replacing(self.path) as temporary:
            # Reserved, not yet written: rows are written as plain bytes, so that a full disk is an
            # error and not the end of the process, as it is for a mapped file.
            np.lib.format.open_memmap(temporary, "w+", np.float16, self.shape)  # closes at once

    def fits(self) -> bool:
        """Whether there is a file of this form."""
        try:
            found = np.load(self.path, mmap_mode="r")
        except FileNotFoundError:
            return False
        except (OSError, ValueError, EOFError) as error:
            warnings.warn(f"{self.path.name} is damaged ({error}); made again.", stacklevel=3)
            return False
        fits = found.shape == self.shape and found.dtype == np.float16
        if not fits:
            warnings.warn(
                f"{self.path.name} holds {found.dtype} {found.shape}, not float16 {self.shape}; "
                "made again.",
                stacklevel=3,
            )
        return fits

    def _read_notes(self) -> None:
        """The checksums as noted; without readable notes, no block counts as done."""
        if not self.notes.exists():
            return
        try:
            notes = json.loads(self.notes.read_text(encoding="utf-8"))
            sums, skipped = notes["checksums"], notes["skipped"]
            good = all(s is None or isinstance(s, int) for s in sums)
            if len(sums) != len(self.sums) or not good or not isinstance(skipped, dict):
                raise ValueError("its lists do not fit")
        except (OSError, ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{self.notes.name} is damaged ({error}); made again.", stacklevel=4)
            return
        self.sums, self.skipped = sums, skipped

    def _check(self) -> None:
        """Forget the checksums of blocks that do not have them."""
        values = self.values()
        bad = [
            block
            for block, noted in enumerate(self.sums)
            if noted is not None and noted != zlib.crc32(values[rows(block, len(values))])
        ]
        for block in bad:
            self.sums[block] = None
        if bad:
            warnings.warn(
                f"{self.path.name} was damaged in {len(bad)} of {len(self.sums)} blocks; they are "
                "computed again.",
                stacklevel=4,
            )

    def values(self) -> np.ndarray:
        """(N, D) float16, mapped."""
        return np.load(self.path, mmap_mode="r")

    def checksum(self) -> str:
        """Of all values, from those of the blocks."""
        return hashlib.sha256(json.dumps(self.sums).encode()).hexdigest()

    def write(self, block: int, values: np.ndarray) -> None:
        """Write a block of rows (n, D); it counts as done once `note` has been called."""
        with saving(self.path), self.path.open("r+b") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            file.seek(file.tell() + 2 * block * BLOCK * self.shape[1])
            file.write(values.data)
        self.sums[block] = zlib.crc32(values)

    def note(self) -> None:
        """Say on disk what is done."""
        with self.path.open("r+b") as file:  # to be written: Windows syncs no other
            os.fsync(file.fileno())  # the rows before the word that they are there
        notes = {"layer": self.layer, "checksums": self.sums, "skipped": self.skipped}
        with saving(self.notes), replacing(self.notes) as temporary:
            temporary.write_text(json.dumps(notes), encoding="utf-8")


def _forget_mended(dataset: Dataset, files: Collection[LayerFile]) -> None:
    """Let blocks count as not done whose unreadable pictures can be read by now.

    A copy that has been completed may be of the same size, and so under the same name.
    """
    noted = sorted({int(item) for file in files for item in file.skipped})
    if not noted or not isinstance(dataset, PictureDataset):
        return
    still = unreadable(dataset, items=noted)
    for file in files:
        for item in {int(item) for item in file.skipped} - set(still):
            file.sums[item // BLOCK] = None


def rows(block: int, pictures: int) -> slice:
    """The rows of a block."""
    return slice(block * BLOCK, min((block + 1) * BLOCK, pictures))


def _fill(
    net: Network,
    dataset: Dataset,
    files: dict[str, LayerFile],
    batch: int,
    workers: int,
    progress: bool,
    on_block: Callable[[int], object] | None,
) -> None:
    """Compute the blocks that are not done, all layers of a block together."""
    count = len(dataset)
    todo = {
        block: [layer for layer, file in files.items() if file.sums[block] is None]
        for block in range(len(next(iter(files.values())).sums))
    }
    todo = {block: layers for block, layers in todo.items() if layers}
    if not todo:
        return
    items = np.concatenate([np.arange(count)[rows(block, count)] for block in todo]).tolist()
    batches = iterate(dataset, batch, partial(as_input, net), workers, items)
    bar = tqdm(total=len(items), desc="features", unit="picture", disable=not progress)
    arrived: dict[str, dict[int, np.ndarray]] = {layer: {} for layer in files}
    waiting, noted = list(todo), time.monotonic()
    try:
        for indices, images, _ in batches:
            for layer, values in _activations(net, images, files).items():
                arrived[layer].update(zip(indices.tolist(), values, strict=True))
            bar.update(len(indices))
            last = int(indices[-1])
            while waiting and rows(waiting[0], count).stop - 1 <= last:
                _write(waiting.pop(0), todo, files, arrived, batches.skipped, count, on_block)
            if time.monotonic() - noted > SAVE_EVERY:
                for file in files.values():
                    file.note()
                noted = time.monotonic()
        for block in waiting:  # pictures at the end that could not be read
            _write(block, todo, files, arrived, batches.skipped, count, on_block)
    finally:
        bar.close()
        for file in files.values():
            file.note()


def _activations(net: Network, images, files: dict[str, LayerFile]) -> dict[str, np.ndarray]:
    """(n, D) float16 of a batch at each layer, in one way up."""
    x = check_images(net, images.to(device_of(net)))
    x = x.contiguous(memory_format=torch.channels_last)  # pools are faster so
    left, found = set(files), {}
    with evaluating(net):
        for name in net.layer_names:
            x = getattr(net, name)(x)
            if name in left:
                values = x.flatten(1).half()
                if not torch.isfinite(values).all():
                    raise BadInput(
                        f"Activations of {name} do not fit float16 (or are NaN); scale the "
                        "network's inputs, or choose another layer."
                    )
                found[name] = values.cpu().numpy()
                left.remove(name)
            if not left:
                break
    return found


def _write(
    block: int,
    todo: dict[int, list[str]],
    files: dict[str, LayerFile],
    arrived: dict[str, dict[int, np.ndarray]],
    skipped: dict[int, str],
    count: int,
    on_block: Callable[[int], object] | None,
) -> None:
    """Write a block of each layer that lacks it, and let its rows go."""
    places = range(*rows(block, count).indices(count))
    for layer, file in files.items():
        got = [arrived[layer].pop(place, None) for place in places]
        if layer not in todo[block]:
            continue
        values = np.zeros((len(places), file.shape[1]), dtype=np.float16)
        for row, value in zip(values, got, strict=True):
            if value is not None:
                row[:] = value
        for place in places:
            file.skipped.pop(str(place), None)
            if place in skipped:
                file.skipped[str(place)] = skipped[place]
        file.write(block, values)
    if on_block:
        on_block(block)
