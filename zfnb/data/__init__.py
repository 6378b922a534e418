"""The datasets by name, pictures of any kind, and what networks want them to look like."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path

from zfnb.data.base import PictureDataset
from zfnb.data.download import fetch
from zfnb.data.folders import FolderDataset, folder_dataset
from zfnb.data.loading import iterate, unreadable
from zfnb.data.pictures import Preprocessing, open_picture, preprocess
from zfnb.data.public import TinyImageNet, caltech101, caltech256, imagenet, imagenette
from zfnb.data.samples import sample_pictures
from zfnb.data.scenes import Scenes, background
from zfnb.data.stamps import Stamps, all_stamps, compose, stamp
from zfnb.data.voc import Voc2012
from zfnb.errors import BadInput, MissingData, UnknownName
from zfnb.paths import data_root, embedded

__all__ = [
    "NAMES",
    "FolderDataset",
    "PictureDataset",
    "Preprocessing",
    "all_stamps",
    "background",
    "check",
    "compose",
    "describe",
    "fetch",
    "iterate",
    "load_dataset",
    "open_picture",
    "preprocess",
    "sample_pictures",
    "stamp",
    "unreadable",
]


@dataclass(frozen=True)
class Entry:
    """One dataset of the catalogue, as `zfnb data list` shows it.

    Attributes
    ----------
    name, what, licence, size : str
        In words; `size` is that of the download.
    splits : tuple of str
    where : str
        Where it is looked for.
    present : bool
        Whether it is there.
    """

    name: str
    what: str
    licence: str
    size: str
    splits: tuple[str, ...]
    where: str = ""
    present: bool = False


_LOADERS: dict[str, Callable[..., PictureDataset]] = {
    "stamps": Stamps,
    "scenes": Scenes,
    "caltech101": caltech101,
    "caltech256": caltech256,
    "voc2012": Voc2012,
    "tiny-imagenet": TinyImageNet,
    "imagenette": imagenette,
    "imagenet": imagenet,
}
_CATALOGUE = [
    Entry(
        "stamps",
        "281 photographs of single things, cut out; 214 in 10 classes",
        "GPL-2",
        "embedded",
        ("train", "test", "all"),
    ),
    Entry(
        "scenes",
        "stamps pasted on backgrounds, with exact masks",
        "as stamps",
        "made on the fly",
        ("train", "test", "all"),
    ),
    Entry(
        "caltech101",
        "8,677 photographs of objects in 101 classes",
        "CC BY 4.0",
        "140 MB",
        ("all",),
    ),
    Entry(
        "caltech256",
        "29,780 photographs of objects in 256 classes",
        "CC BY 4.0",
        "1.2 GB",
        ("all",),
    ),
    Entry(
        "voc2012",
        "11,540 photographs with objects of 20 classes, several in one (PASCAL VOC 2012)",
        "Flickr's terms of use",
        "2 GB",
        ("train", "val", "trainval"),
    ),
    Entry(
        "tiny-imagenet",
        "110,000 labelled photographs, 64 x 64, in 200 classes, with boxes",
        "research and education",
        "240 MB",
        ("train", "val"),
    ),
    Entry(
        "imagenette",
        "13,394 photographs in 10 easy classes of ImageNet",
        "Apache-2.0 (list); research and education (photographs)",
        "340 MB at 320 pixels",
        ("train", "val"),
    ),
    Entry(
        "imagenet",
        "1.28 million photographs in 1000 classes (ILSVRC 2012)",
        "research and education, by request",
        "150 GB",
        ("train", "val"),
    ),
    Entry(
        "folder",
        "your own pictures: a folder of class folders, or a flat folder",
        "yours",
        "yours",
        ("train", "val", "test"),
    ),
]
_FOLDERS = {
    "caltech101": ("caltech101/101_ObjectCategories",),
    "caltech256": ("caltech256/256_ObjectCategories",),
    "voc2012": ("VOCdevkit/VOC2012",),
    "tiny-imagenet": ("tiny-imagenet-200",),
    "imagenette": ("imagenette2", "imagenette2-320", "imagenette2-160"),
    "imagenet": ("imagenet",),
}
NAMES = tuple(entry.name for entry in _CATALOGUE)


def load_dataset(
    name: str | os.PathLike,
    split: str = "train",
    root: str | os.PathLike | None = None,
    **options,
) -> PictureDataset:
    """A dataset of pictures by its name.

    Parameters
    ----------
    name : str or path
        "stamps" and "scenes" travel with the package. "caltech101", "caltech256", "voc2012",
        "tiny-imagenet", "imagenette" and "imagenet" are looked for below `root`. "folder" is the
        folder `root` itself, and a path is that folder: of class folders, or flat, with one's own
        pictures.
    split : str
        "train", and what the dataset has: "test" and "all" (stamps, scenes); "val" (tiny-imagenet,
        imagenette, imagenet, voc2012); "trainval" (voc2012); a folder's own train, val and test
        folders. "caltech101" and "caltech256" have no split: "train" and "all" both give all.
    root : path, optional
        Where the datasets lie, ``$ZFNB_DATA`` by default.
    **options
        ``transform=``, a callable on the PIL image, for every dataset. "stamps": ``others``,
        ``size``. "scenes": ``per_stamp``, ``seed``, ``size``, ``others``, ``scale``, ``rotation``,
        ``backgrounds``. "imagenette": ``size``.

    Returns
    -------
    PictureDataset
        Items are (PIL RGB image, target); see there for ``.classes``, ``.targets``, ``.key(i)``,
        ``.group(i)``, ``.fingerprint()``. A picture that cannot be read raises `BadPicture` when it
        is asked for; `iterate` skips it.

    Raises
    ------
    UnknownName
        No such dataset or split; the message has the valid ones.
    MissingData
        The data are not there; the message says what to set and what to run.
    BadInput
        An option the dataset does not have, or a value out of range.
    """
    text = os.fspath(name)
    if text == "folder":
        if root is None:
            raise BadInput("Say which folder: load_dataset('folder', root=...).")
        _check_options("folder", folder_dataset, options)
        return folder_dataset(Path(root), split, **options)
    if text in _LOADERS:
        loader = _LOADERS[text]
        _check_options(text, loader, options)
        if "root" in signature(loader).parameters:
            options["root"] = root
        return loader(split, **options)
    looks_like_a_path = not isinstance(name, str) or any(mark in text for mark in "/\\~.")
    if Path(text).expanduser().is_dir() or looks_like_a_path:
        _check_options("folder", folder_dataset, options)
        return folder_dataset(Path(text), split, **options)
    raise UnknownName.of("dataset", name, [*NAMES, "or a path to a folder"])


def _check_options(name: str, loader: Callable, options: dict) -> None:
    valid = [p for p in signature(loader).parameters if p not in ("split", "root")]
    for option in options:
        if option not in valid:
            raise UnknownName.of(f"option of {name}", option, valid)


def describe(root: str | os.PathLike | None = None) -> list[Entry]:
    """What each dataset is, where it is looked for, and whether it is there."""
    base = data_root(root)
    entries = []
    for entry in _CATALOGUE:
        where, present = "in the package", embedded("data", "stamps", "index.csv").exists()
        if entry.name == "folder":
            where, present = "any path", True
        elif entry.name in _FOLDERS:
            folders = _FOLDERS[entry.name]
            here = [f for f in folders if base is not None and (base / f).is_dir()]
            folder = (here or folders)[0]
            where = str(base / folder) if base is not None else f"$ZFNB_DATA/{folder}"
            present = bool(here)
        entries.append(Entry(**{**vars(entry), "where": where, "present": present}))
    return entries


@dataclass
class CheckReport:
    """What `check` found.

    Attributes
    ----------
    name : str
    counts : dict {split: number of pictures}
    bad : list of str
        One sentence for each picture that cannot be read or has changed.
    ok : bool
        There are pictures, and none is bad.
    """

    name: str
    counts: dict[str, int] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.bad and sum(self.counts.values()) > 0


def check(
    name: str | os.PathLike, root: str | os.PathLike | None = None, progress: bool = False
) -> CheckReport:
    """Open every picture of a dataset; compare checksums where they are known.

    Parameters
    ----------
    name : str or path
        As for `load_dataset`.
    root : path, optional
        As for `load_dataset`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    CheckReport
        Splits that are not there are left out, as long as one is.

    Raises
    ------
    UnknownName, MissingData
        As `load_dataset`.
    """
    from tqdm import tqdm

    report = CheckReport(os.fspath(name))
    entry = {entry.name: entry for entry in _CATALOGUE}.get(report.name)
    splits = entry.splits if entry else ("train", "val", "test")
    changed: dict[str, str] = {}
    if report.name in ("stamps", "scenes"):
        splits = ("train", "test")
        changed = _changed_stamps()
    report.bad += changed.values()
    absent: MissingData | UnknownName | None = None
    seen, opened = set(), set()
    for split in splits:
        options = {"others": True} if report.name in ("stamps", "scenes") else {}
        try:
            dataset = load_dataset(name, split, root, **options)
        except (MissingData, UnknownName) as error:
            absent = absent or error
            continue
        files = tuple(getattr(dataset, "files", (split,)))
        if files in seen:  # a folder without split folders is the same for every split
            continue
        seen.add(files)
        report.counts[split] = len(dataset)
        if opened.issuperset(files):  # VOC's trainval is its train and val
            continue
        opened.update(files)
        with tqdm(total=len(dataset), desc=f"{dataset.name} {split}", disable=not progress) as bar:
            bad = unreadable(dataset, step=bar.update)
        report.bad += [why for why in bad.values() if not any(path in why for path in changed)]
    report.bad = list(dict.fromkeys(report.bad))  # a picture may be in several splits
    if not report.counts and absent is not None:
        raise absent
    return report


def _changed_stamps() -> dict[str, str]:
    """Path -> what is wrong, of the stamps that are not the files that the index names."""
    changed = {}
    for one in all_stamps().values():
        found = hashlib.sha256(one.path.read_bytes()).hexdigest() if one.path.exists() else None
        if found is None:
            changed[f"{one.path}"] = f"{one.path} is missing: install zfnb again."
        elif found != one.sha256:
            changed[f"{one.path}"] = (
                f"{one.path} is not the file that the index names (sha256 {found}): install zfnb "
                "again."
            )
    return changed
