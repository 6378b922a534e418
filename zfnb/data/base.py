"""What every dataset of zfnb is: indexed pictures with a target, a key and a group each."""

from __future__ import annotations

import hashlib
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image
from torch.utils.data import Dataset


def class_names(dataset: Dataset) -> list[tuple[str, str]]:
    """(synset, name) of each class, in the order of the targets; no synset is ""."""
    names = list(dataset.classes)
    synsets = getattr(dataset, "synsets", None) or [None] * len(names)
    return [(synset or "", str(name)) for synset, name in zip(synsets, names, strict=True)]


class PictureDataset(Dataset, ABC):
    """A dataset of (picture, target).

    A subclass says what picture `i` is (`picture`), what it is called (`key`) and what would change
    if its content changed (`evidence`).

    Attributes
    ----------
    name : str
        The name it is loaded by, e.g. "caltech101".
    split : str
    classes : list of str
        What the targets stand for, in order.
    synsets : list of (str or None)
        ImageNet synset ("n02124075") of each class, where there is one.
    targets : list of int
        Target of each item.
    options : dict
        The options that change which pictures there are, or what is on them.
    transform : callable or None
        Applied to the PIL image before it is returned.
    """

    def __init__(
        self,
        name: str,
        split: str,
        classes: Sequence[str],
        targets: Sequence[int],
        synsets: Sequence[str | None] | None = None,
        options: dict[str, Any] | None = None,
        transform: Callable | None = None,
    ) -> None:
        self.name = name
        self.split = split
        self.classes = list(classes)
        self.synsets = list(synsets) if synsets is not None else [None] * len(self.classes)
        self.targets = list(targets)
        self.options = dict(options or {})
        self.transform = transform
        self._fingerprint: str | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """(picture, target). Raises `BadPicture`, naming the file, if it cannot be read."""
        index = self.check_index(index)
        picture = self.picture(index)
        if self.transform is not None:
            picture = self.transform(picture)
        return picture, self.targets[index]

    def check_index(self, index: int) -> int:
        """The index as an int from 0 to len - 1; a negative one counts from the end."""
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} items; there is no item {index}.")
        return index % len(self)

    @abstractmethod
    def picture(self, index: int) -> Image.Image:
        """RGB picture of one item, before the transform."""

    @abstractmethod
    def key(self, index: int) -> str:
        """A name of the item that stays the same whatever else is in the dataset."""

    def group(self, index: int) -> int:
        """Items of one group count once in a list of the strongest: here, each is its own."""
        return self.check_index(index)

    @abstractmethod
    def evidence(self, index: int) -> str:
        """What changes if the content of the item changes: its file's size, or a checksum."""

    def fingerprint(self) -> str:
        """Sha256 of what the dataset is: name, split, options, keys, targets and evidence.

        Not the folder it lies in, and not the transform.
        """
        if self._fingerprint is None:
            digest = hashlib.sha256()
            lines = [self.name, self.split, repr(sorted(self.options.items()))]
            lines += self.classes
            for line in lines:
                digest.update(line.encode() + b"\n")
            for index, target in enumerate(self.targets):
                line = f"{self.key(index)}\t{target}\t{self.evidence(index)}\n"
                digest.update(line.encode("utf-8", "surrogateescape"))
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def __repr__(self) -> str:
        return (
            f"<{self.name}, split {self.split}: {len(self)} pictures, {len(self.classes)} classes>"
        )
