"""The figures of occlusion (Sec. 4.2, Fig. 7); they draw arrays and compute nothing else.

A place of the square stands for its centre. So a heat map has the picture's extent, each pixel has
the value of the nearest centre, and the rim that no centre comes near stays empty.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from zfnb.errors import BadInput
from zfnb.models import Network
from zfnb.occlusion import OcclusionMaps
from zfnb.occlusion_figure import LayerWindow, OccludedPicture, lowest, windows_share
from zfnb.occlusion_truth import Grounding
from zfnb.plots import (
    Display,
    bare,
    class_name,
    grid,
    head,
    input_picture,
    mark_box,
    projection_picture,
)

HEAT = "viridis"
OWN, REST = "0.82", "0.25"  # colours of the whole picture's label, and of all the rare ones
NAMED = 5  # labels with a colour of their own
CELL = 64  # side in pixels of a projection from elsewhere
# A whole map reaches all of the picture; lifting the faint parts would level it.
WHOLE_MAP = Display(percentile=99.5, gamma=1.0)
SEEN_THROUGH = 0.8  # opacity of a map over its picture
WINDOW = "C0"


def over_picture(values: Tensor, maps: OcclusionMaps) -> np.ndarray:
    """Values (h, w) of the places as an array (H, W): each pixel has that of the nearest centre.

    NaN where the next centre is further than half a step.
    """
    at = np.arange(maps.size) + 0.5
    out = values.detach().cpu().numpy().astype(float)
    for axis, starts in enumerate((maps.positions[:, 0, 0], maps.positions[0, :, 1])):
        centres = starts.cpu().numpy() + maps.square / 2  # (h,)
        away = np.abs(at[:, None] - centres)  # (H, h)
        out = out.take(away.argmin(1), axis)
        beyond = (away.min(1) > maps.stride / 2) & ((at < centres[0]) | (at > centres[-1]))
        out[(slice(None),) * axis + (beyond,)] = np.nan
    return out


def label_colours(
    maps: OcclusionMaps, net: Network, named: int = NAMED
) -> tuple[np.ndarray, list[tuple]]:
    """The most probable label at each place as a colour.

    Parameters
    ----------
    named : int
        So many labels beside the whole picture's have a colour; the rarest share one.

    Returns
    -------
    numbers : array (h, w) int
        Rows of the legend.
    legend : list of (colour, name, share of the places)
    """
    own = int(maps.whole_probability.argmax())
    labels = maps.label.cpu().numpy()
    count = Counter(labels.flatten().tolist())
    others = [label for label, _ in count.most_common() if label != own]
    shown = [own, *others[:named]]
    palette = [OWN, *sns.color_palette("colorblind", len(shown) - 1)]
    rows = {label: n for n, label in enumerate(shown)}
    numbers = np.vectorize(lambda label: rows.get(label, len(shown)), otypes=[int])(labels)
    legend = [
        (to_rgb(colour), class_name(net, label), count[label] / labels.size)
        for colour, label in zip(palette, shown, strict=True)
    ]
    rare = others[named:]
    if rare:
        share = sum(count[label] for label in rare) / labels.size
        legend.append((to_rgb(REST), f"{len(rare)} others", share))
    return numbers, legend


def figure_7(rows: Sequence[OccludedPicture], net: Network, title: str = "") -> Figure:
    """Fig. 7: a row a picture.

    (a) the picture, with the square where the probability is lowest; (b) total activation of the
    map that answers most; (c) that map projected, and its strongest projections elsewhere above
    their patches; (d) probability of the class; (e) most probable label. (b), (d) and (e) are
    functions of the place of the square's centre. A mask is outlined in white.

    Parameters
    ----------
    rows : OccludedPicture
        Of a network with a classifier.
    """
    if not rows:
        raise BadInput("There is no picture to draw; give at least one.")
    if any(one.maps.probability is None for one in rows):
        raise BadInput("Columns (d) and (e) need a network with a classifier.")
    figure, axes = plt.subplots(
        len(rows),
        6,
        figsize=(14.5, 2.45 * len(rows) + 0.9),
        squeeze=False,
        layout="constrained",
        gridspec_kw={"width_ratios": (1, 1.13, 1, 1.5, 1.13, 1)},
    )
    for axis in axes.flat:
        bare(axis)
    for line, one in zip(axes, rows, strict=True):
        _row(figure, line, one, net)
    for axis, words in zip(
        axes[0],
        (
            "(a) picture",
            "(b) map's activation",
            "(c) map, projected",
            "(c) in other pictures",
            "(d) probability",
            "(e) label",
        ),
        strict=True,
    ):
        axis.set_title(words, fontsize=13)
    maps = rows[0].maps
    figure.get_layout_engine().set(h_pad=0.08)  # rows apart
    words = f"{net.name}: a square of {maps.square} pixels, in steps of {maps.stride}, over "
    head(figure, net, title or f"{words}{maps.size} x {maps.size} (Fig. 7)")
    figure._suptitle.set_fontsize(16)  # the figure is large, and shown at a smaller size
    return figure


def _row(figure: Figure, line: Sequence, one: OccludedPicture, net: Network) -> None:
    maps = one.maps
    place = lowest(maps.probability)
    line[0].imshow(input_picture(one.with_square(*place), net))
    mark_box(line[0], square_box(maps, *place))
    line[0].set_ylabel(textwrap.fill(one.name, 16), fontsize=13)
    line[0].set_xlabel("square: lowest\nprobability", fontsize=12)
    heat_map(figure, line[1], maps.activation, one, net, maps.whole_activation)
    line[1].set_xlabel(
        f"{maps.layer}, map {maps.feature_map}\nno square: {maps.whole_activation:.0f}", fontsize=12
    )
    line[2].imshow(projection_picture(one.projection, net, WHOLE_MAP))
    line[2].set_xlabel("in this picture", fontsize=12)
    if one.elsewhere is not None:
        sheet = one.elsewhere
        cells = [projection_picture(p, net, size=CELL) for p in sheet.projections[:4]]
        cells += [input_picture(p, net, size=CELL) for p in sheet.patches[:4]]
        line[3].imshow(grid(cells, columns=len(cells) // 2))
        line[3].set_xlabel(f"strongest of map {sheet.feature_map}\nand their patches", fontsize=12)
    whole = float(maps.whole_probability[maps.target])
    heat_map(figure, line[4], maps.probability, one, net, whole)
    line[4].set_xlabel(f"{class_name(net, maps.target)}\nno square: {whole:.2f}", fontsize=12)
    labels(line[5], one, net)


def square_box(maps: OcclusionMaps, row: int, column: int) -> list[int]:
    """(top, left, bottom, right) of the square at a place of the grid, inside the picture."""
    start = maps.positions[row, column]
    return [*start.clamp(0).tolist(), *(start + maps.square).clamp(max=maps.size).tolist()]


def heat_map(
    figure: Figure,
    axis,
    values: Tensor,
    one: OccludedPicture,
    net: Network,
    whole: float,
    top: float | None = None,
) -> None:
    """Values (h, w) of the places over the picture, with a colour bar from 0 on.

    A red line in the bar marks `whole`, the value without a square. `top` ends the bar; by default
    the largest value does.
    """
    backdrop(axis, one, net)
    top = max(float(values.max()), whole, 1e-9) if top is None else top
    drawn = axis.imshow(
        over_picture(values, one.maps), cmap=HEAT, vmin=0, vmax=top, alpha=SEEN_THROUGH
    )
    outline(axis, one)
    bar = figure.colorbar(drawn, ax=axis, fraction=0.05, pad=0.03, aspect=18)
    bar.ax.axhline(whole, color="crimson", lw=2.5)
    bar.ax.tick_params(labelsize=10)


def backdrop(axis, one: OccludedPicture, net: Network) -> None:
    """The picture in grey, for a map to lie on."""
    axis.imshow(input_picture(one.image, net).mean(2), cmap="gray", vmin=0, vmax=1)


def outline(axis, one: OccludedPicture) -> None:
    """The object's outline, where it is known."""
    if one.mask is not None and 0 < float(one.mask.mean()) < 1:
        axis.contour(one.mask.cpu().numpy(), levels=[0.5], colors="white", linewidths=1.2)


def labels(axis, one: OccludedPicture, net: Network) -> None:
    """Fig. 7e, with the names beside it."""
    numbers, legend = label_colours(one.maps, net)
    backdrop(axis, one, net)
    axis.imshow(
        over_picture(one.maps.label.new_tensor(numbers), one.maps),
        cmap=ListedColormap([colour for colour, *_ in legend]),
        vmin=-0.5,
        vmax=len(legend) - 0.5,
        alpha=SEEN_THROUGH,
        interpolation="nearest",
    )
    outline(axis, one)
    axis.legend(
        [Patch(color=colour, alpha=SEEN_THROUGH) for colour, *_ in legend],
        [f"{short(name)} {share:.0%}" for _, name, share in legend],
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        fontsize=11,
        handlelength=1.1,
    )


def short(name: str, letters: int = 20) -> str:
    """A name that is not too long for a legend."""
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


def settings(found: Mapping[str, OccludedPicture], net: Network, title: str = "") -> Figure:
    """One picture under squares of several kinds: the square, and the probability (Fig. 7d).

    All maps have one scale.

    Parameters
    ----------
    found : dict {name of the setting: OccludedPicture}
    """
    if not found or any(one.maps.probability is None for one in found.values()):
        raise BadInput("Give at least one picture, of a network with a classifier.")
    figure, axes = plt.subplots(
        2,
        len(found),
        figsize=(2.1 * len(found) + 0.8, 5.1),
        squeeze=False,
        layout="constrained",
    )
    top = max(float(one.maps.whole_probability[one.maps.target]) for one in found.values())
    top = max(top, *(float(one.maps.probability.max()) for one in found.values()))
    for (above, below), (name, one) in zip(axes.T, found.items(), strict=True):
        maps, place = one.maps, lowest(one.maps.probability)
        above.imshow(input_picture(one.with_square(*place), net))
        mark_box(above, square_box(maps, *place))
        above.set_title(name, fontsize=12)
        backdrop(below, one, net)
        drawn = below.imshow(
            over_picture(maps.probability, maps), cmap=HEAT, vmin=0, vmax=top, alpha=SEEN_THROUGH
        )
        outline(below, one)
        words = f"lowest {float(maps.probability.min()):.2f}\nmean {maps.probability.mean():.2f}"
        below.set_xlabel(words, fontsize=10)
    for axis in axes.flat:
        bare(axis)
    one = next(iter(found.values()))
    name = class_name(net, one.maps.target)
    whole = float(one.maps.whole_probability[one.maps.target])
    bar = figure.colorbar(drawn, ax=axes[1], fraction=0.03, pad=0.01, label="probability")
    bar.ax.axhline(whole, color="crimson", lw=2.5)
    words = f"{net.name}: probability of {name} ({whole:.2f} without a square, red)"
    head(figure, net, title or words)
    return figure


def windows(rows: Sequence[LayerWindow], net: Network, square: int, title: str = "") -> Figure:
    """How the change that a square makes spreads, layer by layer; the windows are filled.

    Parameters
    ----------
    rows : LayerWindow
        From `zfnb.occlusion_figure.layer_windows`.
    square : int
    """
    drawn = [row for row in rows if row.operation != "fully connected"]
    if not drawn:
        raise BadInput("There is no layer of maps to draw.")
    size = net.input_size
    maps = [("picture", size, square, (size - square) // 2, "")]
    for row in drawn:
        work = f"\n{row.multiply_adds / 1e6:.0f} M" if row.multiply_adds else ""
        maps.append((row.layer, row.positions, row.window, row.start, work))
    figure, axes = plt.subplots(
        1, len(maps), figsize=(1.5 * len(maps), 2.9), squeeze=False, layout="constrained"
    )
    for axis, (name, positions, window, start, work) in zip(axes[0], maps, strict=True):
        axis.add_patch(Rectangle((0, 0), positions, positions, fc="0.93", ec="0.4"))
        start = min(start, positions - window)
        axis.add_patch(Rectangle((start, start), window, window, fc=WINDOW, alpha=0.8))
        if positions <= 30:  # else the lines hide the map
            lines = np.arange(1, positions)
            axis.hlines(lines, 0, positions, color="white", lw=0.4)
            axis.vlines(lines, 0, positions, color="white", lw=0.4)
        margin = 0.02 * positions
        axis.set(xlim=(-margin, positions + margin), ylim=(positions + margin, -margin))
        axis.set(aspect="equal")
        bare(axis)
        axis.set_title(name, fontsize=10)
        share = (window / positions) ** 2
        axis.set_xlabel(f"{window} of {positions}\n{share:.0%}{work}", fontsize=10)
    words = f"{net.name}: what a square of {square} pixels changes; by multiply-adds (M), "
    head(figure, net, title or f"{words}{windows_share(list(rows)):.0%} of the work")
    return figure


def on_objects(found: Mapping[str, Sequence[Grounding]], net: Network, title: str = "") -> Figure:
    """Each picture as a point: the object's area, and the share of the drop that lies on it.

    Parameters
    ----------
    found : dict {name: Groundings}
    """
    if not any(len(rows) for rows in found.values()):
        raise BadInput("There is no picture to draw; give at least one.")
    figure, axis = plt.subplots(figsize=(5.6, 4.6), layout="constrained")
    sns.despine(figure)
    axis.plot((0, 1), (0, 1), "--", color="0.5", label="a square at a random place")
    for name, rows in found.items():
        hit = np.array([one.hit for one in rows], dtype=bool)
        area, energy = (np.array([getattr(one, n) for one in rows]) for n in ("area", "energy"))
        for choice, marker, words in ((hit, "o", "hits"), (~hit, "x", "misses")):
            if choice.any():
                axis.scatter(
                    area[choice],
                    energy[choice],
                    marker=marker,
                    alpha=0.75,
                    label=f"{name}: {words} ({choice.sum()})",
                )
    axis.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="share of the pixels that are the object's",
        ylabel="share of the drop that lies on it",
    )
    axis.legend(frameon=False, loc="lower right", fontsize=9)
    head(figure, net, title or f"{net.name}: does the drop lie on the object?")
    return figure
