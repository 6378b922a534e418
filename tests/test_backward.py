"""The modified backward pass and the deconvnet, two implementations of one definition."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import zfnb
from zfnb import backward
from zfnb.adopt import fold_batch_norm
from zfnb.errors import BadInput, UnknownName
from zfnb.models import build, describe_variant


def close(a, b):
    assert b.any()
    assert (a - b).abs().max() < 1e-5 * b.abs().max()


@pytest.mark.parametrize("rule", backward.RULES)
def test_equals_the_deconvnet_on_the_trunk(trunk, noise, rule):
    x = noise(2, 224)
    for layer in ("conv1", "pool2", "conv5", "pool5"):
        unit = int(zfnb.features(trunk, x, layer).amax((2, 3)).amin(0).argmax())
        expected = zfnb.Deconvnet(trunk, rule=rule).project(x, layer, unit).pixels
        close(backward.project(trunk, x, layer, unit, rule), expected)


@pytest.mark.parametrize("rule", backward.RULES)
def test_equals_the_deconvnet_through_norms_and_connected_layers(small_zfnet, noise, rule):
    x = noise(1, 64)
    for layer in ("norm1", "norm2", "fc6", "fc8"):
        unit = int(zfnb.features(small_zfnet, x, layer).reshape(1, -1).argmax())
        unit //= int(torch.Size(small_zfnet.shapes[layer][1:]).numel())
        expected = zfnb.Deconvnet(small_zfnet, rule=rule).project(x, layer, unit).pixels
        close(backward.project(small_zfnet, x, layer, unit, rule), expected)


def test_normalisation_is_passed_through_unless_asked(small_zfnet, noise):
    x = noise(1, 64)
    passed = backward.project(small_zfnet, x, "conv3", 2)
    through = backward.project(small_zfnet, x, "conv3", 2, through_norm=True)
    assert passed.any()
    assert not torch.allclose(passed, through, rtol=0.1)
    gradient = backward.project(small_zfnet, x, "conv3", 2, "gradient")
    asked = backward.project(small_zfnet, x, "conv3", 2, "gradient", through_norm=True)
    assert torch.equal(gradient, asked)


def test_gradient_of_half_the_square(small_zfnet, noise):
    x = noise(1, 64).requires_grad_()
    half = small_zfnet(x, to="conv4")[0, 1].max() ** 2 / 2
    (expected,) = torch.autograd.grad(half, x)
    close(backward.project(small_zfnet, x.detach(), "conv4", 1, "gradient"), expected)


@pytest.mark.parametrize("rule", backward.RULES)
def test_batch_normalisation_is_passed_as_if_folded_and_learns_nothing(noise, rule):
    torch.manual_seed(0)
    net = build(describe_variant("zfnet", input_size=64, width=1 / 32, batch_norm=True), 5)
    net.conv1.bn.running_mean.normal_()
    net.conv1.bn.running_var.uniform_(0.5, 2)
    plain, before = fold_batch_norm(net), {k: v.clone() for k, v in net.state_dict().items()}
    net.train()
    x = noise(2, 64)
    unit = int(zfnb.features(plain, x, "conv2").amax((2, 3)).amin(0).argmax())
    expected = backward.project(plain, x, "conv2", unit, rule)
    close(backward.project(net, x, "conv2", unit, rule), expected)
    assert net.training and net.conv1.bn.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_relu_rules_by_hand():
    up = torch.tensor([-1.0, -1, 2, 2])
    down = torch.tensor([-5.0, 5, -5, 5])
    expected = {
        "deconvnet": [0, 5, 0, 5],
        "gradient": [0, 0, -5, 5],
        "guided": [0, 0, 0, 5],
    }
    for rule, signal in expected.items():
        x = up.clone().requires_grad_()
        y = backward.ReLU.apply(x, rule)
        assert y.tolist() == [0, 0, 2, 2]
        y.backward(down)
        assert x.grad.tolist() == signal


def test_hooks_are_taken_off(noise):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 3))

    def gradient():
        x = noise(1, 8).requires_grad_()
        return torch.autograd.grad(net(x).sum(), x)[0]

    before = gradient()
    with backward.rectified_gradient(net):
        assert not torch.equal(gradient(), before)
    assert torch.equal(gradient(), before)
    with pytest.raises(RuntimeError, match="stop"), backward.rectified_gradient(net):
        raise RuntimeError("stop")
    assert torch.equal(gradient(), before)


def test_refuses(small_zfnet, noise):
    with pytest.raises(UnknownName, match="deconvnet, gradient, guided"):
        backward.project(small_zfnet, noise(1, 64), "conv1", 0, "relu")
    with pytest.raises(UnknownName, match="conv1, pool1"):
        backward.project(small_zfnet, noise(1, 64), "layer1", 0)
    for bad in (6, -1):
        with pytest.raises(BadInput, match="maps 0 to 5"):
            backward.project(small_zfnet, noise(1, 64), "conv1", bad)
    with pytest.raises(BadInput, match="64"):
        backward.project(small_zfnet, noise(1, 32), "conv1", 0)
