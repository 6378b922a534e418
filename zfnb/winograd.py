"""Convolutions with fewer multiplications, for training on a CPU (Winograd's, or Toom and Cook's).

A layer of 3 x 3 filters costs nine products for each output and input map. Seen as polynomials, a
filter with r taps that gives m outputs needs only m + r - 1 products: evaluate both at that many
points, multiply there, and interpolate. In two dimensions, 6 x 6 outputs then cost 8 x 8 products
instead of 36 x 9, five times fewer, and what is left is one matrix product a point. A filter with
stride s is first taken apart into its s x s phases, which have stride 1.

The results equal those of `torch.nn.Conv2d` to about 1e-5 of their size. That is no matter in
training, but it can move a switch between two nearly equal maxima: the experiments keep to the
plain convolution. The exception is occlusion, which looks at no switches: where the square has many
places, the windows that it changes are computed with `FixedFilters` (`zfnb.windows`).

References
----------
Lavin & Gray, *Fast Algorithms for Convolutional Neural Networks*, arXiv 1509.09308.

Shapes: N pictures, C and O input and output maps, H x W positions, T tiles of m x m outputs, r taps
a side, p = m + r - 1 points a side.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import Function, once_differentiable

# Interpolation at few points with small values rounds well; more than eight do not.
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)
MOST = len(POINTS) + 1  # and the point at infinity
FEWEST_MAPS = 16  # with fewer input maps the transforms cost more than the products they save


@functools.cache
def transforms(m: int, r: int) -> tuple[Tensor, Tensor, Tensor]:
    """The three linear maps of m outputs and r taps, in two dimensions.

    Returns
    -------
    output : Tensor (m * m, p * p)
    taps : Tensor (p * p, r * r)
    inputs : Tensor (p * p, p * p)
        So that ``output @ ((taps @ filter) * (inputs @ tile))`` are the tile's outputs.
    """
    p = m + r - 1
    powers = np.zeros((p, p))  # row i: the powers of point i, lowest first
    powers[:-1] = np.array(POINTS[: p - 1])[:, None] ** np.arange(p)
    powers[-1, -1] = 1  # infinity: the highest coefficient alone

    def evaluate(count: int) -> np.ndarray:
        values = powers[:, :count].copy()
        values[-1] = np.eye(count)[-1]
        return values

    # Interpolation is the inverse of evaluation; a correlation is its transpose (Lavin & Gray).
    inverse = np.linalg.inv(powers).T
    size = np.abs(inverse).max(1, keepdims=True)
    one = evaluate(m).T, evaluate(r) * size, inverse / size
    return tuple(torch.from_numpy(np.kron(a, a)).float() for a in one)


def best_tile(height: int, width: int, r: int) -> int:
    """The tile side m that needs the fewest products for height x width outputs."""

    def products(m: int) -> int:
        return -(-height // m) * -(-width // m) * (m + r - 1) ** 2

    return min(range(1, MOST - r + 2), key=products)


class _Correlate(Function):
    """Filters with stride 1 on maps that lie as (H, W, N, C): tiles in, products, tiles out."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, m: int) -> Tensor:
        """(H, W, N, C), (r, r, C, O) to (H - r + 1, W - r + 1, N, O)."""
        r, _, c, o = weight.shape
        h, w, n, _ = x.shape
        p, down, across = m + r - 1, (h - r + 1) // m, (w - r + 1) // m
        output, taps, inputs = transforms(m, r)
        tiles = x.unfold(0, p, m).unfold(1, p, m).permute(4, 5, 0, 1, 2, 3)  # (p, p, T, T, N, C)
        tiles = inputs @ tiles.reshape(p * p, -1)
        tiles = tiles.view(p * p, down * across * n, c)
        filters = (taps @ weight.reshape(r * r, -1)).view(p * p, c, o)
        y = output @ torch.bmm(tiles, filters).view(p * p, -1)
        ctx.save_for_backward(tiles, filters)
        ctx.sizes = (m, r, h, w, n, c, o, p, down, across)
        y = y.view(m, m, down, across, n, o).permute(2, 0, 3, 1, 4, 5)
        return y.reshape(down * m, across * m, n, o)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        """Each step of the way there, transposed."""
        tiles, filters = ctx.saved_tensors
        m, r, h, w, n, c, o, p, down, across = ctx.sizes
        output, taps, inputs = transforms(m, r)
        grad = grad.reshape(down, m, across, m, n, o).permute(1, 3, 0, 2, 4, 5)
        grad = output.T @ grad.reshape(m * m, -1)
        grad = grad.view(p * p, down * across * n, o)
        to_weight = taps.T @ torch.bmm(tiles.transpose(1, 2), grad).view(p * p, -1)
        to_weight = to_weight.view(r, r, c, o)
        if not ctx.needs_input_grad[0]:
            return None, to_weight, None
        back = inputs.T @ torch.bmm(grad, filters.transpose(1, 2)).view(p * p, -1)
        back = back.view(p, p, down, across, n, c)
        if down * across == 1:
            return back.view(h, w, n, c), to_weight, None
        to_x = grad.new_zeros(h, w, n, c)
        for i in range(down):  # neighbouring tiles overlap by r - 1
            for j in range(across):
                to_x[i * m : i * m + p, j * m : j * m + p] += back[:, :, i, j]
        return to_x, to_weight, None


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1, padding: int = 0
) -> Tensor:
    """`torch.nn.functional.conv2d` for square filters, with fewer products.

    Parameters
    ----------
    x : Tensor (N, C, H, W), float32 on the CPU
    weight : Tensor (O, C, k, k)
    bias : Tensor (O,) or None
    stride, padding : int

    Returns
    -------
    Tensor (N, O, h, w), channels last
    """
    o, c, k, _ = weight.shape
    n, _, height, width = x.shape
    h, w = ((side + 2 * padding - k) // stride + 1 for side in (height, width))
    r = -(-k // stride)  # taps of a phase
    m = best_tile(h, w, r)
    # Rows and columns that the tiles reach to, in steps of the stride; zeros where x ends.
    down, across = (-(-side // m) * m + r - 1 for side in (h, w))
    bottom, right = (
        reach * stride - side - padding for reach, side in ((down, height), (across, width))
    )
    x = F.pad(x.permute(2, 3, 0, 1), (0, 0, 0, 0, padding, right, padding, bottom))
    x = x.reshape(down, stride, across, stride, n, c).permute(0, 2, 4, 1, 3, 5)
    x = x.reshape(down, across, n, stride * stride * c)
    weight = F.pad(weight, (0, r * stride - k, 0, r * stride - k))
    weight = weight.view(o, c, r, stride, r, stride).permute(2, 4, 3, 5, 1, 0)
    y = _Correlate.apply(x, weight.reshape(r, r, stride * stride * c, o), m)[:h, :w]
    if bias is not None:
        y = y + bias
    return y.permute(2, 3, 0, 1).contiguous(memory_format=torch.channels_last)


class FixedFilters:
    """The same without gradients, for many calls with the same filters and the same size.

    Parameters
    ----------
    weight : Tensor (O, C, k, k), float32 on the CPU
    bias : Tensor (O,) or None
    stride : int
    height, width : int
        Of the outputs that are wanted.

    Attributes
    ----------
    input_size : (H, W)
        Of the inputs that have to be given. They reach a little further than the filters need: to
        whole tiles. What they hold there does not matter.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: int, height: int, width: int):
        o, c, k, _ = weight.shape
        self.bias, self.stride, self.maps = bias, stride, o
        self.r = r = -(-k // stride)
        self.m = m = best_tile(height, width, r)
        self.tiles = down, across = -(-height // m), -(-width // m)
        self.input_size = tuple((tiles * m + r - 1) * stride for tiles in (down, across))
        _, taps, _ = transforms(m, r)
        weight = F.pad(weight, (0, r * stride - k, 0, r * stride - k))
        weight = weight.view(o, c, r, stride, r, stride).permute(2, 4, 3, 5, 1, 0)
        self.filters = (taps @ weight.reshape(r * r, -1)).view(-1, stride * stride * c, o)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, H, W, C) to (N, h, w, O), as many whole tiles as there are."""
        m, r, s, o, (down, across) = self.m, self.r, self.stride, self.maps, self.tiles
        n, height, width, c = x.shape
        p = m + r - 1
        output, _, inputs = transforms(m, r)
        x = x.view(n, height // s, s, width // s, s, c).permute(1, 3, 0, 2, 4, 5)
        x = x.reshape(height // s, width // s, n, s * s * c) if s > 1 else x[:, :, :, 0, 0]
        tiles = x.unfold(0, p, m).unfold(1, p, m).permute(4, 5, 0, 1, 2, 3)  # (p, p, T, T, N, C)
        tiles = (inputs @ tiles.reshape(p * p, -1)).view(p * p, down * across * n, -1)
        y = (output @ torch.bmm(tiles, self.filters).view(p * p, -1)).view(m, m, down, across, n, o)
        y = y.permute(4, 2, 0, 3, 1, 5).reshape(n, down * m, across * m, o)
        return y if self.bias is None else y.add_(self.bias)


class WinogradConv2d(nn.Conv2d):
    """A `torch.nn.Conv2d` that is computed by `conv2d` of this file where that can be."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        return conv2d(x, self.weight, self.bias, self.stride[0], self.padding[0])


def worth_it(module: nn.Module) -> bool:
    """Whether a module is a convolution that this file computes faster."""
    if type(module) is not nn.Conv2d or isinstance(module.padding, str):
        return False
    if module.in_channels < FEWEST_MAPS:
        return False
    (k, other), (stride, across) = module.kernel_size, module.stride
    square = k == other and stride == across and module.padding[0] == module.padding[1]
    plain = module.groups == 1 and module.dilation == (1, 1) and module.padding_mode == "zeros"
    return square and plain and 1 < -(-k // stride) <= 5


def use_winograd(net: nn.Module) -> nn.Module:
    """Let the convolutions of `net` be computed with fewer products; its weights stay as they are.

    Returns
    -------
    nn.Module
        `net` itself, changed in place.
    """
    for module in net.modules():
        if worth_it(module):
            module.__class__ = WinogradConv2d
    return net
