"""Occlusion against a loop that is as plain as its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import zfnb
from zfnb.data.pictures import Preprocessing
from zfnb.errors import BadInput, UnknownName
from zfnb.occlusion import (
    FILLS,
    blurred,
    fill_picture,
    occluded,
    occlusion_maps,
    over_pixels,
    starts,
)

SIZE = 64


def one_by_one(net, image, square, stride, cover, layer, feature_map):
    """Each place on its own: cut, look, write down."""
    rows = [*range(0, SIZE - square, stride), SIZE - square]
    probabilities, activations = [], []
    with torch.no_grad():
        for row in rows:
            for column in rows:
                x = image.clone()
                part = (slice(None), slice(row, row + square), slice(column, column + square))
                x[part] = cover[part]
                probabilities.append(net(x[None]).softmax(1)[0])
                activations.append(net(x[None], to=layer)[0, feature_map].sum())
    shape = len(rows), len(rows)
    return torch.stack(probabilities).reshape(*shape, -1), torch.stack(activations).reshape(shape)


@pytest.mark.parametrize("method", ["windows", "plain"])
@pytest.mark.parametrize(
    ("square", "stride", "layer"),
    [(16, 5, "conv5"), (9, 13, "conv1"), (20, 11, "pool2"), (64, 8, "conv3"), (13, 10, "fc6")],
)
def test_equals_the_definition(small_zfnet, noise, square, stride, layer, method):
    image = noise(1, SIZE)[0]
    maps = zfnb.features(small_zfnet, image[None], layer)[0]  # (C, H, W) or (units,)
    lively = int(maps.reshape(len(maps), -1).sum(1).argmax())  # of a dead map nothing can be hidden
    found = occlusion_maps(
        small_zfnet, image, 2, square, stride, "grey", layer, feature_map=lively, method=method
    )
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET.mean, IMAGENET.std))
    cover = ((0.5 - mean) / std).expand(3, SIZE, SIZE)
    expected, activation = one_by_one(small_zfnet, image, square, stride, cover, layer, lively)
    assert activation.abs().max() > 0
    assert (found.probabilities - expected).abs().max() < 1e-5
    assert torch.equal(found.probability, found.probabilities[:, :, 2])
    assert torch.equal(found.label, found.probabilities.argmax(2))
    assert (found.activation - activation).abs().max() <= 1e-4 * activation.abs().max()
    whole = small_zfnet(image[None])
    assert torch.allclose(found.whole_probability, whole.softmax(1)[0], atol=1e-6)
    own = small_zfnet(image[None], to=layer)[0, lively].sum().item()
    assert found.whole_activation == pytest.approx(own, rel=1e-5)


IMAGENET = Preprocessing(73, 64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize("fill", [*FILLS, torch.linspace(-1, 1, 3 * SIZE * SIZE).view(3, SIZE, -1)])
@pytest.mark.parametrize("overhang", [False, True])
def test_the_two_methods_agree(small_zfnet, noise, fill, overhang):
    """Over a hundred places, so that the transformed filters have their turn."""
    both = [
        occlusion_maps(
            small_zfnet, noise(1, SIZE), None, 12, 5, fill, overhang=overhang, method=method
        )
        for method in ("windows", "plain")
    ]
    ours, plain = both
    assert ours.positions.shape[0] >= 11
    assert torch.equal(ours.positions, plain.positions)
    assert ours.feature_map == plain.feature_map
    assert ours.target == plain.target == int(plain.whole_probability.argmax())
    assert (ours.probabilities - plain.probabilities).abs().max() < 1e-5
    assert (ours.activation - plain.activation).abs().max() < 1e-4 * plain.activation.abs().max()


def test_equals_the_plain_loop_on_a_trained_network():
    """The promise of 1e-4, on ImageNet's filters and a photograph, at 224 pixels."""
    net = zfnb.load_model("torchvision-alexnet", weights="imagenet-trunk+tiny-imagenet")
    image = zfnb.preprocess(zfnb.load_dataset("scenes", "test").picture(0), net)
    ours, plain = (
        occlusion_maps(net, image, square=48, stride=16, method=method)
        for method in ("windows", "plain")
    )
    assert (ours.probabilities - plain.probabilities).abs().max() < 1e-4
    assert ((ours.activation - plain.activation) / plain.whole_activation).abs().max() < 1e-4
    assert torch.equal(ours.label, plain.label)
    assert float(plain.probability.max() - plain.probability.min()) > 0.01


def test_squares_reach_both_borders():
    assert starts(224, 32, 8).tolist() == list(range(0, 193, 8))
    assert starts(64, 20, 17).tolist() == [0, 17, 34, 44]
    assert starts(64, 64, 8).tolist() == [0]
    assert starts(64, 20, 16, overhang=True).tolist() == [-10, 6, 22, 38, 54]


def test_occluded_by_hand():
    image, cover = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    pictures = occluded(image, cover, torch.tensor([[1, 2], [-1, 3]]), 2)
    assert pictures[0, 0].tolist() == [[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]
    assert pictures[1, 2].tolist() == [[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_a_network_that_counts_bright_pixels_by_hand():
    """One filter that copies the picture: the map's sum loses exactly what the square hides."""
    conv = nn.Conv2d(3, 1, 1)
    nn.init.constant_(conv.weight, 0.5)
    nn.init.zeros_(conv.bias)
    net = zfnb.load_model(nn.Sequential(conv, nn.ReLU()), input_size=6)
    image = torch.zeros(3, 6, 6)
    image[:2, 1, 4] = 7.0
    found = occlusion_maps(net, image, square=2, stride=2, fill="mean", layer="conv1")
    assert found.activation.tolist() == [[7, 7, 0], [7, 7, 7], [7, 7, 7]]
    assert found.whole_activation == 7
    assert found.probability is found.label is found.probabilities is found.target is None


def test_over_pixels_by_hand():
    values = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    positions = torch.tensor([[[0, 0], [0, 1]], [[1, 0], [1, 1]]])
    found = over_pixels(values, positions, square=2, size=3)
    assert found.tolist() == [[1, 2, 3], [3, 4, 5], [5, 6, 7]]
    lonely = over_pixels(torch.tensor([[2.0]]), torch.tensor([[[-1, 1]]]), 2, 3)
    assert lonely.tolist() == [[0, 2, 2], [0, 0, 0], [0, 0, 0]]


def test_over_pixels_follows_its_definition(noise):
    positions = torch.cartesian_prod(starts(30, 7, 4, True), starts(30, 7, 4, True))
    grid = int(len(positions) ** 0.5)
    values = torch.rand(grid, grid, generator=torch.Generator().manual_seed(0))
    total, count = np.zeros((30, 30)), np.zeros((30, 30))
    for (row, column), value in zip(positions.tolist(), values.flatten().tolist(), strict=True):
        part = np.s_[max(row, 0) : row + 7, max(column, 0) : column + 7]
        total[part] += value
        count[part] += 1
    found = over_pixels(values, positions.reshape(grid, grid, 2), 7, 30)
    np.testing.assert_allclose(found, total / count, rtol=1e-5)


def test_fills(noise):
    image = noise(1, 32)
    grey = fill_picture("grey", image, IMAGENET, 8)
    assert IMAGENET.to_picture(grey[0]).getextrema() == ((128, 128),) * 3
    assert not fill_picture("mean", image, IMAGENET, 8).any()
    noisy = [fill_picture("noise", image, IMAGENET, 8, seed) for seed in (0, 0, 1)]
    assert torch.equal(noisy[0], noisy[1]) and not torch.equal(noisy[0], noisy[2])
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET.mean, IMAGENET.std))
    uniform = noisy[0][0] * std + mean
    assert 0 <= uniform.min() < 0.01 and 0.99 < uniform.max() <= 1
    soft = fill_picture("blur", image, IMAGENET, 8)
    assert soft.std() < 0.4 * image.std()
    assert torch.equal(soft, blurred(image, 2.0))  # a quarter of the square's side
    flat = torch.full((1, 3, 16, 16), 2.5)
    assert torch.allclose(blurred(flat, 2.0), flat)
    spike = torch.zeros(1, 3, 33, 33)
    spike[:, :, 16, 16] = 1
    variance = (blurred(spike, 2.0)[0, 0].sum(0) * (torch.arange(33) - 16) ** 2).sum()
    assert variance == pytest.approx(4.0, rel=0.03)


class Branched(nn.Module):
    """No chain: two branches are joined. The plain loop takes it all the same."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = torch.relu(self.one(x)) + self.two(x)
        return self.head(x.mean((2, 3)))


def test_any_network_falls_back_to_the_plain_loop(noise):
    torch.manual_seed(0)
    net, image = Branched().train(), noise(1, 20)[0]
    found = occlusion_maps(net, image, 3, 6, 7, "mean", layer="one", feature_map=2)
    assert net.training  # as it was
    x = image.clone()
    x[:, 7:13, 14:20] = 0
    with torch.no_grad():
        assert found.probability[1, 2] == pytest.approx(float(net(x[None]).softmax(1)[0, 3]))
        assert found.activation[1, 2] == pytest.approx(float(net.one(x)[2].sum()), rel=1e-5)
    with pytest.raises(BadInput, match="method='plain'"):
        occlusion_maps(net, image, layer="one", square=6, method="windows")
    with pytest.raises(UnknownName, match="one, two, head"):
        occlusion_maps(net, image, layer="conv5", square=6)
    with pytest.raises(BadInput, match="no feature maps"):
        Unusual = nn.Sequential(nn.Conv2d(3, 2, 20), nn.Flatten(0), nn.Unflatten(0, (1, 2)))
        occlusion_maps(Unusual, image, layer="1", square=6)


def test_a_module_of_ones_own_is_read_as_a_chain(noise):
    torch.manual_seed(0)
    own = nn.Sequential(
        nn.Conv2d(3, 6, 5, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(150, 4)
    )
    image = noise(1, 24)[0]
    found = occlusion_maps(own, image, 1, 8, 4, layer="conv1", method="windows")
    plain = occlusion_maps(own, image, 1, 8, 4, layer="conv1", method="plain")
    assert torch.allclose(found.probability, plain.probability, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"square": 0}, "square must be from 1 to 64"),
        ({"square": 65}, "square must be from 1 to 64"),
        ({"square": 8.0}, "square must be"),
        ({"square": True}, "square must be"),
        ({"stride": 0}, "stride must be a positive"),
        ({"stride": True}, "stride must be a positive"),
        ({"target": 7}, "from 0 to 6"),
        ({"target": "cat"}, "from 0 to 6"),
        ({"target": True}, "from 0 to 6"),
        ({"fill": "black"}, "grey, mean, noise, blur"),
        ({"fill": torch.zeros(3, 8, 8)}, r"must be \(3, 64, 64\)"),
        ({"fill": torch.full((3, 64, 64), torch.nan)}, "fill holds NaN"),
        ({"layer": "conv9"}, "conv5"),
        ({"feature_map": 16}, "maps 0 to 15"),
        ({"method": "quick"}, "auto, windows, plain"),
    ],
)
def test_what_is_wrong_is_said(small_zfnet, noise, wrong, words):
    with pytest.raises(BadInput, match=words):
        occlusion_maps(small_zfnet, noise(1, SIZE)[0], **({"square": 16} | wrong))


def test_numbers_of_numpy_are_numbers(small_zfnet, noise):
    image = noise(1, SIZE)[0]
    own = occlusion_maps(small_zfnet, image, 2, 20, 44, feature_map=1)
    numpy = occlusion_maps(small_zfnet, image, *map(np.int64, (2, 20, 44)), feature_map=np.int32(1))
    assert torch.equal(own.probabilities, numpy.probabilities)
    assert torch.equal(own.activation, numpy.activation)
    kept = (numpy.target, numpy.square, numpy.stride, numpy.feature_map)
    assert all(type(number) is int for number in kept)


def test_a_square_that_no_output_reads_changes_nothing(noise):
    """Filters of one pixel, three apart: most squares of one pixel lie between them."""
    torch.manual_seed(0)
    own = nn.Sequential(
        *(nn.Conv2d(3, 4, 1, stride=3), nn.ReLU(), nn.Conv2d(4, 2, 2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(2 * 10 * 10, 3)),
    )
    image = noise(1, 33)[0]  # 33 places a row, 32 a chunk: a chunk may lie in unread rows alone
    found, plain = (
        occlusion_maps(own, image, 1, 1, 1, layer="conv2", feature_map=1, method=method)
        for method in ("windows", "plain")
    )
    assert (found.probabilities - plain.probabilities).abs().max() < 1e-6
    assert (found.activation - plain.activation).abs().max() < 1e-4
    assert len(plain.probability.unique()) > 50


def test_images_are_checked(small_zfnet, noise):
    with pytest.raises(BadInput, match="one image at a time, not 2"):
        occlusion_maps(small_zfnet, noise(2, SIZE), square=8)
    with pytest.raises(BadInput, match="64, 64"):
        occlusion_maps(small_zfnet, noise(1, 32), square=8)
    with pytest.raises(BadInput, match="NaN"):
        occlusion_maps(small_zfnet, noise(1, SIZE) * torch.nan, square=8)
    image = noise(1, 20)[0]
    for wrong, words in (
        (image * torch.nan, "NaN"),
        (image.double(), "float64 but the network"),
        (image.to("meta"), "on meta but the network"),
    ):
        with pytest.raises(BadInput, match=words):
            occlusion_maps(Branched(), wrong, square=8, layer="one")
    with pytest.raises(BadInput, match="must be square"):
        occlusion_maps(Branched(), torch.zeros(3, 20, 24), square=8, layer="one")
