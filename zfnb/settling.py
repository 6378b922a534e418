"""When does a layer settle? Numbers for Fig. 4 (Sec. 4).

How like its end a layer is at each snapshot of a training run: by the order in which its maps rank
all pictures, by their projections, by their filters; how often another picture takes the first
place of a map; and how long a run is beside the paper's.

Shapes: E snapshots, N pictures, C feature maps of a layer, M chosen ones.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from zfnb.activations import inputs
from zfnb.claims import IN_PART
from zfnb.deconvnet import Deconvnet
from zfnb.errors import BadInput
from zfnb.evolution import AT_ONCE, Answers, Evolution, checked
from zfnb.paths import embedded
from zfnb.runs import read_json
from zfnb.snapshots import Nets, check_alike

SETTLED = 0.9  # a likeness with the end above which we call a layer settled
LATE = 0.6  # of the training; the paper's upper layers settle after 40 of 64 epochs shown
PAPER_STEPS = 1_281_167 // 128  # an epoch: ImageNet 2012's training pictures, in batches (Sec. 3.1)


def ranking_likeness(found: Answers) -> dict[str, np.ndarray]:
    """How much a map ranks the pictures as it does in the end: Spearman's correlation.

    A map ranks the pictures by its largest activation in each. The number does not care about the
    scale of activations, which changes all through the training.

    Returns
    -------
    dict {layer: array (E, C) in [-1, 1]}
        NaN where a map is silent (then or in the end) or answers to all pictures alike: there is no
        ranking to compare.
    """
    return {layer: _with_last(_ranks(values)) for layer, values in found.maxima.items()}


def ranking_chance(found: Answers, layer: str) -> float:
    """Mean Spearman's correlation of the rankings of two *different* maps, in the end.

    It is above 0: some pictures excite most maps. A layer that has kept nothing of what it will
    become would be about so like its end.
    """
    ranks = _ranks(found.of(layer)[-1:])[0]  # (N, C)
    unit = _unit(ranks[:, found.alive(layer)[-1]])
    unit = unit[:, np.isfinite(unit).all(0)]
    count = unit.shape[1]
    if count < 2:
        return float("nan")
    return float((np.square(unit.sum(1)).sum() - count) / (count * (count - 1)))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks of N pictures, of equal ones their mean: (E, N, C), centred."""
    ranks = np.stack([pd.DataFrame(one).rank().to_numpy() for one in values])
    return ranks - (values.shape[1] + 1) / 2


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors along axis -2 at length 1; NaN for those of length 0."""
    length = np.linalg.norm(vectors, axis=-2, keepdims=True)
    return np.divide(vectors, length, out=np.full_like(vectors, np.nan), where=length > 0)


def _with_last(vectors: np.ndarray) -> np.ndarray:
    """Cosine (E, C) of vectors (E, D, C) with the last ones."""
    unit = _unit(vectors)
    return np.einsum("edc,dc->ec", unit, unit[-1])


def filter_likeness(nets: Nets, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """Cosine between each map's filters and what they are in the end; it needs no picture.

    Returns
    -------
    dict {layer: array (E, C) in [-1, 1]}
    """
    check_alike(nets)
    likeness = {}
    for layer in layers:
        filters = []
        for net in nets.values():
            net.check_layer(layer)
            modules = [m for m in getattr(net, layer).modules() if isinstance(m, nn.Conv2d)]
            if not modules:
                raise BadInput(f"{layer} has no filters; choose a layer of filters, such as conv1.")
            filters.append(modules[0].weight.detach().cpu().double().flatten(1).numpy().T)
        likeness[layer] = _with_last(np.stack(filters))  # of (E, weights of a filter, C)
    return likeness


def projection_likeness(
    nets: Nets, dataset: Dataset, found: Answers, layer: str, maps: Sequence[int]
) -> np.ndarray:
    """Cosine between the projections of the *same* unit in the *same* picture, then and in the end.

    The picture and the unit are those of the map's strongest activation in the end. So a jump to
    another picture, which changes the whole projection, does not count here.

    Returns
    -------
    array (E, M) in [-1, 1]
        0 where the unit does not answer to the picture yet: there is nothing to project. NaN for a
        map that is silent in the end.
    """
    maps = checked(found, layer, maps)
    winners = found.winners(layer)[-1, maps]
    likeness = np.full((len(found.epochs), len(maps)), np.nan)
    there = (winners >= 0).nonzero()[0]
    deconvnets = [Deconvnet(nets[epoch]) for epoch in found.epochs]
    for part in (there[n : n + AT_ONCE] for n in range(0, len(there), AT_ONCE)):
        images = inputs(deconvnets[-1].net, dataset, winners[part].tolist())
        chosen = [maps[m] for m in part]
        last = deconvnets[-1].project(images, layer, chosen)
        for e, deconvnet in enumerate(deconvnets):
            then = deconvnet.project(images, layer, chosen, last.position).pixels
            likeness[e, part] = _cosine(then, last.pixels)
    return likeness


def _cosine(some: Tensor, others: Tensor) -> np.ndarray:
    """Of pictures (M, 3, H, W): 0 where one of `some` is empty, NaN where one of `others` is."""
    a, b = (pixels.flatten(1).cpu().double() for pixels in (some, others))
    cosine = torch.nn.functional.cosine_similarity(a, b, eps=1e-300)
    return cosine.masked_fill(~b.any(1), torch.nan).numpy()


def steps_alike(one: Evolution) -> np.ndarray:
    """Cosine (E - 1, M) between the projections of Fig. 4 at neighbouring snapshots.

    Compared inside the receptive field, as one sees them. NaN where a map answers to no picture.
    """
    fields = (
        one.projections.nan_to_num().flatten(2).double().transpose(1, 2).cpu().numpy()
    )  # (E, D, M)
    unit = _unit(fields)
    return np.einsum("edm,edm->em", unit[1:], unit[:-1])


def changes(found: Answers, layer: str) -> np.ndarray:
    """Where another picture has taken a map's first place since the snapshot before.

    Returns
    -------
    array (E - 1, C)
        1 or 0; NaN where the map is silent at one of the two.
    """
    winners = found.winners(layer)
    silent = (winners[1:] < 0) | (winners[:-1] < 0)
    return np.where(silent, np.nan, winners[1:] != winners[:-1])


def mean_over_maps(values: np.ndarray) -> np.ndarray:
    """Mean of (E, C) over the maps that have a number; NaN where none has: (E,)."""
    there = np.isfinite(values)
    total, count = np.where(there, values, 0).sum(1), there.sum(1)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def settled_at(epochs: Sequence[int], values: np.ndarray, threshold: float = SETTLED) -> float:
    """The epoch from which on a layer is like it is in the end.

    From there on, the mean over the maps stays at `threshold` or above. Between two snapshots we
    interpolate, but not before the last one, where the likeness is 1 by definition: a layer that is
    below the threshold at the last snapshot but one has settled *only at the end*, and gets the
    last epoch.

    Parameters
    ----------
    epochs : ints (E,)
    values : array (E, C)
        A likeness with the last snapshot.
    threshold : float in (0, 1)

    Returns
    -------
    float
        Between the first epoch and the last; NaN if no map can be compared.
    """
    mean = _mean_curve(epochs, values)
    if not 0 < threshold < 1:
        raise BadInput(f"threshold must be between 0 and 1, not {threshold}.")
    if np.isnan(mean).any():
        return float("nan")
    below = (mean < threshold).nonzero()[0]
    if not len(below):
        return float(epochs[0])
    n = below[-1]
    if n >= len(mean) - 2:
        return float(epochs[-1])
    share = (threshold - mean[n]) / (mean[n + 1] - mean[n])
    return float(epochs[n] + share * (epochs[n + 1] - epochs[n]))


def settled_words(epochs: Sequence[int], epoch: float) -> str:
    """What `settled_at` found, in words."""
    if np.isnan(epoch):
        return "no map to compare"
    if epoch >= epochs[-1]:
        return "only at the end"
    return f"by epoch {epochs[0]}" if epoch <= epochs[0] else f"epoch {epoch:.1f}"


def upper_late(settled: Mapping[str, float], last: int, low: int = 2) -> bool | str | None:
    """Whether the upper layers settle late in the training, and the low ones do not.

    Late is after `LATE` of the epochs. Where all layers settle late, it is nothing about the upper
    ones.

    Parameters
    ----------
    settled : {layer: epoch}
        From `settled_at`, lowest layer first.
    last : int
        The last epoch.
    low : int
        How many layers are low ones.

    Returns
    -------
    bool, str or None
        True if all upper layers settle late and no low one does, False if no upper layer does,
        else "in part". None where a layer has no epoch.
    """
    late = [epoch >= LATE * last for epoch in settled.values()]
    if not 0 < low < len(late):
        raise BadInput(
            f"Of {len(late)} layers, {low} cannot be the low ones; give a low of at least 1 that "
            "leaves an upper layer."
        )
    if any(np.isnan(epoch) for epoch in settled.values()):
        return None
    if not any(late[low:]):
        return False
    return True if all(late[low:]) and not any(late[:low]) else IN_PART


def paper_epoch(run: str | os.PathLike | None = None, network: str = "zfnet") -> float | None:
    """How many epochs of a run have as many steps as one of the paper's on ImageNet.

    Parameters
    ----------
    run : path, optional
        Folder of a run; its ``run.json`` is read. Without it, what is kept of the embedded run.

    Returns
    -------
    float or None
        None where nothing is kept.
    """
    kept = embedded("data", "results", "training", f"{network}.json")
    file = Path(run).expanduser() / "run.json" if run else kept
    if not file.is_file():
        return None
    facts = read_json(file)
    pictures, batch = facts["data"]["training_pictures"], facts["settings"]["recipe"]["batch"]
    return PAPER_STEPS / max(1, pictures // batch)


def epochs_apart(epochs: Sequence[int], values: np.ndarray) -> float:
    """`settled_at` without a threshold: how long a layer was unlike its end, in epochs.

    The missing likeness, added up over the training. A layer that has nothing of its end for n
    epochs and all of it from then on gives n.
    """
    return float(np.trapezoid(1 - _mean_curve(epochs, values), epochs))


def _mean_curve(epochs: Sequence[int], values: np.ndarray) -> np.ndarray:
    if len(values) != len(epochs) or not len(epochs):
        raise BadInput(f"{len(epochs)} epochs do not fit {len(values)} rows of values.")
    return mean_over_maps(values)
