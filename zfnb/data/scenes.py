"""Scenes: stamps pasted on backgrounds of natural statistics, with their exact masks.

A photograph does not tell what is object and what is background, and an object in it cannot be
moved alone. A scene does both. Everything about a scene follows from its stamp and its number:
neither the order of access, nor the process, nor what else is in the dataset changes a byte of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from zfnb.checks import whole_number
from zfnb.data.base import PictureDataset
from zfnb.data.pictures import open_picture
from zfnb.data.stamps import compose, select
from zfnb.errors import BadInput, MissingData, UnknownName

# Pictures without a single object in front, from packages that zfnb installs anyway.
PHOTOGRAPHS = {
    "china": ("sklearn", "datasets/images/china.jpg"),
    "grass": ("skimage", "data/grass.png"),
    "gravel": ("skimage", "data/gravel.png"),
    "brick": ("skimage", "data/brick.png"),
    "moon": ("skimage", "data/moon.png"),
}
BACKGROUNDS = ("noise", *PHOTOGRAPHS)


class Uniform:
    """Random numbers in [0, 1) from integers, the same on every platform and in every NumPy.

    The raw output of a bit generator is promised to stay; that of `numpy.random.Generator` is not.
    """

    def __init__(self, *seeds: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(seeds))

    def __call__(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(self.array(1)[0])

    def array(self, *shape: int) -> np.ndarray:
        raw = self._bits.random_raw(int(np.prod(shape)))
        return (raw >> np.uint64(11)).reshape(shape) * 2.0**-53


def background(name: str, seed: int = 0, size: int = 256) -> Image.Image:
    """A background without an object in front.

    Parameters
    ----------
    name : str
        "noise": noise whose amplitude falls as 1 / frequency to 1 / frequency^1.5, as in natural
        pictures, in muted colours. Otherwise a part of a photograph: "china" (roofs, trees and
        sky), "grass", "gravel", "brick" or "moon"; the grey ones are tinted.
    seed : int
        Chooses the noise, or the part, the mirroring and the tint.
    size : int
        Height and width in pixels.

    Returns
    -------
    PIL.Image.Image
        RGB (size, size).

    Raises
    ------
    UnknownName
        Not one of these names.
    BadInput
        A size below 1.
    """
    size = whole_number(size, "size must be a positive number of pixels", 1)
    if name not in BACKGROUNDS:
        raise UnknownName.of("background", name, BACKGROUNDS)
    uniform = Uniform(abs(seed), zlib.crc32(name.encode()))
    return _noise(uniform, size) if name == "noise" else _photograph(name, uniform, size)


def _noise(uniform: Uniform, size: int) -> Image.Image:
    # One field of lightness and two of colour: blue-yellow, red-green. (3, size, size)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf  # no mean: it is chosen below
    phase = 2 * np.pi * uniform.array(3, *frequency.shape)
    waves = (np.cos(phase) + 1j * np.sin(phase)) / frequency ** uniform(1.0, 1.5)
    fields = np.fft.irfft2(waves, s=(size, size))
    fields /= fields.std(axis=(1, 2), keepdims=True) + 1e-12
    lightness = uniform(0.3, 0.65) + uniform(0.06, 0.15) * fields[0]
    yellow = uniform(-0.02, 0.05) + 0.02 * fields[1]  # nature has more warm than cold places
    red = uniform(-0.03, 0.03) + 0.015 * fields[2]
    rgb = np.stack([lightness + yellow + red, lightness + yellow - red, lightness - 2 * yellow])
    return Image.fromarray(_to_bytes(255 * rgb.transpose(1, 2, 0)))


def _photograph(name: str, uniform: Uniform, size: int) -> Image.Image:
    image = _read(name)
    side = int(uniform(0.35, 0.8) * min(image.size))
    left = int(uniform() * (image.width - side + 1))
    top = int(uniform() * (image.height - side + 1))
    box = (left, top, left + side, top + side)
    part = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    if uniform() < 0.5:
        part = ImageOps.mirror(part)
    tint = 0.8 + 0.2 * uniform.array(3)
    if name == "china":
        return part
    return Image.fromarray(_to_bytes(np.asarray(part) * tint))


def _to_bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@lru_cache(maxsize=len(PHOTOGRAPHS))
def _read(name: str) -> Image.Image:
    package, inside = PHOTOGRAPHS[name]
    spec = find_spec(package)  # finds the folder without the seconds that an import takes
    path = Path(spec.submodule_search_locations[0], inside) if spec else Path(inside)
    if not path.exists():
        raise MissingData(
            f"{package} as installed here has no {inside}: install the tested versions, or leave "
            f"{name!r} out of backgrounds."
        )
    return open_picture(path)


@dataclass(frozen=True)
class Scene:
    """A stamp on a background, and all that is known about it.

    Attributes
    ----------
    picture : PIL.Image.Image
        RGB (size, size).
    alpha : ndarray (size, size) float32
        How much of each pixel is the object, from 0 to 1.
    target : int
        The class.
    stamp : str
        Key of the stamp.
    background : str
        One of `BACKGROUNDS`.
    background_seed : int
        ``background(scene.background, scene.background_seed, size)`` gives it without the object.
    centre : (float, float)
        Row and column of the stamp's middle, in pixels.
    scale : float
        The stamp's longer side as a fraction of the picture's.
    rotation : float
        Degrees anticlockwise.
    """

    picture: Image.Image
    alpha: np.ndarray
    target: int
    stamp: str
    background: str
    background_seed: int
    centre: tuple[float, float]
    scale: float
    rotation: float

    @property
    def mask(self) -> np.ndarray:
        """(size, size) bool: where more than half of the pixel is the object."""
        return self.alpha > 0.5

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of the mask; bottom and right are the first pixels outside."""
        rows = np.flatnonzero(self.mask.any(axis=1))
        columns = np.flatnonzero(self.mask.any(axis=0))
        return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


class Scenes(PictureDataset):
    """Each stamp `per_stamp` times, at chosen place, scale and rotation, before a background.

    Parameters
    ----------
    split : str
        "train", "test" or "all" stamps. No stamp is in both, so no scene is.
    per_stamp : int
        Scenes of each stamp; a larger number adds scenes and leaves the first ones as they are.
    seed : int
        Another seed, other scenes of the same stamps.
    size : int
        Height and width in pixels.
    others : bool
        With the stamps that fit none of the ten classes, as an eleventh class "other".
    scale : (low, high)
        Range of the stamp's longer side, as a fraction of the picture's.
    rotation : float
        Largest rotation either way, in degrees.
    backgrounds : sequence of str
        Names among `BACKGROUNDS`. If "noise" is one of several, it takes half of the scenes.
    transform : callable, optional
        Applied to the PIL image.
    """

    def __init__(
        self,
        split: str = "train",
        per_stamp: int = 4,
        seed: int = 0,
        size: int = 256,
        others: bool = False,
        scale: tuple[float, float] = (0.4, 0.8),
        rotation: float = 20.0,
        backgrounds: Sequence[str] = BACKGROUNDS,
        transform: Callable | None = None,
    ) -> None:
        if per_stamp < 1 or seed < 0 or size < 8:
            raise BadInput("per_stamp must be at least 1, seed at least 0 and size at least 8.")
        if np.shape(scale) != (2,) or not 0 < scale[0] <= scale[1] <= 2:
            raise BadInput(f"scale must be (low, high) with 0 < low <= high <= 2, not {scale}.")
        if not backgrounds or isinstance(backgrounds, str):
            raise BadInput(f"backgrounds must be several of: {', '.join(BACKGROUNDS)}.")
        for name in backgrounds:
            if name not in BACKGROUNDS:
                raise UnknownName.of("background", name, BACKGROUNDS)
        self.stamps, classes = select(split, others)
        self.per_stamp, self.seed, self.size = int(per_stamp), int(seed), int(size)
        self.scale, self.rotation = (float(scale[0]), float(scale[1])), float(rotation)
        self.backgrounds = tuple(backgrounds)
        super().__init__(
            "scenes",
            split,
            classes,
            [classes.index(s.label) for s in self.stamps for _ in range(self.per_stamp)],
            options={
                "per_stamp": self.per_stamp,
                "seed": self.seed,
                "size": self.size,
                "others": others,
                "scale": self.scale,
                "rotation": self.rotation,
                "backgrounds": self.backgrounds,
            },
            transform=transform,
        )

    def scene(self, index: int) -> Scene:
        """Item `index` with its mask and how it was made."""
        index = self.check_index(index)
        which, copy = divmod(index, self.per_stamp)
        one = self.stamps[which]
        # One stream of numbers a scene: nothing else in the dataset has a say.
        uniform = Uniform(self.seed, zlib.crc32(one.key.encode()), copy)
        name, seed = self._choose_background(uniform)
        scale = uniform(*self.scale)
        rotation = uniform(-self.rotation, self.rotation)
        image = one.image()
        centre = self._choose_centre(image.size, scale, rotation, uniform)
        composite = compose(
            image, background(name, seed, self.size), centre, scale, rotation, self.size
        )
        return Scene(
            picture=composite.picture,
            alpha=composite.alpha,
            target=self.targets[index],
            stamp=one.key,
            background=name,
            background_seed=seed,
            centre=centre,
            scale=scale,
            rotation=rotation,
        )

    def _choose_background(self, uniform: Uniform) -> tuple[str, int]:
        noise, which, seed = uniform(), uniform(), int(uniform() * 2**32)
        photographs = [name for name in self.backgrounds if name != "noise"]
        if not photographs or ("noise" in self.backgrounds and noise < 0.5):
            return "noise", seed
        return photographs[int(which * len(photographs))], seed

    def _choose_centre(
        self, stamp_size: tuple[int, int], scale: float, rotation: float, uniform: Uniform
    ) -> tuple[float, float]:
        """Anywhere such that the whole stamp is in the middle 7/8, the part that networks see."""
        width, height = np.array(stamp_size) * scale * self.size / max(stamp_size)
        cos, sin = np.abs(np.cos(np.radians(rotation))), np.abs(np.sin(np.radians(rotation)))
        reach = ((width * sin + height * cos) / 2, (width * cos + height * sin) / 2)
        centre = []
        for half in reach:
            free = max(0.0, self.size * 7 / 16 - half)
            centre.append(self.size / 2 + uniform(-free, free))
        return float(centre[0]), float(centre[1])

    def picture(self, index: int) -> Image.Image:
        return self.scene(index).picture

    def key(self, index: int) -> str:
        """Stamp, number of the scene, and seed: "bird/crow#3@0"."""
        which, copy = divmod(self.check_index(index), self.per_stamp)
        return f"{self.stamps[which].key}#{copy}@{self.seed}"

    def group(self, index: int) -> int:
        """The number of the stamp: its scenes count once in a list of the strongest."""
        return self.check_index(index) // self.per_stamp

    def evidence(self, index: int) -> str:
        return self.stamps[index // self.per_stamp].sha256
