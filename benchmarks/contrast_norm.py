"""zfnb's ContrastNorm beside torch.nn.LocalResponseNorm on maps of ZFNet's first layer."""

from __future__ import annotations

import sys

import torch
from torch import nn

from benchmarks.timing import compare, finish, interleaved, parser, rounds
from zfnb.layers import ContrastNorm

SHAPE = (9, 96, 55, 55)
BOUND = 3.0  # times as fast
TOLERANCE = 1e-6


def main() -> int:
    arguments = parser(__doc__, repeats=40).parse_args()
    torch.set_num_threads(arguments.threads)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SHAPE, generator=generator).relu() * 50  # after a ReLU, of the usual size
    ours = ContrastNorm(SHAPE[1])
    peer = nn.LocalResponseNorm(ours.size, ours.alpha, ours.beta, ours.k)
    with torch.inference_mode():
        expected = peer(x)
        difference = float((ours(x) - expected).abs().max() / expected.abs().max())
        functions = {"ours": lambda: ours(x), "peer": lambda: peer(x)}
        times = interleaved(functions, **rounds(arguments))
    row = compare(
        "x".join(map(str, SHAPE)),
        *(times, "ours", "peer", BOUND),
        at_most=False,
        unit="their time / ours",
    )
    code = finish("contrast_norm", [row], arguments, {"relative_difference": difference})
    if not difference < TOLERANCE:
        print("The results differ from LocalResponseNorm's.", file=sys.stderr)
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
