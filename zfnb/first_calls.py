"""Call each elementary function once before several threads do.

PyTorch's CPU builds hand square roots, exponentials and the like to oneMKL, which looks for the
best kernel at a function's first call. When two threads make that call together, one of them can be
given a kernel of low accuracy for its share (PyTorch issue 188792; oneMKL 2024.2). Then the first
pass through a network is wrong by 1e-4, in one process of four, and no later pass is.
"""

from __future__ import annotations

import torch

FUNCTIONS = [
    "acos",
    "asin",
    "atan",
    "cos",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "expm1",
    "log",
    "log10",
    "log1p",
    "log2",
    "sin",
    "sinh",
    "cosh",
    "sqrt",
    "tan",
    "tanh",
]


def settle() -> None:
    """Let oneMKL choose its kernels now: one number has one thread. Takes microseconds."""
    for dtype in (torch.float32, torch.float64):
        one = torch.full((1,), 0.5, dtype=dtype)
        for name in FUNCTIONS:
            getattr(torch, name)(one)
