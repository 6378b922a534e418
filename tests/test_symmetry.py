"""Dips of rotation-symmetric pictures, on curves and pictures whose symmetry is known."""

from __future__ import annotations

import numpy as np
import pytest

from zfnb import symmetry as sy
from zfnb.errors import BadInput

DEGREES = np.arange(0, 360, 3.0)


def cusps(folds: int, floor: float = 0.0) -> np.ndarray:
    """A curve with n equal dips to `floor`, triangles between 0 (or the floor) and 1."""
    phase = DEGREES * folds / 360 % 1
    curve = floor + (1 - floor) * (1 - np.abs(2 * phase - 1))
    curve[0] = 0
    return curve


@pytest.mark.parametrize("folds", [2, 3, 4, 5, 6, 8])
def test_dips_of_a_known_curve(folds):
    found = sy.dips(DEGREES, cusps(folds))
    assert (found.folds, found.period) == (folds, 360 / folds)
    assert found.depth == pytest.approx(1)
    assert sy.dips(DEGREES, 7 * cusps(folds)).depth == pytest.approx(1)  # of any scale


@pytest.mark.parametrize("floor", [0.25, 0.8])
def test_depth_by_hand(floor):
    assert sy.dip_depth(DEGREES, cusps(6, floor), 6) == pytest.approx(1 - floor)


def test_the_dip_at_0_does_not_count():
    level = np.ones(len(DEGREES))
    level[0] = 0
    for folds in (2, 5, 12):
        assert sy.dip_depth(DEGREES, level, folds) == pytest.approx(0)
    assert sy.dip_depth(DEGREES, 0 * level, 4) == 0


def test_peaks_are_not_dips():
    # A 6-fold curve has its peaks where 12 folds would be half dips, and none at 4 folds' turns.
    assert sy.dip_depth(DEGREES, 1 - cusps(6) + 0.5, 6) < -1
    assert sy.dip_depth(DEGREES, cusps(6), 12) < 0.5
    assert sy.dip_depth(DEGREES, cusps(6), 2) == pytest.approx(1)  # it is 2-fold as well


def test_noise_does_not_hide_the_folds():
    rng = np.random.default_rng(0)
    for folds in (4, 6, 8, 9):
        for _ in range(20):
            curve = cusps(folds, 0.5) + 0.1 * rng.standard_normal(len(DEGREES))
            assert sy.dips(DEGREES, curve).folds == folds


def test_coarse_steps_are_refused():
    coarse = np.arange(0, 360, 30.0)
    with pytest.raises(BadInput, match=r"steps of at most 18 degrees, not 30"):
        sy.dip_depth(coarse, coarse, 5)
    with pytest.raises(BadInput, match="10 or fewer"):
        sy.dips(np.arange(0, 360, 60.0), np.ones(6))
    assert sy.dips(np.arange(0, 360, 15.0), np.ones(24)).folds <= 6
    for wrong in (DEGREES + 1, DEGREES[::-1], np.append(DEGREES, 360)):
        with pytest.raises(BadInput, match="rise from 0"):
            sy.dip_depth(wrong, np.ones(len(wrong)), 4)
    with pytest.raises(BadInput, match="one curve"):
        sy.dip_depth(DEGREES, np.ones((2, len(DEGREES))), 4)
    with pytest.raises(BadInput, match="2 folds"):
        sy.dip_depth(DEGREES, np.ones(len(DEGREES)), 1)


@pytest.mark.parametrize("folds", [4, 5, 6])
def test_a_rosette_is_symmetric(folds):
    def turned(image, degrees):
        return np.asarray(image.rotate(degrees, 3)).astype(float)  # bicubic

    image = sy.rosette(folds, size=120)
    assert image.mode == "RGBA" and image.size == (120, 120)
    still = np.asarray(image).astype(float)
    apart = {d: np.abs(turned(image, d) - still).mean() for d in (360 / folds, 180 / folds)}
    assert apart[360 / folds] < apart[180 / folds] / 8
    odd = sy.rosette(folds, odd=True, size=120)
    broken = np.abs(turned(odd, 360 / folds) - np.asarray(odd)).mean()
    assert broken > 2 * apart[360 / folds]
    assert np.array_equal(np.asarray(odd)[..., 3], np.asarray(image)[..., 3])  # the same outline


def test_a_rosette_of_4_is_exact():
    image = np.asarray(sy.rosette(4, size=64))
    assert np.array_equal(np.rot90(image), image)
    assert not np.array_equal(np.rot90(np.asarray(sy.rosette(6, size=64))), image)
    for wrong in ({"folds": 1}, {"folds": 4, "size": 4}):
        with pytest.raises(BadInput, match="at least 2 petals and 8 pixels"):
            sy.rosette(**wrong)
