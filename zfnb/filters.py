"""What a layer's filters look for, and what its stride does to it: Fig. 6 as numbers (Sec. 4.1).

The paper looks at AlexNet's layer 1 and sees very high and very low frequencies, little between
them, and dead filters; in layer 2's projections it sees aliasing from the stride of 4. Here each of
these is a measure: the bands of a filter's spectrum, dead and dominating filters, and how much of a
layer's response is finer than its stride can carry.

Frequencies are in cycles a pixel of the network's input, so filters of any size compare; times the
input's size they are cycles a picture. A spectrum is that of the filter in an empty window (padded
with zeros), so a filter moved inside its window has the same one. Nothing is subtracted: a filter's
mean counts as frequency 0, in the lowest band.

Shapes: M filters of C channels and h x w taps, S x S frequencies, N pictures of H x W pixels.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from zfnb.activations import inputs
from zfnb.errors import BadInput
from zfnb.models import Network, check_images, evaluating, initialise
from zfnb.recipes import filter_rms, filters

SIZE = 96  # frequencies along an axis; 1/3 and the bands' edges are among them
BANDS = ("low", "middle", "high", "beyond")
DEAD = 0.1  # times the layer's median RMS
DOMINATING = 3.0
EVEN = 0.05  # a map whose answers vary by less than this part of their mean tells nothing apart
EDGE = 1e-9  # a frequency on the edge of a band is not thrown over it by rounding


# ------------------------------------------------------------------ networks and pictures


def first_filters(net: nn.Module) -> tuple[Tensor, int]:
    """Layer 1's filters (M, C, h, w) and their stride in pixels.

    Raises
    ------
    BadInput
        If the network has no filters, or another stride along the rows than along the columns.
    """
    found = filters(net)
    if not found:
        raise BadInput("The network has no layer of filters; give one with a convolution.")
    convolution = found[0][1]
    if len(set(convolution.stride)) > 1:
        raise BadInput(f"Layer 1 has the stride {convolution.stride}; it must be the same twice.")
    return convolution.weight.detach().cpu().float(), convolution.stride[0]


def random_start(net: Network, seed: int = 0) -> Network:
    """An untrained network of the same shape (He's start), as a baseline for each number."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        twin = deepcopy(net).cpu()
        initialise(twin)
    twin.weights = None
    return twin.eval()


def without_mean(weight: Tensor) -> Tensor:
    """Filters (M, C, h, w) minus the mean of their taps, channel by channel.

    They give nothing for a picture of one colour. Filters are often shown so, at their own
    contrast: the mean is what the eye takes for the background.
    """
    weight = _checked(weight)
    return weight - weight.mean((2, 3), keepdim=True)


def sample_inputs(net: Network, dataset: Dataset, count: int) -> Tensor:
    """Some pictures of a dataset as `net` sees them (N, 3, H, W), evenly spread over it.

    All of them, if there are fewer than `count`.
    """
    if count < 1 or not len(dataset):
        raise BadInput("At least one picture is needed; give a count from 1 on, and a dataset.")
    items = np.linspace(0, len(dataset) - 1, min(count, len(dataset)))
    return inputs(net, dataset, items.round().astype(int).tolist())


def highest_frequency(native: int, shown: int) -> float:
    """Highest frequency in pictures of `native` pixels that are shown at `shown` pixels.

    A picture of n pixels holds at most n / 2 cycles along an axis. Enlarging it adds pixels and no
    detail.

    Parameters
    ----------
    native, shown : int
        Sides of the same square of the picture, before and after scaling.

    Returns
    -------
    float in (0, 0.5]
        Cycles a pixel of what is shown.
    """
    if min(native, shown) < 1:
        raise BadInput(f"Sides must be at least 1 pixel, not {native} and {shown}.")
    return min(0.5, 0.5 * native / shown)


# ------------------------------------------------------------------ spectra


def frequencies(size: int = SIZE) -> tuple[Tensor, Tensor]:
    """Radius and larger component (S, S) of each frequency, in cycles a pixel, in FFT order.

    The radius goes up to 0.71 in the corners; the larger of the components along the two axes, to
    0.5.
    """
    axis = torch.fft.fftfreq(size, dtype=torch.float64).abs()
    return torch.hypot(axis[:, None], axis[None]), torch.maximum(axis[:, None], axis[None])


def power_spectrum(weight: Tensor, size: int = SIZE) -> Tensor:
    """Energy of each filter at each frequency, one plane a channel.

    Parameters
    ----------
    weight : Tensor (M, C, h, w)
    size : int
        Side S of the empty window that the filter is put in, at least h and w.

    Returns
    -------
    Tensor (M, C, S, S), float64
        In FFT order; its mean over the frequencies is the sum of the squared taps.

    Raises
    ------
    BadInput
        For another shape, values that are not finite, or a window that is too small.
    """
    return _transform(_checked(weight), size).abs().square()


def grey_and_colour(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Split filters (M, C, h, w) into what answers to grey pictures, and the rest.

    Grey is the mean of the channels, the same in each; colour is what is left. Their energies add
    up to that of the filter, at each frequency.
    """
    weight = _checked(weight)
    grey = weight.mean(1, keepdim=True).expand_as(weight)
    return grey, weight - grey


def colour_share(weight: Tensor) -> np.ndarray:
    """Part of each filter's energy that is colour (M,), in [0, 1]; NaN for a filter of zeros."""
    total = _checked(weight).square().sum((1, 2, 3))
    return (grey_and_colour(weight)[1].square().sum((1, 2, 3)) / total).numpy()


def radial_spectrum(power: Tensor, rings: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """How energy is spread over the length of the frequency, all directions together.

    Parameters
    ----------
    power : Tensor (M, ..., S, S)
        From `power_spectrum`; the dimensions between are summed over.
    rings : int
        Rings of equal width from 0 to 0.5 cycles a pixel; the corners beyond are in none of them.

    Returns
    -------
    centres : array (rings,)
        Cycles a pixel.
    shares : array (M, rings)
        Each ring's part of the whole energy. NaN for a filter of zeros.
    """
    if power.ndim < 3 or power.shape[-1] != power.shape[-2]:
        raise BadInput(f"A spectrum must be (M, ..., S, S), not {tuple(power.shape)}.")
    if rings < 1:
        raise BadInput(f"There must be at least one ring, not {rings}.")
    size = power.shape[-1]
    power = power.double().reshape(len(power), -1, size * size).sum(1)  # (M, S * S)
    ring = (frequencies(size)[0].flatten() * 2 * rings + EDGE).long()
    inside = ring < rings
    sums = power.new_zeros(len(power), rings).index_add_(1, ring[inside], power[:, inside])
    centres = (np.arange(rings) + 0.5) / (2 * rings)
    return centres, (sums / power.sum(1, keepdim=True)).numpy()


def band_shares(weight: Tensor, limit: float = 0.5) -> np.ndarray:
    """Parts of each filter's energy in the low, middle and high band, and beyond the pictures.

    The bands are thirds of the highest frequency that the pictures hold: low up to a third of
    it, middle up to two thirds, high the rest. They are the same for filters of any size.

    Parameters
    ----------
    weight : Tensor (M, C, h, w)
    limit : float in (0, 0.5]
        The highest frequency along an axis, in cycles a pixel, see `highest_frequency`. What lies
        beyond it met no picture in training: it is what chance, weight decay and the size of the
        window left there.

    Returns
    -------
    array (M, 4)
        In the order of `BANDS`; each row sums to 1. NaN for a filter of zeros.
    """
    power = power_spectrum(weight).sum(1)  # (M, S, S)
    bands = _bands(limit)
    shares = torch.stack([power[:, bands == n].sum(1) for n in range(len(BANDS))], 1)
    return (shares / power.sum((1, 2))[:, None]).numpy()


def peak_frequency(weight: Tensor) -> np.ndarray:
    """Where each filter's spectrum is highest (M,): the radius, in cycles a pixel.

    The lowest one where several are as high. NaN for a filter of zeros.
    """
    return _peaks(weight)[1]


def peak_bands(weight: Tensor, limit: float = 0.5) -> dict[str, float]:
    """Part of the filters whose spectrum is highest in each of the `BANDS`; they sum to 1.

    Filters of zeros are left out.
    """
    index, peak = _peaks(weight)
    alive = ~np.isnan(peak)
    if not alive.any():
        raise BadInput("All filters are zero; they have no spectrum.")
    band = _bands(limit).flatten().numpy()[index[alive]]
    return {name: float((band == n).mean()) for n, name in enumerate(BANDS)}


def _peaks(weight: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Index into the flat frequencies (M,) and radius (M,) of each filter's highest energy."""
    power = power_spectrum(weight).sum(1).flatten(1)
    radius = frequencies()[0].flatten()
    order = radius.argsort(stable=True)
    top = power.amax(1, keepdim=True)
    index = order[(power[:, order] >= top * (1 - EDGE)).int().argmax(1)]  # the first of the highest
    return index.numpy(), radius[index].masked_fill(top[:, 0] == 0, torch.nan).numpy()


def _bands(limit: float) -> Tensor:
    """Which of the `BANDS` each frequency (S, S) is in."""
    if not 0 < limit <= 0.5:
        raise BadInput(f"limit must be in (0, 0.5] cycles a pixel, not {limit}.")
    radius, larger = frequencies()
    band = (radius > limit / 3 + EDGE).long() + (radius > 2 * limit / 3 + EDGE).long()
    return band.masked_fill(larger > limit + EDGE, 3)


# ------------------------------------------------------------------ dead and dominating filters


def effective_number(weight: Tensor) -> float:
    """How many filters share the layer's energy: its participation ratio.

    With e the squared RMS of each filter, (sum of e) squared over the sum of e squared: M if all
    are as strong, 1 if one has it all.
    """
    energy = _rms(weight).square()
    if not energy.sum():
        raise BadInput("All filters are zero; there is no energy to share.")
    return float(energy.sum().square() / energy.square().sum())


def dead(weight: Tensor) -> np.ndarray:
    """Filters (M,) bool of an RMS below a tenth of the layer's median (`DEAD`), or of zeros."""
    rms = _rms(weight)
    return ((rms < DEAD * rms.median()) | (rms == 0)).numpy()


def dominating(weight: Tensor) -> np.ndarray:
    """Filters (M,) bool of an RMS above three times the layer's median (`DOMINATING`)."""
    rms = _rms(weight)
    return (rms > DOMINATING * rms.median()).numpy()


def nearest_likeness(weight: Tensor) -> np.ndarray:
    """How like each filter (M,) is to the one it is most like: its largest cosine, in [0, 1].

    The sign of the cosine does not count: 1 for a copy or its negative. Low values mean distinct
    filters. Filters of zeros are NaN, and like nothing.
    """
    flat = _checked(weight).flatten(1)
    length = flat.norm(dim=1)
    if (length > 0).sum() < 2:
        raise BadInput("Two filters that are not zero are needed to compare them.")
    unit = flat / length[:, None]
    cosine = (unit @ unit.T).abs().fill_diagonal_(-1).nan_to_num(nan=-1)
    return cosine.amax(1).clamp(max=1).masked_fill(length == 0, torch.nan).numpy()


@dataclass(frozen=True)
class Answers:
    """How a layer's maps answer to pictures.

    Attributes
    ----------
    share : array (M,) in [0, 1]
        Part of the pictures that the map answers to anywhere (an activation above 0).
    mean, spread : arrays (M,)
        Mean and standard deviation over the pictures of the map's strongest activation in each.
    """

    share: np.ndarray
    mean: np.ndarray
    spread: np.ndarray

    @property
    def silent(self) -> np.ndarray:
        """Maps (M,) bool that answer to no picture."""
        return self.share == 0

    @property
    def even(self) -> np.ndarray:
        """Maps (M,) bool that answer to all pictures nearly alike (`EVEN`)."""
        return self.spread < EVEN * self.mean


def map_answers(net: Network, images: Tensor, batch_size: int = 32) -> dict[str, Answers]:
    """Run pictures up the layers of filters, and see how each map answers.

    Parameters
    ----------
    net : Network
    images : Tensor (N, 3, H, W)
        At least two, see `zfnb.activations.inputs`.

    Returns
    -------
    dict {layer: Answers}
        For conv1, conv2, ...
    """
    images = check_images(net, images)
    if len(images) < 2:
        raise BadInput("One picture does not tell how answers vary; give at least two.")
    layers = [layer for layer, _ in filters(net)]
    strongest: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    with evaluating(net):
        for x in images.split(batch_size):
            for name in net.layer_names:
                x = getattr(net, name)(x)
                if name in strongest:
                    strongest[name].append(x.amax((2, 3)))
                if name == layers[-1]:
                    break
    answers = {}
    for layer, parts in strongest.items():
        best = torch.cat(parts).double().clamp(min=0)  # (N, M)
        spread, mean = torch.std_mean(best, dim=0, correction=0)
        share = (best > 0).double().mean(0)
        answers[layer] = Answers(*(value.cpu().numpy() for value in (share, mean, spread)))
    return answers


def census(net: Network, answers: dict[str, Answers] | None = None) -> list[dict]:
    """Dead and dominating filters of each layer, a row a layer, for a table.

    Parameters
    ----------
    net : Network
    answers : dict, optional
        From `map_answers`; adds the maps that are silent, or even, over its pictures.

    Returns
    -------
    list of dict
        "layer", "filters"; "dead", "dominating" (numbers of filters); "largest share" (of the
        layer's energy, in one filter); "effective part" (`effective_number` over the number);
        "silent", "even".
    """
    rows = []
    for layer, convolution in filters(net):
        weight = convolution.weight.detach().cpu()
        energy = _rms(weight).square()
        row = {
            "layer": layer,
            "filters": len(weight),
            "dead": int(dead(weight).sum()),
            "dominating": int(dominating(weight).sum()),
            "largest share": float(energy.max() / energy.sum()),
            "effective part": effective_number(weight) / len(weight),
        }
        if answers is not None:
            row["silent"] = int(answers[layer].silent.sum())
            row["even"] = int(answers[layer].even.sum())
        rows.append(row)
    return rows


# ------------------------------------------------------------------ aliasing


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
    weight = _checked(weight)
    channels, size = weight.shape[1], pictures.shape[-1]
    if pictures.shape != (channels, channels, size, size):
        raise BadInput(
            f"The pictures' spectrum is {tuple(pictures.shape)}, but the filters have {channels} "
            "channels; give one (C, C, S, S) from picture_spectrum or natural_spectrum."
        )
    half = size // 2 + 1  # the other frequencies mirror these, since taps and pixels are real
    w = _transform(weight, size)[..., :half]
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
    return (aliased.sum((1, 2)) / energy.sum((1, 2))).numpy()


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
    weight = _checked(weight)
    carried(stride)  # a valid stride
    side = images.shape[-1]
    if side % stride:
        raise BadInput(f"Pictures of {side} pixels are not a multiple of the stride {stride}.")
    w = _transform(weight, side)
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
    for picture in torch.fft.fft2(faded(images)):
        response = torch.fft.ifft2((picture * w.conj()).sum(1)).real  # (M, H, H): stride 1
        maps = response.reshape(len(w), coarse, stride, coarse, stride)
        maps = torch.fft.fft2(maps.permute(2, 4, 0, 1, 3))  # (s, s, M, h, h): a map a shift
        squares = maps.abs().square().sum((0, 1, 3, 4))
        # Over all pairs a, b of n maps: sum |a - b|^2 = 2 n sum |a|^2 - 2 |sum a|^2.
        together = [(maps * phase).sum((0, 1)).abs().square().sum((1, 2)) for phase in back]
        error += 2 * squares - sum(together) / stride**2
        energy += squares
    return (error / energy).clamp(min=0).numpy()


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
    w = _transform(_checked(weight[None]), image.shape[-1])[0]
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
    return ((power * (1 - carried(stride))).sum((1, 2)) / power.sum((1, 2))).numpy()


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
    pixels = _checked(projections.detach().nan_to_num())
    window = torch.hann_window(pixels.shape[-1] + 2, periodic=False, dtype=torch.float64)[1:-1]
    return power_spectrum(pixels * window[:, None] * window).sum(1)


def _rms(weight: Tensor) -> Tensor:
    return filter_rms(_checked(weight))


def _transform(weight: Tensor, size: int) -> Tensor:
    if max(weight.shape[-2:]) > size:
        raise BadInput(
            f"Filters of {weight.shape[-2]} x {weight.shape[-1]} taps do not fit in a window of "
            f"{size}; give a larger size."
        )
    return torch.fft.fft2(weight, s=(size, size))


def _checked(weight: Tensor) -> Tensor:
    """Filters as float64 on the CPU, or one sentence about what is wrong with them."""
    if not isinstance(weight, Tensor) or weight.ndim != 4 or not weight.numel():
        given = tuple(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
        raise BadInput(f"Filters must be a tensor (M, C, h, w), not {given}.")
    weight = weight.detach().cpu().double()
    if not torch.isfinite(weight).all():
        raise BadInput("The filters hold NaN or infinite values; check how they were trained.")
    return weight
