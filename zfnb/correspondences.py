"""Does a network relate the same part in different pictures? (Sec. 4.3, Fig. 8, Table 1)

Mask the same part, say the left eye, in every one of N pictures. Of each, take the difference that
this makes to the features of a layer, eps_i = x_i - x~_i (D elements), and only its signs. If the
layer relates eyes to faces in a common way, the signs agree between the pictures. The measure

    Delta = sum over i != j of Hamming(sign eps_i, sign eps_j)

is reported as the mean of a pair's Hamming distance per element, so that it lies in [0, 1] and does
not grow with N or D: lower is more consistent. (The sum runs over both orders of a pair; the mean
does not care.)

What sign(0) is, the paper leaves open, and behind a ReLU most elements of eps are exactly zero.
`ZEROS` holds the choices.

The function `correspondence` is also ``zfnb.correspondence``; this module has another name so that
importing it does not put a module in the function's place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zfnb.adopt import as_network
from zfnb.data.pictures import MATTE
from zfnb.errors import BadInput, UnknownName
from zfnb.models import Network, check_images, evaluating

BATCH = 32  # pictures a pass; 25 MB of features at AlexNet's layer 1
CHUNK = 8192  # elements of which signs are compared at a time

ZEROS = {
    "own": "zero is a third sign: it differs from + and from -, as in MATLAB's and NumPy's `sign`",
    "half": "zero lies between + and -: half a difference from either",
    "positive": "zero counts as +, as a sign bit has it",
    "left out": "only elements that changed in both pictures of a pair count",
}
FILLS = {
    "grey": "mid grey, 128 of 255",
    "mean": "the mean colour of the training pictures: zero in the network's units",
    "picture": "the mean colour of the picture itself",
}


@dataclass(frozen=True)
class Correspondence:
    """How much the sign of a change differs between pictures. Lower is more consistent.

    Attributes
    ----------
    mean : dict {layer: float in [0, 1]}
        Mean over all pairs of pictures of the share of elements whose signs differ.
    spread : dict {layer: float}
        Sample standard deviation over the pairs, the ± of Table 1; NaN for a single pair.
    pairs : dict {layer: Tensor (N, N)}
        The share for each pair, symmetric, zero on the diagonal.
    """

    mean: dict[str, float]
    spread: dict[str, float]
    pairs: dict[str, Tensor]


def correspondence(
    net: nn.Module,
    images: Tensor,
    masks: Tensor,
    layers: str | Sequence[str],
    *,
    fill: str = "grey",
    zero: str = "own",
) -> Correspondence:
    """Table 1 for one part: how consistently masking it changes the features (Sec. 4.3).

    Parameters
    ----------
    net : Network, or nn.Module that `load_model` would take
    images : Tensor (N, 3, H, W)
        At least two, from `zfnb.preprocess`.
    masks : Tensor (N, H, W), bool
        True where the part is. One mask a picture; see `zfnb.random_masks.box_masks`.
    layers : str or sequence of str
        Any layers of the network; the paper has 5 and 7.
    fill : {"grey", "mean", "picture"}
        What goes over a masked part; see `FILLS`.
    zero : {"own", "half", "positive", "left out"}
        What the sign of zero is; see `ZEROS`.

    Returns
    -------
    Correspondence

    Raises
    ------
    UnknownName
        No such layer, fill or choice for zero.
    BadInput
        Fewer than two pictures, masks of another shape, or a mask that is empty.

    Examples
    --------
    >>> masks = box_masks(boxes["nose"], net.input_size)  # doctest: +SKIP
    >>> zfnb.correspondence(net, images, masks, ["conv5", "fc7"]).mean  # doctest: +SKIP
    """
    layers = [layers] if isinstance(layers, str) else list(layers)
    if not isinstance(images, Tensor) or images.ndim != 4 or len(images) < 2:
        raise BadInput("Correspondence compares pictures: give at least two, (N, 3, H, W).")
    signs = changes(net, images, masks, layers, fill=fill)
    pairs = {layer: sign_change(signs[layer], zero) for layer in layers}
    both = {layer: mean_and_spread(shares) for layer, shares in pairs.items()}
    return Correspondence(
        {layer: mean for layer, (mean, _) in both.items()},
        {layer: spread for layer, (_, spread) in both.items()},
        pairs,
    )


def changes(
    net: nn.Module,
    images: Tensor,
    masks: Tensor,
    layers: Iterable[str],
    *,
    fill: str = "grey",
) -> dict[str, Tensor]:
    """The signs of what masking does to the features: sign(x - x~).

    Parameters
    ----------
    images : Tensor (N, 3, H, W)
    masks : Tensor (N, H, W) or (M, N, H, W), bool
        M masks a picture; the pictures themselves run up the network only once.

    Returns
    -------
    dict {layer: Tensor (N, D) or (M, N, D)}
        int8: -1, 0 or 1.
    """
    net = as_network(net)
    layers = [net.check_layer(layer) for layer in dict.fromkeys(layers)]
    if not layers:
        raise BadInput("There is no layer to compare at; give at least one.")
    images = check_images(net, images)
    masks = check_masks(masks, images)
    single = masks.ndim == 3
    masks = masks[None] if single else masks
    before = flat_features(net, images, layers)
    found: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    for some in masks:
        after = flat_features(net, masked(images, some, net, fill), layers)
        for layer in layers:
            found[layer].append((before[layer] - after[layer]).sign().to(torch.int8))
    return {layer: rows[0] if single else torch.stack(rows) for layer, rows in found.items()}


def check_masks(masks: Tensor, images: Tensor) -> Tensor:
    """Return `masks` as bool on the images' device, or say what is wrong with them."""
    shape = (len(images), *images.shape[2:])
    if (
        not isinstance(masks, Tensor)
        or tuple(masks.shape[-3:]) != shape
        or masks.ndim not in (3, 4)
    ):
        given = tuple(masks.shape) if isinstance(masks, Tensor) else type(masks).__name__
        raise BadInput(f"Give one mask a picture, a tensor {shape}; got {given}.")
    if masks.dtype != torch.bool:
        if not torch.isin(masks, torch.tensor([0, 1], device=masks.device).to(masks.dtype)).all():
            raise BadInput("A mask is True or False (or 1 and 0) at each pixel; use mask > 0.5.")
        masks = masks.bool()
    if not masks.flatten(-2).any(-1).all():
        raise BadInput("A mask is empty, so nothing would change; every picture needs a part.")
    return masks.to(images.device)


def masked(images: Tensor, masks: Tensor, net: Network, fill: str = "grey") -> Tensor:
    """The pictures (N, 3, H, W) with `fill` where `masks` (N, H, W) are True."""
    if fill not in FILLS:
        raise UnknownName.of("fill", fill, FILLS)
    if fill == "picture":
        colour = images.mean((2, 3), keepdim=True)  # (N, 3, 1, 1)
    else:
        colour = images.new_zeros(1, 3, 1, 1)
        if fill == "grey":
            values = (
                (level / 255 - mean) / std
                for level, mean, std in zip(
                    MATTE, net.preprocessing.mean, net.preprocessing.std, strict=True
                )
            )
            colour = images.new_tensor(list(values))[None, :, None, None]
    return torch.where(masks[:, None], colour, images)


def flat_features(net: Network, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Features (N, D) of several layers in one pass."""
    found: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    last = max(layers, key=net.layer_names.index)
    with evaluating(net):
        for x in images.split(BATCH):
            for name in net.layer_names:
                x = getattr(net, name)(x)
                if name in found:
                    found[name].append(x.flatten(1))
                if name == last:
                    break
    return {layer: torch.cat(rows) for layer, rows in found.items()}


@dataclass(frozen=True)
class SignCounts:
    """For all pairs of N rows of signs, what any choice for the sign of zero needs.

    Attributes
    ----------
    elements : int
        D.
    opposite, both, fallen : Tensor (N, N), float64
        In how many elements the two are + and -; neither is zero; both are -.
    """

    elements: int
    opposite: Tensor
    both: Tensor
    fallen: Tensor

    def share(self, zero: str = "own") -> Tensor:
        """The share (N, N) of elements whose signs differ; see `sign_change`."""
        if zero not in ZEROS:
            raise UnknownName.of("choice for the sign of zero", zero, ZEROS)
        if zero == "left out":
            return (self.opposite / self.both).fill_diagonal_(0)
        if zero == "positive":  # they differ where exactly one is -
            return in_one(self.fallen) / self.elements
        weight = 1.0 if zero == "own" else 0.5
        return (self.opposite + weight * in_one(self.both)) / self.elements


def count_signs(signs: Tensor) -> SignCounts:
    """Compare all rows of `signs` (N, D) with each other."""
    rows, elements = signs.shape
    opposite, both, fallen = (
        torch.zeros(rows, rows, dtype=torch.float64, device=signs.device) for _ in range(3)
    )
    for some in signs.split(CHUNK, dim=1):
        # All pairs of rows at once. float32 counts exactly, and a chunk keeps the memory small.
        plus, minus = (some > 0).float(), (some < 0).float()  # (N, chunk)
        crossed = plus @ minus.T
        opposite += crossed + crossed.T  # + in one and - in the other
        both += (plus + minus) @ (plus + minus).T  # neither is zero
        fallen += minus @ minus.T  # both are -
    return SignCounts(elements, opposite, both, fallen)


def sign_change(signs: Tensor, zero: str = "own") -> Tensor:
    """The share of elements whose signs differ, for every pair of rows.

    Parameters
    ----------
    signs : Tensor (N, D)
        -1, 0 or 1, from `changes`.
    zero : {"own", "half", "positive", "left out"}
        See `ZEROS`.

    Returns
    -------
    Tensor (N, N) in [0, 1], float64
        Symmetric, zero on the diagonal. "left out": NaN for a pair with no element that changed in
        both.
    """
    return count_signs(signs).share(zero)


def in_one(shared: Tensor) -> Tensor:
    """In how many elements exactly one of two rows has it, from how many both have it (N, N)."""
    own = shared.diagonal()
    return own[:, None] + own[None] - 2 * shared


def mean_and_spread(shares: Tensor) -> tuple[float, float]:
    """Mean and sample standard deviation over the pairs i < j of a symmetric (N, N)."""
    upper = shares[tuple(torch.triu_indices(len(shares), len(shares), 1))]
    upper = upper[~torch.isnan(upper)]
    if not len(upper):
        return float("nan"), float("nan")
    spread = upper.std().item() if len(upper) > 1 else float("nan")
    return upper.mean().item(), spread
