"""zfnb.Deconvnet beside captum's Deconvolution: nine units of a layer of AlexNet at 224 pixels.

Nine pictures, one unit of each, as in Fig. 2: the strongest position of a feature map that answers
to all of them. captum gets the network cut behind the layer's ReLU, and all nine units in one
call. zfnb is timed twice: with the switches of an earlier pass, and with the pass up counted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import captum.attr
import torch
from torch import Tensor, nn

import zfnb
import zfnb.deconvnet
from benchmarks.timing import Row, compare, finish, interleaved, parser, rounds
from zfnb.activations import inputs
from zfnb.compat import torchvision

LAYERS = {"conv1": 0, "conv2": 3, "conv3": 6, "conv4": 8, "conv5": 10}  # places in torchvision's
# (switches of an earlier pass, the pass up counted): at most these parts of captum's time.
BOUNDS = {"conv1": (0.15, 0.6), "conv2": (0.15, 0.6), "conv3": (0.15, 0.6), "conv5": (0.35, 0.75)}
UNITS = 9
TOLERANCE = 1e-5


def same_network(trunk: nn.Module) -> nn.Sequential:
    """torchvision's own features with the weights of `trunk`, for captum."""
    features = torchvision.models.alexnet().features.eval()
    for layer, place in LAYERS.items():
        features[place].load_state_dict(getattr(trunk, layer).filter.state_dict())
    return features


def pictures(net: nn.Module) -> Tensor:
    """(9, 3, 224, 224): scenes with nine different stamps."""
    scenes = zfnb.load_dataset("scenes", "test", per_stamp=1)
    return inputs(net, scenes, range(UNITS))


def lively_map(net: nn.Module, images: Tensor, layer: str) -> int:
    """The feature map whose weakest answer to any of the pictures is strongest."""
    return int(zfnb.features(net, images, layer).amax((2, 3)).amin(0).argmax())


@dataclass(frozen=True)
class Contest:
    """The same nine units projected by captum and by zfnb.

    Attributes
    ----------
    captum, down, up_and_down : callable
        captum's projection; zfnb's with the switches of an earlier pass; zfnb's from the pictures.
    difference : float
        Largest difference of the results, relative to the largest pixel.
    """

    captum: Callable[[], Tensor]
    down: Callable[[], zfnb.deconvnet.Projection]
    up_and_down: Callable[[], zfnb.deconvnet.Projection]
    difference: float


def contest(net: nn.Module, features: nn.Sequential, images: Tensor, layer: str) -> Contest:
    """Set both up on one layer, and compare what they find."""
    deconvnet = zfnb.Deconvnet(net)
    peer = captum.attr.Deconvolution(features[: LAYERS[layer] + 2])  # ends with the layer's ReLU
    feature_map = lively_map(net, images, layer)
    earlier = deconvnet.record(images, to=layer)
    found = deconvnet.project(earlier, layer, feature_map)
    target = [(feature_map, *place) for place in found.position.tolist()]
    x = images.clone().requires_grad_()
    # captum begins with 1 in the place of the activation.
    expected = peer.attribute(x, target=target).detach() * found.activation[:, None, None, None]
    return Contest(
        captum=lambda: peer.attribute(x, target=target),
        down=lambda: deconvnet.project(earlier, layer, feature_map),
        up_and_down=lambda: deconvnet.project(images, layer, feature_map),
        difference=float((found.pixels - expected).abs().max() / expected.abs().max()),
    )


def measure(one: Contest, layer: str, **how) -> list[Row]:
    """Both comparisons on a layer; `how` goes to `interleaved`."""
    functions = {"captum": one.captum, "down": one.down, "up and down": one.up_and_down}
    times = interleaved(functions, **how)
    down, both = BOUNDS.get(layer, (None, None))
    return [
        compare(f"{layer}, switches of an earlier pass", times, "down", "captum", down),
        compare(f"{layer}, pass up counted", times, "up and down", "captum", both),
    ]


def main() -> int:
    options = parser(__doc__, repeats=25)
    options.add_argument("--layers", nargs="+", choices=LAYERS, default=list(LAYERS))
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    net = zfnb.load_model("torchvision-alexnet", weights="imagenet-trunk")
    features, images = same_network(net), pictures(net)
    rows, differences = [], {}
    for layer in arguments.layers:
        one = contest(net, features, images, layer)
        differences[layer] = one.difference
        rows += measure(one, layer, **rounds(arguments))
    code = finish("deconvnet", rows, arguments, {"relative_difference": differences})
    wrong = [layer for layer, value in differences.items() if not value < TOLERANCE]
    if wrong:
        print(f"The results differ from captum's at {', '.join(wrong)}.", file=sys.stderr)
    return 1 if wrong else code


if __name__ == "__main__":
    sys.exit(main())
