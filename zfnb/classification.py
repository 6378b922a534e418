"""Table 2: errors of networks and ensembles on a dataset, and where they go wrong (Sec. 5.1).

`zfnb.evaluate` says what a network makes of pictures and counts errors. Here are the rows of a
table like the paper's: each network alone, with 1 and 10 crops, and the means of several; whether
two rows differ by more than chance; and what a table hides: which classes are taken for which, and
the pictures that a network is surest and wrong about.

Shapes: N pictures, K classes.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from zfnb.chance import counts_from, more_than_chance
from zfnb.data import PictureDataset, all_stamps
from zfnb.data.base import class_names
from zfnb.errors import BadInput, MissingData
from zfnb.evaluate import ensemble, in_top, probabilities, top_k_errors
from zfnb.models import Network
from zfnb.paths import embedded
from zfnb.runs import read_results

Scores = dict[str, dict[int, Tensor]]  # network -> crops -> (N, K) probabilities
CONFUSED = 40  # pairs of classes that are kept
# What the embedded networks are called in figures, in the order in which they are named.
SHORT = {
    "zfnet:tiny-imagenet": "ZFNet",
    "alexnet:tiny-imagenet": "AlexNet",
    "torchvision-alexnet:imagenet-trunk+tiny-imagenet": "ImageNet trunk",
}


def in_order(networks: Iterable[str]) -> list[str]:
    """Networks as `SHORT` has them; others behind, by name."""
    order = list(SHORT)
    return sorted(networks, key=lambda n: (order.index(n) if n in order else len(order), n))


@dataclass(frozen=True)
class Row:
    """A row of Table 2.

    Attributes
    ----------
    networks : tuple of str
        One, or the members of an ensemble.
    crops : int
    top1, top5 : float
        Errors in percent.
    """

    networks: tuple[str, ...]
    crops: int
    top1: float
    top5: float

    @property
    def name(self) -> str:
        return " + ".join(self.networks)

    @property
    def short(self) -> str:
        """`name` as figures have it: "ZFNet + AlexNet"."""
        return " + ".join(SHORT.get(name, name) for name in in_order(self.networks))


@dataclass(frozen=True)
class Gain:
    """By how much one row's error is lower than another's, and how much of that chance can do.

    Attributes
    ----------
    points : float
        Percent of the pictures; negative where the error is higher.
    error : float
        Standard error of `points`.
    paired : bool
        Whether the two were compared picture by picture.
    """

    points: float
    error: float
    paired: bool

    @property
    def agrees(self) -> bool | str:
        """Whether the error is lower; True or False by more than chance (`zfnb.chance`)."""
        return more_than_chance(self.points, counts_from(math.inf) * self.error)

    @property
    def words(self) -> str:
        """How sure the number is, in a sentence."""
        how = (
            "both asked about the same pictures"
            if self.paired
            else "as if each had been asked about other pictures"
        )
        return f"Standard error {self.error:.2f} points, {how}."


def published() -> list[dict]:
    """Table 2 as published: model, networks, val_top1, val_top5, test_top5 (percent or None), ours.

    `ours` is True where the networks are the paper's own.
    """
    with embedded("data", "paper", "table2.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = ("val_top1", "val_top5", "test_top5")
    return [
        {
            "model": row["model"],
            "networks": int(row["networks"]) if row["networks"] else None,
            "ours": row["ours"] == "yes",
            **{name: float(row[name]) if row[name] else None for name in numbers},
        }
        for row in rows
    ]


def check_classes(net: Network, dataset: PictureDataset, name: str = "") -> None:
    """A network can be measured on a dataset only if its outputs stand for the same classes.

    Where both know the synset of a class, that is compared, otherwise its names. Of a network that
    does not know its classes only their number is.

    Raises
    ------
    BadInput
        If they do not, or the network has no classifier.
    """
    name = name or net.name
    if net.num_classes is None:
        raise BadInput(f"{name} has no classifier: it cannot be asked for classes.")
    theirs = class_names(dataset)
    same = net.num_classes == len(theirs)
    if same and net.classes:
        same = all(map(same_class, net.classes, theirs))
    if not same:
        raise BadInput(
            f"{name} knows {net.num_classes} classes, which are not the {len(dataset.classes)} of "
            f"{dataset.name}; choose weights that were trained on {dataset.name}."
        )


def same_class(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """Whether two (synset, name) mean the same class; a folder may have its synset for a name."""
    if one[0] and other[0]:
        return one[0] == other[0]
    words, others = (
        {str(word).casefold().replace("_", " ") for word in pair if word} for pair in (one, other)
    )
    return not words.isdisjoint(others)


def measure(
    nets: Mapping[str, Network],
    dataset: Dataset,
    crops: Sequence[int] = (1, 10),
    *,
    progress: Callable | None = None,
    **options,
) -> Scores:
    """Class probabilities of every network on every picture.

    Parameters
    ----------
    nets : {name: Network}
        With the dataset's classes; `check_classes`.
    dataset : Dataset
        Items (PIL image, target).
    crops : sequence of {1, 10}
    progress, **options
        Go to `zfnb.evaluate.probabilities` (batch, workers).
    """
    return {
        name: {n: probabilities(net, dataset, n, progress=progress, **options) for n in crops}
        for name, net in nets.items()
    }


def table(scores: Scores, targets: Sequence[int] | Tensor) -> list[Row]:
    """The rows of Table 2: every network, then every ensemble of two or more, fewest crops first.

    Parameters
    ----------
    scores : of `measure`
    targets : (N,) int
    """
    names = list(scores)
    groups = [group for size in range(1, len(names) + 1) for group in combinations(names, size)]
    rows = []
    for group in groups:
        for crops in sorted(set.intersection(*(set(scores[name]) for name in group))):
            members = [scores[name][crops] for name in group]
            errors = top_k_errors(ensemble(members), targets, (1, 5))
            rows.append(Row(group, crops, errors[1], errors[5]))
    return rows


def disagreements(
    scores: Scores, targets: Sequence[int] | Tensor, rows: Sequence[Row]
) -> list[dict]:
    """On how many pictures one row of a table is wrong and another is right, for each two rows.

    With these counts a difference of two errors can be judged picture by picture; see `gain`.

    Returns
    -------
    list of dict
        rows: [[networks, crops], [networks, crops]]; top1, top5: [pictures on which the first
        alone is wrong, the second alone].
    """
    targets = torch.as_tensor(np.asarray(targets), dtype=torch.long)
    right = [
        in_top(ensemble([scores[name][row.crops] for name in row.networks]), targets, (1, 5))
        for row in rows
    ]
    found = []
    for one, other in combinations(range(len(rows)), 2):
        alone = [(~right[a] & right[b]).sum(0).tolist() for a, b in ((one, other), (other, one))]
        found.append(
            {
                "rows": [[list(rows[n].networks), rows[n].crops] for n in (one, other)],
                **{top: [wrong[n] for wrong in alone] for n, top in enumerate(("top1", "top5"))},
            }
        )
    return found


def gain(content: dict, row: Row, other: Row, top: str = "top1") -> Gain:
    """How much lower the error of `row` is than that of `other`, and how sure that is.

    Two errors p and q on n pictures differ by chance, too: other pictures of the same kind would
    have given other errors. Where the file holds on how many pictures one of the two alone is
    wrong, b and c, the difference (c - b) / n has the variance (b + c - (b - c)^2 / n) / n^2. Else
    both count as measured on pictures of their own: the variance is (p (1 - p) + q (1 - q)) / n.
    That errs on the careful side, since the same pictures are hard for both.

    The chance of the training is not in it: another random start gives another error.

    Parameters
    ----------
    content : dict
        From `kept`.
    row, other : Row
        Of `kept_rows`.
    top : {"top1", "top5"}
    """
    pictures = content["data"]["pictures"]
    one, two = getattr(row, top), getattr(other, top)
    counts = _counts(content, row, other, top)
    if counts is None:
        shares = (one / 100, two / 100)
        variance = sum(share * (1 - share) for share in shares) / pictures
    else:
        b, c = counts
        variance = (b + c - (b - c) ** 2 / pictures) / pictures**2
    return Gain(two - one, 100 * math.sqrt(variance), counts is not None)


def _counts(content: dict, row: Row, other: Row, top: str) -> list[int] | None:
    """Pictures on which `row` alone is wrong, and `other` alone; None where that was not kept."""
    wanted = [_key(row.networks, row.crops), _key(other.networks, other.crops)]
    for entry in content.get("disagreements", ()):
        keys = [_key(*key) for key in entry["rows"]]
        if keys in (wanted, wanted[::-1]):
            return entry[top] if keys == wanted else entry[top][::-1]
    return None


def _key(networks: Sequence[str], crops: int) -> tuple:
    """What a row is known by: its networks in any order, and the crops."""
    return tuple(sorted(networks)), crops


def class_errors(scores: Tensor, targets: Sequence[int] | Tensor) -> np.ndarray:
    """Top-1 error of each class in percent: (N, K) to (K,); NaN where there is no picture."""
    targets = torch.as_tensor(np.asarray(targets), dtype=torch.long)
    wrong = (~in_top(scores, targets, (1,))[:, 0]).double()
    classes = scores.shape[1]
    count = torch.bincount(targets, minlength=classes)
    total = torch.bincount(targets, wrong, minlength=classes)
    return (100 * total / count).numpy()


def confusion(scores: Tensor, targets: Sequence[int] | Tensor) -> np.ndarray:
    """How often class i (row) is taken for class j (column): (N, K) to (K, K) counts."""
    targets = torch.as_tensor(np.asarray(targets), dtype=torch.long)
    classes = scores.shape[1]
    flat = targets * classes + scores.argmax(1)
    return torch.bincount(flat, minlength=classes**2).view(classes, classes).numpy()


def most_confused(matrix: np.ndarray, count: int = 10) -> list[tuple[int, int, int]]:
    """The pairs of classes that are mixed up most: (class, taken for, how often), both ways added.

    `class` is the one that is mistaken more often of the two.
    """
    both = np.triu(matrix + matrix.T, 1)
    order = np.argsort(-both, axis=None, kind="stable")[:count]
    pairs = []
    for i, j in zip(*np.unravel_index(order, both.shape), strict=True):
        if both[i, j]:
            first, second = (i, j) if matrix[i, j] >= matrix[j, i] else (j, i)
            pairs.append((int(first), int(second), int(both[i, j])))
    return pairs


def hardest(scores: Tensor, targets: Sequence[int] | Tensor, count: int = 9) -> list[int]:
    """Pictures that a network is surest and wrong about: the least probability of the true class
    first, and of equals the greatest of a wrong one."""
    targets = torch.as_tensor(np.asarray(targets), dtype=torch.long)
    own = scores.gather(1, targets[:, None])[:, 0].double()
    top = scores.amax(1).double()
    wrong = scores.argmax(1) != targets
    order = sorted(wrong.nonzero()[:, 0].tolist(), key=lambda i: (own[i].item(), -top[i].item()))
    return order[:count]


def most_probable(
    scores: Tensor, classes: Sequence[tuple[str, str]] | None, count: int = 5
) -> list[list[tuple[str, float]]]:
    """For each picture the names and probabilities of its most probable classes: (N, K) rows."""
    values, places = scores.topk(min(count, scores.shape[1]), 1)
    names = [name for _, name in classes] if classes else list(map(str, range(scores.shape[1])))
    return [
        [(names[place], float(value)) for value, place in zip(row, at, strict=True)]
        for row, at in zip(values.tolist(), places.tolist(), strict=True)
    ]


def known_things(
    dataset: PictureDataset, classes: Sequence[tuple[str, str]]
) -> tuple[list[int], list[int]]:
    """Which stamps or scenes show a thing that a network knows: items, and their classes in it.

    Parameters
    ----------
    dataset : Stamps or Scenes
    classes : list of (synset, name)
        Of the network.
    """
    place = {synset: target for target, (synset, _) in enumerate(classes) if synset}
    stamps = all_stamps()
    keys = (dataset.key(i).partition("#")[0] for i in range(len(dataset)))  # a scene's stamp
    found = [(i, stamps[key].synset) for i, key in enumerate(keys)]
    known = [(i, place[synset]) for i, synset in found if synset in place]
    return [i for i, _ in known], [target for _, target in known]


def record(
    scores: Scores,
    targets: Sequence[int] | Tensor,
    rows: Sequence[Row],
    *,
    data: dict,
    classes: Sequence[tuple[str, str]] | None,
    measured: dict,
) -> dict:
    """What is kept of a measurement; see `kept`.

    Parameters
    ----------
    scores, targets, rows : of `measure` and `table`
    data : dict
        Which pictures.
    classes : list of (synset, name)
    measured : dict
        Command, date, code, machine, seconds.
    """
    details = {}
    for name, by_crops in scores.items():
        single = by_crops[min(by_crops)]
        errors = class_errors(single, targets).tolist()
        details[name] = {
            "class_errors": [None if np.isnan(e) else round(e, 2) for e in errors],
            "confused": most_confused(confusion(single, targets), CONFUSED),
        }
    return {
        "data": data,
        "classes": classes,
        "measured": [measured],
        "rows": [
            {
                "networks": list(row.networks),
                "crops": row.crops,
                "top1": round(row.top1, 4),
                "top5": round(row.top5, 4),
                "measured": 0,
            }
            for row in rows
        ],
        "disagreements": disagreements(scores, targets, rows),
        "details": details,
    }


def check_same_pictures(before: dict, new: dict) -> None:
    """BadInput if two records, or what is known of them, are not of the same pictures."""
    new = json.loads(json.dumps({key: new[key] for key in ("data", "classes")}))
    if any(before[key] != value for key, value in new.items()):
        raise BadInput("The file holds errors on other pictures; choose another --results.")


def merged(before: dict, new: dict) -> dict:
    """Two records of the same pictures as one; where both have a row, the new one counts.

    An ensemble is one row whatever the order of its members.

    Raises
    ------
    BadInput
        If they are of other pictures or classes.
    """
    new = json.loads(json.dumps(new))  # tuples become lists, as in the file
    check_same_pictures(before, new)
    replaced = {_key(row["networks"], row["crops"]) for row in new["rows"]}
    rows = [row for row in before["rows"] if _key(row["networks"], row["crops"]) not in replaced]
    compared = [  # a row that was measured anew may be of other weights
        entry
        for entry in before.get("disagreements", [])
        if replaced.isdisjoint(_key(*key) for key in entry["rows"])
    ]
    runs = sorted({row["measured"] for row in rows})  # of the others no row is left

    def fewest(kept: dict, name: str) -> float:
        crops = (row["crops"] for row in kept["rows"] if row["networks"] == [name])
        return min(crops, default=float("inf"))

    details = {  # of the fewest crops, as in `record`
        name: found
        for name, found in new["details"].items()
        if name not in before["details"] or fewest(new, name) <= fewest(before, name)
    }
    rows = [{**row, "measured": runs.index(row["measured"])} for row in rows]
    rows += [{**row, "measured": len(runs) + row["measured"]} for row in new["rows"]]
    rows.sort(key=lambda row: (len(row["networks"]), row["networks"], row["crops"]))
    return {
        **before,
        "measured": [before["measured"][run] for run in runs] + new["measured"],
        "rows": rows,
        "disagreements": compared + new.get("disagreements", []),
        "details": {**before["details"], **details},
    }


def kept(path: Path | None = None) -> dict:
    """What `zfnb evaluate --results` measured and kept: ``data/results/table2.json``.

    Returns
    -------
    dict
        data (which pictures, and how many), classes ([synset, name], in order), measured (command,
        date, code, machine and seconds of each measurement), rows (networks, crops, top1 and top5
        in percent, and which of the measurements), disagreements (from `disagreements`, of rows
        that were measured together; a file may have none), and for each network ``details``:
        class_errors (percent, None without pictures) and confused ([class, taken for, how often]).

    Raises
    ------
    MissingData
        If nothing was kept yet.
    BadInput
        If the file is damaged.
    """
    path = path or embedded("data", "results", "table2.json")
    if not path.exists():
        raise MissingData(f"There is no {path.name} yet: `zfnb evaluate ... --results` makes it.")
    return read_results(path, "zfnb evaluate ... --results", whole_record)


def whole_record(content: dict) -> dict:
    """The content, if all is there that `record` writes; else KeyError."""
    _ = [content[key] for key in ("classes", "measured", "rows", "details")]
    _ = content["data"]["pictures"]
    return content


def kept_rows(content: dict, whole: str | None = None) -> list[Row]:
    """The rows of `kept`'s table; with `whole`, only those of that network alone."""
    rows = [
        Row(tuple(row["networks"]), row["crops"], row["top1"], row["top5"])
        for row in content["rows"]
    ]
    return [row for row in rows if whole is None or row.networks == (whole,)]


def best_member(rows: Sequence[Row], ensemble: Row) -> Row | None:
    """The member of an ensemble with the lowest top-1 error alone, with as many crops.

    None where a member was not measured alone.
    """
    alone = [row_of(rows, name, crops=ensemble.crops) for name in ensemble.networks]
    return None if None in alone else min(alone, key=lambda row: row.top1)


def row_of(rows: Sequence[Row], *networks: str, crops: int = 1) -> Row | None:
    """The row of these networks, in any order; None where there is none."""
    for row in rows:
        if _key(row.networks, row.crops) == _key(networks, crops):
            return row
    return None
