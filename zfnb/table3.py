"""Table 3 as numbers to read: the paper's values beside ours, and what follows (Sec. 5.1).

`zfnb.model_size` trains the networks; here its results are read, averaged over the seeds, and
compared. A row that has not been trained yet is NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from zfnb.architecture import outline, totals, variants
from zfnb.errors import UnknownName
from zfnb.paths import embedded
from zfnb.runs import read_results

ERRORS = ("train_top1", "val_top1", "val_top5")
SURE = 2.0  # standard errors that a difference must have to count
NOT_YET = "not measured yet"


def kept(path: str | Path | None = None) -> dict:
    """The content of a results file; without rows if it is not there yet.

    Parameters
    ----------
    path : path, optional
        By default ``data/results/table3.json``, which travels with the package.

    Raises
    ------
    BadInput
        If the file is damaged.
    """
    path = embedded("data", "results", "table3.json") if path is None else Path(path)
    if not path.exists():
        return {"rows": [], "failed": []}

    def checked(content: dict) -> dict:
        if not isinstance(content["rows"], list) or not isinstance(content["failed"], list):
            raise TypeError("its rows are not lists")
        return content

    return read_results(path, "python -m zfnb.model_size", checked)


def content_of(source: dict | str | Path | None) -> dict:
    return source if isinstance(source, dict) else kept(source)


def table3(source: dict | str | Path | None = None) -> pd.DataFrame:
    """Table 3, the paper's values beside ours.

    Parameters
    ----------
    source : dict or path, optional
        From `train_rows`, or a file; by default what travels with the package.

    Returns
    -------
    DataFrame
        A row a network, by name, in the paper's order. ``change`` (in words), ``parameters`` (at
        full size); ``paper_train_top1``, ``paper_val_top1``, ``paper_val_top5``; ours, as means
        over ``seeds`` runs: ``train_top1``, ``val_top1``, ``val_top5``, all in percent; their
        sample standard deviations ``train_top1_spread``, ...; ``our_parameters``, ``seconds`` (a
        run). NaN where there is no measurement yet. ``error``: why a run failed, else "".
    """
    content = content_of(source)
    lines = []
    for published in variants():
        mine = [row for row in content["rows"] if row["network"] == published["network"]]
        failed = [row for row in content["failed"] if row["network"] == published["network"]]
        line = {
            "network": published["network"],
            "change": published["change"],
            "parameters": published["parameters"],
            **{f"paper_{name}": published[name] for name in ERRORS},
        }
        for name in ERRORS:
            values = [row[name] for row in mine]
            line[name] = np.mean(values) if values else math.nan
            line[f"{name}_spread"] = np.std(values, ddof=1) if len(values) > 1 else math.nan
        line |= {
            "seeds": len(mine),
            "our_parameters": mine[0]["parameters"] if mine else math.nan,
            "seconds": np.mean([row["seconds"] for row in mine]) if mine else math.nan,
            "error": failed[0]["error"] if failed else "",
        }
        lines.append(line)
    return pd.DataFrame(lines).set_index("network")


def in_text(table: pd.DataFrame) -> pd.DataFrame:
    """`table3` as people read it: numbers with their spread, words where there is none."""

    def ours(line: pd.Series, name: str) -> str:
        if line["seeds"] == 0:
            return "failed" if line["error"] else NOT_YET
        spread = line[f"{name}_spread"]
        return f"{line[name]:.1f}" + ("" if math.isnan(spread) else f" ± {spread:.1f}")

    words = {"train_top1": "train top-1", "val_top1": "val top-1", "val_top5": "val top-5"}
    columns = {"change": table["change"]}
    for name, word in words.items():
        columns[f"paper, {word}"] = table[f"paper_{name}"].map("{:.1f}".format)
    for name, word in words.items():
        columns[f"ours, {word}"] = [ours(line, name) for _, line in table.iterrows()]
    columns["seeds"] = table["seeds"]
    return pd.DataFrame(columns, index=table.index)


def gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Validation minus training error in points, ``paper`` and ``ours``: how much is overfitted."""
    return pd.DataFrame(
        {
            "paper": table["paper_val_top1"] - table["paper_train_top1"],
            "ours": table["val_top1"] - table["train_top1"],
        }
    )


def rank_correlation(table: pd.DataFrame, name: str = "val_top1") -> float | None:
    """Spearman's correlation of our errors with the paper's over the rows that are measured.

    1: we put the networks in the paper's order; 0: the orders have nothing in common. None with
    fewer than three rows.

    Parameters
    ----------
    name : {"train_top1", "val_top1", "val_top5"}
    """
    if name not in ERRORS:
        raise UnknownName.of("error", name, ERRORS)
    both = table[[f"paper_{name}", name]].dropna().rank()
    if len(both) < 3 or (both.nunique() < 2).any():
        return None
    return float(both.corr().iloc[0, 1])


def seed_spread(source: dict | str | Path | None, name: str) -> float | None:
    """Standard deviation of an error from seed to seed, pooled over all rows with several seeds.

    Two runs of one row say little about how much chance there is; those of seven rows together say
    more, and it is about the same for all. None if no row has two.
    """
    rows = pd.DataFrame(content_of(source)["rows"], columns=["network", "seed", *ERRORS])
    groups = [group for _, group in rows.groupby("network")[name] if len(group) > 1]
    freedom = sum(len(group) - 1 for group in groups)
    if not freedom:
        return None
    return math.sqrt(sum((len(g) - 1) * g.var(ddof=1) for g in groups) / freedom)


@dataclass(frozen=True)
class Conclusion:
    """One conclusion of the paper as a difference between rows.

    Attributes
    ----------
    what : str
    paper : float
        The difference in the paper's errors, in points.
    ours : float or None
        In ours; None while a row that it needs is missing.
    spread : float or None
        Standard error of ours, from `seed_spread`; None while no row has two seeds.
    agrees : bool, str or None
        Whether ours points the paper's way by more than two standard errors (of a difference that
        should be small: whether it is no larger than the paper's); "within chance"; None while it
        cannot be said.
    """

    what: str
    paper: float
    ours: float | None
    spread: float | None
    agrees: bool | str | None


# What, the error, {row: how often it counts}, and what the paper expects of the sum.
CLAIMS = (
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
        "Removed together they cost more than the two pairs' costs added up: depth matters",
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
        "8192 units in layers 6, 7 do not lower the validation error",
        "val_top1",
        {"zfnet-fc8192": 1, "zfnet": -1},
        "not less",
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
    table = table3(content)
    found = []
    for what, name, weights, expected in CLAIMS:
        paper = difference(table[f"paper_{name}"], weights)
        ours = difference(table[name], weights)
        chance = seed_spread(content, name)
        if math.isnan(ours):
            found.append(Conclusion(what, paper, None, None, None))
            continue
        spread = None
        if chance is not None:
            runs = table["seeds"]
            spread = chance * math.sqrt(sum(w**2 / runs[row] for row, w in weights.items()))
        found.append(Conclusion(what, paper, ours, spread, verdict(expected, paper, ours, spread)))
    return found


def difference(errors: pd.Series, weights: dict[str, int]) -> float:
    """The weighted sum of rows' errors; NaN if one is missing."""
    return float(sum(weight * errors[row] for row, weight in weights.items()))


def verdict(expected: str, paper: float, ours: float, spread: float | None) -> bool | str:
    """Whether our difference is what the paper's words lead one to expect.

    "more": above zero, by more than chance. "little": no more than the paper's own difference.
    "not less": not below zero by more than chance.
    """
    doubt = SURE * (spread or 0.0)
    if expected == "little":
        return ours <= paper + doubt
    if expected == "not less":
        return ours >= -doubt
    if ours > doubt:
        return True
    return "within chance" if ours >= -doubt else False


def size_note(width: float = 0.5, input_size: int = 64, classes: int = 200) -> dict[str, float]:
    """What the reduced scale does to the fully connected layers.

    Returns
    -------
    dict
        ``paper``, ``ours``: the share of all of ZFNet's parameters that lie in layers 6 and 7;
        ``values``: how many numbers layer 6 gets from below.
    """
    found = {}
    for name, net in (
        ("paper", outline("zfnet")),
        ("ours", outline("zfnet", classes, width=width, input_size=input_size)),
    ):
        hidden = sum(p.numel() for layer in (net.fc6, net.fc7) for p in layer.parameters())
        found[name] = hidden / totals(net)["parameters"]
    found["values"] = net.fc6.linear.in_features
    return found
