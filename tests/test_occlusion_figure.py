"""A row of Fig. 7, its numbers, and the windows of layers, each written again in a plain way."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import zfnb
from zfnb import occlusion_figure as occ
from zfnb.errors import BadInput, UnknownName
from zfnb.occlusion import occlusion_maps

OPTIONS = {"square": 20, "stride": 11}


class Noise(Dataset):
    name = "noise"

    def __init__(self):
        self.images = torch.randn(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, item):
        return self.images[item], 0


@pytest.fixture(scope="module")
def image():
    return torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def one(small_zfnet, image):
    return occ.occluded_picture(small_zfnet, image, "noise", **OPTIONS)


def test_a_row_holds_the_maps_and_the_projection_of_the_same_map(small_zfnet, image, one):
    expected = occlusion_maps(small_zfnet, image, **OPTIONS)
    assert torch.equal(one.maps.probability, expected.probability)
    maps = zfnb.features(small_zfnet, image, "conv5")[0]
    assert one.maps.feature_map == int(maps.amax((1, 2)).argmax())
    found = zfnb.Deconvnet(small_zfnet).project(image, "conv5", one.maps.feature_map, "map")
    assert torch.equal(one.projection, found.pixels[0])
    assert one.elsewhere is None and one.mask is None


def test_the_share_of_a_map_on_the_object_by_both_readings(small_zfnet, image):
    mask = torch.zeros(64, 64)
    mask[16:48, :32] = 1
    found = occ.on_object(small_zfnet, image, mask)
    maps = zfnb.features(small_zfnet, image, "conv5")[0].double()
    (side, _) = maps.shape[1:]
    part = torch.zeros(side, side, dtype=torch.float64)
    for row in range(side):  # the part of each cell that is object, pixel by pixel
        for column in range(side):
            top, left = row * 64 // side, column * 64 // side
            bottom, right = -(-(row + 1) * 64 // side), -(-(column + 1) * 64 // side)
            part[row, column] = mask[top:bottom, left:right].double().mean()
    for name, chosen in (("single", maps.amax((1, 2))), ("sum", maps.sum((1, 2)))):
        own = maps[int(chosen.argmax())]
        assert found[name] == pytest.approx(float((own * part).sum() / own.sum()), rel=1e-5)
    assert found["area"] == pytest.approx(float(part.mean()), rel=1e-5)
    assert 0 < found["area"] < 1


def test_the_share_on_the_object_needs_maps_and_a_mask_of_the_picture(small_zfnet, image):
    with pytest.raises(BadInput, match="must be as the picture"):
        occ.on_object(small_zfnet, image, torch.ones(32, 32))
    with pytest.raises(BadInput, match="choose a layer of maps"):
        occ.on_object(small_zfnet, image, torch.ones(64, 64), "fc7")


def test_the_square_is_drawn_where_the_network_saw_it(small_zfnet, one):
    place = occ.lowest(one.maps.probability)
    hidden = one.with_square(*place)
    top, left = one.maps.positions[place].tolist()
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[top : top + 20, left : left + 20] = True
    assert torch.equal(hidden[:, ~inside], one.image[:, ~inside])
    assert torch.equal(hidden[:, inside], one.cover[:, inside])
    seen = zfnb.features(small_zfnet, hidden, "fc8").softmax(1)[0, one.maps.target]
    assert float(seen) == pytest.approx(float(one.maps.probability.min()), rel=1e-4)


def test_its_strongest_elsewhere_come_from_the_index(small_zfnet, image):
    pictures = Noise()
    index = zfnb.TopActivations.build(small_zfnet, pictures, ["conv5"], k=3)
    mask = torch.ones(64, 64)
    one = occ.occluded_picture(
        small_zfnet, image, "x", mask=mask, dataset=pictures, index=index, **OPTIONS
    )
    assert one.elsewhere.feature_map == one.maps.feature_map and one.elsewhere.layer == "conv5"
    assert one.elsewhere.records == index.top("conv5", one.maps.feature_map)
    assert one.mask is mask


def test_a_unit_of_a_fully_connected_layer_has_a_projection_too(small_zfnet, image):
    one = occ.occluded_picture(small_zfnet, image, "x", layer="fc7", **OPTIONS)
    found = zfnb.Deconvnet(small_zfnet).project(image, "fc7", one.maps.feature_map)
    assert torch.equal(one.projection, found.pixels[0])


def test_what_does_not_fit_is_refused(small_zfnet, image, one):
    with pytest.raises(BadInput, match="mask must be 64 x 64"):
        occ.occluded_picture(small_zfnet, image, "x", mask=torch.ones(60, 60), **OPTIONS)
    with pytest.raises(BadInput, match="64 x 64"):
        occ.under_squares(torch.ones(32, 32), one.maps)
    with pytest.raises(BadInput, match="projection is empty"):
        occ.covered_share(torch.zeros(3, 64, 64), one.maps)


def test_the_lowest_place():
    assert occ.lowest(torch.tensor([[3.0, 2.0, 5.0], [1.0, 4.0, 1.0]])) == (1, 0)


@pytest.mark.parametrize("overhang", [False, True])
def test_sums_under_squares_are_those_of_a_loop(small_zfnet, image, overhang):
    maps = occlusion_maps(small_zfnet, image, overhang=overhang, **OPTIONS)
    values = torch.rand(64, 64, generator=torch.Generator().manual_seed(1))
    found = occ.under_squares(values, maps)
    h, w = found.shape
    for row in range(h):
        for column in range(w):
            top, left = maps.positions[row, column].tolist()
            part = values[max(top, 0) : max(top + 20, 0), max(left, 0) : max(left + 20, 0)]
            assert float(found[row, column]) == pytest.approx(float(part.double().sum()))


def test_shares_of_a_projection_by_hand(one):
    projection = torch.zeros(3, 64, 64)
    projection[0, 0, 0], projection[2, 63, 63] = 1.0, -3.0  # energies 1 and 9, at two corners
    share = occ.covered_share(projection, one.maps)
    assert float(share[0, 0]) == pytest.approx(0.1) and float(share[-1, -1]) == pytest.approx(0.9)
    assert float(share.sum()) == pytest.approx(1.0)  # no other place covers a corner


def test_rank_correlation_by_hand():
    first = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert occ.rank_correlation(first, first.exp()) == pytest.approx(1)
    assert occ.rank_correlation(first, -first) == pytest.approx(-1)
    # Ranks 1, 2, 3, 4 and 2, 1, 4, 3: 1 - 6 * 4 / (4 * 15).
    assert occ.rank_correlation(first, torch.tensor([[2.0, 1.0], [4.0, 3.0]])) == pytest.approx(0.6)
    assert np.isnan(occ.rank_correlation(first, torch.ones(2, 2)))


def test_a_map_follows_a_projection_that_lies_where_it_falls(one):
    fall = one.maps.whole_activation - one.maps.activation
    row, column = divmod(int(fall.argmax()), fall.shape[1])
    top, left = one.maps.positions[row, column].tolist()
    there, away = torch.zeros(3, 64, 64), torch.ones(3, 64, 64)
    there[:, top + 5 : top + 15, left + 5 : left + 15] = 1
    away[:, top : top + 20, left : left + 20] = 0
    assert occ.follows(one, there) > 0.1 > occ.follows(one, away)
    expected = occ.rank_correlation(fall, occ.covered_share(one.projection, one.maps))
    assert occ.follows(one) == expected


def test_the_control_takes_the_projections_of_the_others(small_zfnet, one):
    pictures = Noise()
    rows = [one] + [
        occ.occluded_picture(small_zfnet, pictures.images[n], "x", **OPTIONS) for n in (0, 1)
    ]
    found = occ.follows_others(rows)
    expected = (occ.follows(one, rows[1].projection) + occ.follows(one, rows[2].projection)) / 2
    assert found.shape == (3,) and found[0] == pytest.approx(expected)
    with pytest.raises(BadInput, match="at least two"):
        occ.follows_others(rows[:1])


def test_how_far_the_lows_are_apart(one):
    h, w = one.maps.probability.shape
    activation, probability = torch.ones(h, w), torch.ones(h, w)
    activation[0, 1] = probability[3, 2] = 0  # three steps of 11 down, one to the right
    maps = dataclasses.replace(one.maps, activation=activation, probability=probability)
    assert occ.lows_apart(maps) == pytest.approx(11 * 10**0.5)


def test_how_far_random_places_are_apart(one):
    places = torch.tensor([[[0, 0], [0, 10], [0, 30]]])
    maps = dataclasses.replace(one.maps, positions=places, square=15)
    assert occ.chance_apart(maps) == pytest.approx(2 / 3)  # distances 10, 20, 30


# ---------------------------------------------------------------- windows of layers


@pytest.mark.parametrize("square", [4, 16])
def test_what_a_square_changes_lies_in_the_windows(small_zfnet, image, square):
    rows = {row.layer: row for row in occ.layer_windows(small_zfnet, square, 6)}
    for top in (0, 24, 64 - square):
        hidden = image.clone()
        hidden[:, top : top + square, top : top + square] += 1
        for layer, row in rows.items():
            if row.operation == "fully connected":
                continue
            maps, other = (zfnb.features(small_zfnet, x, layer)[0] for x in (image, hidden))
            changed = ((maps - other).abs() > 1e-6).any(0).any(0).nonzero()
            assert row.positions == maps.shape[-1]
            if len(changed):
                assert int(changed.max() - changed.min()) + 1 <= row.window <= row.positions


def test_multiply_adds_by_hand(trunk):
    rows = {row.layer: row for row in occ.layer_windows(trunk, 32, 8)}
    assert rows["conv1"].multiply_adds == 55 * 55 * 64 * 3 * 11 * 11
    assert rows["conv5"].multiply_adds == 13 * 13 * 256 * 256 * 3 * 3
    assert rows["pool1"].multiply_adds == 0 and rows["pool1"].operation == "pool"
    assert rows["conv1"].window == 11 and rows["conv1"].share == pytest.approx((11 / 55) ** 2)
    assert 0.3 < occ.windows_share(list(rows.values())) < 0.6


def test_a_square_that_hides_all_leaves_nothing_out(small_zfnet):
    rows = occ.layer_windows(small_zfnet, 64, 1)
    assert all(row.window == row.positions for row in rows)
    assert occ.windows_share(rows) == pytest.approx(1)
    assert [r.layer for r in rows[-3:]] == ["fc6", "fc7", "fc8"]
    assert occ.layer_windows(small_zfnet, np.int64(64), np.int64(1)) == rows
    for square in (0, 65, 2.5, True):
        with pytest.raises(BadInput, match="from 1 to 64 pixels"):
            occ.layer_windows(small_zfnet, square, 1)
    with pytest.raises(BadInput, match="stride must be"):
        occ.layer_windows(small_zfnet, 8, 0)


# ---------------------------------------------------------------- one place at a time


@pytest.mark.parametrize("layer", ["conv5", "fc7"])
def test_a_glance_is_one_place_of_the_maps(small_zfnet, image, layer):
    maps = occlusion_maps(small_zfnet, image, layer=layer, **OPTIONS)
    watcher = occ.Watcher(small_zfnet, image, layer)
    assert watcher.feature_map == maps.feature_map
    assert torch.allclose(watcher.whole.probabilities, maps.whole_probability, atol=1e-6)
    top, left = maps.positions[1, 2].tolist()
    seen = watcher(top, left, 20)
    assert torch.allclose(seen.probabilities, maps.probabilities[1, 2], atol=1e-6)
    assert seen.activation == pytest.approx(float(maps.activation[1, 2]), rel=1e-4)
    where = "map" if layer == "conv5" else "max"
    expected = zfnb.Deconvnet(small_zfnet).project(seen.image, layer, maps.feature_map, where)
    assert torch.equal(seen.projection.pixels, expected.pixels)


def test_a_square_outside_of_the_picture_changes_nothing(small_zfnet, image):
    watcher = occ.Watcher(small_zfnet, image)
    assert torch.equal(watcher(-20, 10, 20).image, image)
    assert not torch.equal(watcher(-19, 10, 20).image, image)


def test_the_classifier_of_a_network_of_ones_own_may_have_any_name(image):
    own = nn.Sequential(
        nn.Conv2d(3, 4, 7, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 15 * 15, 5)
    ).eval()
    watcher = occ.Watcher(zfnb.load_model(own, input_size=64), image, "conv1")
    expected = own(image[None])[0].softmax(0)
    assert torch.allclose(watcher.whole.probabilities, expected, atol=1e-6)


def test_a_watcher_that_cannot_start(small_zfnet, trunk, image):
    with pytest.raises(BadInput, match="no classifier"):
        occ.Watcher(trunk, torch.zeros(3, 224, 224))
    with pytest.raises(UnknownName, match="conv5"):
        occ.Watcher(small_zfnet, image, "conv7")
    with pytest.raises(BadInput, match="has maps 0 to"):
        occ.Watcher(small_zfnet, image, feature_map=999)
