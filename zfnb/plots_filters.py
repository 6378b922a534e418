"""The figures of architecture selection (Sec. 4.1, Fig. 6); they draw arrays only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from torch import Tensor

from zfnb.aliasing import Response
from zfnb.errors import BadInput
from zfnb.feature_sheets import FeatureSheet
from zfnb.filters import BANDS, first_filters
from zfnb.models import Network
from zfnb.plots import GREY, Display, bare, grid, input_picture, sheet_grids, titled

FILTER = 22  # side in pixels of a filter's picture
BAND_NAMES = ("low", "middle", "high", "beyond the\npictures")


def colours(names: Sequence[str]) -> dict[str, tuple]:
    """One colour a network, in the order in which they are given."""
    return dict(zip(names, sns.color_palette("colorblind", len(names)), strict=True))


def filter_sheets(nets: Mapping[str, Network], columns: int = 12) -> Figure:
    """Fig. 6 (b), (c): layer 1's filters of several networks side by side.

    Each filter is shown at its own contrast, zero as mid grey, and as large as those of the others,
    whatever its number of taps.

    Parameters
    ----------
    nets : dict {what to call it: Network}
    columns : int
        Filters in a row.
    """
    _some(nets)
    figure, axes = plt.subplots(
        1, len(nets), figsize=(4.3 * len(nets), 4.0), squeeze=False, layout="constrained"
    )
    for axis, (name, net) in zip(axes[0], nets.items(), strict=True):
        weight, stride = first_filters(net)
        peak = weight.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
        pictures = [_large(p.permute(1, 2, 0).numpy()) for p in GREY + weight / peak / 2]
        axis.imshow(grid(pictures, columns), interpolation="nearest")
        axis.set_anchor("N")
        axis.set_axis_off()
        maps, _, kernel, _ = weight.shape
        words = f"{name}\n{maps} filters {kernel} x {kernel}, stride {stride}"
        axis.set_title(titled(net, words), fontsize=10, color=_ink(net))
    figure.suptitle("Layer 1's filters, each at its own contrast")
    return figure


def _large(picture: np.ndarray) -> np.ndarray:
    """A filter (h, w, 3) at `FILTER` pixels, each tap a flat square."""
    rows, columns = (np.arange(FILTER) * side // FILTER for side in picture.shape[:2])
    return picture[rows][:, columns]


def projection_sheets(
    sheets: Mapping[str, Sequence[FeatureSheet]],
    nets: Mapping[str, Network],
    display: Display | None = None,
    title: str = "",
) -> Figure:
    """Fig. 6 (d), (e): projections of a layer of several networks, a row a network.

    Parameters
    ----------
    sheets : dict {what to call it: FeatureSheets, one a feature map}
        As many for each network.
    nets : dict {the same names: Network}
    """
    _some(sheets)
    if len({len(row) for row in sheets.values()}) > 1 or not all(sheets.values()):
        raise BadInput("Give as many feature sheets, at least one, for each network.")
    if set(sheets) - set(nets):
        raise BadInput(f"There is no network for {sorted(set(sheets) - set(nets))[0]!r}.")
    columns = len(next(iter(sheets.values())))
    figure, axes = plt.subplots(
        len(sheets),
        columns,
        figsize=(2.6 * columns + 0.4, 2.85 * len(sheets) + 0.5),
        squeeze=False,
        layout="constrained",
    )
    for row, (name, drawn) in zip(axes, sheets.items(), strict=True):
        for axis, sheet in zip(row, drawn, strict=True):
            axis.imshow(sheet_grids(sheet, nets[name], display)[0])
            bare(axis)
            axis.set_title(f"map {sheet.feature_map}", fontsize=9)
        row[0].set_ylabel(titled(nets[name], name), color=_ink(nets[name]), fontsize=10)
    layer = next(iter(sheets.values()))[0].layer
    figure.suptitle(title or f"Projections of the nine strongest activations, {layer}")
    return figure


def radial_spectra(
    spectra: Mapping[str, tuple[np.ndarray, np.ndarray]],
    limits: Mapping[str, float],
    baselines: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> Figure:
    """How the energy of filters is spread over the frequencies: mean, and the middle half.

    Parameters
    ----------
    spectra : dict {name: (centres (R,), shares (M, R))}
        From `zfnb.filters.radial_spectrum`.
    limits : dict {name: cycles a pixel}
        Highest frequency of the pictures that the network was trained on: a panel's dotted line.
    baselines : dict {name: the same of untrained filters}, optional
        Dashed.
    """
    _some(spectra)
    figure, axes = plt.subplots(
        1, len(spectra), figsize=(4.0 * len(spectra), 3.4), squeeze=False, sharey=True
    )
    figure.set_layout_engine("constrained")
    sns.despine(figure)
    colour = colours(list(spectra))
    for axis, (name, (centres, shares)) in zip(axes[0], spectra.items(), strict=True):
        low, high = np.nanpercentile(shares, (25, 75), axis=0)
        axis.fill_between(centres, low, high, color=colour[name], alpha=0.25, lw=0)
        axis.plot(
            centres, np.nanmean(shares, 0), color=colour[name], label="trained: mean, middle half"
        )
        if baselines is not None:
            at, random = baselines[name]
            axis.plot(at, np.nanmean(random, 0), "--", color="0.4", label="random start")
        for part, style in ((1 / 3, "0.8"), (2 / 3, "0.8"), (1, "0.2")):
            axis.axvline(part * limits[name], color=style, ls=":", lw=1)
        axis.set(title=name, xlabel="frequency, cycles a pixel", xlim=(0, 0.5))
        axis.title.set_fontsize(10)
        axis.legend(fontsize=8, loc="upper right", edgecolor="none", framealpha=0.9)
    axes[0, 0].set_ylim(0, None)  # once all panels, which share it, are drawn
    axes[0, 0].set_ylabel("share of a filter's energy")
    figure.suptitle("Spectra of layer 1's filters; dotted: thirds of what the pictures hold")
    return figure


def band_bars(
    shares: Mapping[str, np.ndarray], baselines: Mapping[str, np.ndarray] | None = None
) -> Figure:
    """Energy of filters by band: mean as a bar, the middle half as a line, chance as a mark.

    Parameters
    ----------
    shares : dict {name: array (M, 4)}
        From `zfnb.filters.band_shares`.
    baselines : dict {name: the same of untrained filters}, optional
    """
    _some(shares)
    figure, axis = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
    sns.despine(figure)
    place = np.arange(len(BANDS))
    colour, width = colours(list(shares)), 0.8 / len(shares)
    for n, (name, values) in enumerate(shares.items()):
        at = place + (n - (len(shares) - 1) / 2) * width
        axis.bar(at, np.nanmean(values, 0), 0.92 * width, color=colour[name], label=name)
        axis.vlines(at, *np.nanpercentile(values, (25, 75), axis=0), color="0.2", lw=1.2)
        if baselines is not None:
            chance = np.nanmean(baselines[name], 0)
            axis.hlines(chance, at - width / 2, at + width / 2, color="k", ls=(0, (2, 1)), lw=1.4)
    axis.plot([], [], color="0.2", lw=1.2, label="middle half of the filters")
    if baselines is not None:
        axis.plot([], [], "k", ls=(0, (2, 1)), label="random start")
    axis.set(xticks=place, xticklabels=BAND_NAMES, ylabel="share of a filter's energy", ylim=(0, 1))
    axis.legend(frameon=False, fontsize=9)
    axis.set_title("Layer 1's filters by band of frequency")
    return figure


def share_strips(
    shares: Mapping[str, np.ndarray],
    what: str,
    baselines: Mapping[str, float] | None = None,
    title: str = "",
    baseline_name: str = "random start, mean",
) -> Figure:
    """A number in [0, 1] for each filter or projection: a dot each, and their mean.

    Parameters
    ----------
    shares : dict {name: array (M,)}
    what : str
        Label of the axis.
    baselines : dict {name: float}, optional
        What each is compared with, such as the mean for an untrained network of that shape: a
        dashed mark.
    baseline_name : str
    """
    _some(shares)
    figure, axis = plt.subplots(figsize=(7.2, 0.62 * len(shares) + 1.7), layout="constrained")
    sns.despine(figure, left=True)
    colour = colours(list(shares))
    for row, (name, values) in enumerate(shares.items()):
        values = np.asarray(values)[~np.isnan(values)]
        # Spread over the row in a fixed order, so that dots do not hide each other.
        up = (np.arange(len(values)) * 0.618 % 1 - 0.5) * 0.5
        axis.scatter(values, row + up, s=9, color=colour[name], alpha=0.55, lw=0)
        axis.vlines(values.mean(), row - 0.36, row + 0.36, color="0.1", lw=2)
        axis.annotate(
            f"{values.mean():.2g}", (values.mean(), row - 0.36), (3, 3), textcoords="offset points",
            fontsize=9,
        )  # fmt: skip
        if baselines is not None:
            axis.vlines(
                baselines[name], row - 0.36, row + 0.36, color="0.1", lw=1.4, ls=(0, (2, 1))
            )
    axis.plot([], [], "-", color="0.1", lw=2, label="mean")
    if baselines is not None:
        axis.plot([], [], color="0.1", lw=1.4, ls=(0, (2, 1)), label=baseline_name)
    axis.set(yticks=range(len(shares)), yticklabels=list(shares), xlabel=what, xlim=(-0.02, 1.02))
    axis.set_ylim(len(shares) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    figure.legend(frameon=False, fontsize=8, loc="outside lower right", ncols=2)
    axis.set_title(title, fontsize=11)
    return figure


def responses(
    shown: Mapping[str, tuple[Tensor, Tensor, Response]], nets: Mapping[str, Network]
) -> Figure:
    """What a stride does to one filter's response, a row a network.

    The picture, the filter, its response at every pixel, the map, and the pattern that the map
    holds. The last differs from the response where that is aliased.

    Parameters
    ----------
    shown : dict {what to call it: (image (3, H, H), filter (3, h, w), Response)}
    nets : dict {the same names: Network}
    """
    _some(shown)
    figure, axes = plt.subplots(
        len(shown), 5, figsize=(12.2, 2.7 * len(shown) + 0.4), squeeze=False, layout="constrained"
    )
    for row, (name, (image, weight, response)) in zip(axes, shown.items(), strict=True):
        row[0].imshow(input_picture(image, nets[name]))
        peak = weight.abs().max().clamp(min=1e-12)
        row[1].imshow((GREY + weight / peak / 2).permute(1, 2, 0).cpu().numpy())
        scale = float(response.dense.abs().quantile(0.998)) or 1.0
        for axis, values in zip(
            row[2:], (response.dense, response.kept, response.held), strict=True
        ):
            axis.imshow(
                values.numpy(), cmap="RdBu_r", vmin=-scale, vmax=scale, interpolation="nearest"
            )
        stride = response.dense.shape[-1] // response.kept.shape[-1]
        row[3].set_xlabel(f"every {stride} pixels", fontsize=9)
        row[0].set_ylabel(titled(nets[name], name), fontsize=9, color=_ink(nets[name]))
        for axis in row:
            axis.set(xticks=[], yticks=[])
    heads = (
        "the picture",
        "the filter",
        "response at every pixel",
        "the map",
        "what the map holds",
    )
    for axis, text in zip(axes[0], heads, strict=True):
        axis.set_title(text, fontsize=10)
    figure.suptitle("One filter's response to a picture, and what is left of it behind the stride")
    return figure


def _ink(net: Network) -> str:
    return "black" if net.weights else "crimson"


def _some(drawn: Mapping) -> None:
    if not drawn:
        raise BadInput("There is nothing to draw; give at least one network.")
