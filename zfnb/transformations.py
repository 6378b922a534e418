"""Moving, scaling and turning pictures by any amount (Sec. 4, Fig. 5).

The pictures are inputs of a network, normalised tensors. Each new pixel is a weighted mean of old
ones, and such a mean commutes with normalisation: so this gives what transforming the 8-bit picture
would give, without its rounding. Nothing is changed at the identity, and a shift by whole pixels
copies pixels, bit for bit.

What enters from beyond the border was never photographed. It has to be made up, and the choice
(`FILLS`) is part of the experiment.

Shapes: N pictures, C channels, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zfnb.errors import BadInput, UnknownName

FILLS = ("edge", "reflect", "mean")
PAPER_SIZE = 224  # the paper's pixels are those of its input


def translate(images: Tensor, down: float = 0, right: float = 0, fill: str = "edge") -> Tensor:
    """Shift pictures.

    Parameters
    ----------
    images : Tensor (N, C, H, W)
    down, right : float
        Pixels; negative ones go up and left. Parts of a pixel are bilinear.
    fill : {"edge", "reflect", "mean"}
        What enters at the border: the border's pixels repeated, the picture mirrored at its border
        pixels, or 0, which is the mean colour of a normalised picture.

    Returns
    -------
    Tensor (N, C, H, W)
    """
    height, width = images.shape[-2:]
    return _along_both(images, np.arange(height) - down, np.arange(width) - right, 1.0, fill)


def scale(images: Tensor, factor: float, fill: str = "edge") -> Tensor:
    """Enlarge pictures about their centre, `factor` times.

    Bilinear; below 1 the weights widen with the step between old pixels, against aliasing.
    Raises `BadInput` unless `factor` is above 0. The other parameters are those of `translate`.
    """
    if not factor > 0:
        raise BadInput(f"A picture cannot be scaled {factor} times; give a factor above 0.")
    centres = [(side - 1) / 2 for side in images.shape[-2:]]
    rows, columns = (c + (np.arange(2 * c + 1) - c) / factor for c in centres)
    return _along_both(images, rows, columns, max(1.0, 1 / factor), fill)


def rotate(images: Tensor, degrees: float, fill: str = "edge") -> Tensor:
    """Turn pictures about their centre, anticlockwise.

    Bilinear. A quarter turn of a square picture is exact. The other parameters are those of
    `translate`.
    """
    height, width = images.shape[-2:]
    # Rounded, so that the cosine of a quarter turn is 0 and not 6e-17.
    cos, sin = (round(f(math.radians(degrees % 360)), 15) for f in (math.cos, math.sin))
    y, x = np.mgrid[:height, :width].astype(float)  # of new pixels, from the centre
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    rows = x * sin + y * cos + (height - 1) / 2  # where they come from
    columns = x * cos - y * sin + (width - 1) / 2
    top, left = np.floor(rows), np.floor(columns)
    flat, turned = images.flatten(2), torch.zeros_like(images)
    for row, row_weight in ((top, 1 + top - rows), (top + 1, rows - top)):
        for column, weight in ((left, 1 + left - columns), (left + 1, columns - left)):
            r, r_there = folded(row, height, fill)
            c, c_there = folded(column, width, fill)
            weights = row_weight * weight * r_there * c_there
            pixels = flat[:, :, torch.from_numpy(r * width + c).flatten().to(images.device)]
            turned += torch.from_numpy(weights).to(images) * pixels.view_as(images)
    return turned


def folded(index: np.ndarray, size: int, fill: str) -> tuple[np.ndarray, np.ndarray]:
    """For pixels at `index`, which may lie outside: the pixel inside that stands for each, and
    whether (1 or 0) there is one."""
    index = index.astype(np.int64)
    there = np.ones(index.shape)
    if fill == "mean":
        there = ((index >= 0) & (index < size)).astype(float)
    elif fill == "reflect":
        period = max(1, 2 * (size - 1))
        index = np.abs((index + size - 1) % period - size + 1)
    elif fill != "edge":
        raise UnknownName.of("fill", fill, FILLS)
    return index.clip(0, size - 1), there


def weights_matrix(positions: np.ndarray, size: int, reach: float, fill: str) -> np.ndarray:
    """The matrix (P, size) that takes `size` old pixels to new ones.

    Parameters
    ----------
    positions : array (P,)
        Where the new pixels lie among the old ones: 1.5 is half way between pixels 1 and 2.
    reach : float
        A new pixel is a mean under a triangle that falls to 0 so many pixels away.
    """
    first = np.floor(positions - reach)
    index = first[:, None] + np.arange(math.ceil(2 * reach) + 2)
    weights = (1 - np.abs(index - positions[:, None]) / reach).clip(min=0)
    weights /= weights.sum(1, keepdims=True)
    inside, there = folded(index, size, fill)
    matrix = np.zeros((len(positions), size))
    np.add.at(matrix, (np.arange(len(positions))[:, None], inside), weights * there)
    return matrix


def _along_both(
    images: Tensor, rows: np.ndarray, columns: np.ndarray, reach: float, fill: str
) -> Tensor:
    """New rows, then new columns; see `weights_matrix`."""
    down, across = (
        torch.from_numpy(weights_matrix(positions, side, reach, fill)).to(images)
        for positions, side in zip((rows, columns), images.shape[-2:], strict=True)
    )
    return down @ images @ across.T


@dataclass(frozen=True)
class Transformation:
    """One way to move pictures, by an amount.

    Attributes
    ----------
    name : str
    unit : str
        Of its values.
    identity : float
        The value that changes nothing.
    paper : (low, high)
        The range of Fig. 5.
    move : callable (images (N, C, H, W), value, fill) -> images
        It must be linear in the images, as all of this file are.
    in_pixels : bool
        The values are lengths: the same part of a smaller picture is fewer pixels.
    turns : bool
        The values go round a circle, so that the last one is next to the first.
    """

    name: str
    unit: str
    identity: float
    paper: tuple[float, float]
    move: Callable[[Tensor, float, str], Tensor]
    in_pixels: bool = False
    turns: bool = False

    def __call__(self, images: Tensor, value: float, fill: str = "edge") -> Tensor:
        """The pictures (N, C, H, W), transformed by `value`."""
        if not math.isfinite(value):
            raise BadInput(f"The value of a {self.name} must be a finite number, not {value}.")
        if value == self.identity:
            return images.clone()
        return self.move(images, float(value), fill)

    def values(self, size: int = PAPER_SIZE, count: int = 25) -> np.ndarray:
        """Values over the paper's range, (count,).

        Parameters
        ----------
        size : int
            Side of the network's input. The paper's pixels are of 224; of a smaller picture the
            same part is taken.
        count : int
            At least 3; of a translation an odd number, so that 0 is among them. Of a rotation, 36
            give the paper's steps of 10 degrees.
        """
        if count < 3:
            raise BadInput(f"A curve needs at least 3 values, not {count}.")
        low, high = self.paper
        if self.turns:
            return low + np.arange(count) * 360.0 / count
        if self.in_pixels and count % 2 == 0:
            raise BadInput(
                f"{count} values of a translation leave out 0; give an odd number of them."
            )
        return np.linspace(low, high, count) * (size / PAPER_SIZE if self.in_pixels else 1)


# Fig. 5's three, and horizontal translation, which the paper leaves out.
TRANSFORMATIONS: dict[str, Transformation] = {
    "vertical": Transformation(
        "vertical translation",
        "pixels",
        0.0,
        (-60.0, 60.0),
        lambda images, value, fill: translate(images, down=value, fill=fill),
        in_pixels=True,
    ),
    "horizontal": Transformation(
        "horizontal translation",
        "pixels",
        0.0,
        (-60.0, 60.0),
        lambda images, value, fill: translate(images, right=value, fill=fill),
        in_pixels=True,
    ),
    "scale": Transformation("scale", "times", 1.0, (1.0, 1.8), scale),
    "rotation": Transformation("rotation", "degrees", 0.0, (0.0, 350.0), rotate, turns=True),
}


def transformation(transform: str | Transformation) -> Transformation:
    """A `Transformation` by its name in `TRANSFORMATIONS`; one of one's own is returned."""
    if isinstance(transform, Transformation):
        return transform
    if transform not in TRANSFORMATIONS:
        raise UnknownName.of("transformation", transform, TRANSFORMATIONS)
    return TRANSFORMATIONS[transform]
