"""The small protocols keep what the large ones promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zfnb import transfer_setups as setups
from zfnb.errors import MissingData, UnknownName


@pytest.mark.parametrize("profile", ["quick", "default"])
def test_no_stamp_trains_and_tests(profile):
    found = setups.setup(profile)
    assert found.unit == "stamps" and found.chance == 10
    per_class = setups.STAMPS[profile]
    for target in range(10):
        stamps = np.unique(found.groups[found.targets == target])
        assert 0 < len(stamps) <= per_class
        assert (found.targets == target).sum() == len(stamps) * setups.PER_STAMP[profile]
    for count, several in found.curve.items():
        assert len(several) == setups.SPLITS[profile]
        for one in several:
            train, test = found.groups[one.train], found.groups[one.test]
            assert not set(train) & set(test) and not one.short and not one.left_out
            assert len(set(train)) == 10 * count  # so many stamps of each class
            assert set(found.targets[one.test]) == set(range(10))
    tested = [[one.test.tolist() for one in several] for several in found.curve.values()]
    assert all(items == tested[0] for items in tested)  # a curve has one test set a split
    assert found.largest == max(found.curve)


def test_another_seed_draws_others():
    first, again, other = (setups.setup("quick", seed=seed) for seed in (0, 0, 1))
    train = [found.table[found.largest][0].train.tolist() for found in (first, again, other)]
    assert train[0] == train[1] != train[2]


def test_the_papers_protocol(tmp_path, monkeypatch):
    from PIL import Image

    for name, count in (("accordion", 33), ("airplanes", 90)):
        folder = tmp_path / "caltech101" / "101_ObjectCategories" / name
        folder.mkdir(parents=True)
        for n in range(1, count + 1):
            Image.new("RGB", (8, 8)).save(folder / f"image_{n:04d}.jpg")
    monkeypatch.setenv("ZFNB_DATA", str(tmp_path))
    monkeypatch.setenv("ZFNB_CACHE", str(tmp_path / "zfnb"))
    found = setups.setup("paper", "caltech101")
    assert list(found.table) == [15, 30] and found.unit == "pictures" and found.groups is None
    assert max(found.curve) == 30 and found.chance == 50
    assert all(len(one.train) == 60 and len(one.test) == 3 + 50 for one in found.table[30])
    assert "60 pictures" in str(found)
    before = found.table[30][0]
    whole = [image_of(found, item) for item in before.train]
    folder = tmp_path / "caltech101" / "101_ObjectCategories"
    (folder / "airplanes" / "image_0091.jpg").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match="1 of 124 pictures of caltech101 cannot be read"):
        found = setups.setup("paper", "caltech101")
    assert [image_of(found, item) for item in found.table[30][0].train] == whole
    for several in (*found.table.values(), *found.curve.values()):
        for one in several:
            drawn = {image_of(found, item) for item in (*one.train, *one.test)}
            assert "airplanes/image_0091.jpg" not in drawn


def image_of(found, item):
    return found.dataset.key(int(item))


def test_what_there_is_no_setup_for(tmp_path, monkeypatch):
    with pytest.raises(UnknownName, match="profile"):
        setups.setup("large")
    with pytest.raises(UnknownName, match="protocol"):
        setups.setup("paper", "imagenet")
    with pytest.raises(UnknownName, match="profile"):
        setups.scratch_settings("paper")
    monkeypatch.setenv("ZFNB_DATA", str(tmp_path))
    with pytest.raises(MissingData):
        setups.setup("paper", "caltech101")


def test_settings_of_a_training_on_scenes():
    assert setups.scratch_settings("quick").recipe.epochs == setups.SCRATCH_EPOCHS["quick"]
    settings = setups.scratch_settings("default", epochs=7, seed=3)
    assert settings.recipe.epochs == 7 and settings.seed == 3 and settings.recipe.dropout == 0


def test_scratch_takes_the_first_splits():
    found = setups.setup("quick")
    chosen = setups.scratch_draws(found, list(found.curve), 1)
    assert [one.count for one in chosen] == list(found.curve)
    assert {one.split for one in chosen} == {0}


def test_a_forgotten_network_has_the_same_shape_and_other_weights(trunk):
    state = torch.get_rng_state()
    first, again, other = (setups.forgotten(trunk, seed) for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert first.weights is None and trunk.weights == "imagenet-trunk"
    assert first.shapes == trunk.shapes
    for name, learned in trunk.state_dict().items():
        mine, same, new = (net.state_dict()[name] for net in (first, again, other))
        assert torch.equal(mine, same) and not torch.equal(mine, new)
        assert not torch.equal(mine, learned)


def test_networks_end_with_the_random_one():
    nets = setups.networks()
    assert [net.weights is None for net in nets.values()] == [False] * (len(nets) - 1) + [True]
    assert "AlexNet trunk, ImageNet" in nets and "ZFNet, Tiny ImageNet" in nets
