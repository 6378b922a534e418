"""Draws of training and test pictures."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

import zfnb
from zfnb.data.base import PictureDataset
from zfnb.errors import BadInput, UnknownName
from zfnb.protocols import (
    Part,
    draw,
    draws,
    feasible_counts,
    items_of,
    protocol_named,
    without,
)


@pytest.fixture
def targets():
    """Four classes of 12, 40, 100 and 31 pictures, mixed."""
    all_of_them = np.repeat([0, 1, 2, 3], [12, 40, 100, 31])
    return np.random.default_rng(0).permutation(all_of_them)


def test_the_counts_are_those_of_the_protocol(targets):
    drawn = draw(targets, 10, test=25)
    assert np.bincount(targets[drawn.train]).tolist() == [10] * 4
    assert np.bincount(targets[drawn.test]).tolist() == [2, 25, 25, 21]
    assert not set(drawn.train) & set(drawn.test)
    assert (np.diff(drawn.train) > 0).all() and (np.diff(drawn.test) > 0).all()
    assert drawn.short == {} and drawn.left_out == ()


def test_a_draw_follows_from_its_seed_and_split(targets):
    first, again = draw(targets, 5, seed=3, split=1), draw(targets, 5, seed=3, split=1)
    assert np.array_equal(first.train, again.train) and np.array_equal(first.test, again.test)
    others = [draw(targets, 5, seed=seed, split=split) for seed, split in ((3, 0), (3, 2), (4, 1))]
    assert all(not np.array_equal(first.train, other.train) for other in others)


def test_a_class_is_drawn_alike_whatever_the_others_are(targets):
    with_all, without = draw(targets, 5), draw(np.where(targets == 2, 9, targets), 5)
    own = with_all.train[targets[with_all.train] == 1]
    assert np.array_equal(own, without.train[targets[without.train] == 1])


def test_every_picture_comes_to_train():
    """Over many splits each picture is drawn about equally often."""
    targets = np.zeros(20, dtype=int)
    times = np.zeros(20)
    for split in range(400):
        times[draw(targets, 5, split=split).train] += 1
    assert times.sum() == 2000  # each 100 times, with a deviation of 8.7
    assert times.min() > 60 and times.max() < 140


def test_training_sets_grow_and_share_their_test(targets):
    drawn = draws(targets, (1, 5, 10), splits=2, share_test=True, test=20)
    for split in range(2):
        one, five, ten = (drawn[count][split] for count in (1, 5, 10))
        assert set(one.train) < set(five.train) < set(ten.train)
        assert np.array_equal(one.test, ten.test) and np.array_equal(five.test, ten.test)
        assert not set(ten.train) & set(ten.test)
    assert not np.array_equal(drawn[5][0].train, drawn[5][1].train)


def test_without_sharing_each_count_has_up_to_fifty_others(targets):
    with pytest.warns(UserWarning, match="1 classes give fewer than 15"):
        drawn = draws(targets, (15,), splits=1)
    assert np.bincount(targets[drawn[15][0].test]).tolist() == [1, 25, 50, 16]


def test_classes_with_too_few_pictures():
    targets = np.repeat([0, 1, 2, 3], [10, 3, 1, 2])
    with pytest.warns(UserWarning) as caught:
        drawn = draw(targets, 5)
    assert "2 classes give fewer than 5 training pictures" in str(caught[0].message)
    assert "1 with fewer than two are left out" in str(caught[0].message)
    assert drawn.short == {1: 2, 3: 1} and drawn.left_out == (2,)
    assert np.bincount(targets[drawn.train], minlength=4).tolist() == [5, 2, 0, 1]
    assert np.bincount(targets[drawn.test], minlength=4).tolist() == [5, 1, 0, 1]
    with pytest.raises(BadInput, match="No class has two pictures"):
        draw([0, 1, 2], 1)


def test_a_short_class_keeps_its_test_picture_for_all_counts():
    targets = np.repeat([0, 1], [3, 30])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drawn = draws(targets, (1, 10), splits=1, share_test=True)
    small, large = drawn[1][0], drawn[10][0]
    assert np.array_equal(small.test, large.test) and not set(large.train) & set(large.test)


def test_groups_go_the_same_way():
    groups = np.repeat(np.arange(12), 4)  # three classes of four stamps, four scenes each
    targets = groups // 4
    drawn = draw(targets, 3, groups=groups)
    assert not set(groups[drawn.train]) & set(groups[drawn.test])
    assert np.bincount(targets[drawn.train]).tolist() == [12] * 3
    assert np.bincount(targets[drawn.test]).tolist() == [4] * 3


def test_only_usable_pictures_are_drawn(targets):
    usable = np.random.default_rng(1).random(len(targets)) < 0.8
    drawn = draw(targets, 5, usable=usable)
    assert usable[drawn.train].all() and usable[drawn.test].all()


def test_as_far_as_the_data_go(targets):
    assert feasible_counts(targets) == [1, 2, 3, 4, 5, 6, 8, 10]
    assert feasible_counts(targets[targets == 3]) == [1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 25, 30]
    assert feasible_counts([0, 0, 0, 0], groups=[0, 0, 1, 1]) == [1]
    assert feasible_counts([0] * 5, usable=[True, True, True, True, False]) == [1, 2, 3]


def test_a_class_too_small_for_any_count_is_named(targets):
    with pytest.raises(BadInput, match="smallest class, 7, has 1 to draw from"):
        feasible_counts([*targets, 7])
    with pytest.raises(BadInput, match=r"smallest class, 'yin yang', has 12 .* after 20 to train"):
        feasible_counts(targets, counts=(30, 20), classes=["yin yang", "b", "c", "d"])
    nothing = np.zeros(2, dtype=bool)
    with pytest.raises(BadInput, match="has 0 to draw from"):
        feasible_counts([3, 3], usable=nothing)
    for counts, given in (((), [0, 0]), ((1,), [])):
        with pytest.raises(BadInput, match="give some"):
            feasible_counts(given, counts)


def test_test_pictures_can_be_left_out(targets):
    drawn = draws(targets, (5, 10), splits=2)
    gone = [*drawn[5][0].test[:3], drawn[10][1].train[0]]
    rest = without(drawn, gone)
    for count, several in drawn.items():
        for before, after in zip(several, rest[count], strict=True):
            assert np.array_equal(before.train, after.train)  # whatever else is left out
            assert after.test.tolist() == [item for item in before.test if item not in gone]
    assert len(rest[5][0].test) == len(drawn[5][0].test) - 3
    same = without(drawn, [])[10][1]
    assert np.array_equal(same.test, drawn[10][1].test) and same.test.dtype == np.int64
    with pytest.raises(BadInput, match="No test picture is left"):
        without(drawn, range(len(targets)))


def test_pictures_are_named_in_a_file(tmp_path):
    path = tmp_path / "gone.tsv"
    path.write_text("number 4\n\n0.981\ttrain/x.jpg\tnumber 2\n0.97\ty\tnumber 4\tmirrored\n")
    assert items_of(Numbers(10), path) == [4, 2]
    for encoding in ("utf-16", "utf-8-sig"):  # of PowerShell's ">", of editors on Windows
        path.write_text("number 4\n0.97\ty\tnumber 2\n", encoding=encoding)
        assert items_of(Numbers(10), path) == [4, 2]
    path.write_text("")
    assert items_of(Numbers(10), path) == []
    path.write_text("number 4\nnumber 11\n")
    with pytest.raises(BadInput, match=r"gone\.tsv names 'number 11', which numbers does not have"):
        items_of(Numbers(10), path)
    with pytest.raises(BadInput, match="cannot be read"):
        items_of(Numbers(10), tmp_path / "none.tsv")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"count": 0}, "count must be"),
        ({"count": 2.5}, "count must be"),
        ({"count": True}, "count must be a whole number of at least 1, not True"),
        ({"count": 2, "test": 0}, "test must be"),
        ({"count": 2, "reserve": 1}, "reserve"),
        ({"count": 2, "groups": [1]}, "1 groups"),
        ({"count": 2, "usable": [True]}, "1 usable"),
        ({"count": 2, "groups": np.zeros(183, dtype=int)}, "two classes"),
    ],
)
def test_refusals(targets, options, match):
    with pytest.raises(BadInput, match=match):
        draw(targets, **options)


def test_protocols_by_name():
    assert protocol_named("caltech101").counts == (15, 30)
    assert protocol_named("caltech256").counts == (15, 30, 45, 60)
    with pytest.raises(UnknownName, match="caltech256"):
        protocol_named("caltech")
    with pytest.raises(BadInput, match="At least one split"):
        draws([0, 0], (), splits=1)


class Numbers(PictureDataset):
    def __init__(self, count, transform=None):
        super().__init__("numbers", "all", ["even", "odd"], [i % 2 for i in range(count)],
                         ["n1", None], {"a": 1}, transform)  # fmt: skip

    def picture(self, index):
        return Image.new("RGB", (4, 4), (index, 0, 0))

    def key(self, index):
        return f"number {index}"

    def group(self, index):
        return index // 2

    def evidence(self, index):
        return "x"


def test_a_part_is_a_dataset_of_its_own():
    whole = Numbers(10)
    part = Part(whole, [7, 2, -1])
    assert len(part) == 3 and part.targets == [1, 0, 1] and part.name == "numbers"
    assert part.classes == ["even", "odd"] and part.synsets == ["n1", None]
    assert [part[i][0].getpixel((0, 0))[0] for i in range(3)] == [7, 2, 9]
    assert part[-1][0].getpixel((0, 0))[0] == 9
    assert part.key(-1) == "number 9" and part.group(0) == 3
    assert part.fingerprint() != Part(whole, [2, 7, 9]).fingerprint()
    assert part.fingerprint() == Part(Numbers(10), [7, 2, 9]).fingerprint()
    with pytest.raises(IndexError):
        Part(whole, [10])
    assert Part(Numbers(4, transform=np.asarray), [1])[0][0].shape == (4, 4, 3)


def test_stamps_can_be_drawn():
    stamps = zfnb.load_dataset("stamps", "all")
    drawn = draw(stamps.targets, 5, test=100)
    assert len(drawn.train) == 50 and len(drawn.train) + len(drawn.test) == len(stamps)
