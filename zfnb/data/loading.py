"""Batches of a dataset, read ahead by threads; what cannot be read is named and skipped."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from zfnb.data.base import PictureDataset
from zfnb.errors import BadInput, BadPicture


class Batch(NamedTuple):
    """Some items of a dataset.

    Attributes
    ----------
    indices : Tensor (N,) int64
        Which items of the dataset they are.
    images : Tensor (N, 3, H, W) float32
    targets : Tensor (N,) int64
    """

    indices: Tensor
    images: Tensor
    targets: Tensor


class Batches:
    """An iterable of `Batch`; see `iterate`. `skipped` holds what could not be read so far."""

    def __init__(
        self,
        dataset: PictureDataset,
        batch_size: int,
        transform: Callable | None,
        workers: int,
        indices: Sequence[int] | None,
    ) -> None:
        if batch_size < 1 or workers < 1:
            raise BadInput("batch_size and workers must be at least 1.")
        self.dataset, self.batch_size, self.workers = dataset, batch_size, workers
        self.transform = transform
        self.indices = list(range(len(dataset)) if indices is None else map(int, indices))
        self.skipped: dict[int, str] = {}  # index -> why

    def __len__(self) -> int:
        """Number of batches if every picture can be read."""
        return -(-len(self.indices) // self.batch_size)

    def _read(self, index: int) -> tuple[Tensor, int]:
        picture, target = self.dataset[index]
        return (picture if self.transform is None else self.transform(picture)), target

    def _items(self) -> Iterator[tuple[int, Tensor, int]]:
        """The items in order, each read by a thread some time before it is asked for."""
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="zfnb-read")
        waiting: deque[tuple[int, Future]] = deque()
        coming = iter(self.indices)
        try:
            for index in islice(coming, 2 * self.batch_size + self.workers):
                waiting.append((index, pool.submit(self._read, index)))
            while waiting:
                index, future = waiting.popleft()
                for following in islice(coming, 1):
                    waiting.append((following, pool.submit(self._read, following)))
                try:
                    image, target = future.result()
                except BadPicture as error:
                    self._skip(index, error)
                    continue
                yield index, image, target
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _skip(self, index: int, error: BadPicture) -> None:
        if index not in self.skipped:
            warnings.warn(f"Skipped: {error}", stacklevel=4)
        self.skipped[index] = str(error)

    def __iter__(self) -> Iterator[Batch]:
        items = self._items()
        try:
            while chunk := list(islice(items, self.batch_size)):
                indices, images, targets = zip(*chunk, strict=True)
                yield Batch(torch.tensor(indices), torch.stack(images), torch.tensor(targets))
        finally:
            items.close()
        if self.skipped:
            name = getattr(self.dataset, "name", type(self.dataset).__name__)
            warnings.warn(
                f"{len(self.skipped)} of {len(self.indices)} pictures of {name} could not be read "
                "and were skipped.",
                stacklevel=2,
            )


def iterate(
    dataset: PictureDataset,
    batch_size: int = 32,
    transform: Callable | None = None,
    workers: int = 2,
    indices: Sequence[int] | None = None,
) -> Batches:
    """Batches of a dataset in order, read ahead while the network computes.

    Parameters
    ----------
    dataset : PictureDataset
        From `load_dataset`.
    batch_size : int
        Pictures a batch. Skipped ones are replaced by the next: only the last batch is smaller.
    transform : callable
        A picture to a tensor (3, H, W) of one size, e.g. ``net.preprocessing``. Without it the
        dataset's own transform must do so.
    workers : int
        Threads. Pillow and NumPy let others run while they decode and resize.
    indices : sequence of int, optional
        Only these items, in this order.

    Returns
    -------
    Batches
        An iterable of ``(indices, images, targets)``. A picture that cannot be read is left out,
        with one warning that names it and one at the end that says how many;
        ``.skipped`` is {index: reason}. Its length is the number of batches if none is skipped.

    Raises
    ------
    BadInput
        Fewer than one picture a batch, or no thread.
    """
    return Batches(dataset, batch_size, transform, workers, indices)


def unreadable(
    dataset: PictureDataset,
    workers: int = 2,
    step: Callable[[], object] | None = None,
    items: Sequence[int] | None = None,
) -> dict[int, str]:
    """Open every picture, or those of `items`; {index: reason} of those that cannot be read.

    `step` is called once a picture, e.g. to move a progress bar.
    """

    def look(index: int) -> str | None:
        try:
            dataset.picture(index)
        except BadPicture as error:
            return str(error)
        return None

    bad = {}
    items = range(len(dataset)) if items is None else items
    with ThreadPoolExecutor(workers, thread_name_prefix="zfnb-read") as pool:
        for start in range(0, len(items), 1024):
            block = items[start : start + 1024]
            for index, reason in zip(block, pool.map(look, block), strict=True):
                if reason is not None:
                    bad[index] = reason
                if step is not None:
                    step()
    return bad
