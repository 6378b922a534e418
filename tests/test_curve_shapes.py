"""Slope, curvature and straightness, of curves that can be worked out."""

from __future__ import annotations

import numpy as np
import pytest

from zfnb import curve_shapes as cs
from zfnb.errors import BadInput, UnknownName
from zfnb.invariance import InvarianceCurves
from zfnb.transformations import TRANSFORMATIONS


def curves(name: str, values, distance) -> InvarianceCurves:
    distance = np.atleast_2d(np.asarray(distance, dtype=float))
    values = np.asarray(values, dtype=float)
    nothing = np.full(distance.shape, np.nan)
    return InvarianceCurves(
        TRANSFORMATIONS[name],
        values,
        {"conv1": distance},
        {"conv1": np.ones(len(distance))},
        nothing,
        nothing,
        None,
    )


def shape(name, values, distance):
    found = cs.curve_shapes(curves(name, values, distance), "conv1")
    return found.slope, found.curvature, found.straightness


V = np.linspace(-60, 60, 25)


@pytest.mark.parametrize("height", [1e-3, 1.0, 500.0])
def test_a_straight_line(height):
    slope, curvature, straightness = shape("vertical", V, height * np.abs(V))
    assert slope == pytest.approx([1]) and straightness == pytest.approx([1])
    assert curvature == pytest.approx([0], abs=1e-12)


def test_a_jump():
    fine = np.linspace(1, 1.8, 801)
    slope, curvature, straightness = shape("scale", fine, (fine > 1) * 3.0)
    assert slope == pytest.approx([10]) and curvature == pytest.approx([1], abs=0.01)
    assert straightness[0] < -100  # a level is far better than the line


def test_by_hand():
    # t = 0, 1/4, 1/2, 3/4, 1 and y = 0, 1/2, 3/4, 1, 1: slope 2, area 0.6875.
    slope, curvature, straightness = shape("scale", [1, 1.2, 1.4, 1.6, 1.8], [0, 2, 3, 4, 4])
    assert slope == pytest.approx([2]) and curvature == pytest.approx([2 * 0.6875 - 1])
    t, y = np.arange(5) / 4, np.array([0, 2, 3, 4, 4]) / 4
    best = min(np.sum((y - a * t) ** 2) for a in np.linspace(0, 3, 30001))
    assert straightness == pytest.approx([1 - best / np.sum((y - y.mean()) ** 2)], abs=1e-6)


def test_a_curve_that_hangs():
    t = np.linspace(0, 1, 101)
    slope, curvature, _ = shape("scale", 1 + 0.8 * t, t**2)
    assert slope == pytest.approx([0.1]) and curvature == pytest.approx([-1 / 3], abs=1e-3)


def test_both_ways_count_alike():
    # Up: a straight line to 5. Down: at once to 1, so a mean of linear and jump.
    distance = np.where(V >= 0, 5 * V / 60, 1)
    found = np.array(shape("vertical", V, distance))[:, 0]
    up = np.array(shape("vertical", V[12:], distance[12:]))[:, 0]
    down = np.array(shape("vertical", V[:13], distance[:13]))[:, 0]
    assert found == pytest.approx((up + down) / 2)
    assert up == pytest.approx([1, 0, 1], abs=1e-9)
    assert down[0] == pytest.approx(10)
    # The order of the values does not matter.
    order = np.random.default_rng(0).permutation(len(V))
    again = np.array(shape("vertical", V[order], distance[order]))[:, 0]
    assert again == pytest.approx(found)


def test_a_rotation_goes_half_a_turn_two_ways():
    degrees = np.arange(0, 360, 10.0)
    triangle = 180 - np.abs(degrees - 180)
    slope, curvature, straightness = shape("rotation", degrees, triangle)
    assert slope == pytest.approx([1]) and straightness == pytest.approx([1])
    assert curvature == pytest.approx([0], abs=1e-9)
    ways = cs.sides(curves("rotation", degrees, triangle))
    assert [degrees[chosen][[0, 1, -1]].tolist() for _, chosen in ways] == [
        [0, 10, 180],
        [0, 350, 180],
    ]
    # A small square wave on one way only is seen by that way only.
    bent = triangle + 30 * ((degrees > 0) & (degrees < 90))
    one_way = shape("rotation", degrees, bent)[1]
    assert one_way[0] > 0.05


def test_scaled_curves():
    distance = [np.abs(V), np.sqrt(np.abs(V)), 0 * V]
    found = cs.scaled(curves("vertical", V, distance), "conv1", points=13)
    t = np.linspace(0, 1, 13)
    assert found.shape == (3, 13)
    assert found == pytest.approx(np.stack([t, np.sqrt(t), 0 * t]))


def test_what_has_no_shape():
    with pytest.raises(BadInput, match="put it among the values"):
        shape("scale", [1.1, 1.2, 1.3], [1, 2, 3])
    with pytest.raises(BadInput, match="two values besides"):
        shape("scale", [1, 1.2], [0, 2])
    with pytest.raises(UnknownName, match="conv1"):
        cs.curve_shapes(curves("vertical", V, np.abs(V)), "conv2")
    with pytest.raises(UnknownName, match="conv1"):
        cs.scaled(curves("vertical", V, np.abs(V)), "conv2")
    with np.errstate(invalid="ignore"):
        assert np.isnan(shape("vertical", V, 0 * V)).all()
