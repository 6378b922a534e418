"""zfnb.occlusion_maps beside captum's Occlusion and a plain batched loop, at 224 pixels.

A square of 32 pixels in steps of 8: 25 x 25 places (Fig. 7). captum and the loop run the whole
network for each place, 32 at a time, which is captum's best setting here; zfnb computes only what
the square changes. captum gives the mean drop of one class's probability for each pixel; zfnb gives
that, the probabilities of all classes, and the activation of a feature map.
"""

from __future__ import annotations

import sys

import captum.attr
import torch
from torch import Tensor, nn

import zfnb
from benchmarks.timing import compare, finish, interleaved, parser, rounds
from zfnb.occlusion import OcclusionMaps, occlusion_maps

# Network: at most this part of captum's time.
BOUNDS = {"torchvision-alexnet": 0.45, "zfnet": 0.33}
SQUARE, STRIDE, BATCH = 32, 8, 32
TOLERANCE = 1e-4


def by_captum(net: nn.Module, image: Tensor, target: int) -> Tensor:
    """(H, W): the mean drop of the class's probability over the squares on each pixel."""
    peer = captum.attr.Occlusion(lambda x: net(x).softmax(1))
    with torch.inference_mode():
        drop = peer.attribute(
            image[None],
            sliding_window_shapes=(3, SQUARE, SQUARE),
            strides=(3, STRIDE, STRIDE),
            baselines=0,
            target=target,
            perturbations_per_eval=BATCH,
        )
    return drop[0, 0]


def ours(net: nn.Module, image: Tensor, method: str) -> OcclusionMaps:
    return occlusion_maps(net, image, None, SQUARE, STRIDE, "mean", method=method)


def drop(maps: OcclusionMaps) -> Tensor:
    """(H, W): what `by_captum` gives."""
    return maps.over_pixels(maps.whole_probability[maps.target] - maps.probability)


def main() -> int:
    options = parser(__doc__, repeats=3)
    options.add_argument("--networks", nargs="+", choices=BOUNDS, default=list(BOUNDS))
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    rows, differences = [], {}
    for name in arguments.networks:
        torch.manual_seed(0)
        net = zfnb.load_model(name)  # random filters take the same time
        image = zfnb.preprocess(zfnb.load_dataset("scenes", "test").picture(0), net)
        fast, plain = ours(net, image, "windows"), ours(net, image, "plain")
        captums = by_captum(net, image, fast.target)
        differences[name] = {
            "probability, from the plain loop's": largest(fast.probabilities, plain.probabilities),
            "activation, from the plain loop's": largest(fast.activation, plain.activation),
            "drop, from captum's": largest(drop(fast), captums),
        }
        functions = {
            "captum": lambda net=net, image=image: by_captum(net, image, 0),
            "plain": lambda net=net, image=image: ours(net, image, "plain"),
            "windows": lambda net=net, image=image: ours(net, image, "windows"),
        }
        times = interleaved(functions, warmup=1, **rounds(arguments))
        rows.append(compare(f"{name}, beside captum", times, "windows", "captum", BOUNDS[name]))
        rows.append(compare(f"{name}, beside the plain loop", times, "windows", "plain", None))
    code = finish("occlusion", rows, arguments, {"relative_difference": differences})
    if not all(value < TOLERANCE for found in differences.values() for value in found.values()):
        print("The results differ from captum's or the plain loop's.", file=sys.stderr)
        return 1
    return code


def largest(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((found - expected).abs().max() / expected.abs().max())


if __name__ == "__main__":
    sys.exit(main())
