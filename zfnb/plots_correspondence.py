"""The figures of correspondence (Sec. 4.3, Fig. 8, Table 1); they draw arrays only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from zfnb.errors import BadInput
from zfnb.face_marks import Framed
from zfnb.models import Network
from zfnb.permutation import Verdict
from zfnb.plots import bare, head, input_picture, mark_box
from zfnb.table1 import CHANCE

GREY = "0.55"
ACROSS = 3  # panels in a row, at most


def masked_faces(rows: Mapping[str, Tensor], net: Network, names: Sequence[str] = ()) -> Figure:
    """Fig. 8: a row for the originals and one for each part that is masked; a column a picture.

    Parameters
    ----------
    rows : dict {name: Tensor (N, 3, S, S)}
        Inputs of the network.
    names : N strings, optional
        Titles of the columns.
    """
    if not rows or len({len(images) for images in rows.values()}) != 1:
        raise BadInput("Give at least one row, and as many pictures in each.")
    pictures = len(next(iter(rows.values())))
    figure, axes = plt.subplots(
        len(rows),
        pictures,
        figsize=(1.45 * pictures + 0.5, 1.45 * len(rows) + 0.7),
        squeeze=False,
        layout="constrained",
    )
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images, strict=True):
            axis.imshow(input_picture(image, net))
            bare(axis)
        line[0].set_ylabel(name, fontsize=10)
    for axis, name in zip(axes[0], names, strict=False):
        axis.set_title(short(name), fontsize=9)
    head(figure, net, f"The same part masked in {pictures} pictures")
    return figure


def marks(faces: Framed, net: Network, title: str = "") -> Figure:
    """The marked parts, outlined on the faces."""
    figure, axes = plt.subplots(
        1,
        len(faces.images),
        figsize=(1.45 * len(faces.images) + 0.3, 2.4),
        squeeze=False,
        layout="constrained",
    )
    colours = dict(zip(faces.boxes, sns.color_palette("colorblind", len(faces.boxes)), strict=True))
    for n, (axis, image) in enumerate(zip(axes[0], faces.images, strict=True)):
        axis.imshow(input_picture(image, net))
        for part, boxes in faces.boxes.items():
            top, left, bottom, right = boxes[n]
            corner, sides = (left - 0.5, top - 0.5), (right - left, bottom - top)
            axis.add_patch(Rectangle(corner, *sides, fill=False, ec=colours[part], lw=1.6))
        axis.set_axis_off()
        axis.set_title(short(faces.names[n]), fontsize=9)
    handles = [Rectangle((0, 0), 1, 1, fill=False, ec=c, lw=1.6) for c in colours.values()]
    figure.legend(
        handles, list(colours), loc="outside lower center", ncols=len(colours), frameon=False
    )
    figure.suptitle(title or "Marked parts: right and left are the animal's own")
    return figure


def short(name: str) -> str:
    """ "mammal/tiger" and "cougar_face/image_0004.jpg" as one word."""
    return name.rsplit("/", 1)[-1].removesuffix(".jpg").removeprefix("image_")


def balanced(panels: int, across: int) -> tuple[int, int]:
    """Rows and columns for panels, at most `across` in a row, with few places left empty."""
    down = -(-panels // across)
    return down, -(-panels // down)


def table_chart(
    panels: Mapping[str, tuple[np.ndarray, np.ndarray]], parts: Sequence[str], title: str = ""
) -> Figure:
    """Table 1 as points: a panel a column of the table, a point a row; whiskers are the ±.

    Every panel has a scale of its own, from zero: networks differ in how many elements are exactly
    zero, and with it in the size of all their numbers.

    Parameters
    ----------
    panels : dict {title: (means (P + 1,), spreads (P + 1,))}
        The last number is that of random masks, as `zfnb.table1.columns` has it.
    parts : P strings
    """
    if not panels:
        raise BadInput("There is no column of Table 1 to draw; give at least one.")
    rows, columns = balanced(len(panels), 4)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(2.7 * columns + 0.6, 3.5 * rows),
        squeeze=False,
        layout="constrained",
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    labels = [*parts, "random"]
    place = np.arange(len(labels))
    for axis, (name, (means, spreads)) in zip(axes.flat, panels.items(), strict=False):
        axis.axhline(means[-1], color=GREY, ls="--", lw=1)
        axis.errorbar(place[:-1], means[:-1], spreads[:-1], fmt="o", color="C0", capsize=4)
        axis.errorbar(place[-1:], means[-1:], spreads[-1:], fmt="s", color=GREY, capsize=4)
        for x, y, top in zip(place, means, means + np.nan_to_num(spreads), strict=True):
            axis.annotate(
                f"{y:.3f}",
                (x, top),  # over the whisker
                (0, 4),
                textcoords="offset points",
                fontsize=8,
                ha="center",
            )
        axis.set_title(name, fontsize=10)
        axis.set(
            ylim=(0, 1.25 * (means + np.nan_to_num(spreads)).max()), xlim=(-0.6, place[-1] + 0.6)
        )
        axis.set_xticks(place, [label.replace(" ", "\n") for label in labels], fontsize=8)
        sns.despine(ax=axis)
    for axis in axes[:, 0]:
        axis.set_ylabel("sign change (lower: more consistent)")
    figure.suptitle(title or "Table 1: mean sign change of features")
    return figure


def chance_histograms(verdicts: Mapping[str, Verdict], title: str = "") -> Figure:
    """What a test compares: the part's number in the distribution that chance gives.

    Parameters
    ----------
    verdicts : dict {title: Verdict}
        From `zfnb.permutation`.
    """
    if not verdicts:
        raise BadInput("There is no test to draw; give at least one.")
    figure, axes = plt.subplots(
        1, len(verdicts), figsize=(3.3 * len(verdicts), 3.1), squeeze=False, layout="constrained"
    )
    for axis, (name, verdict) in zip(axes[0], verdicts.items(), strict=True):
        axis.hist(verdict.chance[~np.isnan(verdict.chance)], bins=30, color="0.75")
        axis.axvline(verdict.part, color="crimson", lw=2)
        axis.set_title(f"{name}\np = {verdict.p:.4f}", fontsize=10)
        axis.set(yticks=[], xlabel="mean sign change")
        sns.despine(ax=axis, left=True)
    axes[0, 0].set_ylabel(f"{next(iter(verdicts.values())).trials:,} placements")
    figure.suptitle(title or "The part (red) among random masks (grey)")
    return figure


def ratios(
    rows: Sequence[Mapping], by: str, groups: Sequence[str] = ("layer",), title: str = ""
) -> Figure:
    """Sign change of a part over that of random masks, for several choices of a setting.

    A filled dot is below random by more than chance (p < 0.05), a ring is not.

    Parameters
    ----------
    rows : sequence of dict
        From `zfnb.table1.measure`.
    by : str
        The setting on the vertical axis: "zero", "places", "faces", ...
    groups : sequence of str
        A panel for each combination of values of these.
    """
    if not rows:
        raise BadInput("There is no row of Table 1 to draw; measure some first.")
    panels = list(dict.fromkeys("\n".join(row[name] for name in groups) for row in rows))
    choices = list(dict.fromkeys(row[by] for row in rows))
    parts = list(dict.fromkeys(row["part"] for row in rows))
    colours = dict(zip(parts, sns.color_palette("colorblind", len(parts)), strict=True))
    down, across = balanced(len(panels), ACROSS)
    figure, axes = plt.subplots(
        down,
        across,
        figsize=(2.9 * across + 1.6, (0.5 * len(choices) + 0.8) * down + 0.9),
        squeeze=False,
        sharex=True,
        sharey=True,
        layout="constrained",
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, panel in zip(axes.flat, panels, strict=False):
        axis.axvline(1, color=GREY, ls="--", lw=1)
        for row in rows:
            if "\n".join(row[name] for name in groups) == panel:
                colour = colours[row["part"]]
                shift = 0.16 * (parts.index(row["part"]) - (len(parts) - 1) / 2)
                axis.plot(
                    row["mean"] / row["random"],
                    choices.index(row[by]) + shift,
                    "o",
                    color=colour,
                    mfc=colour if row["p"] < CHANCE else "none",
                )
        axis.set_title(panel, fontsize=10)
        axis.set(yticks=range(len(choices)), ylim=(len(choices) - 0.5, -0.5))
        axis.set_yticklabels(choices)
        axis.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axis.tick_params(labelbottom=True)  # there may be no panel below
        axis.grid(axis="y", color="0.93")
        axis.set_axisbelow(True)
        sns.despine(ax=axis)
    handles = [plt.Line2D([], [], marker="o", ls="", color=colours[part]) for part in parts]
    handles += [plt.Line2D([], [], marker="o", ls="", color="0.3", mfc=c) for c in ("0.3", "none")]
    figure.legend(
        handles,
        [*parts, f"p < {CHANCE}", f"p at least {CHANCE}"],
        loc="outside right center",
        frameon=False,
        fontsize=9,
    )
    figure.supxlabel("sign change, part / random masks (below 1: the part is more consistent)")
    figure.suptitle(title or "Parts against random masks")
    return figure


def own_masks(
    images: Tensor,
    boxes: np.ndarray,
    chosen: int,
    net: Network,
    values: Mapping[str, float],
    title: str,
) -> Figure:
    """Pictures with masks in a row, and bars of numbers below them; for a panel.

    Parameters
    ----------
    images : Tensor (N, 3, S, S)
        Masked.
    boxes : array (N, 4)
        The masks; that of picture `chosen` is outlined in red.
    values : dict {name: float}
    """
    # Places follow from sizes: an automatic layout would take longer than the drawing.
    pictures = len(images)
    figure = plt.figure(figsize=(1.7 * pictures + 0.3, 3.5))
    grid = figure.add_gridspec(
        2,
        pictures,
        height_ratios=(2.1, 0.9),
        left=0.02,
        right=0.98,
        top=0.87,
        bottom=0.15,
        wspace=0.06,
        hspace=0.12,
    )
    for n, (image, box) in enumerate(zip(images, boxes, strict=True)):
        axis = figure.add_subplot(grid[0, n])
        axis.imshow(input_picture(image, net))
        axis.set_axis_off()
        if n == chosen:
            mark_box(axis, box, 1.4)
    axis = figure.add_subplot(grid[1, :])
    place = np.arange(len(values))
    numbers = np.array(list(values.values()))
    axis.barh(place, numbers, 0.6, color=["C0"] + ["0.7"] * (len(values) - 1))
    reach = max(np.nan_to_num(numbers).max(), 1e-6)
    for y, (name, number) in zip(place, values.items(), strict=True):
        axis.text(-0.01 * reach, y, name, ha="right", va="center", fontsize=9)
        words = "no element changed in both" if np.isnan(number) else f"{number:.3f}"
        axis.text(np.nan_to_num(number) + 0.01 * reach, y, words, va="center", fontsize=9)
    axis.set(yticks=[], xlim=(-0.35 * reach, 1.2 * reach), ylim=(len(values) - 0.5, -0.5))
    axis.set_xticks([tick for tick in axis.get_xticks() if 0 <= tick <= 1.2 * reach])
    axis.set_xlabel("mean sign change", fontsize=9)
    sns.despine(ax=axis, left=True)
    head(figure, net, title)
    return figure
