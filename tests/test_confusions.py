"""Confusions counted by hand, and mistakes of a classifier that is known."""

from __future__ import annotations

import numpy as np
import pytest

from zfnb import confusions, transfer
from zfnb.errors import BadInput
from zfnb.gram import gram
from zfnb.linear_classifiers import LinearClassifier
from zfnb.protocols import Draw, draws


def result(predicted) -> transfer.Result:
    return transfer.Result("svm", 1, 0, 0.0, np.zeros(3), np.array(predicted))


def test_shares_by_hand():
    targets = [0, 0, 0, 1, 1, 2]
    first = Draw(np.array([0, 3]), np.array([1, 2, 4]), 0, 1)
    second = Draw(np.array([1, 4]), np.array([0, 3]), 1, 1)
    matrix = confusions.confusion([result([0, 1, 1]), result([2, 1])], [first, second], targets, 3)
    # Class 0 was tested three times: taken for 0, 1, 2. Class 1 twice, right. Class 2 never.
    np.testing.assert_allclose(matrix[0], [1 / 3] * 3)
    assert matrix[1].tolist() == [0, 1, 0] and np.isnan(matrix[2]).all()


def test_results_that_do_not_fit():
    one = Draw(np.array([0]), np.array([1]), 0, 1)
    with pytest.raises(BadInput, match="as many draws"):
        confusions.confusion([], [], [0, 1], 2)
    with pytest.raises(BadInput, match="as many draws"):
        confusions.confusion([result([0])], [one, one], [0, 1], 2)
    with pytest.raises(BadInput, match="not of its draw"):
        confusions.confusion([result([0, 1])], [one], [0, 1], 2)


def test_the_diagonal_is_the_mean_accuracy():
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(4), 12)
    x = (rng.normal(size=(4, 9))[targets] + rng.normal(size=(48, 9))).astype(np.float32)
    drawn = draws(targets, [4], splits=2, test=8)
    found = transfer.accuracies(gram(x), targets, drawn)
    matrix = confusions.confusion(found, drawn[4], targets, 4)
    mean = np.mean([one.accuracy for one in found])
    assert 100 * matrix.diagonal().mean() == pytest.approx(mean)
    assert 30 < mean < 99  # neither blind nor perfect, so that the sum has something to say


def test_mistakes_come_worst_first():
    # Two training vectors, one a class; scores of a test picture are its products with them.
    products = np.zeros((6, 6))
    products[2:, 0] = [0.9, 0.2, 0.4, 0.1]
    products[2:, 1] = [0.1, 0.3, 0.9, 0.8]
    targets = [0, 1, 1, 0, 0, 1]  # 2 is wrong by 0.8, 3 by 0.1, 4 by 0.5; 5 is right
    model = LinearClassifier("softmax", np.array([0, 1]), 1.0, lambda products: products)
    one = Draw(np.array([0, 1]), np.array([2, 3, 4, 5]), 0, 1)
    found = confusions.surest_mistakes(model, products, targets, one)
    assert [(m.item, m.truth, m.taken_for) for m in found] == [(2, 1, 0), (4, 0, 1), (3, 0, 1)]
    assert [m.margin for m in found] == pytest.approx([0.8, 0.5, 0.1])
    assert len(confusions.surest_mistakes(model, products, targets, one, 2)) == 2
