"""What counts as more than chance."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from zfnb import chance
from zfnb.errors import BadInput


def test_a_difference_counts_from_students_t():
    assert [round(chance.counts_from(k), 2) for k in (1, 4, 8)] == [12.71, 2.78, 2.31]
    assert chance.counts_from(math.inf) == pytest.approx(1.96, abs=1e-3)


@pytest.mark.parametrize(
    ("difference", "verdict"), [(2.1, True), (2, "within chance"), (-2.1, False)]
)
def test_more_than_chance(difference, verdict):
    assert chance.more_than_chance(difference, 2) == verdict


@pytest.mark.parametrize("gap", [0.3, 0.8, 1.4])
def test_the_doubt_of_two_means_is_welchs_test(gap):
    draws = np.random.default_rng(0)
    some, others = draws.normal(0, 1, 7), draws.normal(gap, 2, 19)
    interval = ttest_ind(others, some, equal_var=False).confidence_interval(chance.SURE)
    assert chance.doubt_of_means(some, others) == pytest.approx((interval.high - interval.low) / 2)
    counts = ttest_ind(others, some, equal_var=False).pvalue < 1 - chance.SURE
    assert (chance.clearly_less(some, others) == "within chance") is not counts


def test_the_doubt_of_pairs_is_that_of_their_differences():
    a, b = np.random.default_rng(1).normal(size=(2, 11))
    interval = ttest_rel(a, b).confidence_interval(chance.SURE)
    assert chance.doubt_of_means(a - b) == pytest.approx((interval.high - interval.low) / 2)


def test_clearly_less_by_hand():
    # Standard errors 0.1 each: with two degrees of freedom 4.3 times 0.1414 is 0.608.
    some, others = np.array([0.1, 0.3, np.nan]), np.array([0.8, 1.0])
    assert chance.clearly_less(some, others) is True
    assert chance.clearly_less(others, some) is False
    assert chance.clearly_less(some, others - 0.1) == "within chance"
    assert chance.clearly_less(some, some) == "within chance"
    with pytest.raises(BadInput, match="Two numbers"):
        chance.clearly_less(some[:1], others)


def test_numbers_without_spread_leave_no_doubt():
    assert chance.doubt_of_means(np.ones(3), np.zeros(4)) == 0
    assert chance.clearly_less(np.zeros(4), np.ones(3)) is True


def test_the_doubt_of_shares():
    assert chance.doubt_of_shares((0.5, 100)) == pytest.approx(1.96 * 0.05, abs=1e-4)
    two = chance.doubt_of_shares((0.5, 100), (0.2, 64))
    assert two == pytest.approx(1.96 * math.hypot(0.05, 0.05), abs=1e-4)
    assert chance.doubt_of_shares((0, 10), (1, 10)) == 0


def test_chance_passes_for_a_difference_as_seldom_as_promised():
    draws = np.random.default_rng(2).normal(size=(4000, 2, 6))
    passed = [chance.clearly_less(some, others) != "within chance" for some, others in draws]
    assert np.mean(passed) == pytest.approx(1 - chance.SURE, abs=0.012)
