"""SVM and softmax on the Gram matrix, against scikit-learn's on the features themselves."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC

from zfnb.errors import BadInput, UnknownName
from zfnb.linear_classifiers import (
    ALL_KINDS,
    GRIDS,
    UNCHOSEN,
    best_of,
    choose,
    divided,
    fit_softmax,
    fit_svm,
)


def pictures(n=90, d=200, classes=4, apart=0.35, seed=0):
    """Vectors of length 1 around a centre for each class; (n, d), (n,)."""
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % classes
    centres = np.random.default_rng(99).normal(size=(classes, d))
    x = rng.normal(size=(n, d)) + apart * centres[targets] + 0.4
    return x / np.linalg.norm(x, axis=1, keepdims=True), targets


def reference(kind, c, tolerance=1e-9):
    """scikit-learn's estimator on the vectors themselves."""
    if kind == "softmax":
        return LogisticRegression(C=c, tol=1e-8, max_iter=5000)
    svc = SVC(kernel="linear", C=c, tol=tolerance)
    return OneVsRestClassifier(svc) if kind == "svm-against-all" else svc


# ---------------------------------------------------------------- SVM


@pytest.mark.parametrize("kind", ["svm", "svm-against-all"])
@pytest.mark.parametrize("c", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("d", [20, 200])
def test_the_svm_is_svc_on_the_vectors(kind, c, d):
    x, targets = pictures(d=d)
    other, _ = pictures(40, d, seed=1)
    against_all = kind == "svm-against-all"
    model = fit_svm(x @ x.T, targets, c, against_all=against_all, tolerance=1e-9)
    wanted = reference(kind, c).fit(x, targets).decision_function(other)
    np.testing.assert_allclose(model.scores(other @ x.T), wanted, atol=2e-4)
    assert np.array_equal(model.predict(other @ x.T), wanted.argmax(1))
    assert model.kind == kind and model.regularisation == c


@pytest.mark.parametrize("against_all", [False, True])
def test_two_classes(against_all):
    x, targets = pictures(classes=2)
    other, _ = pictures(40, seed=1, classes=2)
    model = fit_svm(x @ x.T, targets, 10.0, against_all=against_all, tolerance=1e-9)
    wanted = reference("svm", 10.0).fit(x, targets)
    scores = model.scores(other @ x.T)
    margin = (scores[:, 1] - scores[:, 0]) / (2 if against_all else 1)
    np.testing.assert_allclose(margin, wanted.decision_function(other), atol=1e-4)
    assert np.array_equal(model.predict(other @ x.T), wanted.predict(other))


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_planted_classes_are_found(kind):
    """More numbers than pictures, as in features; the centres are far enough apart to be found."""
    x, targets = pictures(apart=0.6)
    other, wanted = pictures(400, apart=0.6, seed=1)
    assert (choose(x @ x.T, targets, kind).predict(other @ x.T) == wanted).mean() > 0.9
    mixed = np.random.default_rng(2).permutation(targets)
    assert (choose(x @ x.T, mixed, kind).predict(other @ x.T) == wanted).mean() < 0.5


def test_the_direction_of_two_points():
    """The widest margin between two points lies half-way, across the line that joins them."""
    x = np.array([[0.0, 1.0], [4.0, 4.0]])
    model = fit_svm(x @ x.T, [0, 1], 100.0, tolerance=1e-9)
    other = np.array([[2.0, 2.5], [0.0, 1.0], [4.0, 4.0], [2.0 + 3, 2.5 - 4]])
    np.testing.assert_allclose(2 * model.scores(other @ x.T)[:, 1], [0, -1, 1, 0], atol=1e-6)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_float32_gives_the_same_classes(kind):
    x, targets = pictures()
    other, _ = pictures(200, seed=1)
    options = {"grid": (10.0,), "tolerance": 1e-6}
    double = choose(x @ x.T, targets, kind, **options)
    single = choose((x @ x.T).astype(np.float32), targets, kind, **options)
    assert (double.predict(other @ x.T) == single.predict(other @ x.T)).mean() > 0.98


def test_pictures_without_a_say_are_left_out():
    x, targets = pictures(classes=3)
    signs = np.where(targets[:, None] == np.arange(3), 1, -1)
    signs[::5, 1] = 0
    model = fit_svm(x @ x.T, signs, 1.0, tolerance=1e-9)
    for column in range(3):
        say = signs[:, column] != 0
        wanted = reference("svm", 1.0).fit(x[say], signs[say, column]).decision_function(x)
        np.testing.assert_allclose(model.scores(x @ x.T)[:, column], wanted, atol=1e-4)


def test_a_class_that_all_hold_or_none():
    x, targets = pictures(classes=2)
    signs = np.where(targets[:, None] == np.arange(2), 1, -1)[:, [0, 0, 0, 0]]
    signs[:, 1:] = 1, -1, 0
    scores = fit_svm(x @ x.T, signs).scores(x @ x.T)
    assert (scores[:, 1:] == [1, -1, 0]).all() and np.ptp(scores[:, 0]) > 0.5


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_equal_pictures_of_two_classes(kind):
    """A problem that no line can solve still has an answer: neither."""
    model = choose(np.ones((4, 4)), [0, 1, 0, 1], kind)
    scores = model.scores(np.ones((1, 4)))
    assert scores.shape == (1, 2) and np.isfinite(scores).all()
    if kind == "softmax":
        np.testing.assert_allclose(model.probabilities(np.ones((1, 4))), 0.5, atol=1e-3)


# ---------------------------------------------------------------- softmax


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("d", [20, 200])
def test_the_softmax_is_logistic_regression(classes, d):
    x, targets = pictures(d=d, classes=classes)
    other, _ = pictures(40, d, classes, seed=1)
    model = fit_softmax(x @ x.T, targets, 10.0, tolerance=1e-6)
    wanted = reference("softmax", 10.0).fit(x, targets)
    np.testing.assert_allclose(
        model.probabilities(other @ x.T), wanted.predict_proba(other), atol=2e-3
    )
    assert np.array_equal(model.predict(other @ x.T), wanted.predict(other))


def test_a_softmax_of_several_objects():
    """A picture of two classes counts half for each; one of none is left out."""
    x, targets = pictures(classes=3)
    signs = np.where(targets[:, None] == np.arange(3), 1, -1)
    signs[0] = [1, 1, -1]
    signs[1] = [-1, 0, -1]
    rows = np.array([0, 0, *range(2, len(x))])
    labels, weight = np.append([0, 1], targets[2:]), np.append([0.5, 0.5], np.ones(len(x) - 2))
    model = fit_softmax(x @ x.T, signs, 10.0, tolerance=1e-6)
    wanted = reference("softmax", 10.0).fit(x[rows], labels, sample_weight=weight)
    np.testing.assert_allclose(model.probabilities(x @ x.T), wanted.predict_proba(x), atol=2e-3)


def test_only_a_softmax_has_probabilities():
    x, targets = pictures()
    with pytest.raises(BadInput, match="fit a softmax"):
        fit_svm(x @ x.T, targets).probabilities(x @ x.T)


# ---------------------------------------------------------------- choosing


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_the_choice_is_made_inside_the_training_pictures(kind):
    """The same accuracies as a grid search by scikit-learn on the vectors, on the same parts."""
    x, targets = pictures(120, apart=0.15)
    grid = (0.1, 1.0, 100.0)
    model = choose(x @ x.T, targets, kind, grid=grid, parts=3, tolerance=1e-7, seed=4)
    assert model.kind == kind
    name = "estimator__C" if kind == "svm-against-all" else "C"
    search = GridSearchCV(
        reference(kind, 1.0),
        {name: grid},
        scoring="balanced_accuracy",
        cv=StratifiedKFold(3, shuffle=True, random_state=4),
    ).fit(x, targets)
    # A picture just on the border may fall to either side; and equal votes to another class.
    wanted = search.cv_results_["mean_test_score"]
    np.testing.assert_allclose([model.tried[c] for c in grid], wanted, atol=2.1 / 30)
    best = max(model.tried.values())
    equal = [c for c in grid if model.tried[c] == pytest.approx(best)]
    usual = UNCHOSEN[kind]
    assert model.regularisation == min(equal, key=lambda c: max(c / usual, usual / c))
    plain = choose(x @ x.T, targets, kind, grid=(model.regularisation,), tolerance=1e-7)
    np.testing.assert_allclose(model.scores(x @ x.T), plain.scores(x @ x.T), atol=1e-6)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_one_picture_a_class_leaves_no_choice(kind):
    x, targets = pictures(4)
    model = choose(x @ x.T, targets, kind)
    assert model.regularisation == UNCHOSEN[kind] and model.tried == {}
    assert choose(x @ x.T, targets, kind, grid=(7,)).regularisation == 7
    assert np.array_equal(model.predict(x @ x.T), targets)


def test_no_group_is_on_both_sides_of_a_fold():
    """Stamps of 1 to 4 scenes each, mixed: every part holds stamps of every class."""
    rng = np.random.default_rng(0)
    stamps = np.repeat(np.arange(21), rng.integers(1, 5, 21))
    groups = 7 * rng.permutation(stamps) + 3
    targets = (groups - 3) // 7 % 3
    folds = divided(targets, 3, seed=0, groups=groups)
    assert len(folds) == 3
    for learn, held in folds:
        assert not set(groups[learn]) & set(groups[held])
        assert sorted([*learn, *held]) == list(range(len(targets)))
        for side, number in ((learn, 4), (held, 2)):  # of the seven stamps of each class
            for target in range(3):
                assert len(set(groups[side[targets[side] == target]])) >= number
    held = np.concatenate([held for _, held in folds])
    assert sorted(held) == list(range(len(targets)))
    assert [side.tolist() for side in divided(targets, 3, 1, groups)[0]] != [
        side.tolist() for side in folds[0]
    ]


def test_pictures_that_stand_alone_are_divided_as_by_scikit_learn():
    _, targets = pictures(100, classes=3)
    mixed = np.random.default_rng(1).permutation(100)
    wanted = list(StratifiedKFold(3, shuffle=True, random_state=5).split(targets, targets))
    for groups in (None, np.arange(100), 5 * mixed - 90):
        for fold, other in zip(divided(targets, 3, 5, groups), wanted, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(fold, other, strict=True))


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_copies_do_not_choose(kind):
    """Twins of noise are told apart with the largest C if one of each pair is learned from."""
    x, targets = pictures(60, apart=0.0)
    x, targets, groups = np.repeat(x, 2, 0), np.repeat(targets, 2), np.repeat(np.arange(60), 2)
    leaky = choose(x @ x.T, targets, kind, grid=(1.0, 1000.0))
    clean = choose(x @ x.T, targets, kind, grid=(1.0, 1000.0), groups=groups)
    assert max(leaky.tried.values()) > 0.6 > 0.45 > max(clean.tried.values())  # chance: 0.25
    alone = choose(x @ x.T, targets, kind, groups=targets)  # one group a class
    assert alone.tried == {} and alone.regularisation == UNCHOSEN[kind]


def test_of_equal_ones_the_usual():
    usual = UNCHOSEN["svm"]
    assert best_of({0.1: 0.5, usual: 0.5, 900.0: 0.5}, "svm") == usual
    assert best_of({0.1: 0.2, 5.0: 0.5, 900.0: 0.5 + 1e-9}, "svm") == 5
    assert best_of({0.1: 0.6, usual: 0.5}, "svm") == 0.1


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_class_numbers_may_have_gaps(kind):
    x, targets = pictures(classes=3)
    far = np.array([2, 5, 11])[targets]
    model = choose(x @ x.T, far, kind)
    assert model.classes.tolist() == [2, 5, 11] and set(model.tried) == set(GRIDS[kind])
    plain = choose(x @ x.T, targets, kind)
    assert np.array_equal(model.predict(x @ x.T), model.classes[plain.predict(x @ x.T)])


def test_refusals():
    x, targets = pictures()
    g = x @ x.T
    with pytest.raises(UnknownName, match="svm, softmax, svm-against-all"):
        choose(g, targets, "tree")
    for fit in (fit_svm, fit_softmax):
        with pytest.raises(BadInput, match=r"\(90, 90\) for 90"):
            fit(g[:50], targets)
        for wrong in (0, float("nan"), float("inf")):
            with pytest.raises(BadInput, match="positive number"):
                fit(g, targets, wrong)
        with pytest.raises(BadInput, match="at least two classes"):
            fit(g, np.zeros(90, dtype=int))
        with pytest.raises(BadInput, match="Signs must be"):
            fit(g, np.full((90, 3), 2))
    with pytest.raises(BadInput, match="at least two classes"):
        fit_softmax(g, np.where(np.arange(3) == 1, 1, -np.ones((90, 1), dtype=int)))
    with pytest.raises(BadInput, match="grid"):
        choose(g, targets, grid=())
    with pytest.raises(BadInput, match="parts"):
        choose(g, targets, parts=1)
    with pytest.raises(BadInput, match="90 targets but 3 groups"):
        choose(g, targets, groups=[0, 1, 2])
    with pytest.raises(BadInput, match="of one class"):
        choose(g, targets, groups=np.arange(90) // 2)
