"""The mistakes on purpose: each is the mistake it says, and no other; the measures by hand."""

from __future__ import annotations

import captum.attr
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zfnb
from zfnb import backward, traps
from zfnb.adopt import as_network
from zfnb.errors import BadInput, CannotInvert, UnknownName
from zfnb.layers import ContrastNorm, SwitchMaxPool2d, unpool
from zfnb.models import build, describe_variant

MAPS = ("conv1", "pool1", "conv2", "pool2", "conv3", "conv5", "pool5")


def lively(net, x, layer) -> int:
    return int(zfnb.features(net, x, layer)[0].amax((1, 2)).argmax())


@pytest.fixture(scope="module")
def zfnet_with_biases():
    """Maps of 48 pixels: 22 -> 11 -> 4 -> 2; biases away from zero."""
    torch.manual_seed(4)
    net = build(describe_variant("zfnet", input_size=64, width=1 / 16), num_classes=5)
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.3)
    return net


def meeting() -> tuple[nn.Module, torch.Tensor]:
    """Four windows share the middle 3; the filter above sends 30, -15, 15 and 30 down to it."""
    net = as_network(
        nn.Sequential(
            nn.Conv2d(3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 1), nn.Conv2d(1, 1, 2), nn.ReLU()
        ),
        input_size=4,
    )
    with torch.no_grad():
        net.conv1.filter.weight[:] = torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1)
        net.conv2.filter.weight[:] = torch.tensor([[[[2.0, -1.0], [1.0, 2.0]]]])
        net.conv1.filter.bias.fill_(0.0)
        net.conv2.filter.bias.fill_(3.0)
    x = torch.zeros(1, 3, 4, 4)
    x[0, 0, 1, 1] = 3.0
    return net, x  # conv2: 3 * (2 - 1 + 1 + 2) + 3 = 15


@pytest.mark.parametrize("layer", MAPS)
def test_without_a_mistake_it_is_the_deconvnet(zfnet_with_biases, noise, layer):
    net, x = zfnet_with_biases, noise(1, 64)
    unit = lively(net, x, layer)
    expected = zfnb.Deconvnet(net).project(x, layer, unit).pixels[0]
    found = traps.project(net, x, layer, unit)
    assert expected.any()
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    recording = zfnb.Deconvnet(net).record(x)
    assert torch.equal(traps.project(net, recording, layer, unit), found)


def test_every_mistake_matters(zfnet_with_biases, noise):
    """At conv5 of a network with even maps, shared switches and biases."""
    net, x = zfnet_with_biases, noise(1, 64)
    found = traps.compare(net, x, "conv5", [lively(net, x, "conv5")], list(traps.MISTAKES))
    for name, (cosine,) in found.cosines.items():
        assert -1 < cosine < 0.999, name
        assert found.wrong[name].shape == found.right.shape == (1, 3, 64, 64)
    assert found.mean() == {name: values[0] for name, values in found.cosines.items()}


def test_order_of_relu_and_unpooling_by_hand():
    net, x = meeting()
    right = traps.project(net, x, "conv2", 0)
    assert right[0, 1, 1] == 30 - 15 + 15 + 30
    wrong = traps.project(net, x, "conv2", 0, "ReLU before unpooling")
    assert wrong[0, 1, 1] == 30 + 15 + 30
    overwritten = traps.project(net, x, "conv2", 0, "overwriting")
    assert overwritten[0, 1, 1] in (30, 0, 15)  # one of the four, rectified
    for pixels in (right, wrong, overwritten):
        pixels[0, 1, 1] = 0
        assert not pixels.any()


def test_biases_by_hand():
    net, x = meeting()
    with torch.no_grad():
        net.conv1.filter.bias.fill_(0.25)
    # conv1 gives 3.25 in the middle and 0.25 elsewhere; conv2 sees four windows of 3.25: 16.
    # Copied: 0.25 comes on top of each of the four signals 32, -16, 16, 32.
    assert traps.project(net, x, "conv2", 0)[0, 1, 1] == 64
    assert traps.project(net, x, "conv2", 0, "copied biases")[0, 1, 1] == 65


def test_flipped_filters_are_those_of_a_flipped_network(zfnet_with_biases, noise):
    net, x = zfnet_with_biases, noise(1, 64)
    recording = zfnb.Deconvnet(net).record(x)
    unit = lively(net, x, "conv4")
    flipped = build(describe_variant("zfnet", input_size=64, width=1 / 16), num_classes=5)
    flipped.load_state_dict(net.state_dict())
    with torch.no_grad():
        for module in flipped.modules():
            if isinstance(module, nn.Conv2d):
                module.weight[:] = module.weight.flip(2, 3)
    expected = zfnb.Deconvnet(flipped).project(recording, "conv4", unit).pixels[0]
    found = traps.project(net, recording, "conv4", unit, "flipped filters")
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_what_starts_down(zfnet_with_biases, noise):
    """The right way keeps a positive factor; without ReLU any factor; with biases none."""
    net, recording = zfnet_with_biases, zfnb.Deconvnet(zfnet_with_biases).record(noise(1, 64))
    unit = lively(net, noise(1, 64), "conv5")

    def started(value, mistake=None):
        return traps.project(net, recording, "conv5", unit, mistake, start=value)

    torch.testing.assert_close(started(6.0), 3 * started(2.0), rtol=1e-4, atol=1e-6)
    assert not started(-1.0).any()
    torch.testing.assert_close(
        started(-2.0, "no ReLU"), -started(2.0, "no ReLU"), rtol=1e-4, atol=1e-6
    )
    assert traps.cosine(started(1.0), started(1.0, "random biases")) < traps.cosine(
        started(50.0), started(50.0, "random biases")
    )
    again = [traps.project(net, recording, "conv5", unit, "random biases", s) for s in (1, 1, 2)]
    assert torch.equal(again[0], again[1])
    assert not torch.equal(again[0], again[2])


def test_rectified_picture(zfnet_with_biases, noise):
    net, x = zfnet_with_biases, noise(1, 64)
    right = traps.project(net, x, "conv3", 2)
    assert torch.equal(traps.project(net, x, "conv3", 2, "rectified picture"), right.relu())


def test_a_right_guess_of_the_size_does_no_harm(trunk, noise):
    """torchvision's AlexNet has odd maps at 224 pixels; ZFNet has even ones."""
    x = noise(1, 224)
    unit = lively(trunk, x, "conv3")
    right = traps.project(trunk, x, "conv3", unit)
    assert torch.equal(traps.project(trunk, x, "conv3", unit, "no map size"), right)
    assert traps.guessed_size(trunk.pool1, (27, 27)) == (55, 55)
    assert traps.guessed_size(SwitchMaxPool2d(3, 2, ceil_mode=True), (55, 13)) == (111, 27)
    assert traps.guessed_size(SwitchMaxPool2d(3, 2, 1), (55, 55)) == (109, 109)


def test_a_guess_that_torch_would_refuse_is_said():
    pool = SwitchMaxPool2d(3, 2)
    pooled, switches = pool.with_switches(torch.arange(36.0).reshape(1, 1, 6, 6))
    with pytest.raises(RuntimeError):
        F.max_unpool2d(pooled, switches, 3, 2)
    with pytest.raises(BadInput, match="the guessed 5 x 5 has no place for some switches; choose"):
        traps.put_back(pooled, switches, pool, (6, 6), "no map size")


def test_the_guess_is_what_torch_takes():
    x = torch.rand(1, 2, 10, 10)
    pooled, switches = SwitchMaxPool2d(3, 2, ceil_mode=True).with_switches(x)
    guessed = traps.guessed_size(SwitchMaxPool2d(3, 2), pooled.shape[2:])
    assert F.max_unpool2d(pooled, switches, 3, 2).shape[2:] == guessed


def test_signals_on_the_way_down(trunk, noise):
    recording = zfnb.Deconvnet(trunk).record(noise(1, 224), to="conv3")
    signals = dict(traps.way_down(trunk, recording, "conv3", 7))
    assert list(signals) == ["conv3", "pool2", "conv2", "pool1", "conv1", "pixels"]
    for layer, signal in signals.items():
        expected = trunk.shapes.get(layer, (3, 224, 224))
        assert signal.shape == (1, *expected)
    assert (signals["conv3"] != 0).sum() == 1


def test_measures_by_hand():
    # Windows 1 and 3 of the first map share place 14; those of the second map share none with it.
    switches = torch.tensor([[[[5, 14], [16, 14]], [[14, 0], [1, 2]]]])
    assert traps.sharing(switches).tolist() == [[[[False, True], [False, True]], [[False] * 2] * 2]]
    assert traps.overwritten(switches) == 1 / 8
    all_in_one = torch.full((1, 1, 2, 2), 4)
    assert traps.sharing(all_in_one).all()
    assert traps.overwritten(all_in_one) == 3 / 4
    # 5 wide: (0,0), (0,3), (1,0), (4,4). Taken to be 6 wide: (0,0), (0,3), (0,5), (4,0).
    assert traps.misplaced(torch.tensor([0, 3, 5, 24]), 5, 6) == 1 / 2
    signal = torch.tensor([3.0, -1.0, 0.0, 4.0])
    assert traps.through_zeros(signal, torch.tensor([1.0, 0.0, 0.0, 2.0])) == 1 / 8
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([3.0, 4.0])
    assert traps.cosine(a, b) == pytest.approx(0.6)
    assert traps.cosine(a, torch.zeros(2)) == 0
    pictures = torch.tensor([[1.0, 0], [-2, 0], [0, 5], [0, 0]]).reshape(4, 2, 1, 1)
    assert traps.likeness(pictures) == pytest.approx(1 / 3)  # the empty one is left out


def test_likeness_needs_two_pictures():
    with pytest.raises(BadInput, match="two pictures that are not empty"):
        traps.likeness(
            torch.eye(3)[:, :, None, None] * torch.tensor([1.0, 0, 0])[:, None, None, None]
        )


def test_distinct_counts_results_and_puts_the_threads_back():
    answers = iter([torch.zeros(2), torch.ones(2), torch.zeros(2), torch.zeros(2)])
    before = torch.get_num_threads()
    assert traps.distinct(lambda: next(answers), times=2, threads=(1, before)) == 2
    assert torch.get_num_threads() == before
    with pytest.raises(StopIteration):
        traps.distinct(lambda: next(answers), times=1, threads=(before + 1,))
    assert torch.get_num_threads() == before


def test_unpooling_does_not_depend_on_threads(trunk, noise):
    recording = zfnb.Deconvnet(trunk).record(noise(1, 224), to="pool1")
    switches = recording.switches["pool1"].clone()
    signal = torch.randn(switches.shape, generator=torch.Generator().manual_seed(0))
    assert traps.overwritten(switches) > 0.05
    assert traps.distinct(lambda: unpool(signal, switches, (55, 55)), 3, (1, 2, 7)) == 1


def test_normalisation_first_moves_switches():
    """Beside a strong neighbour in map 1, the larger value of map 0 loses the pool."""
    maps = torch.zeros(1, 2, 1, 3)
    maps[0, 0, 0] = torch.tensor([10.0, 9.0, 1.0])
    maps[0, 1, 0] = torch.tensor([200.0, 0.0, 0.0])
    pool = SwitchMaxPool2d((1, 3), (1, 3))
    assert traps.moved(pool, ContrastNorm(2, alpha=1.0), maps) == 1 / 2
    assert traps.moved(pool, ContrastNorm(2, alpha=1e-9), maps) == 0


def test_contrast_norm_is_added_after_the_pools(trunk, noise):
    net = traps.with_contrast_norm(trunk, factor=58)
    assert net.layer_names[:6] == ("conv1", "pool1", "norm1", "conv2", "pool2", "norm2")
    assert net.conv1 is trunk.conv1
    # 58 times the input into a network without biases is 58 times the activations.
    x = zfnb.features(trunk, noise(1, 224), "pool1")
    torch.testing.assert_close(net.norm1(x) * 58, ContrastNorm(64)(x * 58), rtol=1e-4, atol=1e-5)
    assert "norm1" not in trunk.layer_names


def test_functions_hide_from_hooks_as_they_do_from_captum(trunk, noise):
    x = noise(1, 224)
    unit = lively(trunk, x, "pool5")
    found = zfnb.Deconvnet(trunk).project(x, "pool5", unit)
    plain = zfnb.Deconvnet(trunk, rule="gradient").project(x, "pool5", unit)
    modules, functions = traps.with_modules(trunk, "pool5"), traps.WithFunctions(trunk, "pool5")
    with torch.no_grad():
        torch.testing.assert_close(modules(x), functions(x))
    target = (unit, *found.position[0].tolist())
    for module, expected in ((modules, found), (functions, plain)):
        expected = expected.pixels[0] / expected.activation
        with backward.rectified_gradient(module):
            ours = traps.gradient(module, x, unit)
        with pytest.warns(UserWarning, match="Setting backward hooks"):
            theirs = captum.attr.Deconvolution(module).attribute(
                x.clone().requires_grad_(), target=target
            )
        for one in (ours, theirs[0]):
            assert (one - expected).abs().max() < 1e-5 * expected.abs().max()
    with pytest.raises(CannotInvert, match="functional ReLU"):
        zfnb.load_model(functions)


def test_refuses(trunk, noise):
    with pytest.raises(UnknownName, match="flipped filters, copied biases"):
        traps.project(trunk, noise(1, 224), "conv1", 0, "wrong")
    with pytest.raises(UnknownName, match="conv1, pool1"):
        traps.project(trunk, noise(1, 224), "conv6", 0)
    with pytest.raises(BadInput, match="one picture, not on 2"):
        traps.project(trunk, noise(2, 224), "conv1", 0)
    with pytest.raises(BadInput, match="maps 0 to 63"):
        traps.project(trunk, noise(1, 224), "conv1", 64)
    net = build(describe_variant("zfnet", input_size=64, width=1 / 16), num_classes=3)
    with pytest.raises(BadInput, match="fc6 is fully connected"):
        traps.project(net, noise(1, 64), "fc6", 0)
