"""What a layer's filters look for: Fig. 6 as numbers (Sec. 4.1).

The paper looks at AlexNet's layer 1 and sees very high and very low frequencies, little between
them, and dead filters. Here each of these is a measure: the bands of a filter's spectrum, dead and
dominating filters. What a stride does to a layer is in `zfnb.aliasing`.

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
FAINT = 0.1  # times the layer's median RMS
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
    convolution = _some_filters(net)[0][1]
    down, across = convolution.stride
    if down != across:
        raise BadInput(
            f"Layer 1 takes steps of {down} pixels down and {across} across; give a network whose "
            "layer 1 has the same stride both ways."
        )
    return convolution.weight.detach().cpu().float(), convolution.stride[0]


def _some_filters(net: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    """The layers of filters, at least one."""
    found = filters(net)
    if not found:
        raise BadInput("The network has no layer of filters; give one with a convolution.")
    return found


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
    weight = checked(weight)
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
    return transform(checked(weight), size).abs().square()


def grey_and_colour(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Split filters (M, C, h, w) into what answers to grey pictures, and the rest.

    Grey is the mean of the channels, the same in each; colour is what is left. Their energies add
    up to that of the filter, at each frequency.
    """
    weight = checked(weight)
    grey = weight.mean(1, keepdim=True).expand_as(weight)
    return grey, weight - grey


def colour_share(weight: Tensor) -> np.ndarray:
    """Part of each filter's energy that is colour (M,), in [0, 1]; NaN for a filter of zeros."""
    total = checked(weight).square().sum((1, 2, 3))
    return (grey_and_colour(weight)[1].square().sum((1, 2, 3)) / total).cpu().numpy()


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
    return centres, (sums / power.sum(1, keepdim=True)).cpu().numpy()


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
    return (shares / power.sum((1, 2))[:, None]).cpu().numpy()


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
    return index.cpu().numpy(), radius[index].masked_fill(top[:, 0] == 0, torch.nan).cpu().numpy()


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


def faint(weight: Tensor) -> np.ndarray:
    """Filters (M,) bool of an RMS below a tenth of the layer's median (`FAINT`), or of zeros."""
    rms = _rms(weight)
    return ((rms < FAINT * rms.median()) | (rms == 0)).cpu().numpy()


def dominating(weight: Tensor) -> np.ndarray:
    """Filters (M,) bool of an RMS above three times the layer's median (`DOMINATING`)."""
    rms = _rms(weight)
    return (rms > DOMINATING * rms.median()).cpu().numpy()


def nearest_likeness(weight: Tensor) -> np.ndarray:
    """How like each filter (M,) is to the one it is most like: its largest cosine, in [0, 1].

    The sign of the cosine does not count: 1 for a copy or its negative. Low values mean distinct
    filters. Filters of zeros are NaN, and like nothing.
    """
    flat = checked(weight).flatten(1)
    length = flat.norm(dim=1)
    if (length > 0).sum() < 2:
        raise BadInput("Two filters that are not zero are needed to compare them.")
    unit = flat / length[:, None]
    cosine = (unit @ unit.T).abs().fill_diagonal_(-1).nan_to_num(nan=-1)
    return cosine.amax(1).clamp(max=1).masked_fill(length == 0, torch.nan).cpu().numpy()


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


def idle(weight: Tensor, answers: Answers) -> np.ndarray:
    """Filters (M,) bool of a layer that are of no use: faint, silent or even, each counted once.

    Parameters
    ----------
    weight : Tensor (M, C, h, w)
    answers : Answers
        Of the same layer.
    """
    return faint(weight) | answers.silent | answers.even


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

    Raises
    ------
    BadInput
        If the network has no filters, or there are fewer than two pictures.
    """
    layers = [layer for layer, _ in _some_filters(net)]
    images = check_images(net, images)
    if len(images) < 2:
        raise BadInput("One picture does not tell how answers vary; give at least two.")
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
        "layer", "filters"; "faint", "dominating" (numbers of filters); "largest share" (of the
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
            "faint": int(faint(weight).sum()),
            "dominating": int(dominating(weight).sum()),
            "largest share": float(energy.max() / energy.sum()),
            "effective part": effective_number(weight) / len(weight),
        }
        if answers is not None:
            row["silent"] = int(answers[layer].silent.sum())
            row["even"] = int(answers[layer].even.sum())
        rows.append(row)
    return rows


def _rms(weight: Tensor) -> Tensor:
    return filter_rms(checked(weight))


def transform(weight: Tensor, size: int) -> Tensor:
    if max(weight.shape[-2:]) > size:
        raise BadInput(
            f"Filters of {weight.shape[-2]} x {weight.shape[-1]} taps do not fit in a window of "
            f"{size}; give a larger size."
        )
    return torch.fft.fft2(weight, s=(size, size))


def checked(weight: Tensor) -> Tensor:
    """Filters as float64 on the CPU, or one sentence about what is wrong with them."""
    if not isinstance(weight, Tensor) or weight.ndim != 4 or not weight.numel():
        given = tuple(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
        raise BadInput(f"Filters must be a tensor (M, C, h, w), not {given}.")
    weight = weight.detach().cpu().double()
    if not torch.isfinite(weight).all():
        raise BadInput("The filters hold NaN or infinite values; check how they were trained.")
    return weight
