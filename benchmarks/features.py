"""Features of layers 1 to 5, computed and kept on disk, beside a bare forward loop (Table 7).

AlexNet's trunk at 224 pixels, on pictures of Caltech-101 if ``ZFNB_DATA`` says where it is, else on
scenes. The loop reads and runs the same pictures the same way, and keeps nothing.
"""

from __future__ import annotations

import sys
import tempfile

import torch
from torch import nn

import zfnb
from benchmarks.timing import compare, finish, interleaved, parser, rounds
from benchmarks.top_activations import Some, bare_loop, datasets
from zfnb.transfer import layer_features

LAYERS = (1, 2, 3, 4, 5)
MANY, SECONDS = 9000, 240  # so many pictures are to take so long at the most, on two cores


def keep(net: nn.Module, dataset: Some) -> None:
    """All layers, into a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        layer_features(net, dataset, LAYERS, folder=folder)


def main() -> int:
    options = parser(__doc__, repeats=3)
    options.add_argument("--pictures", type=int, default=600, help="how many (600)")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    net = zfnb.load_model("torchvision-alexnet", weights="imagenet-trunk")
    found = dict(datasets(net, ["scenes", "caltech101"], arguments.pictures))
    name, dataset = found.popitem()  # Caltech-101 where it is
    functions = {"ours": lambda: keep(net, dataset), "peer": lambda: bare_loop(net, dataset)}
    times = interleaved(functions, warmup=1, **rounds(arguments))
    row = compare(f"{name}, {len(dataset)} pictures", times, "ours", "peer", None)
    seconds = round(row.ours * MANY / len(dataset), 1)
    code = finish("features", [row], arguments, {f"seconds for {MANY} pictures": seconds})
    if arguments.check and seconds > SECONDS:
        print(f"{MANY} pictures would take more than {SECONDS} s.", file=sys.stderr)
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
