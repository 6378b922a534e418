"""What chance alone may do to a number, and whether a difference is more than that.

The paper gives no spreads for its comparisons. Here a difference counts if chance would carry
numbers that do not differ so far apart one time in twenty at the most.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import stdtrit

from zfnb.errors import BadInput

WITHIN_CHANCE = "within chance"
SURE = 0.95  # two-sided: chance alone passes for a difference one time in twenty


def more_than_chance(difference: float, doubt: float) -> bool | str:
    """Whether a difference is above zero by more than `doubt`, how far chance alone may carry it.

    Returns
    -------
    bool or `WITHIN_CHANCE`
        False if it is below zero by more than that.
    """
    return WITHIN_CHANCE if abs(difference) <= doubt else bool(difference > 0)


def counts_from(freedom: float) -> float:
    """Standard errors that a difference must have to count: Student's t, two-sided, at `SURE`.

    2.0 for a spread that is well known; 2.3 with eight degrees of freedom, 2.8 with four (five
    splits), 12.7 with one.
    """
    return float(stdtrit(freedom, (1 + SURE) / 2))


def doubt_of_means(*samples: np.ndarray) -> float:
    """How far chance may carry a mean, or the difference of two means.

    Parameters
    ----------
    *samples : one or two arrays (n,)
        Independent numbers, at least two in each; NaN is left out. For pairs give the one sample
        of their differences.

    Returns
    -------
    float
        In the numbers' unit. The degrees of freedom of two samples are those of Welch and
        Satterthwaite.

    Raises
    ------
    BadInput
        Fewer than two numbers in a sample.
    """
    finite = [np.asarray(one, float)[np.isfinite(one)] for one in samples]
    if min(len(one) for one in finite) < 2:
        raise BadInput("Two numbers on each side are needed to tell a difference from chance.")
    # The variance of each mean, and from how many degrees of freedom it is known.
    parts = [(one.var(ddof=1) / len(one), len(one) - 1) for one in finite]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return 0.0
    freedom = variance**2 / sum(part**2 / known for part, known in parts)
    return counts_from(freedom) * math.sqrt(variance)


def doubt_of_shares(*shares: tuple[float, int]) -> float:
    """How far chance may carry a share, or the difference of two.

    Parameters
    ----------
    *shares : one or two (share, count)
        A share in [0, 1] of so many independent things.
    """
    return counts_from(math.inf) * math.sqrt(sum(p * (1 - p) / n for p, n in shares))


def clearly_less(some: np.ndarray, others: np.ndarray) -> bool | str:
    """Whether the mean of `some` is below that of `others` by more than chance.

    Parameters
    ----------
    some, others : arrays (n,) and (m,)
        As for `doubt_of_means`.

    Returns
    -------
    bool or `WITHIN_CHANCE`
    """
    below = np.nanmean(others) - np.nanmean(some)
    return more_than_chance(below, doubt_of_means(some, others))
