"""Figures of Sec. 3.1: curves of a run, sizes of filters and signals, layer 1 with and without
feature scale clipping (Fig. 6a)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from torch import Tensor

from zfnb.errors import BadInput
from zfnb.filter_scales import Watched
from zfnb.models import Network
from zfnb.plots import GREY, grid, input_picture

CLIPPED, FREE = "#4c72b0", "#c44e52"


def training_curves(
    runs: dict[str, Sequence[dict]], title: str, epochs: int | None = None
) -> Figure:
    """Loss, errors and learning rate by epoch, one colour a run.

    Parameters
    ----------
    runs : {name: lines}
        Lines of "epoch" from `zfnb.runs.read_log`. Held-out errors are drawn where there are.
    title : str
    epochs : int, optional
        Where the axis ends, while a run is not finished.
    """
    if not runs or not any(runs.values()):
        raise BadInput("There is no epoch to draw yet; give a run that has finished one.")
    figure, (loss, error, rate) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for n, (name, lines) in enumerate(runs.items()):
        at = [line["epoch"] for line in lines]
        style = {"color": f"C{n}", "marker": "o" if len(at) < 15 else None, "ms": 3}
        label = f"{name}, " if len(runs) > 1 else ""
        loss.plot(at, [line["train_loss"] for line in lines], **style, label=name)
        error.plot(
            at, [line["train_error"] for line in lines], ls="--", **style, label=f"{label}training"
        )
        if lines and "held_error" in lines[0]:
            held = [line["held_error"] for line in lines]
            error.plot(at, held, **style, label=f"{label}held out")
        rate.plot(at, [line["lr"] for line in lines], **style)
    loss.set(title="training loss", ylabel="cross-entropy")
    error.set(title="top-1 error", ylabel="percent", ylim=(0, 100))
    rate.set(title="learning rate", ylim=(0, None))
    for axis in (loss, error, rate):
        axis.set(xlabel="epoch", xlim=(0.5, None if epochs is None else epochs + 0.5))
        axis.xaxis.get_major_locator().set_params(integer=True)
    if len(runs) > 1:
        loss.legend(frameon=False, fontsize=8)
    error.legend(frameon=False, fontsize=8)
    sns.despine(figure)
    figure.suptitle(title)
    return figure


def filter_norms(lines: Sequence[dict], title: str, radius: float | None = None) -> Figure:
    """Smallest to largest RMS of each layer's filters by epoch.

    Parameters
    ----------
    lines : dicts
        Lines of "epoch" from `zfnb.runs.read_log`.
    title : str
    radius : float, optional
        Of feature scale clipping, drawn as a dashed line.
    """
    if not lines:
        raise BadInput("There is no epoch to draw yet; give a run that has finished one.")
    figure, axis = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
    at = [line["epoch"] for line in lines]
    for n, name in enumerate(lines[0]["filter_rms"]):
        low, high = np.array([line["filter_rms"][name] for line in lines]).T
        axis.fill_between(at, low, high, alpha=0.15, color=f"C{n}", lw=0)
        marker = "o" if len(at) < 15 else None
        axis.plot(at, high, color=f"C{n}", label=name, marker=marker, ms=3)
        axis.plot(at, low, color=f"C{n}", lw=0.8, marker=marker, ms=2)
    if radius is not None:
        axis.axhline(radius, color="0.3", ls="--", lw=1, label="radius of clipping")
    axis.set(xlabel="epoch", ylabel="RMS of a filter, smallest and largest", yscale="log")
    axis.set_xlim(0.5, at[-1] + 0.5)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    sns.despine(figure)
    figure.suptitle(title)
    return figure


def signal_sizes(sizes: dict[str, dict[str, float]], title: str) -> Figure:
    """Size of the signal in each layer, one line a random start.

    Parameters
    ----------
    sizes : {name: {layer: standard deviation}}
        From `zfnb.filter_scales.sizes_at_start`.
    """
    if not sizes:
        raise BadInput("There is no start to draw; give at least one.")
    figure, axis = plt.subplots(figsize=(6.8, 3.6), layout="constrained")
    for name, by_layer in sizes.items():
        axis.plot(list(by_layer), list(by_layer.values()), "o-", label=name)
    axis.set(yscale="log", ylabel="standard deviation of the signal")
    axis.legend(frameon=False, fontsize=9)
    sns.despine(figure)
    figure.suptitle(title)
    return figure


def crops(rows: dict[str, Tensor], net: Network) -> Figure:
    """What becomes of one picture while training, one row a recipe: {name: (n, 3, H, W)}."""
    if not rows:
        raise BadInput("There are no crops to draw; give those of one recipe at least.")
    count = max(len(images) for images in rows.values())
    figure, axes = plt.subplots(
        len(rows),
        count,
        figsize=(1.3 * count + 0.6, 1.5 * len(rows) + 0.3),
        layout="constrained",
        squeeze=False,
    )
    for row, (name, images) in zip(axes, rows.items(), strict=True):
        row[0].text(
            -0.1, 0.5, name, rotation=90, va="center", ha="right", transform=row[0].transAxes
        )
        for axis in row:
            axis.set_axis_off()
        for axis, image in zip(row, images, strict=False):
            axis.imshow(input_picture(image, net))
    figure.suptitle("One picture as the network meets it in training")
    return figure


def layer_one(filters: Tensor, peak: float, columns: int = 6) -> np.ndarray:
    """Filters (maps, 3, h, w) as one picture, all on one scale: the strongest at full strength."""
    pictures = (GREY + filters.detach().cpu().double() / max(peak, 1e-12) / 2).clamp(0, 1)
    return grid([p.permute(1, 2, 0).numpy() for p in pictures], columns)


def clipping(runs: dict[str, Watched]) -> Figure:
    """Fig. 6a: layer 1 of a run with feature scale clipping, and of the same run without.

    Above the filters at the end, each run's on its own scale, so that a filter that dominates
    leaves the others grey. Below, the RMS of every filter at every step, and the loss.
    """
    if not runs:
        raise BadInput("There is no run to draw; give at least one.")
    figure, axes = plt.subplots(
        3,
        len(runs),
        figsize=(5 * len(runs), 8.2),
        layout="constrained",
        squeeze=False,
        gridspec_kw={"height_ratios": [2.3, 1.5, 1]},
    )
    colours = (CLIPPED, FREE)
    rms, losses = (
        np.concatenate([getattr(run, name).ravel() for run in runs.values()])
        for name in ("rms", "losses")
    )
    top = max([*rms[np.isfinite(rms)], *(run.radius for run in runs.values())])
    finite = losses[np.isfinite(losses)]
    for n, (name, run) in enumerate(runs.items()):
        picture, sizes, loss = axes[:, n]
        picture.imshow(layer_one(run.filters.nan_to_num(), run.filters.abs().max().item()))
        picture.set_axis_off()
        end = (
            "diverged"
            if run.diverged
            else f"the largest filter has {run.final_share:.0%} of the energy"
        )
        picture.set_title(f"{name}: {end}")
        at = np.arange(1, len(run.rms) + 1)
        sizes.plot(at, run.rms, color=colours[n % 2], lw=0.7, alpha=0.7)
        sizes.axhline(run.radius, color="0.3", ls="--", lw=1)
        sizes.annotate("radius", (at[0], run.radius), (0, 3), textcoords="offset points")
        sizes.set(ylim=(0, 1.12 * top), ylabel="RMS of each filter")
        loss.plot(at[: len(run.losses)], run.losses, color="0.4", lw=0.8)
        loss.set(
            xlabel="step",
            ylabel="loss",
            ylim=(0, 1.1 * np.percentile(finite, 99) if len(finite) else 1),
        )
    for axis in axes[1:].flat:
        sns.despine(ax=axis)
    figure.suptitle("Layer 1 with and without feature scale clipping (Fig. 6a)")
    return figure
