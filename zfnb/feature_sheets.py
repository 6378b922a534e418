"""Fig. 2: what a feature map looks for, from the pictures that excite it most (Sec. 4).

For a feature map, its strongest activations over a dataset, each projected down to pixels on its
own, beside the patch of the picture that caused it. And three numbers for what the paper says in
words: how much of a kind the nine pictures are, how much of the projection lies on the object, and
how alike the nine are to the eye of a pixel.

Shapes: k entries of a map, H x W pixels of the input, S x S pixels of the receptive field.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from zfnb.activations import Record, TopActivations, inputs
from zfnb.adopt import as_network
from zfnb.data.pictures import preprocess
from zfnb.deconvnet import Deconvnet, Projection
from zfnb.errors import BadInput
from zfnb.models import Network, device_of
from zfnb.receptive import receptive_field


@dataclass(frozen=True)
class FeatureSheet:
    """A feature map's strongest activations, and what they come from.

    Attributes
    ----------
    layer : str
    feature_map : int
    records : list of Record
        Best first.
    patches : Tensor (k, 3, S, S)
        The receptive fields, in the input's (normalised) units; NaN beyond the picture's border.
    projections : Tensor (k, 3, S, S)
        The projections, cut out alike.
    """

    layer: str
    feature_map: int
    records: list[Record]
    patches: Tensor
    projections: Tensor


def feature_sheet(
    net: nn.Module,
    dataset: Dataset,
    index: TopActivations,
    layer: str,
    feature_map: int,
    deconvnet: Deconvnet | None = None,
) -> FeatureSheet:
    """Project a feature map's strongest activations and cut out their receptive fields.

    Parameters
    ----------
    net : Network
    dataset : the dataset that `index` was built on
    index : TopActivations
    layer : str
    feature_map : int
    deconvnet : Deconvnet, optional
        With another rule, say; by default the paper's.

    Raises
    ------
    UnknownName, BadInput
        For a layer or map that the index does not have, or a map that answers to no picture.
    """
    net = as_network(net)
    records = index.top(layer, feature_map)
    if not records:
        raise BadInput(f"Feature map {feature_map} of {layer} answers to no picture; take another.")
    images = inputs(net, dataset, [record.item for record in records])
    positions = torch.tensor([record.position for record in records])
    deconvnet = deconvnet or Deconvnet(net)
    pixels = deconvnet.project(images, layer, feature_map, positions).pixels
    return FeatureSheet(
        layer,
        int(feature_map),
        records,
        cut_fields(images, net, layer, positions),
        cut_fields(pixels, net, layer, positions),
    )


def cut_fields(images: Tensor, net: Network, layer: str, positions: Tensor) -> Tensor:
    """The receptive fields (k, C, S, S) of units at `positions` (k, 2); NaN beyond the border.

    The field of a unit at the border is not moved inside, so that all units of a layer see the same
    thing at the same place of their fields.
    """
    size, stride, start = receptive_field(net, layer)
    fields = images.new_full((len(images), images.shape[1], size, size), torch.nan)
    limit = net.input_size
    for image, field, place in zip(images, fields, positions.tolist(), strict=True):
        top, left = (start + stride * p for p in place)
        rows = slice(max(top, 0), min(top + size, limit))
        columns = slice(max(left, 0), min(left + size, limit))
        inside = image[:, rows, columns]
        field[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = (
            inside
        )
    return fields


def likeness(fields: Tensor) -> float:
    """How alike fields are, pixel by pixel: their mean correlation over all pairs.

    Parameters
    ----------
    fields : Tensor (k, 3, S, S)
        `patches` or `projections` of a `FeatureSheet`; a pair is compared where neither is NaN.

    Returns
    -------
    float in [-1, 1]
        NaN if no pair can be compared.
    """
    x = fields.flatten(1).double()  # (k, P)
    here = (~torch.isnan(x)).double()
    x = x.nan_to_num()
    x = x - (x.sum(1) / here.sum(1))[:, None] * here  # numbers near zero keep their digits
    # Sums over the pixels that both of a pair have, all pairs at once: (k, k).
    count, sums, squares = here @ here.T, x @ here.T, (x * x) @ here.T
    covariance = x @ x.T - sums * sums.T / count
    variance = squares - sums**2 / count
    correlation = covariance / (variance * variance.T).sqrt()
    pairs = correlation[tuple(torch.tril_indices(len(x), len(x), -1))]
    return pairs[pairs.isfinite()].mean().item()


def lively_maps(index: TopActivations, layer: str, count: int, seed: int = 0) -> list[int]:
    """Some feature maps of a layer, drawn at random among those whose list is full.

    The paper shows "a random subset of feature maps" of each layer.
    """
    full = [m for m in range(index.maps(layer)) if len(index.top(layer, m)) == index.k]
    chosen = np.random.default_rng(seed).permutation(full)[:count]
    return sorted(int(m) for m in chosen)


def most_of_a_kind(index: TopActivations, dataset, layer: str, count: int) -> list[int]:
    """For each class, the feature map whose strongest pictures are most of that class.

    A rule to choose what to show, in the place of the eye: at most one map a class, the purest
    first (see `class_purity`); of equal maps, that with the stronger activation.
    """
    strongest = index.strongest(layer).tolist()
    best: dict[int, tuple[int, float, int]] = {}  # class -> (pictures of it, activation, map)
    for feature_map in range(index.maps(layer)):
        records = index.top(layer, feature_map)
        if len(records) == index.k:
            kinds = Counter(int(dataset.targets[record.item]) for record in records)
            kind, pictures = kinds.most_common(1)[0]
            row = (pictures, strongest[feature_map], feature_map)
            best[kind] = max(best.get(kind, row), row)
    return [feature_map for *_, feature_map in sorted(best.values(), reverse=True)[:count]]


def class_purity(index: TopActivations, dataset, layer: str) -> np.ndarray:
    """How much of a kind a map's strongest pictures are: the share of their commonest class.

    Returns
    -------
    array (maps with a full list,) in [1 / k, 1]
    """
    shares = []
    for feature_map in range(index.maps(layer)):
        records = index.top(layer, feature_map)
        if len(records) == index.k:
            kinds = Counter(int(dataset.targets[record.item]) for record in records)
            shares.append(kinds.most_common(1)[0][1] / index.k)
    return np.array(shares)


def chance_purity(dataset, k: int, draws: int = 2000, seed: int = 0) -> float:
    """Mean `class_purity` of k pictures drawn at random, one a group.

    Raises
    ------
    BadInput
        If there are fewer than k groups.
    """
    kind_of_group = {dataset.group(i): int(t) for i, t in enumerate(dataset.targets)}
    kinds = np.array(list(kind_of_group.values()))
    if len(kinds) < k:
        raise BadInput(f"{k} pictures cannot be drawn from {len(kinds)} groups; give a smaller k.")
    rng = np.random.default_rng(seed)
    shares = [
        Counter(rng.choice(kinds, k, replace=False).tolist()).most_common(1)[0][1] / k
        for _ in range(draws)
    ]
    return float(np.mean(shares))


def energy_on_object(
    net: Network, scenes, index: TopActivations, layer: str, maps: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """How much of a projection lies on the object, which scenes know exactly.

    A map that answers to no picture has no projection, and gives no value.

    Returns
    -------
    energy : array (M,) in [0, 1]
        Share of the projection's squared pixels that lie on the object, one value a picture.
    area : array (M,) in [0, 1]
        Share of the receptive field that the object covers: what an even spread would give.
    """
    net = as_network(net)
    deconvnet = Deconvnet(net)
    energy, area = [], []
    for feature_map in maps:
        records = index.top(layer, feature_map)
        if not records:
            continue
        seen = [scenes.scene(record.item) for record in records]
        images = torch.stack([preprocess(scene.picture, net) for scene in seen])
        images = images.to(device_of(net))
        positions = torch.tensor([record.position for record in records])
        pixels = deconvnet.project(images, layer, feature_map, positions).pixels
        for record, scene, projected in zip(records, seen, pixels, strict=True):
            mask = object_mask(net, scene).to(pixels.device)
            top, left, bottom, right = record.box
            squares = projected.square().sum(0)
            total = squares.sum().item()
            if total > 0:
                energy.append((squares * mask).sum().item() / total)
                area.append(mask[top:bottom, left:right].mean().item())
    return np.array(energy), np.array(area)


def energy_on_edges(image: Tensor, projections: Projection) -> np.ndarray:
    """How much projections prefer the places where their picture has structure (Sec. 2.1).

    The picture's steepness (length of its grey values' gradient), averaged over the receptive field
    with the projection's energy as weight, over its plain average there.

    Parameters
    ----------
    image : Tensor (3, H, W)
        The picture that all of them are projected from.
    projections : Projection
        M of them.

    Returns
    -------
    array (M,)
        Above 1: more on edges than a projection that spreads evenly. NaN for an empty projection.
    """
    grey = image.mean(0).double()
    steepness = torch.stack(torch.gradient(grey)).square().sum(0).sqrt()  # (H, W)
    ratios = []
    for pixels, box in zip(projections.pixels, projections.box.tolist(), strict=True):
        top, left, bottom, right = box
        field = (slice(top, bottom), slice(left, right))
        energy = pixels.double().square().sum(0)[field]
        weighted = (energy * steepness[field]).sum() / energy.sum()
        ratios.append((weighted / steepness[field].mean()).item())
    return np.array(ratios)


def object_mask(net: Network, scene) -> Tensor:
    """A scene's mask (H, W) in [0, 1], scaled and cut as the network's input is."""
    alpha = np.asarray(scene.alpha, dtype=np.float32)
    return seen_mask(net, (alpha * 255 if alpha.max() <= 1 else alpha).round().astype(np.uint8))


def seen_mask(net: Network, mask: np.ndarray) -> Tensor:
    """A mask (H, W) of a picture, uint8 up to 255, as (h, w) in [0, 1] of the network's input."""
    value = preprocess(mask, net)[0]
    mean, std = net.preprocessing.mean[0], net.preprocessing.std[0]
    return (value * std + mean).clamp(0, 1)
