"""Fig. 7: one picture under a sliding square, and the feature map that answers most (Sec. 4.2).

The maps themselves come from `zfnb.occlusion_maps`. Here they meet the deconvnet: the strongest map
of layer 5 is projected in the picture (Fig. 7c) and in other pictures that excite it, and numbers
say whether its activation falls where its projection lies. `Watcher` does the same for one place of
the square at a time, quickly enough for a panel.

Shapes: h x w places of the square, H x W pixels, K classes, a x b positions of a feature map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.utils.data import Dataset

from zfnb.activations import TopActivations
from zfnb.adopt import as_network
from zfnb.checks import whole_number
from zfnb.deconvnet import Deconvnet, Projection
from zfnb.errors import BadInput
from zfnb.feature_sheets import FeatureSheet, feature_sheet
from zfnb.models import Network, evaluating, features
from zfnb.occlusion import (
    OcclusionMaps,
    check_map,
    check_square,
    fill_picture,
    occluded,
    occlusion_maps,
    starts,
)
from zfnb.receptive import output_size
from zfnb.windows import POINTWISE, SPATIAL, reach


@dataclass(frozen=True)
class OccludedPicture:
    """A row of Fig. 7.

    Attributes
    ----------
    name : str
    image : Tensor (3, H, W)
        The network's input.
    maps : OcclusionMaps
        Columns (b), (d) and (e).
    cover : Tensor (3, H, W)
        What the square shows, at every place.
    projection : Tensor (3, H, W)
        Column (c): the whole feature map, projected to the pixels of this picture.
    elsewhere : FeatureSheet or None
        Its strongest activations in other pictures.
    mask : Tensor (H, W) or None
        How much of each pixel is the object, where one knows.
    """

    name: str
    image: Tensor
    maps: OcclusionMaps
    cover: Tensor
    projection: Tensor
    elsewhere: FeatureSheet | None = None
    mask: Tensor | None = None

    def with_square(self, row: int, column: int) -> Tensor:
        """(3, H, W): the picture with the square at a place of the grid."""
        place = self.maps.positions[row, column][None]
        return occluded(self.image[None], self.cover[None], place, self.maps.square)[0]


def occluded_picture(
    net: nn.Module,
    image: Tensor,
    name: str,
    *,
    mask: Tensor | None = None,
    dataset: Dataset | None = None,
    index: TopActivations | None = None,
    fill: str | Tensor = "grey",
    seed: int = 0,
    layer: str = "conv5",
    **options,
) -> OccludedPicture:
    """Slide a square over a picture, and project the map that answers most to it.

    Parameters
    ----------
    net : Network
    image : Tensor (3, H, W)
        From `zfnb.preprocess`.
    name : str
        For titles.
    mask : Tensor (H, W), optional
        Of the object.
    dataset, index : optional
        Pictures, and the index that `TopActivations.build` made of them: where to look for the
        map's strongest projections elsewhere.
    fill, seed, layer, **options
        As in `zfnb.occlusion_maps`: target, square, stride, feature_map, overhang.

    Raises
    ------
    UnknownName, BadInput
        As `zfnb.occlusion_maps`, and for a mask of another size.
    """
    net = as_network(net)
    maps = occlusion_maps(net, image, fill=fill, seed=seed, layer=layer, **options)
    image = image.reshape(3, maps.size, maps.size)
    if mask is not None and mask.shape != image.shape[1:]:
        raise BadInput(f"The mask must be {maps.size} x {maps.size}, not {tuple(mask.shape)}.")
    where = "map" if len(net.shapes[layer]) == 3 else "max"
    found = Deconvnet(net).project(image, layer, maps.feature_map, where)
    sheet = None
    if index is not None and index.top(layer, maps.feature_map):
        sheet = feature_sheet(net, dataset, index, layer, maps.feature_map)
    cover = fill_picture(fill, image[None], net.preprocessing, maps.square, seed)[0]
    return OccludedPicture(name, image, maps, cover, found.pixels[0], sheet, mask)


def lowest(values: Tensor) -> tuple[int, int]:
    """Row and column of the smallest of `values` (h, w); of equal ones, the first."""
    row, column = divmod(int(values.argmin()), values.shape[1])
    return row, column


def under_squares(values: Tensor, maps: OcclusionMaps) -> Tensor:
    """For each place of the square, the sum (h, w) of `values` (H, W) that it covers."""
    if values.shape != (maps.size, maps.size):
        raise BadInput(f"Give one value a pixel, {maps.size} x {maps.size}.")
    sums = torch.zeros(maps.size + 1, maps.size + 1, dtype=torch.float64, device=values.device)
    sums[1:, 1:] = values.double().cumsum(0).cumsum(1)  # of all that is above and to the left
    top, left = maps.positions.clamp(0, maps.size).unbind(-1)
    bottom, right = (maps.positions + maps.square).clamp(0, maps.size).unbind(-1)
    return sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]


def energy(projection: Tensor) -> Tensor:
    """A projection's energy (H, W): its squared pixels (3, H, W), summed over the colours."""
    return projection.double().square().sum(0)


def covered_share(projection: Tensor, maps: OcclusionMaps) -> Tensor:
    """(h, w) in [0, 1]: the share of a projection's energy that each place of the square covers.

    Raises
    ------
    BadInput
        If the projection is empty.
    """
    whole = energy(projection)
    if not whole.sum() > 0:
        raise BadInput("The projection is empty: this map does not answer to the picture.")
    return under_squares(whole / whole.sum(), maps)


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's: how well two maps (h, w) agree on the order of their places.

    Returns
    -------
    float in [-1, 1]
        NaN if one of the two is the same everywhere.
    """
    ranks = [rankdata(values.flatten().cpu().numpy()) for values in (first, second)]
    x, y = (r - r.mean() for r in ranks)
    size = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / size) if size > 0 else float("nan")


def follows(one: OccludedPicture, projection: Tensor | None = None) -> float:
    """Whether the map's activation falls where its projection is covered (Fig. 7b against 7c).

    Parameters
    ----------
    one : OccludedPicture
    projection : Tensor (3, H, W), optional
        Another one: that of another picture, say, as a control.

    Returns
    -------
    float in [-1, 1]
        Rank correlation over the places of the square, of the fall of the activation and the share
        of the projection's energy that the square covers.
    """
    share = covered_share(one.projection if projection is None else projection, one.maps)
    return rank_correlation(one.maps.whole_activation - one.maps.activation, share)


def follows_others(rows: Sequence[OccludedPicture]) -> np.ndarray:
    """The control of `follows`: for each picture, its mean over the projections of the others (N,).

    Raises
    ------
    BadInput
        If there are fewer than two pictures.
    """
    if len(rows) < 2:
        raise BadInput("A control needs the projection of another picture: give at least two.")
    return np.array(
        [
            np.mean([follows(one, other.projection) for other in rows if other is not one])
            for one in rows
        ]
    )


def on_object(net: Network, image: Tensor, mask: Tensor, layer: str = "conv5") -> dict[str, float]:
    """Which map "with the strongest response" answers to the object? Two readings of Sec. 4.2.

    Parameters
    ----------
    image : Tensor (3, H, W)
    mask : Tensor (H, W) in [0, 1]
        How much of each pixel is the object.

    Returns
    -------
    dict
        From 0 to 1. "single", "sum": the share of the map's activation that lies on the object, of
        the map with the strongest single activation and of the one with the largest sum. "area":
        the object's share of the picture, which a map that answers everywhere would get.

    Raises
    ------
    BadInput
        For a mask of another size, or a layer without maps.
    """
    if mask.shape != image.shape[-2:]:
        raise BadInput(
            f"The mask must be as the picture, {tuple(image.shape[-2:])}, not {tuple(mask.shape)}."
        )
    maps = features(net, image, layer)  # (1, C, a, b)
    if maps.ndim != 4:
        raise BadInput(f"{layer} has single units, which lie nowhere; choose a layer of maps.")
    chosen = {"single": check_map(None, maps, layer), "sum": int(maps[0].sum((1, 2)).argmax())}
    object_ = F.adaptive_avg_pool2d(mask[None, None].to(maps), maps.shape[2:])[0, 0]  # (a, b)
    shares = {}
    for name, number in chosen.items():
        total = maps[0, number].sum()
        shares[name] = float((maps[0, number] * object_).sum() / total) if total > 0 else 0.0
    return {**shares, "area": float(object_.mean())}


def lows_apart(maps: OcclusionMaps) -> float:
    """How far the place that costs the map most is from the one that costs the class most.

    Returns
    -------
    float
        Pixels of the input.
    """
    first, second = (maps.positions[lowest(v)] for v in (maps.activation, maps.probability))
    return float((first - second).double().norm())


def chance_apart(maps: OcclusionMaps) -> float:
    """How often two places of the square, drawn at random, are more than its side apart.

    Returns
    -------
    float
        Share of all pairs of different places, 0 to 1; NaN with a single place.
    """
    distances = torch.pdist(maps.positions.reshape(-1, 2).double())
    return float((distances > maps.square).double().mean())


@dataclass(frozen=True)
class LayerWindow:
    """How much of a layer one square changes.

    Attributes
    ----------
    layer : str
    operation : str
        "convolution", "pool", "fully connected".
    positions : int
        Of a map, along one side; 1 in a fully connected layer.
    window : int
        Of them, those that are computed again.
    start : int
        The first of them, for a square in the middle of the picture.
    multiply_adds : int
        Of the whole layer; 0 for a pool.
    """

    layer: str
    operation: str
    positions: int
    window: int
    start: int
    multiply_adds: int

    @property
    def share(self) -> float:
        """The part of a map that changes, in (0, 1]."""
        return (self.window / self.positions) ** 2


def layer_windows(net: nn.Module, square: int, stride: int) -> list[LayerWindow]:
    """Follow a sliding square up the layers: the size of its window in each (see `zfnb.windows`).

    All places have windows of one size, the largest that any of them needs.

    Raises
    ------
    BadInput
        If the square does not fit the picture, or a layer has no windows.
    """
    net = as_network(net)
    size = net.input_size
    square = check_square(square, size)
    stride = whole_number(stride, "stride must be a positive number of pixels", 1)
    start, length, rows = starts(size, square, stride), square, []
    middle = int((start - (size - square) / 2).abs().argmin())
    for name, step in net.steps():
        if isinstance(step, SPATIAL):
            spread = reach(step, start, length, size, 0)
            size = output_size(step, size)
            start, length = spread.start, spread.length
            convolution = isinstance(step, nn.Conv2d)
            work = size**2 * step.weight.numel() if convolution else 0
            kind = "convolution" if convolution else "pool"
            rows.append(LayerWindow(name, kind, size, length, int(start[middle]), work))
        elif isinstance(step, nn.Linear):
            rows.append(LayerWindow(name, "fully connected", 1, 1, 0, step.weight.numel()))
        elif not isinstance(step, (*POINTWISE, nn.Flatten)):
            raise BadInput(f"{name} has no windows: only chains of maps and units have.")
    return rows


def windows_share(rows: list[LayerWindow]) -> float:
    """The part of a network's multiply-adds that is left when only windows are computed."""
    return sum(r.multiply_adds * r.share for r in rows) / sum(r.multiply_adds for r in rows)


@dataclass(frozen=True)
class Glance:
    """What a network makes of a picture with the square at one place.

    Attributes
    ----------
    image : Tensor (3, H, W)
        With the square.
    probabilities : Tensor (K,)
    feature_map : Tensor (a, b)
        Its activations.
    projection : Projection
        Of the whole map, or of the unit of a fully connected layer.
    """

    image: Tensor
    probabilities: Tensor
    feature_map: Tensor
    projection: Projection

    @property
    def activation(self) -> float:
        """Sum of the feature map, as in Fig. 7b."""
        return float(self.feature_map.sum())


class Watcher:
    """Look at a picture with the square anywhere, one place at a time.

    Parameters
    ----------
    net : Network
        With a classifier.
    image : Tensor (3, H, W)
    layer : str
    feature_map : int, optional
        By default the one with the strongest activation in the whole picture.

    Attributes
    ----------
    feature_map : int
    whole : Glance
        Without a square.

    Raises
    ------
    UnknownName, BadInput
        For an unknown layer, a map that it does not have, or a network without a classifier.
    """

    def __init__(
        self, net: nn.Module, image: Tensor, layer: str = "conv5", feature_map: int | None = None
    ):
        self.net: Network = as_network(net)
        if self.net.num_classes is None:
            raise BadInput(f"{self.net.name} has no classifier: no class has a probability.")
        self.layer, self.image = self.net.check_layer(layer), image
        self.deconvnet = Deconvnet(self.net)
        maps = features(self.net, image, layer)
        self.feature_map = check_map(feature_map, maps, layer)
        self.whole = self._glance(image)

    def __call__(
        self, top: int, left: int, square: int, fill: str | Tensor = "grey", seed: int = 0
    ) -> Glance:
        """The square's upper left pixel is (top, left); it may lie outside of the picture."""
        image = self.image[None]
        cover = fill_picture(fill, image, self.net.preprocessing, square, seed)
        place = torch.tensor([[top, left]], device=image.device)
        return self._glance(occluded(image, cover, place, square)[0])

    def _glance(self, image: Tensor) -> Glance:
        recording = self.deconvnet.record(image)  # one pass up serves all
        maps = recording.activations[self.layer][0, self.feature_map]
        where = "map" if maps.ndim == 2 else "max"
        projection = self.deconvnet.project(recording, self.layer, self.feature_map, where)
        with evaluating(self.net):
            probabilities = recording.activations[recording.top][0].softmax(0)
        return Glance(
            image, probabilities, maps.reshape(-1, maps.shape[-1] if maps.ndim else 1), projection
        )
