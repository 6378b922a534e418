"""Pictures whose object can move alone, before a background that stays (cf. Sec. 4, Fig. 5).

When a whole photograph is shifted, its background moves as well, and something made up enters at
the border. A scene knows its object's exact mask and what is behind it, so its object can move
and nothing else.

Shapes: N pictures, H x W pixels of the network's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zfnb.data import all_stamps, background, compose, preprocess, stamp
from zfnb.errors import BadInput
from zfnb.feature_sheets import seen_mask
from zfnb.models import Network
from zfnb.transformations import Transformation


@dataclass(frozen=True)
class Movable:
    """Pictures in two layers, in a network's normalised units.

    Attributes
    ----------
    background : Tensor (N, 3, H, W)
    object : Tensor (N, 3, H, W)
        Times `alpha`: 0 where there is no object. So the object's edge mixes rightly when it is
        interpolated.
    alpha : Tensor (N, 1, H, W) in [0, 1]
        How much of each pixel is the object.
    """

    background: Tensor
    object: Tensor
    alpha: Tensor

    def __len__(self) -> int:
        return len(self.background)

    def __getitem__(self, item: int | slice) -> Movable:
        """One picture, as a batch of one, or several."""
        item = slice(item, item + 1 or None) if isinstance(item, int) else item
        return Movable(self.background[item], self.object[item], self.alpha[item])

    @property
    def images(self) -> Tensor:
        """(N, 3, H, W): the object where it is."""
        return self.background * (1 - self.alpha) + self.object

    def moved(self, transform: Transformation, value: float) -> Tensor:
        """(N, 3, H, W): the object alone transformed. Beyond the border there is no object."""
        if value == transform.identity:
            return self.images
        both = transform(torch.cat((self.object, self.alpha), 1), value, "mean")
        return self.background * (1 - both[:, 3:]) + both[:, :3]


def movable(
    net: Network,
    pictures: Sequence[Image.Image],
    alphas: Sequence[np.ndarray],
    backgrounds: Sequence[Image.Image],
) -> Movable:
    """Take pictures apart, at the network's scale.

    ``movable(...).images`` are the inputs that `zfnb.preprocess` makes of the pictures.

    Parameters
    ----------
    net : Network
    pictures : PIL images
        With the object, e.g. ``scene.picture``.
    alphas : arrays (H, W) in [0, 1]
        E.g. ``scene.alpha``; of the picture's size.
    backgrounds : PIL images
        Without the object, e.g. ``zfnb.data.background(scene.background, scene.background_seed)``.
    """
    if not pictures or not len(pictures) == len(alphas) == len(backgrounds):
        raise BadInput("Give as many alphas and backgrounds as pictures, and at least one.")
    images = torch.stack([preprocess(picture, net) for picture in pictures])
    behind = torch.stack([preprocess(picture, net) for picture in backgrounds])
    masks = [np.rint(np.asarray(alpha) * 255).astype(np.uint8) for alpha in alphas]
    alpha = torch.stack([seen_mask(net, mask)[None] for mask in masks])  # scaled and cut alike
    alpha[alpha < 0.5 / 255] = 0  # what rounding has left
    # The object is the rest, so that the layers add up to the picture.
    rest = torch.where(alpha > 0, images - behind * (1 - alpha), 0)
    return Movable(torch.where(alpha > 0, behind, images), rest, alpha)


def movable_scenes(net: Network, scenes, items: Sequence[int]) -> Movable:
    """Items of ``zfnb.load_dataset("scenes")`` as `Movable`."""
    chosen = [scenes.scene(item) for item in items]
    return movable(
        net,
        [scene.picture for scene in chosen],
        [scene.alpha for scene in chosen],
        [background(s.background, s.background_seed, scenes.size) for s in chosen],
    )


def movable_stamps(
    net: Network,
    stamps: Sequence[str | Image.Image],
    behind: str = "grass",
    size: float = 0.55,
    seed: int = 0,
) -> Movable:
    """Stamps in the middle of a background, upright, as `Movable`.

    Parameters
    ----------
    stamps : keys of stamps ("bird/crow"), or images with alpha
    behind : str
        Name of a background; each picture has its own part of it.
    size : float
        The stamp's longer side as a fraction of the whole picture's.
    """
    images = [stamp(s).image() if isinstance(s, str) else s for s in stamps]
    backgrounds = [background(behind, seed + n) for n in range(len(images))]
    pairs = zip(images, backgrounds, strict=True)
    made = [compose(image, under, scale=size) for image, under in pairs]
    return movable(net, [m.picture for m in made], [m.alpha for m in made], backgrounds)


def labelled_stamps(net: Network) -> tuple[list[str], np.ndarray]:
    """The stamps that show one of a network's classes: their keys, and the classes (N,) int.

    Raises `BadInput` if the network does not know its classes by their ImageNet synsets, or has
    none that a stamp shows.
    """
    codes = {synset: label for label, (synset, _) in enumerate(net.classes or []) if synset}
    found = {key: codes[one.synset] for key, one in all_stamps().items() if one.synset in codes}
    if not found:
        raise BadInput(
            f"{net.name} knows no class that a stamp shows; load it with weights of 200 classes, "
            "such as 'tiny-imagenet'."
        )
    return list(found), np.array(list(found.values()))
