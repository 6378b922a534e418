"""Weights in 8 and 4 bits: what is lost, what is refused, and the way through a file."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

import zfnb
from zfnb.errors import BadInput, BadWeights, UnknownName
from zfnb.models import build, describe_variant
from zfnb.quantise import dequantise, pack, quantise, unpack
from zfnb.weights import save_weights


def test_four_bits_by_hand():
    """Weights that are whole multiples of a scale come back as they were, two numbers a byte."""
    whole = torch.tensor([7.0, -7, 1, 0, -1, 3] + [0.0] * 58)
    numbers, scale = quantise((whole * 0.5)[None], 4)
    assert scale.tolist() == [[0.5]]
    assert numbers.shape == (1, 32) and numbers.dtype == torch.uint8
    # -7 is 9 in four bits: 7 + 16 * 9, 1 + 16 * 0, 15 + 16 * 3
    assert numbers[0, :4].tolist() == [151, 1, 63, 0]
    assert torch.equal(dequantise(numbers, scale)[0], whole * 0.5)


def test_eight_bits_by_hand():
    filters = torch.tensor([[[[127.0, -63.0]]], [[[-2.0, 1.0]]]])
    numbers, scale = quantise(filters, 8)
    assert numbers[:, 0, 0].tolist() == [[127, -63], [-127, 64]]
    torch.testing.assert_close(dequantise(numbers, scale), filters, rtol=0, atol=2 / 127)


@pytest.mark.parametrize(("bits", "bound"), [(8, 0.01), (4, 0.12)])
def test_error_on_random_weights(bits, bound):
    weight = torch.randn(50, 256, generator=torch.Generator().manual_seed(0)) * 0.02
    error = dequantise(*quantise(weight, bits)) - weight
    assert 0 < error.norm() / weight.norm() < bound


def test_every_filter_has_a_scale_of_its_own():
    weight = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    weight *= torch.tensor([1e-3, 1.0, 1e3])[:, None, None, None]
    error = (dequantise(*quantise(weight, 8)) - weight).flatten(1).norm(dim=1)
    assert (error < 0.01 * weight.flatten(1).norm(dim=1)).all()


def test_zeros_stay_zeros():
    for weight, bits in ((torch.zeros(2, 3, 1, 1), 8), (torch.zeros(2, 128), 4)):
        assert torch.equal(dequantise(*quantise(weight, bits)), weight)


def test_four_bits_choose_the_better_scale():
    """One large weight among small ones: its own error is worth less than that of all others."""
    weight = torch.full((1, 64), 0.1)
    weight[0, 0] = 1.1
    plain = torch.round(weight / (1.1 / 7)).clamp(-7, 7) * (1.1 / 7)
    found = dequantise(*quantise(weight, 4))
    assert (found - weight).norm() < (plain - weight).norm()


def test_refusals():
    with pytest.raises(UnknownName, match="8, 4"):
        quantise(torch.zeros(1, 64), 3)
    with pytest.raises(BadInput, match="8 bits"):
        quantise(torch.zeros(1, 63), 4)
    with pytest.raises(BadInput, match="8 bits"):
        quantise(torch.zeros(1, 64, 1, 1), 4)
    with pytest.raises(BadInput, match="do not belong"):
        dequantise(torch.zeros(2, 32, dtype=torch.uint8), torch.ones(2, 2).half())
    with pytest.raises(BadInput, match="do not belong"):
        dequantise(torch.zeros(2, 32, dtype=torch.int8), torch.ones(3).half())


def test_pack_and_unpack_leave_the_rest_alone():
    state = {"conv1.filter.weight": torch.randn(2, 3, 3, 3), "conv1.filter.bias": torch.randn(2)}
    state |= {"fc6.linear.weight": torch.randn(4, 64), "fc8.linear.weight": torch.randn(4, 6)}
    packed = pack(state, {"conv1": 8, "fc6": 4})
    assert packed["conv1.filter.weight"].dtype == torch.int8
    assert packed["fc6.linear.weight"].shape == (4, 32)
    found = unpack(packed)
    assert list(found) == list(state)
    for key in ("conv1.filter.bias", "fc8.linear.weight"):
        assert torch.equal(found[key], state[key])


@pytest.fixture
def net():
    torch.manual_seed(0)
    return build(
        describe_variant("zfnet", width=0.125, input_size=64),
        3,
        classes=[("n1", "cat"), ("n2", "dog"), ("n3", "bus")],
    )


BITS = {f"conv{n}": 8 for n in range(1, 6)} | {"fc7": 4, "fc8": 8}


def test_through_a_file(net, tmp_path):
    path = tmp_path / "net.safetensors"
    save_weights(net, path, bits=BITS)
    plain = tmp_path / "plain.safetensors"
    save_weights(net, plain)
    assert path.stat().st_size < 0.6 * plain.stat().st_size
    found = zfnb.load_model("zfnet", weights=path)
    assert found.classes == net.classes
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, got = net(x), found(x)
    assert 0 < (got - expected).norm() < 0.1 * expected.norm()
    again = tmp_path / "again.safetensors"
    save_weights(found, again, bits=BITS)  # what was rounded once is not rounded further
    for key, value in zfnb.load_model("zfnet", weights=again).state_dict().items():
        torch.testing.assert_close(value, found.state_dict()[key], rtol=2e-3, atol=1e-6)


def test_a_layer_that_the_network_lacks(net, tmp_path):
    with pytest.raises(UnknownName, match="conv9"):
        save_weights(net, tmp_path / "net.safetensors", bits={"conv9": 8})


def test_a_file_whose_scales_do_not_fit(net, tmp_path):
    path = tmp_path / "net.safetensors"
    save_weights(net, path, bits=BITS)
    state = load_file(path)
    state["fc7.linear.weight.scale"] = state["fc7.linear.weight.scale"][:, :-1].contiguous()
    save_file(state, path, {"network": "zfnet", "format": "zfnb packed 1"})
    with pytest.raises(BadWeights, match="damaged"):
        zfnb.load_model("zfnet", weights=path)
