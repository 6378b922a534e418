"""TopActivations.build beside a bare forward loop over the same pictures, read the same way.

All layers of AlexNet's trunk, the nine strongest of each of its 1152 maps. On tensors in memory, on
embedded scenes, and on Caltech-101 if ``ZFNB_DATA`` says where it is.
"""

from __future__ import annotations

import sys
from functools import partial

import torch
from torch import nn
from torch.utils.data import Dataset, Subset, TensorDataset

import zfnb
from benchmarks.timing import Row, compare, finish, interleaved, parser, rounds
from zfnb.activations import as_input, inputs
from zfnb.data import iterate
from zfnb.errors import MissingData

BOUND = 0.85  # of the bare loop's pictures a second
BATCH = 32


def bare_loop(net: nn.Module, dataset: Dataset) -> None:
    """Read and run every picture, and keep nothing."""
    with torch.inference_mode():
        for _, images, _ in iterate(dataset, BATCH, partial(as_input, net)):
            net(images, to="conv5")


def some(dataset: Dataset, count: int) -> Subset:
    """`count` items spread over a dataset."""
    return Subset(dataset, torch.linspace(0, len(dataset) - 1, count).long().tolist())


def measure(what: str, net: nn.Module, dataset: Dataset, **how) -> Row:
    times = interleaved(
        {
            "ours": lambda: zfnb.TopActivations.build(net, dataset, batch_size=BATCH),
            "peer": lambda: bare_loop(net, dataset),
        },
        warmup=1,
        **how,
    )
    return compare(
        f"{what}, {len(dataset)} pictures",
        *(times, "ours", "peer", BOUND),
        at_most=False,
        unit="our pictures a second / theirs",
    )


def main() -> int:
    options = parser(__doc__, repeats=9)
    options.add_argument("--pictures", type=int, default=320, help="of each dataset (320)")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    net = zfnb.load_model("torchvision-alexnet", weights="imagenet-trunk")
    scenes = some(zfnb.load_dataset("scenes", "train", per_stamp=8), arguments.pictures)
    tensors = inputs(net, scenes, range(arguments.pictures))
    memory = TensorDataset(tensors, torch.zeros(len(tensors), dtype=torch.long))
    how = rounds(arguments)
    rows = [measure("tensors in memory", net, memory, **how)]
    rows.append(measure("scenes", net, scenes, **how))
    try:
        photographs = some(zfnb.load_dataset("caltech101"), arguments.pictures)
        rows.append(measure("Caltech-101", net, photographs, **how))
    except MissingData as error:
        print(f"Caltech-101 is left out: {error}", file=sys.stderr)
    speed = {row.what: round(arguments.pictures / row.ours, 1) for row in rows}
    return finish("top_activations", rows, arguments, {"pictures_a_second": speed})


if __name__ == "__main__":
    sys.exit(main())
