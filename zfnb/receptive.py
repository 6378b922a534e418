"""Receptive fields: which pixels an activation can see, by arithmetic alone.

Along one axis, a window of `size` positions that starts at position `start` of a layer's output
reads, in the layer's input, a window that starts at ``start * stride - padding`` and is
``(size - 1) * stride + kernel`` long. Applied from a unit down to the picture, this gives its
receptive field: the picture patch that Fig. 2 shows beside each projection.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zfnb.errors import BadInput

if TYPE_CHECKING:
    from zfnb.models import Network


def geometry(step: nn.Module, axis: int = 0) -> tuple[int, int, int]:
    """(kernel, stride, padding) of a convolution or pool along axis 0 (rows) or 1 (columns)."""

    def along(value) -> int:
        return value[axis] if isinstance(value, tuple | list) else value

    dilation = along(step.dilation)
    return (along(step.kernel_size) - 1) * dilation + 1, along(step.stride), along(step.padding)


def output_size(step: nn.Module, size: int, axis: int = 0) -> int:
    """Number of positions that a convolution or pool makes of `size` positions along an axis."""
    kernel, stride, padding = geometry(step, axis)
    span = size + 2 * padding - kernel
    if span < 0 and not getattr(step, "ceil_mode", False):
        return 0
    if not getattr(step, "ceil_mode", False):
        return span // stride + 1
    positions = math.ceil(span / stride) + 1
    # A last window that would begin in the padding on the far side is dropped.
    if (positions - 1) * stride >= size + padding:
        positions -= 1
    return positions


def receptive_field(net: Network, layer: str) -> tuple[int, int, int]:
    """(size, stride, start) of the receptive field of a layer's units, in pixels, along a side.

    A unit in row r sees the rows from ``start + r * stride`` on, `size` of them, as far as they are
    inside the picture. The fully connected layers see everything: their stride is 0.

    Parameters
    ----------
    net : Network
    layer : str
    """
    net.check_layer(layer)
    size, stride, start = 1, 1, 0
    for _, step in net.steps(to=layer):
        if isinstance(step, nn.Flatten | nn.Linear):
            return net.input_size, 0, 0
        if isinstance(step, nn.Conv2d | nn.MaxPool2d):
            kernel, step_stride, padding = geometry(step)
            size += (kernel - 1) * stride
            start -= padding * stride
            stride *= step_stride
    return size, stride, start


def receptive_boxes(net: Network, layer: str, position: Tensor) -> Tensor:
    """The pixels that units see, one box a unit.

    The field is cut off at the border of the picture, and at the border of every map on the way:
    what a unit reads from padding comes from no pixel.

    Parameters
    ----------
    net : Network
    layer : str
    position : Tensor (M, 2), integer
        Row and column in the layer's maps; not looked at in a fully connected layer.

    Returns
    -------
    Tensor (M, 4), int64
        Top, left, bottom, right; bottom and right are exclusive.

    Raises
    ------
    UnknownName
        For an unknown layer.
    BadInput
        For a position outside the layer's maps.
    """
    shape = net.shapes[net.check_layer(layer)]
    if len(shape) == 1:
        return torch.tensor([0, 0, net.input_size, net.input_size]).expand(len(position), 4)
    limit = torch.tensor(shape[1:], device=position.device)
    outside = ((position < 0) | (position >= limit)).any(1)
    if outside.any():
        row, column = position[outside][0].tolist()
        raise BadInput(
            f"Position ({row}, {column}) is outside the {shape[1]} x {shape[2]} maps of {layer}."
        )
    spatial = [s for _, s in net.steps(to=layer) if isinstance(s, nn.Conv2d | nn.MaxPool2d)]
    spans = []
    for axis in (0, 1):
        sides = [net.input_size]
        for step in spatial:
            sides.append(output_size(step, sides[-1], axis))
        first, last = position[:, axis].long(), position[:, axis].long()  # both inclusive
        for step, side in zip(reversed(spatial), reversed(sides[:-1]), strict=True):
            kernel, stride, padding = geometry(step, axis)
            first = (first * stride - padding).clamp(min=0)
            last = (last * stride - padding + kernel - 1).clamp(max=side - 1)
        spans.append((first, last + 1))
    (top, bottom), (left, right) = spans
    return torch.stack((top, left, bottom, right), dim=1)
