"""Figures of Tables 4 to 7 and Fig. 9: accuracies, curves, neighbours, mistakes, maps of pictures.

They draw arrays and compute nothing. Accuracies are in percent; a whisker is the spread over the
splits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageOps

from zfnb.errors import BadInput
from zfnb.plots import bare

PAPER = "0.45"
NOT_YET = "not measured yet"
RIGHT, WRONG = "#2e9e5b", "#d0533c"
MARKS = "osD^vP*X<>"
SIDE = 96  # pixels of a small picture
Spread = tuple[float, float]  # mean and spread


def thumbnail(picture: Image.Image, side: int = SIDE) -> np.ndarray:
    """The middle square of a picture, at `side` pixels: (side, side, 3)."""
    return np.asarray(ImageOps.fit(picture.convert("RGB"), (side, side)))


def train_and_test(
    rows: Mapping[str, tuple[Sequence[Image.Image], Sequence[Image.Image]]], title: str
) -> Figure:
    """What is learned from, left, and what is tested on, right, a class a row.

    Parameters
    ----------
    rows : {class: (training pictures, test pictures)}
    """
    if not rows:
        raise BadInput("There is no picture to draw; give at least one class.")
    left = max(len(train) for train, _ in rows.values())
    right = max(len(test) for _, test in rows.values())
    figure, axes = plt.subplots(
        len(rows),
        left + right + 1,
        figsize=(1.1 * (left + right) + 1.8, 1.15 * len(rows) + 0.9),
        layout="constrained",
        squeeze=False,
        gridspec_kw={"width_ratios": [1] * left + [0.25] + [1] * right},
    )
    for axis in axes.flat:
        bare(axis)
    for line, (name, (train, test)) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)
        for axis, picture in (
            *zip(line, train, strict=False),
            *zip(line[left + 1 :], test, strict=False),
        ):
            axis.imshow(thumbnail(picture))
    axes[0, 0].set_title("train", fontsize=10, loc="left")
    axes[0, left + 1].set_title("test", fontsize=10, loc="left")
    figure.suptitle(title)
    return figure


def accuracy_bars(
    rows: Mapping[str, Spread | None], title: str, chance: float | None = None
) -> Figure:
    """Accuracies as bars.

    Parameters
    ----------
    rows : {name: (mean, spread) in percent; None where it was not measured}
    chance : float, optional
        Drawn as a dashed line.
    """
    if not rows:
        raise BadInput("There is no accuracy to draw; give at least one row.")
    figure, axis = plt.subplots(figsize=(8.4, 0.46 * len(rows) + 1.3), layout="constrained")
    for y, found in enumerate(rows.values()):
        if found is None:
            axis.text(1, y, NOT_YET, va="center", color="0.5", style="italic")
            continue
        mean, spread = found
        spread = np.nan_to_num(spread)
        axis.barh(y, mean, 0.62, color=f"C{y % 10}", alpha=0.85)
        axis.errorbar(mean, y, xerr=spread, color="0.2", capsize=3, lw=1.2)
        words = f"{mean:.1f}" + (f" ± {spread:.1f}" if spread else "")
        axis.annotate(
            words, (mean + spread, y), (7, 0), textcoords="offset points", va="center", fontsize=9
        )
    if chance is not None:
        axis.axvline(chance, ls="--", color="0.4", lw=1)
        axis.annotate(
            "chance",
            (chance, 0),
            (3, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=8,
            color="0.3",
        )
    axis.set(
        yticks=range(len(rows)),
        yticklabels=list(rows),
        xlim=(0, 112),
        xticks=range(0, 101, 20),
        ylim=(len(rows) - 0.4, -0.6),
        xlabel="mean per-class accuracy in percent",
    )
    sns.despine(ax=axis)
    figure.suptitle(title)
    return figure


def accuracy_curves(
    curves: Mapping[str, Mapping[int, Spread]],
    title: str,
    unit: str = "pictures",
    levels: Mapping[str, float] | None = None,
) -> Figure:
    """Fig. 9: accuracy against the number of training pictures a class.

    Parameters
    ----------
    curves : {name: {count: (mean, spread)}}
    unit : str
        What is counted.
    levels : {name: percent}, optional
        Values to compare with, as dashed lines.
    """
    drawn = {name: curve for name, curve in curves.items() if curve}
    figure, axis = plt.subplots(figsize=(7.6, 4.4), layout="constrained")
    for n, (name, curve) in enumerate(drawn.items()):
        counts = np.array(sorted(curve))
        mean, spread = (np.array([curve[count][k] for count in counts]) for k in (0, 1))
        axis.errorbar(
            counts,
            mean,
            np.nan_to_num(spread),
            fmt=f"{MARKS[n % len(MARKS)]}-",
            ms=5,
            capsize=3,
            label=name,
        )
    for name, value in (levels or {}).items():
        left = freer_on_the_left(drawn.values(), value)
        axis.axhline(value, ls="--", color=PAPER, lw=1)
        axis.annotate(
            f"{name} ({value:.1f})",
            (0.01 if left else 1, value),
            (0 if left else -4, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="left" if left else "right",
            fontsize=8,
            color="0.3",
        )
    if drawn:
        axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=9)
    else:
        axis.text(0.5, 0.5, NOT_YET, transform=axis.transAxes, ha="center", color="0.5", size=12)
    axis.set(xlabel=f"training {unit} a class", ylabel="mean per-class accuracy in percent")
    axis.set(ylim=(0, 100), xlim=(0, None))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(axis="y", color="0.93")
    sns.despine(ax=axis)
    figure.suptitle(title)
    return figure


def freer_on_the_left(curves: Iterable[Mapping[int, Spread]], level: float) -> bool:
    """Whether words above a level are farther from all curves in the left half than in the right.

    Near a curve's end at one side, they would lie on it.
    """
    points = [(count, mean) for curve in curves for count, (mean, _) in curve.items()]
    middle = max((count for count, _ in points), default=0) / 2

    def distance(left: bool) -> float:
        half = (abs(mean - level - 3) for count, mean in points if (count <= middle) == left)
        return min(half, default=np.inf)

    return distance(True) > distance(False)


def beside_the_paper(table: pd.DataFrame, title: str) -> Figure:
    """A table of the paper: its values and ours as points, a line a row.

    Parameters
    ----------
    table : DataFrame
        From `zfnb.transfer_tables.table4` or `table7`: ``paper``, ``paper_spread``, then for each
        network its mean, and with " ±" its spread.
    """
    names = [column for column in table.columns if f"{column} ±" in table.columns]
    height = 0.5 * len(table) + 1.5 + 0.22 * len(names)
    figure, axis = plt.subplots(figsize=(9.2, height), layout="constrained")
    place = np.arange(len(table))
    step = 0.7 / max(1, len(names) + 1)
    shifts = step * (np.arange(len(names) + 1) - len(names) / 2)
    columns = [("paper", "paper_spread", "the paper", PAPER), *columns_of(names)]
    for n, (shift, (mean, spread, label, colour)) in enumerate(zip(shifts, columns, strict=True)):
        values, spreads = table[mean].to_numpy(float), table[spread].to_numpy(float)
        axis.errorbar(
            values,
            place + shift,
            xerr=np.nan_to_num(spreads),
            fmt=MARKS[n % len(MARKS)],
            color=colour,
            capsize=3,
            ms=6,
            label=label if n == 0 or np.isfinite(values).any() else f"{label}: {NOT_YET}",
        )
        for x, more, y in zip(values, np.nan_to_num(spreads), place + shift, strict=True):
            if np.isfinite(x):
                axis.annotate(
                    f"{x:.1f}",
                    (x + more, y),
                    (7, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8,
                    color=colour,
                )
    if not names:
        axis.errorbar([], [], fmt="s", color="C0", label=f"ours: {NOT_YET}")
    axis.set(
        yticks=place,
        yticklabels=[row_name(index, table.index.names) for index in table.index],
        xlim=(0, 100),
        ylim=(len(table) - 0.4, -0.6),
        xlabel="mean per-class accuracy in percent",
    )
    axis.grid(axis="x", color="0.93")
    axis.set_axisbelow(True)
    sns.despine(ax=axis)
    figure.legend(loc="outside lower center", frameon=False, ncols=2, fontsize=9)
    figure.suptitle(title)
    return figure


def columns_of(names: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """For each network: the columns of its mean and spread, its label, its colour."""
    return [(name, f"{name} ±", f"ours, {name}", f"C{n}") for n, name in enumerate(names)]


def row_name(index, names: Sequence[str]) -> str:
    """A row of a table in words, e.g. "SVM on layer 5" or "pretrained, 30 a class"."""
    if not isinstance(index, tuple):
        return str(index)
    first, second = index
    if "layer" in names:
        return f"{'SVM' if first == 'svm' else first} on layer {int(second)}"
    return f"{first}, {int(second)} a class"


def accuracy_by_layer(
    lines: Mapping[str, Mapping[int, Spread]],
    title: str,
    chance: float | None = None,
    what: str = "mean per-class accuracy in percent",
) -> Figure:
    """Table 7 as lines: accuracy of a linear classifier against the layer it reads.

    Parameters
    ----------
    lines : {name: {layer number: (mean, spread)}}
        A name that begins with "paper" is drawn in grey.
    chance : float, optional
        Drawn as a dashed line.
    what : str
        Label of the vertical axis.
    """
    if not any(lines.values()):
        raise BadInput("There is no accuracy to draw; give at least one line.")
    figure, axis = plt.subplots(figsize=(8.4, 4.6), layout="constrained")
    colour = 0
    for n, (name, line) in enumerate(lines.items()):
        if not line:
            continue
        layers = np.array(sorted(line))
        mean, spread = (np.array([line[layer][k] for layer in layers]) for k in (0, 1))
        is_paper = name.startswith("paper")
        axis.errorbar(
            layers,
            mean,
            np.nan_to_num(spread),
            fmt=MARKS[n % len(MARKS)] + ("-" if len(layers) > 1 else ""),
            color=PAPER if is_paper else f"C{colour}",
            ms=6,
            capsize=3,
            label=name,
        )
        colour += not is_paper
    if chance is not None:
        axis.axhline(chance, ls="--", color="0.4", lw=1, label="chance")
    every = sorted({layer for line in lines.values() for layer in line})
    axis.set(
        xticks=every,
        xticklabels=[f"layer {layer}" for layer in every],
        ylim=(0, 100),
        ylabel=what,
    )
    axis.grid(axis="y", color="0.93")
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=9)
    sns.despine(ax=axis)
    figure.suptitle(title)
    return figure


def confusion(matrix: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """What is taken for what: rows are true classes, columns given ones.

    Parameters
    ----------
    matrix : array (K, K) in [0, 1]
        From `zfnb.confusions.confusion`.
    classes : K names
        With more than 20 of them no numbers are written, and not every name.
    """
    if matrix.shape != (len(classes),) * 2:
        raise BadInput(f"{len(classes)} classes need a matrix of that size, not {matrix.shape}.")
    few = len(classes) <= 20
    side = 0.55 * len(classes) + 2 if few else 9
    figure, axis = plt.subplots(figsize=(side + 0.8, side), layout="constrained")
    sns.heatmap(
        100 * matrix,
        ax=axis,
        vmin=0,
        vmax=100,
        cmap="Blues",
        annot=few,
        fmt=".0f",
        annot_kws={"fontsize": 9},
        square=True,
        xticklabels=classes if few else "auto",
        yticklabels=classes if few else "auto",
        cbar_kws={"label": "percent of the class's test pictures", "shrink": 0.8},
    )
    axis.set(xlabel="taken for", ylabel="is")
    axis.tick_params(axis="x", rotation=60 if few else 90)
    axis.tick_params(axis="y", rotation=0)
    figure.suptitle(title)
    return figure


def mistakes(
    pictures: Sequence[Image.Image], words: Sequence[tuple[str, str]], title: str, columns: int = 6
) -> Figure:
    """Pictures with what they show and what they are taken for.

    Parameters
    ----------
    pictures : sequence of PIL.Image
    words : [(class, taken for), ...], in the same order
    """
    if not len(pictures):
        figure, axis = plt.subplots(figsize=(6, 1.2), layout="constrained")
        axis.text(0.5, 0.5, "No mistake was made.", ha="center", va="center")
        axis.set_axis_off()
        figure.suptitle(title)
        return figure
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(max(1.7 * columns, 5), 2.1 * rows + 0.5),
        layout="constrained",
        squeeze=False,
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, picture, (truth, guess) in zip(axes.flat, pictures, words, strict=False):
        axis.imshow(thumbnail(picture, 2 * SIDE))
        axis.set_title(f"{truth},\ntaken for {guess}", fontsize=9)
    figure.suptitle(title)
    return figure


def neighbours(
    rows: Sequence[tuple[str, Image.Image, str, Sequence[tuple[Image.Image, str, float]]]],
    title: str,
) -> Figure:
    """Pictures and their nearest neighbours: a green frame is the same class, a red one another.

    Parameters
    ----------
    rows : [(label, picture, class, [(neighbour, class, similarity), ...]), ...]
    """
    if not rows or not all(found for *_, found in rows):
        raise BadInput("There is no neighbour to draw; give at least one row with one.")
    columns = max(len(found) for *_, found in rows)
    widths = [1.06] + [1] * columns
    figure, axes = plt.subplots(
        len(rows),
        columns + 1,
        figsize=(1.5 * columns + 3, 1.72 * len(rows) + 0.5),
        layout="constrained",
        squeeze=False,
        gridspec_kw={"width_ratios": widths},
    )
    for axis in axes.flat:
        bare(axis)
    for line, (label, picture, kind, found) in zip(axes, rows, strict=True):
        line[0].imshow(thumbnail(picture))
        line[0].set_title(kind, fontsize=9, fontweight="bold")
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=10, labelpad=8)
        for axis, (other, its, similarity) in zip(line[1:], found, strict=False):
            axis.imshow(thumbnail(other))
            axis.set_title(f"{its}  {similarity:.2f}", fontsize=8)
            axis.spines[:].set(visible=True, color=RIGHT if its == kind else WRONG, linewidth=2.5)
    figure.suptitle(title)
    return figure


def maps_of_pictures(
    places: Mapping[str, np.ndarray], targets: Sequence[int], classes: Sequence[str], title: str
) -> Figure:
    """Pictures as points, coloured and marked by class, one panel a layer.

    Parameters
    ----------
    places : {panel title: (N, 2)}
        From `zfnb.embedding`.
    targets : (N,) int
    classes : names
        Only the ten commonest are told apart; the rest are grey.
    """
    if not places:
        raise BadInput("There is nothing to draw; give at least one layer.")
    targets = np.asarray(targets)
    figure, axes = plt.subplots(
        1,
        len(places),
        figsize=(4.1 * len(places) + 1.3, 4.5),
        layout="constrained",
        squeeze=False,
    )
    common = np.sort(np.argsort(-np.bincount(targets), kind="stable")[: len(MARKS)])
    for axis, (name, xy) in zip(axes[0], places.items(), strict=True):
        rest = ~np.isin(targets, common)
        axis.scatter(*xy[rest].T, color="0.85", s=6, label="others" if rest.any() else None)
        for n, target in enumerate(common):
            axis.scatter(
                *xy[targets == target].T,
                color=f"C{n}",
                marker=MARKS[n],
                s=26,
                lw=0,
                alpha=0.8,
                label=classes[target],
            )
        axis.set(xticks=[], yticks=[], title=name)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    figure.suptitle(title)
    return figure


def picture_map(
    places: np.ndarray,
    pictures: Sequence[Image.Image],
    title: str,
    frames: Sequence[str] | None = None,
) -> Figure:
    """Small pictures at their places on a page.

    Parameters
    ----------
    places : array (M, 2)
    pictures : M pictures
        The later ones lie on top.
    frames : M colours, optional
    """
    if not len(pictures) or len(places) != len(pictures):
        raise BadInput("A map needs as many pictures as places, at least one.")
    figure, axis = plt.subplots(figsize=(10, 8), layout="constrained")
    low, high = places.min(0), places.max(0)
    xy = (places - low) / np.where(high > low, high - low, 1)
    for n, (place, picture) in enumerate(zip(xy, pictures, strict=True)):
        inset = axis.inset_axes([place[0] * 0.94, place[1] * 0.93, 0.06, 0.07])
        inset.imshow(thumbnail(picture, SIDE // 2))
        inset.set(xticks=[], yticks=[])
        inset.spines[:].set(color=frames[n] if frames else "0.6", linewidth=2)
    axis.set_axis_off()
    figure.suptitle(title)
    return figure


def average_precisions(
    table: pd.DataFrame, ours: Mapping[str, Mapping[str, float | None]]
) -> Figure:
    """Table 6: average precision by class, the paper's three columns and ours.

    Parameters
    ----------
    table : DataFrame
        ``zfnb.transfer_tables.published(6)``.
    ours : {name: {class: percent or None}}
        What was measured, if anything.
    """
    figure, axis = plt.subplots(figsize=(10.5, 4.6), layout="constrained")
    place = np.arange(len(table))
    published = (("sande", "Sande et al."), ("yan", "Yan et al."), ("ours", "the paper's convnet"))
    for n, (column, label) in enumerate(published):
        shown = {"color": "C3", "ms": 8} if column == "ours" else {"color": ("0.7", "0.45")[n % 2]}
        axis.plot(place, table[column], MARKS[n], label=label, **shown)
    for n, (name, values) in enumerate(ours.items()):
        found = [values.get(kind) for kind in table["class"]]
        numbers = np.array([np.nan if value is None else value for value in found], dtype=float)
        axis.plot(place, numbers, MARKS[(n + 3) % len(MARKS)], color=f"C{n}", label=name)
    if not ours:
        axis.plot([], [], " ", label=f"ours: {NOT_YET}")
    axis.set(xticks=place, ylabel="average precision in percent", ylim=(0, 100))
    axis.set_xticklabels(table["paper_name"], rotation=60, ha="right")
    axis.axvline(len(table) - 1.5, color="0.8", lw=1)
    axis.grid(axis="y", color="0.93")
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=9)
    sns.despine(ax=axis)
    figure.suptitle("Table 6: PASCAL VOC 2012, class by class")
    return figure


def duplicates(pairs: Sequence[tuple[Image.Image, Image.Image, float]], title: str) -> Figure:
    """Pairs of pictures that show the same, with their correlation.

    Parameters
    ----------
    pairs : [(trained on, tested on, correlation), ...]
    """
    if not len(pairs):
        raise BadInput("There is no pair to draw; give at least one.")
    figure, axes = plt.subplots(
        len(pairs), 2, figsize=(5.2, 2.6 * len(pairs) + 0.5), layout="constrained", squeeze=False
    )
    for line, (known, tested, correlation) in zip(axes, pairs, strict=True):
        for axis, picture in zip(line, (known, tested), strict=True):
            axis.imshow(np.asarray(picture.convert("RGB")))
            axis.set_axis_off()
        line[0].set_title(f"trained on, {known.width} x {known.height}", fontsize=9)
        line[1].set_title(
            f"tested on, {tested.width} x {tested.height}: correlation {correlation:.3f}",
            fontsize=9,
        )
    figure.suptitle(title)
    return figure
