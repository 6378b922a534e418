"""The curves of Fig. 5, against a plain loop and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import zfnb
from zfnb import invariance as inv
from zfnb.data.pictures import Preprocessing
from zfnb.errors import BadInput, UnknownName
from zfnb.models import Network
from zfnb.movable import Movable
from zfnb.transformations import TRANSFORMATIONS, Transformation, translate

TARGETS = [3, 0, 6]


@pytest.fixture
def objects():
    """Noise with a square of noise that can move alone."""
    generator = torch.Generator().manual_seed(8)
    behind, front = torch.randn(2, 3, 3, 64, 64, generator=generator)
    alpha = torch.zeros(3, 1, 64, 64)
    alpha[..., 20:44, 24:40] = 1
    return Movable(behind, front * alpha, alpha)


def plain(net, images, targets, moves, layers):
    """One picture, one value and one layer at a time. `moves`: functions of a picture."""
    distance = {layer: np.zeros((len(images), len(moves))) for layer in layers}
    chance = np.zeros((len(images), len(moves)))
    for i, image in enumerate(images):
        for j, move in enumerate(moves):
            other = move(image[None])
            for layer in layers:
                a, b = (
                    x if layer == "pixels" else zfnb.features(net, x, layer)
                    for x in (image[None], other)
                )
                distance[layer][i, j] = (a - b).double().square().sum().sqrt()
            logits = zfnb.features(net, other, net.layer_names[-1])
            chance[i, j] = logits.softmax(1)[0, targets[i]]
    return distance, chance


def test_no_more_pictures_at_once_than_asked(small_zfnet, noise):
    seen = []
    hook = small_zfnet.conv1.register_forward_pre_hook(
        lambda _, inputs: seen.append(len(inputs[0]))
    )
    zfnb.invariance_curves(
        small_zfnet, noise(5, 64), None, "vertical", [0, 3], ["conv1"], batch_size=2
    )
    hook.remove()
    assert seen == [2, 2, 1] * 2  # as they are, and moved


@pytest.mark.parametrize("name", TRANSFORMATIONS)
@pytest.mark.parametrize("batch_size", [4, 32])
def test_it_is_the_plain_loop(small_zfnet, noise, name, batch_size):
    images, one = noise(3, 64), TRANSFORMATIONS[name]
    values = one.values(64, 5)
    layers = ["pixels", "conv1", "norm1", "conv5", "fc7", "fc8"]
    found = zfnb.invariance_curves(
        small_zfnet, images, TARGETS, name, values, layers, fill="reflect", batch_size=batch_size
    )
    moves = [lambda x, v=v: one(x, v, "reflect") for v in values]
    distance, chance = plain(small_zfnet, images, TARGETS, moves, layers)
    assert found.layers == tuple(layers) and found.transform is one and not found.alone
    for layer in layers:
        assert found.distance[layer] == pytest.approx(distance[layer], rel=1e-4, abs=1e-4)
        features = images if layer == "pixels" else zfnb.features(small_zfnet, images, layer)
        assert found.length[layer] == pytest.approx(features.flatten(1).norm(dim=1).numpy())
        assert found.relative(layer) == pytest.approx(
            found.distance[layer] / found.length[layer][:, None]
        )
    assert found.probability == pytest.approx(chance, abs=1e-5)


def test_the_object_alone(small_zfnet, objects):
    values = [-4.0, 0.0, 2.5]
    found = zfnb.invariance_curves(
        small_zfnet, objects, TARGETS, "horizontal", values, ["pixels", "conv2"]
    )
    shifted = [objects.moved(TRANSFORMATIONS["horizontal"], v) for v in values]
    for layer in ("pixels", "conv2"):
        a, *rest = (
            x if layer == "pixels" else zfnb.features(small_zfnet, x, layer)
            for x in (objects.images, *shifted)
        )
        expected = np.stack([(a - b).flatten(1).norm(dim=1).numpy() for b in rest], 1)
        assert found.distance[layer] == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert found.alone and (found.distance["pixels"][:, [0, 2]] > 0).all()
    whole = zfnb.invariance_curves(
        small_zfnet, objects.images, None, "horizontal", values, ["pixels"]
    )
    assert (whole.distance["pixels"][:, 0] > found.distance["pixels"][:, 0]).all()


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_the_identity_is_at_distance_zero_exactly(small_zfnet, noise, objects, name):
    at = TRANSFORMATIONS[name].identity
    for images in (noise(3, 64), objects):
        found = zfnb.invariance_curves(
            small_zfnet, images, TARGETS, name, [at, at + 0.25, at], ["conv1", "fc8"], batch_size=2
        )
        for layer in found.layers:
            assert (found.distance[layer][:, [0, 2]] == 0).all()
            assert (found.distance[layer][:, 1] > 0).all()
        assert (found.probability[:, 0] == found.probability[:, 2]).all()


def two_pixel_net(classifier: bool = True) -> Network:
    """4 pixels; layer 1 sums each picture's columns over rows and channels; then two classes."""
    conv = nn.Conv2d(3, 1, kernel_size=(4, 1), bias=False)
    nn.init.ones_(conv.weight)
    layers = {"conv1": nn.Sequential(conv, nn.ReLU())}
    if classifier:
        linear = nn.Linear(4, 2, bias=False)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0]]))
        layers["fc2"] = nn.Sequential(nn.Flatten(), linear)
    plain = Preprocessing(resize=4, crop=4, mean=(0, 0, 0), std=(1, 1, 1))
    return Network(layers, name="columns", input_size=4, preprocessing=plain, weights="by hand")


def test_by_hand():
    image = torch.zeros(1, 3, 4, 4)
    image[..., 0] = 1  # the left column: layer 1 gives (12, 0, 0, 0)
    found = zfnb.invariance_curves(
        two_pixel_net(), image, [0], "horizontal", [0, 1, 0.5], ["conv1", "pixels"], fill="mean"
    )
    # Shifted by one, (0, 12, 0, 0); by a half, (6, 6, 0, 0).
    assert found.distance["conv1"] == pytest.approx(np.array([[0, np.sqrt(288), np.sqrt(72)]]))
    assert found.distance["pixels"] == pytest.approx(np.array([[0, np.sqrt(24), np.sqrt(6)]]))
    assert found.relative("conv1")[0, 1] == pytest.approx(np.sqrt(2))
    low = 1 / (1 + np.exp(12))
    assert found.probability == pytest.approx(np.array([[1 - low, low, 0.5]]), abs=1e-6)
    assert found.label[0, :2].tolist() == [0, 1] and found.right[0, :2].tolist() == [True, False]
    # What enters at the border matters: with its edge repeated, the column becomes wider.
    edge = zfnb.invariance_curves(two_pixel_net(), image, [0], "horizontal", [1], ["conv1"])
    assert edge.distance["conv1"] == pytest.approx(np.array([[12]]))


def test_without_targets_there_is_no_probability(small_zfnet, noise):
    calls = []
    handle = small_zfnet.fc6.register_forward_hook(lambda *_: calls.append(1))
    try:
        values = [1, 1.2]
        found = zfnb.invariance_curves(small_zfnet, noise(2, 64), None, "scale", values, ["conv2"])
    finally:
        handle.remove()
    assert np.isnan(found.probability).all() and (found.label == -1).all()
    assert found.targets is None and calls == []  # nor is anything above computed
    with pytest.raises(BadInput, match="Without targets"):
        _ = found.right


def test_some_of_the_pictures(small_zfnet, noise):
    whole = zfnb.invariance_curves(
        small_zfnet, noise(3, 64), TARGETS, "rotation", [0, 40.0], ["conv1", "fc7"]
    )
    part = whole.take([2, 0])
    for layer in whole.layers:
        assert np.array_equal(part.distance[layer], whole.distance[layer][[2, 0]])
        assert np.array_equal(part.relative(layer), whole.relative(layer)[[2, 0]])
    assert np.array_equal(part.right, whole.right[[2, 0]])
    assert np.array_equal(part.probability, whole.probability[[2, 0]])
    assert part.targets.tolist() == [6, 3] and part.transform is whole.transform


def test_a_transformation_of_ones_own(small_zfnet, noise):
    diagonal = Transformation(
        "diagonal", "pixels", 0.0, (0, 5), lambda x, v, fill: translate(x, v, v, fill)
    )
    images = noise(2, 64)
    found = zfnb.invariance_curves(small_zfnet, images, None, diagonal, [0, 3], ["pixels"])
    expected = (translate(images, 3, 3) - images).flatten(1).norm(dim=1)
    assert found.distance["pixels"][:, 1] == pytest.approx(expected.numpy())


def test_what_the_network_is_shown(noise, objects):
    images, values = noise(2, 64), [0.0, 7.0]
    shown = inv.moved(images, "vertical", values, "mean")
    assert shown.shape == (2, 2, 3, 64, 64) and torch.equal(shown[0], images)
    assert torch.equal(shown[1], translate(images, 7, fill="mean"))
    assert torch.equal(inv.moved(images[0], "vertical", values)[1, 0], translate(images, 7)[0])
    one = TRANSFORMATIONS["scale"]
    assert torch.equal(inv.moved(objects, "scale", [1.5])[0], objects.moved(one, 1.5))


def test_pictures_that_are_known(small_zfnet, noise):
    images = noise(8, 64)
    chances = zfnb.features(small_zfnet, images, "fc8").softmax(1).numpy()
    targets = [0, 0, 1, 1, 2, 2, 2, 0]
    best = {
        t: max((i for i in range(8) if targets[i] == t), key=lambda i: chances[i, t])
        for t in range(3)
    }
    order = sorted(best, key=lambda t: -chances[best[t], t])
    assert inv.recognised(small_zfnet, images, targets, 2) == [best[t] for t in order[:2]]
    with pytest.raises(BadInput, match="3 classes only; ask for at most that many"):
        inv.recognised(small_zfnet, images, targets, 4)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"transform": "shear"}, UnknownName, "vertical, horizontal, scale, rotation"),
        ({"layers": ["conv9"]}, UnknownName, "conv1, pool1"),
        ({"layers": []}, BadInput, "at least one layer"),
        ({"fill": "black"}, UnknownName, "edge, reflect, mean"),
        ({"values": ["a"]}, BadInput, r"finite numbers in a row, not \['a'\]"),
        ({"values": []}, BadInput, "finite numbers in a row"),
        ({"values": [[1.0]]}, BadInput, "finite numbers in a row"),
        ({"values": [float("inf")]}, BadInput, "finite numbers in a row"),
        ({"targets": [1]}, BadInput, "3 whole numbers"),
        ({"targets": [0.5, 1, 1]}, BadInput, "3 whole numbers"),
        ({"targets": ["dog", "cat", "fox"]}, BadInput, "3 whole numbers"),
        ({"targets": [[0], [1, 2], [3]]}, BadInput, "3 whole numbers"),
        ({"targets": [0, 1, 7]}, BadInput, "from 0 to 6"),
        ({"targets": [0, -1, 2]}, BadInput, "from 0 to 6"),
        ({"batch_size": 0}, BadInput, "from 1 on"),
        ({"batch_size": True}, BadInput, "from 1 on"),
        ({"images": torch.zeros(3, 3, 32, 32)}, BadInput, r"\(N, 3, 64, 64\)"),
    ],
)
def test_what_is_refused(small_zfnet, noise, change, error, words):
    given = {
        "images": noise(3, 64),
        "targets": TARGETS,
        "transform": "vertical",
        "values": [0, 2.0],
        "layers": ["conv1"],
    }
    with pytest.raises(error, match=words):
        zfnb.invariance_curves(small_zfnet, **{**given, **change})


def test_a_network_without_a_classifier():
    net, image = two_pixel_net(classifier=False), torch.rand(1, 3, 4, 4)
    with pytest.raises(BadInput, match="columns has no classifier"):
        zfnb.invariance_curves(net, image, [0], "scale", [1, 1.1], ["conv1"])
    found = zfnb.invariance_curves(net, image, None, "scale", [1, 1.1], "conv1")
    assert found.layers == ("conv1",)
    with pytest.raises(UnknownName, match="conv1"):
        found.relative("conv2")
