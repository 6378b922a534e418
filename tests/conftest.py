"""What the tests share: small networks, the embedded trunk, a slow plain deconvnet."""

from __future__ import annotations

import pytest
import torch

import zfnb
from zfnb.models import build, describe_variant

torch.set_num_threads(2)


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


@pytest.fixture(scope="module")
def one_thread():
    """Networks this small lose time by sharing work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
