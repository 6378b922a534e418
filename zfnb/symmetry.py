"""Rotation-symmetric pictures, and the dips that they put into the curves of Fig. 5 (Sec. 4).

A picture that looks the same after a turn of 360 / n degrees is *n-fold symmetric*. Every feature
must then return to what it was at each such turn, whatever the network: the distance dips. How far
it dips says how symmetric the picture is, to the layer's eye.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from zfnb.errors import BadInput

FOLDS = range(2, 10)  # what is looked for


@dataclass(frozen=True)
class Dips:
    """The dips of a curve over a full turn.

    Attributes
    ----------
    folds : int
        Dips in a full turn, the one at 0 degrees among them.
    period : float
        360 / folds, in degrees.
    depth : float
        1 - (mean distance at the dips) / (mean distance half way between them): 1 when the curve
        comes back to 0, 0 when it shows nothing. The dip at 0 degrees is left out: every curve has
        it.
    """

    folds: int
    period: float
    depth: float


def dip_depth(degrees: np.ndarray, distance: np.ndarray, folds: int) -> float:
    """How deep a curve dips at the turns of an n-fold symmetry; see `Dips.depth`.

    Parameters
    ----------
    degrees : array (V,)
        Rising from 0, below 360; between them the curve is interpolated.
    distance : array (V,)
    folds : int
        From 2 on.
    """
    degrees, distance = np.asarray(degrees, dtype=float), np.asarray(distance, dtype=float)
    if degrees.ndim != 1 or degrees.shape != distance.shape:
        raise BadInput("Give one curve: as many degrees as distances, in a row.")
    if degrees[0] != 0 or (np.diff(degrees) <= 0).any() or degrees[-1] >= 360:
        raise BadInput("The degrees must rise from 0 and stay below 360.")
    step = max(np.diff(degrees).max(), 360 - degrees[-1])
    if folds < 2 or step > 90 / folds:
        raise BadInput(
            f"Dips of a {folds}-fold symmetry need steps of at most {90 / max(folds, 1):.3g} "
            f"degrees, not {step:g}, and at least 2 folds."
        )
    turns = np.arange(1, folds) * 360 / folds
    between = (np.arange(folds) + 0.5) * 360 / folds
    if folds > 2:  # the dip at 0 has nothing to say, and neither do its slopes
        between = between[1:-1]
    at, away = (np.interp(a, degrees, distance, period=360).mean() for a in (turns, between))
    return float(1 - at / away) if away > 0 else 0.0


def dips(degrees: np.ndarray, distance: np.ndarray) -> Dips:
    """The symmetry that a curve shows best.

    Each n of `FOLDS` that the steps are fine enough for is tried. The depth of n dips is a mean of
    n - 1 of them, so its noise falls with the root of n - 1: the largest depth * sqrt(n - 1) wins.
    (Otherwise a 6-fold picture could as well be a 2-fold or a 3-fold one, which it also is.)

    Some n always wins. Compare the depth with that of a picture without symmetry.
    """
    step = max(np.diff(degrees).max(), 360 - degrees[-1])
    tried = [n for n in FOLDS if step <= 90 / n]
    if not tried:
        raise BadInput(f"Steps of {step:g} degrees are too coarse for dips; take 10 or fewer.")
    depths = {n: dip_depth(degrees, distance, n) for n in tried}
    folds = max(tried, key=lambda n: depths[n] * math.sqrt(n - 1))
    return Dips(folds, 360 / folds, depths[folds])


def rosette(folds: int, odd: bool = False, size: int = 224) -> Image.Image:
    """A drawn flower with exactly n equal petals, as a stamp: the truth is known.

    Parameters
    ----------
    folds : int
        Petals.
    odd : bool
        Give one petal another colour: nearly the same picture, and no symmetry left.
    size : int
        Height and width in pixels.

    Returns
    -------
    PIL.Image.Image
        RGBA, with smooth edges.
    """
    if folds < 2 or size < 8:
        raise BadInput(f"A rosette needs at least 2 petals and 8 pixels, not {folds} and {size}.")
    fine = 4 * size  # drawn larger, then averaged
    y, x = (np.mgrid[:fine, :fine] + 0.5) / fine * 2 - 1
    radius, angle = np.hypot(x, y), np.arctan2(x, -y)  # angle from the top, clockwise
    petal = np.cos(folds * angle) / 2 + 0.5  # 1 along a petal, 0 between two
    picture = np.zeros((fine, fine, 4))
    picture[radius < 0.3 + 0.68 * petal] = (230, 120, 40, 255)
    if odd:
        first = (radius < 0.3 + 0.68 * petal) & (np.abs(angle) < np.pi / folds)
        picture[first] = (60, 90, 200, 255)
    picture[(radius < 0.62 * petal) & (radius > 0.25)] *= (0.75, 0.75, 0.75, 1)
    picture[radius < 0.25] = (250, 220, 90, 255)
    # Premultiplied, so that the colour of invisible pixels does not darken the edge.
    alpha = picture[..., 3:]
    mixed = np.concatenate((picture[..., :3] * alpha / 255, alpha), 2)
    small = mixed.reshape(size, 4, size, 4, 4).mean((1, 3))
    small[..., :3] *= 255 / np.maximum(small[..., 3:], 1)
    return Image.fromarray(np.rint(small).clip(0, 255).astype(np.uint8), "RGBA")
