"""What a classifier takes for what, and where it is surest and wrong (Sec. 5.2).

Shapes: K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zfnb.errors import BadInput
from zfnb.linear_classifiers import LinearClassifier
from zfnb.protocols import Draw
from zfnb.transfer import Result


def confusion(
    results: Sequence[Result], draws: Sequence[Draw], targets: Sequence[int], classes: int
) -> np.ndarray:
    """Of the test pictures of each class, the share that is given each class, over all splits.

    Parameters
    ----------
    results, draws
        In the same order.
    targets : (N,) int
    classes : int
        K.

    Returns
    -------
    array (K, K) in [0, 1]
        Row: true class. Rows add up to 1, or are NaN for a class without a test picture.

    Raises
    ------
    BadInput
        No result, or results that are not of these draws.
    """
    targets = np.asarray(targets)
    if not len(results) or len(results) != len(draws):
        raise BadInput(f"Give as many draws as results, at least one; got {len(draws)} draws.")
    counts = np.zeros((classes, classes))
    for result, draw in zip(results, draws, strict=True):
        if len(result.predicted) != len(draw.test):
            raise BadInput("A result is not of its draw: it has another number of test pictures.")
        np.add.at(counts, (targets[draw.test], result.predicted), 1)
    total = counts.sum(1, keepdims=True)
    return np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)


@dataclass(frozen=True)
class Mistake:
    """A test picture that is given a wrong class.

    Attributes
    ----------
    item : int
    truth, taken_for : int
        Classes.
    margin : float
        By how much the wrong class's score exceeds that of the right one.
    """

    item: int
    truth: int
    taken_for: int
    margin: float


def surest_mistakes(
    model: LinearClassifier,
    products: np.ndarray,
    targets: Sequence[int],
    draw: Draw,
    count: int = 6,
) -> list[Mistake]:
    """The test pictures that a classifier gets most wrong, worst first.

    Parameters
    ----------
    model : LinearClassifier
        From `zfnb.transfer.classify` on `draw`.
    products : array (N, N)
    targets : (N,) int
    draw : Draw
    count : int
        At the most.
    """
    targets = np.asarray(targets)
    scores = model.scores(np.asarray(products[draw.test])[:, draw.train])  # (test, K)
    given = model.classes[scores.argmax(1)]
    column = {target: place for place, target in enumerate(model.classes.tolist())}
    found = []
    for item, row, guess in zip(draw.test.tolist(), scores, given.tolist(), strict=True):
        truth = int(targets[item])
        if guess != truth and truth in column:
            found.append(Mistake(item, truth, guess, float(row.max() - row[column[truth]])))
    return sorted(found, key=lambda mistake: -mistake.margin)[:count]
