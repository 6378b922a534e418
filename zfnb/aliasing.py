"""What a stride does to a layer: aliasing as a number (Sec. 4.1, Fig. 6 d and e).

A map that is computed at every s-th pixel holds nothing finer than 1 / (2 s) cycles a pixel. What a
filter lets through above that comes out as something coarser that is not in the picture. Measured
from a filter and the spectrum of pictures, from the response itself, and from projections, which
carry the same fault back to pixels.

Frequencies are in cycles a pixel of the network's input; see `zfnb.filters`.

Shapes: M filters of C channels and h x w taps, S x S frequencies, N pictures of H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zfnb.errors import BadInput
from zfnb.filters import EDGE, SIZE, checked, frequencies, power_spectrum, transform


def natural_spectrum(
    size: int = SIZE, channels: int = 3, correlation: float = 0.9, limit: float = 0.5
) -> Tensor:
    """Spectrum of natural pictures as a formula: energy falls as 1 / frequency squared.

    Parameters
    ----------
    size : int
    channels : int
    correlation : float in [0, 1]
        Between any two channels; 1 are grey pictures.
    limit : float in (0, 0.5]
        No energy above it, along an axis.

    Returns
    -------
    Tensor (C, C, S, S), complex128
        As from `picture_spectrum`; nothing at frequency 0.
    """
    if not 0 <= correlation <= 1:
        raise BadInput(f"correlation must be in [0, 1], not {correlation}.")
    if not 0 < limit <= 0.5:
        raise BadInput(f"limit must be in (0, 0.5] cycles a pixel, not {limit}.")
    radius, larger = frequencies(size)
    power = torch.where(radius > 0, radius, torch.inf).pow(-2)
    power = power.masked_fill(larger > limit + EDGE, 0.0)
    mixing = torch.full((channels, channels), correlation, dtype=torch.float64)
    mixing.fill_diagonal_(1.0)
    return (mixing[:, :, None, None] * power).to(torch.complex128)


def picture_spectrum(images: Tensor) -> Tensor:
    """Spectrum of given pictures: their energy at each frequency, between each two channels.

    Each picture is taken minus its mean, faded out towards its border (`faded`).

    Parameters
    ----------
    images : Tensor (N, C, H, H)
        As the network sees them.

    Returns
    -------
    Tensor (C, C, H, H), complex128
        Mean over the pictures of X_c(f) times the conjugate of X_d(f). Its diagonal is each
        channel's energy.
    """
    total = 0
    for some in faded(images).split(16):  # the transforms of many pictures fill the memory
        x = torch.fft.fft2(some)
        total = total + torch.einsum("ncyx,ndyx->cdyx", x, x.conj())
    return total / len(images)


def energy_beyond(pictures: Tensor, limit: float) -> float:
    """Part of the pictures' energy that is finer than `limit` cycles a pixel along an axis.

    Parameters
    ----------
    pictures : Tensor (C, C, S, S)
        From `picture_spectrum`.
    limit : float in (0, 0.5]
    """
    if not 0 < limit <= 0.5:
        raise BadInput(f"limit must be in (0, 0.5] cycles a pixel, not {limit}.")
    energy = torch.einsum("ccyx->yx", pictures).real
    beyond = frequencies(pictures.shape[-1])[1] > limit + EDGE
    return float(energy[beyond].sum() / energy.sum())


def faded(images: Tensor) -> Tensor:
    """Square pictures (N, C, H, H) minus their mean, times a Hann window: they fade to 0.

    A spectrum is that of the picture repeated side by side; without the fading, the seams would
    count as edges of the picture.
    """
    if images.ndim != 4 or images.shape[2] != images.shape[3] or not len(images):
        raise BadInput(f"Pictures must be (N, C, H, H), not {tuple(images.shape)}.")
    x = images.detach().cpu().double()
    window = torch.hann_window(x.shape[-1], dtype=torch.float64)
    return (x - x.mean((2, 3), keepdim=True)) * window[:, None] * window


def aliased_share(weight: Tensor, stride: int, pictures: Tensor) -> np.ndarray:
    """Part of each filter's response to pictures that is finer than its stride can carry.

    A map with a value every `stride` pixels carries frequencies up to 1 / (2 stride) cycles a pixel
    along each axis (Nyquist). What the filter answers to above that is not lost: it turns up in the
    map as a coarser pattern that is not in the picture. This is the share of the response's energy,
    before bias and ReLU, that does so.

    Parameters
    ----------
    weight : Tensor (M, C, h, w)
    stride : int
        Pixels from one position of the map to the next.
    pictures : Tensor (C, C, S, S)
        Of real pictures; from `picture_spectrum` or `natural_spectrum`.

    Returns
    -------
    array (M,) in [0, 1]
        0 for a stride of 1. NaN where there is no response.
    """
    weight = checked(weight)
    channels, size = weight.shape[1], pictures.shape[-1]
    if pictures.shape != (channels, channels, size, size):
        raise BadInput(
            f"The pictures' spectrum is {tuple(pictures.shape)}, but the filters have {channels} "
            "channels; give one (C, C, S, S) from picture_spectrum or natural_spectrum."
        )
    half = size // 2 + 1  # the other frequencies mirror these, since taps and pixels are real
    w = transform(weight, size)[..., :half]
    # A convolution layer slides the filter without turning it round: the response is the sum of
    # X_c conj(W_c). Its energy has a term for each two channels; those of (c, d) and (d, c) are
    # conjugates of each other.
    energy = torch.zeros(len(w), size, half, dtype=torch.float64)
    for c in range(channels):
        energy += pictures[c, c, :, :half].real * w[:, c].abs().square()
        for d in range(c):
            energy += 2 * (pictures[c, d, :, :half] * (w[:, d] * w[:, c].conj())).real
    energy[:, :, 1 : (size + 1) // 2] *= 2
    aliased = energy * (1 - carried(stride, size)[:, :half])
    return (aliased.sum((1, 2)) / energy.sum((1, 2))).cpu().numpy()


def carried(stride: int, size: int = SIZE) -> Tensor:
    """Part of each frequency (S, S) that a map with this stride carries, in [0, 1].

    1 below its Nyquist frequency along both axes, 0 above it along either. Of a wave exactly at it
    the map holds half: one of the two phases falls between its positions.
    """
    if not isinstance(stride, int) or stride < 1:
        raise BadInput(f"stride must be a whole number from 1 on, not {stride!r}.")
    if stride == 1:
        return torch.ones(size, size, dtype=torch.float64)
    off = torch.fft.fftfreq(size, dtype=torch.float64).abs() - 1 / (2 * stride)
    axis = torch.where(off.abs() < EDGE, 0.5, (off < 0).double())
    return axis[:, None] * axis[None]


def check_channels(weight: Tensor, images: Tensor) -> None:
    """Filters (M, C, h, w) and pictures (N, C, H, H) must have the same C."""
    if weight.shape[1] != images.shape[1]:
        raise BadInput(
            f"The number of channels is {images.shape[1]} in the pictures, but {weight.shape[1]} "
            "in the filters; give pictures as the layer sees them."
        )


def shift_error(weight: Tensor, images: Tensor, stride: int) -> np.ndarray:
    """How badly a layer's map of one picture foretells the map of the picture moved a little.

    The behaviour behind `aliased_share`. Move the picture by d pixels, fewer than the stride. If
    the map held all of the response, it would move by d / stride of a position: a shift that a
    Fourier transform can make. The error is the squared difference of what the layer gives and
    the shifted map, summed over all pictures and all pairs of shifts, over the maps' energy. It is
    exactly twice the aliased share: what is finer than the grid is missing from the prediction
    once, and stands in it wrongly once.

    Parameters
    ----------
    weight : Tensor (M, C, h, w)
    images : Tensor (N, C, H, H)
        Taken as in `picture_spectrum`, and as periodic: what leaves on one side enters on the
        other. H must be a multiple of the stride.

    Returns
    -------
    array (M,) in [0, 2]
        0: the map moves with its picture. 2: it tells nothing of where the picture will be.
    """
    weight = checked(weight)
    carried(stride)  # a valid stride
    pictures = faded(images)
    side = images.shape[-1]
    if side % stride:
        raise BadInput(f"Pictures of {side} pixels are not a multiple of the stride {stride}.")
    check_channels(weight, images)
    w = transform(weight, side)
    coarse = side // stride
    # Moving a map of this many positions back by a shift, as a phase at each of its frequencies. At
    # Nyquist the phase has either sign; for a wave at Nyquist along both axes it matters whether
    # the two signs are equal, so the error is the mean of both cases.
    axis = torch.fft.fftfreq(coarse, dtype=torch.float64) / stride * 2 * torch.pi
    other = torch.where(axis.abs() * stride > torch.pi - EDGE, -axis, axis)
    shifts = torch.arange(stride, dtype=torch.float64)
    down = shifts[:, None, None, None, None] * axis[:, None]  # (s, 1, 1, h, 1)
    across = [shifts[:, None, None, None] * right for right in (axis, other)]  # (s, 1, 1, h)
    back = [torch.exp(-1j * (down + right)) for right in across]  # (s, s, 1, h, h)
    error = torch.zeros(len(w), dtype=torch.float64)
    energy = torch.zeros_like(error)
    for picture in torch.fft.fft2(pictures):
        response = torch.fft.ifft2((picture * w.conj()).sum(1)).real  # (M, H, H): stride 1
        maps = response.reshape(len(w), coarse, stride, coarse, stride)
        maps = torch.fft.fft2(maps.permute(2, 4, 0, 1, 3))  # (s, s, M, h, h): a map a shift
        squares = maps.abs().square().sum((0, 1, 3, 4))
        # Over all pairs a, b of n maps: sum |a - b|^2 = 2 n sum |a|^2 - 2 |sum a|^2.
        together = [(maps * phase).sum((0, 1)).abs().square().sum((1, 2)) for phase in back]
        error += 2 * squares - sum(together) / stride**2
        energy += squares
    return (error / energy).clamp(min=0).cpu().numpy()


@dataclass(frozen=True)
class Response:
    """A filter's response to a picture, and what its stride keeps of it.

    Attributes
    ----------
    dense : Tensor (H, H)
        At every pixel.
    kept : Tensor (H / stride, H / stride)
        The map: every stride-th row and column.
    held : Tensor (H, H)
        The smoothest pattern that has the map's values at its places: all that the layers above
        can know. Equal to `dense` where nothing is aliased.
    """

    dense: Tensor
    kept: Tensor
    held: Tensor


def respond(weight: Tensor, image: Tensor, stride: int) -> Response:
    """One filter's response to one picture, before bias and ReLU.

    Parameters
    ----------
    weight : Tensor (C, h, w)
    image : Tensor (C, H, H)
        Taken as it is, as periodic; `faded` avoids seams. H must be a multiple of the stride.
    stride : int
    """
    kept_part = carried(stride, image.shape[-1])
    if image.ndim != 3 or image.shape[-1] % stride or image.shape[1] != image.shape[2]:
        raise BadInput(
            f"A picture must be (C, H, H) with H a multiple of the stride {stride}, not "
            f"{tuple(image.shape)}."
        )
    weight = checked(weight[None])
    check_channels(weight, image[None])
    w = transform(weight, image.shape[-1])[0]
    dense = torch.fft.ifft2((torch.fft.fft2(image.cpu().double()) * w.conj()).sum(0)).real
    kept = dense[::stride, ::stride]
    # Between its positions a map is zero: that repeats its spectrum; the lowest copy is smooth.
    copies = torch.fft.fft2(kept).repeat(stride, stride) * stride**2
    return Response(dense, kept, torch.fft.ifft2(copies * kept_part).real)


def most_excited(weight: Tensor, images: Tensor, stride: int) -> tuple[Tensor, Tensor, Response]:
    """Of some pictures, the one that a filter answers to with the most energy.

    Parameters
    ----------
    weight : Tensor (C, h, w)
    images : Tensor (N, C, H, H)
        Looked at `faded`.
    stride : int

    Returns
    -------
    image, filter, Response
        The picture as it was given.
    """
    found = [respond(weight, image, stride) for image in faded(images)]
    best = max(range(len(found)), key=lambda n: float(found[n].dense.square().sum()))
    return images[best], weight, found[best]


def projected_finer(projections: Tensor, stride: int) -> np.ndarray:
    """Part of each projection's energy that is finer than layer 1's maps can carry.

    Such detail was put there by layer 1's filters: the maps cannot tell it from a coarser pattern.

    Parameters
    ----------
    projections : Tensor (k, 3, S, S)
        Of a `FeatureSheet`; NaN counts as 0.
    stride : int
        Of layer 1, in pixels.

    Returns
    -------
    array (k,) in [0, 1]
        NaN for an empty projection.
    """
    power = _projected_power(projections)
    return ((power * (1 - carried(stride))).sum((1, 2)) / power.sum((1, 2))).cpu().numpy()


def finer_by_map(projections: Sequence[Tensor], stride: int) -> np.ndarray:
    """Mean of `projected_finer` over the projections of each feature map.

    The projections of one map are alike; the maps are what a mean over a layer is a sample of.

    Parameters
    ----------
    projections : Tensors (k, 3, S, S), one a feature map
    stride : int

    Returns
    -------
    array (maps,) in [0, 1]
        NaN for a map all of whose projections are empty.
    """
    means = []
    for one in projections:
        shares = projected_finer(one, stride)
        known = shares[~np.isnan(shares)]
        means.append(known.mean() if len(known) else np.nan)
    return np.array(means)


@dataclass(frozen=True)
class GridEnergy:
    """A pattern of blocks in projections, see `grid_energy`.

    Attributes
    ----------
    share : float in [0, 1]
        Mean part of a projection's energy that is near the grid's frequencies.
    excess : float
        Mean energy there over that right beside them: about 1 without a grid.
    """

    share: float
    excess: float


def grid_energy(projections: Tensor, stride: int) -> GridEnergy:
    """How much stronger projections are at the frequencies of a grid than right beside them.

    On the way down, a map with a value every `stride` pixels repeats its spectrum around each
    multiple of 1 / stride cycles a pixel. Filters that do not take these copies out leave a pattern
    of blocks. The measure is the energy near the points (m, n) / stride, without (0, 0), against
    that in a frame around there. A projection of S pixels resolves about 1 / S; near is up to 1.5 /
    S along each axis, and the frame reaches to twice that. Each projection counts alike. The share
    depends on how many such points there are, and how large S is; the excess does not.

    Parameters
    ----------
    projections : Tensor (k, 3, S, S)
        Of a `FeatureSheet`; NaN counts as 0.
    stride : int
        At least 2: layer 1's, or its product with the pool's.

    Returns
    -------
    GridEnergy
        NaN if all projections are empty.

    Raises
    ------
    BadInput
        If the projections are smaller than 6 strides: the points could not be told apart.
    """
    if not isinstance(stride, int) or stride < 2:
        raise BadInput(f"A grid needs a stride of at least 2, not {stride!r}.")
    power = _projected_power(projections)
    side = projections.shape[-1]
    if side < 6 * stride:
        raise BadInput(
            f"Projections of {side} pixels are too small to see a grid of stride {stride}; take a "
            "layer with a field of at least 6 strides."
        )
    axis = torch.fft.fftfreq(SIZE, dtype=torch.float64)
    nearest = (axis * stride).round()
    off = (axis - nearest / stride).abs()
    off = torch.maximum(off[:, None], off[None])
    of_grid = (nearest[:, None] != 0) | (nearest[None] != 0)
    near = of_grid & (off <= 1.5 / side + EDGE)
    beside = of_grid & (off > 1.5 / side + EDGE) & (off <= 3 / side + EDGE)
    power = power / power.sum((1, 2), keepdim=True)
    power = power[~power.isnan().any(2).any(1)]
    share = power[:, near].sum(1).mean()
    return GridEnergy(float(share), float(power[:, near].mean() / power[:, beside].mean()))


def _projected_power(projections: Tensor) -> Tensor:
    """Energy of projections at each frequency (k, S, S); a Hann window fades their borders out."""
    pixels = checked(projections.detach().nan_to_num())
    side = max(pixels.shape[-2:])
    if side > SIZE:
        raise BadInput(
            f"Projections of {side} x {side} pixels are too large; give those of a layer whose "
            f"receptive field has at most {SIZE}."
        )
    window = torch.hann_window(pixels.shape[-1] + 2, periodic=False, dtype=torch.float64)[1:-1]
    return power_spectrum(pixels * window[:, None] * window).sum(1)
