"""The figures of feature invariance (Sec. 4, Fig. 5); they draw arrays and compute nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from torch import Tensor

from zfnb.errors import BadInput
from zfnb.invariance import PIXELS, InvarianceCurves
from zfnb.models import Network
from zfnb.plots import bare, class_name, head, input_picture
from zfnb.transformations import Transformation

PALETTE = "colorblind"  # of pictures
FRAME = 0.035  # of a picture's side


def picture_colours(count: int) -> list[tuple]:
    """One colour a picture."""
    return list(sns.color_palette(PALETTE, max(count, 1)))


def layer_colours(layers: Sequence[str]) -> dict[str, tuple | str]:
    """One colour a layer, from dark (low) to light (high); grey for the pixels."""
    named = [layer for layer in layers if layer != PIXELS]
    shades = map(tuple, plt.get_cmap("viridis")(np.linspace(0, 0.85, len(named))))
    return {**dict(zip(named, shades, strict=True)), PIXELS: "0.6"}


def amount(transform: Transformation, value: float) -> str:
    """A value with its unit, short."""
    text = f"{value + 0:.3g}"  # no -0
    return {"degrees": f"{text}°", "times": f"{text}×"}.get(transform.unit, f"{text} px")


def axis_words(transform: Transformation, size: int) -> str:
    """Label of an axis of values."""
    unit = f"pixels of {size}" if transform.in_pixels else transform.unit
    return f"{transform.name} ({unit})" if unit else transform.name


def strips(rows: Mapping[str, Tensor], columns: Sequence[str], net: Network, title: str) -> Figure:
    """Pictures in rows, each with its name: what a choice makes of the same pictures.

    Parameters
    ----------
    rows : dict {name: Tensor (K, 3, H, W)}
    columns : K names
    """
    if not rows or not columns:
        raise BadInput("There is no picture to draw; give at least one row and one column.")
    for name, pictures in rows.items():
        if len(pictures) != len(columns):
            raise BadInput(
                f"Each row needs {len(columns)} pictures, one a column, but {name!r} has "
                f"{len(pictures)}."
            )
    side = 1.55  # inches
    figure, axes = plt.subplots(
        len(rows),
        len(columns),
        squeeze=False,
        figsize=(side * len(columns) + 0.6, side * len(rows) + 0.8),
        layout="constrained",
    )
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, fontsize=10)
        for axis, picture in zip(line, pictures, strict=True):
            axis.imshow(input_picture(picture, net))
            bare(axis)
    for axis, column in zip(axes[0], columns, strict=True):
        axis.set_title(column, fontsize=10)
    head(figure, net, title)
    return figure


def figure_5(
    shown: Sequence[Tensor],
    shown_values: Sequence[Sequence[float]],
    curves: Sequence[InvarianceCurves],
    net: Network,
    names: Sequence[str],
    layers: tuple[str, str],
    title: str = "",
) -> Figure:
    """Fig. 5: a row a transformation; pictures, distances at two layers, probability.

    Each picture has a colour, in its frame and in the curves.

    Parameters
    ----------
    shown : Tensors (S, N, 3, H, W), one a transformation
        The pictures at a few of the values.
    shown_values : S values, for each transformation
    curves : InvarianceCurves of N pictures, one a transformation
    names : N names of the pictures
    layers : (low, high)
    """
    if not curves or not len(curves) == len(shown) == len(shown_values):
        raise BadInput("Give curves, pictures and their values for each transformation.")
    colours = picture_colours(len(names))
    figure, axes = plt.subplots(
        len(curves),
        4,
        squeeze=False,
        figsize=(17, 3.7 * len(curves) + 0.8),
        layout="constrained",
        gridspec_kw={"width_ratios": (1.5, 1, 1, 1)},
    )
    sns.despine(figure)
    for line, pictures, at, one in zip(axes, shown, shown_values, curves, strict=True):
        _framed(line[0], pictures, [amount(one.transform, v) for v in at], net, colours)
        drawn = [one.distance[layer] for layer in layers] + [one.probability]
        for axis, rows in zip(line[1:], drawn, strict=True):
            for row, colour, name in zip(rows, colours, names, strict=True):
                axis.plot(one.values, row, color=colour, lw=1.8, label=name)
            axis.set_xlabel(axis_words(one.transform, net.input_size), fontsize=12)
            axis.set_ylim(0, 1 if rows is one.probability else None)
            axis.tick_params(labelsize=11)
            axis.margins(x=0.02)
    words = [f"distance at {layer}" for layer in layers]
    for axis, text in zip(
        axes[0], ("pictures", *words, "probability of the true label"), strict=True
    ):
        axis.set_title(text, fontsize=14)
    figure.legend(
        *axes[0, 1].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(names),
        frameon=False,
        fontsize=13,
    )
    head(figure, net, title or f"{net.name}: what transformations do to features (Fig. 5)")
    figure._suptitle.set_fontsize(17)  # the figure is large, and shown at a smaller size
    return figure


def _framed(
    axis, pictures: Tensor, values: Sequence[str], net: Network, colours: Sequence[tuple]
) -> None:
    """Pictures (S, N, 3, H, W) as a grid of S rows, each column framed in its colour."""
    side = pictures.shape[-1]
    frame = max(2, round(FRAME * side))
    rows = []
    for line in pictures:
        cells = []
        for picture, colour in zip(line, colours, strict=True):
            cell = np.full((side + 3 * frame, side + 3 * frame, 3), 1.0)
            cell[:-frame, :-frame] = colour
            inside = slice(frame, frame + side)
            cell[inside, inside] = input_picture(picture, net)
            cells.append(cell)
        rows.append(np.concatenate(cells, axis=1))
    axis.imshow(np.concatenate(rows, axis=0))
    step = side + 3 * frame
    axis.set_yticks(np.arange(len(rows)) * step + step / 2, values, fontsize=12)
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def scaled_curves(
    panels: Mapping[str, Mapping[str, np.ndarray]], net: Network, title: str = ""
) -> Figure:
    """Curves with both axes scaled to 1, mean over the pictures, beside the straight line.

    Parameters
    ----------
    panels : dict {panel's title: {layer: array (N, P)}}
        From `zfnb.curve_shapes.scaled`.
    """
    if not panels:
        raise BadInput("There is no curve to draw; give at least one panel.")
    figure, axes = plt.subplots(
        1,
        len(panels),
        squeeze=False,
        sharey=True,
        figsize=(4.2 * len(panels) + 1.4, 4.4),
        layout="constrained",
    )
    sns.despine(figure)
    colours = layer_colours(list(dict.fromkeys(n for p in panels.values() for n in p)))
    for axis, (name, curves) in zip(axes[0], panels.items(), strict=True):
        axis.plot((0, 1), (0, 1), ":", color="crimson", lw=1.5, label="straight line")
        for layer, rows in curves.items():
            t, mean = np.linspace(0, 1, rows.shape[1]), rows.mean(0)
            style = "--" if layer == PIXELS else "-"
            axis.plot(t, mean, style, color=colours[layer], lw=2, label=layer)
        axis.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="part of the transformation's range")
        axis.set_title(name, fontsize=11)
    axes[0, 0].set_ylabel("part of the largest distance")
    handles = dict(
        pair[::-1]
        for axis in axes[0]
        for pair in zip(*axis.get_legend_handles_labels(), strict=True)
    )
    figure.legend(handles.values(), handles.keys(), loc="outside right center", frameon=False)
    head(figure, net, title or f"{net.name}: how distances rise, layer by layer")
    return figure


def symmetry_dips(
    images: Tensor,
    curves: InvarianceCurves,
    folds: Sequence[int],
    net: Network,
    names: Sequence[str],
    title: str = "",
) -> Figure:
    """Distances over a full turn, a row a picture; where a symmetry lets them dip is marked.

    Parameters
    ----------
    images : Tensor (N, 3, H, W)
    curves : InvarianceCurves of a rotation
    folds : N ints
        Of the symmetry whose turns are marked; 0 or 1 marks nothing.
    names : N names
    """
    if not len(images) == len(folds) == len(names):
        raise BadInput("Give a picture, its folds and a name for each row.")
    figure, axes = plt.subplots(
        len(names),
        2,
        squeeze=False,
        figsize=(11, 1.75 * len(names) + 0.9),
        layout="constrained",
        gridspec_kw={"width_ratios": (1, 5)},
    )
    sns.despine(figure)
    colours = layer_colours(curves.layers)
    for n, (left, right) in enumerate(axes):
        left.imshow(input_picture(images[n], net))
        left.set_axis_off()
        left.set_title(names[n], fontsize=10)
        for turn in range(1, folds[n]):
            right.axvline(turn * 360 / folds[n], color="crimson", lw=1, ls=":")
        for layer in curves.layers:
            y = curves.relative(layer)[n]
            style = "--" if layer == PIXELS else "-"
            right.plot(curves.values, y, style, color=colours[layer], label=layer, lw=1.8)
        right.set(xlim=(0, 360), ylim=(0, None), xticks=np.arange(0, 361, 60))
        if n < len(names) - 1:
            right.set_xticklabels([])
    axes[-1, 1].set_xlabel("rotation (degrees); dotted: turns of the symmetry")
    figure.supylabel("distance, in lengths of the feature vector", fontsize=10)
    figure.legend(
        *axes[0, 1].get_legend_handles_labels(), loc="outside right center", frameon=False
    )
    head(figure, net, title or f"{net.name}: dips of rotation-symmetric pictures")
    return figure


def shares(values: Mapping[str, np.ndarray], net: Network, what: str, title: str = "") -> Figure:
    """A share for each picture, a dot each, and their mean as a bar.

    Parameters
    ----------
    values : dict {name: array (N,) in [0, 1]}
    what : str
        Label of the vertical axis.
    """
    if not values:
        raise BadInput("There is nothing to draw; give at least one row of values.")
    size = (1.6 * len(values) + 1.2, 4)
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    sns.despine(figure)
    for place, row in enumerate(values.values()):
        axis.bar(place, row.mean(), 0.7, color="C0", alpha=0.4)
        spread = np.linspace(-0.25, 0.25, len(row)) if len(row) > 1 else np.zeros(1)
        axis.plot(place + spread, row, "o", color="C0", ms=4)
        axis.annotate(
            f"{row.mean():.2f}", (place, 0), (0, 4), textcoords="offset points", ha="center"
        )
    axis.set(xticks=range(len(values)), xticklabels=list(values), ylabel=what, ylim=(0, 1.03))
    head(figure, net, title or f"{net.name}: {what}")
    return figure


def one_picture(
    image: Tensor,
    curves: InvarianceCurves,
    value: float,
    net: Network,
    name: str,
    item: int = 0,
) -> Figure:
    """A transformed picture, and where it is on the curves of distance and probability.

    Parameters
    ----------
    image : Tensor (3, H, W)
        As transformed by `value`.
    curves : InvarianceCurves
    value : float
        One of the curves'.
    name : str
        Of the picture.
    item : int
        Which of the curves' pictures.
    """
    if not (curves.values == value).any():
        raise BadInput(f"There is no value {value:g} on these curves; choose one of theirs.")
    at = int(np.flatnonzero(curves.values == value)[0])
    # Inches. Fixed places, as in `zfnb.plots.places`: a panel must be quick.
    wide, high = 12.3, 3.75
    figure = plt.figure(figsize=(wide, high))

    def place(left: float, bottom: float, width: float, height: float):
        return figure.add_axes((left / wide, bottom / high, width / wide, height / high))

    picture = place(0.1, 0.3, 2.8, 2.8)
    picture.imshow(input_picture(image, net))
    picture.set_axis_off()
    distance, chance = place(3.4, 0.6, 3.6, 2.5), place(7.6, 0.6, 2.9, 2.5)
    colours = layer_colours(curves.layers)
    for layer in curves.layers:
        y = curves.relative(layer)[item]
        style = "--" if layer == PIXELS else "-"
        distance.plot(curves.values, y, style, color=colours[layer], lw=1.8, label=layer)
        distance.plot(value, y[at], "o", color=colours[layer], ms=8, mec="black")
    distance.set_title("distance, in lengths of the feature vector", fontsize=10)
    distance.set_ylim(0, None)
    distance.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(7.5 / 3.6, 1.0))
    chance.set_title("probability of the true label", fontsize=10)
    chance.set_ylim(0, 1)
    words = f"{name}, {curves.transform.name} {amount(curves.transform, value)}"
    if curves.targets is None:
        chance.text(0.5, 0.5, "no label", ha="center", va="center", transform=chance.transAxes)
    else:
        chance.plot(curves.values, curves.probability[item], color="0.2", lw=1.8)
        chance.plot(value, curves.probability[item, at], "o", color="crimson", ms=8, mec="black")
        words += f": probability {curves.probability[item, at]:.2f}"
        words += f", seen as {class_name(net, curves.label[item, at])}"
    for axis in (distance, chance):
        axis.axvline(value, color="0.7", lw=1, zorder=0)
        axis.set_xlabel(axis_words(curves.transform, net.input_size), fontsize=9)
        axis.tick_params(labelsize=9)
    sns.despine(figure)
    head(figure, net, words)
    return figure
