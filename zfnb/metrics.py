"""How well pictures are classified: mean per-class accuracy, average precision (Sec. 5.2).

Shapes: N pictures, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zfnb.errors import BadInput, UnknownName

KINDS = ("devkit", "plain", "11-point")


def per_class_accuracy(
    predicted: Sequence[int], targets: Sequence[int], classes: int | None = None
) -> np.ndarray:
    """Share of each class's pictures that are classified right.

    Parameters
    ----------
    predicted, targets : (N,) int in [0, K)
    classes : int, optional
        K; one more than the largest target by default.

    Returns
    -------
    array (K,) in [0, 1]
        NaN for a class without a picture.

    Raises
    ------
    BadInput
        Lists of different length, no picture, or a target out of range.
    """
    predicted, targets = np.asarray(predicted), np.asarray(targets)
    if predicted.shape != targets.shape or targets.ndim != 1 or not len(targets):
        raise BadInput(
            f"Predictions and targets must be two lists of one length, at least 1; got shapes "
            f"{predicted.shape} and {targets.shape}."
        )
    classes = int(targets.max()) + 1 if classes is None else classes
    if targets.min() < 0 or targets.max() >= classes:
        raise BadInput(f"Targets must be from 0 to {classes - 1}; check the list of classes.")
    count = np.bincount(targets, minlength=classes)
    right = np.bincount(targets[predicted == targets], minlength=classes)
    return np.where(count > 0, right / np.maximum(count, 1), np.nan)


def mean_per_class_accuracy(
    predicted: Sequence[int], targets: Sequence[int], classes: int | None = None
) -> float:
    """Mean over the classes of `per_class_accuracy`, in [0, 1]: what Tables 4, 5 and 7 report.

    A class with many test pictures counts no more than one with few. Classes without a test picture
    do not count.
    """
    return float(np.nanmean(per_class_accuracy(predicted, targets, classes)))


def average_precision(scores: Sequence[float], truth: Sequence[int], kind: str = "devkit") -> float:
    """Average precision of a ranking: one class of PASCAL VOC (Table 6).

    Parameters
    ----------
    scores : (N,) float
        The higher, the surer that the picture holds the class. Pictures of one score enter the
        ranking together, so that their order in the list does not matter.
    truth : (N,) of 1, 0 or -1
        1: it holds the class; -1: it does not; 0: it holds "difficult" ones only, and counts for
        nothing, as in VOC's devkit.
    kind : {"devkit", "plain", "11-point"}
        "devkit": the area under the curve of precision against recall after each precision has been
        raised to the best at no smaller recall, as VOC does since 2010. "plain": without the
        raising, as scikit-learn does. "11-point": the mean of the raised precision at recalls 0,
        0.1, ..., 1, as VOC did before.

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    BadInput
        Lists that do not fit, scores that are not finite, no picture that holds the class.
    UnknownName
        Another kind.
    """
    if kind not in KINDS:
        raise UnknownName.of("kind of average precision", kind, KINDS)
    recall, precision = precision_recall(scores, truth)
    if kind != "plain":
        precision = np.maximum.accumulate(precision[::-1])[::-1]
    if kind == "11-point":
        tenths = np.arange(11) / 10
        reached = recall[None, :] >= tenths[:, None] - 1e-12
        # Raised precision does not rise with recall: the first at that recall is the best.
        return float(np.mean(np.where(reached.any(1), precision[reached.argmax(1)], 0.0)))
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def precision_recall(
    scores: Sequence[float], truth: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision after each score of the ranking, best first; see `average_precision`.

    Returns
    -------
    recall, precision : array (distinct scores,) in [0, 1]
    """
    scores, truth = np.asarray(scores, dtype=np.float64), np.asarray(truth)
    if scores.shape != truth.shape or scores.ndim != 1:
        raise BadInput(
            f"Scores and truth must be two lists of one length; got {scores.shape} and "
            f"{truth.shape}."
        )
    if not np.isfinite(scores).all():
        raise BadInput("Scores must be finite; check the classifier.")
    if not np.isin(truth, (-1, 0, 1)).all():
        raise BadInput("Truth must be 1 (holds the class), -1 (does not) or 0 (difficult).")
    scores, truth = scores[truth != 0], truth[truth != 0]
    if not (truth == 1).any():
        raise BadInput("No picture holds the class, so its average precision is not defined.")
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], truth[order] == 1
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # of each distinct score
    found = np.cumsum(hits)[last]
    return found / hits.sum(), found / (last + 1)
