"""The two promises about speed that matter most, with room for a busy machine.

The exact bounds are those of benchmarks/, which wait for a quiet moment. Here one thread is used,
the programs take turns, and the least time of each counts. Where the pass up counts, and for the
index, the bounds are wider.
"""

from __future__ import annotations

import time
from functools import partial

import pytest
import torch

import benchmarks.deconvnet as side_by_side
import zfnb
from benchmarks.top_activations import bare_loop
from zfnb.activations import inputs

ROUNDS = 5


def fastest(*functions) -> list[float]:
    """Least seconds of each; they take turns."""
    rounds = []
    for _ in range(ROUNDS):
        seconds = []
        for function in functions:
            start = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - start)
        rounds.append(seconds)
    return [min(times) for times in zip(*rounds, strict=True)]


@pytest.mark.parametrize(
    ("layer", "down", "up_and_down"), [("conv5", 0.35, 0.85), ("conv2", 0.15, 0.7)]
)
@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_projections_beside_captum(trunk, layer, down, up_and_down):
    features, images = side_by_side.same_network(trunk), side_by_side.pictures(trunk)
    one = side_by_side.contest(trunk, features, images, layer)
    assert one.difference < 1e-5
    theirs, ours, ours_up = fastest(one.captum, one.down, one.up_and_down)
    assert ours <= down * theirs, f"{ours / theirs:.2f} of captum's time"
    assert ours_up <= up_and_down * theirs, f"{ours_up / theirs:.2f} of captum's time"


def test_the_index_costs_little_more_than_the_network(trunk):
    """Its bound in benchmarks/ is 0.85 of a bare loop's pictures a second."""
    scenes = zfnb.load_dataset("scenes", "test", per_stamp=2)
    tensors = inputs(trunk, scenes, range(64))
    dataset = torch.utils.data.TensorDataset(tensors, torch.zeros(len(tensors)))
    build = partial(zfnb.TopActivations.build, trunk, dataset)
    ours, bare = fastest(build, partial(bare_loop, trunk, dataset))
    assert bare / ours >= 0.7, f"{bare / ours:.2f} of a bare loop's pictures a second"
