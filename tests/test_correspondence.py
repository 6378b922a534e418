"""The measure of Table 1, against hand-made numbers and a plain reading of its definition."""

from __future__ import annotations

import importlib.util
import itertools

import numpy as np
import pytest
import torch
from torch import nn

import zfnb
from zfnb.correspondences import (
    FILLS,
    ZEROS,
    changes,
    correspondence,
    masked,
    mean_and_spread,
    sign_change,
)
from zfnb.data.pictures import Preprocessing
from zfnb.errors import BadInput, UnknownName
from zfnb.models import Network
from zfnb.random_masks import box_masks

# Two pictures, six elements: + +, + -, 0 +, 0 -, 0 0, - -.
TWO = torch.tensor([[1, 1, 0, 0, 0, -1], [1, -1, 1, -1, 0, -1]], dtype=torch.int8)


@pytest.mark.parametrize(
    ("zero", "expected"),
    [
        ("own", 3 / 6),  # + -, 0 +, 0 -
        ("half", 2 / 6),  # + - whole, the other two a half each
        ("positive", 2 / 6),  # + -, 0 -
        ("left out", 1 / 3),  # + - of + +, + -, - -
    ],
)
def test_the_sign_of_zero_by_hand(zero, expected):
    found = sign_change(TWO, zero)
    assert found.tolist() == [[0, pytest.approx(expected)], [pytest.approx(expected), 0]]


def test_without_zeros_the_choice_does_not_matter():
    signs = torch.randint(0, 2, (5, 40), generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = [sign_change(signs.to(torch.int8), zero) for zero in ZEROS]
    assert all(torch.allclose(found[0], other) for other in found[1:])
    assert found[0].max() > 0.3


def plainly(a, b, zero: str) -> float:
    """Hamming distance of two rows of signs per element, read off the definition."""
    total, count = 0.0, 0
    for x, y in zip(a, b, strict=True):
        if zero == "left out" and (x == 0 or y == 0):
            continue
        count += 1
        if zero == "positive":
            x, y = (1 if v >= 0 else -1 for v in (x, y))
        if x != y:
            total += 0.5 if zero == "half" and 0 in (x, y) else 1
    return total / count if count else float("nan")


@pytest.mark.parametrize("zero", ZEROS)
@pytest.mark.parametrize(("rows", "elements"), [(2, 1), (3, 7), (6, 101), (4, 9000)])
def test_all_pairs_against_the_definition(zero, rows, elements):
    generator = torch.Generator().manual_seed(rows)
    signs = torch.randint(-1, 2, (rows, elements), generator=generator).to(torch.int8)
    found = sign_change(signs, zero)
    for i, j in itertools.permutations(range(rows), 2):
        expected = plainly(signs[i].tolist(), signs[j].tolist(), zero)
        assert found[i, j].item() == pytest.approx(expected, nan_ok=True)
    assert torch.equal(found.diagonal(), torch.zeros(rows, dtype=found.dtype))


def test_mean_and_spread_by_hand():
    shares = torch.tensor([[0, 0.1, 0.2], [0.1, 0, 0.6], [0.2, 0.6, 0]], dtype=torch.float64)
    mean, spread = mean_and_spread(shares)
    assert mean == pytest.approx(0.3)
    assert spread == pytest.approx(np.std([0.1, 0.2, 0.6], ddof=1))
    one, alone = mean_and_spread(shares[:2, :2])
    assert one == pytest.approx(0.1) and np.isnan(alone)
    shares[0, 2] = shares[2, 0] = torch.nan  # a pair that cannot be compared is left out
    assert mean_and_spread(shares)[0] == pytest.approx(0.35)


# ---------------------------------------------------------------- through a network


def network(size: int = 4) -> Network:
    """conv1 passes red through a ReLU; fc8 sums all of it, once with each sign."""
    conv = nn.Conv2d(3, 1, 1, bias=False)
    linear = nn.Linear(size * size, 2, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, 0, 0])[None, :, None, None])
        linear.weight.copy_(torch.tensor([[1.0], [-1.0]]).expand(2, size * size))
    layers = {
        "conv1": nn.Sequential(conv, nn.ReLU()),
        "fc8": nn.Sequential(nn.Flatten(), linear),
    }
    plain = Preprocessing(resize=size, crop=size, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    return Network(layers, name="small", input_size=size, preprocessing=plain, weights="by hand")


def three_pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """Red +1 in the left half and -1 in the right; masks of two pixels at the top."""
    images = torch.ones(3, 3, 4, 4)
    images[..., 2:] = -1
    boxes = [(0, 0, 1, 2), (0, 0, 1, 2), (0, 1, 1, 3)]
    return images, box_masks(boxes, 4)


def test_a_network_by_hand():
    """mean fill is 0: x - x~ = 1 at a masked pixel of +1; behind the ReLU a -1 was 0 already."""
    images, masks = three_pictures()
    signs = changes(network(), images, masks, ["conv1", "fc8"], fill="mean")
    expected = torch.zeros(3, 16, dtype=torch.int8)
    expected[:2, :2] = 1
    expected[2, 1] = 1
    assert torch.equal(signs["conv1"], expected)
    assert torch.equal(signs["fc8"], torch.tensor([[1, -1]] * 3, dtype=torch.int8))
    found = correspondence(network(), images, masks, ["conv1", "fc8"], fill="mean")
    # Pictures 0 and 1 agree; each differs from 2 in one of 16 elements.
    assert found.pairs["conv1"].tolist() == [[0, 0, 1 / 16], [0, 0, 1 / 16], [1 / 16, 1 / 16, 0]]
    assert found.mean == {"conv1": pytest.approx(2 / 48), "fc8": 0}
    assert found.spread["conv1"] == pytest.approx(np.std([0, 1 / 16, 1 / 16], ddof=1))
    repeated = changes(network(), images, masks[None], ["conv1", "fc8", "conv1"], fill="mean")
    assert list(repeated) == ["conv1", "fc8"] and repeated["conv1"].shape == (1, 3, 16)
    half = correspondence(network(), images, masks, "conv1", fill="mean", zero="half")
    assert half.mean == {"conv1": pytest.approx(1 / 48)}


@pytest.mark.parametrize("layers", [["conv1"], ["pool5", "conv2", "fc7"], ["fc8"]])
def test_a_whole_network_against_the_definition(small_zfnet, noise, layers):
    images = noise(4, 64)
    masks = box_masks([(5, 6, 30, 31), (0, 0, 20, 20), (40, 2, 64, 30), (20, 20, 41, 41)], 64)
    grey = [(128 / 255 - m) / s for m, s in zip(*normal(small_zfnet), strict=True)]
    covered = images.clone()
    for image, mask in zip(covered, masks, strict=True):
        for channel, value in enumerate(grey):
            image[channel][mask] = value
    found = correspondence(small_zfnet, images, masks, layers)
    assert list(found.mean) == layers
    for layer in layers:
        before, after = (zfnb.features(small_zfnet, x, layer) for x in (images, covered))
        signs = (before - after).sign().flatten(1).tolist()
        pairs = [plainly(a, b, "own") for a, b in itertools.permutations(signs, 2)]
        assert found.mean[layer] == pytest.approx(np.mean(pairs))  # ordered pairs, as in the sum
        assert 0 < found.mean[layer] < 1


def normal(net):
    return net.preprocessing.mean, net.preprocessing.std


def test_many_masks_at_once_are_one_after_another(small_zfnet, noise):
    images = noise(3, 64)
    boxes = np.array([[[0, 0, 9, 9]] * 3, [[30, 20, 50, 44]] * 3])
    masks = box_masks(boxes, 64)  # (2, 3, 64, 64)
    together = changes(small_zfnet, images, masks, ["conv3", "fc7"])
    for number in range(2):
        alone = changes(small_zfnet, images, masks[number], ["conv3", "fc7"])
        assert all(torch.equal(together[name][number], alone[name]) for name in alone)


def test_dropout_is_off_and_the_mode_comes_back(small_zfnet, noise):
    images, masks = noise(2, 64), box_masks([(0, 0, 9, 9)] * 2, 64)
    expected = correspondence(small_zfnet, images, masks, "fc7").mean
    small_zfnet.train()
    try:
        assert correspondence(small_zfnet, images, masks, "fc7").mean == expected
        assert small_zfnet.training
    finally:
        small_zfnet.eval()


def test_what_goes_over_a_part():
    net, (images, masks) = network(), three_pictures()
    for fill in FILLS:
        covered = masked(images, masks, net, fill)
        assert torch.equal(
            covered[~masks[:, None].expand_as(images)], images[~masks[:, None].expand_as(images)]
        )
    inside = masks[:, None].expand_as(images)
    assert set(masked(images, masks, net, "mean")[inside].tolist()) == {0.0}
    grey = masked(images, masks, net, "grey")[inside]
    assert torch.allclose(grey, torch.tensor((128 / 255 - 0.5) / 0.5))
    images[0] += 3
    own = masked(images, masks, net, "picture")
    assert own[0, 0, 0, 0].item() == pytest.approx(3) and own[1, 0, 0, 0].item() == pytest.approx(0)


def test_a_module_of_ones_own(noise):
    module = nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU())
    found = correspondence(module, noise(2, 224), box_masks([(0, 0, 50, 50)] * 2, 224), "conv1")
    assert 0 < found.mean["conv1"] < 1


def test_what_is_refused():
    net, (images, masks) = network(), three_pictures()
    for call, error, words in (
        (lambda: correspondence(net, images[:1], masks[:1], "conv1"), BadInput, "at least two"),
        (lambda: correspondence(net, images[0], masks[0], "conv1"), BadInput, "at least two"),
        (lambda: correspondence(net, images, masks[:2], "conv1"), BadInput, "one mask a picture"),
        (lambda: correspondence(net, images, masks[..., :3], "conv1"), BadInput, "3, 4, 4"),
        (lambda: correspondence(net, images, 0 * masks, "conv1"), BadInput, "empty"),
        (lambda: correspondence(net, images, 0.3 * masks, "conv1"), BadInput, "True or False"),
        (lambda: correspondence(net, images, masks, []), BadInput, "no layer"),
        (lambda: correspondence(net, images, masks, "conv9"), UnknownName, "conv1"),
        (lambda: correspondence(net, images, masks, "conv1", fill="gray"), UnknownName, "'grey'"),
        (lambda: correspondence(net, images, masks, "conv1", zero="0"), UnknownName, "left out"),
    ):
        with pytest.raises(error, match=words):
            call()


def test_masks_of_ones_and_zeros_are_taken():
    images, masks = three_pictures()
    plain = correspondence(network(), images, masks, "conv1").mean
    assert correspondence(network(), images, masks.float(), "conv1").mean == plain
    assert correspondence(network(), images, masks.to(torch.uint8), "conv1").mean == plain


def test_the_public_name_stays_a_function():
    """A module of the same name would take its place as soon as it is imported."""
    assert zfnb.correspondence is correspondence and "correspondence" in dir(zfnb)
    assert importlib.util.find_spec("zfnb.correspondence") is None
