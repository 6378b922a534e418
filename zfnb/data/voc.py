"""PASCAL VOC 2012, classification: pictures that may hold objects of several classes (Sec. 5.2).

The layout is that of the devkit, which torchvision's VOCDetection unpacks:

    VOCdevkit/VOC2012/ImageSets/Main/CLASS_train.txt   "2008_000008  1" (or 0, or -1) a line
                      JPEGImages/2008_000008.jpg

The boxes in Annotations/*.xml are never read: the lists above hold all that the classification task
needs, "difficult" ones marked. So a broken or absent XML file does no harm.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from zfnb.data.folders import FolderDataset
from zfnb.data.public import check_split, find
from zfnb.errors import BadInput, MissingData

SPLITS = ("train", "val", "trainval")
CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


class Voc2012(FolderDataset):
    """The pictures of a split of VOC 2012, and which of the 20 classes each holds.

    Attributes
    ----------
    labels : array (N, 20) int8
        1: holds an object of the class; -1: holds none; 0: holds "difficult" ones only.
    targets : list of int
        The first class that a picture holds, for what wants one a picture.
    """

    def __init__(
        self,
        split: str = "train",
        root: str | os.PathLike | None = None,
        transform: Callable | None = None,
    ) -> None:
        check_split(split, SPLITS)
        folder = find("voc2012", ["VOCdevkit/VOC2012"], root)
        columns = [read_labels(folder, name, split) for name in CLASSES]
        names = list(columns[0])
        for name, column in zip(CLASSES, columns, strict=True):
            if list(column) != names:
                raise BadInput(
                    f"ImageSets/Main/{name}_{split}.txt lists other pictures than "
                    f"{CLASSES[0]}_{split}.txt: {again('VOC 2012 is damaged')}"
                )
        self.labels = np.array([list(column.values()) for column in columns], dtype=np.int8).T
        absent = [n for n in names if not (folder / "JPEGImages" / f"{n}.jpg").is_file()]
        if absent:
            raise MissingData(
                f"{len(absent)} pictures of VOC 2012, such as {absent[0]}.jpg, are not in "
                f"{folder / 'JPEGImages'}: {again('the folder is not whole')}"
            )
        empty = [n for n, column in zip(CLASSES, self.labels.T, strict=True) if 1 not in column]
        if empty:
            warnings.warn(
                f"No picture of VOC 2012 {split} holds: {', '.join(empty)}.", stacklevel=3
            )
        # Ones come first, then zeros: the first class that is held, though it be "difficult".
        targets = (-self.labels).argsort(axis=1, kind="stable")[:, 0].tolist()
        samples = [(f"JPEGImages/{n}.jpg", t) for n, t in zip(names, targets, strict=True)]
        super().__init__("voc2012", split, folder, samples, CLASSES, transform=transform)

    def evidence(self, index: int) -> str:
        """The file's size, and the labels: they are no part of the targets."""
        return f"{super().evidence(index)} {self.labels[self.check_index(index)].tolist()}"


def read_labels(folder: Path, name: str, split: str) -> dict[str, int]:
    """Picture -> 1, 0 or -1, from the file of one class, in the order of its lines."""
    path = folder / "ImageSets" / "Main" / f"{name}_{split}.txt"
    if not path.is_file():
        raise MissingData(f"There is no {path}: {again('VOC 2012 is not whole')}")
    labels: dict[str, int] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or words[1] not in ("1", "0", "-1"):
            raise BadInput(
                f"{path} has the line {line!r}, which is not 'picture 1', 0 or -1: "
                f"{again('it is damaged')}"
            )
        labels[words[0]] = int(words[1])
    if not labels:
        raise BadInput(f"{path} lists no picture: {again('it is damaged')}")
    return labels


def again(why: str) -> str:
    return f"{why}; remove VOCdevkit and run `zfnb data fetch voc2012` again."
