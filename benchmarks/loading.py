"""The inputs of ImageNet's path: do they keep up with a training step of the full ZFNet?

Photographs of ImageNet's usual size (500 x 375, JPEG) on disk, squares of 256, ten crops of 224.
Two ways to feed a step: from the file of decoded squares (`zfnb.batches.cached`), and decoding each
picture in each epoch (``zfnb train --no-cache``), in this process or in workers. The peer of the
decoding is torchvision's own reading, resizing and cropping.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import skimage.data
import torch
from PIL import Image

from benchmarks.timing import compare, finish, interleaved, parser, rounds
from benchmarks.training import Step
from zfnb.batches import CachedSquares, Squares, decode, fetch, training_inputs
from zfnb.compat import torchvision
from zfnb.data.folders import folder_dataset
from zfnb.memory import keep_memory
from zfnb.recipes import recipe_named

PICTURES, BATCH, SIDE = 256, 32, 256
CACHED_BOUND = 0.1  # of a step's time
DECODE_BOUND = 1.15  # of torchvision's time


def photographs(folder: Path, count: int) -> Path:
    """So many different photographs of 500 x 375 pixels in one class folder."""
    base = Image.fromarray(skimage.data.chelsea())
    rng = np.random.default_rng(0)
    (folder / "all").mkdir(parents=True)
    for number in range(count):
        x, y, side = *rng.integers(0, 60, 2).tolist(), int(rng.integers(200, 240))
        picture = base.resize(
            (500, 375), Image.Resampling.BICUBIC, (x, y, x + side * 4 // 3, y + side)
        )
        picture.save(folder / "all" / f"{number:04}.jpg", quality=92)
    return folder


def per_second(squares: Squares, workers: int) -> float:
    """Decoded pictures a second over all of them, the start of the workers left out."""
    batches = np.arange(len(squares)).reshape(-1, BATCH)
    loader = iter(fetch(squares, batches, workers))
    next(loader)
    start = time.perf_counter()
    count = sum(len(batch) for batch in loader)
    return count / (time.perf_counter() - start)


def main() -> int:
    arguments = parser(__doc__, repeats=6).parse_args()
    torch.set_num_threads(arguments.threads)
    keep_memory()
    step = Step("zfnet", True, 224, BATCH, 1000)
    recipe, generator = recipe_named("paper"), torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        dataset = folder_dataset(photographs(Path(folder) / "pictures", PICTURES))
        squares, path = Squares(dataset, SIDE), Path(folder) / "squares.npy"
        decode(squares, path, 0, progress=False)
        stored = CachedSquares(path, SIDE)
        v1 = torchvision.transforms
        theirs = v1.Compose([v1.Resize(SIDE), v1.CenterCrop(SIDE), v1.PILToTensor()])
        some = np.arange(BATCH)

        def inputs() -> None:
            drawn = torch.randint(0, PICTURES, (BATCH,), generator=generator).numpy()
            batch = stored.__getitems__(drawn)
            training_inputs(batch, step.net.preprocessing, recipe.augmentation, generator)

        def peer() -> None:
            torch.stack([theirs(Image.open(dataset.path(i)).convert("RGB")) for i in some])

        turns = rounds(arguments)
        beside = interleaved({"inputs": inputs, "step": step}, **turns)
        decoded = interleaved({"ours": lambda: squares.__getitems__(some), "peer": peer}, **turns)
        speeds = {
            f"decoded_per_second_{workers}_workers": round(per_second(squares, workers), 1)
            for workers in (0, 1, 2)
        }
    rows = [
        compare(
            f"inputs from decoded squares beside a step of zfnet, {BATCH} at 224",
            beside,
            "inputs",
            "step",
            CACHED_BOUND,
            unit="time of the inputs / of the step",
        ),
        compare(f"decoding {BATCH} photographs to squares", decoded, "ours", "peer", DECODE_BOUND),
    ]
    facts = {
        "pictures_per_second_step": round(BATCH / median(beside["step"]), 1),
        "pictures_per_second_cached_inputs": round(BATCH / median(beside["inputs"]), 1),
        **speeds,
    }
    return finish("loading", rows, arguments, facts)


if __name__ == "__main__":
    sys.exit(main())
