"""Downloads with checksums: torchvision's where it has them."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import urllib.error
import zipfile
from pathlib import Path, PurePosixPath

from zfnb.data.public import IMAGENETTE_FOLDERS
from zfnb.errors import BadInput, MissingData, UnknownName
from zfnb.paths import data_root

TINY_IMAGENET = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
TINY_IMAGENET_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
UNPACKING = ".unpacking-"  # begins the name of a folder that is not whole yet
FETCHABLE = ("caltech101", "caltech256", "voc2012", "tiny-imagenet", "imagenette", "imagenet")


def fetch(name: str, root: str | os.PathLike | None = None, size: str = "320px") -> Path:
    """Download a dataset to the data root, check it and unpack it; nothing if it is there.

    Parameters
    ----------
    name : str
        "caltech101" (140 MB), "caltech256" (1.2 GB), "voc2012" (2 GB), "tiny-imagenet" (240 MB),
        "imagenette" (340 MB at 320 pixels), or "imagenet", whose archives one must ask
        image-net.org for: put in ``imagenet/``, they are checked and unpacked.
    root : path, optional
        ``$ZFNB_DATA`` by default.
    size : str
        Of imagenette: "full", "320px" or "160px".

    Returns
    -------
    Path
        The folder of the dataset.

    Raises
    ------
    MissingData
        No data root, no connection, a wrong checksum, or archives that are not there.
    UnknownName
        Not one of these names.
    """
    if name in ("stamps", "scenes", "folder"):
        raise BadInput(f"There is nothing to fetch for {name!r}: it needs no download.")
    if name not in FETCHABLE:
        raise UnknownName.of("dataset to fetch", name, FETCHABLE)
    if size not in IMAGENETTE_FOLDERS:
        raise UnknownName.of("size", size, IMAGENETTE_FOLDERS)
    base = data_root(root)
    if base is None:
        raise MissingData(f"Set ZFNB_DATA to the folder where {name} is to be put.")
    base.mkdir(parents=True, exist_ok=True)
    try:
        if name == "tiny-imagenet":
            return _tiny_imagenet(base)
        if name == "imagenet":
            return _imagenet(base)
        return _torchvision(name, base, size)
    except (urllib.error.URLError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, MissingData | BadInput):
            raise
        raise MissingData(f"{name} could not be fetched to {base}: {error}.") from error


def _torchvision(name: str, base: Path, size: str) -> Path:
    from zfnb.compat import torchvision

    inside = {
        "caltech101": "caltech101/101_ObjectCategories",
        "caltech256": "caltech256/256_ObjectCategories",
        "voc2012": "VOCdevkit/VOC2012",
        "imagenette": IMAGENETTE_FOLDERS[size],
    }[name]
    folder = base / inside
    if folder.is_dir():
        return folder
    # torchvision unpacks in place, and takes a folder that is there for a whole one.
    aside = base / f"{UNPACKING}{folder.name}"
    shutil.rmtree(aside / inside, ignore_errors=True)  # interrupted; the archive is used again
    datasets = torchvision.datasets
    if name == "caltech101":
        datasets.Caltech101(aside, download=True)
    elif name == "caltech256":
        datasets.Caltech256(aside, download=True)
    elif name == "voc2012":
        datasets.VOCDetection(aside, "2012", "trainval", download=True)
    else:
        datasets.Imagenette(aside, split="train", size=size, download=True)
    folder.parent.mkdir(exist_ok=True)
    made = (aside / inside).parent
    beside = [path.name for path in made.iterdir() if path.is_dir() and path.name != folder.name]
    for part in (*beside, folder.name):  # the folder last, whole or not at all
        if not (folder.parent / part).exists():
            shutil.move(made / part, folder.parent / part)
    shutil.rmtree(aside, ignore_errors=True)
    return folder


def _imagenet(base: Path) -> Path:
    from zfnb.compat import torchvision

    unpackers = torchvision.datasets.imagenet  # they check md5 sums first
    folder = base / "imagenet"
    archives = {
        "train": "ILSVRC2012_img_train.tar",
        "val": "ILSVRC2012_img_val.tar",
        "devkit": "ILSVRC2012_devkit_t12.tar.gz",
    }
    for split in ("train", "val"):
        if (folder / split).is_dir():
            continue
        for archive in (archives["devkit"], archives[split]):
            if not (folder / archive).exists():
                raise MissingData(
                    f"ImageNet cannot be downloaded without an account: get {archive} from "
                    f"image-net.org, put it in {folder} and run this again."
                )
        aside = folder / f"{UNPACKING}{split}"
        shutil.rmtree(aside, ignore_errors=True)
        unpackers.parse_devkit_archive(folder)
        if split == "train":
            unpackers.parse_train_archive(folder, folder=aside.name)
        else:
            unpackers.parse_val_archive(folder, folder=aside.name)
        aside.rename(folder / split)  # whole or not at all
    return folder


def _tiny_imagenet(base: Path) -> Path:
    import pooch

    folder = base / "tiny-imagenet-200"
    if folder.is_dir():
        return folder
    archive = pooch.retrieve(
        TINY_IMAGENET,
        known_hash=f"md5:{TINY_IMAGENET_MD5}",
        fname="tiny-imagenet-200.zip",
        path=base,
        progressbar=True,
    )
    with tempfile.TemporaryDirectory(dir=base, prefix=UNPACKING) as temporary:
        unpack(Path(archive), Path(temporary))
        shutil.move(Path(temporary) / "tiny-imagenet-200", folder)  # whole or not at all
    return folder


def unpack(archive: Path, folder: Path, limit: int = 4_000_000_000) -> None:
    """Unpack a zip file, refusing members that would land outside, links, and too many bytes."""
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        if sum(member.file_size for member in members) > limit:
            raise BadInput(f"{archive} would unpack to more than {limit:,} bytes.")
        for member in members:
            path = PurePosixPath(member.filename.replace("\\", "/"))
            link = stat.S_ISLNK(member.external_attr >> 16)
            outside = path.is_absolute() or ".." in path.parts or ":" in member.filename
            if outside or link:
                raise BadInput(
                    f"{archive} holds {member.filename!r}, which is "
                    f"{'a link' if link else 'outside of the folder'}: it was not unpacked."
                )
        file.extractall(folder)
