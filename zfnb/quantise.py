"""Weights in fewer bits, so that trained networks can travel with the package.

A filter is kept as whole numbers and a scale: 8 bits, one scale a filter, for convolutions, whose
every error ends in the pictures; 4 bits, one scale for each 64 inputs of a unit, for the large
fully connected layers, which hold most of a network and need it least (Han et al., *Deep
Compression*, arXiv 1510.00149). What that costs in error is measured when a network is kept.

Shapes: O filters or units, I inputs of a unit.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from zfnb.errors import BadInput, UnknownName

BITS = (8, 4)
GROUP = 64  # inputs that share a scale, at 4 bits
SCALE = ".scale"  # a scale is stored beside its weight, under the weight's name and this
SHRINKS = torch.linspace(1.0, 0.6, 9)  # candidates for the largest value kept, in parts of it


def quantise(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Whole numbers and scales for a weight.

    Parameters
    ----------
    weight : Tensor (O, ...)
        At 4 bits (O, I), with I a multiple of 64.
    bits : {8, 4}

    Returns
    -------
    numbers : Tensor
        8 bits: int8, the shape of `weight`. 4 bits: uint8 (O, I / 2), two numbers a byte, the
        first in the lower half.
    scale : Tensor, float16
        8 bits: (O,). 4 bits: (O, I / 64).

    Raises
    ------
    UnknownName
        Another number of bits.
    BadInput
        At 4 bits, a weight that does not fall into groups of 64 inputs.
    """
    if bits not in BITS:
        raise UnknownName.of("number of bits", bits, BITS)
    if bits == 8:
        rows = weight.detach().float().flatten(1)
    elif weight.ndim == 2 and weight.shape[1] % GROUP == 0:
        rows = weight.detach().float().reshape(-1, GROUP)
    else:
        raise BadInput(
            f"A weight of shape {tuple(weight.shape)} has no groups of {GROUP} inputs; keep it in "
            "8 bits."
        )
    most = 2 ** (bits - 1) - 1
    largest = rows.abs().amax(1)
    best, error = largest.clone(), torch.full_like(largest, torch.inf)
    for shrink in SHRINKS if bits == 4 else SHRINKS[:1]:
        # With few numbers it pays to cut off the largest weights and tell the rest apart.
        scale = _as_stored(largest * shrink / most)
        off = (rows - _rounded(rows, scale, most) * scale[:, None]).square().sum(1)
        best, error = torch.where(off < error, scale, best), torch.minimum(off, error)
    numbers = _rounded(rows, best, most)
    if bits == 8:
        return numbers.to(torch.int8).reshape(weight.shape), best.half()
    pairs = (numbers.to(torch.int16) & 15).to(torch.uint8).reshape(len(weight), -1, 2)
    return pairs[..., 0] | pairs[..., 1] << 4, best.half().reshape(len(weight), -1)


def _as_stored(scale: Tensor) -> Tensor:
    """A scale as float16 holds it; never 0, so that a filter of zeros stays one."""
    return scale.clamp(min=1e-7).half().float()


def _rounded(rows: Tensor, scale: Tensor, most: int) -> Tensor:
    return (rows / scale[:, None]).round().clamp(-most, most)


def dequantise(numbers: Tensor, scale: Tensor) -> Tensor:
    """The weight of `quantise`'s numbers and scales, float32.

    Raises
    ------
    BadInput
        If the two do not belong together.
    """
    if numbers.dtype == torch.int8 and scale.shape == numbers.shape[:1]:
        return numbers.float() * scale.float().view(-1, *[1] * (numbers.ndim - 1))
    fits = numbers.ndim == scale.ndim == 2 and len(numbers) == len(scale)
    if numbers.dtype == torch.uint8 and fits and numbers.shape[1] * 2 == scale.shape[1] * GROUP:
        pairs = torch.stack([numbers & 15, numbers >> 4], 2).to(torch.int8)
        signed = torch.where(pairs > 7, pairs - 16, pairs).float()
        return (signed.reshape(len(numbers), -1, GROUP) * scale.float()[..., None]).flatten(1)
    raise BadInput(
        f"Numbers {numbers.dtype} {tuple(numbers.shape)} and scales {tuple(scale.shape)} do not "
        "belong together."
    )


def pack(state: Mapping[str, Tensor], bits: Mapping[str, int]) -> dict[str, Tensor]:
    """A state dict in which the weights of the layers named in `bits` are quantised.

    Parameters
    ----------
    state : {"conv1.filter.weight": Tensor, ...}
    bits : {layer name: 8 or 4}
        Other layers, and all biases, stay as they are.
    """
    packed: dict[str, Tensor] = {}
    for key, value in state.items():
        layer = key.split(".")[0]
        if layer in bits and value.ndim > 1:
            packed[key], packed[key + SCALE] = quantise(value, bits[layer])
        else:
            packed[key] = value
    return packed


def unpack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict that `pack` was given, as far as its bits go."""
    return {
        key: dequantise(value, state[key + SCALE]) if key + SCALE in state else value
        for key, value in state.items()
        if not key.endswith(SCALE)
    }
