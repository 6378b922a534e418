"""How far features carry to other pictures: Tables 4 to 7 and Fig. 9 (Sec. 5.2, 5.3).

The network stays as it was trained; a linear classifier on one of its layers learns the new classes
from a few pictures each. Table 7 asks which layer serves best, Tables 4 and 5 how well the best
one does, Fig. 9 how few pictures are enough, Table 6 the same with several objects in a picture.
Beside them stand whole networks trained on the same few pictures: from random weights ("not
pretrained"), or from the pretrained ones ("fine-tuned").

    features  = extract(net, dataset, layers)            zfnb.feature_cache, once
    products  = dot_products(features[layer])            kept too
    drawn     = draws(dataset.targets, (15, 30))         zfnb.protocols
    results   = accuracies(products, targets, drawn)     a `Result` for each split

Shapes: N pictures, K classes.
"""

from __future__ import annotations

import json
import os
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from zfnb.checkpoints import saving
from zfnb.data.base import PictureDataset
from zfnb.errors import BadInput
from zfnb.evaluate import probabilities
from zfnb.feature_cache import Features, extract, top_of_layer
from zfnb.files import replacing
from zfnb.gram import gram
from zfnb.linear_classifiers import (
    GRIDS,
    KINDS,
    UNCHOSEN,
    LinearClassifier,
    best_of,
    check_kinds,
    choose,
    fit_softmax,
    fit_svm,
)
from zfnb.metrics import average_precision, mean_per_class_accuracy, per_class_accuracy
from zfnb.models import Network, load_model
from zfnb.named import weights_name
from zfnb.processes import choose_device
from zfnb.protocols import Draw, Part
from zfnb.runs import check_same, read_json, read_log
from zfnb.training import Settings, checksum, train
from zfnb.usable import check_readable

SOFTMAX_FROM = 5  # the lowest layer under a softmax in Table 7


@dataclass(frozen=True)
class Result:
    """A classifier on one split.

    Attributes
    ----------
    kind : str
        "svm" (one against one), "softmax", "svm-against-all", "not pretrained" or "fine-tuned".
    count, split : int
        Training pictures a class; number of the split.
    accuracy : float
        Mean per-class accuracy on the test pictures, in percent.
    per_class : array (K,)
        Percent; NaN for a class without a test picture.
    predicted : array of int
        The class that each picture of ``draw.test`` was given.
    regularisation : float or None
        scikit-learn's C; None for a network that was trained whole.
    tried : dict {C: accuracy in percent}
        How C was chosen: on held-out training pictures. Empty if there was no choice.
    train, test : int
        Pictures.
    seconds : float
    """

    kind: str
    count: int
    split: int
    accuracy: float
    per_class: np.ndarray
    predicted: np.ndarray
    regularisation: float | None = None
    tried: Mapping[float, float] = field(default_factory=dict)
    train: int = 0
    test: int = 0
    seconds: float = 0.0

    def row(self) -> dict:
        """What a results file keeps of it."""
        return {
            "classifier": self.kind,
            "count": self.count,
            "split": self.split,
            "accuracy": round(self.accuracy, 3),
            "regularisation": self.regularisation,
            "train_pictures": self.train,
            "test_pictures": self.test,
            "seconds": round(self.seconds, 1),
        }


def dot_products(features: Features, progress: bool = False) -> np.ndarray:
    """Dot products of all pairs of pictures, at length 1; kept on disk beside the features.

    Parameters
    ----------
    features : Features
        From `zfnb.feature_cache.extract`.
    progress : bool
        Show a bar while they are computed.

    Returns
    -------
    array (N, N) float32
        Mapped from the file.
    """
    path = features.path.with_name(f"{features.layer}-products.npy")
    note = path.with_suffix(".json")
    if path.exists() and note.exists():
        try:
            facts = json.loads(note.read_text(encoding="utf-8"))
            found = np.load(path, mmap_mode="r")
            if facts["features"] != features.checksum:
                reason = "are of other features"
            elif found.shape != (len(features.values),) * 2 or facts["crc"] != zlib.crc32(found):
                reason = "are damaged"
            else:
                return found
        except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
            reason = f"are damaged ({error})"
        found = None  # Windows does not replace a file that is open
        warnings.warn(f"The dot products in {path.name} {reason}; made again.", stacklevel=2)
    products = gram(features.values, progress=progress)
    with saving(path):
        with replacing(path) as temporary:
            np.save(temporary, products)
        with replacing(note) as temporary:
            facts = {"features": features.checksum, "crc": zlib.crc32(products)}
            temporary.write_text(json.dumps(facts), encoding="utf-8")
    return np.load(path, mmap_mode="r")


def classify(
    products: np.ndarray,
    targets: Sequence[int],
    drawn: Draw,
    kind: str = "svm",
    *,
    groups: Sequence[int] | None = None,
    **options,
) -> tuple[Result, LinearClassifier]:
    """Train a classifier on the training pictures of a draw, and measure it on its test pictures.

    Parameters
    ----------
    products : array (N, N)
        Dot products of all pictures; see `dot_products` and `zfnb.gram.gram`.
    targets : (N,) int
    drawn : Draw
    kind : {"svm", "softmax", "svm-against-all"}
    groups : (N,) int, optional
        Pictures of one group (the scenes of one stamp) are not told apart when C is chosen; see
        `zfnb.linear_classifiers.choose`. Give those that the pictures were drawn by.
    **options
        Of `zfnb.linear_classifiers.choose`: ``grid``, ``parts``, ...

    Returns
    -------
    Result, LinearClassifier
    """
    began = time.perf_counter()
    targets = np.asarray(targets)
    if products.shape != (len(targets),) * 2:
        raise BadInput(
            f"Dot products must be ({len(targets)}, {len(targets)}) for {len(targets)} targets, "
            f"not {products.shape}."
        )
    if groups is not None:
        if len(groups) != len(targets):
            raise BadInput(
                f"There are {len(targets)} targets but {len(groups)} groups; give one a picture."
            )
        groups = np.asarray(groups)[drawn.train]
    rows = np.asarray(products[drawn.train])  # (n, N): a mapped file is read once, in order
    inner, known = rows[:, drawn.train], targets[drawn.train]
    model = choose(inner, known, kind, seed=drawn.split, groups=groups, **options)
    predicted = model.predict(rows[:, drawn.test].T)
    result = measured(kind, drawn, targets, predicted, time.perf_counter() - began)
    tried = {c: 100 * part for c, part in model.tried.items()}
    return replace(result, regularisation=model.regularisation, tried=tried), model


def measured(
    kind: str, drawn: Draw, targets: np.ndarray, predicted: np.ndarray, seconds: float
) -> Result:
    """The `Result` of predictions for the test pictures of a draw."""
    truth, classes = targets[drawn.test], int(targets.max()) + 1
    return Result(
        kind,
        drawn.count,
        drawn.split,
        100 * mean_per_class_accuracy(predicted, truth, classes),
        100 * per_class_accuracy(predicted, truth, classes),
        predicted,
        train=len(drawn.train),
        test=len(drawn.test),
        seconds=seconds,
    )


def accuracies(
    products: np.ndarray,
    targets: Sequence[int],
    drawn: Mapping[int, Sequence[Draw]],
    kind: str = "svm",
    *,
    groups: Sequence[int] | None = None,
    skip: Callable[[Draw], bool] | None = None,
    on_result: Callable[[Result], object] | None = None,
    **options,
) -> list[Result]:
    """`classify` for every split of every number of training pictures.

    Parameters
    ----------
    products, targets, kind, groups, **options
        As for `classify`.
    drawn : dict {count: list of Draw}
        From `zfnb.protocols.draws`.
    skip : callable, optional
        Whether a draw is left out, because its result is known.
    on_result : callable, optional
        Called with each `Result` as it comes.
    """
    results = []
    for several in drawn.values():
        for one in several:
            if skip and skip(one):
                continue
            result, _ = classify(products, targets, one, kind, groups=groups, **options)
            results.append(result)
            if on_result:
                on_result(result)
    return results


def layer_features(
    net: Network, dataset: PictureDataset, numbers: Sequence[int], **options
) -> dict[int, Features]:
    """Features at layers by the paper's numbers, each at its last step (pool, normalisation).

    `options` go to `zfnb.feature_cache.extract`: ``folder``, ``batch``, ``workers``, ``progress``.

    Returns
    -------
    dict {layer number: Features}
    """
    steps = {number: top_of_layer(net, number) for number in numbers}
    found = extract(net, dataset, list(steps.values()), **options)
    return {number: found[step] for number, step in steps.items()}


def layers_to_compare(net: Network) -> list[int]:
    """The layers of Table 7 that a network has: 1 to 5 and 7; the classifier is none of them."""
    names = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc7")
    return [int(name[-1]) for name in names if name in net.layer_names]


def compare_layers(
    features: Mapping[int, Features],
    targets: Sequence[int],
    drawn: Mapping[int, Sequence[Draw]],
    *,
    softmax_from: int = SOFTMAX_FROM,
    kinds: Sequence[str] = KINDS,
    progress: bool = False,
    groups: Sequence[int] | None = None,
    skip: Callable[[int, str, Draw], bool] | None = None,
    on_result: Callable[[int, Result], object] | None = None,
    **options,
) -> dict[tuple[str, int], list[Result]]:
    """Table 7: a linear classifier on each layer in turn.

    Parameters
    ----------
    features : dict {layer number: Features}
        From `layer_features`.
    targets : (N,) int
    drawn : dict {count: list of Draw}
        From `zfnb.protocols.draws`.
    softmax_from : int
        The softmax is trained on layers from this number on, as in the paper.
    kinds : sequence of str
        Of "svm", "softmax" and "svm-against-all".
    progress : bool
        Show a bar while dot products are computed.
    groups : (N,) int, optional
        As for `classify`.
    skip : callable, optional
        Whether a layer, kind and draw are left out, because their result is known.
    on_result : callable, optional
        Called with the number of the layer and each `Result` as it comes.
    **options
        Of `zfnb.linear_classifiers.choose`.

    Returns
    -------
    dict {(kind, layer number): list of Result}

    Raises
    ------
    BadInput
        A picture was drawn that could not be read, and has no features.
    """
    found = {}
    every = [one for several in drawn.values() for one in several]
    items = np.array(sorted({int(i) for one in every for i in (*one.train, *one.test)}), dtype=int)
    for number, layer in features.items():
        absent = items[~layer.readable[items]]
        if len(absent):
            raise BadInput(
                f"{len(absent)} of the pictures drawn could not be read and have no features, e.g. "
                f"item {absent[0]}; draw with usable=features.readable. If they could be read "
                "before, remove the folder usable from zfnb's cache, and all are looked at again."
            )
        for kind in kinds:
            if kind == "softmax" and number < softmax_from:
                continue
            left = partial(skip, number, kind) if skip else None
            if left and all(left(one) for one in every):
                found[kind, number] = []
                continue
            told = partial(on_result, number) if on_result else None
            found[kind, number] = accuracies(
                dot_products(layer, progress),
                targets,
                drawn,
                kind,
                groups=groups,
                skip=left,
                on_result=told,
                **options,
            )
    return found


def mean_and_spread(results: Iterable[Result | float]) -> tuple[float, float]:
    """Mean over the splits, and their sample standard deviation (NaN for one), in percent."""
    values = [r.accuracy if isinstance(r, Result) else float(r) for r in results]
    if not values:
        raise BadInput("There is no result to average.")
    spread = np.std(values, ddof=1) if len(values) > 1 else np.nan
    return float(np.mean(values)), float(spread)


def by_count(results: Iterable[Result]) -> dict[int, tuple[float, float]]:
    """{training pictures a class: mean and spread of the accuracy}, e.g. for Fig. 9."""
    counts: dict[int, list[Result]] = {}
    for result in results:
        counts.setdefault(result.count, []).append(result)
    return {count: mean_and_spread(several) for count, several in sorted(counts.items())}


def kind_of(settings: Settings) -> str:
    """What a network that is trained whole is called in Tables 4 and 5."""
    return "not pretrained" if settings.weights is None else "fine-tuned"


def train_network(
    dataset: PictureDataset,
    drawn: Draw,
    settings: Settings,
    folder: str | os.PathLike,
    **options,
) -> Result:
    """Train all layers of a network on the training pictures of a draw alone.

    From random weights: the paper's row "Non-pretrained convnet". From ``settings.weights``:
    fine-tuned, which the paper did not do. An interrupted training goes on at the next call.

    Parameters
    ----------
    dataset : PictureDataset
    drawn : Draw
    settings : zfnb.training.Settings
        The network, how it is trained, and from which weights.
    folder : path
        Of the runs; this one has a folder of its own in it.
    **options
        Of `zfnb.training.train`: ``cache``, ``device``, ``workers``, ``progress``, ...

    Returns
    -------
    Result
        Of kind "not pretrained" or "fine-tuned". Its seconds are those of all epochs, whichever
        call trained them, and of the measurement.

    Raises
    ------
    BadInput
        If these pictures were trained on in `folder` with other settings or from other weights,
        or a picture to be tested cannot be read.
    """
    learn = Part(dataset, drawn.train)
    # Other pictures, of another seed or dataset, get another folder.
    name = f"{settings.network}-{drawn.count}-split{drawn.split}-{learn.fingerprint()[:8]}"
    if settings.weights is not None:
        name += f"-from-{Path(weights_name(settings.weights)).stem}"
    home = Path(folder) / name
    seeded = replace(settings, seed=settings.seed + drawn.split)
    if (home / "run.json").exists():  # another recipe or start is refused, finished or not
        before = read_json(home / "run.json")
        begun = {part: before.get(part, {}) for part in ("settings", "start")}
        check_same(begun, {"settings": seeded.facts(), "start": start_of(seeded)}, home)
    weights = home / f"{settings.network}.safetensors"
    workers = options.get("workers", 0)
    check_readable(dataset, drawn.test, max(workers, 1))
    if not (home / "result.json").exists() or not weights.exists():
        train(seeded, learn, None, home, resume=True, **options)
    began = time.perf_counter()
    net = load_model(settings.network, weights=weights).to(choose_device(options.get("device")))
    chances = probabilities(net, Part(dataset, drawn.test), workers=workers)
    predicted = chances.argmax(1).numpy()
    targets = np.asarray(dataset.targets)
    # By its log: an earlier call may have trained it, or a part of it.
    seconds = sum(line["seconds"] for line in read_log(home)["epoch"])
    seconds += time.perf_counter() - began
    return measured(kind_of(settings), drawn, targets, predicted, seconds)


def start_of(settings: Settings) -> dict:
    """What run.json has under "start"."""
    source = settings.source()
    return {} if source is None else {"weights": checksum(source)}


@dataclass(frozen=True)
class VocResult:
    """Table 6 for one classifier.

    Attributes
    ----------
    kind : {"svm", "softmax"}
    average_precision : array (20,)
        Percent; NaN for a class that no training or no test picture holds.
    regularisation : float
        scikit-learn's C.
    tried : dict {C: mean average precision in percent}
        How C was chosen: on held-out training pictures. Empty if there was no choice.
    """

    kind: str
    average_precision: np.ndarray
    regularisation: float
    tried: Mapping[float, float]

    @property
    def mean(self) -> float:
        """Mean average precision over the classes that have one, in percent."""
        return float(np.nanmean(self.average_precision))


def several_objects(
    products: np.ndarray,
    labels: np.ndarray,
    train: Sequence[int],
    test: Sequence[int],
    kind: str = "softmax",
    *,
    grid: Sequence[float] | None = None,
    seed: int = 0,
    average: str = "devkit",
    **options,
) -> VocResult:
    """PASCAL VOC: pictures that hold objects of several classes, ranked for each class (Table 6).

    "softmax": one classifier of all classes, as in the paper; a picture of several objects is
    given once for each, with as many parts of its weight, and ranks by the class's probability.
    "svm": one against all others for each class, on all pictures but those where it is difficult.

    Parameters
    ----------
    products : array (N, N)
        Dot products of all pictures, training and test.
    labels : array (N, K) of 1, -1 and 0
        ``dataset.labels`` of "voc2012".
    train, test : sequence of int
        Items.
    kind : {"softmax", "svm"}
    grid : sequence of float, optional
        Candidates for C; chosen on a third of the training pictures (of equal ones, the nearest to
        `UNCHOSEN`). `GRIDS` by default.
    seed : int
        Of that third.
    average : str
        Kind of `zfnb.metrics.average_precision`.
    **options
        Of `fit_svm` or `fit_softmax`.

    Returns
    -------
    VocResult

    Raises
    ------
    UnknownName, BadInput
        Another kind; arrays that do not fit, an empty grid, no class to be measured.
    """
    check_kinds([kind], KINDS)
    labels, train, test = np.asarray(labels), np.asarray(train), np.asarray(test)
    if labels.ndim != 2 or products.shape != (len(labels),) * 2:
        raise BadInput(
            f"Labels must be (N, K) and dot products (N, N); got {labels.shape} and "
            f"{products.shape}."
        )
    grid = sorted(GRIDS[kind] if grid is None else grid)
    if not grid:
        raise BadInput("The grid of regularisations is empty; give at least one.")
    order = np.random.default_rng(seed).permutation(train)
    held, learn = np.sort(order[: len(order) // 3]), np.sort(order[len(order) // 3 :])
    tried = {}
    if len(grid) > 1 and len(held):
        for c in grid:
            found = ranked(products, labels, learn, held, kind, c, average, **options)
            if np.isfinite(found).any():
                tried[c] = float(np.nanmean(found))
    usual = grid[0] if len(grid) == 1 else UNCHOSEN[kind]
    best = best_of(tried, kind) if tried else usual
    found = ranked(products, labels, train, test, kind, best, average, **options)
    if not np.isfinite(found).any():
        raise BadInput("No class has a training picture and a test picture; give more pictures.")
    return VocResult(kind, 100 * found, best, {c: 100 * mean for c, mean in tried.items()})


def ranked(
    products: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    kind: str,
    regularisation: float,
    average: str,
    **options,
) -> np.ndarray:
    """Average precision (K,) in [0, 1] of each class; NaN where it cannot be said."""
    signs = labels[train]
    known = np.flatnonzero((signs == 1).any(0) & (labels[test] == 1).any(0))
    found = np.full(labels.shape[1], np.nan)
    if not len(known):
        return found
    rows = np.asarray(products[train])
    inner, outer = rows[:, train], rows[:, test].T
    if kind == "svm":
        model = fit_svm(inner, signs[:, known], regularisation, **options)
        scores = dict(zip(known.tolist(), model.scores(outer).T, strict=True))
    else:
        model = fit_softmax(inner, signs, regularisation, **options)
        chances = model.probabilities(outer)
        scores = dict(zip(model.classes.tolist(), chances.T, strict=True))
    for target in known.tolist():
        found[target] = average_precision(scores[target], labels[test, target], average)
    return found
