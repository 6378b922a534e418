"""Random boxes: as large as the part, inside, off the parts, and each place equally likely."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from zfnb.errors import BadInput
from zfnb.random_masks import box_masks, free_places, random_boxes


def overlap(a, b) -> bool:
    return bool((box_masks([a], 20) & box_masks([b], 20)).any())


def test_a_box_by_hand():
    mask = box_masks([(1, 0, 3, 2)], 3)
    assert mask.int().tolist() == [[[0, 0, 0], [1, 1, 0], [1, 1, 0]]]
    assert box_masks(np.ones((4, 2, 4), dtype=int) * [0, 0, 1, 1], 3).shape == (4, 2, 3, 3)


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ([(0, 0, 4, 1)], "over the border"),
        ([(-1, 0, 1, 1)], "over the border"),
        ([(1, 1, 1, 2)], "empty"),
        ([(0.0, 0, 1, 1)], "whole numbers"),
        ([(0, 0, 1)], "whole numbers"),
    ],
)
def test_boxes_that_are_refused(boxes, words):
    with pytest.raises(BadInput, match=words):
        box_masks(boxes, 3)


@pytest.mark.parametrize("within", [(0, 0, 20, 20), (3, 2, 18, 19), (-4, 5, 30, 20)])
@pytest.mark.parametrize("side", [(1, 1), (4, 7), (15, 3)])
def test_free_places_against_trying_them_all(within, side):
    height, width = side
    avoid = np.array([(6, 5, 9, 11), (0, 14, 4, 20)])
    found = free_places(height, width, avoid, within, 20)
    for row in range(20):
        for column in range(20):
            box = (row, column, row + height, column + width)
            fits = (
                row >= max(within[0], 0)
                and column >= max(within[1], 0)
                and box[2] <= min(within[2], 20)
                and box[3] <= min(within[3], 20)
            )
            free = fits and not any(overlap(box, other) for other in avoid)
            assert found[row, column] == free


@pytest.mark.parametrize("part", [(-9, 4, -4, 9), (4, -9, 9, -4), (-9, 20, 0, 24), (-2, -2, 3, 2)])
def test_parts_over_and_beyond_the_border(part):
    """A part wholly outside takes no place; of another, what is inside."""
    inside = [[max(0, part[0]), max(0, part[1]), max(0, part[2]), max(0, part[3])]]
    found, expected = (
        free_places(3, 4, avoid, (0, 0, 20, 20), 20) for avoid in ([part], np.array(inside))
    )
    outside = min(part[2:]) <= 0 or max(part[:2]) >= 20
    assert found.sum() == (18 * 17 if outside else 18 * 17 - 3 * 2)
    assert outside or (found == expected).all()


@pytest.mark.parametrize("one_place", [False, True])
def test_random_boxes_keep_off_the_parts(one_place):
    like = np.array([(0, 0, 3, 4), (5, 5, 8, 9), (1, 1, 5, 4)])
    avoid = [np.array([(4, 4, 9, 12)]), np.array([(0, 0, 5, 5), (10, 3, 12, 9)]), np.empty((0, 4))]
    within = np.array([(0, 0, 20, 20), (1, 1, 19, 20), (0, 2, 20, 17)])
    boxes = random_boxes(like, avoid, 20, draws=200, within=within, one_place=one_place, seed=3)
    assert boxes.shape == (200, 3, 4)
    for draw in boxes:
        for box, part, others, limit in zip(draw, like, avoid, within, strict=True):
            assert (box[2:] - box[:2] == part[2:] - part[:2]).all()
            assert (box[:2] >= limit[:2]).all() and (box[2:] <= limit[2:]).all()
            assert not any(overlap(box, other) for other in others)
    sides = boxes[..., 2:] - boxes[..., :2]
    centres = boxes[..., :2] + sides // 2
    same = (centres == centres[:, :1]).all()
    assert same == one_place
    assert len(np.unique(boxes[:, 0], axis=0)) > 50


def test_every_place_is_equally_likely():
    """One row of 6 pixels, a part at 2..3, a box of 1: places 0, 1, 4, 5."""
    draws = 4000
    boxes = random_boxes(
        np.array([(0, 0, 1, 1)]),
        [np.array([(0, 2, 6, 4)])],
        6,
        draws=draws,
        within=np.array([(0, 0, 1, 6)]),
    )
    counts = Counter(boxes[:, 0, 1].tolist())
    assert set(counts) == {0, 1, 4, 5}
    chi = sum((n - draws / 4) ** 2 / (draws / 4) for n in counts.values())
    assert chi < 16.3  # 3 degrees of freedom: passed with a probability of 0.999


def test_the_seed_decides():
    like, avoid = np.array([(0, 0, 2, 2)] * 2), [np.empty((0, 4))] * 2
    first, again, other = (random_boxes(like, avoid, 30, draws=5, seed=s) for s in (1, 1, 2))
    assert (first == again).all() and (first != other).any()
    assert (first[:, 0] != first[:, 1]).any()  # pictures have places of their own


def test_no_room_is_said():
    like = np.array([(0, 0, 5, 5)])
    with pytest.raises(BadInput, match="no place that is free"):
        random_boxes(like, [np.array([(4, 0, 6, 10)])], 10, within=np.array([(1, 0, 9, 10)]))
    two = np.array([(0, 0, 5, 5)] * 2)
    avoid = [np.array([(0, 0, 5, 10)]), np.array([(5, 0, 10, 10)])]
    assert random_boxes(two, avoid, 10).shape == (1, 2, 4)
    with pytest.raises(BadInput, match="free in all pictures"):
        random_boxes(two, avoid, 10, one_place=True)
    with pytest.raises(BadInput, match="at least 1"):
        random_boxes(like, [np.empty((0, 4))], 10, draws=0)
    with pytest.raises(BadInput, match="of 2 pictures but the parts to avoid of 1"):
        random_boxes(two, avoid[:1], 10)
    assert torch.is_tensor(box_masks(two, 10))
