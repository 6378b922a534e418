"""TopActivations.build beside a bare forward loop over the same pictures, read the same way.

All layers of AlexNet's trunk, the nine strongest of each of its 1152 maps. On tensors in memory, on
embedded scenes, and on Caltech-101 if ``ZFNB_DATA`` says where it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial

import torch
from torch import nn
from torch.utils.data import Dataset, Subset, TensorDataset

import zfnb
from benchmarks.timing import Row, compare, finish, interleaved, parser, rounds
from zfnb.activations import as_input, inputs
from zfnb.data import PictureDataset, iterate
from zfnb.errors import MissingData

BOUND = 0.85  # of the bare loop's pictures a second
BATCH = 32
DATASETS = ("memory", "scenes", "caltech101")  # memory: scenes as tensors, read beforehand


def bare_loop(net: nn.Module, dataset: Dataset) -> None:
    """Read and run every picture, and keep nothing."""
    with torch.inference_mode():
        for _, images, _ in iterate(dataset, BATCH, partial(as_input, net)):
            net(images, to="conv5")


class Some(Subset):
    """Pictures spread over a dataset of zfnb; like it, it knows groups and a fingerprint."""

    def __init__(self, whole: PictureDataset, count: int):
        super().__init__(whole, torch.linspace(0, len(whole) - 1, count).long().tolist())

    def group(self, item: int) -> int:
        return self.dataset.group(self.indices[item])

    def fingerprint(self) -> str:
        return f"{len(self)} of {self.dataset.fingerprint()}"


def datasets(net: nn.Module, names: list[str], count: int) -> Iterator[tuple[str, Dataset]]:
    """`count` pictures of each dataset, spread over it; one that is not there is left out."""
    for name in names:
        try:
            whole = zfnb.load_dataset("scenes" if name == "memory" else name)
        except MissingData as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        some = Some(whole, count)
        if name == "memory":
            tensors = inputs(net, some, range(count))
            some = TensorDataset(tensors, torch.zeros(count, dtype=torch.long))
        yield name, some


def measure(name: str, net: nn.Module, dataset: Dataset, **how) -> Row:
    """The comparison on a dataset; `how` goes to `interleaved`."""
    times = interleaved(
        {
            "ours": lambda: zfnb.TopActivations.build(net, dataset, batch_size=BATCH),
            "peer": lambda: bare_loop(net, dataset),
        },
        warmup=1,
        **how,
    )
    return compare(
        f"{name}, {len(dataset)} pictures",
        *(times, "ours", "peer", BOUND),
        at_most=False,
        unit="our pictures a second / theirs",
    )


def main() -> int:
    options = parser(__doc__, repeats=9)
    options.add_argument("--pictures", type=int, default=320, help="of each dataset (320)")
    options.add_argument("--on", nargs="+", choices=DATASETS, default=list(DATASETS))
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    net = zfnb.load_model("torchvision-alexnet", weights="imagenet-trunk")
    rows = [
        measure(name, net, dataset, **rounds(arguments))
        for name, dataset in datasets(net, arguments.on, arguments.pictures)
    ]
    speed = {row.what: round(arguments.pictures / row.ours, 1) for row in rows}
    return finish("top_activations", rows, arguments, {"pictures_a_second": speed})


if __name__ == "__main__":
    sys.exit(main())
