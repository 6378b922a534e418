"""The public datasets, in the layouts of torchvision and of their archives, under ``ZFNB_DATA``."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np

from zfnb.data.folders import FolderDataset, class_samples, subfolders, warn_of_empty
from zfnb.errors import BadInput, MissingData, UnknownName
from zfnb.paths import data_root

# The name of each class, in the order of the sorted synsets (as in torchvision's Imagenette).
IMAGENETTE = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
IMAGENETTE_FOLDERS = {"full": "imagenette2", "320px": "imagenette2-320", "160px": "imagenette2-160"}


def find(name: str, folders: list[str], root: str | os.PathLike | None) -> Path:
    """The first of these folders below the data root that exists; `MissingData` if none does."""
    base = data_root(root)
    if base is None:
        raise MissingData(
            f"{name} is not here: set ZFNB_DATA to the folder that holds {folders[0]} "
            f"(or is to hold it) and run `zfnb data fetch {name}`."
        )
    for folder in folders:
        if (base / folder).is_dir():
            return base / folder
    raise MissingData(
        f"{name} is not here: there is no {base / folders[0]}; set ZFNB_DATA to the folder that "
        f"holds {folders[0]}, or run `zfnb data fetch {name}`."
    )


def check_split(split: str, splits: tuple[str, ...]) -> None:
    if split not in splits:
        raise UnknownName.of("split", split, splits)


def check_filled(samples: list, name: str, folder: Path) -> None:
    if not samples:
        raise MissingData(
            f"{folder} holds no picture: remove the folder and run `zfnb data fetch {name}` again."
        )


def caltech101(
    split: str = "all",
    root: str | os.PathLike | None = None,
    transform: Callable | None = None,
) -> FolderDataset:
    """Caltech-101: 101 classes of objects, without the background class, as torchvision lists them.

    The dataset has no split of its own. "all" and "train", the default of `load_dataset`, both mean
    all of it; protocols that draw so many a class (paper, Sec. 5.2) do so from there.
    """
    check_split(split, ("all", "train"))
    folder = find("caltech101", ["caltech101/101_ObjectCategories"], root)
    classes = [name for name in subfolders(folder) if name != "BACKGROUND_Google"]
    samples = class_samples(folder, classes)
    check_filled(samples, "caltech101", folder)
    warn_of_empty(samples, classes, folder)
    return FolderDataset("caltech101", "all", folder, samples, classes, transform=transform)


def caltech256(
    split: str = "all",
    root: str | os.PathLike | None = None,
    transform: Callable | None = None,
) -> FolderDataset:
    """Caltech-256: 256 classes of objects, without the class "257.clutter".

    Otherwise as torchvision lists them: the .jpg files right in the class folders (056.dog holds a
    stray folder). Like `caltech101` it has no split of its own.
    """
    check_split(split, ("all", "train"))
    folder = find("caltech256", ["caltech256/256_ObjectCategories"], root)
    folders = [name for name in subfolders(folder) if name != "257.clutter"]
    samples = [
        (file, target)
        for file, target in class_samples(folder, folders)
        if file.count("/") == 1 and file.endswith(".jpg")
    ]
    check_filled(samples, "caltech256", folder)
    warn_of_empty(samples, folders, folder)
    classes = [name.partition(".")[2] or name for name in folders]
    return FolderDataset("caltech256", "all", folder, samples, classes, transform=transform)


class TinyImageNet(FolderDataset):
    """Tiny ImageNet: 200 classes, 64 x 64, with a box around the object of each picture.

    The classes are in the order of their sorted synsets, as in torchvision's ImageFolder.
    """

    def __init__(
        self,
        split: str = "train",
        root: str | os.PathLike | None = None,
        transform: Callable | None = None,
    ) -> None:
        check_split(split, ("train", "val"))
        folder = find("tiny-imagenet", ["tiny-imagenet-200"], root)
        synsets = sorted(_lines(folder / "wnids.txt"))
        words = dict(line.partition("\t")[::2] for line in _lines(folder / "words.txt"))
        classes = [(words.get(synset) or synset).split(",")[0] for synset in synsets]
        if split == "train":
            samples = class_samples(folder, synsets, "train/")
        else:
            index = {synset: target for target, synset in enumerate(synsets)}
            rows = [line.split("\t") for line in _lines(folder / "val" / "val_annotations.txt")]
            try:
                samples = [(f"val/images/{row[0]}", index[row[1]]) for row in rows]
            except (IndexError, KeyError) as error:
                raise BadInput(
                    f"{folder / 'val' / 'val_annotations.txt'} has a line that is not "
                    f"'file, synset, box' ({error}): fetch tiny-imagenet again."
                ) from None
        check_filled(samples, "tiny-imagenet", folder)
        super().__init__("tiny-imagenet", split, folder, samples, classes, synsets, None, transform)

    @cached_property
    def boxes(self) -> np.ndarray:
        """(N, 4) int: top, left, bottom, right of the object, in pixels of the 64 x 64 picture."""
        if self.split == "val":
            tables = [self.root / "val" / "val_annotations.txt"]
        else:
            tables = [self.root / "train" / s / f"{s}_boxes.txt" for s in self.synsets]
        boxes = {}
        for table in tables:
            for line in _lines(table):
                file, *numbers = line.split("\t")
                try:
                    left, top, right, bottom = map(int, numbers[-4:])
                except ValueError:
                    raise BadInput(
                        f"{table} has the line {line!r}, which does not end in a box of four "
                        "numbers: fetch tiny-imagenet again."
                    ) from None
                boxes[file] = (top, left, bottom, right)
        names = [Path(file).name for file in self.files]
        absent = [name for name in names if name not in boxes]
        if absent:
            raise BadInput(
                f"{len(absent)} pictures of tiny-imagenet, such as {absent[0]}, have no box: fetch "
                "tiny-imagenet again."
            )
        return np.array([boxes[name] for name in names], dtype=np.int64)


def _lines(path: Path) -> list[str]:
    if not path.exists():
        raise MissingData(f"There is no {path}: run `zfnb data fetch tiny-imagenet` again.")
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def imagenette(
    split: str = "train",
    root: str | os.PathLike | None = None,
    size: str | None = None,
    transform: Callable | None = None,
) -> FolderDataset:
    """Imagenette: ten easy classes of ImageNet.

    `size` is "full", "320px" or "160px" (the short side); by default the largest that is there.
    """
    check_split(split, ("train", "val"))
    if size is not None and size not in IMAGENETTE_FOLDERS:
        raise UnknownName.of("size", size, IMAGENETTE_FOLDERS)
    folders = [f for key, f in IMAGENETTE_FOLDERS.items() if size in (None, key)]
    folder = find("imagenette", folders, root)
    synsets = list(IMAGENETTE)
    samples = class_samples(folder, synsets, f"{split}/")
    check_filled(samples, "imagenette", folder / split)
    options = {"folder": folder.name}
    classes = list(IMAGENETTE.values())
    return FolderDataset("imagenette", split, folder, samples, classes, synsets, options, transform)


def imagenet(
    split: str = "train",
    root: str | os.PathLike | None = None,
    transform: Callable | None = None,
) -> FolderDataset:
    """ImageNet (ILSVRC 2012): ``imagenet/train/<synset>/`` and ``imagenet/val/<synset>/``.

    The layout that torchvision's ImageNet unpacks the archives into. Class names are torchvision's.
    """
    check_split(split, ("train", "val"))
    folder = find("imagenet", ["imagenet"], root)
    if not (folder / split).is_dir():
        raise MissingData(
            f"{folder} has no folder {split}: put the archives there and run "
            "`zfnb data fetch imagenet`."
        )
    synsets = subfolders(folder / split)
    samples = class_samples(folder, synsets, f"{split}/")
    check_filled(samples, "imagenet", folder / split)
    names = imagenet_classes() if len(synsets) == 1000 else synsets
    return FolderDataset("imagenet", split, folder, samples, names, synsets, None, transform)


def imagenet_classes() -> list[str]:
    """Names of the 1000 classes, in the order of their sorted synsets."""
    from zfnb.compat import torchvision  # seconds; only where it is needed

    return list(torchvision.models.AlexNet_Weights.IMAGENET1K_V1.meta["categories"])
