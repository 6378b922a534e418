"""Drawings of networks and of the deconvnet, for notebooks 01 and 02.

They draw the numbers that they are given and compute no experiment. `zfnb.architecture` has the
numbers of a network, `zfnb.traps` those of the mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle
from torch import nn

from zfnb.architecture import LayerRow, layer_table, pool_windows
from zfnb.models import Network
from zfnb.plots import head, input_picture, mark_box, projection_picture
from zfnb.receptive import receptive_boxes
from zfnb.traps import Comparison

PICTURE, MAPS, POOLED, UNITS = "#9aa5b1", "#4c78a8", "#54a99a", "#e0903c"
GOOD, BAD = "#1f8a4d", "#bf3f28"
WINDOWS = ("#4c78a8", "#e0903c", "#8e6bb0", "#54a99a")  # pooling windows, told apart by colour


# ---------------------------------------------------------------- Fig. 3: the network


@dataclass(frozen=True)
class Block:
    """A stack of maps in the drawing of a network."""

    name: str
    maps: int
    side: int
    colour: str
    text: str


def blocks(net: Network) -> list[Block]:
    """The input and every layer that changes a shape; normalisation is named in its pool's text."""
    found = [Block("input", 3, net.input_size, PICTURE, "3 colours")]
    for row in layer_table(net):
        if row.layer.startswith("norm"):
            last = found.pop()
            text = f"{last.text}\ncontrast norm."
            found.append(Block(last.name, last.maps, last.side, last.colour, text))
            continue
        kind = row.layer.rstrip("0123456789")
        colour = {"conv": MAPS, "pool": POOLED}.get(kind, UNITS)
        found.append(Block(row.layer, row.maps, row.side, colour, short(net, row.layer)))
    return found


def short(net: Network, layer: str) -> str:
    """What a layer does, on two or three short lines."""
    lines = []
    for name, step in net.steps(to=layer):
        if name != layer:
            continue
        if isinstance(step, nn.Conv2d | nn.MaxPool2d):
            kernel = step.kernel_size if isinstance(step.kernel_size, int) else step.kernel_size[0]
            stride = step.stride if isinstance(step.stride, int) else step.stride[0]
            what = "filters" if isinstance(step, nn.Conv2d) else "pool"
            lines.append(f"{what} {kernel}×{kernel}\nstride {stride}")
        elif isinstance(step, nn.Linear):
            lines.append("fully\nconnected")
        elif isinstance(step, nn.ReLU):
            lines[-1] += "\nReLU"
    return "\n".join(lines)


def draw_network(net: Network, title: str = "") -> Figure:
    """The network as stacks of maps, in the manner of Fig. 3.

    Under each stack: what makes it, and how many maps it has. Beside it: the side of a map. Sides
    and numbers of maps are drawn smaller than to scale (by a power), else the last would vanish.

    Parameters
    ----------
    net : Network
        Only its shapes are used; one from `zfnb.architecture.outline` will do.
    title : str, optional
    """
    figure, axis = plt.subplots(figsize=(11.4, 5.2), layout="constrained")
    x, previous = 0.0, None
    lean = np.array([0.27, 0.16])  # how the side that goes into the page is drawn
    for block in blocks(net):
        flat = block.side == 1
        height = (block.maps / 4096) ** 0.3 * 3.6 if flat else (block.side / 224) ** 0.5 * 3.8
        thick = 0.28 if flat else 0.08 + 0.66 * (block.maps / 400) ** 0.6
        depth = lean * (0.35 if flat else height)
        corner = np.array([x, -(height + depth[1]) / 2])
        draw_prism(axis, corner, thick, height, depth, block.colour)
        if previous is not None:
            join(axis, *previous, corner, height)
        if not flat:
            axis.text(x - 0.06, corner[1] + 0.03, block.side, ha="right", va="bottom", size=12)
        right = corner[0] + thick + depth[0]
        centre = (x + right) / 2
        top = corner[1] + height + depth[1]
        axis.text(centre, top + 0.12, block.name, ha="center", size=12, weight="bold")
        below = corner[1] - 0.12
        axis.text(x + thick / 2, below, f"{block.maps}", ha="center", va="top", size=12)
        axis.text(centre, -2.6, block.text, ha="center", va="top", size=9.5, linespacing=1.3)
        previous = (corner + np.array([thick, 0]), height, depth)
        gap = 0.6 if block.name == "input" else 0.44  # room for the next number
        x = max(right + gap, x + 1.12)
    axis.set(xlim=(-0.55, x - 0.2), ylim=(-3.6, 2.7))
    axis.set_axis_off()
    what = title or f"{net.name}: side of a map beside it, number of maps or units below it"
    figure.suptitle(what)
    return figure


def draw_prism(axis: Axes, corner, thick: float, height: float, depth, colour: str) -> None:
    """A box: front face `thick` x `height` at `corner`, and what goes into the page by `depth`."""
    across, up = np.array([thick, 0.0]), np.array([0.0, height])
    front = [corner, corner + across, corner + across + up, corner + up]
    top = [corner + up, corner + up + across, corner + up + across + depth, corner + up + depth]
    face = [front[1], front[1] + depth, front[2] + depth, front[2]]
    for shape, strength in ((front, 0.55), (top, 0.35), (face, 0.8)):
        axis.add_patch(Polygon(shape, fc=colour, ec="none", alpha=strength))
        axis.add_patch(Polygon(shape, fc="none", ec="0.25", lw=0.8))


def join(axis: Axes, corner, height: float, depth, to, to_height: float) -> None:
    """A window on the right face of one stack, and dotted lines to a place of the next."""
    window = 0.24
    start = corner + depth * 0.35 + np.array([0, height * 0.5])
    along, up = depth * window, np.array([0.0, height * window])
    square = [start, start + along, start + along + up, start + up]
    axis.add_patch(Polygon(square, fc="none", ec="black", lw=0.9))
    end = to + np.array([0, to_height * 0.55])
    for point in (square[1], square[2]):
        axis.plot(*zip(point, end, strict=True), ":", color="black", lw=0.9)


# ---------------------------------------------------------------- numbers of a network


def draw_by_layer(
    tables: Mapping[str, Sequence[LayerRow]], what: str = "parameters", title: str = ""
) -> Figure:
    """Bars of a number of each layer that has weights, networks beside each other.

    Parameters
    ----------
    tables : dict {network: rows of `zfnb.architecture.layer_table`}
    what : {"parameters", "multiply_adds"}
    """
    layers = [
        row.layer for row in max(tables.values(), key=len) if row.layer.startswith(("conv", "fc"))
    ]
    figure, axis = plt.subplots(figsize=(9.5, 1.3 + 0.165 * len(layers) * (len(tables) + 0.6)))
    width = 0.84 / len(tables)
    for n, (name, rows) in enumerate(tables.items()):
        values = {row.layer: getattr(row, what) / 1e6 for row in rows}
        total = sum(values.values())
        for place, layer in enumerate(layers):
            if layer not in values:
                continue
            at = place + (n - (len(tables) - 1) / 2) * width
            label = f"{name}: {total:,.1f} million in all" if place == 0 else None
            axis.barh(at, values[layer], width * 0.92, color=WINDOWS[n], label=label)
            share = 100 * values[layer] / total
            text = f" {values[layer]:,.2f}  ({share:.1f} %)"
            axis.text(values[layer], at, text, va="center", size=8.5)
    axis.set_yticks(range(len(layers)), layers)
    axis.invert_yaxis()
    axis.set_xlabel(f"{what.replace('_', '-')} in millions (share of the network's)")
    axis.margins(x=0.2)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="best")
    figure.suptitle(title or f"{what.replace('_', '-')} of each layer".capitalize())
    figure.set_layout_engine("constrained")
    return figure


def draw_variants(rows: Sequence[Mapping]) -> Figure:
    """Table 3: the size of each variant (ours) and its errors (the paper's).

    Parameters
    ----------
    rows : list of dict
        From `zfnb.architecture.variants`.
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(12, 0.9 + 0.36 * len(rows)), sharey=True, width_ratios=(3, 2)
    )
    place = np.arange(len(rows))
    millions = [row["parameters"] / 1e6 for row in rows]
    colours = [MAPS if row["network"].startswith("alexnet") else UNITS for row in rows]
    left.barh(place, millions, color=colours, height=0.66)
    for at, value in zip(place, millions, strict=True):
        left.text(value, at, f" {value:.1f}", va="center", size=9)
    left.set_yticks(
        place,
        [row["change"].replace(" and layers", "\nand layers").replace(" maps", "") for row in rows],
    )
    left.set_xlabel("parameters in millions, counted here")
    left.margins(x=0.12)
    train = [row["train_top1"] for row in rows]
    val = [row["val_top1"] for row in rows]
    right.hlines(place, train, val, color="0.8", zorder=0)
    right.plot(train, place, "o", mfc="white", color="0.35", label="training")
    right.plot(val, place, "o", color="0.15", label="validation")
    for at, value in zip(place, val, strict=True):
        right.annotate(f"{value:.1f}", (value, at), (7, 0), textcoords="offset points", va="center")
    right.set_xlabel("top-1 error in %, published (Table 3)")
    right.margins(x=0.14)
    right.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
    left.invert_yaxis()
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Table 3: what is taken away or made wider", x=0.01, ha="left")
    figure.set_layout_engine("constrained")
    return figure


def draw_pool_edges(size: int = 8, rules: Sequence[str] = ("floor", "ceil", "pad")) -> Figure:
    """Where the pooling windows 3 / 2 lie along a row of `size` positions, for each edge rule."""
    figure, axes = plt.subplots(len(rules), 1, figsize=(8.2, 1.45 * len(rules)), sharex=True)
    for axis, rule in zip(axes, rules, strict=True):
        windows = pool_windows(size, rule)
        seen = {at for first, last in windows for at in range(first, last + 1)}
        for at in range(-1, size + 1):
            inside = 0 <= at < size
            missed = inside and at not in seen
            if inside or at in seen:
                style = {"fc": BAD if missed else "0.9" if inside else "none"}
                style["ls"] = "-" if inside else ":"
                axis.add_patch(Rectangle((at - 0.5, 0), 1, 1, ec="0.4", alpha=0.9, **style))
                text = at if inside else "–"
                axis.text(at, 0.5, text, ha="center", va="center", size=10)
        for n, (first, last) in enumerate(windows):
            level = 1.25 + 0.42 * (n % 2)
            colour = WINDOWS[n % len(WINDOWS)]
            axis.plot((first - 0.4, last + 0.4), (level, level), "-|", color=colour, lw=3, ms=8)
        never = [at for at in range(size) if at not in seen]
        text = f"“{rule}”: {len(windows)} windows"
        text += f", position {never[0]} is never looked at" if never else ""
        axis.set_title(text, loc="left", fontsize=11, color=BAD if never else "black")
        axis.set(xlim=(-1.7, size + 0.7), ylim=(-0.1, 2.0))
        axis.set_axis_off()
    figure.suptitle(f"Pooling windows of 3, stride 2, over {size} positions")
    figure.set_layout_engine("constrained")
    return figure


def draw_receptive_fields(
    image: torch.Tensor,
    net: Network,
    layers: Sequence[str],
    places: Mapping[str, Sequence[float]],
) -> Figure:
    """What one unit of each layer sees of a picture, as nested squares.

    Parameters
    ----------
    image : Tensor (3, H, W)
        The network's input.
    net : Network
        Only its shapes and its preprocessing are used.
    layers : sequence of str
        Layers of maps, from the lowest to the highest.
    places : dict {text: (row, column)}
        Places of the units as fractions of the map, from 0 to 1; one panel each.
    """
    figure, axes = plt.subplots(1, len(places), figsize=(5.4 * len(places), 6.0), squeeze=False)
    colours = plt.get_cmap("turbo")(np.linspace(0.97, 0.05, len(layers)))
    picture = input_picture(image, net)
    for axis, (text, place) in zip(axes[0], places.items(), strict=True):
        axis.imshow(picture)
        for layer, colour in zip(layers, colours, strict=True):
            side = net.shapes[layer][1]
            at = torch.tensor([[round(f * (side - 1)) for f in place]])
            top, left, bottom, right = receptive_boxes(net, layer, at)[0].tolist()
            corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
            axis.add_patch(Rectangle(corner, *size, fill=False, ec="black", lw=4.2))
            label = f"{layer}: {bottom - top} × {right - left}"
            axis.add_patch(Rectangle(corner, *size, fill=False, ec=colour, lw=2.4, label=label))
        axis.set_title(text)
        axis.set_axis_off()
        axis.set(xlim=(-2.5, net.input_size + 1.5), ylim=(net.input_size + 1.5, -2.5))
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, frameon=False)
    figure.suptitle(f"{net.name}: the pixels that one unit sees (rows × columns)")
    figure.set_layout_engine("constrained")
    return figure


# ---------------------------------------------------------------- Fig. 1: by hand


@dataclass(frozen=True)
class Grid:
    """A small map whose numbers are written out.

    Attributes
    ----------
    title : str
    values : Tensor or array (H, W), or (1, 1, H, W)
    marks : sequence of (row, column)
        Places that are circled, e.g. switches. The n-th has the colour of the n-th window.
    windows : sequence of (row, column, size)
        Squares that are outlined, e.g. pooling windows.
    """

    title: str
    values: object
    marks: Sequence[tuple[int, int]] = ()
    windows: Sequence[tuple[int, int, int]] = ()


def draw_grids(*grids: Grid, arrows: Sequence[str] = (), title: str = "") -> Figure:
    """Small maps in a row with all their numbers; blue is positive, red negative, white zero.

    Parameters
    ----------
    *grids : Grid
    arrows : sequence of str
        What leads from each grid to the next.
    title : str, optional
    """
    arrays = [as_plane(grid.values) for grid in grids]
    gap = 2.1
    widths = [array.shape[1] for array in arrays]
    tall = max(array.shape[0] for array in arrays)
    total = sum(widths) + gap * (len(grids) - 1)
    cell = min(0.47, 11.5 / total)
    size = (cell * (total + 0.4), cell * (tall + 1.15) + (0.4 if title else 0.0))
    figure, axis = plt.subplots(figsize=size)
    strongest = max(float(np.abs(array).max()) for array in arrays) or 1.0
    x = 0.0
    for n, (grid, array) in enumerate(zip(grids, arrays, strict=True)):
        top = (tall - array.shape[0]) / 2
        draw_grid(axis, grid, array, x, top, strongest)
        if n + 1 < len(grids):
            start = x + widths[n]
            text = arrows[n] if n < len(arrows) else ""
            arrow = FancyArrowPatch(
                (start + 0.25, tall / 2),
                (start + gap - 0.25, tall / 2),
                arrowstyle="-|>",
                mutation_scale=14,
                color="0.25",
            )
            axis.add_patch(arrow)
            axis.text(start + gap / 2, tall / 2 - 0.25, text, ha="center", va="bottom", size=9.5)
        x += widths[n] + gap
    axis.set(xlim=(-0.2, total + 0.2), ylim=(tall + 0.15, -1.0), aspect="equal")
    axis.set_axis_off()
    if title:
        figure.suptitle(title)
    figure.set_layout_engine("constrained")
    return figure


def draw_grid(
    axis: Axes, grid: Grid, array: np.ndarray, x: float, y: float, strongest: float
) -> None:
    """One small map with its upper left corner at (x, y)."""
    height, width = array.shape
    axis.text(x + width / 2, y - 0.3, grid.title, ha="center", va="bottom", size=10.5)
    for row in range(height):
        for column in range(width):
            value = array[row, column]
            colour = MAPS if value > 0 else BAD
            strength = 0.65 * abs(value) / strongest
            place = (x + column, y + row)
            axis.add_patch(Rectangle(place, 1, 1, fc="white", ec="0.75", lw=0.8))
            axis.add_patch(Rectangle(place, 1, 1, fc=colour, ec="none", alpha=strength))
            axis.text(
                x + column + 0.5,
                y + row + 0.52,
                f"{value:g}".replace("-", "−"),
                ha="center",
                va="center",
                size=11,
                color="0.6" if value == 0 else "black",
            )
    for n, (row, column, side) in enumerate(grid.windows):
        inset = 0.05 + 0.07 * n
        corner, length = (x + column + inset, y + row + inset), side - 2 * inset
        colour = WINDOWS[n % len(WINDOWS)]
        axis.add_patch(Rectangle(corner, length, length, fill=False, ec=colour, lw=2.2))
    for n, (row, column) in enumerate(grid.marks):
        again = list(grid.marks[:n]).count((row, column))
        radius = 0.42 - 0.09 * again
        centre = (x + column + 0.5, y + row + 0.5)
        axis.add_patch(plt.Circle(centre, radius, fill=False, ec=WINDOWS[n % len(WINDOWS)], lw=2.2))


def as_plane(values) -> np.ndarray:
    """(H, W) of a tensor or array (..., H, W) with a single map."""
    array = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)
    return array.reshape(array.shape[-2:]).astype(float)


def draw_scheme() -> Figure:
    """One layer of the convnet (right, upwards) and its deconvnet (left, downwards), as Fig. 1."""
    figure, axis = plt.subplots(figsize=(9.6, 6.2), layout="constrained")
    down = [
        "signal from the layer above",
        "unpooled maps",
        "rectified maps",
        "reconstruction of the layer below",
    ]
    up = ["pooled maps", "rectified feature maps", "feature maps", "maps of the layer below"]
    left = ["unpool: put each value\nat its switch", "rectify: ReLU", "filter: transposed filters"]
    right = ["pool: keep each maximum", "rectify: ReLU", "filter: convolve"]
    for x, texts, colour in ((0.0, down, UNITS), (6.0, up, MAPS)):
        for n, text in enumerate(texts):
            y = 3 * (3 - n) * 0.62
            box = FancyBboxPatch(
                (x, y), 3.6, 0.72, boxstyle="round,pad=0.08", fc=colour, ec="none", alpha=0.35
            )
            axis.add_patch(box)
            axis.text(x + 1.8, y + 0.36, text, ha="center", va="center", size=11)
    for n in range(3):
        high, low = 3 * (3 - n) * 0.62 - 0.1, 3 * (2 - n) * 0.62 + 0.82
        middle = (high + low) / 2
        style = {"arrowstyle": "-|>", "mutation_scale": 18, "lw": 1.8, "color": "0.25"}
        axis.add_patch(FancyArrowPatch((1.8, high), (1.8, low), **style))
        axis.add_patch(FancyArrowPatch((7.8, low), (7.8, high), **style))
        axis.text(1.65, middle, left[n], ha="right", va="center", size=10.5)
        axis.text(7.95, middle, right[n], ha="left", va="center", size=10.5)
    y = (3 * 3 * 0.62 - 0.1 + 3 * 2 * 0.62 + 0.82) / 2
    arrow = FancyArrowPatch(
        (7.55, y), (2.05, y), arrowstyle="-|>", mutation_scale=18, lw=1.8, ls="--", color=BAD
    )
    axis.add_patch(arrow)
    axis.text(4.8, y + 0.12, "switches: where each maximum was", ha="center", size=11, color=BAD)
    axis.text(1.8, 6.75, "deconvnet, going down", ha="center", size=12.5, weight="bold")
    axis.text(7.8, 6.75, "convnet, going up", ha="center", size=12.5, weight="bold")
    axis.set(xlim=(-1.6, 11.2), ylim=(-0.25, 7.1))
    axis.set_axis_off()
    return figure


# ---------------------------------------------------------------- projections side by side


def draw_mistakes(
    net: Network,
    comparison: Comparison,
    unit: int = 0,
    title: str = "",
    columns: int = 4,
    crop: bool = True,
) -> Figure:
    """The right projection of a unit, and beside it those that mistakes give.

    Parameters
    ----------
    net : Network
    comparison : zfnb.traps.Comparison
    unit : int
        Which of its units.
    title : str, optional
    columns : int
        Pictures in a row.
    crop : bool
        Show only where the right projection is not empty.
    """
    rows = -(-(len(comparison.wrong) + 1) // columns)
    right = comparison.right[unit]
    top, left, bottom, end = extent(right) if crop else (0, 0, *right.shape[1:])
    tall = 2.75 * (bottom - top) / (end - left)
    figure, axes = plt.subplots(
        rows, columns, figsize=(2.75 * columns, (tall + 0.45) * rows + 0.4), squeeze=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    part = (slice(None), slice(top, bottom), slice(left, end))
    framed(axes.flat[0], projection_picture(right[part], net), GOOD)
    axes.flat[0].set_title("right", color=GOOD, fontsize=11, weight="bold")
    for axis, (name, pictures) in zip(axes.flat[1:], comparison.wrong.items(), strict=False):
        pixels, value = pictures[unit], comparison.cosines[name][unit]
        framed(axis, projection_picture(pixels[part], net), BAD)
        told = f"cosine {signed(value)}" if pixels.any() else "nothing is left"
        axis.set_title(f"{name}\n{told}", fontsize=11)
    head(figure, net, title or f"{net.name}: one unit, projected rightly and wrongly")
    figure.set_layout_engine("constrained")
    return figure


def extent(pixels: torch.Tensor) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of what is not zero in `pixels` (3, H, W); all of it if nothing."""
    rows = pixels.any(0).any(1).nonzero().flatten().tolist() or [0, pixels.shape[1] - 1]
    columns = pixels.any(0).any(0).nonzero().flatten().tolist() or [0, pixels.shape[2] - 1]
    return rows[0], columns[0], rows[-1] + 1, columns[-1] + 1


def framed(axis: Axes, picture: np.ndarray, colour: str) -> None:
    """A picture with a coloured frame."""
    axis.imshow(picture)
    height, width = picture.shape[:2]
    axis.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, ec=colour, lw=2.5))


def signed(value: float) -> str:
    """Two digits, with a true minus sign."""
    return f"{value:.2f}".replace("-", "−")


def draw_rules(
    image: torch.Tensor,
    projections: Mapping[str, object],
    net: Network,
    layer: str,
    feature_maps: Sequence[int],
    title: str = "",
) -> Figure:
    """The same units projected by several rules: one unit a row, one rule a column.

    Parameters
    ----------
    image : Tensor (3, H, W)
        The network's input.
    projections : dict {rule: Projection of all units}
        From `Deconvnet.project`.
    layer : str
    feature_maps : sequence of int
        Of the units, in the order of the projections.
    """
    rules = list(projections)
    boxes = projections[rules[0]].box.tolist()
    tall = [(bottom - top) / (right - left) for top, left, bottom, right in boxes]
    heights = [max(1.0, one) for one in tall]  # of the rows, in widths of a picture
    figure, axes = plt.subplots(
        len(feature_maps),
        len(rules) + 1,
        figsize=(2.75 * (len(rules) + 1), 2.75 * sum(heights) + 0.3 * len(heights) + 0.4),
        squeeze=False,
        height_ratios=heights,
    )
    for row, feature_map in enumerate(feature_maps):
        axes[row, 0].imshow(input_picture(image, net))
        top, left, bottom, right = boxes[row]
        mark_box(axes[row, 0], boxes[row])
        axes[row, 0].set_title(f"{layer}, map {feature_map}", fontsize=11)
        for column, rule in enumerate(rules, start=1):
            pixels = projections[rule].pixels[row, :, top:bottom, left:right]
            axes[row, column].imshow(projection_picture(pixels, net))
            axes[row, column].set_title(rule, fontsize=11)
    for axis in axes.flat:
        axis.set_axis_off()
    head(figure, net, title or f"{net.name}: three rules for the way down")
    figure.set_layout_engine("constrained")
    return figure
