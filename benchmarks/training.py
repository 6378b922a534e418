"""A training step on a CPU: zfnb's convolutions beside PyTorch's, and the input beside the step.

Three questions. How much faster is a step with `zfnb.winograd`? Does making the inputs (reading
cached squares, cropping, flipping) keep up with the network? And what does a process gain that
keeps the memory it frees (`keep_memory`)? The last is measured in processes of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn import Conv2d

from benchmarks.timing import compare, finish, interleaved, parser, rounds
from zfnb.batches import CachedSquares, training_inputs
from zfnb.memory import keep_memory
from zfnb.models import build, describe_variant
from zfnb.recipes import recipe_named
from zfnb.winograd import WinogradConv2d, use_winograd

SIZE, BATCH, CLASSES = 96, 128, 200
BOUNDS = {"zfnet": 1.1, "alexnet": 1.3}  # times as fast
INPUT_BOUND = 0.1  # of a step's time
TOLERANCE = 1e-4

ALONE = """
import statistics, sys, time, torch
from benchmarks.training import Step
from zfnb.memory import keep_memory
torch.set_num_threads(int(sys.argv[1]))
if sys.argv[2] == "keep":
    keep_memory()
step = Step("zfnet", True)
times = []
for _ in range(int(sys.argv[3]) + 3):
    start = time.perf_counter()
    step()
    times.append(time.perf_counter() - start)
print(statistics.median(times[3:]))
"""


class Step:
    """A step of stochastic gradient descent on one fixed batch."""

    def __init__(
        self,
        network: str,
        winograd: bool,
        size: int = SIZE,
        batch: int = BATCH,
        classes: int = CLASSES,
    ):
        torch.manual_seed(0)
        description = describe_variant(network, input_size=size, batch_norm=True)
        self.net = build(description, classes).to(memory_format=torch.channels_last).train()
        if winograd:
            use_winograd(self.net)
        self.optimizer = torch.optim.SGD(self.net.parameters(), 1e-4, 0.9, fused=True)
        x = torch.randn(batch, 3, size, size)
        self.x = x.contiguous(memory_format=torch.channels_last)
        self.targets = torch.randint(0, classes, (batch,))

    def __call__(self) -> None:
        loss = F.cross_entropy(self.net(self.x), self.targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


def difference(network: str) -> float:
    """Largest difference of a layer's outputs and gradients from PyTorch's, of their size.

    Layer by layer: through a whole network the last bit decides a ReLU or a maximum here and there.
    """
    net, largest = Step(network, True).net, 0.0
    shape = (3, SIZE, SIZE)
    for name, step in net.steps():
        if isinstance(step, WinogradConv2d):
            x = torch.randn(8, *shape).requires_grad_()
            found, plain = step(x), Conv2d.forward(step, x)
            signal = torch.randn_like(plain)
            pairs = [(found, plain)]
            for way in (found, plain):
                pairs.append(torch.autograd.grad(way, (x, step.weight), signal))
            (one, other), ours, theirs = pairs
            for a, b in zip((one, *ours), (other, *theirs), strict=True):
                largest = max(largest, float((a - b).norm() / b.norm()))
        shape = net.shapes[name]
        if len(shape) < 3:
            break
    return largest


def alone(threads: int, keep: bool, repeats: int) -> float:
    """Median seconds of a step in a process of its own."""
    words = [str(threads), "keep" if keep else "plain", str(repeats)]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *words], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> int:
    arguments = parser(__doc__, repeats=10).parse_args()
    torch.set_num_threads(arguments.threads)
    few = max(3, arguments.repeats // 2)
    kept = [alone(arguments.threads, keep, few) for keep in (True, False, False, True)]
    keep_memory()
    rows, facts = [], {}
    for network, bound in BOUNDS.items():
        functions = {"ours": Step(network, True), "peer": Step(network, False)}
        times = interleaved(functions, **rounds(arguments))
        what = f"{network}, a step of {BATCH} at {SIZE}"
        unit = "their time / ours"
        rows.append(compare(what, times, "ours", "peer", bound, at_most=False, unit=unit))
        facts[f"difference_{network}"] = difference(network)
        facts[f"pictures_per_second_{network}"] = round(BATCH / median(times["ours"]), 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "squares.npy"
        pictures = np.random.default_rng(0).integers(0, 256, (4096, 3, 64, 64), np.uint8)
        np.save(path, pictures)
        squares = CachedSquares(path, 64)
        step, recipe, net = Step("zfnet", True), recipe_named("modern"), Step("zfnet", True).net
        generator = torch.Generator().manual_seed(0)

        def inputs() -> None:
            batch = squares.__getitems__(torch.randint(0, len(squares), (BATCH,)).numpy())
            training_inputs(batch, net.preprocessing, recipe.augmentation, generator)

        times = interleaved({"inputs": inputs, "step": step}, **rounds(arguments))
    unit = "time of the inputs / of the step"
    rows.append(
        compare("inputs beside a step of zfnet", times, "inputs", "step", INPUT_BOUND, unit=unit)
    )
    facts["keep_memory_speedup"] = round((kept[1] + kept[2]) / (kept[0] + kept[3]), 3)
    code = finish("training", rows, arguments, facts)
    if not all(facts[f"difference_{name}"] < TOLERANCE for name in BOUNDS):
        print("The layers differ from PyTorch's convolutions.", file=sys.stderr)
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
