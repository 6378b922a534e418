"""Training pictures as batches: decoded once, kept as bytes, cropped by two matrix products.

Sec. 3.1: the short side of every picture is scaled to 256, the centre 256 x 256 is cut out, and the
network sees crops of it. Here that centre square is decoded once into a cache on disk; each step
reads a batch of squares from it and crops, enlarges and flips the whole batch on the device.

Shapes: N pictures, S side of the stored square, H side of the network's input.
"""

from __future__ import annotations

import contextlib
import glob
import math
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from zfnb.checkpoints import check_space
from zfnb.data.pictures import open_picture
from zfnb.errors import BadInput, UnknownName, ZfnbError
from zfnb.files import replacing

# Pictures that are all of one size are stored at that size; the rest at 256 / 224 of the input.
NATIVE_SIZE = {"tiny-imagenet": 64}
CROPS = ("random", "ten")
LEFT_OVER = 600  # seconds without a write until a file in the making may be a killed process's
SAMPLED = 8  # pictures decoded again when a cache is opened, to see that it still fits


def stored_size(dataset: str, input_size: int) -> int:
    """Side of the squares that are stored for a dataset: 256 for an input of 224 (Sec. 3.1)."""
    return NATIVE_SIZE.get(dataset, round(input_size * 256 / 224))


def square(picture, size: int) -> np.ndarray:
    """The centre of a picture, short side scaled to `size`, as uint8 (3, size, size)."""
    image = open_picture(picture)
    width, height = image.size
    short = min(width, height)
    left, top = (width - short) / 2, (height - short) / 2
    if image.size != (size, size):
        box = (left, top, left + short, top + short)
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


class Squares(Dataset):
    """The pictures of a dataset as squares, uint8 (3, S, S), decoded when asked for."""

    def __init__(self, dataset: Dataset, size: int):
        self.dataset, self.size = dataset, size

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> np.ndarray:
        return square(self.dataset[index][0], self.size)

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        return torch.from_numpy(np.stack([self[i] for i in indices]))


class CachedSquares(Squares):
    """The same from a file that holds all of them; made by `cached`."""

    def __init__(self, path: Path, size: int):
        self.path, self.size = path, size
        self.array = np.load(path, mmap_mode="r")  # (N, 3, S, S) uint8

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: int) -> np.ndarray:
        return np.array(self.array[index])

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        return torch.from_numpy(self.array[np.asarray(indices)])

    def __getstate__(self) -> dict:  # a worker process maps the file again
        return {"path": self.path, "size": self.size}

    def __setstate__(self, state: dict) -> None:
        self.__init__(**state)


def cached(
    dataset: Dataset, size: int, folder: Path, workers: int = 0, progress: bool = True
) -> CachedSquares:
    """All pictures of `dataset` as squares in one file, decoded on the first call only.

    The file has 3 `size`^2 bytes a picture: 1 GB for Tiny ImageNet, 252 GB for ImageNet.

    Parameters
    ----------
    dataset : Dataset
        Items (PIL image, target), with ``.name`` and ``.fingerprint()``.
    size : int
        Side of a square in pixels.
    folder : path
        Where the file is kept. Its name holds the dataset's fingerprint, so that a dataset that
        has changed gets a new file.
    workers : int
        Processes that decode.
    progress : bool
        Show a bar while decoding.

    Returns
    -------
    CachedSquares

    Raises
    ------
    CannotSave
        A disk without enough space; said before the first picture is decoded.
    """
    fingerprint = dataset.fingerprint()
    path = Path(folder) / f"{dataset.name}-{size}-{fingerprint[:16]}.npy"
    remove_left_over(path)
    squares = Squares(dataset, size)
    if path.exists():
        fault = _fault(path, squares)
        if fault is None:
            return CachedSquares(path, size)
        warnings.warn(f"The cache {path.name} {fault}; it is made again.", stacklevel=2)
    decode(squares, path, workers, progress)
    return CachedSquares(path, size)


def _fault(path: Path, squares: Squares) -> str | None:
    """What is wrong with a cache file, or None."""
    try:
        array = np.load(path, mmap_mode="r")
    except (ValueError, OSError, EOFError) as error:
        return f"is damaged ({error})"
    if array.shape != (len(squares), 3, squares.size, squares.size) or array.dtype != np.uint8:
        return f"holds {array.dtype} {array.shape}, which is not this dataset"
    for index in np.linspace(0, len(squares) - 1, SAMPLED).astype(int):
        if not np.array_equal(array[index], squares[index]):
            return f"holds another picture than the dataset's at place {index}"
    return None


def decode(squares: Squares, path: Path, workers: int, progress: bool) -> None:
    """Write all squares to one .npy file, which appears only when it is whole."""
    from tqdm import tqdm

    shape = (len(squares), 3, squares.size, squares.size)
    batches = [range(start, min(start + 256, shape[0])) for start in range(0, shape[0], 256)]
    path.parent.mkdir(parents=True, exist_ok=True)
    check_space(
        path.parent,
        math.prod(shape),
        f"The decoded pictures in {path.name}",
        "free some space, choose a folder on another disk with --cache, or keep none: --no-cache "
        "decodes in every epoch, by as many processes as --workers says",
    )
    # As plain bytes: a full disk is then an error, and not the end of the process, as it is for a
    # mapped file.
    with replacing(path) as temporary, temporary.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        bar = tqdm(
            fetch(squares, batches, workers),
            "decoding",
            len(batches),
            disable=not (progress and sys.stderr.isatty()),
        )
        for batch in bar:
            file.write(batch.numpy().data)
        file.close()  # Windows does not replace a file that is open


def remove_left_over(path: Path) -> None:
    """Remove what killed processes have left of the file `path`, as `replacing` names it.

    A file of a process that lives, or that was written to in the last minutes, stays: it may be
    another machine's, on a disk that both share.
    """
    for left in path.parent.glob(f".{glob.escape(path.stem)}.*{path.suffix}"):
        number = left.suffixes[-2][1:] if len(left.suffixes) > 1 else ""
        with contextlib.suppress(OSError):  # gone meanwhile; on Windows, open in a process
            old = time.time() - left.stat().st_mtime > LEFT_OVER
            if number.isdecimal() and old and not lives(int(number)):
                left.unlink()


def lives(process: int) -> bool:
    """Whether there is a process of this number. On Windows: no, where its open files cannot be
    removed in any case."""
    if os.name == "nt":
        return False
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _as_is(batch: Tensor) -> Tensor:
    return batch


class Loader(DataLoader):
    """A `DataLoader` whose worker processes say what was wrong in one sentence, as we do.

    PyTorch puts a worker's whole traceback into the text of its error.
    """

    def __iter__(self) -> Iterator:
        try:
            yield from super().__iter__()
        except ZfnbError as error:
            kind = type(error)
            # The last error of a traceback is the one that was raised; its causes come before.
            name = f"\n{kind.__module__}.{kind.__qualname__}: "
            _, found, sentence = str(error).rpartition(name)
            if not found:
                raise  # of this process: a sentence already
            raise kind(sentence.rstrip("\n")) from error


def fetch(squares: Squares, batches: Sequence[Sequence[int]], workers: int = 0) -> Loader:
    """An iterator over uint8 batches (N, 3, S, S), in the order of `batches`."""
    return Loader(
        squares,
        batch_sampler=[list(batch) for batch in batches],
        num_workers=workers,
        collate_fn=_as_is,
        pin_memory=torch.cuda.is_available(),
    )


def seeded(purpose: str, *numbers: int) -> int:
    """One 63-bit seed from a purpose and numbers: the same everywhere, unlike its neighbours'."""
    entropy = (*purpose.encode(), len(numbers), *numbers)
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def hold_out(targets: Sequence[int], per_class: int) -> tuple[np.ndarray, np.ndarray]:
    """Split a training set: indices to learn from, and `per_class` of each class to tune on.

    The choice is always the same, whatever the seed of a run, so that runs can be compared.
    """
    targets = np.asarray(targets)
    held = []
    for target in np.unique(targets):
        places = np.flatnonzero(targets == target)
        if per_class >= len(places):
            raise BadInput(
                f"Class {target} has {len(places)} pictures; {per_class} of them cannot be held "
                "out. Lower --holdout."
            )
        held.append(
            np.random.default_rng(seeded("hold out", int(target))).permutation(places)[:per_class]
        )
    held = np.sort(np.concatenate(held)).astype(np.int64)
    return np.setdiff1d(np.arange(len(targets)), held), held


def epoch_batches(indices: np.ndarray, batch: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The batches of an epoch: a function of seed and epoch alone, so a resumed run has the same.

    The last, smaller batch is left out, unless it is the only one.
    """
    order = np.random.default_rng(seeded("order", seed, epoch)).permutation(indices)
    whole = max(1, len(order) // batch)
    return [order[i * batch : (i + 1) * batch] for i in range(whole)]


@dataclass(frozen=True)
class Augmentation:
    """How the crops of training pictures vary.

    Parameters
    ----------
    crops : {"random", "ten"}
        "ten": the crop of `side`, at one of four corners or the centre, flipped or not (Sec. 3.1).
        "random": any place, size and aspect within the limits below, flipped or not.
    side : float
        Side of the crops "ten" as a part of the picture's; 224 / 256 in the paper.
    area : (float, float)
        Smallest and largest part of the picture's area in a crop "random".
    aspect : float
        Largest ratio of a crop's sides.
    colour : float
        Contrast varies by this factor, brightness by this many standard deviations, and each
        channel by half of it.
    """

    crops: str = "random"
    side: float = 224 / 256
    area: tuple[float, float] = (0.35, 1.0)
    aspect: float = 1.25
    colour: float = 0.2

    def __post_init__(self) -> None:
        if self.crops not in CROPS:
            raise UnknownName.of("crops", self.crops, CROPS)

    def boxes(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw crops: (N, 2) top and left, (N, 2) height and width, in parts of the picture's
        side, and (N,) bool, which are flipped."""
        flip = torch.rand(count, generator=generator) < 0.5
        if self.crops == "ten":
            length = torch.full((count, 2), self.side)
            corner = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1], [0.5, 0.5]])
            corner = corner[torch.randint(5, (count,), generator=generator)]
            return corner * (1 - length), length, flip
        low, high = self.area
        area = low + (high - low) * torch.rand(count, generator=generator)
        stretch = (2 * torch.rand(count, generator=generator) - 1) * np.log(self.aspect) / 2
        length = torch.stack([area.sqrt() * stretch.exp(), area.sqrt() / stretch.exp()], 1)
        length = length.clamp(max=1)
        return torch.rand(count, 2, generator=generator) * (1 - length), length, flip

    def colours(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw a factor (N, 1, 1, 1) and an offset (N, 3, 1, 1) for normalised pictures."""
        draw = 2 * torch.rand(count, 5, 1, 1, generator=generator) - 1
        return 1 + self.colour * draw[:, :1], self.colour * (draw[:, 1:2] + draw[:, 2:] / 2)


def centre_boxes(count: int, side: float) -> tuple[Tensor, Tensor]:
    """The central crop of `side` (a part of the picture's), for `count` pictures."""
    length = torch.full((count, 2), side)
    return (1 - length) / 2, length


def interpolation(start: Tensor, length: Tensor, size: int, source: int) -> Tensor:
    """Matrices (N, size, source) that take `source` pixels to `size` pixels of a part of them.

    Bilinear with antialiasing, as Pillow's: each new pixel is a mean of the old ones under a
    triangle, one old pixel wide, or one new pixel when the picture shrinks. Row i of a matrix holds
    the weights of new pixel i.

    Parameters
    ----------
    start, length : Tensor (N,)
        The part, in old pixels. A negative length reads it backwards.
    """
    new = torch.arange(size, device=start.device) + 0.5
    centre = start[:, None] + new * (length / size)[:, None] - 0.5  # (N, size)
    old = torch.arange(source, device=start.device)
    wide = (length.abs() / size).clamp(min=1)[:, None, None]
    weights = (1 - (centre[:, :, None] - old).abs() / wide).clamp_(min=0)
    return weights / weights.sum(2, keepdim=True)


def crop_and_resize(
    pictures: Tensor, start: Tensor, length: Tensor, size: int, flip: Tensor | None = None
) -> Tensor:
    """Cut a part out of each picture and scale it to `size` x `size`.

    Two products of matrices do the whole batch: rows, then columns. On a CPU this costs a tenth of
    `torch.nn.functional.grid_sample`, and it is antialiased.

    Parameters
    ----------
    pictures : Tensor (N, 3, S, S), float
    start, length : Tensor (N, 2)
        Top and left, height and width, in parts of S.
    size : int
        Side of the result.
    flip : Tensor (N,) bool, optional
        Pictures to mirror left to right.

    Returns
    -------
    Tensor (N, 3, size, size)
    """
    n, channels, source, _ = pictures.shape
    start, length = start * source, length * source
    left, width = start[:, 1], length[:, 1]
    if flip is not None:
        left, width = torch.where(flip, left + width, left), torch.where(flip, -width, width)
    rows = interpolation(start[:, 0], length[:, 0], size, source)  # (N, size, S)
    columns = interpolation(left, width, size, source)
    flat = pictures.reshape(n, channels * source, source)
    narrow = torch.bmm(flat, columns.transpose(1, 2)).view(n, channels, source, size)
    return torch.matmul(rows[:, None], narrow)


def central(pictures: Tensor, preprocessing, mean: Tensor | None = None) -> Tensor:
    """What a network's own `preprocessing` makes of stored squares: the single central crop.

    Parameters
    ----------
    pictures : Tensor (N, 3, S, S) uint8
    preprocessing : Preprocessing
    mean : Tensor (3, S, S), optional
        A mean for each pixel, in [0, 255], in place of `preprocessing.mean`.

    Returns
    -------
    Tensor (N, 3, crop, crop)
    """
    start, length = centre_boxes(len(pictures), preprocessing.crop / preprocessing.resize)
    start, length = start.to(pictures.device), length.to(pictures.device)
    x = centred(pictures, preprocessing, mean)
    return crop_and_resize(x, start, length, preprocessing.crop)


def centred(pictures: Tensor, preprocessing, mean: Tensor | None = None) -> Tensor:
    """uint8 pictures minus their mean, over the standard deviation; float32 of the same size."""
    device = pictures.device
    std = torch.tensor(preprocessing.std, device=device)[:, None, None] * 255
    if mean is None:
        mean = torch.tensor(preprocessing.mean, device=device)[:, None, None] * 255
    return (pictures.float() - mean.to(device)) / std


def training_inputs(
    pictures: Tensor,
    preprocessing,
    augmentation: Augmentation,
    generator: torch.Generator,
    mean: Tensor | None = None,
    part: slice = slice(None),
    whole: int | None = None,
) -> Tensor:
    """A batch of training inputs from stored squares.

    Parameters
    ----------
    pictures : Tensor (N, 3, S, S) uint8, on any device
    preprocessing : Preprocessing
    augmentation : Augmentation
    generator : torch.Generator
        On the CPU; it draws for the `whole` batch.
    mean : Tensor (3, S, S), optional
        See `central`.
    part, whole : slice, int
        Of a batch of `whole` pictures these are the ones at `part`: so several processes draw the
        same crops as one.

    Returns
    -------
    Tensor (N, 3, crop, crop)
    """
    whole = len(pictures) if whole is None else whole
    device = pictures.device
    start, length, flip = (t[part].to(device) for t in augmentation.boxes(whole, generator))
    x = crop_and_resize(
        centred(pictures, preprocessing, mean), start, length, preprocessing.crop, flip
    )
    if augmentation.colour:
        factor, offset = (t[part].to(device) for t in augmentation.colours(whole, generator))
        x = x * factor.to(x.dtype) + offset.to(x.dtype)
    return x


def mean_picture(squares: Squares, indices: np.ndarray, workers: int = 0) -> Tensor:
    """Mean over the training set of each pixel, (3, S, S) float32 in [0, 255] (Sec. 3.1)."""
    total = torch.zeros(3, squares.size, squares.size, dtype=torch.float64)
    for batch in fetch(squares, np.array_split(indices, max(1, len(indices) // 512)), workers):
        total += batch.sum(0, dtype=torch.float64)
    return (total / len(indices)).float()


def in_parts(indices: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    """`indices` in order, `batch` at a time."""
    for start in range(0, len(indices), batch):
        yield indices[start : start + batch]
