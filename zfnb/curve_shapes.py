"""Is a curve of Fig. 5 "dramatic" or "quasi-linear"? Three numbers (Sec. 4).

A curve starts at 0, where nothing is transformed yet, and goes up. Both axes are scaled to 1: the
transformation by the end of its range, the distance by the largest one on the way. Then a straight
line from corner to corner is what *linear* means, and a curve that jumps at once to its full height
is the most *dramatic* one there is.

A translation goes two ways, and so does a rotation (up to half a turn, since beyond it comes back):
each way is a curve, and the numbers are means of the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zfnb.errors import BadInput
from zfnb.invariance import InvarianceCurves

NEAR = 0.1  # "small" transformations: a tenth of the range


@dataclass(frozen=True)
class CurveShapes:
    """How N curves rise.

    Attributes
    ----------
    slope : array (N,)
        At the origin, over the first tenth of the range, in units of the straight line's: 1 is
        linear, 10 is all of the way in the first tenth, 0 is no change at first.
    curvature : array (N,) in [-1, 1]
        Area between the curve and the straight line, in units of the triangle under the line: 0
        linear, 1 a jump at once, below 0 a curve that hangs under the line.
    straightness : array (N,)
        R squared of the best straight line through the origin: 1 linear, 0 no better than a level.
    """

    slope: np.ndarray
    curvature: np.ndarray
    straightness: np.ndarray


def sides(curves: InvarianceCurves) -> list[tuple[np.ndarray, np.ndarray]]:
    """The ways from the identity: (t, which values), t rising from 0 to 1.

    Raises `BadInput` if the identity is not among the values, or no way has two values.
    """
    offset = curves.values - curves.transform.identity
    if curves.transform.turns:
        offset = (offset + 180) % 360 - 180  # half a turn either way; -180 and 180 are one
    if not (offset == 0).any():
        raise BadInput(
            f"The shape of a curve is measured from {curves.transform.identity:g}, where nothing "
            "is transformed; put it among the values."
        )
    ways = []
    for sign in (1, -1):
        amount = sign * offset
        if curves.transform.turns:
            amount = np.where(np.abs(offset) == 180, 180, amount)
        chosen = np.flatnonzero(amount >= 0)
        chosen = chosen[np.argsort(amount[chosen], kind="stable")]
        if len(chosen) > 2:
            ways.append((amount[chosen] / amount[chosen].max(), chosen))
    if not ways:
        raise BadInput("The shape of a curve needs two values besides the identity; give more.")
    return ways


def scaled(curves: InvarianceCurves, layer: str, points: int = 101) -> np.ndarray:
    """The curves of a layer with both axes scaled to 1, (N, points): a mean of both ways.

    A curve that stays at 0 stays at 0.
    """
    if layer not in curves.distance:
        curves.relative(layer)  # names the layers there are
    grid, rows = np.linspace(0, 1, points), []
    for row in curves.distance[layer]:
        ways = [(t, row[chosen]) for t, chosen in sides(curves)]
        rows.append(np.mean([np.interp(grid, t, y / (y.max() or 1)) for t, y in ways], axis=0))
    return np.array(rows)


def curve_shapes(curves: InvarianceCurves, layer: str) -> CurveShapes:
    """Slope at the origin, curvature and straightness of each picture's curve of a layer.

    Raises
    ------
    UnknownName, BadInput
        For a layer that the curves do not have, or values without the identity.
    """
    if layer not in curves.distance:
        curves.relative(layer)  # names the layers there are
    found = [
        [_shape(t, row[chosen]) for t, chosen in sides(curves)] for row in curves.distance[layer]
    ]
    slope, curvature, straightness = np.mean(found, axis=1).T
    return CurveShapes(slope, curvature, straightness)


def _shape(t: np.ndarray, distance: np.ndarray) -> tuple[float, float, float]:
    """Slope, curvature and straightness of one way."""
    y = distance / (distance.max() or np.nan)  # a curve that never rises has no shape
    slope = np.interp(NEAR, t, y) / NEAR
    curvature = 2 * np.trapezoid(y, t) - 1
    line = (t @ y) / (t @ t) * t
    straightness = 1 - np.sum((y - line) ** 2) / np.sum((y - y.mean()) ** 2)
    return slope, curvature, straightness
