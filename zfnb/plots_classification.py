"""Figures of Table 2: errors as bars, what is taken for what, pictures with their predictions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from torch import Tensor

from zfnb.classification import Row, in_order
from zfnb.errors import BadInput
from zfnb.models import Network
from zfnb.plots import head, input_picture

TOP1, TOP5 = "#4c72b0", "#a9bde0"
LABEL = 34  # letters of a row's name in a line: the bars keep more than half of the figure


def error_bars(
    groups: dict[str, Sequence[tuple[str, float | None, float | None]]], title: str
) -> Figure:
    """Top-1 and top-5 errors as bars, one panel a group; long names are broken into lines.

    Parameters
    ----------
    groups : {panel title: [(row name, top-1 error, top-5 error in percent or None), ...]}
    """
    if not groups or not all(groups.values()):
        raise BadInput("There is no error to draw; give at least one row in each group.")
    rows = [len(group) for group in groups.values()]
    labels = [[textwrap.fill(str(row[0]), LABEL) for row in group] for group in groups.values()]
    lines = max(label.count("\n") for one in labels for label in one) + 1
    high = max(0.42, 0.17 * lines + 0.06)  # inches a row
    figure, axes = plt.subplots(
        len(groups),
        1,
        figsize=(8.4, high * sum(rows) + 0.8 * len(rows) + 0.5),
        layout="constrained",
        squeeze=False,
        gridspec_kw={"height_ratios": [count + 0.8 for count in rows]},
    )
    for axis, (name, group), names in zip(axes[:, 0], groups.items(), labels, strict=True):
        place = np.arange(len(group))
        for column, shift, colour, label in ((1, -0.2, TOP1, "top-1"), (2, 0.2, TOP5, "top-5")):
            values = [row[column] for row in group]
            width = [value if value is not None else 0.0 for value in values]
            axis.barh(place + shift, width, 0.38, color=colour, label=label)
            for y, value in zip(place + shift, values, strict=True):
                if value is not None:
                    axis.annotate(
                        f"{value:.1f}", (value, y), (4, 0), textcoords="offset points", va="center"
                    )
        axis.set(yticks=place, yticklabels=names, xlim=(0, 100))
        axis.set_title(name, fontsize=10, loc="left")
        axis.set_ylim(len(group) - 0.4, -0.6)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend(frameon=False, loc="lower right")
    axes[-1, 0].set_xlabel("error in percent")
    figure.suptitle(title)
    return figure


def ten_crops(crops: Tensor, net: Network) -> Figure:
    """The paper's ten inputs of one picture: (10, 3, H, W), from `zfnb.evaluate.ten_crops`."""
    names = ("top left", "top right", "bottom left", "bottom right", "centre")
    figure, axes = plt.subplots(2, 5, figsize=(10, 4.5), layout="constrained")
    for axis, crop, name in zip(axes.flat, crops, names * 2, strict=True):
        axis.imshow(input_picture(crop, net))
        axis.set_title(name, fontsize=10)
        axis.set_axis_off()
    for axis, words in zip(axes[:, 0], ("as it is", "flipped"), strict=True):
        axis.text(-0.06, 0.5, words, rotation=90, va="center", ha="right", transform=axis.transAxes)
    head(figure, net, "Ten crops of one picture (Sec. 3.1)")
    return figure


def class_errors(
    errors: dict[str, np.ndarray], classes: Sequence[tuple[str, str]], count: int = 6
) -> Figure:
    """Errors of all classes, sorted, one line a network; the easiest and hardest classes named.

    Classes without a picture (NaN) are in none of it.

    Parameters
    ----------
    errors : {network: (K,) percent}
        The names are put at the first one's.
    classes : list of (synset, name)
    count : int
        Classes named at each end; fewer where there are not twice as many.
    """
    figure, (axis, names) = plt.subplots(
        1, 2, figsize=(10.5, 4.2), layout="constrained", gridspec_kw={"width_ratios": [1.5, 1]}
    )
    for name, values in errors.items():
        axis.plot(np.sort(values), label=f"{name}, mean {np.nanmean(values):.1f} %")
    axis.set(xlabel="classes, easiest first", ylabel="top-1 error in percent", ylim=(0, 100))
    axis.legend(frameon=False, loc="lower right", fontsize=8)
    sns.despine(ax=axis)
    first = next(iter(errors.values()))
    order = np.argsort(first)[: np.isfinite(first).sum()]  # NaN comes last
    count = min(count, len(order) // 2)
    chosen = [*order[:count], *order[len(order) - count :]]
    place = np.arange(len(chosen))
    colours = ["#55a868"] * count + ["#c44e52"] * count
    names.barh(place, first[chosen], color=colours)
    names.set(
        yticks=place,
        yticklabels=[textwrap.shorten(classes[i][1], 24) for i in chosen],
        xlim=(0, 100),
        xlabel="top-1 error in percent",
    )
    names.set_title(f"easiest and hardest: {next(iter(errors))}", fontsize=10)
    names.invert_yaxis()
    sns.despine(ax=names)
    figure.suptitle("Errors class by class")
    return figure


def confused_pairs(
    pairs: Sequence[tuple[int, int, int]], classes: Sequence[tuple[str, str]], what: str
) -> Figure:
    """The pairs of classes that are mixed up most, as bars.

    Parameters
    ----------
    pairs : [(class, taken for, how often)], from `zfnb.classification.most_confused`
    """
    if not len(pairs):
        raise BadInput("No two classes were confused; there is nothing to draw.")
    figure, axis = plt.subplots(figsize=(8.4, 0.33 * len(pairs) + 1.2), layout="constrained")
    place = np.arange(len(pairs))
    axis.barh(place, [times for *_, times in pairs], color=TOP1)
    axis.set(
        yticks=place,
        yticklabels=[f"{classes[a][1]}  ↔  {classes[b][1]}" for a, b, _ in pairs],
        xlabel="pictures of one that are taken for the other",
    )
    axis.invert_yaxis()
    sns.despine(ax=axis)
    figure.suptitle(f"Most confused: {what}")
    return figure


def predictions(
    images: Sequence[Tensor],
    truth: Sequence[str],
    guesses: Sequence[Sequence[tuple[str, float]]],
    net: Network,
    title: str,
    columns: int = 3,
) -> Figure:
    """Pictures, what each shows, and the classes that a network finds most probable.

    Parameters
    ----------
    images : (3, H, W) each, the network's input
    truth : names, in the same order
    guesses : for each picture (name, probability) rows, most probable first
    """
    if not len(images):
        raise BadInput("There is no picture to show.")
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(
        rows,
        2 * columns,
        figsize=(4.1 * columns, 1.9 * rows + 0.5),
        layout="constrained",
        squeeze=False,
        gridspec_kw={"width_ratios": [1, 1.25] * columns},
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for n, (image, name, guess) in enumerate(zip(images, truth, guesses, strict=True)):
        left, right = axes[n // columns, 2 * (n % columns) :][:2]
        left.imshow(input_picture(image, net))
        left.set_title(textwrap.shorten(name, 22), fontsize=9)
        place = np.arange(len(guess))
        colours = ["#55a868" if label == name else "0.75" for label, _ in guess]
        right.barh(place, [p for _, p in guess], color=colours)
        for y, (label, p) in zip(place, guess, strict=True):
            short = textwrap.shorten(label, 22, placeholder="…")
            right.text(0.02, y, f"{short}  {p:.0%}", va="center", fontsize=8)
        right.set(xlim=(0, 1), ylim=(len(guess) - 0.4, -0.6))
    head(figure, net, title)
    return figure


def named(rows: Sequence[Row]) -> list[tuple[str, float, float]]:
    """Rows of a measured table for `error_bars`, by their short names.

    Networks alone first, in the order of `zfnb.classification.SHORT`.
    """
    rank = {name: n for n, name in enumerate(in_order({n for row in rows for n in row.networks}))}

    def place(row: Row) -> tuple:
        return len(row.networks), sorted(rank[name] for name in row.networks), row.crops

    return [
        (f"{row.short}, {row.crops} crop{'s'[: row.crops - 1]}", row.top1, row.top5)
        for row in sorted(rows, key=place)
    ]
