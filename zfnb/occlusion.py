"""Occlusion: which parts of a picture the network's answer rests on (Sec. 4.2, Fig. 7).

A square slides over the picture. For each of its places the network looks again, and three things
are recorded: the total activation of the feature map that answers most strongly to the picture
(Fig. 7b), the probability of the class (d), and the most probable label (e).

Shapes: h x w places of the square, K classes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zfnb.adopt import as_network
from zfnb.checks import map_number, whole_number
from zfnb.data.pictures import Preprocessing
from zfnb.errors import BadInput, CannotInvert, UnknownName
from zfnb.models import (
    Network,
    check_images,
    check_values,
    evaluating,
    imagenet_preprocessing,
)
from zfnb.windows import CHUNK, MANY, WindowedNetwork, Windows, channels_last, gather

FILLS = ("grey", "mean", "noise", "blur")
METHODS = ("auto", "windows", "plain")


@dataclass(frozen=True)
class OcclusionMaps:
    """What a network says of a picture for each place of the square.

    Attributes
    ----------
    probability : Tensor (h, w), or None
        Of the class `target`, from 0 to 1 (Fig. 7d). None, as the other things about classes, for a
        network without a classifier.
    label : Tensor (h, w) int64, or None
        The most probable class (Fig. 7e).
    activation : Tensor (h, w)
        Sum of the feature map over its positions (Fig. 7b); in a fully connected layer, the unit.
    feature_map : int
        The map of `layer` that was recorded.
    positions : Tensor (h, w, 2) int64
        Row and column of the square's upper left pixel; negative where it hangs over the border.
    probabilities : Tensor (h, w, K), or None
        Of all classes.
    whole_probability : Tensor (K,), or None
        Of all classes, without a square.
    whole_activation : float
        Sum of the feature map, without a square.
    target : int or None
    layer : str
    square, stride, size : int
        Side of the square, its steps, and the side of the picture, in pixels of the input.
    """

    probability: Tensor | None
    label: Tensor | None
    activation: Tensor
    feature_map: int
    positions: Tensor
    probabilities: Tensor | None
    whole_probability: Tensor | None
    whole_activation: float
    target: int | None
    layer: str
    square: int
    stride: int
    size: int

    def over_pixels(self, values: Tensor) -> Tensor:
        """(H, W) float32: for each pixel, the mean of `values` (h, w) over the squares on it."""
        return over_pixels(values, self.positions, self.square, self.size)


def occlusion_maps(
    net: nn.Module,
    image: Tensor,
    target: int | None = None,
    square: int = 32,
    stride: int = 8,
    fill: str | Tensor = "grey",
    layer: str = "conv5",
    feature_map: int | None = None,
    overhang: bool = False,
    seed: int = 0,
    method: str = "auto",
) -> OcclusionMaps:
    """Slide a square over a picture, and record what the network says (Sec. 4.2, Fig. 7).

    Parameters
    ----------
    net : Network, or any nn.Module that takes (N, 3, H, W) and gives (N, K) logits
    image : Tensor (3, H, W) or (1, 3, H, W)
        From `zfnb.preprocess`.
    target : int, optional
        The class whose probability is recorded; by default the most probable one of the whole
        picture.
    square, stride : int
        Side of the square and its steps, in pixels of the input. The last square of a row and of a
        column is flush with the border, whatever the stride.
    fill : {"grey", "mean", "noise", "blur"} or Tensor (3, H, W)
        What the square shows: mid grey (the paper's); the mean of the training pictures; uniform
        noise; the picture itself, blurred by a quarter of the square's side; or the same part of a
        picture that is given.
    layer : str
        Whose feature map is recorded. In a network that is not a chain of layers: the name of a
        module.
    feature_map : int, optional
        By default the one with the strongest single activation in the whole picture. (The one with
        the largest sum is often a map of textures, which answers to the background.)
    overhang : bool
        Let the square begin and end half outside, so that the border is covered as often as the
        middle.
    seed : int
        For "noise".
    method : {"auto", "windows", "plain"}
        Compute only what the square changes (see `zfnb.windows`: exact; on a CPU, from 100 places
        on, to about 1e-5), or all of the network for every place. "auto" takes the first where it
        can be had.

    Returns
    -------
    OcclusionMaps

    Raises
    ------
    UnknownName
        For an unknown layer, fill or method.
    BadInput
        For an image of a wrong shape, type or device, or with NaN; a fill with NaN; a square,
        stride, target or feature map out of range; more than one image; or method "windows" for a
        network that has no windows.
    """
    if method not in METHODS:
        raise UnknownName.of("method", method, METHODS)
    net = as_chain(net, image) or net
    windows = isinstance(net, Network) and WindowedNetwork.takes(net)
    if method == "windows" and not windows:
        raise BadInput(
            "This network is not a chain of layers that have windows: use method='plain'."
        )
    image = check_one(net, image)
    size = image.shape[-1]
    square = check_square(square, size)
    stride = whole_number(stride, "stride must be a positive number of pixels", 1)
    preprocessing = getattr(net, "preprocessing", None) or imagenet_preprocessing(size)
    cover = fill_picture(fill, image, preprocessing, square, seed)
    axis = starts(size, square, stride, overhang)
    places = torch.cartesian_prod(axis, axis).to(image.device)  # (h * w, 2)
    look = by_windows if windows and method != "plain" else plainly
    looked = look(net, image, cover, places, square, layer, feature_map)
    grid = (len(axis), len(axis))
    probabilities = whole = label = probability = None
    if looked.logits is not None:
        probabilities = looked.logits.softmax(1)
        whole, probabilities = probabilities[0], probabilities[1:].reshape(*grid, -1)
        target = check_target(target, whole)
        label, probability = probabilities.argmax(2), probabilities[:, :, target].contiguous()
    elif target is not None:
        raise BadInput(
            "This network has no classifier, so no class has a probability: leave out target."
        )
    return OcclusionMaps(
        probability=probability,
        label=label,
        activation=looked.activation[1:].reshape(grid).float(),
        feature_map=looked.feature_map,
        positions=places.reshape(*grid, 2),
        probabilities=probabilities,
        whole_probability=whole,
        whole_activation=float(looked.activation[0]),
        target=target,
        layer=layer,
        square=square,
        stride=stride,
        size=size,
    )


@dataclass(frozen=True)
class Looked:
    """What was seen: first of the whole picture, then of each place of the square.

    Attributes
    ----------
    logits : Tensor (1 + h * w, K), or None
    activation : Tensor (1 + h * w,)
    feature_map : int
    """

    logits: Tensor | None
    activation: Tensor
    feature_map: int


def starts(size: int, square: int, stride: int, overhang: bool = False) -> Tensor:
    """First pixels of the squares along one axis (h,): from border to border."""
    over = square // 2 if overhang else 0
    last = size - square + over
    return torch.tensor([*range(-over, last, stride), last])


def occluded(image: Tensor, cover: Tensor, places: Tensor, square: int) -> Tensor:
    """Pictures (M, 3, H, W): `image` (1, 3, H, W) with a square at each of the places (M, 2)."""
    size = image.shape[-1]
    at = torch.arange(size, device=image.device)
    rows, columns = ((at >= p[:, None]) & (at < p[:, None] + square) for p in places.T)
    inside = rows[:, None, :, None] & columns[:, None, None, :]  # (M, 1, H, W)
    return torch.where(inside, cover, image)


def fill_picture(
    fill: str | Tensor, image: Tensor, preprocessing: Preprocessing, square: int, seed: int = 0
) -> Tensor:
    """What the square shows of it, for the whole picture: (1, 3, H, W), normalised."""
    mean, std = (
        torch.tensor(values).to(image)[None, :, None, None]
        for values in (preprocessing.mean, preprocessing.std)
    )
    if isinstance(fill, Tensor):
        if fill.shape[-3:] != image.shape[1:] or fill.numel() != image.numel():
            raise BadInput(
                f"A fill of one's own must be {tuple(image.shape[1:])}, not {tuple(fill.shape)}."
            )
        if not torch.isfinite(fill).all():
            raise BadInput("The fill holds NaN or infinite values; check how it was made.")
        return fill.to(image).reshape(image.shape)
    if fill == "grey":
        return ((0.5 - mean) / std).expand_as(image)
    if fill == "mean":
        return torch.zeros_like(image)
    if fill == "noise":
        noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(seed))
        return (noise.to(image) - mean) / std
    if fill == "blur":
        return blurred(image, square / 4)
    raise UnknownName.of("fill", fill, (*FILLS, "a tensor (3, H, W)"))


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Pictures (N, 3, H, W) behind a Gaussian of `sigma` pixels; the border pixel repeats."""
    reach = max(1, round(3 * sigma))
    at = torch.arange(-reach, reach + 1, dtype=image.dtype, device=image.device)
    weight = torch.exp(-0.5 * (at / sigma) ** 2)
    weight = (weight / weight.sum()).expand(3, 1, 1, -1)
    x = nn.functional.pad(image, (reach, reach, reach, reach), mode="replicate")
    x = nn.functional.conv2d(x, weight, groups=3)
    return nn.functional.conv2d(x, weight.transpose(2, 3), groups=3)


def over_pixels(values: Tensor, positions: Tensor, square: int, size: int) -> Tensor:
    """(H, W): the mean of `values` (h, w) over the squares that lie on each pixel."""
    corners = positions.reshape(-1, 2)
    first, last = corners.clamp(0, size), (corners + square).clamp(0, size)
    sums = torch.zeros(2, size + 1, size + 1, dtype=torch.float64, device=values.device)
    weight = torch.stack((values.flatten().double(), torch.ones_like(values.flatten()).double()))
    # A square is the sum, from above and from the left, of four signed corners.
    for rows, columns, sign in (
        (first[:, 0], first[:, 1], 1),
        (first[:, 0], last[:, 1], -1),
        (last[:, 0], first[:, 1], -1),
        (last[:, 0], last[:, 1], 1),
    ):
        sums.view(2, -1).index_add_(1, rows * (size + 1) + columns, sign * weight)
    total, count = sums.cumsum(1).cumsum(2)[:, :size, :size]
    return (total / count.round().clamp(min=1)).float()


def as_chain(net: nn.Module, image: Tensor) -> Network | None:
    """The network as a chain of named layers, or None if it is none."""
    side = image.shape[-1] if isinstance(image, Tensor) and image.ndim >= 3 else 224
    try:
        return as_network(net, side)
    except CannotInvert:
        return None


def by_windows(
    net: Network,
    image: Tensor,
    cover: Tensor,
    places: Tensor,
    square: int,
    layer: str,
    feature_map: int | None,
) -> Looked:
    """Compute only what the square changes."""
    net.check_layer(layer)
    with evaluating(net):
        seen = WindowedNetwork(net, image)
        feature_map = check_map(feature_map, seen.activations[layer], layer)
        whole = total(seen.activations[layer], feature_map)
        changed, tops = [], []
        own, cover = channels_last(image), channels_last(cover)
        for chunk in places.split(CHUNK):
            windows = covered(own, cover, chunk, square)
            for name, windows in seen.up(windows, many=len(places) >= MANY):  # noqa: B020
                if name == layer:
                    new, old = windows.values, seen.cut(layer, windows)
                    change = (new - old)[..., feature_map].double().sum((1, 2))
                    changed.append(whole + change)
            tops.append(seen.paste(name, windows))
        logits = None
        for name, logits in seen.above(torch.cat(tops)):
            if name == layer:
                changed.append(total(logits, feature_map))
        if logits is not None:
            logits = torch.cat((seen.activations[net.layer_names[-1]], logits)).clone()
        return Looked(logits, torch.cat((whole, *changed)).clone(), feature_map)


def covered(image: Tensor, cover: Tensor, places: Tensor, square: int) -> Windows:
    """The parts of a picture (H, W, 3) that a square at `places` (M, 2) changes, inside of it."""
    start = places.clamp(0, len(image) - square)
    (top, left) = start.T
    values = gather(cover, top, square, left, square)
    if not torch.equal(start, places):
        own = gather(image, top, square, left, square)
        at = torch.arange(square, device=places.device)
        rows, columns = (
            (at >= shift[:, None]) & (at < shift[:, None] + square) for shift in (places - start).T
        )
        values = torch.where((rows[:, :, None] & columns[:, None, :])[..., None], values, own)
    return Windows(values, start)


def plainly(
    net: nn.Module,
    image: Tensor,
    cover: Tensor,
    places: Tensor,
    square: int,
    layer: str,
    feature_map: int | None,
    batch: int = 32,
) -> Looked:
    """Compute all of the network for every place of the square."""
    with evaluating(net), recorded(net, layer) as record:
        logits, activation = [net(image)], []
        feature_map = check_map(feature_map, record[layer], layer)
        activation.append(total(record[layer], feature_map))
        for chunk in places.split(batch):
            logits.append(net(occluded(image, cover, chunk, square)))
            activation.append(total(record[layer], feature_map))
        classes = logits[0].ndim == 2
        return Looked(
            torch.cat(logits).clone() if classes else None,
            torch.cat(activation).clone(),
            feature_map,
        )


@contextmanager
def recorded(net: nn.Module, layer: str) -> Iterator[dict[str, Tensor]]:
    """Keep what a layer gives, each time the network runs inside."""
    layers = dict(net.named_modules())
    if isinstance(net, Network):
        net.check_layer(layer)
    elif layer not in layers or not layer:
        raise UnknownName.of("layer", layer, [name for name in layers if name])
    record: dict[str, Tensor] = {}
    hook = layers[layer].register_forward_hook(lambda _, given, out: record.update({layer: out}))
    try:
        yield record
    finally:
        hook.remove()


def total(activations: Tensor, feature_map: int) -> Tensor:
    """Sum (N,) of a feature map over its positions, in float64."""
    return activations[:, feature_map].double().reshape(len(activations), -1).sum(1)


def check_map(feature_map: int | None, activations: Tensor, layer: str) -> int:
    """The feature map as given, or the one with the strongest activation in the first picture."""
    if not isinstance(activations, Tensor) or activations.ndim not in (2, 4):
        raise BadInput(f"{layer} gives no feature maps (N, C, h, w); choose another layer.")
    strongest = activations[0].flatten(1).amax(1) if activations.ndim == 4 else activations[0]
    if feature_map is None:
        return int(strongest.argmax())
    return map_number(feature_map, len(strongest), layer)


def check_target(target: int | None, probabilities: Tensor) -> int:
    """The class as given, or the most probable one."""
    if target is None:
        return int(probabilities.argmax())
    last = len(probabilities) - 1
    return whole_number(target, f"target must be a class from 0 to {last}", 0, last)


def check_square(square: int, size: int) -> int:
    """The side of the square as an int that fits the picture, or what is wrong with it."""
    return whole_number(square, f"square must be from 1 to {size} pixels", 1, size)


def check_one(net: nn.Module, image: Tensor) -> Tensor:
    """The image as (1, 3, H, W), or what is wrong with it."""
    if isinstance(net, Network):
        image = check_images(net, image)
    elif not isinstance(image, Tensor) or image.shape[-3:-2] != (3,) or image.ndim not in (3, 4):
        raise BadInput("The image must be a tensor (3, H, W), normalised as the network wants it.")
    image = image[None] if image.ndim == 3 else image
    if len(image) != 1:
        raise BadInput(f"Occlusion takes one image at a time, not {len(image)}.")
    if image.shape[2] != image.shape[3]:
        raise BadInput(f"The image must be square, not {image.shape[2]} x {image.shape[3]}.")
    if not isinstance(net, Network):
        check_values(net, image)
    return image
