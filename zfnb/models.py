"""The networks of the paper: one declarative description each, and what it is built into.

References
----------
Zeiler & Fergus, *Visualizing and Understanding Convolutional Networks*, arXiv 1311.2901:
Sec. 3 and Fig. 3 (ZFNet), Sec. 5.1 and Table 3 (the variants).
Krizhevsky et al., *ImageNet Classification with Deep Convolutional Neural Networks*, 2012:
AlexNet.
Krizhevsky, *One weird trick ...*, arXiv 1404.5997: the narrower AlexNet that torchvision ships.

Shapes: N pictures, C feature maps, H x W positions.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from numbers import Real

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init as _skip_init

from zfnb.checks import whole_number
from zfnb.data.pictures import Preprocessing
from zfnb.errors import BadInput, UnknownName
from zfnb.layers import ContrastNorm, SwitchMaxPool2d
from zfnb.receptive import output_size

NORM_PLACES = ("after", "before", "none")
POOL_EDGES = ("ceil", "pad", "floor")


@dataclass(frozen=True)
class Conv:
    """A convolution layer: filters and ReLU, then perhaps a 3 x 3 / 2 max pool, then perhaps
    contrast normalisation."""

    maps: int
    kernel: int
    stride: int = 1
    padding: int = 1
    pool: bool = False
    norm: bool = False


@dataclass(frozen=True)
class Description:
    """A network as one would tabulate it; `build` turns it into a `Network`.

    Attributes
    ----------
    name, what : str
        The name for `load_model`, and a line for people.
    conv : dict {layer number: Conv}
        Numbers are the paper's: a network without layers 3 and 4 goes from 2 to 5.
    fc : dict {layer number: units} or None
        Hidden fully connected layers; the classifier "fc8" follows. None: no classifier at all.
    input_size : int
        Height and width of the input in pixels.
    norm : {"after", "before", "none"}
        Where contrast normalisation stands relative to the pool. The paper has it after.
    pools : {"ceil", "pad", "floor"}
        How a pool treats a last window that overhangs. Fig. 3's 110 -> 55 and 26 -> 13 need
        "ceil" (count the overhanging window) or "pad" (one ring of padding).
    batch_norm : bool
        Batch normalisation between filters and ReLU, for training; `zfnb.adopt.fold_batch_norm`
        takes it out again.
    """

    name: str
    what: str
    conv: dict[int, Conv]
    fc: dict[int, int] | None
    input_size: int = 224
    norm: str = "after"
    pools: str = "floor"
    batch_norm: bool = False


def _zfnet(name: str, what: str, maps=(384, 384, 256), fc=(4096, 4096)) -> Description:
    conv = {
        1: Conv(96, kernel=7, stride=2, padding=1, pool=True, norm=True),
        2: Conv(256, kernel=5, stride=2, padding=0, pool=True, norm=True),
        3: Conv(maps[0], kernel=3),
        4: Conv(maps[1], kernel=3),
        5: Conv(maps[2], kernel=3, pool=True),
    }
    return Description(name, what, conv, dict(enumerate(fc, start=6)), pools="ceil")


def _alexnet(name: str, what: str, without: tuple[int, ...] = (), fc=(4096, 4096)) -> Description:
    conv = {
        1: Conv(96, kernel=11, stride=4, padding=2, pool=True, norm=True),
        2: Conv(256, kernel=5, padding=2, pool=True, norm=True),
        3: Conv(384, kernel=3),
        4: Conv(384, kernel=3),
        5: Conv(256, kernel=3, pool=True),
    }
    hidden = dict(enumerate(fc, start=6))
    return Description(
        name,
        what,
        {number: layer for number, layer in conv.items() if number not in without},
        {number: units for number, units in hidden.items() if number not in without},
    )


def _torchvision_alexnet() -> Description:
    conv = {
        1: Conv(64, kernel=11, stride=4, padding=2, pool=True),
        2: Conv(192, kernel=5, padding=2, pool=True),
        3: Conv(384, kernel=3),
        4: Conv(256, kernel=3),
        5: Conv(256, kernel=3, pool=True),
    }
    what = "torchvision's narrower AlexNet, without contrast normalisation"
    return Description("torchvision-alexnet", what, conv, {6: 4096, 7: 4096}, norm="none")


NETWORKS: dict[str, Description] = {
    network.name: network
    for network in (
        _zfnet("zfnet", "the paper's network (Fig. 3)"),
        _zfnet("zfnet-fc2048", "layers 6, 7 of 2048 units (Table 3)", fc=(2048, 2048)),
        _zfnet("zfnet-fc8192", "layers 6, 7 of 8192 units (Table 3)", fc=(8192, 8192)),
        _zfnet("zfnetb", "layers 3, 4, 5 of 512, 1024, 512 maps (Tables 2, 3)", (512, 1024, 512)),
        _zfnet(
            "zfnetb-fc8192",
            "layers 3, 4, 5 of 512, 1024, 512 maps and 6, 7 of 8192 units (Table 3)",
            (512, 1024, 512),
            (8192, 8192),
        ),
        _alexnet("alexnet", "the paper's dense, single-tower AlexNet (Tables 2, 3)"),
        _alexnet("alexnet-no34", "AlexNet without layers 3, 4 (Table 3)", (3, 4)),
        _alexnet("alexnet-no7", "AlexNet without layer 7 (Table 3)", (7,)),
        _alexnet("alexnet-no67", "AlexNet without layers 6, 7 (Table 3)", (6, 7)),
        _alexnet("alexnet-no3467", "AlexNet without layers 3, 4, 6, 7 (Table 3)", (3, 4, 6, 7)),
        _alexnet("alexnet-fc2048", "AlexNet, layers 6, 7 of 2048 units (Table 3)", (), (2048,) * 2),
        _alexnet("alexnet-fc8192", "AlexNet, layers 6, 7 of 8192 units (Table 3)", (), (8192,) * 2),
        _torchvision_alexnet(),
    )
}


def imagenet_preprocessing(input_size: int) -> Preprocessing:
    """The usual preparation for ImageNet networks: 256 / 224 of the input, then its centre."""
    return Preprocessing(
        resize=round(input_size * 256 / 224),
        crop=input_size,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )


class Network(nn.Module):
    """A chain of named layers: what every part of zfnb works on.

    A layer is one module, or a sequence of them: "conv1" is filters and ReLU, "pool1" a
    `SwitchMaxPool2d`, "norm1" a `ContrastNorm`, "fc6" a linear map, ReLU and dropout. So the output
    of layer "convN" or "fcN" is what comes after its ReLU, as in the paper; the classifier, the
    last fully connected layer, has none and gives logits.

    Attributes
    ----------
    name : str
    layer_names : tuple of str
        In order, e.g. ("conv1", "pool1", "norm1", ..., "fc8").
    shapes : dict {layer name: (C, H, W) or (units,)}
        Output shape of each layer, without the batch.
    input_size : int
        Height and width of the input in pixels.
    preprocessing : Preprocessing
        How a picture becomes an input; see `zfnb.preprocess`.
    weights : str or None
        Where the weights come from; None while they are random.
    classes : list of (synset, name), or None
        What the outputs of the classifier stand for, where that is known.
    """

    def __init__(
        self,
        layers: dict[str, nn.Module],
        *,
        name: str,
        input_size: int,
        preprocessing: Preprocessing | None = None,
        weights: str | None = None,
        classes: list[tuple[str, str]] | None = None,
        description: Description | None = None,
    ):
        super().__init__()
        for layer_name, layer in layers.items():
            self.add_module(layer_name, layer)
        self.name = name
        self.layer_names = tuple(layers)
        self.input_size = input_size
        self.preprocessing = preprocessing or imagenet_preprocessing(input_size)
        self.weights = weights
        self.classes = classes
        self.description = description
        self.shapes = self._shapes()

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        shape, shapes = (3, self.input_size, self.input_size), {}
        for name, step in self.steps():
            shapes[name] = shape = output_shape(step, shape, name)
        return shapes

    @property
    def num_classes(self) -> int | None:
        """Number of outputs of the classifier; None for a network without one."""
        shape = self.shapes[self.layer_names[-1]]
        return shape[0] if len(shape) == 1 else None

    def check_layer(self, layer: str) -> str:
        """Return `layer`, or raise `UnknownName` with the valid layers."""
        if layer not in self.layer_names:
            raise UnknownName.of("layer", layer, self.layer_names)
        return layer

    def steps(self, to: str | None = None) -> Iterator[tuple[str, nn.Module]]:
        """Yield (layer name, module) for every elementary module, in order, up to layer `to`."""
        for name in self.layer_names:
            layer = getattr(self, name)
            for step in layer if isinstance(layer, nn.Sequential) else (layer,):
                yield name, step
            if name == to:
                return

    def forward(self, x: Tensor, to: str | None = None) -> Tensor:
        """Run `x` (N, 3, H, W) through all layers, or up to and with layer `to`."""
        for name in self.layer_names:
            x = getattr(self, name)(x)
            if name == to:
                break
        return x

    def __str__(self) -> str:
        return f"{self.name} ({self.weights or 'RANDOM WEIGHTS'})"


def output_shape(step: nn.Module, shape: tuple[int, ...], layer: str) -> tuple[int, ...]:
    """Shape (C, H, W) or (units,) of what an elementary module makes of `shape`."""
    if isinstance(step, nn.Conv2d | nn.MaxPool2d):
        maps = step.out_channels if isinstance(step, nn.Conv2d) else shape[0]
        sides = tuple(output_size(step, side, axis) for axis, side in enumerate(shape[1:]))
        if min(sides) < 1:
            raise BadInput(
                f"Layer {layer} is left with no positions: its input is {shape[1]} x {shape[2]}. "
                "Give a larger input_size."
            )
        return (maps, *sides)
    if isinstance(step, nn.Flatten):
        return (int(torch.Size(shape).numel()),)
    if isinstance(step, nn.Linear):
        return (step.out_features,)
    return shape


def skip_init(kind: type[nn.Module], *args) -> nn.Module:
    """A module whose memory is not filled yet: `initialise` or a weights file does that once."""
    return _skip_init(kind, *args, device=torch.get_default_device())


def build(description: Description, num_classes: int = 1000, **labels) -> Network:
    """Build the network of a `Description`, with He's random start and zero biases.

    `labels` go to `Network` (preprocessing, weights, classes).
    """
    num_classes = whole_number(num_classes, "num_classes must be a whole number from 1 on", 1)
    layers: dict[str, nn.Module] = {}
    shape = (3, description.input_size, description.input_size)
    for number, conv in description.conv.items():
        filters = skip_init(nn.Conv2d, shape[0], conv.maps, conv.kernel, conv.stride, conv.padding)
        steps = {"filter": filters, "relu": nn.ReLU()}
        if description.batch_norm:
            steps = {"filter": filters, "bn": nn.BatchNorm2d(conv.maps), "relu": steps["relu"]}
        layers[f"conv{number}"] = _sequence(steps)
        shape = output_shape(filters, shape, f"conv{number}")
        after = {}
        if conv.pool:
            after[f"pool{number}"] = SwitchMaxPool2d(
                3,
                stride=2,
                padding=int(description.pools == "pad"),
                ceil_mode=description.pools == "ceil",
            )
            shape = output_shape(after[f"pool{number}"], shape, f"pool{number}")
        if conv.norm and description.norm != "none":
            after[f"norm{number}"] = ContrastNorm(conv.maps)
        order = reversed(after) if description.norm == "before" else after
        layers.update((name, after[name]) for name in order)
    if description.fc is not None:
        units = int(torch.Size(shape).numel())
        for number, width in description.fc.items():
            layers[f"fc{number}"] = _sequence(
                {
                    "flatten": nn.Flatten(),
                    "linear": skip_init(nn.Linear, units, width),
                    "relu": nn.ReLU(),
                    "dropout": nn.Dropout(0.5),
                }
            )
            units = width
        layers["fc8"] = _sequence(
            {"flatten": nn.Flatten(), "linear": skip_init(nn.Linear, units, num_classes)}
        )
    net = Network(
        layers,
        name=description.name,
        input_size=description.input_size,
        description=description,
        **labels,
    )
    initialise(net)
    return net.eval()


def _sequence(steps: dict[str, nn.Module]) -> nn.Sequential:
    sequence = nn.Sequential()
    for name, step in steps.items():
        sequence.add_module(name, step)
    return sequence


def initialise(net: nn.Module, scale: float | None = None) -> None:
    """Random filters, zero biases.

    Parameters
    ----------
    scale : float, optional
        Standard deviation of all weights (the paper starts at 1e-2, Sec. 3.1). None: He's start,
        which keeps the size of activations through the layers.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if scale is None:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            else:
                nn.init.normal_(module.weight, std=scale)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def describe_variant(
    name: str,
    *,
    input_size: int | None = None,
    norm: str | None = None,
    pools: str | None = None,
    width: float | None = None,
    batch_norm: bool | None = None,
) -> Description:
    """The description of a network by name, with the given things changed.

    Parameters
    ----------
    name : str
        One of `NETWORKS`.
    input_size : int
        Pixels; 224 in the paper.
    norm : {"after", "before", "none"}
        Place of contrast normalisation relative to the pool.
    pools : {"ceil", "pad", "floor"}
        How overhanging pooling windows are treated.
    width : float
        Factor on the number of feature maps and hidden units, e.g. 0.5.
    batch_norm : bool
        Batch normalisation, for training.
    """
    if name not in NETWORKS:
        raise UnknownName.of("network", name, NETWORKS)
    description = NETWORKS[name]
    if norm is not None:
        if norm not in NORM_PLACES:
            raise UnknownName.of("place of normalisation", norm, NORM_PLACES)
        description = replace(description, norm=norm)
    if pools is not None:
        if pools not in POOL_EDGES:
            raise UnknownName.of("treatment of pool edges", pools, POOL_EDGES)
        description = replace(description, pools=pools)
    if input_size is not None:
        description = replace(description, input_size=check_size(input_size))
    if batch_norm is not None:
        description = replace(description, batch_norm=bool(batch_norm))
    if width is not None:
        if isinstance(width, bool) or not isinstance(width, Real) or not 0 < width < math.inf:
            raise BadInput(f"width must be a positive factor, not {width!r}.")
        scaled = {
            number: replace(conv, maps=max(1, round(conv.maps * width)))
            for number, conv in description.conv.items()
        }
        hidden = {n: max(1, round(units * width)) for n, units in (description.fc or {}).items()}
        description = replace(
            description, conv=scaled, fc=None if description.fc is None else hidden
        )
    return description


def check_size(input_size: object) -> int:
    """An `input_size` as an int, or what is wrong with it."""
    return whole_number(input_size, "input_size must be a positive number of pixels", 1)


def load_model(
    name: str | nn.Module,
    weights: str | os.PathLike | None = None,
    num_classes: int = 1000,
    **variant,
) -> Network:
    """A network by name, or one's own, ready for every experiment of the package.

    Parameters
    ----------
    name : str or nn.Module
        One of `NETWORKS` ("zfnet", "alexnet", "torchvision-alexnet", Table 3's variants, ...), or a
        network of one's own: a chain of Conv2d, ReLU, MaxPool2d, BatchNorm2d, Dropout,
        LocalResponseNorm and Linear modules such as torchvision's VGG-16 (see `zfnb.adopt`).
    weights : str, path or None
        A name from `zfnb.weights.available_weights(name)` ("imagenet", "imagenet-trunk", ...), the
        path of a .safetensors or .pth file, or None for random filters.
    num_classes : int
        Number of outputs of the classifier. A weights file knows its own.
    **variant
        `input_size`, `norm`, `pools`, `width`, `batch_norm`: see `describe_variant`. A network of
        one's own takes `input_size` alone.

    Returns
    -------
    Network
        In evaluation mode, with ``.layer_names``, ``.input_size``, ``.preprocessing``,
        ``.weights`` and ``.classes``.

    Raises
    ------
    UnknownName
        For an unknown network, weights or variant, naming the valid ones.
    BadWeights
        If the file is damaged or does not fit.
    MissingData
        If the weights have to be downloaded and cannot be.
    CannotInvert
        If one's own network holds something that a deconvnet cannot pass.
    """
    if isinstance(name, nn.Module):
        from zfnb.adopt import as_network  # adopt needs this file

        if weights is not None or num_classes != 1000:
            raise BadInput(
                "A network of one's own comes with its weights and its classes; load them into it "
                "first, and call load_model(network) alone."
            )
        for key in variant:
            if key != "input_size":
                raise UnknownName.of("variant of a network of one's own", key, ["input_size"])
        return as_network(name, **variant)
    from zfnb.weights import load_weights  # weights needs this file

    unknown = set(variant) - set(describe_variant.__kwdefaults__)
    if unknown:
        raise UnknownName.of("variant", sorted(unknown)[0], describe_variant.__kwdefaults__)
    if weights is None:
        return build(describe_variant(name, **variant), num_classes)
    if name not in NETWORKS:
        raise UnknownName.of("network", name, NETWORKS)
    num_classes = whole_number(num_classes, "num_classes must be a whole number from 1 on", 1)
    return load_weights(name, weights, num_classes, variant)


def describe() -> list[dict]:
    """One row a network, for ``zfnb models``: name, what, input_size, parameters, weights."""
    from zfnb.weights import available_weights

    return [
        {
            "name": name,
            "what": network.what,
            "input_size": network.input_size,
            "parameters": count_parameters(network),
            "weights": available_weights(name),
        }
        for name, network in NETWORKS.items()
    ]


def count_parameters(description: Description, num_classes: int = 1000) -> int:
    """Number of weights and biases, without building the network's tensors."""
    with torch.device("meta"):
        net = build(description, num_classes)
    return sum(p.numel() for p in net.parameters())


def device_of(net: nn.Module) -> torch.device:
    """Where a network's parameters are."""
    return next(net.parameters()).device


@contextmanager
def evaluation_mode(net: nn.Module) -> Iterator[None]:
    """Evaluation mode inside (no dropout); each module's own mode is put back after."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Evaluation mode and no autograd inside; each module's own mode is put back after."""
    with evaluation_mode(net), torch.inference_mode():
        yield


def check_images(net: Network, images: Tensor) -> Tensor:
    """Return `images` as a batch (N, 3, H, W) that `net` can take, or say what is wrong."""
    if not isinstance(images, Tensor):
        raise BadInput(
            f"Images must be a tensor (N, 3, H, W), not {type(images).__name__}; "
            "zfnb.preprocess(picture, net) makes one."
        )
    if images.ndim == 3:
        images = images[None]
    size = net.input_size
    if images.ndim != 4 or images.shape[1:] != (3, size, size):
        raise BadInput(
            f"Images must be (N, 3, {size}, {size}) for {net.name}, not {tuple(images.shape)}; "
            "zfnb.preprocess(picture, net) makes them fit."
        )
    if not len(images):
        raise BadInput("The batch of images is empty; give at least one image.")
    check_values(net, images)
    return images


def check_values(net: nn.Module, images: Tensor) -> None:
    """Refuse images of another type or on another device than a network's, or with NaN."""
    weight = next(net.parameters(), images)
    if images.dtype != weight.dtype:
        raise BadInput(
            f"Images are {images.dtype} but the network is {weight.dtype}; "
            f"use images.to({weight.dtype}) (zfnb.preprocess also scales and normalises)."
        )
    if images.device != weight.device:
        raise BadInput(
            f"Images are on {images.device} but the network is on {weight.device}; "
            f"use images.to({str(weight.device)!r})."
        )
    if not torch.isfinite(torch.stack(images.aminmax())).all():  # one pass: NaN is an extreme too
        raise BadInput("The images hold NaN or infinite values; check how they were made.")


def features(net: nn.Module, images: Tensor, layer: str) -> Tensor:
    """Activations of a layer; the layers above it are not computed.

    Parameters
    ----------
    net : Network, or nn.Module that `load_model` would take
    images : Tensor (N, 3, H, W) or (3, H, W)
        From `zfnb.preprocess`.
    layer : str
        One of ``net.layer_names``. "convN" and "fcN" are after their ReLU; the classifier gives
        logits.

    Returns
    -------
    Tensor (N, C, h, w) for a layer of maps, (N, units) for a fully connected one

    Raises
    ------
    UnknownName, BadInput
    """
    from zfnb.adopt import as_network

    net = as_network(net)
    net.check_layer(layer)
    images = check_images(net, images)
    with evaluating(net):
        return net(images, to=layer)
