"""Fig. 4: how feature maps come about while a network is trained (Sec. 4).

For a feature map and each snapshot of a run: the picture that excites it most, and that activation
projected to pixels. How far a layer is from what it will be is measured in `zfnb.settling`.

Shapes: E snapshots, N pictures, C feature maps of a layer, M chosen ones, H x W pixels of the
input, S x S pixels of the receptive field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from zfnb.activations import as_input, inputs
from zfnb.checks import map_number
from zfnb.data.loading import iterate
from zfnb.deconvnet import Deconvnet
from zfnb.errors import BadInput, UnknownName
from zfnb.feature_sheets import cut_fields
from zfnb.models import Network, check_images, device_of, evaluating
from zfnb.receptive import receptive_field
from zfnb.snapshots import Nets, check_alike

AT_ONCE = 32  # projections made together


@dataclass(frozen=True)
class Answers:
    """How strongly every feature map answers to every picture, at every snapshot.

    Attributes
    ----------
    epochs : tuple of int (E,)
    items : array (N,) of int
        The pictures, as indices of the dataset, in rising order.
    maxima : dict {layer: array (E, N, C) float32}
        The largest activation of each map in each picture; 0 where the map does not answer.
    """

    epochs: tuple[int, ...]
    items: np.ndarray
    maxima: dict[str, np.ndarray]

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self.maxima)

    def of(self, layer: str) -> np.ndarray:
        """The maxima (E, N, C) of a layer, or `UnknownName`."""
        if layer not in self.maxima:
            raise UnknownName.of("layer of these answers", layer, self.maxima)
        return self.maxima[layer]

    def alive(self, layer: str) -> np.ndarray:
        """(E, C) bool: whether a map answers to any picture at all."""
        return self.of(layer).max(1) > 0

    def silent(self, layer: str) -> np.ndarray:
        """(E,) number of maps that answer to no picture."""
        return (~self.alive(layer)).sum(1)

    def winners(self, layer: str) -> np.ndarray:
        """(E, C) the picture that excites each map most; -1 for a silent map.

        Of equal activations, that with the lower index.
        """
        best = self.items[self.of(layer).argmax(1)]
        return np.where(self.alive(layer), best, -1)

    def until(self, epoch: int) -> Answers:
        """Only the snapshots up to an epoch: the last of them then stands for the end."""
        kept = [n for n, e in enumerate(self.epochs) if e <= epoch]
        if not kept:
            raise BadInput(
                f"There is no snapshot until epoch {epoch}; the first is {self.epochs[0]}."
            )
        maxima = {layer: values[: len(kept)] for layer, values in self.maxima.items()}
        return Answers(self.epochs[: len(kept)], self.items, maxima)


def answers(
    nets: Nets,
    dataset: Dataset,
    layers: Sequence[str] | None = None,
    items: Sequence[int] | None = None,
    *,
    batch_size: int = 32,
    progress: bool = False,
) -> Answers:
    """Show every picture to every snapshot, once.

    Parameters
    ----------
    nets : dict {epoch: Network}
        From `snapshots`.
    dataset : torch Dataset of (image, target)
        Images are pictures, or tensors (3, H, W) that fit the networks.
    layers : names, optional
        By default all layers of filters: conv1, conv2, ...
    items : ints, optional
        Only these pictures of the dataset.
    progress : bool
        Show a bar.

    Raises
    ------
    UnknownName, BadInput
        For an unknown layer, no pictures, images that do not fit, snapshots that differ.
    """
    check_alike(nets)
    first = next(iter(nets.values()))
    layers = tuple(layers or (name for name in first.layer_names if name.startswith("conv")))
    for layer in layers:
        first.check_layer(layer)
    layers = tuple(name for name in first.layer_names if name in layers)
    items = sorted(set(range(len(dataset)) if items is None else map(int, items)))
    if not items:
        raise BadInput("There are no pictures; give a dataset with at least one.")
    seen: list[Tensor] = []
    found: dict[str, list[list[Tensor]]] = {layer: [[] for _ in nets] for layer in layers}
    batches = iterate(dataset, batch_size, transform=partial(as_input, first), indices=items)
    for numbers, images, _ in tqdm(
        batches, desc="pictures to all snapshots", unit="batch", disable=not progress
    ):
        seen.append(numbers)
        for n, net in enumerate(nets.values()):
            x = check_images(net, images.to(device_of(net)))
            with evaluating(net):
                for name in net.layer_names:
                    x = getattr(net, name)(x)
                    if name in found:
                        found[name][n].append(
                            x.reshape(*x.shape[:2], -1).amax(2).float().cpu()
                        )  # (B, C)
                    if name == layers[-1]:
                        break
    if not seen:
        raise BadInput("None of the pictures could be read; check the dataset.")
    maxima = {
        layer: np.stack([torch.cat(parts).numpy() for parts in of_nets])
        for layer, of_nets in found.items()
    }
    return Answers(tuple(nets), torch.cat(seen).numpy(), maxima)


def some_items(dataset: Dataset, count: int, seed: int = 0) -> list[int]:
    """`count` pictures of a dataset drawn at random (all of them, if it has no more)."""
    return sorted(np.random.default_rng(seed).permutation(len(dataset))[:count].tolist())


def random_maps(found: Answers, layer: str, count: int, seed: int = 0) -> list[int]:
    """Some feature maps of a layer, drawn at random among those that answer in the end.

    The paper shows "a randomly chosen subset of features" of each layer.
    """
    alive = found.alive(layer)[-1].nonzero()[0]
    return sorted(np.random.default_rng(seed).permutation(alive)[:count].tolist())


@dataclass(frozen=True)
class Evolution:
    """Some feature maps of a layer, and what excites them most at each snapshot.

    Attributes
    ----------
    layer : str
    epochs : tuple of int (E,)
    maps : tuple of int (M,)
    items : array (E, M) of int
        The picture, as an index of the dataset; -1 where the map answers to none.
    activations : array (E, M)
        0 where the map answers to no picture.
    boxes : array (E, M, 4) of int
        Receptive field: top, left, bottom, right (exclusive).
    pictures : Tensor (E, M, 3, H, W)
        In the input's (normalised) units; NaN where the map answers to none.
    patches, projections : Tensor (E, M, 3, S, S)
        Cut to the receptive field, NaN beyond the picture's border. The whole picture, where the
        field is larger than that.
    """

    layer: str
    epochs: tuple[int, ...]
    maps: tuple[int, ...]
    items: np.ndarray
    activations: np.ndarray
    boxes: np.ndarray
    pictures: Tensor
    patches: Tensor
    projections: Tensor

    @property
    def jumps(self) -> np.ndarray:
        """(E - 1, M) bool: whether another picture has taken the first place since."""
        return (self.items[1:] != self.items[:-1]) & (self.items[1:] >= 0)


def evolution(
    nets: Nets, dataset: Dataset, found: Answers, layer: str, maps: Sequence[int]
) -> Evolution:
    """Project the strongest activation of feature maps, at each snapshot (Fig. 4).

    Parameters
    ----------
    nets, dataset
        Those that `found` was made from.
    found : Answers
    layer : str
    maps : ints

    Raises
    ------
    UnknownName, BadInput
        For a layer or map that is not there, or a map that answers to no picture at any time.
    """
    winners = found.winners(layer)
    maps = checked(found, layer, maps)
    for feature_map in maps:
        if (winners[:, feature_map] < 0).all():
            raise BadInput(
                f"Feature map {feature_map} of {layer} answers to no picture; take another."
            )
    net = nets[found.epochs[0]]
    field, side = receptive_field(net, layer)[0], net.input_size
    shape, small = (len(found.epochs), len(maps)), min(field, side)
    pictures = torch.full((*shape, 3, side, side), torch.nan)
    patches, projections = (torch.full((*shape, 3, small, small), torch.nan) for _ in range(2))
    activations, boxes = np.zeros(shape), np.zeros((*shape, 4), dtype=int)
    for e, epoch in enumerate(found.epochs):
        net, items = nets[epoch], winners[e, maps]
        there = (items >= 0).nonzero()[0]
        if not len(there):
            continue
        images = inputs(net, dataset, items[there].tolist())
        chosen = [maps[m] for m in there]
        projected = Deconvnet(net).project(images, layer, chosen)
        images, pixels = images.cpu(), projected.pixels.cpu()
        pictures[e, there] = images
        patches[e, there] = _seen(images, net, layer, projected.position)
        projections[e, there] = _seen(pixels, net, layer, projected.position)
        activations[e, there] = projected.activation.cpu().numpy()
        boxes[e, there] = projected.box.cpu().numpy()
    items = winners[:, maps]
    return Evolution(
        layer, found.epochs, tuple(maps), items, activations, boxes, pictures, patches, projections
    )


def checked(found: Answers, layer: str, maps: Sequence[int]) -> list[int]:
    """Feature maps as a list of int.

    Raises
    ------
    BadInput
        There is none, or one that the layer does not have.
    """
    count = found.of(layer).shape[2]
    if not len(maps):
        raise BadInput(f"Name a feature map of {layer}; it has maps 0 to {count - 1}.")
    return [map_number(m, count, layer) for m in maps]


def _seen(images: Tensor, net: Network, layer: str, positions: Tensor) -> Tensor:
    """The receptive fields (M, 3, S, S) of units; the whole pictures if the field is larger."""
    if receptive_field(net, layer)[0] >= net.input_size:
        return images
    return cut_fields(images, net, layer, positions)
