"""The layers of a network for many pictures that differ from one picture in a small window.

A square over a picture (Sec. 4.2) changes a window of every map and leaves the rest as it was. So
the picture goes up the network once; for each place of the square, only the changed window of each
layer is computed again, from a patch of the layer below: the picture's own values, with the changed
window of the layer below pasted in. This is exact; only where many windows go up a CPU are
convolutions computed with transformed filters (`zfnb.winograd`), which is right to about 1e-5.

The windows of a layer have one size, and are moved inside the maps at the borders. A position's
values lie together in memory (channels last), so that patches are gathered by copying whole rows.

Shapes: M pictures, C feature maps, H x W positions of a map, h x w positions of a window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zfnb.layers import ContrastNorm, SwitchMaxPool2d
from zfnb.models import Network, evaluating
from zfnb.receptive import geometry, output_size
from zfnb.winograd import FixedFilters, worth_it

SPATIAL = (nn.Conv2d, SwitchMaxPool2d)
POINTWISE = (nn.ReLU, nn.BatchNorm2d, ContrastNorm, nn.Dropout)
CHUNK = 32  # pictures at a time: their windows stay in the processor's cache
MANY = 100  # pictures from which on it pays to transform the filters


@dataclass
class Windows:
    """The changed windows of a layer's maps, one a picture.

    Attributes
    ----------
    values : Tensor (M, h, w, C)
    start : Tensor (M, 2), int64
        Row and column of a window's first position in the whole map.
    """

    values: Tensor
    start: Tensor

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Reach:
    """Where the windows of one step lie, along one axis.

    Attributes
    ----------
    start : Tensor (M,)
        First position of the window in the step's output.
    length : int
        Positions of the window.
    patch_start : Tensor (M,)
        First position of the patch that the window is computed from, in the step's input. It is
        negative where the patch begins in the padding.
    patch : int
        Positions of the patch.
    """

    start: Tensor
    length: int
    patch_start: Tensor
    patch: int


def reach(step: nn.Module, start: Tensor, length: int, size: int, axis: int) -> Reach:
    """How a window of `length` positions from `start` (M,) on spreads through a step.

    `size` is that of the whole map below.
    """
    kernel, stride, padding = geometry(step, axis)
    positions = output_size(step, size, axis)
    first = (start + padding - kernel + stride).div(stride, rounding_mode="floor")
    last = (start + length - 1 + padding).div(stride, rounding_mode="floor")
    first, last = first.clamp(0, positions - 1), last.clamp(0, positions - 1)
    # A step that skips positions may read nothing of a window: one output then, which stays equal.
    length = max(1, int((last - first).max()) + 1)
    first = first.clamp(max=positions - length)
    return Reach(first, length, first * stride - padding, (length - 1) * stride + kernel)


class WindowedNetwork:
    """A network that has seen a picture, and computes what a window changes.

    Parameters
    ----------
    net : Network
    image : Tensor (1, 3, H, W)
    """

    def __init__(self, net: Network, image: Tensor):
        self.net = net
        self.steps = list(net.steps())
        self.below = []  # the picture's own input to each step
        self.padded = {}  # the same with its padding, channels last: what patches are cut from
        self.activations: dict[str, Tensor] = {}
        with evaluating(net):
            x = image
            for number, (name, step) in enumerate(self.steps):
                self.below.append(x)
                if isinstance(step, SPATIAL):
                    self.padded[number] = with_padding(x, step)
                x = step(x)
                self.activations[name] = x
        flat = [
            n
            for n, x in enumerate(self.below)
            if x.ndim == 2 or isinstance(self.steps[n][1], nn.Flatten)
        ]
        self.maps_end = min(flat, default=len(self.steps))
        self.filters: dict[tuple[int, int, int], FixedFilters] = {}

    @staticmethod
    def takes(net: Network) -> bool:
        """Whether all steps of a network are of a kind that can be computed on windows."""
        known = (*SPATIAL, *POINTWISE, nn.Flatten, nn.Linear)
        return all(
            isinstance(step, known)
            and getattr(step, "padding_mode", "zeros") == "zeros"
            and not isinstance(getattr(step, "padding", 0), str)
            for _, step in net.steps()
        )

    def up(self, windows: Windows, many: bool = False) -> Iterator[tuple[str, Windows]]:
        """Carry changed windows of the picture up the layers of maps.

        Parameters
        ----------
        windows : Windows
            Of the picture: `values` (M, h, w, 3).
        many : bool
            Whether so many windows come that transforming the filters first saves time.

        Yields
        ------
        (layer name, Windows)
            In order; outside of a layer's windows nothing has changed.
        """
        for number, (name, step) in enumerate(self.steps[: self.maps_end]):
            if isinstance(step, SPATIAL):
                windows = self._spatial(number, step, windows, many)
            else:
                values = step(windows.values.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
                windows = Windows(values, windows.start)
            if number + 1 == len(self.steps) or self.steps[number + 1][0] != name:
                yield name, windows

    def above(self, maps: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Carry whole maps (M, C, H, W) of the last layer of maps up the fully connected layers.

        Yields
        ------
        (layer name, Tensor (M, units))
        """
        x = maps
        for number, (name, step) in enumerate(self.steps):
            if number < self.maps_end:
                continue
            x = step(x)
            if number + 1 == len(self.steps) or self.steps[number + 1][0] != name:
                yield name, x

    def cut(self, layer: str, windows: Windows) -> Tensor:
        """The picture's own values (M, h, w, C) in the place of a layer's windows."""
        h, w = windows.values.shape[1:3]
        (top, left), maps = windows.start.T, self.activations[layer]
        return gather(channels_last(maps), top, h, left, w)

    def paste(self, layer: str, windows: Windows) -> Tensor:
        """Whole maps (M, C, H, W) of a layer: the picture's, with windows put in."""
        maps = self.activations[layer]
        whole = windows.values
        if whole.shape[1:3] != maps.shape[2:]:
            whole = channels_last(maps).repeat(len(windows), 1, 1, 1)
            put(whole, windows.values, windows.start)
        return whole.permute(0, 3, 1, 2)

    def _spatial(self, number: int, step: nn.Module, windows: Windows, many: bool) -> Windows:
        """Through a convolution or a pool."""
        below = self.below[number]
        sizes, lengths = below.shape[2:], windows.values.shape[1:3]
        rows, columns = (
            reach(step, windows.start[:, axis], lengths[axis], sizes[axis], axis) for axis in (0, 1)
        )
        filters = None
        if many and worth_it(step) and below.is_cpu and below.dtype == torch.float32:
            filters = self._fixed(number, step, rows.length, columns.length)
        height, width = (rows.patch, columns.patch) if filters is None else filters.input_size
        top, left = rows.patch_start, columns.patch_start
        above, before = (geometry(step, axis)[2] for axis in (0, 1))
        patches = gather(self.padded[number], top + above, height, left + before, width)
        put(patches, windows.values, windows.start - torch.stack((top, left), dim=1))
        if filters is not None:
            values = filters(patches)[:, : rows.length, : columns.length]
        else:
            x = patches.permute(0, 3, 1, 2)
            if isinstance(step, nn.Conv2d):
                x = F.conv2d(x, step.weight, step.bias, step.stride, 0, step.dilation, step.groups)
            else:
                x = F.max_pool2d(x, step.kernel_size, step.stride, 0, step.dilation)
            values = x.permute(0, 2, 3, 1)
        return Windows(values, torch.stack((rows.start, columns.start), dim=1))

    def _fixed(self, number: int, step: nn.Conv2d, height: int, width: int) -> FixedFilters:
        key = (number, height, width)
        if key not in self.filters:
            self.filters[key] = FixedFilters(step.weight, step.bias, step.stride[0], height, width)
        return self.filters[key]


def channels_last(maps: Tensor) -> Tensor:
    """(1, C, H, W) to (H, W, C)."""
    return maps[0].permute(1, 2, 0).contiguous()


def gather(maps: Tensor, top: Tensor, height: int, left: Tensor, width: int) -> Tensor:
    """Patches (M, height, width, C) of maps (H, W, C), from rows `top` and columns `left` (M,) on.

    What reaches past the far border repeats its last row and column.
    """
    H, W, C = maps.shape
    rows = top[:, None] + torch.arange(height, device=top.device)
    columns = left[:, None] + torch.arange(width, device=left.device)
    rows, columns = rows.clamp(max=H - 1), columns.clamp(max=W - 1)
    places = rows[:, :, None] * W + columns[:, None, :]  # (M, height, width)
    patches = maps.view(H * W, C).index_select(0, places.flatten())
    return patches.view(len(top), height, width, C)


def with_padding(maps: Tensor, step: nn.Module) -> Tensor:
    """Maps (1, C, H, W) as (H', W', C), with all the padding that a step reads around them."""
    around = []
    for axis in (1, 0):  # as F.pad wants it: columns first
        kernel, stride, padding = geometry(step, axis)
        size = maps.shape[2 + axis]
        end = (output_size(step, size, axis) - 1) * stride - padding + kernel
        around += [padding, max(0, end - size)]
    empty = -torch.inf if isinstance(step, nn.MaxPool2d) else 0.0
    return F.pad(maps[0].permute(1, 2, 0), (0, 0, *around), value=empty).contiguous()


def put(patches: Tensor, values: Tensor, start: Tensor) -> None:
    """Put windows (M, h, w, C) into patches (M, H, W, C), in place, from `start` (M, 2) on.

    What falls outside a patch is left away.
    """
    (m, H, W, C), (h, w) = patches.shape, values.shape[1:3]
    rows = start[:, :1] + torch.arange(h, device=start.device)  # (M, h)
    columns = start[:, 1:] + torch.arange(w, device=start.device)  # (M, w)
    picture = torch.arange(m, device=start.device)[:, None]
    places = ((picture * H + rows)[:, :, None] * W + columns[:, None, :]).flatten()
    inside = ((rows >= 0) & (rows < H))[:, :, None] & ((columns >= 0) & (columns < W))[:, None, :]
    values = values.reshape(-1, C)
    if not inside.all():
        inside = inside.flatten()
        places, values = places[inside], values[inside]
    patches.view(-1, C).index_copy_(0, places, values)
