"""Figures of Table 3: the paper's errors beside ours, their order, the gap of overfitting."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from zfnb.table3 import NOT_YET, gaps, rank_correlation
from zfnb.table3_verdicts import ROWS_ENOUGH

TRAIN, VAL, TOP5 = "#dd8452", "#4c72b0", "#a9bde0"


def table(rows: pd.DataFrame) -> Figure:
    """Table 3 as two panels, the paper's and ours: a line from training to validation error.

    Parameters
    ----------
    rows : DataFrame
        From `zfnb.table3.table3`.
    """
    figure, axes = plt.subplots(
        1, 2, figsize=(11.5, 0.42 * len(rows) + 1.6), layout="constrained", sharey=True
    )
    place = np.arange(len(rows))
    panels = (("the paper, ImageNet 2012", "paper_"), ("ours, reduced scale", ""))
    for axis, (name, prefix) in zip(axes, panels, strict=True):
        train, val, top5 = (
            rows[f"{prefix}{k}"].to_numpy() for k in ("train_top1", "val_top1", "val_top5")
        )
        axis.hlines(place, train, val, color="0.75", lw=3, zorder=1)
        for values, colour, label in (
            (train, TRAIN, "training top-1"),
            (val, VAL, "validation top-1"),
            (top5, TOP5, "validation top-5"),
        ):
            axis.scatter(values, place, color=colour, s=34, zorder=2, label=label)
        for y, row in enumerate(zip(train, val, top5, strict=True)):
            if np.isnan(row[1]):
                missing = "failed" if rows["error"].iloc[y] else NOT_YET
                axis.text(50, y, missing, va="center", ha="center", color="0.4", style="italic")
            else:
                text = " / ".join(f"{value:.1f}" for value in row)
                axis.text(1.02, y, text, va="center", transform=axis.get_yaxis_transform())
        axis.text(
            1.02, -0.8, "train / val / top-5", fontsize=8, transform=axis.get_yaxis_transform()
        )
        axis.set(xlim=(0, 100), xlabel="error in percent", title=name)
        sns.despine(ax=axis)
        axis.grid(axis="x", color="0.93")
        axis.set_axisbelow(True)
    axes[0].set(yticks=place, yticklabels=list(rows.index), ylim=(len(rows) - 0.4, -1.1))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle("Table 3: networks made smaller and larger")
    return figure


def against_the_paper(rows: pd.DataFrame, name: str = "val_top1") -> Figure:
    """Our errors in the paper's order, with the rank correlation; whiskers: two standard errors.

    The networks stand at equal distances. By their errors, all but one would lie in a heap.

    Parameters
    ----------
    rows : DataFrame
        From `zfnb.table3.table3`.
    name : {"train_top1", "val_top1", "val_top5"}
    """
    figure, axis = plt.subplots(figsize=(8.2, 4.6), layout="constrained")
    measured = rows.dropna(subset=[name])
    place = rows[f"paper_{name}"].rank(method="first")
    colours = ["C0" if network.startswith("alexnet") else "C1" for network in rows.index]
    for n, (network, row) in enumerate(rows.iterrows(), start=1):
        label = f"{n}  {network}" + ("" if network in measured.index else f" ({NOT_YET})")
        axis.scatter([], [], color=colours[n - 1], label=label)
        if network in measured.index:
            chance = 2 * np.nan_to_num(row[f"{name}_se"])  # no whisker where it is not known
            x, y = place[network], row[name]
            axis.errorbar(x, y, chance, color=colours[n - 1], fmt="o", capsize=3, ms=5)
            axis.annotate(str(n), (x, y), (6, 4), textcoords="offset points", fontsize=9)
    correlation = rank_correlation(rows, name)
    words = "too few rows to compare orders"
    if correlation is not None:
        words = f"rank correlation {correlation:.2f} over {len(measured)} networks"
        if len(measured) < ROWS_ENOUGH:
            words += ", too few for a verdict"
    kind = {"train_top1": "training", "val_top1": "validation", "val_top5": "validation top-5"}
    axis.set(xlabel=f"the paper's {kind[name]} error, percent", ylabel="ours, percent")
    ticks = [f"{error:.1f}" for error in rows[f"paper_{name}"]]
    axis.set(xticks=place, xticklabels=ticks, xlim=(0.4, len(rows) + 0.9))
    axis.set_title(words, fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    if measured.empty:
        axis.text(0.5, 0.5, NOT_YET, transform=axis.transAxes, ha="center", color="0.4")
        axis.set(xticks=[], yticks=[])
    sns.despine(figure)
    figure.suptitle("Do we put the networks in the paper's order?")
    return figure


def gap_bars(rows: pd.DataFrame) -> Figure:
    """Validation minus training error, the paper's and ours: how much each network overfits."""
    both = gaps(rows)
    figure, axis = plt.subplots(figsize=(9, 0.42 * len(rows) + 1.3), layout="constrained")
    place = np.arange(len(rows))
    for shift, column, colour in ((-0.2, "paper", "0.7"), (0.2, "ours", VAL)):
        values = both[column].to_numpy()
        axis.barh(place + shift, np.nan_to_num(values), 0.38, color=colour, label=column)
        for y, value in zip(place + shift, values, strict=True):
            text = NOT_YET if np.isnan(value) else f"{value:.1f}"
            side = value < 0
            axis.annotate(
                text,
                (np.nan_to_num(value), y),
                (-4 if side else 4, 0),
                textcoords="offset points",
                va="center",
                ha="right" if side else "left",
                fontsize=8,
                color="0.4" if np.isnan(value) else "black",
            )
    axis.axvline(0, color="0.3", lw=0.8)
    axis.set(yticks=place, yticklabels=list(rows.index))
    axis.set_xlabel("validation minus training top-1 error, points")
    axis.margins(x=0.1)
    axis.invert_yaxis()
    axis.legend(frameon=False, loc="upper right")
    sns.despine(figure)
    figure.suptitle("The gap between training and validation")
    return figure
