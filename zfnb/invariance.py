"""Fig. 5: how far a layer's features move when the picture moves (Sec. 4).

For a few pictures and a row of values of one transformation: the Euclidean distance between the
feature vectors of the picture as it is and as transformed, layer by layer, and what becomes of the
probability of the true label.

Shapes: N pictures, V values, H x W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from zfnb.adopt import as_network
from zfnb.checks import whole_number
from zfnb.errors import BadInput, UnknownName
from zfnb.models import Network, check_images, evaluating
from zfnb.movable import Movable
from zfnb.processes import exact
from zfnb.transformations import Transformation, transformation

PIXELS = "pixels"  # the picture itself, as if it were a layer: a baseline


@dataclass(frozen=True)
class InvarianceCurves:
    """What a transformation does to the features of some pictures.

    Attributes
    ----------
    transform : Transformation
    values : array (V,)
    distance : dict {layer: array (N, V)}
        Euclidean distance to the features of the picture as it is; 0 at the identity.
    length : dict {layer: array (N,)}
        Euclidean length of those features, to compare layers by: two vectors of one length that
        have nothing in common are 1.41 lengths apart.
    probability : array (N, V) in [0, 1]
        Of the true label; NaN without targets.
    label : array (N, V) int
        The most probable class; -1 without targets.
    targets : array (N,) int or None
    alone : bool
        Only the object moved.
    """

    transform: Transformation
    values: np.ndarray
    distance: dict[str, np.ndarray]
    length: dict[str, np.ndarray]
    probability: np.ndarray
    label: np.ndarray
    targets: np.ndarray | None
    alone: bool = False

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self.distance)

    @property
    def right(self) -> np.ndarray:
        """(N, V) bool: the most probable class is the true one."""
        if self.targets is None:
            raise BadInput("Without targets nothing is right or wrong; give them to the curves.")
        return self.label == self.targets[:, None]

    def take(self, items: Sequence[int]) -> InvarianceCurves:
        """The curves of some of the pictures, in this order."""
        rows = list(items)
        return replace(
            self,
            distance={layer: d[rows] for layer, d in self.distance.items()},
            length={layer: d[rows] for layer, d in self.length.items()},
            probability=self.probability[rows],
            label=self.label[rows],
            targets=None if self.targets is None else self.targets[rows],
        )

    def relative(self, layer: str) -> np.ndarray:
        """(N, V): distances in units of the length of the picture's own features."""
        if layer not in self.distance:
            raise UnknownName.of("layer of these curves", layer, self.distance)
        return self.distance[layer] / np.maximum(self.length[layer], 1e-12)[:, None]


def invariance_curves(
    net: nn.Module,
    images: Tensor | Movable,
    targets: Sequence[int] | None,
    transform: str | Transformation,
    values: Sequence[float],
    layers: Sequence[str],
    *,
    fill: str = "edge",
    batch_size: int = 32,
) -> InvarianceCurves:
    """Transform pictures by each of some values, and measure how far their features move.

    Parameters
    ----------
    net : Network, or nn.Module that `zfnb.load_model` takes
    images : Tensor (N, 3, H, W), or Movable
        Inputs of the network; the whole picture is transformed. Of a `Movable`, its object alone,
        about the centre of the picture.
    targets : ints (N,), or None
        The true classes. None: no probabilities, and no layer above the highest one is computed.
    transform : str or Transformation
        "vertical", "horizontal" (translation in pixels of the input, down and right), "scale" (a
        factor) or "rotation" (degrees, anticlockwise).
    values : floats (V,)
        See `Transformation.values` for the paper's.
    layers : names
        Layers of the network; "pixels" is the input itself.
    fill : {"edge", "reflect", "mean"}
        What enters at the border of a whole picture; see `zfnb.transformations`.
    batch_size : int
        Pictures that go through the network at once.

    Returns
    -------
    InvarianceCurves

    Raises
    ------
    UnknownName, BadInput
        For an unknown layer, transformation or fill, targets that do not fit, or a network without
        a classifier when there are targets.
    """
    net, transform = as_network(net), transformation(transform)
    alone = isinstance(images, Movable)
    at_rest = check_images(net, images.images if alone else images)
    try:
        values = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise BadInput(f"values must be finite numbers in a row, not {values!r}.") from None
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise BadInput("values must be finite numbers in a row, at least one.")
    layers = [layers] if isinstance(layers, str) else list(layers)
    for layer in layers:
        if layer != PIXELS:
            net.check_layer(layer)
    if not layers:
        raise BadInput("Name at least one layer.")
    batch_size = whole_number(batch_size, "batch_size must be a whole number from 1 on", 1)
    wanted = None if targets is None else checked_targets(net, targets, len(at_rest))

    rest = [_answers(net, x, layers, wanted is not None) for x in at_rest.split(batch_size)]
    reference = {layer: torch.cat([found[layer] for found, _ in rest]) for layer in layers}
    chances = torch.cat([chances for _, chances in rest])
    n, v = len(at_rest), len(values)
    distance = {layer: np.zeros((n, v)) for layer in layers}
    probability, label = np.full((n, v), np.nan), np.full((n, v), -1)
    if wanted is not None:  # as they are; the values that change something follow
        probability[:] = chances[torch.arange(n), wanted][:, None].cpu().numpy()
        label[:] = chances.argmax(1)[:, None].cpu().numpy()
    cells = [(i, j) for j in np.flatnonzero(values != transform.identity) for i in range(n)]
    for start in range(0, len(cells), batch_size):
        part = cells[start : start + batch_size]
        rows, columns = map(np.array, zip(*part, strict=True))  # as (1,) torch's would be numbers
        made = [
            moved(images, transform, values[j : j + 1], fill)[0][rows[columns == j]]
            for j in np.unique(columns)
        ]
        found, chances = _answers(net, torch.cat(made), layers, wanted is not None)
        for layer in layers:
            apart = found[layer] - reference[layer][rows]
            distance[layer][rows, columns] = lengths(apart)
        if wanted is not None:
            true = chances[torch.arange(len(rows)), wanted[rows]]
            probability[rows, columns] = true.cpu().numpy()
            label[rows, columns] = chances.argmax(1).cpu().numpy()
    return InvarianceCurves(
        transform,
        values,
        distance,
        {layer: lengths(x) for layer, x in reference.items()},
        probability,
        label,
        None if wanted is None else wanted.numpy(),
        alone,
    )


def moved(
    images: Tensor | Movable,
    transform: str | Transformation,
    values: Sequence[float],
    fill: str = "edge",
) -> Tensor:
    """The pictures that `invariance_curves` shows to the network, (V, N, 3, H, W)."""
    transform = transformation(transform)
    if isinstance(images, Movable):
        return torch.stack([images.moved(transform, float(value)) for value in values])
    images = images[None] if images.ndim == 3 else images
    return torch.stack([transform(images, float(value), fill) for value in values])


def _answers(
    net: Network, images: Tensor, layers: Sequence[str], classify: bool
) -> tuple[dict[str, Tensor], Tensor]:
    """{layer: features (B, D)}, and the probabilities (B, K) of the classes, if asked for."""
    found = {PIXELS: images.flatten(1)} if PIXELS in layers else {}
    last = net.layer_names[-1]
    missing = {*layers} - {PIXELS}
    x = images.contiguous(memory_format=torch.channels_last)  # pools are faster so
    with evaluating(net):
        for name in net.layer_names:
            if not missing and not classify:
                break
            x = getattr(net, name)(x)
            if name in missing:
                missing.discard(name)
                found[name] = x.flatten(1)
            if name == last:
                break
        return found, x.softmax(1) if classify else x


def lengths(vectors: Tensor) -> np.ndarray:
    """Euclidean lengths (B,) of rows (B, D)."""
    return torch.linalg.vector_norm(vectors, dim=1, dtype=exact(vectors.device)).cpu().numpy()


def checked_targets(net: Network, targets: Sequence[int], count: int) -> Tensor:
    """Targets as a tensor (N,); refused where they are not classes of the network."""
    classes = net.num_classes
    if classes is None:
        raise BadInput(
            f"{net.name} has no classifier, so no label has a probability: give targets=None, or "
            "load weights with a classifier."
        )
    try:
        targets = np.asarray(targets.cpu() if isinstance(targets, Tensor) else targets)
    except ValueError:  # rows of unequal length
        targets = np.array(None)
    if targets.shape != (count,) or targets.dtype.kind not in "iu":
        raise BadInput(f"targets must be {count} whole numbers, one a picture.")
    if not ((targets >= 0) & (targets < classes)).all():
        raise BadInput(f"targets must be from 0 to {classes - 1}, the classes of {net.name}.")
    return torch.from_numpy(targets.astype(np.int64))


def recognised(net: nn.Module, images: Tensor, targets: Sequence[int], count: int) -> list[int]:
    """The pictures whose true label is most probable, at most one a class, best first.

    A rule to choose what to show: of a picture that the network does not know, there is no
    probability to lose.

    Raises
    ------
    BadInput
        If there are fewer than `count` classes.
    """
    net = as_network(net)
    wanted = checked_targets(net, targets, len(check_images(net, images)))
    chances = torch.cat([_answers(net, part, [], True)[1] for part in images.split(32)])
    order = chances[torch.arange(len(wanted)), wanted].argsort(descending=True).tolist()
    best: dict[int, int] = {}
    for item in order:
        best.setdefault(int(wanted[item]), item)
    if len(best) < count:
        raise BadInput(
            f"There are pictures of {len(best)} classes only; ask for at most that many."
        )
    return list(best.values())[:count]
