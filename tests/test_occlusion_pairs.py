"""Pictures of two things, and what hiding one does to the label."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from PIL import Image

from zfnb.data import background, preprocess
from zfnb.errors import BadInput
from zfnb.occlusion import occlusion_maps
from zfnb.occlusion_pairs import SIDE, LabelShift, Pair, label_shift, pair, pairs, places_on

KEYS = ["fruit/lemon", "mammal/lion", "fruit/orange"]


@pytest.fixture(scope="module")
def two(trunk):
    return pair(trunk, KEYS[:2], [4, 2])


def test_things_stand_apart_before_the_background(trunk, two):
    left, right = two.masks
    assert torch.equal(preprocess(two.picture, trunk), two.image)
    assert two.names == ("yellow lemon", "lion") and two.targets == (4, 2)
    assert left.sum() > 500 and right.sum() > 500
    assert not (left[:, 112:].any() or right[:, :112].any())  # one in each half
    for mask in two.masks:  # all of it is inside what the network sees
        assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
    behind = preprocess(background("noise", 0, SIDE), trunk)
    bare = two.masks.sum(0) == 0
    assert torch.allclose(two.image[:, bare], behind[:, bare], atol=0.02)
    assert (two.image - behind)[:, left > 0.9].abs().mean() > 0.2


def test_all_pairs_of_things_of_different_classes(trunk):
    found = pairs(trunk, KEYS, [0, 1, 0], size=0.3)
    assert [one.targets for one in found] == [(0, 1), (1, 0)]
    assert found[0].masks.sum() < pair(trunk, KEYS[:2], [0, 1]).masks.sum()


def test_what_is_no_pair_is_refused(trunk):
    with pytest.raises(BadInput, match="two keys"):
        pair(trunk, KEYS, [0, 1, 2])
    for size in (0, 0.5):
        with pytest.raises(BadInput, match="size must be above 0"):
            pair(trunk, KEYS[:2], [0, 1], size=size)


@pytest.fixture(scope="module")
def maps(small_zfnet):
    image = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(5))
    return occlusion_maps(small_zfnet, image, square=16, stride=16)  # 4 x 4 places


def made(maps, label, whole):
    """The same maps with labels (4, 4) and a label of the whole picture."""
    probability = torch.zeros(7)
    probability[whole] = 1
    return dataclasses.replace(maps, label=label, whole_probability=probability)


@pytest.fixture
def halves():
    masks = torch.zeros(2, 64, 64)
    masks[0, :, :32] = masks[1, :, 32:] = 1
    return Pair(
        ("left", "right"), Image.new("RGB", (64, 64)), torch.zeros(3, 64, 64), masks, (3, 5)
    )


def test_shifts_by_hand(maps, halves):
    label = torch.full((4, 4), 5)  # the right thing is named
    label[0, 2:] = 3  # on it: 2 of 8 places turn to the left thing
    label[1, 2] = 6  # and one to something else
    label[3, 0] = 1  # elsewhere: 1 of 8
    found = label_shift(made(maps, label, 5), halves)
    assert found == LabelShift(1, 0, 3 / 8, 1 / 8, 2 / 8, 0.0)
    assert label_shift(made(maps, label, 1), halves) is None
    on = places_on(maps, halves.masks[1])
    assert on.tolist() == [[False, False, True, True]] * 4
    elsewhere = dataclasses.replace(maps, positions=maps.positions.to("meta"))
    assert places_on(elsewhere, halves.masks[1]).device.type == "meta"


def test_shifts_need_a_label_and_a_place(maps, halves):
    with pytest.raises(BadInput, match="no label"):
        label_shift(dataclasses.replace(maps, label=None), halves)
    nowhere = dataclasses.replace(halves, masks=torch.zeros(2, 64, 64))
    with pytest.raises(BadInput, match="smaller square"):
        label_shift(made(maps, torch.full((4, 4), 5), 5), nowhere)
