"""Which pictures train and which test: the draws of Sec. 5.2, the same from the same seed.

Caltech-101: 15 or 30 pictures of each class at random to train on, up to 50 of the others to test,
five such splits. Caltech-256: 15, 30, 45 or 60. Fig. 9: from 1 to 60.

Each split orders the pictures of each class once. The first ones train and the next ones test, so
that a training set of 5 a class is a part of that of 10: a curve over their number then does not
jump because other pictures were drawn.
"""

from __future__ import annotations

import codecs
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from zfnb.batches import seeded
from zfnb.checks import whole_number
from zfnb.data.base import PictureDataset
from zfnb.errors import BadInput, UnknownName


@dataclass(frozen=True)
class Protocol:
    """How a dataset is divided in the paper.

    Attributes
    ----------
    name : str
        Of the dataset.
    counts : tuple of int
        Training pictures a class.
    test : int
        Test pictures a class, at the most.
    splits : int
    """

    name: str
    counts: tuple[int, ...]
    test: int = 50
    splits: int = 5


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("caltech101", (15, 30)),
        Protocol("caltech256", (15, 30, 45, 60)),
    )
}
FIG9 = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 25, 30, 40, 50, 60)  # training pictures a class


@dataclass(frozen=True)
class Draw:
    """A training and a test set.

    Attributes
    ----------
    train, test : array of int
        Items of the dataset, in increasing order; none is in both.
    split, count : int
        Number of the split; training pictures a class that were asked for.
    short : dict {class: training pictures}
        Classes that had to give fewer, so that one is left to test.
    left_out : tuple of int
        Classes with fewer than two pictures, which are in neither set.
    """

    train: np.ndarray
    test: np.ndarray
    split: int
    count: int
    short: Mapping[int, int] = field(default_factory=dict)
    left_out: tuple[int, ...] = ()


def draw(
    targets: Sequence[int],
    count: int,
    *,
    test: int = 50,
    split: int = 0,
    seed: int = 0,
    reserve: int | None = None,
    groups: Sequence[int] | None = None,
    usable: Sequence[bool] | None = None,
) -> Draw:
    """Draw a training and a test set.

    Parameters
    ----------
    targets : (N,) int
        Class of each picture.
    count : int
        Training pictures a class.
    test : int
        Test pictures a class, at the most.
    split, seed : int
        Another split, or another seed, orders the pictures in another way.
    reserve : int, optional
        The test pictures begin after so many, `count` by default. With one number for several
        counts they share their test set.
    groups : (N,) int, optional
        Pictures of one group (the scenes of one stamp) go the same way; `count` and `test` are
        then numbers of groups.
    usable : (N,) bool, optional
        Pictures that may be drawn, e.g. those that can be read: `zfnb.usable.usable`.

    Returns
    -------
    Draw
        A class with too few pictures keeps one to test on and gives the others; a warning, and
        ``.short``, say so. The same with fewer than two: ``.left_out``.

    Raises
    ------
    BadInput
        A number out of range, lists that do not fit, or no class with two pictures.
    """
    targets = np.asarray(targets)
    reserve = count if reserve is None else reserve
    check(targets, count, test, reserve, groups, usable)
    groups = np.arange(len(targets)) if groups is None else np.asarray(groups)
    may = np.ones(len(targets), dtype=bool) if usable is None else np.asarray(usable, dtype=bool)
    train, tested, short, left_out = [], [], {}, []
    for target in np.unique(targets):
        own = np.unique(groups[(targets == target) & may])  # in a fixed order
        if len(own) < 2:
            left_out.append(int(target))
            continue
        rng = np.random.default_rng(seeded("split", seed, split, int(target)))
        order = rng.permutation(own)
        given = min(count, len(own) - 1)
        if given < count:
            short[int(target)] = given
        begin = min(reserve, len(own) - 1)
        train.append(order[:given])
        tested.append(order[begin : begin + test])
    if not train:
        raise BadInput("No class has two pictures, one to train on and one to test; add some.")
    if short or left_out:
        words = [f"{len(short)} classes give fewer than {count} training pictures"] * bool(short)
        words += [f"{len(left_out)} with fewer than two are left out"] * bool(left_out)
        warnings.warn(f"Too few pictures: {'; '.join(words)}.", stacklevel=2)

    def items(drawn: list[np.ndarray]) -> np.ndarray:
        return np.flatnonzero(np.isin(groups, np.concatenate(drawn)) & may)

    return Draw(items(train), items(tested), split, count, short, tuple(left_out))


def check(targets, count: int, test: int, reserve: int, groups, usable) -> None:
    """Refuse what cannot be drawn from."""
    if targets.ndim != 1 or not len(targets):
        raise BadInput("Targets must be a list of at least one class number.")
    for name, value in (("count", count), ("test", test)):
        whole_number(value, f"{name} must be a whole number of at least 1", least=1)
    if reserve < count:
        raise BadInput(f"reserve ({reserve}) must not be smaller than count ({count}).")
    for name, values in (("groups", groups), ("usable", usable)):
        if values is not None and len(values) != len(targets):
            raise BadInput(
                f"There are {len(targets)} targets but {len(values)} {name}; give one a picture."
            )
    if groups is not None:
        pairs = np.unique(np.stack([np.asarray(groups), targets]), axis=1)
        if len(np.unique(pairs[0])) != pairs.shape[1]:
            raise BadInput("A group holds pictures of two classes; groups must be of one class.")


def draws(
    targets: Sequence[int],
    counts: Sequence[int],
    *,
    splits: int = 5,
    share_test: bool = False,
    **options,
) -> dict[int, list[Draw]]:
    """Several splits for several numbers of training pictures a class.

    Parameters
    ----------
    targets : (N,) int
    counts : sequence of int
        Training pictures a class.
    splits : int
    share_test : bool
        Whether all counts of a split are tested on the same pictures, those after the largest
        count: right for a curve (Fig. 9). Otherwise each is tested on up to ``test`` others, as in
        Tables 4 and 5.
    **options
        ``test``, ``seed``, ``groups``, ``usable`` of `draw`.

    Returns
    -------
    dict {count: list of Draw}
    """
    if splits < 1 or not len(counts):
        raise BadInput("At least one split and one number of training pictures are needed.")
    reserve = max(counts) if share_test else None
    return {
        int(count): [
            draw(targets, count, split=split, reserve=reserve, **options) for split in range(splits)
        ]
        for count in counts
    }


def feasible_counts(
    targets: Sequence[int],
    counts: Sequence[int] = FIG9,
    groups: Sequence[int] | None = None,
    usable: Sequence[bool] | None = None,
    classes: Sequence[str] | None = None,
) -> list[int]:
    """The numbers of training pictures a class that every class can give, and keep one to test.

    "As far as the data go": Caltech-101's smallest class has 31 pictures, so its curve ends at 30.

    Parameters
    ----------
    targets, groups, usable
        As for `draw`.
    counts : sequence of int
        Those to choose from; the paper's Fig. 9 by default.
    classes : sequence of str, optional
        Their names, for an error to say.

    Returns
    -------
    list of int
        One at least.

    Raises
    ------
    BadInput
        If the smallest class is too small for any of them.
    """
    targets = np.asarray(targets)
    groups = np.arange(len(targets)) if groups is None else np.asarray(groups)
    may = np.ones(len(targets), dtype=bool) if usable is None else np.asarray(usable, dtype=bool)
    sizes = {int(t): len(np.unique(groups[(targets == t) & may])) for t in np.unique(targets)}
    if not sizes or not len(counts):
        raise BadInput("There is no picture, or no number of training pictures; give some.")
    smallest = min(sizes, key=sizes.__getitem__)
    found = [count for count in counts if count < sizes[smallest]]
    if not found:
        name = smallest if classes is None else repr(classes[smallest])
        raise BadInput(
            f"The smallest class, {name}, has {sizes[smallest]} to draw from, which leaves none to "
            f"test after {min(counts)} to train on; add pictures to it, or remove the class."
        )
    return found


def without(drawn: Mapping[int, Sequence[Draw]], items: Iterable[int]) -> dict[int, list[Draw]]:
    """The same draws without some test pictures, e.g. those that the network has learned from.

    What is trained on stays the same, so that results with and without them differ by nothing else.

    Parameters
    ----------
    drawn : dict {count: list of Draw}
        From `draws`.
    items : iterable of int
        Items of the dataset.

    Raises
    ------
    BadInput
        If a draw keeps no test picture.
    """
    items = np.array(sorted(set(items)), dtype=int)
    found = {
        count: [replace(one, test=np.setdiff1d(one.test, items)) for one in several]
        for count, several in drawn.items()
    }
    if any(not len(one.test) for several in found.values() for one in several):
        raise BadInput("No test picture is left; leave fewer out.")
    return found


def items_of(dataset: PictureDataset, path: str | os.PathLike) -> list[int]:
    """The items whose keys a text file names, one a line.

    The output of ``python -m zfnb.overlap`` is such a file: of its lines, which hold a correlation
    and two keys, the second key counts, that of the picture to be tested.

    Raises
    ------
    BadInput
        A file that cannot be read, or names a picture that the dataset does not have.
    """
    try:
        content = Path(path).read_bytes()
        # What ">" writes in PowerShell is UTF-16; editors there put a mark before UTF-8.
        utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        lines = content.decode("utf-16" if utf16 else "utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({error}); give a file of keys, a line each.") from (
            error
        )
    fields = [line.split("\t") for line in lines if line.strip()]
    keys = dict.fromkeys(line[2] if len(line) > 2 else line[0] for line in fields)
    index = {dataset.key(item): item for item in range(len(dataset))}
    unknown = [key for key in keys if key not in index]
    if unknown:
        raise BadInput(
            f"{Path(path).name} names {unknown[0]!r}, which {dataset.name} does not have; each "
            "line must be a picture's key, or a line of `python -m zfnb.overlap`."
        )
    return [index[key] for key in keys]


def protocol_named(name: str) -> Protocol:
    """The paper's protocol for a dataset, or `UnknownName` with the valid ones."""
    if name not in PROTOCOLS:
        raise UnknownName.of("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


class Part(PictureDataset):
    """Some items of a dataset, as a dataset of its own: what `zfnb.training.train` learns from.

    Parameters
    ----------
    dataset : PictureDataset
    items : sequence of int
    name : str, optional
        What it is called; the dataset's own name by default.
    """

    def __init__(
        self, dataset: PictureDataset, items: Sequence[int], name: str | None = None
    ) -> None:
        self.whole, self.items = dataset, [dataset.check_index(item) for item in items]
        super().__init__(
            name or dataset.name,
            dataset.split,
            dataset.classes,
            [dataset.targets[item] for item in self.items],
            dataset.synsets,
            dataset.options,
            dataset.transform,
        )

    def picture(self, index: int):
        return self.whole.picture(self.items[index])

    def key(self, index: int) -> str:
        return self.whole.key(self.items[self.check_index(index)])

    def group(self, index: int) -> int:
        return self.whole.group(self.items[self.check_index(index)])

    def evidence(self, index: int) -> str:
        return self.whole.evidence(self.items[self.check_index(index)])
