"""Pictures in folders: a folder of class folders, or a flat folder of one's own pictures."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from zfnb.data.base import PictureDataset
from zfnb.data.pictures import open_picture
from zfnb.errors import MissingData, UnknownName

SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".gif",
    ".bmp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
)
SPLIT_FOLDERS = ("train", "val", "test")


class FolderDataset(PictureDataset):
    """Picture files below one folder.

    Parameters
    ----------
    name, split, classes, synsets, options, transform
        See `PictureDataset`.
    root : path
        The folder.
    samples : sequence of (str, int)
        File relative to `root`, with forward slashes, and target. The file name is the item's key.
    """

    def __init__(
        self,
        name: str,
        split: str,
        root: Path,
        samples: Sequence[tuple[str, int]],
        classes: Sequence[str],
        synsets: Sequence[str | None] | None = None,
        options: dict[str, Any] | None = None,
        transform: Callable | None = None,
    ) -> None:
        targets = [target for _, target in samples]
        super().__init__(name, split, classes, targets, synsets, options, transform)
        self.root = Path(root)
        self.files = [file for file, _ in samples]

    def path(self, index: int) -> Path:
        return self.root / self.files[self.check_index(index)]

    def picture(self, index: int) -> Image.Image:
        return open_picture(self.path(index))

    def key(self, index: int) -> str:
        return self.files[self.check_index(index)]

    def evidence(self, index: int) -> str:
        """Size of the file in bytes: cheap for a million files.

        A picture that was replaced by another of the same size goes unseen, so delete what is
        cached of the dataset then.
        """
        try:
            return str(self.path(index).stat().st_size)
        except OSError:
            return "missing"


def is_picture(name: str) -> bool:
    """By the suffix. Hidden files are none: macOS puts a ._copy beside each picture."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def pictures_below(folder: Path) -> list[str]:
    """Pictures in a folder and its folders, relative to it, in a fixed order.

    Links to folders are followed, but none back to where the way to it came through.
    """
    found = []
    ways: dict[Path, list[Path]] = {}  # folder -> itself and those on the way to it, links resolved
    for place, folders, files in os.walk(folder, followlinks=True):
        here = Path(place)
        way = ways[here] = [*ways.get(here.parent, []), here.resolve()]
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and not leads_back(here / name, way)
        ]
        inside = here.relative_to(folder)
        found += [(inside / name).as_posix() for name in files if is_picture(name)]
    return sorted(found)


def leads_back(folder: Path, way: Sequence[Path]) -> bool:
    """Whether a folder is, or holds, one of those that the way to it came through."""
    place = folder.resolve()
    return any(one.is_relative_to(place) for one in way)


def class_samples(root: Path, folders: Iterable[str], prefix: str = "") -> list[tuple[str, int]]:
    """(file, target) of every picture in the class folders below `root`, in their order.

    `prefix` stands before the class in the file name, e.g. "train/".
    """
    samples = []
    for target, folder in enumerate(folders):
        below = pictures_below(root / f"{prefix}{folder}")
        samples += [(f"{prefix}{folder}/{file}", target) for file in below]
    return samples


def subfolders(folder: Path) -> list[str]:
    """Names of the visible folders in a folder, sorted as torchvision's ImageFolder does."""
    way = [folder.resolve()]
    return sorted(
        p.name
        for p in folder.iterdir()
        if p.is_dir() and not p.name.startswith(".") and not leads_back(p, way)
    )


def warn_of_empty(samples: Sequence[tuple[str, int]], classes: Sequence[str], base: Path) -> None:
    """Say which of the classes below a folder have no picture, if any."""
    filled = {target for _, target in samples}
    empty = [name for target, name in enumerate(classes) if target not in filled]
    if empty:
        warnings.warn(f"Classes without a picture in {base}: {', '.join(empty)}.", stacklevel=4)


def folder_dataset(
    root: Path, split: str = "train", transform: Callable | None = None
) -> FolderDataset:
    """A folder of class folders, or a flat folder of pictures.

    - With folders train, val or test in it: the one that `split` names is read.
    - With folders that hold pictures: each is a class, called as the folder, in sorted order, as
      torchvision's ImageFolder has them. A class without a picture stays, with a warning.
    - With pictures only: one class, target 0.

    Without split folders, every split is the whole folder.

    Raises
    ------
    MissingData
        No such folder, or no picture in it.
    UnknownName
        There are split folders, but not this one.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise MissingData(f"There is no folder {root}.")
    prefix = ""
    splits = [name for name in subfolders(root) if name in SPLIT_FOLDERS]
    if "train" in splits and len(splits) > 1:
        if split not in splits:
            raise UnknownName.of("split", split, splits)
        prefix = f"{split}/"
    base = root / prefix
    classes = subfolders(base)
    samples = class_samples(root, classes, prefix)
    if not samples:
        classes = [root.name or "pictures"]
        samples = [
            (prefix + p.name, 0)
            for p in sorted(base.iterdir())
            if p.is_file() and is_picture(p.name)
        ]
    if not samples:
        raise MissingData(
            f"There is no picture in {base}: put some there, of these kinds: {', '.join(SUFFIXES)}."
        )
    warn_of_empty(samples, classes, base)
    return FolderDataset("folder", split, root, samples, classes, transform=transform)
