"""Convolutions with fewer products equal the plain ones, forward and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from zfnb import winograd
from zfnb.models import build, describe_variant


@pytest.mark.parametrize(("m", "r"), [(1, 2), (2, 3), (3, 3), (6, 3), (4, 5), (5, 4)])
def test_transforms_follow_the_definition_of_a_correlation(m, r):
    """Outputs of one tile, summed tap by tap in double precision."""
    generator = np.random.default_rng(0)
    tile, taps = generator.normal(size=(m + r - 1,) * 2), generator.normal(size=(r, r))
    expected = [[(tile[i : i + r, j : j + r] * taps).sum() for j in range(m)] for i in range(m)]
    output, to_taps, to_tile = (t.double().numpy() for t in winograd.transforms(m, r))
    found = output @ ((to_taps @ taps.ravel()) * (to_tile @ tile.ravel()))
    np.testing.assert_allclose(found.reshape(m, m), expected, rtol=1e-5, atol=1e-4)


CASES = [
    # N, C, H, W, O, kernel, stride, padding
    (2, 16, 6, 6, 5, 3, 1, 1),
    (1, 3, 7, 9, 4, 3, 1, 0),
    (2, 5, 23, 23, 6, 5, 2, 0),  # layer 2 of ZFNet
    (2, 4, 11, 11, 3, 5, 1, 2),  # layer 2 of AlexNet
    (1, 3, 30, 28, 4, 7, 2, 1),  # layer 1 of ZFNet
    (1, 3, 31, 31, 4, 11, 4, 2),  # layer 1 of AlexNet
    (3, 2, 5, 4, 2, 2, 1, 0),
    (1, 2, 8, 8, 2, 5, 2, 2),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_equal_the_plain_convolution(case):
    n, c, h, w, o, kernel, stride, padding = case
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, c, h, w, generator=generator).requires_grad_()
    weight = torch.randn(o, c, kernel, kernel, generator=generator).requires_grad_()
    bias = torch.randn(o, generator=generator).requires_grad_()
    found = winograd.conv2d(x, weight, bias, stride, padding)
    plain = F.conv2d(x.double(), weight.double(), bias.double(), stride, padding)
    signal = torch.randn(plain.shape, generator=generator)
    grads = torch.autograd.grad(found, (x, weight, bias), signal)
    plains = torch.autograd.grad(plain, (x, weight, bias), signal.double())
    for a, b in zip((found, *grads), (plain, *plains), strict=True):
        assert a.shape == b.shape
        assert (a - b).norm() < 2e-5 * b.norm()


@pytest.mark.parametrize("network", ["zfnet", "alexnet"])
def test_a_network_gives_the_same_and_keeps_its_weights(network):
    torch.manual_seed(0)
    net = build(describe_variant(network, width=0.25, input_size=96), 7)
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        before, weights = net(x), {k: v.clone() for k, v in net.state_dict().items()}
        winograd.use_winograd(net)
        after = net(x)
    swapped = [m for m in net.modules() if isinstance(m, winograd.WinogradConv2d)]
    assert [m.kernel_size[0] for m in swapped] == [5, 3, 3, 3]  # layer 1 has three input maps
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4 * float(before.abs().max()))
    assert all(torch.equal(v, weights[k]) for k, v in net.state_dict().items())


def test_what_it_cannot_do_is_left_to_the_plain_convolution():
    odd = [
        nn.Conv2d(16, 16, 3, groups=2),
        nn.Conv2d(16, 16, 3, dilation=2),
        nn.Conv2d(16, 16, (3, 5)),
        nn.Conv2d(16, 16, 3, padding_mode="reflect"),
        nn.Conv2d(16, 16, 1),
        nn.Conv2d(16, 16, 7),
        nn.Conv2d(16, 16, 3, padding="same"),
    ]
    winograd.use_winograd(nn.ModuleList(odd))
    assert all(type(module) is nn.Conv2d for module in odd)


def test_other_precisions_are_left_to_the_plain_convolution():
    layer = nn.Conv2d(16, 8, 3, padding=1)
    winograd.use_winograd(layer)
    assert type(layer) is winograd.WinogradConv2d
    x = torch.randn(1, 16, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert layer.double()(x.double()).dtype == torch.float64


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fixed_filters_equal_the_plain_convolution(case):
    """Channels last, no padding, and inputs that reach further than the filters need."""
    n, c, h, w, o, kernel, stride, _ = case
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(o, c, kernel, kernel, generator=generator)
    bias = torch.randn(o, generator=generator)
    height, width = ((side - kernel) // stride + 1 for side in (h, w))
    filters = winograd.FixedFilters(weight, bias, stride, height, width)
    x = torch.randn(n, c, *filters.input_size, generator=generator)
    found = filters(x.permute(0, 2, 3, 1).contiguous())[:, :height, :width].permute(0, 3, 1, 2)
    used = x[:, :, : (height - 1) * stride + kernel, : (width - 1) * stride + kernel]
    plain = F.conv2d(used.double(), weight.double(), bias.double(), stride)
    assert found.shape == plain.shape
    assert (found - plain).norm() < 2e-5 * plain.norm()
