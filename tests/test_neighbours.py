"""Neighbours against a slow search that goes pair by pair."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from zfnb import neighbours
from zfnb.errors import BadInput
from zfnb.gram import gram


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(14, 6)).astype(np.float32)


def slow(features, item, count, groups):
    """(-cosine, item) of all pictures of other groups, sorted."""
    x = features.astype(np.float64)
    found = []
    for other in range(len(x)):
        if groups[other] != groups[item]:
            cosine = x[item] @ x[other] / np.sqrt((x[item] @ x[item]) * (x[other] @ x[other]))
            found.append((-cosine, other))
    return sorted(found)[:count]


@pytest.mark.parametrize("per_group", [1, 2, 3])
def test_nearest_are_those_of_the_slow_search(features, per_group):
    groups = np.arange(14) // per_group
    items = [0, 5, 13]
    found, similarity = neighbours.nearest(gram(features), items, 4, groups)
    assert found.shape == similarity.shape == (3, 4)
    for row, cosines, item in zip(found, similarity, items, strict=True):
        expected = slow(features, item, 4, groups)
        assert row.tolist() == [other for _, other in expected]
        np.testing.assert_allclose(cosines, [-c for c, _ in expected], atol=1e-6)


def test_equals_come_in_their_order():
    found, similarity = neighbours.nearest(np.ones((5, 5)), [2], 3)
    assert found.tolist() == [[0, 1, 3]] and similarity.tolist() == [[1, 1, 1]]


def test_the_products_are_not_changed(features):
    products = gram(features)
    before = products.copy()
    neighbours.nearest(products, range(14), 3)
    assert np.array_equal(products, before)


def test_rows_hold_pictures_and_classes(features):
    groups = np.arange(14) // 2
    dataset = SimpleNamespace(
        classes=["even", "odd"],
        targets=[item % 2 for item in range(14)],
        picture=lambda item: f"picture {item}",
    )
    products = gram(features)
    found, similarity = neighbours.nearest(products, [4], 3, groups)
    rows = neighbours.described(dataset, [("a", products, 4), ("b", -products, 4)], 3, groups)
    label, picture, kind, near = rows[0]
    assert (label, picture, kind) == ("a", "picture 4", "even")
    assert [other for other, _, _ in near] == [f"picture {item}" for item in found[0]]
    assert [its for _, its, _ in near] == [("even", "odd")[item % 2] for item in found[0]]
    assert [cosine for *_, cosine in near] == similarity[0].tolist()
    assert rows[1][0] == "b" and rows[1][3] != near
    other = neighbours.described(dataset, [("a", products, 4)], 1, None, lambda item: item)
    assert other[0][1] == 4


def test_agreement_by_hand():
    # Two tight pairs and one alone, on a line of angles; one neighbour each.
    angles = np.radians([0, 1, 50, 51, 53.5])
    x = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    targets = [0, 0, 1, 0, 0]
    assert neighbours.agreement(gram(x), targets, 1).tolist() == [1, 1, 0, 0, 1]
    # With two neighbours: (1, 2), (0, 2), (3, 4), (2, 4), (3, 2).
    assert neighbours.agreement(gram(x), targets, 2).tolist() == [0.5, 0.5, 0, 0.5, 0.5]
    # 0 and 1 of one group: 0 must look further, to 2 of class 1.
    assert neighbours.agreement(gram(x), targets, 1, [0, 0, 1, 2, 3])[0] == 0


def test_blocks_do_not_show(features, monkeypatch):
    targets, groups = np.arange(14) % 3, np.arange(14) // 2
    whole = neighbours.agreement(gram(features), targets, 3, groups)
    monkeypatch.setattr(neighbours, "BLOCK", 5)
    assert np.array_equal(whole, neighbours.agreement(gram(features), targets, 3, groups))
    assert 0 < whole.mean() < 1


def test_chance_is_the_mean_over_random_neighbours():
    targets, groups = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 2, 3, 4])
    by_hand = [1 / 4, 1 / 4, 2 / 5, 1 / 5, 1 / 5, 0]
    assert neighbours.chance_agreement(targets, groups) == pytest.approx(by_hand)
    rng = np.random.default_rng(1)
    noise = [
        neighbours.agreement(gram(rng.normal(size=(6, 3)).astype(np.float32)), targets, 1, groups)
        for _ in range(800)
    ]
    assert np.mean(noise) == pytest.approx(np.mean(by_hand), abs=0.03)


def test_what_cannot_be_asked(features):
    products = gram(features)
    with pytest.raises(BadInput, match=r"\(N, N\)"):
        neighbours.nearest(products[:3], [0], 1)
    for items, count in (([14], 1), ([-1], 1), ([], 1), ([0], 0)):
        with pytest.raises(BadInput, match="at least one"):
            neighbours.nearest(products, items, count)
    with pytest.raises(BadInput, match="14 neighbours cannot be found"):
        neighbours.nearest(products, [0], 14)
    with pytest.raises(BadInput, match="2 groups"):
        neighbours.nearest(products, [0], 1, [0, 1])
    with pytest.raises(BadInput, match="3 targets"):
        neighbours.agreement(products, [0, 1, 2])
    with pytest.raises(BadInput, match="one group"):
        neighbours.chance_agreement([0, 1], [0, 0])
