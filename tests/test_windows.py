"""Changed windows against whole maps: every layer, every place, outside of the window as well."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zfnb.adopt import as_network
from zfnb.models import build, describe_variant, evaluating
from zfnb.receptive import output_size
from zfnb.windows import WindowedNetwork, Windows, gather, put, reach

SIZE = 64


def small(name: str, **variant) -> nn.Module:
    torch.manual_seed(1)
    return build(describe_variant(name, input_size=SIZE, width=1 / 16, **variant), 7)


def odd() -> nn.Module:
    """Groups, dilation, unequal kernels and strides, a pool that leaves a border, BatchNorm."""
    torch.manual_seed(2)
    chain = nn.Sequential(
        nn.Conv2d(3, 8, (5, 3), (2, 1), (2, 0)),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2, 3, ceil_mode=True),
        nn.Conv2d(8, 12, 3, padding=2, dilation=2, groups=4),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding=1),
        nn.Flatten(),
        nn.Linear(12 * 6 * 11, 5),
    )
    return as_network(chain, SIZE)


NETWORKS = {
    "zfnet": lambda: small("zfnet"),
    "norm before the pool": lambda: small("zfnet", norm="before"),
    "padded pools": lambda: small("zfnet", pools="pad"),
    "alexnet": lambda: small("alexnet"),
    "batch norm": lambda: small("zfnet", batch_norm=True),
    "odd": odd,
}


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_each_layer_equals_that_of_the_changed_picture(name, many, noise):
    net = NETWORKS[name]()
    image = noise(1, SIZE)
    places = torch.tensor([[0, 0], [0, SIZE - 9], [SIZE - 9, 3], [20, 31], [37, SIZE - 9]])
    pieces = torch.randn(len(places), 9, 9, 3, generator=torch.Generator().manual_seed(4))
    changed = image.repeat(len(places), 1, 1, 1)
    for picture, piece, (row, column) in zip(changed, pieces, places.tolist(), strict=True):
        picture[:, row : row + 9, column : column + 9] = piece.permute(2, 0, 1)
    with evaluating(net):
        seen = WindowedNetwork(net, image)
        names = []
        for layer, windows in seen.up(Windows(pieces, places), many):
            names.append(layer)
            expected = net(changed, to=layer)
            scale = expected.abs().max()
            assert (seen.paste(layer, windows) - expected).abs().max() < 2e-5 * scale, layer
            own = seen.cut(layer, windows)
            rows, columns = windows.start[2].tolist()
            h, w = windows.values.shape[1:3]
            whole = net(image, to=layer)[0, :, rows : rows + h, columns : columns + w]
            assert torch.equal(own[2], whole.permute(1, 2, 0))
        for unit_layer, values in seen.above(seen.paste(layer, windows)):
            names.append(unit_layer)
            expected = net(changed, to=unit_layer)
            assert (values - expected).abs().max() < 2e-5 * expected.abs().max()
    assert names == list(net.layer_names)


def test_windows_are_small_where_they_can_be():
    """The saving itself: a square of 32 pixels changes a tenth of ZFNet's second layer."""
    with torch.device("meta"):
        net = build(describe_variant("zfnet"))
    start, length, size = torch.arange(0, 193, 8), 32, 224
    found = {}
    for layer, step in net.steps(to="conv5"):
        if hasattr(step, "stride"):
            window = reach(step, start, length, size, axis=0)
            start, length, size = window.start, window.length, output_size(step, size)
            found[layer] = (length, size)
    assert found == {
        "conv1": (19, 110),  # (32 + 7 - 1) / 2
        "pool1": (11, 55),
        "conv2": (8, 26),
        "pool2": (5, 13),
        "conv3": (7, 13),  # two more than below
        "conv4": (9, 13),
        "conv5": (11, 13),
    }


@pytest.mark.parametrize(
    ("step", "size"),
    [
        (nn.Conv2d(1, 1, 7, 2, 1), 31),
        (nn.Conv2d(1, 1, 3, 1, 1), 9),
        (nn.Conv2d(1, 1, 3, 4, 0), 21),
        (nn.MaxPool2d(3, 2, ceil_mode=True), 16),
        (nn.MaxPool2d(2, 3, padding=1), 17),
    ],
)
def test_reach_finds_every_output_that_reads_a_changed_input(step, size):
    """By the definition: which outputs read which inputs, one by one."""
    kernel, stride, padding = step.kernel_size, step.stride, step.padding
    kernel, stride, padding = (
        v[0] if isinstance(v, tuple) else v for v in (kernel, stride, padding)
    )
    positions = output_size(step, size)
    for length in (1, 2, 5):
        start = torch.arange(size - length + 1)
        window = reach(step, start, length, size, axis=0)
        assert window.patch == (window.length - 1) * stride + kernel
        for s, first, patch in zip(start, window.start, window.patch_start, strict=True):
            assert 0 <= first <= positions - window.length
            assert patch == first * stride - padding
            for output in range(positions):
                reads = range(output * stride - padding, output * stride - padding + kernel)
                if any(s <= at < s + length for at in reads):
                    assert first <= output < first + window.length


def test_a_window_that_no_output_reads_reaches_one_output():
    """Inputs 1 and 2 of a filter of one tap that skips two: nothing reads them."""
    window = reach(nn.Conv2d(1, 1, 1, 3), torch.tensor([1, 19, 20]), 1, 21, axis=0)
    assert (window.length, window.patch) == (1, 1)
    assert window.start.tolist() == [1, 6, 6] and window.patch_start.tolist() == [3, 18, 18]


def test_gather_and_put_by_hand():
    maps = torch.arange(12.0).reshape(3, 4, 1)
    patches = gather(maps, torch.tensor([0, 1]), 2, torch.tensor([1, 3]), 2)
    assert patches[..., 0].tolist() == [[[1, 2], [5, 6]], [[7, 7], [11, 11]]]
    put(patches, torch.full((2, 2, 2, 1), -1.0), torch.tensor([[1, 0], [-1, 1]]))
    assert patches[..., 0].tolist() == [[[1, 2], [-1, -1]], [[7, -1], [11, 11]]]
