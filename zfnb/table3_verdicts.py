"""What the paper concludes from Table 3, and whether our errors say so too (Sec. 5.1).

**Chance** has two sources. *Starts*: a row has one or two runs, and two runs say nothing of how far
a third would lie. But chance is about the same for all rows. So the spread is pooled: the variances
within the rows that have several runs, weighted by their degrees of freedom (runs minus one). A
row's standard error is this one spread over the root of its runs. *Pictures*: all runs were asked
about the same ones, and others would give other errors (`zfnb.table3.picture_error`).

The two add up as squares, and a difference counts if it exceeds what Student's t distribution
allows by chance: about two standard errors, more while few runs have been repeated. All verdicts
rest on the one spread over starts, and a single pair of runs may be alike by luck. So nothing is
concluded before `REPEATS_ENOUGH` runs have been repeated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pandas as pd

from zfnb.chance import WITHIN_CHANCE, counts_from, more_than_chance
from zfnb.claims import IN_PART, Claim
from zfnb.table3 import (
    ERRORS,
    content_of,
    errors,
    hidden_layers,
    picture_error,
    rank_correlation,
    repeats,
    scale,
    seed_spread,
)

REPEATS_ENOUGH = 3  # runs beyond the first of their row, over all rows
ONE_RUN = "One run each: how much is chance is not known."
FEW_RUNS = "Too few repeated runs: how much is chance is hardly known."
# What the paper calls a little difference: the most that 2048 or 8192 units in layers 6, 7 change
# its validation error, in points.
LITTLE = 1.8
ROWS_ENOUGH = 10  # of the twelve, for a verdict on their order
# Rank correlations. With ten or twelve rows chance alone passes the lower one about one time in
# twenty, the upper one about one time in a hundred.
SAME_ORDER, SOME_ORDER = 0.7, 0.5


def chance_of(starts: float, pictures: float, freedom: int) -> tuple[float, float]:
    """Standard error of a difference, and from where on it counts.

    The degrees of freedom of the sum are those of Welch and Satterthwaite: where the pictures are
    most of it, it does not matter how few runs were repeated.

    Parameters
    ----------
    starts, pictures : float
        Standard errors from the starts of the runs, and from the choice of pictures.
    freedom : int
        Of the first; the second is well known, from thousands of pictures.
    """
    together = math.hypot(starts, pictures)
    own = freedom * (together / starts) ** 4 if starts > 0 else math.inf
    return together, counts_from(min(own, 1e6)) * together


@dataclass(frozen=True)
class Conclusion:
    """One conclusion of the paper as a number, its own and ours.

    Attributes
    ----------
    what : str
    paper : float
        The difference in the paper's errors, in points.
    ours : float or None
        In ours; None while a row that it needs is missing.
    spread, doubt : float or None
        Standard error of ours, and how far chance alone may carry it; see `chance_of`. None while
        no row has two seeds.
    agrees : bool, str or None
        From `verdict`.
    note : str
        What the verdict rests on, or a likely cause where ours differs.
    unit : str
    """

    what: str
    paper: float
    ours: float | None = None
    spread: float | None = None
    doubt: float | None = None
    agrees: bool | str | None = None
    note: str = ""
    unit: str = "points"

    def claim(self, data: str) -> Claim:
        """To be shown, with signs and standard error; `data` as from `scale`."""
        if self.unit:
            paper = f"{self.paper:+.1f} {self.unit}"
            chance = "" if self.spread is None else f" ± {self.spread:.2f}"
            ours = None if self.ours is None else f"{self.ours:+.1f}{chance} {self.unit}"
        else:
            paper = f"{self.paper:g} (its own order)"
            ours = None if self.ours is None else f"{self.ours:.2f}"
        facts = {"data": data, "agrees": self.agrees, "note": self.note}
        return Claim(self.what, paper, ours, "Sec. 5.1, Table 3", **facts)


WORSE = "Layers 3, 4, 6, 7 removed together: worse than the whole network"
DEPTH = "Removed together they cost more than the two pairs' costs added up: depth matters"
# Of costs one can only speak where something was lost: the first agrees only if the second does.
RESTS_ON = {DEPTH: WORSE}

# What, the error, {row: how often it counts}, and what the paper expects of the sum.
CLAIMS = (
    (
        WORSE,
        "val_top1",
        {"alexnet-no3467": 1, "alexnet": -1},
        "more",
    ),
    (
        "Layers 3, 4, 6, 7 removed together: worse than without 3, 4",
        "val_top1",
        {"alexnet-no3467": 1, "alexnet-no34": -1},
        "more",
    ),
    (
        "Layers 3, 4, 6, 7 removed together: worse than without 6, 7",
        "val_top1",
        {"alexnet-no3467": 1, "alexnet-no67": -1},
        "more",
    ),
    (
        DEPTH,
        "val_top1",
        {"alexnet-no3467": 1, "alexnet": 1, "alexnet-no34": -1, "alexnet-no67": -1},
        "more",
    ),
    (
        "Removing layers 6, 7 costs only a little",
        "val_top1",
        {"alexnet-no67": 1, "alexnet": -1},
        "little",
    ),
    (
        "Removing layers 3, 4 costs only a little",
        "val_top1",
        {"alexnet-no34": 1, "alexnet": -1},
        "little",
    ),
    (
        "Wider layers 3, 4, 5 lower the validation error",
        "val_top1",
        {"zfnet": 1, "zfnetb": -1},
        "more",
    ),
    (
        "8192 units in layers 6, 7 lower the training error",
        "train_top1",
        {"zfnet": 1, "zfnet-fc8192": -1},
        "more",
    ),
    (
        "8192 units in layers 6, 7 change the validation error little",
        "val_top1",
        {"zfnet-fc8192": 1, "zfnet": -1},
        "alike",
    ),
    (
        "The same on top of wider layers 3, 4, 5: training error lower",
        "train_top1",
        {"zfnetb": 1, "zfnetb-fc8192": -1},
        "more",
    ),
    (
        "The same on top of wider layers 3, 4, 5: validation error not lower",
        "val_top1",
        {"zfnetb-fc8192": 1, "zfnetb": -1},
        "not less",
    ),
)


def conclusions(source: dict | str | Path | None = None) -> list[Conclusion]:
    """What the paper concludes from Table 3 (Sec. 5.1), as differences in its errors and in ours.

    Parameters
    ----------
    source : dict or path, optional
        As for `table3`.
    """
    content = content_of(source)
    table, freedom = errors(content), repeats(content)
    found: list[Conclusion] = []
    for what, name, weights, expected in CLAIMS:
        paper = difference(table[f"paper_{name}"], weights)
        ours = difference(table[name], weights)
        if math.isnan(ours):
            found.append(Conclusion(what, paper))
            continue
        spread = doubt = None
        if freedom:
            starts = math.hypot(*(w * table[f"{name}_se"][row] for row, w in weights.items()))
            spread, doubt = chance_of(starts, picture_error(content, weights, name), freedom)
        agrees = verdict(expected, paper, ours, doubt if freedom >= REPEATS_ENOUGH else None)
        first = next((one for one in found if one.what == RESTS_ON.get(what)), None)
        empty = agrees is True and first is not None and first.agrees is not True
        if empty:
            agrees = first.agrees
        note = likely_cause(content, weights, agrees, doubt)
        if empty and agrees is False:
            note = f"Nothing is lost by removing them all, so no costs add up. {note}"
        if expected == "alike" and agrees is True and abs(ours) > doubt:
            note = f"More than chance, though less than the {LITTLE} points of the rule."
        if expected == "little" and doubt is not None and ours < -doubt:
            note = f"Here their removal even helps. {note}".strip()
        found.append(Conclusion(what, paper, ours, spread, doubt, agrees, note))
    return found


def difference(errors: pd.Series, weights: dict[str, int]) -> float:
    """The weighted sum of rows' errors; NaN if one is missing."""
    total = sum(weight * errors[row] for row, weight in weights.items())
    return round(float(total), 6)  # equal errors give zero, in whatever order they are summed


def verdict(expected: str, paper: float, ours: float, doubt: float | None) -> bool | str | None:
    """Whether our difference is what the paper's words lead one to expect.

    ==========  =====================  =======================  ====================
    expected    yes                    within chance            no
    ==========  =====================  =======================  ====================
    "more"      above `doubt`          within `doubt` of zero   below minus `doubt`
    "not less"  above `doubt`          within `doubt` of zero   below minus `doubt`
    "little"    at most the paper's    above it, by at most     above it by more
                own, either way        `doubt`                  than `doubt`
    "alike"     at most `LITTLE`,      farther, by at most      farther by more
                either way             `doubt`                  than `doubt`
    ==========  =====================  =======================  ====================

    "not less" asks as much as "more": that an error stays the same cannot be told from a small
    fall, so a difference near zero is no yes. "little" is a small *cost*: where the removal gains
    more than it costs in the paper, the verdict is "in part". More chance never turns a verdict
    into a yes.

    Parameters
    ----------
    expected : {"more", "not less", "little", "alike"}
    paper, ours : float
        Points.
    doubt : float or None
        How far chance alone may carry a difference. None: hardly known, so there is no verdict.
    """
    if doubt is None:
        return None
    if expected in ("little", "alike"):
        if expected == "little" and ours < -paper:
            return IN_PART
        above = ours - paper if expected == "little" else abs(ours) - LITTLE
        return above <= 0 or (WITHIN_CHANCE if above <= doubt else False)
    return more_than_chance(ours, doubt)


def likely_cause(
    content: dict, weights: Iterable[str], agrees: bool | str | None, doubt: float | None
) -> str:
    """The note under a conclusion that rests on these rows; "" where it agrees."""
    if agrees is True:
        return ""
    if agrees is None:
        return ONE_RUN if doubt is None else FEW_RUNS
    reasons = []
    if agrees == WITHIN_CHANCE:
        reasons.append(f"Chance alone may make ± {doubt:.1f} points.")
    if "settings" in content and any("67" in row or "-fc" in row for row in weights):
        network = "zfnet" if any(row.startswith("zfnet") for row in weights) else "alexnet"
        reasons.append(hidden_layers(content, network))
    elif agrees is False:
        reasons.append("Smaller pictures and networks, shorter runs.")
    if "settings" in content and agrees in (False, IN_PART):
        reasons.append(how_far(content))
    return " ".join(reasons)


def how_far(content: dict) -> str:
    """One sentence: how well the networks have learned their training pictures at all."""
    table, epochs = errors(content), content["settings"]["recipe"]["epochs"]
    paper, ours = (table[column].min() for column in ("paper_train_top1", "train_top1"))
    return (
        f"After {epochs} epochs the best network still errs on {ours:.0f} % of its training "
        f"pictures (paper: {paper:.0f} %)."
    )


def order(source: dict | str | Path | None = None) -> Conclusion:
    """Whether our errors put the networks in the paper's order, and how many rows that rests on.

    A verdict only once `ROWS_ENOUGH` rows are there: three are in the same order by chance alone
    one time in six.
    """
    table = errors(source)
    correlation, rows = rank_correlation(table), int(table["val_top1"].notna().sum())
    what = "Order of the networks by validation error: rank correlation"
    if correlation is None:
        return Conclusion(what, 1.0, unit="")
    several = int((table["seeds"] > 1).sum())
    note = f"Over {rows} of the {len(table)} networks, {several} of them from several runs."
    agrees: bool | str | None = None
    if rows < ROWS_ENOUGH:
        note += f" A verdict needs {ROWS_ENOUGH}."
    else:
        agrees = correlation > SAME_ORDER or (IN_PART if correlation > SOME_ORDER else False)
    if agrees in (False, IN_PART):
        note += f" {why_another(table, correlation)}"
    return Conclusion(what, 1.0, correlation, agrees=agrees, note=note, unit="")


def why_another(table: pd.DataFrame, correlation: float) -> str:
    """One sentence on an order that is not the paper's: whether two networks alone make it so."""
    rest = rank_correlation(table.drop(index=["alexnet-no67", "alexnet-no3467"]))
    if rest is not None and rest > max(correlation, SAME_ORDER):
        return f"Without the two networks that lack layers 6 and 7 it is {rest:.2f}."
    return "Most of the paper's errors lie within a few points of each other."


def claims(source: dict | str | Path | None = None) -> list[Claim]:
    """`conclusions` and `order` to be shown; ``ours`` is None where nothing is measured yet."""
    content = content_of(source)
    data = scale(content)
    return [one.claim(data) for one in (*conclusions(content), order(content))]


def chance_in_words(content: dict) -> str:
    """How much two runs of a network differ, and from where on a difference counts."""
    freedom = repeats(content)
    if not freedom:
        return "No row has a second run yet: how much is chance is not known, nor any verdict."
    train, val = (seed_spread(content, name) for name in ERRORS[:2])
    networks = sorted({row["network"] for row in content["rows"]})
    pairs = [{a: 1, b: -1} for a, b in combinations(networks, 2)]
    pictures = math.fsum(picture_error(content, pair, "val_top1") for pair in pairs)
    pictures /= max(1, len(pairs))
    two, one = (chance_of(starts, pictures, freedom)[1] for starts in (val, val * math.sqrt(2)))
    few = "" if freedom >= REPEATS_ENOUGH else f" A verdict needs {REPEATS_ENOUGH} repeated runs."
    return (
        f"From run to run of a network the training error spreads by {train:.2f} points, the "
        f"validation error by {val:.2f} (standard deviations from {freedom} repeated "
        f"run{'s' if freedom > 1 else ''}). With other pictures the difference of two networks "
        f"would spread by {pictures:.2f} points. Both together: a difference of validation errors "
        f"counts from {two:.2f} points on between two networks with two runs each, from {one:.2f} "
        f"with one run each.{few}"
    )
