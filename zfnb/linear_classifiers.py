"""Linear classifiers on frozen features: SVM and softmax, through the Gram matrix (Sec. 5.2, 5.3).

A layer-3 vector has 65,000 numbers but a training set some 3,000 pictures. The best linear
classifier is a weighted sum of training vectors, w = X^T a, so all that training and testing ask of
the features are their dot products, the Gram matrix X X^T. It is computed once for all pictures of
a dataset (`zfnb.gram`); each split, fold and regularisation then only takes rows and columns of it,
and no step sees the long vectors again.

Both are scikit-learn's. The SVM is `SVC` on these dot products: an SVM for every pair of classes,
which then vote ("one against one"). The paper does not say whether it did so or trained one SVM a
class "against all" others, which is to be had too. The softmax is `LogisticRegression`, on n
numbers a picture with the same dot products.

Shapes: n training pictures, m others, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.special import softmax

from zfnb.errors import BadInput, UnknownName
from zfnb.metrics import mean_per_class_accuracy

KINDS = ("svm", "softmax")  # of the paper's Table 7
ALL_KINDS = (*KINDS, "svm-against-all")
# Candidates for C, for features of length 1; and the C of a classifier that has too few pictures to
# choose by. Where candidates do equally well, the nearest to it is taken.
GRIDS = dict.fromkeys(ALL_KINDS, (1.0, 10.0, 100.0)) | {"softmax": (10.0, 100.0, 1000.0)}
UNCHOSEN = dict.fromkeys(ALL_KINDS, 10.0) | {"softmax": 100.0}


def check_kinds(kinds: Sequence[str] | None, valid: Sequence[str]) -> None:
    """Refuse a mistyped kind of classifier before the features are computed, and not after."""
    for kind in kinds or ():
        if kind not in valid:
            raise UnknownName.of("kind of classifier", kind, valid)


@dataclass(frozen=True)
class LinearClassifier:
    """A classifier that only asks for dot products with its training vectors.

    Attributes
    ----------
    kind : {"svm", "softmax", "svm-against-all"}
    classes : array (K,) of int
        What the columns of the scores stand for.
    regularisation : float
        scikit-learn's C: the larger, the less regularised.
    score : callable
        Dot products (m, n) to scores (m, K); (m,) or (m, 1), of the second, for two classes.
    tried : dict {C: mean per-class accuracy in [0, 1]}
        On held-out training pictures, where C was chosen by `choose`.
    """

    kind: str
    classes: np.ndarray
    regularisation: float
    score: Callable[[np.ndarray], np.ndarray]
    tried: dict[float, float] = field(default_factory=dict)

    def scores(self, gram: np.ndarray) -> np.ndarray:
        """Scores (m, K) of m pictures by their dot products (m, n) with the training pictures.

        Of an SVM one against one: won pairs of classes, and a fraction for how clearly.
        """
        found = self.score(gram).reshape(len(gram), -1)
        return found if found.shape[1] == len(self.classes) else np.hstack([-found, found]) / 2

    def predict(self, gram: np.ndarray) -> np.ndarray:
        """The class (m,) of the highest score."""
        return self.classes[self.scores(gram).argmax(1)]

    def probabilities(self, gram: np.ndarray) -> np.ndarray:
        """Class probabilities (m, K) of a softmax."""
        if self.kind != "softmax":
            raise BadInput("An SVM gives scores, not probabilities; fit a softmax.")
        return softmax(self.scores(gram), axis=1)


def fit_svm(
    gram: np.ndarray,
    targets: Sequence[int] | np.ndarray,
    regularisation: float = 10.0,
    *,
    against_all: bool = False,
    tolerance: float = 1e-3,
) -> LinearClassifier:
    """Linear SVMs (hinge) for each pair of classes, or for each class against all others.

    Parameters
    ----------
    gram : array (n, n)
        Dot products of the training pictures.
    targets : (n,) int, or (n, K) of 1, -1 and 0
        The class of each picture. Or, where a picture may hold several classes: 1 for each that
        it holds, -1 for each that it does not, and 0 where that is open; the SVM of such a class
        learns without the picture. With (n, K), each SVM is against all other classes.
    regularisation : float
        C: minimises |w|^2 / 2 + C times the sum of hinges. The bias is free.
    against_all : bool
        One SVM a class, and the highest output wins. Each learns from all pictures, which takes
        several times as long.
    tolerance : float
        See `sklearn.svm.SVC`.

    Raises
    ------
    BadInput
        Numbers that do not fit; fewer than two classes.
    """
    from sklearn.svm import SVC  # a second; only where it is needed

    targets, c = np.asarray(targets), float(regularisation)
    classes, signs = classes_and_signs(gram, targets, c)
    svc = SVC(C=c, kernel="precomputed", tol=tolerance)
    if targets.ndim == 1 and not against_all:
        return LinearClassifier("svm", classes, c, svc.fit(gram, targets).decision_function)
    return LinearClassifier("svm-against-all", classes, c, against_others(svc, gram, signs))


def against_others(svc, gram: np.ndarray, signs: np.ndarray) -> Callable:
    """Fit an `SVC` for each column of signs (n, K) in turn; what scores new pictures."""
    gram = np.asarray(gram, dtype=np.float64)  # once; libsvm has no other type
    alpha, bias = np.zeros(signs.shape), np.zeros(signs.shape[1])
    for column, y in enumerate(signs.T):
        say = np.flatnonzero(y)
        if not len(say) or (y[say] == y[say[0]]).all():  # nothing to tell apart: always yes, or no
            bias[column] = np.sign(y.sum())
            continue
        svc.fit(gram if len(say) == len(y) else gram[np.ix_(say, say)], y[say])
        alpha[say[svc.support_], column] = svc.dual_coef_[0]
        bias[column] = svc.intercept_[0]
    return lambda products: products @ alpha + bias


def classes_and_signs(
    gram: np.ndarray, targets: np.ndarray, regularisation: float
) -> tuple[np.ndarray, np.ndarray]:
    """Classes (K,), and (n, K) of 1, -1 and 0; a problem that is none is refused."""
    n = len(targets)
    if gram.shape != (n, n) or n < 2:
        raise BadInput(
            f"The Gram matrix must be ({n}, {n}) for {n} training pictures, not {gram.shape}."
        )
    if not 0 < regularisation < np.inf:
        raise BadInput(f"The regularisation C must be a positive number, not {regularisation!r}.")
    if targets.ndim == 2:
        if not np.isin(targets, (-1, 0, 1)).all():
            raise BadInput("Signs must be 1 (holds the class), -1 (does not) or 0 (no say).")
        return np.arange(targets.shape[1]), targets
    classes = np.unique(targets)
    if len(classes) < 2:
        raise BadInput("A classifier needs pictures of at least two classes.")
    return classes, np.where(targets[:, None] == classes, 1, -1)


def fit_softmax(
    gram: np.ndarray,
    targets: Sequence[int] | np.ndarray,
    regularisation: float = 100.0,
    *,
    tolerance: float = 1e-4,
) -> LinearClassifier:
    """A softmax (multinomial logistic regression) by scikit-learn.

    Parameters
    ----------
    gram : array (n, n)
        Dot products of the training pictures.
    targets : (n,) int, or (n, K) of 1, -1 and 0
        The class of each picture. Where a picture holds several (1), it is given once for each,
        with as many parts of its weight: the paper trains one 20-way softmax on VOC's pictures
        "even though" they hold several objects. A picture that surely holds none is left out.
    regularisation : float
        C: minimises |W|^2 / 2 + C times the sum of cross-entropies. The bias is free.
    tolerance : float
        See `sklearn.linear_model.LogisticRegression`.

    Raises
    ------
    BadInput
        Numbers that do not fit; fewer than two classes.
    """
    from sklearn.linear_model import LogisticRegression

    targets, c = np.asarray(targets), float(regularisation)
    classes, signs = classes_and_signs(gram, targets, c)
    rows, labels = np.nonzero(signs == 1)
    weight = 1 / np.bincount(rows)[rows]
    if len(np.unique(labels)) < 2:
        raise BadInput("A classifier needs pictures of at least two classes.")
    # Rows of L with L L^T = X X^T. Rounding may have made that not quite positive: add a little.
    little = 1e-5 * (np.trace(gram) / len(gram) or 1.0)
    lower = gram.astype(np.float64)
    lower[np.diag_indices_from(lower)] += little
    lower = cholesky(lower, lower=True, overwrite_a=True)
    model = LogisticRegression(C=c, tol=tolerance, max_iter=500)
    model.fit(lower.astype(np.float32)[rows], classes[labels], sample_weight=weight)
    alpha = solve_triangular(lower, model.coef_.T.astype(np.float64), lower=True, trans="T")
    return LinearClassifier(
        "softmax", model.classes_, c, lambda products: products @ alpha + model.intercept_
    )


def choose(
    gram: np.ndarray,
    targets: Sequence[int],
    kind: str = "svm",
    *,
    grid: Sequence[float] | None = None,
    parts: int = 3,
    seed: int = 0,
    groups: Sequence[int] | None = None,
    **options,
) -> LinearClassifier:
    """A classifier whose regularisation is chosen inside its training pictures.

    Each candidate is trained on all parts of them but one and measured on that one, for each part
    in turn; the best (of equal ones, the nearest to `UNCHOSEN`) is trained on all.

    Parameters
    ----------
    gram : array (n, n)
        Dot products of the training pictures.
    targets : (n,) int
    kind : {"svm", "softmax", "svm-against-all"}
    grid : sequence of float, optional
        Candidates for C, `GRIDS` by default.
    parts : int
        Into how many parts the training pictures are divided, 2 at least; fewer if a class has
        not so many pictures (or groups). If one has a single picture, nothing can be held out: C
        is then `UNCHOSEN`.
    seed : int
        Of the division.
    groups : (n,) int, optional
        Pictures of one group (the scenes of one stamp) stay in one part, since a classifier that
        learned from one knows the others. By default each stands alone.
    **options
        ``tolerance`` of `fit_svm` or `fit_softmax`.

    Returns
    -------
    LinearClassifier
        With ``.tried``.

    Raises
    ------
    UnknownName, BadInput
        Another kind; an empty grid, fewer than two parts, groups that do not fit.
    """
    check_kinds([kind], ALL_KINDS)
    if parts < 2:
        raise BadInput(f"parts must be at least 2, not {parts}.")
    targets = np.asarray(targets)
    fit: Callable = partial(fit_svm, against_all=kind == "svm-against-all")
    fit = fit_softmax if kind == "softmax" else fit
    grid = sorted(GRIDS[kind] if grid is None else grid)
    if not grid:
        raise BadInput("The grid of regularisations is empty; give at least one.")
    folds = divided(targets, parts, seed, groups)
    if not folds or len(grid) == 1:
        return fit(gram, targets, UNCHOSEN[kind] if len(grid) > 1 else grid[0], **options)
    tried = dict.fromkeys(grid, 0.0)
    for learn, held in folds:
        inner, outer = gram[np.ix_(learn, learn)], gram[np.ix_(held, learn)]
        for c in grid:
            predicted = fit(inner, targets[learn], c, **options).predict(outer)
            right = mean_per_class_accuracy(predicted, targets[held], targets.max() + 1)
            tried[c] += right / len(folds)
    return replace(fit(gram, targets, best_of(tried, kind), **options), tried=tried)


def divided(
    targets: np.ndarray, parts: int, seed: int, groups: Sequence[int] | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures (to learn from, held out) for each part; none if a class has one group alone.

    The groups of a class are spread over the parts as evenly as they go. Where each picture is a
    group of its own, this is scikit-learn's `StratifiedKFold` of the pictures.
    """
    from sklearn.model_selection import StratifiedKFold

    groups = np.arange(len(targets)) if groups is None else np.asarray(groups)
    if groups.shape != targets.shape:
        raise BadInput(f"There are {len(targets)} targets but {len(groups)} groups; give one each.")
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    if (targets[first][member] != targets).any():
        raise BadInput("A group holds pictures of two classes; groups must be of one class.")
    order = np.argsort(first)  # as they come: pictures that stand alone keep their order
    member, labels = np.argsort(order)[member], targets[first[order]]  # (n,); one a group
    parts = min(parts, int(np.bincount(labels)[np.unique(labels)].min()))
    if parts < 2:
        return []
    folds = StratifiedKFold(parts, shuffle=True, random_state=seed).split(labels, labels)
    return [tuple(np.flatnonzero(np.isin(member, side)) for side in fold) for fold in folds]


def best_of(tried: Mapping[float, float], kind: str) -> float:
    """The C with the highest accuracy in [0, 1]; of equal ones, the nearest to `UNCHOSEN`."""

    def rank(c: float) -> tuple[float, float]:
        return round(tried[c], 6), -abs(np.log(c / UNCHOSEN[kind]))

    return max(tried, key=rank)
