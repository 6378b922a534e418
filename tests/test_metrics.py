"""Accuracy a class and average precision, against scikit-learn and against the devkit's loop."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score

from zfnb.errors import BadInput, UnknownName
from zfnb.metrics import (
    average_precision,
    mean_per_class_accuracy,
    per_class_accuracy,
    precision_recall,
)


def devkit(scores, truth):
    """VOCevalcls.m and VOCap.m of the 2012 devkit, line by line."""
    order = np.argsort(-scores)
    tp, fp = np.cumsum(truth[order] > 0), np.cumsum(truth[order] < 0)
    with np.errstate(invalid="ignore"):
        rec, prec = tp / (truth > 0).sum(), tp / (fp + tp)
    mrec, mpre = [0, *rec, 1], np.nan_to_num([0, *prec, 0]).tolist()
    for i in range(len(mpre) - 2, -1, -1):
        mpre[i] = max(mpre[i], mpre[i + 1])
    return sum((mrec[i] - mrec[i - 1]) * mpre[i] for i in range(1, len(mrec)))


def eleven_points(scores, truth):
    """The measure of VOC 2007: best precision at each recall of at least 0, 0.1, ..., 1."""
    scores, truth = scores[truth != 0], truth[truth != 0]
    hits = truth[np.argsort(-scores)] > 0
    recall = np.cumsum(hits) / hits.sum()
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    # 0.1 * 3 is a little above 3 / 10: the limits are compared with some room.
    best = [precision[recall >= t / 10 - 1e-9].max(initial=0) for t in range(11)]
    return np.mean(best)


@pytest.fixture(params=range(4))
def ranking(request):
    rng = np.random.default_rng(request.param)
    truth = rng.choice([-1, 0, 1], 80, p=[0.6, 0.1, 0.3])
    return rng.normal(size=80) + truth, truth


def test_accuracy_by_hand():
    predicted, targets = [0, 0, 1, 2, 2, 2], [0, 0, 0, 2, 2, 1]
    np.testing.assert_allclose(per_class_accuracy(predicted, targets), [2 / 3, 0, 1])
    assert mean_per_class_accuracy(predicted, targets) == pytest.approx(5 / 9)
    with_empty = per_class_accuracy(predicted, targets, classes=5)
    np.testing.assert_array_equal(np.isnan(with_empty), [False] * 3 + [True] * 2)
    assert mean_per_class_accuracy(predicted, targets, 5) == pytest.approx(5 / 9)


def test_accuracy_is_scikit_learns():
    rng = np.random.default_rng(0)
    targets, predicted = rng.choice(7, 200, p=[0.4] + [0.1] * 6), rng.integers(0, 7, 200)
    expected = balanced_accuracy_score(targets, predicted)
    assert mean_per_class_accuracy(predicted, targets) == pytest.approx(expected, abs=1e-12)


def test_plain_average_precision_is_scikit_learns(ranking):
    scores, truth = ranking
    expected = average_precision_score(truth[truth != 0] == 1, scores[truth != 0])
    assert average_precision(scores, truth, "plain") == pytest.approx(expected, abs=1e-12)


def test_ties_are_scikit_learns(ranking):
    scores, truth = np.round(ranking[0]), ranking[1]
    expected = average_precision_score(truth[truth != 0] == 1, scores[truth != 0])
    assert average_precision(scores, truth, "plain") == pytest.approx(expected, abs=1e-12)
    mixed = np.random.default_rng(1).permutation(len(truth))
    for kind in ("devkit", "11-point"):
        assert average_precision(scores, truth, kind) == pytest.approx(
            average_precision(scores[mixed], truth[mixed], kind), abs=1e-12
        )


def test_the_devkits_average_precision(ranking):
    scores, truth = ranking
    assert average_precision(scores, truth) == pytest.approx(devkit(scores, truth), abs=1e-12)
    assert average_precision(scores, truth, "11-point") == pytest.approx(
        eleven_points(scores, truth), abs=1e-12
    )
    assert average_precision(scores, truth) >= average_precision(scores, truth, "plain")


def test_average_precision_by_hand():
    """Right, wrong, right: precisions 1, 1/2, 2/3; both recalls are half."""
    scores, truth = [3, 2, 1], [1, -1, 1]
    assert average_precision(scores, truth) == pytest.approx((1 + 2 / 3) / 2)
    # Recalls 0 to 0.5 have precision 1, six of the eleven; the others 2/3.
    assert average_precision(scores, truth, "11-point") == pytest.approx((6 + 5 * 2 / 3) / 11)
    # Wrong, right: the devkit raises nothing, the only precision at a recall is 1/2.
    assert average_precision([2, 1], [-1, 1]) == pytest.approx(0.5)
    # Right, wrong, right, right: 1/1, then 2/3 raised to 3/4.
    assert average_precision([4, 3, 2, 1], [1, -1, 1, 1]) == pytest.approx((1 + 0.75 + 0.75) / 3)


def test_difficult_pictures_count_for_nothing():
    assert average_precision([4, 3, 2, 1], [0, 1, -1, 1]) == average_precision(
        [3, 2, 1], [1, -1, 1]
    )


def test_one_score_for_all():
    recall, precision = precision_recall([1, 1, 1, 1], [1, -1, -1, -1])
    assert recall.tolist() == [1] and precision.tolist() == [0.25]


def test_refusals():
    with pytest.raises(BadInput, match="No picture holds the class"):
        average_precision([1, 2], [-1, 0])
    with pytest.raises(BadInput, match="finite"):
        average_precision([1, np.nan], [1, -1])
    with pytest.raises(BadInput, match="one length"):
        average_precision([1, 2, 3], [1, -1])
    with pytest.raises(BadInput, match="difficult"):
        average_precision([1, 2], [1, 2])
    with pytest.raises(UnknownName, match="devkit"):
        average_precision([1, 2], [1, -1], "area")
    with pytest.raises(BadInput, match="one length"):
        per_class_accuracy([1, 2], [1])
    with pytest.raises(BadInput, match="one length, at least 1"):
        mean_per_class_accuracy([], [])
    with pytest.raises(BadInput, match="from 0 to 1"):
        per_class_accuracy([0, 0], [0, 2], classes=2)
