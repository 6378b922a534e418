"""Stamps: embedded photographs of single things, cut out; and pasting one on a picture."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from zfnb.data.base import PictureDataset
from zfnb.data.pictures import MATTE, open_picture
from zfnb.errors import BadInput, BadPicture, MissingData, UnknownName
from zfnb.paths import embedded

CLASSES = (
    "arthropod",
    "bird",
    "fish",
    "flower",
    "fruit",
    "instrument",
    "mammal",
    "tool",
    "vegetable",
    "vehicle",
)
SPLITS = ("train", "test", "all")


@dataclass(frozen=True)
class Stamp:
    """One cut-out photograph.

    Attributes
    ----------
    key : str
        "bird/crow": class folder and file, without the suffix.
    label : str
        One of `CLASSES`, or "other".
    split : str
        "train" or "test".
    name : str
        In plain words.
    synset : str or None
        The ImageNet synset, where one of Tiny ImageNet's 200 fits.
    credit : str
        Whom the package's change log names.
    sha256 : str
        Of the file.
    """

    key: str
    label: str
    split: str
    name: str
    synset: str | None
    credit: str
    sha256: str

    @property
    def path(self) -> Path:
        return embedded("data", "stamps", *f"{self.key}.webp".split("/"))

    def image(self) -> Image.Image:
        """The stamp, mode RGBA, cropped to what is visible. Raises `BadPicture`."""
        return _read(self.path)


@lru_cache(maxsize=512)  # all of them: 30 MB
def _read(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGBA")
    except Exception as error:  # a damaged file can make a decoder raise nearly anything
        raise BadPicture(f"The stamp {path} cannot be read: install zfnb again.") from error


@lru_cache(maxsize=1)
def all_stamps() -> dict[str, Stamp]:
    """All embedded stamps by key, "other" among them."""
    index = embedded("data", "stamps", "index.csv")
    if not index.exists():
        raise MissingData(
            f"The embedded stamps are not at {index.parent}: install zfnb again, or run "
            "data/build/stamps.py in a checkout."
        )
    found = {}
    with index.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = row["file"].removesuffix(".webp")
            found[key] = Stamp(
                key=key,
                label=row["class"],
                split=row["split"],
                name=row["name"],
                synset=row["synset"] or None,
                credit=row["credit"],
                sha256=row["sha256"],
            )
    return found


def stamp(key: str) -> Stamp:
    """The stamp called `key`, e.g. "bird/crow". Raises `UnknownName`."""
    if key not in all_stamps():
        raise UnknownName.of("stamp", key, all_stamps())
    return all_stamps()[key]


def select(split: str, others: bool) -> tuple[list[Stamp], list[str]]:
    """The stamps of a split and their classes; `others` adds those that fit no class."""
    if split not in SPLITS:
        raise UnknownName.of("split", split, SPLITS)
    classes = [*CLASSES, "other"] if others else list(CLASSES)
    chosen = [
        s
        for s in all_stamps().values()
        if s.label in classes and (split == "all" or s.split == split)
    ]
    return chosen, classes


class Composite(NamedTuple):
    """A picture with a stamp on it.

    Attributes
    ----------
    picture : PIL.Image.Image
        RGB.
    alpha : ndarray (H, W) float32
        How much of each pixel is the stamp, from 0 to 1.
    """

    picture: Image.Image
    alpha: np.ndarray


def compose(
    stamp: Image.Image,
    background: Image.Image | tuple[int, int, int] = MATTE,
    centre: tuple[float, float] | None = None,
    scale: float = 0.8,
    rotation: float = 0.0,
    size: int = 256,
) -> Composite:
    """Paste a stamp on a background, at any place, scale and rotation.

    The stamp moves, grows and turns by any fraction of a pixel, and the background stays as it is.
    So it shows how features change when only the object does (cf. the paper's Fig. 5, where the
    whole picture is transformed and its borders with it).

    Parameters
    ----------
    stamp : PIL.Image.Image
        With alpha (mode RGBA), as from ``stamp("bird/crow").image()``.
    background : PIL.Image.Image or (red, green, blue)
        A picture, of which the largest central square is scaled to `size`; or a colour, 0 to 255.
    centre : (row, column), optional
        Where the middle of the stamp goes, in pixels from the top left corner of the picture
        (pixel i covers i to i + 1). The middle of the picture by default; it may lie outside.
    scale : float
        Longer side of the stamp before rotation, as a fraction of `size`.
    rotation : float
        Degrees, anticlockwise, about the middle of the stamp.
    size : int
        Height and width of the result in pixels.

    Returns
    -------
    Composite
        ``.picture``, RGB (size, size), and ``.alpha``, the exact mask, (size, size) in [0, 1].

    Raises
    ------
    BadInput
        A number that is not finite or out of range, or a stamp that is no image.
    """
    if not isinstance(stamp, Image.Image):
        raise BadInput(f"The stamp must be a PIL image with alpha, not {type(stamp).__name__}.")
    if not isinstance(size, int | np.integer) or size < 1:
        raise BadInput(f"size must be a positive number of pixels, not {size!r}.")
    centre = (size / 2, size / 2) if centre is None else centre
    if not np.isfinite([*centre, scale, rotation]).all():
        raise BadInput("centre, scale and rotation must be finite numbers.")
    if not 0 < scale <= 16:
        raise BadInput(f"scale must be above 0 and at most 16, not {scale}.")
    layer = _place(stamp, centre, scale, rotation, int(size))
    if isinstance(background, Image.Image):
        under = open_picture(background)
        if under.size != layer.size:
            under = ImageOps.fit(under, layer.size, Image.Resampling.BILINEAR)
    else:
        under = Image.new("RGB", layer.size, tuple(background))
    picture = Image.alpha_composite(under.convert("RGBA"), layer).convert("RGB")
    return Composite(picture, np.asarray(layer.getchannel("A"), dtype=np.float32) / 255)


def _place(
    stamp: Image.Image, centre: tuple[float, float], scale: float, rotation: float, size: int
) -> Image.Image:
    """The transformed stamp on a transparent picture (RGBA)."""
    width, height = stamp.size
    factor = scale * size / max(width, height)  # picture pixels per stamp pixel
    # Premultiplied, so that the colour of invisible pixels does not bleed into the border.
    image = stamp.convert("RGBA").convert("RGBa")
    if factor < 1:  # shrink first, with antialiasing: the affine step below has none
        small = (max(1, round(width * factor)), max(1, round(height * factor)))
        image = image.resize(small, Image.Resampling.BICUBIC)
    padded = Image.new("RGBa", (image.width + 4, image.height + 4))
    padded.paste(image, (2, 2))  # a transparent border, for smooth edges
    # Affine map from the picture to the shrunk stamp, exact in spite of the rounded size.
    x_scale = image.width / (width * factor)
    y_scale = image.height / (height * factor)
    cos, sin = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    row, column = centre
    a, b = x_scale * cos, -x_scale * sin
    d, e = y_scale * sin, y_scale * cos
    c = padded.width / 2 - a * column - b * row
    f = padded.height / 2 - d * column - e * row
    data = (a, b, c, d, e, f)
    bicubic = Image.Resampling.BICUBIC
    return padded.transform((size, size), Image.Transform.AFFINE, data, bicubic).convert("RGBA")


class Stamps(PictureDataset):
    """The stamps themselves, each in the middle of a plain mid-grey square.

    Parameters
    ----------
    split : str
        "train", "test" or "all".
    others : bool
        With the stamps that fit none of the ten classes, as an eleventh class "other".
    size : int
        Side of the pictures in pixels; the stamp's longer side takes 7/8 of the 7/8 in the middle,
        so that a network's centre crop (224 of 256) shows it whole.
    transform : callable, optional
        Applied to the PIL image.
    """

    def __init__(
        self,
        split: str = "train",
        others: bool = False,
        size: int = 256,
        transform: Callable | None = None,
    ) -> None:
        self.stamps, classes = select(split, others)
        super().__init__(
            "stamps",
            split,
            classes,
            [classes.index(s.label) for s in self.stamps],
            options={"others": others, "size": size},
            transform=transform,
        )
        self.size = size

    def composite(self, index: int) -> Composite:
        """The picture and its exact mask."""
        one = self.stamps[self.check_index(index)]
        return compose(one.image(), MATTE, scale=49 / 64, size=self.size)

    def picture(self, index: int) -> Image.Image:
        return self.composite(index).picture

    def key(self, index: int) -> str:
        return self.stamps[self.check_index(index)].key

    def evidence(self, index: int) -> str:
        return self.stamps[index].sha256
