"""The figures of the paper, one function a figure; they draw arrays and compute nothing else.

How a projection is shown decides what one sees in it. Zero is mid grey; each projection has its own
scale, set by a high percentile so that a few bright pixels do not darken the rest; a power below
one lifts the faint parts; and colours are toned down, since those of a stride-4 first layer are
mostly aliasing (the paper says so of AlexNet, Sec. 4.1). `Display` holds these choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from zfnb.deconvnet import Projection
from zfnb.errors import BadInput
from zfnb.feature_sheets import FeatureSheet
from zfnb.models import Network

GREY = 0.5
GAP = 2  # pixels between the cells of a grid
CELL = 96  # side in pixels of one of the nine


@dataclass(frozen=True)
class Display:
    """How a projection becomes a picture.

    Attributes
    ----------
    percentile : float in (0, 100]
        Of the absolute values in the pixels that a projection reaches; what is as large or larger
        is shown at full strength.
    gamma : float
        Power of the strength; below 1 it lifts faint parts.
    saturation : float in [0, 1]
        0 shows the mean of the channels, 1 the colours as they are.
    """

    percentile: float = 99.0
    gamma: float = 0.6
    saturation: float = 0.5

    def __post_init__(self) -> None:
        if not (0 < self.percentile <= 100 and self.gamma > 0 and 0 <= self.saturation <= 1):
            raise BadInput(
                "percentile must be in (0, 100], gamma above 0 and saturation in [0, 1]; got "
                f"{self.percentile}, {self.gamma}, {self.saturation}."
            )


def resampled(field: Tensor, size: int) -> Tensor:
    """A field (3, S, S) at about `size` pixels: averaged if larger, pixels repeated if smaller.

    A projection must be averaged while its signs are still there: picking every other pixel of it
    shows noise.
    """
    if field.shape[-1] <= size:
        times = max(1, size // field.shape[-1])
        return field.repeat_interleave(times, 1).repeat_interleave(times, 2)
    missing = torch.isnan(field[:1])
    both = torch.cat((field.nan_to_num(), missing.to(field.dtype)))[None]
    small = F.interpolate(both, size=(size, size), mode="bilinear", antialias=True)[0]
    there = 1 - small[3:]  # how much of each new pixel is picture; averages are over that part
    return (small[:3] / there).masked_fill(there < 0.5, torch.nan)


def class_name(net: Network, label: int) -> str:
    """A class in words, or its number where the network does not know its classes."""
    return net.classes[label][1] if net.classes else f"class {label}"


def projection_picture(
    pixels: Tensor,
    net: Network,
    display: Display | None = None,
    blank: float = GREY,
    size: int | None = None,
) -> np.ndarray:
    """A projection as a picture.

    Parameters
    ----------
    pixels : Tensor (3, H, W)
        From `Deconvnet.project`, or one of a `FeatureSheet`'s; NaN where there is no picture.
    net : Network
        Its preprocessing says how large one unit of each channel is.
    display : Display, optional
    blank : float in [0, 1]
        Grey value of NaN.
    size : int, optional
        Side in pixels of the picture; see `resampled`.

    Returns
    -------
    array (H, W, 3) in [0, 1]
    """
    display = display or Display()
    values = pixels.detach().cpu().double()
    values = values.numpy() if size is None else resampled(values, size).numpy()
    missing = np.isnan(values[0])
    values = np.nan_to_num(values) * np.array(net.preprocessing.std)[:, None, None]
    mean = values.mean(0, keepdims=True)
    values = mean + display.saturation * (values - mean)
    strength = np.abs(values)
    reached = strength.max(0) > 0  # all else is zero, and as wide as one happens to cut
    if reached.any():
        scale = np.percentile(strength[:, reached], display.percentile) or strength.max()
        strength = np.clip(strength / scale, 0, 1)
    picture = GREY + np.sign(values) * strength**display.gamma / 2
    picture[:, missing] = blank
    return picture.transpose(1, 2, 0)


def input_picture(
    image: Tensor, net: Network, blank: float = GREY, size: int | None = None
) -> np.ndarray:
    """A network's input (3, H, W) as a picture (H, W, 3) in [0, 1]; NaN becomes `blank`."""
    values = image.detach().cpu().double()
    values = values.numpy() if size is None else resampled(values, size).numpy()
    std, mean = (
        np.array(v)[:, None, None] for v in (net.preprocessing.std, net.preprocessing.mean)
    )
    values = np.clip(values * std + mean, 0, 1)
    values[:, np.isnan(values[0])] = blank
    return values.transpose(1, 2, 0)


def grid(pictures: Sequence[np.ndarray], columns: int = 3, blank: float = 1.0) -> np.ndarray:
    """Pictures of one size, (H, W, 3) each, side by side in rows, as one array."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    shape = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3)
    out = np.full(shape, blank)
    for n, picture in enumerate(pictures):
        top, left = (n // columns) * (height + GAP), (n % columns) * (width + GAP)
        out[top : top + height, left : left + width] = picture
    return out


def sheet_grids(
    sheet: FeatureSheet, net: Network, display: Display | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The 3 x 3 projections of a feature sheet, and the 3 x 3 patches, as two arrays."""
    projections = [projection_picture(p, net, display, size=CELL) for p in sheet.projections]
    patches = [input_picture(p, net, size=CELL) for p in sheet.patches]
    return grid(projections), grid(patches)


def titled(net: Network, text: str) -> str:
    """A figure's title; it says loudly when the weights are random."""
    return text if net.weights else f"RANDOM WEIGHTS, not trained: {text}"


def head(figure: Figure, net: Network, text: str) -> None:
    """Put the title over a figure, in red if the weights are random."""
    figure.suptitle(titled(net, text), color="black" if net.weights else "crimson")


def bare(axis: Axes) -> None:
    """An axis that shows a picture: its label stays, its ticks and its frame go."""
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def places(
    rows: int, columns: int, width: float, height: float, gap: float = 0.2, foot: float = 0.0
) -> tuple[Figure, np.ndarray]:
    """A figure and its axes (rows, columns) for pictures of `width` x `height` inches.

    The places follow from the sizes. Matplotlib's automatic layouts measure all texts first, which
    takes longer than the drawing itself: too long for a panel.
    """
    head, line, edge = 0.45, 0.3, 0.08  # the figure's title, a picture's title, the border
    wide = columns * (width + gap) - gap + 2 * edge
    high = head + rows * (line + height) + foot + edge
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(wide, high),
        squeeze=False,
        gridspec_kw={
            "left": edge / wide,
            "right": 1 - edge / wide,
            "top": 1 - (head + line) / high,
            "bottom": (foot + edge) / high,
            "wspace": gap / width,
            "hspace": line / height,
        },
    )
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, axes


def feature_sheets(
    sheets: Sequence[FeatureSheet],
    net: Network,
    columns: int = 2,
    display: Display | None = None,
    title: str = "",
) -> Figure:
    """Fig. 2: nine projections of each feature map beside the nine patches that caused them.

    Parameters
    ----------
    sheets : FeatureSheet, one a feature map
    columns : int
        Feature maps in a row.
    title : str, optional
        By default the layer and the network.
    """
    if not sheets:
        raise BadInput("There is no feature sheet to draw; give at least one.")
    rows = -(-len(sheets) // columns)
    figure, axes = places(rows, columns, 5.5, 2.7)
    for axis, sheet in zip(axes.flat, sheets, strict=False):
        left, right = sheet_grids(sheet, net, display)
        band = np.ones((left.shape[0], max(3, left.shape[1] // 24), 3))
        axis.imshow(np.concatenate((left, band, right), axis=1))
        axis.set_title(f"{sheet.layer}, map {sheet.feature_map}", fontsize=10)
    layers = ", ".join(dict.fromkeys(sheet.layer for sheet in sheets))
    head(figure, net, title or f"Strongest activations of {layers}, {net.name}")
    return figure


def display_choices(sheet: FeatureSheet, net: Network, choices: dict[str, Display]) -> Figure:
    """The same nine projections under several `Display`s, and the patches last."""
    figure, axes = plt.subplots(
        1, len(choices) + 1, figsize=(3.0 * (len(choices) + 1), 3.6), layout="constrained"
    )
    for axis, (name, display) in zip(axes, choices.items(), strict=False):
        axis.imshow(sheet_grids(sheet, net, display)[0])
        axis.set_title(name, fontsize=10)
    axes[-1].imshow(sheet_grids(sheet, net)[1])
    axes[-1].set_title("the patches", fontsize=10)
    for axis in axes:
        axis.set_axis_off()
    head(
        figure,
        net,
        f"{sheet.layer}, map {sheet.feature_map}: nine projections, {len(choices)} displays",
    )
    return figure


def projection_pair(
    image: Tensor,
    projection: Projection,
    net: Network,
    layer: str,
    feature_map: int,
    display: Display | None = None,
    maps: Tensor | None = None,
) -> Figure:
    """A picture with a unit's receptive field marked, and the unit's projection beside it.

    Parameters
    ----------
    image : Tensor (3, H, W)
        The network's input.
    projection : Projection
        From `Deconvnet.project`; the first one is drawn.
    maps : Tensor (C, h, w), optional
        Activations of the layer; then the feature map is drawn between the two.
    """
    with_map = maps is not None and maps.ndim == 3
    panels = 3 if with_map else 2
    figure, axes = places(1, panels, 3.7, 3.7, foot=0.6 if with_map else 0.0)
    axes = axes[0]
    axes[0].imshow(input_picture(image, net))
    mark_box(axes[0], projection.box[0].tolist())
    axes[0].set_title("what the network sees, and the field")
    if with_map:
        drawn = axes[1].imshow(maps[feature_map].cpu().numpy(), cmap="magma", vmin=0)
        axes[1].set_title(f"feature map {feature_map}")
        scale = axes[1].inset_axes([0.15, -0.07, 0.7, 0.04])
        figure.colorbar(drawn, cax=scale, orientation="horizontal", label="activation")
    axes[-1].imshow(projection_picture(projection.pixels[0], net, display))
    axes[-1].set_title("projection to pixels")
    row, column = projection.position[0].tolist()
    head(
        figure,
        net,
        f"{net.name}, {layer}, map {feature_map}: activation {projection.activation[0]:.3g} at "
        f"row {row}, column {column}",
    )
    return figure


def mark_box(axis, box: Sequence[int], line: float = 1.8) -> None:
    """Outline a receptive field (top, left, bottom, right) on a picture."""
    top, left, bottom, right = box
    for colour, width in (("white", 2 * line), ("crimson", line)):
        corner = (left - 0.5, top - 0.5)
        axis.add_patch(
            Rectangle(corner, right - left, bottom - top, fill=False, ec=colour, lw=width)
        )


def strongest_maps(
    image: Tensor,
    maps: Tensor,
    projections: Projection,
    net: Network,
    layer: str,
    chosen: Sequence[int],
    display: Display | None = None,
) -> Figure:
    """A picture, the feature maps of a layer that answer most, and what each projects to.

    Of each map, its strongest unit is projected; its receptive field is outlined in the picture,
    and picture and projection are shown inside the field.

    Parameters
    ----------
    image : Tensor (3, H, W)
    maps : Tensor (C, h, w)
        Activations of the layer.
    projections : Projection of the chosen maps, in their order
    chosen : ints
        Feature maps, one a column.
    """
    if maps.ndim != 3 or not len(chosen):
        raise BadInput("Give the maps (C, h, w) of a convolution layer, and at least one of them.")
    figure, axes = plt.subplots(
        3, len(chosen) + 1, figsize=(1.75 * (len(chosen) + 1), 5.9), layout="constrained"
    )
    axes[0, 0].imshow(input_picture(image, net))
    axes[0, 0].set_title("the picture", fontsize=10)
    for axis, words in zip(
        axes[1:, 0], ("what the strongest\nunit sees", "its activation,\nprojected"), strict=True
    ):
        axis.text(0.98, 0.5, words, ha="right", va="center", fontsize=10, transform=axis.transAxes)
    strongest = float(maps[list(chosen)].max())
    for n, feature_map in enumerate(chosen, start=1):
        top, left, bottom, right = projections.box[n - 1].tolist()
        field = (slice(None), slice(top, bottom), slice(left, right))
        drawn = axes[0, n].imshow(
            maps[feature_map].cpu().numpy(), cmap="magma", vmin=0, vmax=strongest
        )
        axes[0, n].set_title(f"map {feature_map}", fontsize=10)
        axes[1, n].imshow(input_picture(image[field], net))
        axes[2, n].imshow(projection_picture(projections.pixels[n - 1][field], net, display))
        axes[2, n].set_title(f"activation {projections.activation[n - 1]:.3g}", fontsize=9)
        mark_box(axes[0, 0], (top, left, bottom, right), 0.8)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.colorbar(drawn, ax=axes[0, 1:], shrink=0.9, aspect=12, label="activation")
    head(figure, net, f"{net.name}, {layer}: the maps that answer most, and their projections")
    return figure


def two_by_layer(
    first: dict[str, np.ndarray],
    second: dict[str, np.ndarray],
    names: tuple[str, str],
    net: Network,
    what: str,
    title: str = "",
) -> Figure:
    """Two numbers for each layer side by side: means as bars, the middle half as a whisker.

    Parameters
    ----------
    first, second : dict {layer: array}
    names : what the two are
    what : str
        Label of the vertical axis.
    """
    figure, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    sns.despine(figure)
    place = np.arange(len(first))
    for shift, name, values, colour in (
        (-0.2, names[0], first, "C0"),
        (0.2, names[1], second, "0.7"),
    ):
        mean = np.array([rows.mean() for rows in values.values()])
        low, high = (np.array([np.percentile(v, q) for v in values.values()]) for q in (25, 75))
        axis.bar(place + shift, mean, 0.38, color=colour, label=name)
        axis.vlines(place + shift, low, high, color="0.2", lw=1.2)
        for x, y in zip(place + shift, mean, strict=True):
            axis.annotate(f"{y:.2f}", (x, y), (9, 3), textcoords="offset points", ha="center")
    axis.plot([], [], color="0.2", lw=1.2, label="middle half of the maps")
    axis.set(xticks=place, xticklabels=list(first), ylabel=what)
    axis.legend(frameon=False, loc="upper right")
    head(figure, net, title or f"{net.name}: {what}")
    return figure


def by_layer(
    values: dict[str, np.ndarray],
    net: Network,
    what: str,
    baseline: float | dict[str, float] | None = None,
    baseline_name: str = "chance",
    title: str = "",
) -> Figure:
    """A number for each layer: its mean over the maps or pictures, and the middle half.

    Parameters
    ----------
    values : dict {layer: array}
    what : str
        Label of the vertical axis.
    baseline : float, or {layer: float}, optional
        Drawn as a dashed line.
    """
    layers = list(values)
    figure, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    sns.despine(figure)
    place = np.arange(len(layers))
    mean = np.array([values[layer].mean() for layer in layers])
    low, high = (np.array([np.percentile(values[n], q) for n in layers]) for q in (25, 75))
    axis.fill_between(place, low, high, alpha=0.2, color="C0", label="middle half")
    axis.plot(place, mean, "o-", color="C0", label="mean")
    for x, y in zip(place, mean, strict=True):
        axis.annotate(f"{y:.2f}", (x, y), (0, 7), textcoords="offset points", ha="center")
    if baseline is not None:
        line = [baseline[n] if isinstance(baseline, dict) else baseline for n in layers]
        axis.plot(place, line, "--", color="0.4", label=baseline_name)
    axis.set(xticks=place, xticklabels=layers, ylabel=what, ylim=(0, 1))
    axis.legend(frameon=False)
    head(figure, net, title or f"{net.name}: {what}")
    return figure
