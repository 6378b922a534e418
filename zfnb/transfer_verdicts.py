"""When a measured accuracy agrees with the paper's: the rules of Tables 4 to 7 and Fig. 9.

They stand in one place, so that a notebook and the summary cannot judge the same number
differently. A verdict is True, "in part" or False; None where nothing is measured. Accuracies are
in percent, and a sequence of them is one value a split, in the same order everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from zfnb.chance import counts_from
from zfnb.claims import IN_PART
from zfnb.errors import BadInput

CLOSE, FAIR = 3.0, 8.0  # points from the paper: agrees, and agrees in part
WIDE = 15.0  # points that are a wide margin
SIX = 6  # pictures a class; read off Fig. 9 by the paper itself (Sec. 5.2)
WEAK = (
    "From scratch is no better than random filters, so the margin is over those: a weak opponent."
)
Verdict = bool | str | None


@dataclass(frozen=True)
class Judged:
    """A verdict, and the likely cause where it is not a plain yes."""

    agrees: Verdict
    note: str = ""


@dataclass(frozen=True)
class Gap:
    """The difference of two accuracies.

    Attributes
    ----------
    mean, spread : float
        In points; the spread is a standard deviation over the splits, NaN for one split.
    splits : int
    """

    mean: float
    spread: float
    splits: int = 1

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.spread / math.sqrt(self.splits)

    @property
    def doubt(self) -> float:
        """How far chance alone may carry the mean one time in twenty; NaN for one split."""
        return counts_from(self.splits - 1) * self.error if self.splits > 1 else math.nan

    @property
    def side(self) -> int:
        """1 or -1: which of the two is ahead by more than the whiskers; 0: neither is."""
        return int(np.sign(self.mean)) if abs(self.mean) > self.spread else 0

    def __str__(self) -> str:
        spread = "" if math.isnan(self.spread) else f" ± {self.spread:.1f}"
        return f"{self.mean:+.1f}{spread} points"


def paired(first: Sequence[float], second: Sequence[float]) -> Gap:
    """`first` minus `second`, split by split: what one draw makes easier cancels out.

    Raises
    ------
    BadInput
        Not as many values on both sides, or none.
    """
    if len(first) != len(second) or not len(first):
        raise BadInput(
            f"Give an accuracy for each split on both sides; got {len(first)} and {len(second)}."
        )
    apart = np.asarray(first, float) - np.asarray(second, float)
    spread = apart.std(ddof=1) if len(apart) > 1 else math.nan
    return Gap(float(apart.mean()), float(spread), len(apart))


def published_gap(first: tuple[float, float], second: tuple[float, float]) -> Gap:
    """The same of two published means and spreads, whose splits are not known."""
    return Gap(first[0] - second[0], math.hypot(first[1], second[1]))


def near(
    paper: float, ours: float | None, close: float = CLOSE, fair: float = FAIR
) -> bool | str | None:
    """By distance: True within `close` points, "in part" within `fair`, None without `ours`."""
    if ours is None:
        return None
    gap = float(abs(ours - paper))
    return gap <= close or (IN_PART if gap <= fair else False)


def gained(paper: float, ours: float | None) -> bool | str | None:
    """A gain: True within a quarter of the paper's, "in part" if at least half of it."""
    if ours is None:
        return None
    return bool(abs(ours - paper) <= paper / 4) or (IN_PART if ours >= paper / 2 else False)


def rising(layers: Mapping[int, Sequence[float]]) -> Judged:
    """Each layer beats the one below (Sec. 5.3).

    True if every step is positive beyond chance: by Student's t, from so many splits. "In part" if
    the last layer is so far ahead of the first.

    Parameters
    ----------
    layers : dict {layer: accuracy of each split}
        From the lowest to the highest.
    """
    if len(layers) < 2:
        raise BadInput("To rise takes two layers; give at least two.")
    first, *_, last = layers
    whole = paired(layers[last], layers[first])
    if whole.splits == 1:  # no spread: chance cannot be told from a step
        return Judged(IN_PART if whole.mean > 0 else False, "One split does not show chance.")
    steps = {n: paired(layers[n], layers[below]) for below, n in pairwise(layers)}
    weak = [str(n) for n, step in steps.items() if not step.mean > step.doubt]
    if not weak:
        return Judged(True)
    words = f"Not clearly ahead of the layer below: {', '.join(weak)}"
    if whole.mean > whole.doubt:
        return Judged(IN_PART, f"{words}. Layer {last} against {first}: {whole}.")
    return Judged(False, f"{words}; nor is layer {last} ahead of {first}.")


def same_side(paper: Gap, ours: Gap, first: str = "SVM", second: str = "softmax") -> Judged:
    """Of two classifiers the same is ahead, where ahead means by more than the whiskers.

    True on the same side, or level on both. False on opposite sides, or more than `FAIR` points
    from the paper's gap. Else, where one of the two is level, "in part".
    """
    words = {1: f"{first} ahead", 0: "level, within the spread", -1: f"{second} ahead"}
    note = f"The paper: {words[paper.side]}. Here: {words[ours.side]}."
    if paper.side == ours.side:
        return Judged(True, note)
    if abs(ours.mean - paper.mean) > FAIR:
        return Judged(False, f"{note} More than {FAIR:g} points from the paper's gap.")
    return Judged(False if paper.side * ours.side < 0 else IN_PART, note)


def wide_margin(pretrained: float, scratch: float, random: float) -> Judged:
    """Pretrained features beat what is had without pretraining: from scratch or random filters.

    True by `WIDE` points over the better of the two, "in part" by less. If the network trained
    from scratch does not beat random filters, it was no opponent: "in part" at most.
    """
    margin, weak = pretrained - max(scratch, random), scratch <= random
    if margin <= 0:
        return Judged(False, "Without pretraining it is as good.")
    if weak:
        return Judged(IN_PART, WEAK)
    return Judged(True) if margin > WIDE else Judged(IN_PART, f"By {margin:.1f} points only.")


def few_enough(passed: int | None, enough: int, most: int, weak: bool = False) -> bool | str:
    """A few pictures a class suffice: True if `enough` do, "in part" if fewer than `most`.

    Parameters
    ----------
    passed : int or None
        From how many on the opponent is beaten; see `zfnb.transfer_curves.fewest`.
    enough, most : int
        How many the claim asks for, and how many the opponent had.
    weak : bool
        The opponent is no real one: "in part" at most.
    """
    if passed is None:
        return False
    if passed <= enough and not weak:
        return True
    return IN_PART if passed < most or passed <= enough else False


def one_choice(fixed: pd.DataFrame) -> Judged:
    """One kind of SVM with one C brings every layer within `CLOSE` points of the paper.

    "In part" if only layer 1 gets there. It looks at test accuracies, so it explains a gap; to
    choose C in this way would be to learn from the test pictures.

    Parameters
    ----------
    fixed : DataFrame
        Of one network: ``classifier``, ``regularisation``, ``layer``, ``accuracy``, ``paper``.
    """
    apart = gaps(fixed)
    if apart.empty or apart[1].isna().all():
        return Judged(None)
    worst = apart.max(axis=1, skipna=False)  # a layer that is not measured explains nothing
    if (worst <= CLOSE).any():
        return Judged(True)
    if (apart[1] <= CLOSE).any():
        if worst.isna().all():
            return Judged(IN_PART, "Only layer 1 is near; others are not measured yet.")
        return Judged(IN_PART, "What brings layer 1 near takes other layers away.")
    return Judged(False, "No C brings layer 1 near.")


def gaps(fixed: pd.DataFrame) -> pd.DataFrame:
    """Distances from the paper in points: a row a kind of SVM and C, a column a layer 1 to 5."""
    own = fixed[fixed["layer"].between(1, 5) & fixed["classifier"].str.startswith("svm")]
    own = own.assign(apart=(own["accuracy"] - own["paper"]).abs())
    table = own.pivot_table(index=["classifier", "regularisation"], columns="layer", values="apart")
    return table.reindex(columns=range(1, 6)) if len(table) else table


def percents(values: Sequence[float]) -> str:
    """Several accuracies in one text: "45, 66, 72 %"."""
    return ", ".join(f"{value:.0f}" for value in values) + " %"
