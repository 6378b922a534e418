"""What the tests share: small networks, the embedded trunk, a slow plain deconvnet."""

from __future__ import annotations

import os

import pytest
import torch

os.environ.setdefault("MPLBACKEND", "agg")  # no window, whatever the machine has

import zfnb
from zfnb.models import build, describe_variant

# Networks this small lose time by sharing work; on a busy machine they lose fifty times as much.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cache_of_the_tests(tmp_path_factory):
    """Where the tests keep what users keep in their cache."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def alike_everywhere(monkeypatch, cache_of_the_tests):
    """The same random numbers in any order of the tests; the user's data and cache stay away."""
    torch.manual_seed(0)
    monkeypatch.setenv("ZFNB_CACHE", str(cache_of_the_tests))
    monkeypatch.delenv("ZFNB_DATA", raising=False)


@pytest.fixture(scope="session")
def trunk():
    """torchvision's AlexNet layers of maps, trained on ImageNet (embedded)."""
    return zfnb.load_model("torchvision-alexnet", weights="imagenet-trunk")


@pytest.fixture(scope="session")
def small_zfnet():
    """ZFNet at 64 pixels with few maps and every kind of layer."""
    torch.manual_seed(1)
    return build(describe_variant("zfnet", input_size=64, width=1 / 16), num_classes=7)


@pytest.fixture
def noise():
    """A function (N, size) -> normal random images, the same at each call."""

    def images(n: int, size: int) -> torch.Tensor:
        return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(3))

    return images
