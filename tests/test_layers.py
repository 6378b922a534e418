"""Switches, unpooling and contrast normalisation against plain definitions."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from tests.plain import plain_unpool
from zfnb.errors import BadInput, UnknownName
from zfnb.layers import COLLISIONS, ContrastNorm, SwitchMaxPool2d, unpool

GEOMETRIES = [  # kernel, stride, padding, ceil_mode, height, width
    (2, 2, 0, False, 8, 8),
    (3, 2, 0, False, 13, 13),
    (3, 2, 0, True, 26, 26),
    (3, 2, 1, False, 26, 24),
    (3, 1, 1, False, 6, 7),
    (5, 3, 2, True, 17, 11),
    (3, 4, 0, False, 15, 15),
]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("collisions", COLLISIONS)
def test_unpool_is_its_definition(geometry, collisions):
    kernel, stride, padding, ceil_mode, height, width = geometry
    pool = SwitchMaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)
    x = torch.randn(2, 3, height, width)
    pooled, switches = pool.with_switches(x)
    assert torch.equal(pooled, pool(x))
    assert torch.equal(pooled, x.flatten(2).gather(2, switches.flatten(2)).view_as(pooled))
    values = torch.randn_like(pooled)  # negative ones too
    found = unpool(values, switches, (height, width), collisions)
    for n in range(2):
        expected = plain_unpool(values[n], switches[n], (height, width), collisions)
        torch.testing.assert_close(found[n], expected)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_sum_is_the_adjoint_of_the_selection(geometry):
    """<P x, y> = <x, U y>, where P picks the switches' values and U unpools."""
    kernel, stride, padding, ceil_mode, height, width = geometry
    pool = SwitchMaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    pooled, switches = pool.with_switches(x)
    y = torch.randn_like(pooled)
    up = (pooled * y).sum()
    down = (x * unpool(y, switches, (height, width))).sum()
    torch.testing.assert_close(up, down)


def test_unpool_by_hand():
    """Two overlapping 3 x 3 windows of a 3 x 5 map share the 9 in the middle column."""
    x = torch.tensor([[[[1.0, 2, 3, 2, 1], [0, 0, 9, 0, 0], [1, 1, 1, 1, 1]]]])
    pooled, switches = SwitchMaxPool2d(3, 2).with_switches(x)
    assert pooled.tolist() == [[[[9.0, 9.0]]]]
    assert switches.tolist() == [[[[7, 7]]]]  # row 1 * 5 + column 2
    values = torch.tensor([[[[4.0, 3.0]]]])
    for collisions, expected in (("sum", 7.0), ("max", 4.0), ("last", 3.0)):
        out = unpool(values, switches, (3, 5), collisions)
        assert out[0, 0, 1, 2] == expected
        assert out.sum() == expected


def test_a_window_of_zeros_has_a_switch():
    pooled, switches = SwitchMaxPool2d(2, 2).with_switches(torch.zeros(1, 1, 4, 4))
    assert switches.tolist() == [[[[0, 2], [8, 10]]]]  # its first place in raster order
    assert unpool(pooled + 1, switches, (4, 4)).sum() == 4


def test_the_size_must_be_given():
    """110 -> 55: unpooled to the size that 55 would suggest, most values land elsewhere."""
    x = torch.rand(1, 1, 110, 110)
    pooled, switches = SwitchMaxPool2d(3, 2, ceil_mode=True).with_switches(x)
    right = unpool(pooled, switches, (110, 110), "max")
    rows, columns = right[0, 0].nonzero(as_tuple=True)
    assert torch.equal(right[0, 0, rows, columns], x[0, 0, rows, columns])
    wrong = unpool(pooled, switches, (111, 111), "max")[..., :110, :110]
    assert (wrong != right).any((0, 1))[rows, columns].float().mean() > 0.25


def test_unpool_is_the_same_every_time_and_over_threads():
    x = torch.randn(4, 64, 55, 55).relu()
    pooled, switches = SwitchMaxPool2d(3, 2).with_switches(x)
    threads = torch.get_num_threads()
    try:
        for collisions in COLLISIONS:
            torch.set_num_threads(1)
            one = unpool(pooled, switches, (55, 55), collisions)
            torch.set_num_threads(2)
            for _ in range(3):
                assert torch.equal(unpool(pooled, switches, (55, 55), collisions), one)
    finally:
        torch.set_num_threads(threads)


def test_unpool_refuses():
    values, switches = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.long)
    with pytest.raises(UnknownName, match="sum, max, last"):
        unpool(values, switches, (4, 4), "add")
    with pytest.raises(BadInput, match="must both be"):
        unpool(values, switches[..., :1], (4, 4))
    with pytest.raises(BadInput, match="outside the 4 x 4 output"):
        unpool(values, switches + 16, (4, 4))


@pytest.mark.parametrize("maps", [1, 3, 4, 5, 96])
@pytest.mark.parametrize("size", [1, 4, 5])
@pytest.mark.parametrize("beta", [0.75, 0.5])
def test_contrast_norm_is_local_response_norm(maps, size, beta):
    x = torch.randn(2, maps, 7, 6).relu()
    for alpha, k in ((1e-4, 2.0), (1.0, 1.0)):
        norm = ContrastNorm(maps, size, alpha, beta, k)
        theirs = nn.LocalResponseNorm(size, alpha, beta, k)(x)
        torch.testing.assert_close(norm(x), theirs, rtol=1e-6, atol=1e-6)
        with torch.inference_mode():  # computed in another way, and in the first one again
            for same in (x, x.contiguous(memory_format=torch.channels_last), x.double()):
                found = norm(same).float()
                torch.testing.assert_close(found, theirs, rtol=1e-6, atol=1e-6)
            torch.testing.assert_close(norm(x[0]), theirs[0], rtol=1e-6, atol=1e-6)


def test_contrast_norm_pulls_back_gradients():
    norm = ContrastNorm(6, alpha=0.5).double()
    x = torch.randn(2, 6, 3, 3, dtype=torch.float64, requires_grad=True)
    signal = torch.randn(2, 6, 3, 3, dtype=torch.float64)
    (expected,) = torch.autograd.grad((norm(x) * signal).sum(), x)
    torch.testing.assert_close(norm.pull_back(x.detach(), signal), expected)
    assert torch.autograd.gradcheck(norm, (x,))


def test_contrast_norm_is_three_times_faster():
    x = torch.rand(9, 96, 55, 55)
    ours, theirs = ContrastNorm(96), nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0)

    def seconds(module) -> float:
        start = time.perf_counter()
        module(x)
        return time.perf_counter() - start

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a busy second core then spoils neither
    try:
        with torch.inference_mode():
            pairs = [(seconds(ours), seconds(theirs)) for _ in range(20)]
    finally:
        torch.set_num_threads(threads)
    fastest = [min(times) for times in zip(*pairs, strict=True)]
    assert fastest[1] / fastest[0] >= 3, f"{fastest[1] / fastest[0]:.1f} times"
