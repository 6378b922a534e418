"""Pictures as points on a page, near where a layer finds them alike: PCA and t-SNE (Sec. 5.3).

A layer's vectors have thousands of numbers. Principal components keep the two directions in which
the pictures differ most. t-SNE (van der Maaten and Hinton, 2008) gives up directions and distances
and keeps neighbours. Both need no more than the dot products of all pairs.

Shapes: N pictures.
"""

from __future__ import annotations

import numpy as np
from sklearn.manifold import TSNE

from zfnb.errors import BadInput


def principal_components(products: np.ndarray, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along the directions in which pictures differ most.

    Parameters
    ----------
    products : array (N, N)
        Dot products of the feature vectors; see `zfnb.transfer.dot_products`.
    count : int
        Components.

    Returns
    -------
    places : array (N, count)
        Of mean 0; the largest value of each component is positive, so that the sign is settled.
    share : array (count,) in [0, 1]
        Of the variance, for each component, the largest first.

    Raises
    ------
    BadInput
        If there are not more pictures than components, or all pictures are the same.
    """
    x = checked(products)
    if not 0 < count < len(x):
        raise BadInput(f"{count} components need at least {max(count, 1) + 1} pictures; give more.")
    # The products of the centred vectors: X X^T with rows and columns of mean 0.
    centred = x - x.mean(0) - x.mean(1)[:, None] + x.mean()
    value, vector = np.linalg.eigh(centred)
    value, vector = value[::-1][:count].clip(min=0), vector[:, ::-1][:, :count]
    variance = np.trace(centred)
    if variance <= 1e-9 * max(np.abs(x).max(), 1e-30) * len(x):
        raise BadInput("All pictures have the same features, so there is no direction to show.")
    places = vector * np.sqrt(value)
    largest = np.take_along_axis(places, np.abs(places).argmax(0)[None], 0)
    return places * np.where(largest < 0, -1, 1), value / variance


def tsne(products: np.ndarray, perplexity: float = 20.0, seed: int = 0) -> np.ndarray:
    """Places on a page that keep neighbours together.

    Parameters
    ----------
    products : array (N, N)
        Dot products of the feature vectors.
    perplexity : float
        About how many neighbours count; made smaller where there are few pictures.
    seed : int

    Returns
    -------
    array (N, 2)
        Only who is near whom means something; axes, distances and sizes of clusters do not.

    Raises
    ------
    BadInput
        Fewer than five pictures, or a perplexity that is not positive.
    """
    x = checked(products)
    if len(x) < 5 or not perplexity > 0:
        raise BadInput("t-SNE needs five pictures at least, and a perplexity above 0.")
    length = x.diagonal()
    square = length[:, None] + length[None, :] - 2 * x  # |a - b|^2 = aa + bb - 2ab
    np.fill_diagonal(square, 0)
    start, _ = principal_components(x)
    start *= 1e-4 / start[:, 0].std()  # as scikit-learn starts from PCA
    machine = TSNE(
        metric="precomputed",
        init=start.astype(np.float32),
        perplexity=min(perplexity, (len(x) - 1) / 3),
        random_state=seed,
        n_jobs=1,
    )
    return machine.fit_transform(np.sqrt(square.clip(min=0)))


def checked(products: np.ndarray) -> np.ndarray:
    """The products in float64; refuse what is not square or not finite."""
    x = np.asarray(products, dtype=np.float64)
    if x.ndim != 2 or x.shape[0] != x.shape[1] or not np.isfinite(x).all():
        raise BadInput(f"Dot products must be a square matrix of finite numbers, not {x.shape}.")
    return x
