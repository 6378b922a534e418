"""Receptive fields: the arithmetic against what the network really sees."""

from __future__ import annotations

import pytest
import torch

from zfnb.errors import BadInput, UnknownName
from zfnb.models import build, describe_variant
from zfnb.receptive import receptive_boxes, receptive_field


def seen(net, layer, row, column):
    """Box of the pixels with a non-zero gradient: filters of ones, pools that average."""
    x = torch.ones(1, 3, net.input_size, net.input_size, requires_grad=True)
    y = x
    for name, step in net.steps(to=layer):
        if isinstance(step, torch.nn.Conv2d):
            kernel = torch.ones_like(step.weight) / step.weight[0].numel()
            y = torch.nn.functional.conv2d(y, kernel, None, step.stride, step.padding)
        elif isinstance(step, torch.nn.MaxPool2d):
            y = torch.nn.functional.avg_pool2d(
                y, step.kernel_size, step.stride, step.padding, step.ceil_mode
            )
        assert y.shape[1:] == net.shapes[name]
    y[0, 0, row, column].backward()
    touched = x.grad[0].abs().sum(0) > 0
    rows, columns = touched.any(1).nonzero()[:, 0], touched.any(0).nonzero()[:, 0]
    return [rows[0].item(), columns[0].item(), rows[-1].item() + 1, columns[-1].item() + 1]


@pytest.mark.parametrize(
    ("name", "pools"), [("zfnet", "ceil"), ("zfnet", "pad"), ("alexnet", "floor")]
)
def test_boxes_are_what_units_see(name, pools):
    net = build(describe_variant(name, input_size=112, width=1 / 32, pools=pools))
    for layer in ("conv1", "pool1", "conv2", "pool2", "conv3", "conv5", "pool5"):
        h = net.shapes[layer][1]
        places = [(0, 0), (0, h - 1), (h - 1, 0), (h // 2, h // 2), (h // 2, h - 1), (1 % h, 0)]
        boxes = receptive_boxes(net, layer, torch.tensor(places))
        assert boxes.tolist() == [seen(net, layer, *place) for place in places]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [  # worked by hand from Fig. 3: 7x7/2, pool 3/2, 5x5/2, pool 3/2, then 3x3
        ("conv1", (7, 2, -1)),
        ("pool1", (11, 4, -1)),
        ("norm1", (11, 4, -1)),
        ("conv2", (27, 8, -1)),
        ("pool2", (43, 16, -1)),
        ("conv3", (75, 16, -17)),
        ("conv5", (139, 16, -49)),
        ("pool5", (171, 32, -49)),
        ("fc7", (224, 0, 0)),
    ],
)
def test_zfnet_by_hand(layer, expected):
    net = build(describe_variant("zfnet", width=1 / 32))
    assert receptive_field(net, layer) == expected


def test_refuses(small_zfnet):
    with pytest.raises(UnknownName, match="conv5"):
        receptive_field(small_zfnet, "conv9")
    with pytest.raises(BadInput, match=r"Position \(99, 0\) is outside the 30 x 30 maps of conv1"):
        receptive_boxes(small_zfnet, "conv1", torch.tensor([[0, 0], [99, 0]]))
    assert receptive_boxes(small_zfnet, "fc6", torch.tensor([[0, 0]])).tolist() == [[0, 0, 64, 64]]
