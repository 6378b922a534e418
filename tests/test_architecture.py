"""Numbers of networks against sums worked by hand from Fig. 3 and the AlexNet paper."""

from __future__ import annotations

import pytest
import torch

import zfnb
from zfnb import architecture as arch
from zfnb.compat import torchvision
from zfnb.errors import BadInput, UnknownName
from zfnb.models import NETWORKS

ZFNET_PARAMETERS = {
    "conv1": 96 * (7 * 7 * 3) + 96,
    "conv2": 256 * (5 * 5 * 96) + 256,
    "conv3": 384 * (3 * 3 * 256) + 384,
    "conv4": 384 * (3 * 3 * 384) + 384,
    "conv5": 256 * (3 * 3 * 384) + 256,
    "fc6": 6 * 6 * 256 * 4096 + 4096,
    "fc7": 4096 * 4096 + 4096,
    "fc8": 4096 * 1000 + 1000,
}
ZFNET_WORK = {
    "conv1": 110 * 110 * 96 * 147,
    "conv2": 26 * 26 * 256 * 2400,
    "conv3": 13 * 13 * 384 * 2304,
    "conv4": 13 * 13 * 384 * 3456,
    "conv5": 13 * 13 * 256 * 3456,
    "fc6": 9216 * 4096,
    "fc7": 4096 * 4096,
    "fc8": 4096 * 1000,
}
# Size and jump, worked up layer by layer: size += (kernel - 1) * jump, jump *= stride.
ZFNET_FIELDS = {
    "conv1": (7, 2),
    "pool1": (11, 4),
    "norm1": (11, 4),
    "conv2": (27, 8),
    "pool2": (43, 16),
    "norm2": (43, 16),
    "conv3": (75, 16),
    "conv4": (107, 16),
    "conv5": (139, 16),
    "pool5": (171, 32),
    "fc6": (224, 0),
}
ALEXNET_FIELDS = {
    "conv1": (11, 4),
    "pool1": (19, 8),
    "conv2": (51, 8),
    "pool2": (67, 16),
    "conv3": (99, 16),
    "conv4": (131, 16),
    "conv5": (163, 16),
    "pool5": (195, 32),
}


def rows(name: str, **variant) -> dict[str, arch.LayerRow]:
    return {row.layer: row for row in arch.layer_table(arch.outline(name, **variant))}


def test_zfnet_by_hand():
    table = rows("zfnet")
    assert tuple(table) == arch.outline("zfnet").layer_names
    for layer, row in table.items():
        assert row.parameters == ZFNET_PARAMETERS.get(layer, 0), layer
        assert row.multiply_adds == ZFNET_WORK.get(layer, 0), layer
    for layer, (field, jump) in ZFNET_FIELDS.items():
        assert (table[layer].field, table[layer].jump) == (field, jump), layer
    assert [table[f"conv{n}"].maps for n in range(1, 6)] == [96, 256, 384, 384, 256]
    assert table["fc6"].maps == 4096
    assert table["fc6"].side == 1
    assert arch.map_sides(arch.outline("zfnet")) == [110, 55, 26, 13, 13, 13, 13, 6]


def test_alexnet_by_hand():
    table = rows("alexnet")
    for layer, (field, jump) in ALEXNET_FIELDS.items():
        assert (table[layer].field, table[layer].jump) == (field, jump), layer
    assert table["conv1"].parameters == 96 * 363 + 96
    assert table["conv1"].multiply_adds == 55 * 55 * 96 * 363
    assert table["conv2"].multiply_adds == 27 * 27 * 256 * 2400
    same = ("conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
    assert all(table[layer].parameters == ZFNET_PARAMETERS[layer] for layer in same)
    total = arch.totals(arch.outline("alexnet"))
    assert total["parameters"] == 62_378_344
    assert total["multiply_adds"] == 1_135_256_096


def test_totals():
    total = arch.totals(arch.outline("zfnet"))
    assert total["parameters"] == sum(ZFNET_PARAMETERS.values()) == 62_357_608
    assert total["multiply_adds"] == sum(ZFNET_WORK.values())
    maps = [layer for layer in ZFNET_WORK if layer.startswith("conv")]
    assert total["convolution parameters"] == sum(ZFNET_PARAMETERS[layer] for layer in maps)
    assert total["convolution multiply_adds"] == sum(ZFNET_WORK[layer] for layer in maps)
    shipped = torchvision.models.alexnet()
    known = sum(p.numel() for p in shipped.parameters())
    assert arch.totals(arch.outline("torchvision-alexnet"))["parameters"] == known


def test_the_edge_of_the_pools_decides_over_layer_6():
    found = {rule: arch.outline("zfnet", pools=rule) for rule in ("floor", "ceil", "pad")}
    assert arch.map_sides(found["floor"]) == [110, 54, 25, 12, 12, 12, 12, 5]
    assert arch.map_sides(found["pad"]) == [110, 55, 26, 13, 13, 13, 13, 7]
    size = {rule: arch.totals(net)["parameters"] for rule, net in found.items()}
    assert size["ceil"] - size["floor"] == (36 - 25) * 256 * 4096
    assert size["pad"] - size["ceil"] == (49 - 36) * 256 * 4096


def test_pool_windows():
    assert arch.pool_windows(8, "floor") == [(0, 2), (2, 4), (4, 6)]
    assert arch.pool_windows(8, "ceil") == [(0, 2), (2, 4), (4, 6), (6, 8)]
    assert arch.pool_windows(8, "pad") == [(-1, 1), (1, 3), (3, 5), (5, 7)]
    assert all(len(arch.pool_windows(13, rule)) == 6 for rule in ("floor", "ceil"))


def test_small_pictures():
    small = arch.outline("zfnet", input_size=112)
    assert arch.map_sides(small) == [54, 27, 12, 6, 6, 6, 6, 3]
    work = arch.totals(small)["multiply_adds"] / arch.totals(arch.outline("zfnet"))["multiply_adds"]
    assert 0.2 < work < 0.25


def test_counts_are_those_of_a_real_network():
    """The rows of an outline against the tensors of a network that runs."""
    torch.manual_seed(0)
    net = zfnb.load_model("zfnet", num_classes=7, width=1 / 16, input_size=112)
    for row in arch.layer_table(net):
        layer = getattr(net, row.layer)
        assert row.parameters == sum(p.numel() for p in layer.parameters())
        out = zfnb.features(net, torch.zeros(1, 3, 112, 112), row.layer)
        assert out.shape[1:] == net.shapes[row.layer]
        assert row.maps * row.side**2 == out.numel()
    found = arch.layer_table(arch.outline("zfnet", 7, width=1 / 16, input_size=112))
    assert found == arch.layer_table(net)


def test_works_on_ones_own_network():
    vgg = zfnb.load_model(torchvision.models.vgg16(init_weights=False))
    table = {row.layer: row for row in arch.layer_table(vgg)}
    assert table["fc14"].parameters == 7 * 7 * 512 * 4096 + 4096
    assert arch.totals(vgg)["parameters"] == 138_357_544
    # Published as 15.5 billion multiply-adds.
    assert arch.totals(vgg)["multiply_adds"] == 15_470_264_320


def test_operations_in_words():
    table = rows("zfnet")
    assert table["conv1"].operation == "96 filters 7 x 7, stride 2, padding 1, ReLU"
    assert table["conv2"].operation == "256 filters 5 x 5, stride 2, ReLU"
    assert table["pool1"].operation == "max pool 3 x 3, stride 2, ceil"
    assert table["norm1"].operation == "contrast normalisation over 5 maps"
    assert table["fc6"].operation == "9216 -> 4096 units, ReLU, dropout 0.5"
    assert rows("zfnet", pools="pad")["pool1"].operation == "max pool 3 x 3, stride 2, padding 1"


def test_in_short():
    line = arch.in_short(arch.outline("zfnet"))
    assert line["sides of the maps"] == "110, 55, 26, 13, 13, 13, 13, 6"
    assert line["conv5 sees"] == 139
    assert line["parameters"] == 62_357_608


def test_table_3():
    found = {row["network"]: row for row in arch.variants()}
    assert set(found) == set(NETWORKS) - {"torchvision-alexnet"}
    assert found["zfnet"]["parameters"] == 62_357_608
    assert found["zfnet"]["val_top1"] == 38.4
    # Without layers 3, 4, layer 5 has 256 instead of 384 maps below it.
    gone = ZFNET_PARAMETERS["conv3"] + ZFNET_PARAMETERS["conv4"] + 256 * 9 * (384 - 256)
    assert found["alexnet"]["parameters"] - found["alexnet-no34"]["parameters"] == gone
    straight = 9216 * 1000 + 1000  # pool5 to the classifier
    fc = sum(ZFNET_PARAMETERS[layer] for layer in ("fc6", "fc7", "fc8"))
    left = found["alexnet"]["parameters"] - fc + straight
    assert found["alexnet-no67"]["parameters"] == left
    assert found["zfnetb-fc8192"]["train_top1"] == 10.0
    assert sum(row["val_top5"] for row in found.values()) == pytest.approx(252.0)


def test_refuses():
    with pytest.raises(UnknownName, match="zfnet"):
        arch.outline("zfnett")
    with pytest.raises(BadInput, match="input_size"):
        arch.outline("zfnet", input_size=16)
