"""Three operations of ZFNet and its deconvnet that torch has in another form only.

- `SwitchMaxPool2d`: max pooling that can say where each maximum was (the *switch*), Sec. 2.1.
- `unpool`: its approximate inverse, which puts each value back at its switch, Sec. 2.1.
- `ContrastNorm`: contrast normalisation across feature maps, AlexNet's, which ZFNet keeps, Sec. 3
  (Fig. 3).

Shapes: N pictures, C feature maps, H x W positions of the larger map, h x w of the pooled one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zfnb import first_calls
from zfnb.errors import BadInput, UnknownName

first_calls.settle()
COLLISIONS = ("sum", "max", "last")


class SwitchMaxPool2d(nn.MaxPool2d):
    """Max pooling whose switches can be asked for.

    Calling it pools, as `torch.nn.MaxPool2d` does. Nothing is remembered between calls: who
    needs the switches asks for them and keeps them.
    """

    def with_switches(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pool, and record where each maximum was.

        Parameters
        ----------
        x : Tensor (N, C, H, W)

        Returns
        -------
        pooled : Tensor (N, C, h, w)
        switches : Tensor (N, C, h, w), int64
            Place of each maximum as ``row * W + column`` in the map `x`. Ties go to the first
            place in raster order, so a window of zeros has a switch as well: its first place.
        """
        # On a CPU, PyTorch pools several times faster when the values of a position lie together.
        # Only the pool is given them so: convolutions round differently in the two layouts, and
        # one last bit decides a switch between two maxima that are nearly equal.
        pooled, switches = F.max_pool2d(
            x.contiguous(memory_format=torch.channels_last),
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            return_indices=True,
        )
        return pooled.contiguous(), switches.contiguous()


def unpool(
    pooled: Tensor,
    switches: Tensor,
    output_size: tuple[int, int],
    collisions: str = "sum",
) -> Tensor:
    """Put each pooled value back at its switch; every other place is zero (Sec. 2.1).

    Overlapping windows (3 x 3 with stride 2, as in the paper) can share a switch. The paper does
    not say what happens then, and `torch.nn.functional.max_unpool2d` lets the windows overwrite
    each other in no fixed order. Here the choice is explicit and the result always the same.

    Parameters
    ----------
    pooled : Tensor (N, C, h, w)
        The values to put back.
    switches : Tensor (N, C, h, w), int64
        From `SwitchMaxPool2d.with_switches`: ``row * W + column``.
    output_size : (H, W)
        Size of the map that was pooled. It has to be given: maps of 110 x 110 and of 111 x 111
        both pool to 55 x 55 (with ``ceil_mode``), and with the wrong W every switch below the
        first row points to a wrong place.
    collisions : {"sum", "max", "last"}
        For windows that share a switch: add their values (the adjoint of pooling with these
        switches held fixed, which is what back-propagation does), keep the largest, or keep
        that of the last window in raster order.

    Returns
    -------
    Tensor (N, C, H, W)

    Raises
    ------
    UnknownName
        If `collisions` is none of the three.
    BadInput
        If the shapes differ, or a switch lies outside the output.
    """
    if collisions not in COLLISIONS:
        raise UnknownName.of("rule for collisions", collisions, COLLISIONS)
    if pooled.shape != switches.shape or pooled.ndim != 4:
        raise BadInput(
            f"Pooled values and switches must both be (N, C, h, w); got {tuple(pooled.shape)} "
            f"and {tuple(switches.shape)}."
        )
    H, W = output_size
    n, c, h, w = pooled.shape
    if switches.numel() and not 0 <= int(switches.min()) <= int(switches.max()) < H * W:
        raise BadInput(
            f"A switch lies outside the {H} x {W} output; give the size of the map that was pooled."
        )
    values = pooled.reshape(n, c, h * w)
    places = switches.reshape(n, c, h * w)
    return scatter_by_switch(values, places, H * W, collisions).reshape(n, c, H, W)


def scatter_by_switch(values: Tensor, places: Tensor, size: int, collisions: str) -> Tensor:
    """Scatter `values` (N, C, L) to `places` (N, C, L) of a zero plane (N, C, `size`)."""
    plane = values.new_zeros(*values.shape[:2], size)
    if collisions == "sum":
        return plane.scatter_add_(2, places, values)
    if collisions == "max":
        return plane.scatter_reduce_(2, places, values, "amax", include_self=False)
    # "last": find the last window that claims each place, and let only that one write. A plain
    # scatter with repeated places has no defined winner.
    order = torch.arange(values.shape[2], device=values.device).expand_as(places)
    winner = torch.full_like(plane, -1, dtype=torch.long)
    winner.scatter_reduce_(2, places, order, "amax")
    return torch.where(winner >= 0, values.gather(2, winner.clamp(min=0)), plane)


class ContrastNorm(nn.Module):
    """Contrast normalisation across feature maps (Sec. 3), computed as a 1 x 1 convolution.

    Each activation is divided by ``(k + alpha * mean) ** beta``, where *mean* is the mean of the
    squares over the `size` maps around its own, at the same position. The sum over neighbouring
    maps is a product with a banded C x C matrix, which is several times faster on a CPU than
    `torch.nn.LocalResponseNorm`'s three-dimensional average pooling, and equal to it. Where no
    gradient is asked for, the band is summed directly, which is faster still.

    Parameters
    ----------
    maps : int
        Number of feature maps C.
    size : int
        How many neighbouring maps are pooled; the default values are AlexNet's (whose `alpha` is
        for the sum of the squares; PyTorch's, and this one, is for their mean).
    alpha, beta, k : float
    """

    def __init__(
        self, maps: int, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0
    ):
        super().__init__()
        self.maps, self.size, self.alpha, self.beta, self.k = maps, size, alpha, beta, k
        at = torch.arange(maps)
        offset = at[None, :] - at[:, None]  # (C, C): neighbour's index minus one's own
        band = (offset >= -(size // 2)) & (offset <= (size - 1) // 2)
        # Not a parameter, and made again from the arguments: it does not belong in a state dict.
        self.register_buffer(
            "band", band.float()[:, :, None, None] * (alpha / size), persistent=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` (N, C, H, W)."""
        plain = x.is_cpu and x.dtype == torch.float32 and x.ndim == 4 and x.is_contiguous()
        if plain and self.beta == 0.75 and not torch.is_grad_enabled():
            return self._by_picture(x)
        scale = F.conv2d(x * x, self.band.to(x.dtype)) + self.k
        if self.beta == 0.75:  # two square roots cost a third of a general power
            root = scale.rsqrt_()
            return (x * root).mul_(root.sqrt())
        return x * scale.pow(-self.beta)

    def _by_picture(self, x: Tensor) -> Tensor:
        """The same without gradients, on a CPU: one picture at a time, so that what comes between
        stays in the processor's cache, and the band as a sum of shifted maps."""
        result = torch.empty_like(x)
        for maps, out in zip(x, result, strict=True):  # (C, H, W)
            square = maps * maps
            scale = square.clone()
            for up in range(1, (self.size - 1) // 2 + 1):
                scale[:-up] += square[up:]
            for down in range(1, self.size // 2 + 1):
                scale[down:] += square[:-down]
            root = scale.mul_(self.alpha / self.size).add_(self.k).rsqrt_()
            torch.mul(maps, root, out=out)
            out.mul_(root.sqrt_())
        return result

    def pull_back(self, x: Tensor, signal: Tensor) -> Tensor:
        """Gradient of ``(forward(x) * signal).sum()`` with respect to `x`, in closed form.

        Parameters
        ----------
        x, signal : Tensor (N, C, H, W)
            What the layer was given on the way up, and the gradient that comes from above.
        """
        band = self.band.to(x.dtype)
        scale = F.conv2d(x * x, band) + self.k
        inner = signal * x * scale.pow(-self.beta - 1)
        return signal * scale.pow(-self.beta) - 2 * self.beta * x * F.conv2d(
            inner, band.transpose(0, 1)
        )

    def extra_repr(self) -> str:
        return f"{self.maps}, size={self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
