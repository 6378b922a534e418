"""oneMKL's kernels are chosen by one thread, when the networks are imported."""

import json
import subprocess
import sys

import torch

from zfnb.first_calls import FUNCTIONS, settle

LOOK = """
import json, torch
from zfnb.first_calls import FUNCTIONS

called = []
for name in FUNCTIONS:
    real = getattr(torch, name)
    def recorded(x, name=name, real=real):
        called.append([name, str(x.dtype), x.numel()])
        return real(x)
    setattr(torch, name, recorded)
import zfnb.models
print(json.dumps(called))
"""


def test_importing_the_networks_calls_each_function_once_with_one_number():
    done = subprocess.run(
        [sys.executable, "-c", LOOK], capture_output=True, text=True, check=True, timeout=120
    )
    called = json.loads(done.stdout)
    for dtype in (torch.float32, torch.float64):
        assert [name for name, kind, count in called if kind == str(dtype) and count == 1] == (
            FUNCTIONS
        )


def test_it_leaves_the_random_numbers_alone():
    before = torch.get_rng_state()
    settle()
    assert torch.equal(before, torch.get_rng_state())
