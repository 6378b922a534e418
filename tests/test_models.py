"""The paper's networks: shapes, parameters, variants, features, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import zfnb
from zfnb.errors import BadInput, UnknownName
from zfnb.models import NETWORKS, build, count_parameters, describe, describe_variant, initialise

# Fig. 3: side of each layer's maps at 224 pixels.
ZFNET_SIDES = {"conv1": 110, "pool1": 55, "conv2": 26, "pool2": 13} | dict.fromkeys(
    ("conv3", "conv4", "conv5"), 13
)
ZFNET_PARAMETERS = {  # weights and biases, by hand
    "conv1": 96 * 3 * 7 * 7 + 96,
    "conv2": 256 * 96 * 5 * 5 + 256,
    "conv3": 384 * 256 * 3 * 3 + 384,
    "conv4": 384 * 384 * 3 * 3 + 384,
    "conv5": 256 * 384 * 3 * 3 + 256,
    "fc6": 256 * 6 * 6 * 4096 + 4096,
    "fc7": 4096 * 4096 + 4096,
    "fc8": 4096 * 1000 + 1000,
}


def test_zfnet_is_figure_3(noise):
    net = zfnb.load_model("zfnet")
    assert net.layer_names == (
        *("conv1", "pool1", "norm1", "conv2", "pool2", "norm2"),
        *("conv3", "conv4", "conv5", "pool5", "fc6", "fc7", "fc8"),
    )
    assert sum(p.numel() for p in net.parameters()) == 62_357_608
    for layer, count in ZFNET_PARAMETERS.items():
        assert sum(p.numel() for p in getattr(net, layer).parameters()) == count
    assert {name: net.shapes[name][1] for name in ZFNET_SIDES} == ZFNET_SIDES
    assert net.shapes["pool5"] == (256, 6, 6)
    x = noise(1, 224)
    with torch.inference_mode():
        for name in net.layer_names:
            x = getattr(net, name)(x)
            assert x.shape[1:] == net.shapes[name], name


def test_all_of_table_3():
    rows = {network["name"]: network["parameters"] for network in describe()}
    assert len(rows) == len(NETWORKS)
    # The published sizes of these three; the others differ from them as Table 3 says.
    assert rows["zfnet"] == 62_357_608
    assert rows["zfnetb"] == 107_627_624
    assert rows["torchvision-alexnet"] == 61_100_840
    trunk = sum(ZFNET_PARAMETERS[f"conv{n}"] for n in range(1, 6))
    assert rows["zfnet-fc2048"] == trunk + 9217 * 2048 + 2049 * 2048 + 2049 * 1000
    assert rows["zfnet-fc8192"] == trunk + 9217 * 8192 + 8193 * 8192 + 8193 * 1000
    alexnet = rows["alexnet"]
    # Layers 3 and 4 go; layer 5 then reads 256 maps in the place of 384.
    gone = 256 * 384 * 9 + 384 + 384 * 384 * 9 + 384 + 128 * 256 * 9
    assert rows["alexnet-no34"] == alexnet - gone
    assert rows["alexnet-no7"] == alexnet - 4097 * 4096
    assert rows["alexnet-no67"] == alexnet - 4097 * 4096 - 9217 * 4096 - 4097_000 + 9217_000
    assert rows["alexnet-no3467"] == rows["alexnet-no67"] - gone
    assert "fc7" not in build(describe_variant("alexnet-no7", width=0.05)).layer_names
    assert build(describe_variant("alexnet-no34", width=0.05)).layer_names[:7] == (
        *("conv1", "pool1", "norm1", "conv2", "pool2", "norm2", "conv5"),
    )
    assert {"zfnetb-fc8192", "alexnet-fc2048", "alexnet-fc8192"} <= set(rows)


@pytest.mark.parametrize("pools", ["ceil", "pad"])
def test_both_treatments_of_the_pool_give_figure_3(pools):
    net = build(describe_variant("zfnet", pools=pools, width=1 / 32))
    assert {name: net.shapes[name][1] for name in ZFNET_SIDES} == ZFNET_SIDES


@pytest.mark.parametrize(("size", "side"), [(112, 3), (128, 3), (224, 6)])
def test_small_inputs(size, side, noise):
    net = build(describe_variant("zfnet", input_size=size, width=1 / 16), num_classes=5)
    assert net.shapes["pool5"][1:] == (side, side)
    assert net(noise(2, size)).shape == (2, 5)
    assert net.preprocessing.crop == size


def test_place_of_normalisation():
    order = {
        norm: build(describe_variant("zfnet", norm=norm, width=1 / 32)).layer_names[:4]
        for norm in ("after", "before", "none")
    }
    assert order["after"] == ("conv1", "pool1", "norm1", "conv2")
    assert order["before"] == ("conv1", "norm1", "pool1", "conv2")
    assert order["none"] == ("conv1", "pool1", "conv2", "pool2")


def test_start_of_section_3_1():
    net = build(describe_variant("zfnet", input_size=64, width=0.25))
    initialise(net, scale=1e-2)
    for name in ("conv2", "fc6"):
        weight, bias = getattr(net, name).parameters()
        assert weight.std().item() == pytest.approx(1e-2, rel=0.02)
        assert not bias.any()


def test_features_stop_at_the_layer(small_zfnet, noise):
    images = noise(2, 64)
    for layer in small_zfnet.layer_names:
        found = zfnb.features(small_zfnet, images, layer)
        assert found.shape == (2, *small_zfnet.shapes[layer])
        if layer.startswith(("conv", "fc")) and layer != "fc8":
            assert found.min() >= 0  # after the ReLU
    assert zfnb.features(small_zfnet, images[0], "conv2").shape[0] == 1
    torch.testing.assert_close(zfnb.features(small_zfnet, images, "fc8"), small_zfnet(images))


def test_features_use_no_dropout_and_keep_the_mode(small_zfnet, noise):
    small_zfnet.train()
    try:
        first, second = (zfnb.features(small_zfnet, noise(2, 64), "fc7") for _ in range(2))
        assert torch.equal(first, second)
        assert small_zfnet.training
    finally:
        small_zfnet.eval()


def test_each_modules_own_mode_is_put_back(noise):
    net = build(describe_variant("zfnet", input_size=64, width=1 / 32), 5).train()
    net.fc6.eval()  # as one does to keep a part still
    zfnb.features(net, noise(1, 64), "conv1")
    assert net.training and net.fc7.dropout.training and not net.fc6.dropout.training


def test_numbers_of_numpy_are_numbers_and_the_last_layer_tells_the_classes(trunk):
    net = build(
        describe_variant("zfnet", input_size=np.int64(64), width=np.float32(1 / 32)), np.int32(5)
    )
    assert net.input_size == 64 and type(net.input_size) is int
    assert net.num_classes == 5 and trunk.num_classes is None


def test_says_when_random(small_zfnet, trunk):
    assert "RANDOM" in str(small_zfnet)
    assert "RANDOM" not in str(trunk)
    assert trunk.weights == "imagenet-trunk"


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (torch.zeros(2, 3, 60, 64), r"must be \(N, 3, 64, 64\)"),
        (torch.zeros(2, 1, 64, 64), r"must be \(N, 3, 64, 64\)"),
        (torch.zeros(64, 64), r"must be \(N, 3, 64, 64\)"),
        (torch.zeros(0, 3, 64, 64), "empty"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "torch.uint8 but the network"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.float64), "torch.float64 but the network"),
        (torch.full((1, 3, 64, 64), torch.nan), "NaN"),
        (torch.zeros(1, 3, 64, 64, device="meta"), "on meta but the network"),
        ("cat.jpg", "must be a tensor"),
    ],
)
def test_bad_images(small_zfnet, images, sentence):
    with pytest.raises(BadInput, match=sentence):
        zfnb.features(small_zfnet, images, "conv1")
    with pytest.raises(BadInput, match=sentence):
        zfnb.Deconvnet(small_zfnet).project(images, "conv1", 0)


def test_bad_names(small_zfnet, noise):
    with pytest.raises(UnknownName, match=r"'conv6'.*Did you mean.*conv1, pool1, norm1"):
        zfnb.features(small_zfnet, noise(1, 64), "conv6")
    with pytest.raises(UnknownName, match="zfnet, "):
        zfnb.load_model("zfnett")
    with pytest.raises(UnknownName, match="input_size"):
        zfnb.load_model("zfnet", inputsize=112)
    with pytest.raises(UnknownName, match="after, before, none"):
        zfnb.load_model("zfnet", norm="both")
    with pytest.raises(UnknownName, match="ceil, pad, floor"):
        zfnb.load_model("zfnet", pools="round")
    for bad in (0, 11.5, True, "64"):
        with pytest.raises(BadInput, match="input_size must be"):
            zfnb.load_model("zfnet", input_size=bad)
    for bad in (0, "0.5", True, float("inf"), float("nan")):
        with pytest.raises(BadInput, match="width must be"):
            zfnb.load_model("zfnet", width=bad)
    with pytest.raises(BadInput, match="larger input_size"):
        zfnb.load_model("zfnet", input_size=16)
    for bad in (0, "10", 2.0, True):
        with pytest.raises(BadInput, match="num_classes must be"):
            zfnb.load_model("alexnet-no3467", num_classes=bad)
        with pytest.raises(BadInput, match="num_classes must be"):
            zfnb.load_model("torchvision-alexnet", "imagenet-trunk", num_classes=bad)


def test_parameters_are_counted_without_making_them():
    assert count_parameters(describe_variant("zfnet", width=0.5), 10) == sum(
        p.numel() for p in build(describe_variant("zfnet", width=0.5), 10).parameters()
    )
