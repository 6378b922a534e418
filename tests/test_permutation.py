"""The tests find a planted effect, and find nothing where there is nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from zfnb import permutation
from zfnb.errors import BadInput
from zfnb.permutation import all_distances, label_test, random_spread, rank_test


def signs(seed: int, masks: int, pictures: int, elements: int = 60) -> torch.Tensor:
    """Random signs (K, N, D): no mask is like any other."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-1, 2, (masks, pictures, elements), generator=generator).to(torch.int8)


def planted(seed: int, masks: int, pictures: int, share: float = 0.5) -> torch.Tensor:
    """The same, but mask 0 changes a share of the elements alike in all pictures."""
    found = signs(seed, masks, pictures)
    common = int(share * found.shape[2])
    found[0, :, :common] = found[0, 0, :common]
    return found


def test_distances_by_hand():
    rows = torch.tensor([[[1, 1], [1, -1]], [[0, 1], [-1, -1]]], dtype=torch.int8)  # (K, N, D)
    found = all_distances(rows)
    assert found.shape == (2, 2, 2, 2)
    assert found[0, 0, 1, 0] == 0.5  # masks 0 of pictures 0 and 1: + + and + -
    assert found[0, 1, 1, 0] == 1.0  # 0 + and + -
    assert found[0, 0, 1, 1] == 1.0  # + + and - -


def test_the_exact_test_by_hand():
    """Two pictures, two masks: four placements."""
    distances = np.zeros((2, 2, 2, 2))
    for a, b, value in ((0, 0, 0.2), (0, 1, 0.5), (1, 0, 0.1), (1, 1, 0.2)):
        distances[0, a, 1, b] = distances[1, b, 0, a] = value
    verdict = label_test(distances)
    assert verdict.exact and verdict.trials == 4
    assert verdict.part == pytest.approx(0.2) and verdict.random == pytest.approx(0.25)
    assert verdict.p == 3 / 4  # 0.1 and both 0.2: a tie counts against the part
    assert rank_test(distances).p == 1.0
    assert random_spread(distances)[0] == pytest.approx(0.2)


def test_all_placements_are_tried_once():
    rows = signs(1, 3, 4)
    distances = all_distances(rows)
    expected = []
    for chosen in itertools.product(range(3), repeat=4):
        pairs = itertools.combinations(range(4), 2)
        expected.append(np.mean([distances[i, chosen[i], j, chosen[j]] for i, j in pairs]))
    verdict = label_test(distances)
    assert np.allclose(sorted(verdict.chance), sorted(expected))
    assert verdict.p == np.mean(np.array(expected) <= expected[0] + 1e-12)


def test_a_sample_agrees_with_all_placements(monkeypatch):
    distances = all_distances(planted(3, 4, 5, share=0.1))
    exact = label_test(distances)
    monkeypatch.setattr(permutation, "EXACT", 10)
    sampled = label_test(distances, trials=20_000, seed=1)
    assert exact.exact and not sampled.exact and sampled.trials == 20_000
    assert 0.01 < exact.p < 0.9
    assert sampled.p == pytest.approx(exact.p, abs=4 * np.sqrt(exact.p * (1 - exact.p) / 20_000))
    first, again, other = (label_test(distances, trials=500, seed=s).chance for s in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert label_test(distances, trials=99).p >= 1 / 100  # never zero


@pytest.mark.parametrize(("pictures", "masks", "smallest"), [(5, 4, 4**-5), (12, 6, 1 / 10_001)])
def test_a_planted_effect_is_found(pictures, masks, smallest):
    for seed in range(5):
        distances = all_distances(planted(seed, masks, pictures))
        assert label_test(distances).p == pytest.approx(smallest)
        assert rank_test(distances).p == 1 / masks


def test_an_effect_the_other_way_is_not(monkeypatch):
    """The part is *less* consistent: the test is one-sided."""
    found = signs(0, 5, 6)
    found[1:, :, :50] = 1  # the random masks agree
    assert label_test(all_distances(found)).p > 0.95


@pytest.mark.parametrize("test", [label_test, rank_test])
def test_p_is_uniform_where_there_is_nothing(test):
    """200 sets without an effect: p below x in a share x of them, up to chance."""
    pictures, masks, sets = (5, 4, 200) if test is label_test else (4, 20, 200)
    found = np.array([test(all_distances(signs(s, masks, pictures))).p for s in range(sets)])
    for x in (0.05, 0.1, 0.25, 0.5, 0.75, 0.9):
        share = (found <= x + 1e-9).mean()
        assert abs(share - x) < 3.3 * np.sqrt(x * (1 - x) / sets) + 0.005
    assert len(np.unique(found)) > 15


def test_p_is_uniform_even_where_pictures_differ():
    """Exchange is within a picture: that one has large changes and another none is no effect."""
    found = []
    for seed in range(200):
        rows = signs(seed, 4, 5)
        for picture in range(5):
            rows[:, picture, 10 * (picture + 2) :] = 0
        found.append(label_test(all_distances(rows)).p)
    for x in (0.1, 0.5, 0.9):
        assert abs((np.array(found) <= x).mean() - x) < 3.3 * np.sqrt(x * (1 - x) / 200) + 0.005


def test_one_place_for_all_needs_the_rank_test():
    """Masks of a set that belong together: moving a label in one picture alone breaks them up, so
    that the label test finds an effect that is none. The rank test does not."""
    by_label, by_rank = [], []
    for seed in range(60):
        rows = signs(seed, 6, 5)
        rows[:, :, :30] = rows[:, :1, :30]  # each set, the part's too, is alike in all pictures
        distances = all_distances(rows)
        by_label.append(label_test(distances).p)
        by_rank.append(rank_test(distances).p)
    assert np.mean(np.array(by_label) <= 0.05) > 0.9
    assert np.mean(np.array(by_rank) <= 1 / 6) < 0.4


def test_the_spread_is_that_over_pairs():
    distances = all_distances(signs(2, 3, 4))
    first, second = np.triu_indices(4, 1)
    expected = [np.std(distances[first, m, second, m], ddof=1) for m in (1, 2)]
    mean, spread = random_spread(distances)
    assert spread == pytest.approx(np.mean(expected))
    assert mean == pytest.approx(np.mean([distances[first, m, second, m] for m in (1, 2)]))


@pytest.mark.parametrize("shape", [(3, 3), (1, 4, 1, 4), (4, 1, 4, 1), (3, 2, 2, 3)])
def test_other_shapes_are_refused(shape):
    for test in (label_test, rank_test, random_spread):
        with pytest.raises(BadInput, match="N, K, N, K"):
            test(np.zeros(shape))


def test_no_trials_are_refused():
    with pytest.raises(BadInput, match="trials"):
        label_test(np.zeros((3, 2, 3, 2)), trials=0)
