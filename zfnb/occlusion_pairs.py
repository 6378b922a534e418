"""Pictures of two things: what does the network see when one is hidden? (Sec. 4.2, Fig. 7e)

In one of the paper's pictures, hiding a dog's face lets the network name the ball beside it. Here
such pictures are made: two stamps side by side before a background, each with its exact mask.

Shapes: h x w places of the square, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from PIL import Image
from torch import Tensor

from zfnb.data import background, compose, preprocess, stamp
from zfnb.errors import BadInput
from zfnb.feature_sheets import object_mask
from zfnb.models import Network
from zfnb.occlusion import OcclusionMaps

SIDE = 256  # pixels of the picture that is made; networks see its middle 7/8
APART = 0.21  # of the side, from the picture's middle to that of either thing


@dataclass(frozen=True)
class Pair:
    """Two things in one picture.

    Attributes
    ----------
    names : (str, str)
        Of the left and the right thing.
    picture : PIL.Image.Image
        RGB (256, 256).
    image : Tensor (3, H, W)
        The same as the network's input.
    masks : Tensor (2, H, W) in [0, 1]
        How much of each pixel is the left thing, the right thing.
    targets : (int, int)
        Their classes.
    """

    names: tuple[str, str]
    picture: Image.Image
    image: Tensor
    masks: Tensor
    targets: tuple[int, int]


def pair(
    net: Network,
    keys: Sequence[str],
    targets: Sequence[int],
    behind: str = "noise",
    size: float = 0.42,
    seed: int = 0,
) -> Pair:
    """Two stamps side by side.

    Parameters
    ----------
    net : Network
    keys : 2 keys of stamps, e.g. "fruit/lemon"
        Left and right.
    targets : 2 ints
        Their classes.
    behind : str
        Name of a background.
    size : float in (0, 0.42]
        Longer side of each, as a fraction of the picture's; they do not overlap.
    seed : int
        Of the background.
    """
    if len(keys) != 2 or len(targets) != 2:
        raise BadInput("A pair is of two things: give two keys and two classes.")
    if not 0 < size <= 2 * APART:
        raise BadInput(f"size must be above 0 and at most {2 * APART}, not {size}: else they meet.")
    under, made = background(behind, seed, SIDE), []
    for key, sign in zip(keys, (-1, 1), strict=True):
        centre = (SIDE / 2, SIDE * (0.5 + sign * APART))
        made.append(compose(stamp(key).image(), under, centre, size, size=SIDE))
        under = made[-1].picture
    return Pair(
        names=tuple(stamp(key).name for key in keys),
        picture=under,
        image=preprocess(under, net),
        masks=torch.stack([object_mask(net, one) for one in made]),
        targets=tuple(int(target) for target in targets),
    )


def pairs(net: Network, keys: Sequence[str], targets: Sequence[int], **options) -> list[Pair]:
    """`pair` of each two of several things, whose classes differ."""
    return [
        pair(net, [keys[i], keys[j]], [targets[i], targets[j]], **options)
        for i, j in combinations(range(len(keys)), 2)
        if targets[i] != targets[j]
    ]


@dataclass(frozen=True)
class LabelShift:
    """What becomes of the label of a picture of two things.

    Attributes
    ----------
    named, other : int
        Which of the two the network names when nothing is hidden, and which it does not: 0 or 1.
    changed, changed_elsewhere : float in [0, 1]
        Of the places of the square whose centre is on the named thing, and of all the others: the
        share where the label is another one.
    to_other, to_other_elsewhere : float in [0, 1]
        The share where it is the other thing's.
    """

    named: int
    other: int
    changed: float
    changed_elsewhere: float
    to_other: float
    to_other_elsewhere: float


def label_shift(maps: OcclusionMaps, one: Pair) -> LabelShift | None:
    """Count what the label changes to, on and off the thing that the network names.

    Parameters
    ----------
    maps : OcclusionMaps
        Of the pair's picture.
    one : Pair

    Returns
    -------
    LabelShift, or None if the network names neither of the two
    """
    if maps.label is None:
        raise BadInput("Without a classifier there is no label: use a network that has one.")
    label = int(maps.whole_probability.argmax())
    if label not in one.targets:
        return None
    named = one.targets.index(label)
    on = places_on(maps, one.masks[named])
    if not on.any() or on.all():
        raise BadInput("No place of the square tells the two apart; take a smaller square.")
    changed, to_other = maps.label != label, maps.label == one.targets[1 - named]

    def share(where: Tensor, of: Tensor) -> float:
        return float(where[of].double().mean())

    return LabelShift(
        named,
        1 - named,
        share(changed, on),
        share(changed, ~on),
        share(to_other, on),
        share(to_other, ~on),
    )


def places_on(maps: OcclusionMaps, mask: Tensor) -> Tensor:
    """(h, w) bool: the places of the square whose centre is on the object."""
    centre = (maps.positions + maps.square // 2).clamp(0, maps.size - 1)
    return mask.to(centre.device)[centre[..., 0], centre[..., 1]] > 0.5
