"""Dot products of all pairs of feature vectors: all that a linear classifier asks for (Sec. 5.2).

Shapes: N pictures, D numbers each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from zfnb.batches import in_parts
from zfnb.errors import BadInput


def gram(
    features: np.ndarray,
    items: Sequence[int] | None = None,
    *,
    normalise: bool = True,
    block: int = 1024,
    progress: bool = False,
) -> np.ndarray:
    """Dot products of all pairs of feature vectors.

    Parameters
    ----------
    features : array (N, D)
        Of any float type; may be mapped from a file, which is read block by block.
    items : sequence of int, optional
        Only these rows.
    normalise : bool
        Bring each vector to length 1 first. A vector of zeros stays a vector of zeros.
    block : int
        Rows that are in memory at a time, twice.
    progress : bool
        Show a bar.

    Returns
    -------
    array (N, N) float32, symmetric

    Raises
    ------
    BadInput
        If there is no row, or a value that is not finite.
    """
    if getattr(features, "ndim", 0) != 2 or not len(features):
        raise BadInput("Features must be a matrix (pictures, numbers) with at least one row.")
    items = np.arange(len(features)) if items is None else np.asarray(items)
    products = np.empty((len(items), len(items)), dtype=np.float32)
    parts = list(in_parts(np.arange(len(items)), block))
    bar = tqdm(total=len(parts) * (len(parts) + 1) // 2, desc="dot products", disable=not progress)
    for i, mine in enumerate(parts):
        a = read_rows(features, items[mine])
        for j in range(i + 1):
            b = a if j == i else read_rows(features, items[parts[j]])
            here = (a @ b.T).numpy()
            products[mine[0] : mine[-1] + 1, parts[j][0] : parts[j][-1] + 1] = here
            products[parts[j][0] : parts[j][-1] + 1, mine[0] : mine[-1] + 1] = here.T
            bar.update()
    bar.close()
    if not np.isfinite(products.diagonal()).all():
        raise BadInput("Features hold values that are not finite; check how they were made.")
    return unit_length(products) if normalise else products


def read_rows(features: np.ndarray, items: np.ndarray) -> Tensor:
    """Rows as float32, in memory."""
    consecutive = len(items) and items[0] >= 0 and (np.diff(items) == 1).all()
    here = features[items[0] : items[-1] + 1] if consecutive else features[items]
    return torch.from_numpy(np.array(here)).float()


def unit_length(products: np.ndarray) -> np.ndarray:
    """The Gram matrix of the same vectors brought to length 1, in place."""
    length = np.sqrt(np.maximum(products.diagonal(), 0))
    factor = np.divide(1, length, out=np.zeros_like(length), where=length > 0)
    products *= factor[:, None]
    products *= factor[None, :]
    return products
