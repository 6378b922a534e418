"""Nearest neighbours in feature space: which pictures a layer finds alike (Sec. 5.3).

Two pictures are as alike as the angle between their feature vectors is small. All that this asks of
the features is their dot products at length 1, which are the cosines; see
`zfnb.transfer.dot_products`.

Shapes: N pictures, Q of them asked for, k neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from zfnb.batches import in_parts
from zfnb.data.base import PictureDataset
from zfnb.errors import BadInput

BLOCK = 1024  # pictures whose neighbours are sorted at a time; all at once may not fit in memory


def nearest(
    products: np.ndarray,
    items: Sequence[int],
    count: int = 5,
    groups: Sequence[int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The pictures whose features are most like those of each picture asked for.

    Parameters
    ----------
    products : array (N, N)
        Dot products of features of length 1.
    items : (Q,) int
        Pictures whose neighbours are wanted.
    count : int
        k.
    groups : (N,) int, optional
        Pictures of its own group (other scenes of the same stamp) are no neighbours of a picture.

    Returns
    -------
    found : array (Q, k) of int
        Nearest first; of equals the one with the smaller number.
    similarity : array (Q, k) in [-1, 1]

    Raises
    ------
    BadInput
        Numbers that do not fit, or fewer than `count` pictures outside a picture's own group.
    """
    n = len(products)
    groups = check(products, groups)
    items = np.asarray(items, dtype=int)
    if count < 1 or not len(items) or items.min() < 0 or items.max() >= n:
        raise BadInput(f"Ask for at least one neighbour of at least one picture from 0 to {n - 1}.")
    cosines = np.array(products[items], dtype=np.float64)  # (Q, N)
    own = groups[items][:, None] == groups[None, :]
    if (n - own.sum(1)).min() < count:
        raise BadInput(
            f"{count} neighbours cannot be found: the smallest number of pictures outside a "
            f"group is {(n - own.sum(1)).min()}; ask for fewer."
        )
    cosines[own] = -np.inf
    found = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return found, np.take_along_axis(cosines, found, 1)


def described(
    dataset: PictureDataset,
    asked: Sequence[tuple[str, np.ndarray, int]],
    count: int = 6,
    groups: Sequence[int] | None = None,
    picture: Callable[[int], Image.Image] | None = None,
) -> list[tuple[str, Image.Image, str, list[tuple[Image.Image, str, float]]]]:
    """Pictures with their neighbours, as `zfnb.plots_transfer.neighbours` draws them.

    Parameters
    ----------
    dataset : PictureDataset
    asked : [(label, dot products (N, N), item), ...]
        A row each: one layer for several pictures, or one picture at several layers.
    count, groups
        As for `nearest`.
    picture : callable, optional
        Gives the picture of an item; ``dataset.picture`` by default.

    Returns
    -------
    [(label, picture, class, [(neighbour, class, similarity), ...]), ...]
    """
    picture = dataset.picture if picture is None else picture
    rows = []
    for label, products, item in asked:
        (found,), (similarity,) = nearest(products, [item], count, groups)
        near = [
            (picture(other), dataset.classes[dataset.targets[other]], cosine)
            for other, cosine in zip(found.tolist(), similarity.tolist(), strict=True)
        ]
        rows.append((label, picture(item), dataset.classes[dataset.targets[item]], near))
    return rows


def agreement(
    products: np.ndarray,
    targets: Sequence[int],
    count: int = 5,
    groups: Sequence[int] | None = None,
) -> np.ndarray:
    """Of each picture's nearest neighbours, the share that is of its class.

    Parameters
    ----------
    products, count, groups
        As for `nearest`.
    targets : (N,) int

    Returns
    -------
    array (N,) in [0, 1]
    """
    targets = np.asarray(targets)
    if len(targets) != len(products):
        raise BadInput(f"There are {len(products)} pictures but {len(targets)} targets.")
    shares = []
    for items in in_parts(np.arange(len(targets)), BLOCK):
        found, _ = nearest(products, items, count, groups)
        shares.append((targets[found] == targets[items, None]).mean(1))
    return np.concatenate(shares)


def chance_agreement(targets: Sequence[int], groups: Sequence[int] | None = None) -> np.ndarray:
    """`agreement` of neighbours that are drawn at random from outside a picture's group.

    Returns
    -------
    array (N,) in [0, 1]
        Its mean is what the mean of `agreement` would be if the features said nothing.

    Raises
    ------
    BadInput
        If all pictures are of one group.
    """
    targets = np.asarray(targets)
    groups = np.arange(len(targets)) if groups is None else np.asarray(groups)
    other = groups[:, None] != groups[None, :]
    if not other.any(1).all():
        raise BadInput("All pictures are of one group, so none has a neighbour; give more groups.")
    alike = targets[:, None] == targets[None, :]
    return (other & alike).sum(1) / other.sum(1)


def check(products: np.ndarray, groups: Sequence[int] | None) -> np.ndarray:
    """The group of each picture; refuse what does not fit."""
    if products.ndim != 2 or products.shape[0] != products.shape[1]:
        raise BadInput(f"Dot products must be (N, N), not {products.shape}.")
    groups = np.arange(len(products)) if groups is None else np.asarray(groups)
    if len(groups) != len(products):
        raise BadInput(f"There are {len(products)} pictures but {len(groups)} groups.")
    return groups
