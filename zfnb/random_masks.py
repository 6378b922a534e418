"""Boxes as masks, and random boxes that keep off given ones (Sec. 4.3, the last row of Table 1).

A box is (top, left, bottom, right) in whole pixels of the input: rows top to bottom - 1. Random
boxes have the size of the part that they are compared with and never lie over any part. The paper
says no more than "random"; what it leaves open are the choices here: anywhere in the picture or on
the face only, and a place for each picture or one place for all.

Shapes: N pictures, P parts, M draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from zfnb.errors import BadInput

Boxes = np.ndarray  # (..., 4) int


def box_masks(boxes: Boxes | Sequence, size: int) -> Tensor:
    """Boxes (..., 4) as masks (..., size, size), True inside.

    Raises
    ------
    BadInput
        If a box is empty or reaches over the border.
    """
    boxes = np.asarray(boxes)
    if boxes.ndim < 1 or boxes.shape[-1] != 4 or not np.issubdtype(boxes.dtype, np.integer):
        raise BadInput("A box is four whole numbers: top, left, bottom, right.")
    top, left, bottom, right = (torch.from_numpy(boxes[..., k, None].copy()) for k in range(4))
    if bool(
        ((top < 0) | (left < 0) | (bottom > size) | (right > size) | (top >= bottom)).any()
        | (left >= right).any()
    ):
        raise BadInput(f"A box is empty or lies over the border of {size} x {size} pixels.")
    place = torch.arange(size)
    rows = (place >= top) & (place < bottom)  # (..., size)
    columns = (place >= left) & (place < right)
    return rows[..., :, None] & columns[..., None, :]


def free_places(height: int, width: int, avoid: Boxes, within: Sequence[int], size: int):
    """Where the top left corner of a box may lie.

    Parameters
    ----------
    height, width : int
        Of the box.
    avoid : array (P, 4)
        Boxes that it must not overlap.
    within : (top, left, bottom, right)
        Where it must lie, whole.
    size : int
        Side of the input.

    Returns
    -------
    bool array (size, size)
    """
    free = np.zeros((size, size), dtype=bool)
    top, left, bottom, right = within
    free[
        max(top, 0) : max(min(bottom, size) - height + 1, 0),
        max(left, 0) : max(min(right, size) - width + 1, 0),
    ] = True
    for top, left, bottom, right in np.asarray(avoid).reshape(-1, 4):
        # A corner from here on reaches into the box: it must lie outside of a larger one.
        rows = slice(max(top - height + 1, 0), max(bottom, 0))  # a negative end counts from behind
        free[rows, max(left - width + 1, 0) : max(right, 0)] = False
    return free


def random_boxes(
    like: Boxes,
    avoid: Sequence[Boxes],
    size: int,
    *,
    draws: int = 1,
    within: Boxes | None = None,
    one_place: bool = False,
    seed: int = 0,
) -> Boxes:
    """Boxes at random places, as large as given ones, that overlap no part.

    Every free place is equally likely, and the draws are independent.

    Parameters
    ----------
    like : array (N, 4)
        A box a picture; only the sizes matter.
    avoid : N arrays (P, 4)
        The parts of each picture.
    size : int
        Side of the input in pixels.
    draws : int
        M.
    within : array (N, 4), optional
        Where they must lie, such as the face; by default the whole input.
    one_place : bool
        In every draw, the boxes of all pictures have the same centre (to a pixel), as the eyes of
        frontal faces nearly have. By default each picture has a place of its own.
    seed : int

    Returns
    -------
    array (M, N, 4) of int

    Raises
    ------
    BadInput
        If there is no free place.
    """
    like = np.asarray(like)
    if draws < 1:
        raise BadInput(f"draws must be at least 1, not {draws}.")
    if len(like) != len(avoid):
        raise BadInput(
            f"The boxes are of {len(like)} pictures but the parts to avoid of {len(avoid)}; give "
            "the parts of each picture."
        )
    whole = np.tile([0, 0, size, size], (len(like), 1))
    within = whole if within is None else np.asarray(within)
    heights, widths = like[:, 2] - like[:, 0], like[:, 3] - like[:, 1]
    rng = np.random.default_rng(seed)
    free = [
        free_places(h, w, parts, box, size)
        for h, w, parts, box in zip(heights, widths, avoid, within, strict=True)
    ]
    if one_place:
        # By centres instead of corners, where all pictures have room.
        centred = [
            np.roll(places, (h // 2, w // 2), (0, 1))
            for places, h, w in zip(free, heights, widths, strict=True)
        ]
        common = np.logical_and.reduce(centred)
        chosen = draw(common, draws, rng, "that is free in all pictures")
        corners = np.stack(
            [chosen - (h // 2, w // 2) for h, w in zip(heights, widths, strict=True)], axis=1
        )
    else:
        corners = np.stack([draw(places, draws, rng, "that is free") for places in free], axis=1)
    ends = corners + np.stack((heights, widths), axis=1)
    return np.concatenate((corners, ends), axis=-1)  # (M, N, 4)


def draw(places: np.ndarray, draws: int, rng: np.random.Generator, what: str) -> np.ndarray:
    """`draws` places (draws, 2) of those that are True, each equally likely."""
    found = np.argwhere(places)
    if not len(found):
        raise BadInput(f"There is no place {what}: take smaller parts, or a larger area.")
    return found[rng.integers(len(found), size=draws)]
