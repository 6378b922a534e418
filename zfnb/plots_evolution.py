"""The figures of feature evolution (Sec. 4, Fig. 4); they draw arrays and compute nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from zfnb.errors import BadInput
from zfnb.evolution import Evolution
from zfnb.models import Network
from zfnb.plots import (
    GAP,
    Display,
    grid,
    head,
    input_picture,
    mark_box,
    projection_picture,
)

CELL = 72  # side in pixels of one projection of Fig. 4
JUMP = "crimson"  # another picture has taken the first place
JUMP_WORDS = "A red bar: from here on another picture excites the map most."


def layer_colours(layers: Sequence[str]) -> dict[str, tuple]:
    """One colour a layer, from dark (low) to light (high)."""
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.85, len(layers)))
    return dict(zip(layers, map(tuple, shades), strict=True))


def evolution_grid(
    blocks: Sequence[Evolution],
    net: Network,
    columns: int = 2,
    display: Display | None = None,
    title: str = "",
) -> Figure:
    """Fig. 4: a block a layer, a row a feature map, a column a snapshot.

    A red bar on the left of a cell says that another picture holds the strongest activation than at
    the snapshot before: a jump.

    Parameters
    ----------
    blocks : Evolution, one a layer
    net : Network
        One of the snapshots.
    columns : int
        Blocks side by side.
    """
    if not blocks:
        raise BadInput("There is no layer to draw; give at least one.")
    columns = min(columns, len(blocks))
    rows = [blocks[n : n + columns] for n in range(0, len(blocks), columns)]
    heights = [max(len(one.maps) for one in row) + 0.5 for row in rows]
    wide = max(len(one.epochs) for one in blocks) + 0.5
    cell = min(0.95, 13 / (wide * columns))  # inches
    size = (cell * wide * columns, cell * sum(heights) + 0.9)
    figure, axes = plt.subplots(
        len(rows),
        columns,
        figsize=size,
        squeeze=False,
        layout="constrained",
        gridspec_kw={"height_ratios": heights},
    )
    for axis in axes.flat[len(blocks) :]:
        axis.set_axis_off()
    for axis, one in zip(axes.flat, blocks, strict=False):
        _block(axis, one, net, display)
    figure.supxlabel(JUMP_WORDS, fontsize=12, color=JUMP)
    head(figure, net, title or f"{net.name}: strongest activations through the training (Fig. 4)")
    figure._suptitle.set_fontsize(15)  # the figure is large, and shown at a smaller size
    return figure


def _block(axis, one: Evolution, net: Network, display: Display | None) -> None:
    """A layer of Fig. 4."""
    cells = [
        projection_picture(one.projections[e, m], net, display, size=CELL)
        for m in range(len(one.maps))
        for e in range(len(one.epochs))
    ]
    side = cells[0].shape[0]
    axis.imshow(grid(cells, len(one.epochs)))
    step = side + GAP
    axis.set_xticks(np.arange(len(one.epochs)) * step + side / 2, one.epochs)
    axis.set_yticks(np.arange(len(one.maps)) * step + side / 2, one.maps)
    axis.xaxis.tick_top()
    axis.tick_params(length=0, labelsize=11, pad=1)
    axis.spines[:].set_visible(False)
    axis.set_ylabel("map", fontsize=11)
    axis.set_title(f"{one.layer}, after epoch", fontsize=12)
    for e, m in zip(*one.jumps.nonzero(), strict=True):
        left, top = (e + 1) * step - GAP / 2 - 0.5, m * step
        axis.vlines(left, top - 0.5, top + side - 0.5, color=JUMP, lw=2.2)


def one_map(
    one: Evolution,
    net: Network,
    epoch: int,
    row: int = 0,
    display: Display | None = None,
) -> Figure:
    """A feature map at one snapshot, large, over its projections at all snapshots.

    Parameters
    ----------
    one : Evolution
    net : Network
        One of the snapshots.
    epoch : int
        The snapshot that is shown large.
    row : int
        Which of the evolution's maps.
    """
    if epoch not in one.epochs:
        known = ", ".join(map(str, one.epochs))
        raise BadInput(f"There is no snapshot of epoch {epoch}; choose one of {known}.")
    e, count = one.epochs.index(epoch), len(one.epochs)
    # Inches. The places follow from the sizes, as in `zfnb.plots.places`: a panel must be quick.
    large, gap, edge, line, title = 2.5, 0.25, 0.1, 0.28, 0.42
    wide = 3 * large + 2 * gap + 2 * edge
    small = min(1.2, (wide - 2 * edge) / count - 0.06)
    high = edge + 0.3 + small + line + 0.1 + large + line + title
    figure = plt.figure(figsize=(wide, high))

    def place(left: float, bottom: float, side: float, words: str, size: int = 10):
        axis = figure.add_axes((left / wide, bottom / high, side / wide, side / high))
        axis.set_axis_off()
        axis.set_title(words, fontsize=size, pad=4)
        return axis

    bottom = high - title - line - large
    whole, patch, projection = (
        place(edge + n * (large + gap), bottom, large, words)
        for n, words in enumerate(("the picture, and the field", "the field", "projection"))
    )
    whole.imshow(input_picture(one.pictures[e, row], net))
    if one.items[e, row] >= 0:
        mark_box(whole, one.boxes[e, row].tolist())
    patch.imshow(input_picture(one.patches[e, row], net))
    projection.imshow(projection_picture(one.projections[e, row], net, display))
    start = (wide - count * (small + 0.06)) / 2
    for n, shown in enumerate(one.epochs):
        axis = place(start + n * (small + 0.06), edge + 0.3, small, f"epoch {shown}", 8)
        axis.imshow(projection_picture(one.projections[n, row], net, display, size=CELL))
        if n == e:
            axis.title.set_fontweight("bold")
            _frame(axis, "black")
        if n and one.jumps[n - 1, row]:
            axis.axvline(axis.get_xlim()[0], color=JUMP, lw=4)
    figure.text(0.5, edge / 2 / high, JUMP_WORDS, ha="center", va="bottom", fontsize=8, color=JUMP)
    words = f"{net.name}, {one.layer}, map {one.maps[row]}, epoch {epoch}: "
    if one.items[e, row] < 0:
        words += "answers to no picture"
    else:
        words += f"picture {one.items[e, row]}, activation {one.activations[e, row]:.3g}"
    head(figure, net, words)
    return figure


def _frame(axis, colour: str) -> None:
    """A border around a picture whose axes are off."""
    axis.add_patch(
        plt.Rectangle((0, 0), 1, 1, transform=axis.transAxes, fill=False, ec=colour, lw=3)
    )


def settling(
    epochs: Sequence[int],
    values: Mapping[str, np.ndarray],
    net: Network,
    what: str,
    threshold: float | None = None,
    rates: tuple[np.ndarray, np.ndarray] | None = None,
    title: str = "",
) -> Figure:
    """How like its end each layer is, over the epochs: mean over the maps, and the middle half.

    Parameters
    ----------
    epochs : ints (E,)
    values : dict {layer: array (E, C)}
        NaN is left out.
    what : str
        Label of the vertical axis.
    threshold : float, optional
        Drawn as a dotted line.
    rates : (epochs, learning rates), optional
        Drawn below, over the same epochs.
    """
    if not values:
        raise BadInput("There is no layer to draw; give at least one.")
    figure, axes = plt.subplots(
        1 if rates is None else 2,
        1,
        sharex=True,
        squeeze=False,
        figsize=(7.2, 4.2 if rates is None else 5.3),
        layout="constrained",
        gridspec_kw=None if rates is None else {"height_ratios": (3.6, 1)},
    )
    sns.despine(figure)
    axis = axes[0, 0]
    for layer, colour in layer_colours(list(values)).items():
        rows = [row[np.isfinite(row)] for row in values[layer]]
        there = [n for n, row in enumerate(rows) if len(row)]
        x = [epochs[n] for n in there]
        low, high = ([np.percentile(rows[n], q) for n in there] for q in (25, 75))
        axis.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)
        axis.plot(x, [rows[n].mean() for n in there], "o-", color=colour, label=layer, ms=4)
    if threshold is not None:
        axis.axhline(threshold, ls=":", color="0.3")
        axis.annotate(
            f"{threshold:g}",
            (0, threshold),
            (4, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            fontsize=9,
        )
    axis.set_ylabel(what)
    axis.legend(frameon=False, loc="lower right", title="mean; shaded: middle half")
    if rates is not None:
        axes[1, 0].plot(*rates, color="0.3")
        axes[1, 0].set(ylabel="learning\nrate", ylim=(0, None))
    axes[-1, 0].set_xlabel("epoch")
    if len(epochs) < 12:
        axes[-1, 0].set_xticks(list(epochs))
    head(figure, net, title or f"{net.name}: when does a layer settle?")
    return figure


def changed_winners(
    epochs: Sequence[int], values: Mapping[str, np.ndarray], net: Network, title: str = ""
) -> Figure:
    """Share of the maps whose first place went to another picture, between two snapshots.

    Parameters
    ----------
    epochs : ints (E,)
    values : dict {layer: array (E - 1, C)}
        1, 0 or NaN, from `zfnb.settling.changes`.
    """
    if len(epochs) < 2:
        raise BadInput("A change needs two snapshots; give at least two.")
    share = np.array(
        [
            [row[np.isfinite(row)].mean() if np.isfinite(row).any() else np.nan for row in rows]
            for rows in values.values()
        ]
    )  # (layers, E - 1)
    size = (1.05 * len(epochs) + 1.6, 0.55 * len(values) + 1.6)
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    sns.heatmap(
        share,
        ax=axis,
        annot=True,
        fmt=".0%",
        vmin=0,
        vmax=1,
        cmap="rocket_r",
        linewidths=1,
        cbar_kws={"label": "share of the maps", "format": "{x:.0%}"},
        xticklabels=[f"{a} to {b}" for a, b in pairwise(epochs)],
        yticklabels=list(values),
    )
    axis.tick_params(axis="y", rotation=0)
    axis.set_xlabel("from one snapshot to the next (epochs)")
    head(figure, net, title or f"{net.name}: another picture excites the map most")
    return figure
