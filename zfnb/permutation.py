"""Is a part masked in all pictures more consistent than random places? Two tests (Sec. 4.3).

Both compare the statistic D of the part, the mean sign change over pairs of pictures, with what it
is for masks that are no part. Small D is consistent, so both are one-sided.

`label_test` asks: is the part a place like any other, chosen in each picture for itself? Then, in
each picture, the label "part" could as well be on any of its M random masks: labels are
exchangeable *within* a picture, never between pictures. So the label is moved in all possible ways,
(M + 1) ** N of them, or in many drawn at random, and p is the share with a D as small.

`rank_test` asks the same of whole sets of masks: of M + 1 sets, what is the rank of the part's? It
also holds where the masks of a set belong together, at one place in all pictures: there a label
must not be moved in one picture alone.

Shapes: N pictures; K = M + 1 masks of each, the first of them the part; D elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from zfnb.correspondences import count_signs
from zfnb.errors import BadInput

EXACT = 50_000  # up to so many ways to place the labels, all of them are tried
CHUNK = 2_000


@dataclass(frozen=True)
class Verdict:
    """What a test says.

    Attributes
    ----------
    part : float
        D of the part.
    random : float
        Mean D over the placements of the label, or over the random sets.
    p : float in (0, 1]
        How often a D as small as the part's occurs by chance.
    exact : bool
        All placements were tried, and not a sample.
    chance : array (trials,)
        D of every placement or random set that was tried.
    """

    part: float
    random: float
    p: float
    exact: bool
    chance: np.ndarray

    @property
    def trials(self) -> int:
        return len(self.chance)


def all_distances(signs: Tensor, zero: str = "own") -> np.ndarray:
    """Sign change between any two masked pictures.

    Parameters
    ----------
    signs : Tensor (K, N, D)
        Of K masks a picture, from `zfnb.correspondences.changes`.
    zero : str
        See `zfnb.correspondences.ZEROS`.

    Returns
    -------
    float array (N, K, N, K)
    """
    return distances_by_zero(signs, [zero])[zero]


def distances_by_zero(signs: Tensor, zeros: Sequence[str]) -> dict[str, np.ndarray]:
    """`all_distances` for several choices of the sign of zero; the counting is done once."""
    masks, pictures, _ = signs.shape
    counts = count_signs(signs.transpose(0, 1).flatten(0, 1))  # of (N * K, D)
    shape = (pictures, masks, pictures, masks)
    return {zero: counts.share(zero).reshape(shape).numpy() for zero in zeros}


def check_distances(distances: np.ndarray) -> tuple[int, int]:
    """How many pictures and masks (N, K) there are.

    Raises
    ------
    BadInput
        Another shape, or fewer than two of either.
    """
    shape = np.shape(distances)
    if len(shape) != 4 or shape[:2] != shape[2:] or shape[0] < 2 or shape[1] < 2:
        raise BadInput(
            f"A test needs distances (N, K, N, K) of two pictures and two masks at least, got "
            f"{shape}; all_distances makes them."
        )
    return shape[0], shape[1]


def statistic(distances: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """D of the masks that `labels` (T, N) choose: mean over the pairs of pictures, (T,)."""
    pictures = distances.shape[0]
    first, second = np.triu_indices(pictures, 1)
    found = distances[first, labels[:, first], second, labels[:, second]]  # (T, pairs)
    return mean_of_known(found)


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN; NaN where there is nothing else."""
    known = ~np.isnan(values)
    count = known.sum(-1)
    return np.where(known, values, 0).sum(-1) / np.where(count, count, np.nan)


def as_small(found: np.ndarray, observed: float) -> np.ndarray:
    """Which D are as small as the observed one.

    Sums in another order differ in the end. A D that cannot be known, since no element changed in
    both pictures of any pair, speaks against the part, so that p is never too small.
    """
    return ~(found > observed + 1e-12)


def label_test(distances: np.ndarray, trials: int = 10_000, seed: int = 0) -> Verdict:
    """Move the label "part" among the masks within each picture.

    Parameters
    ----------
    distances : array (N, K, N, K)
        From `all_distances`; mask 0 is the part.
    trials : int
        How many placements are drawn, where there are too many to try them all.
    seed : int

    Returns
    -------
    Verdict
        Under the null hypothesis p is at most x with a probability of at most x.

    Raises
    ------
    BadInput
        Fewer than two pictures or masks, or no trials.
    """
    pictures, masks = check_distances(distances)
    if trials < 1:
        raise BadInput(f"trials must be at least 1, not {trials}.")
    observed = statistic(distances, np.zeros((1, pictures), dtype=int))[0]
    exact = masks**pictures <= EXACT
    if exact:
        labels = np.indices((masks,) * pictures).reshape(pictures, -1).T
    else:
        labels = np.random.default_rng(seed).integers(masks, size=(trials, pictures))
    found = np.concatenate(
        [statistic(distances, labels[n : n + CHUNK]) for n in range(0, len(labels), CHUNK)]
    )
    count = int(as_small(found, observed).sum())
    # The placement that was observed is one of all; of a sample it has to be added.
    p = count / len(found) if exact else (count + 1) / (len(found) + 1)
    return Verdict(float(observed), float(mean_of_known(found)), p, exact, found)


def rank_test(distances: np.ndarray) -> Verdict:
    """The rank of the part among whole sets of random masks.

    Parameters
    ----------
    distances : array (N, K, N, K)
        Mask 0 of each picture is the part; masks 1 ... M are M random sets.
    """
    pictures, masks = check_distances(distances)
    found = statistic(distances, np.repeat(np.arange(masks)[:, None], pictures, axis=1))
    p = float(as_small(found, found[0]).mean())
    return Verdict(float(found[0]), float(mean_of_known(found[1:])), p, True, found)


def random_spread(distances: np.ndarray) -> tuple[float, float]:
    """Mean and sample deviation over pairs of pictures, of the random masks alone.

    For each set of random masks on its own, then averaged over the sets: so the deviation is that
    of Table 1, between pairs, and does not shrink with the number of sets.
    """
    pictures, _ = check_distances(distances)
    first, second = np.triu_indices(pictures, 1)
    sets = np.arange(1, distances.shape[1])[:, None]
    found = distances[first, sets, second, sets]  # (M, pairs)
    means = mean_of_known(found)  # (M,)
    known = (~np.isnan(found)).sum(1)
    squares = mean_of_known((found - means[:, None]) ** 2)
    deviations = np.sqrt(squares * known / np.where(known > 1, known - 1, np.nan))
    return float(mean_of_known(found.ravel())), float(mean_of_known(deviations))
