"""The cache of features: equal to the network, resumed, mended, and never another's."""

from __future__ import annotations

import json
import os
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import zfnb
from zfnb import checkpoints, feature_cache
from zfnb.checkpoints import CannotSave
from zfnb.data.folders import folder_dataset
from zfnb.errors import BadInput, UnknownName
from zfnb.feature_cache import cache_key, extract, top_of_layer
from zfnb.models import build, describe_variant

LAYERS = ["norm1", "pool5", "fc7"]


@pytest.fixture
def net():
    torch.manual_seed(4)
    return build(describe_variant("zfnet", input_size=64, width=1 / 32), num_classes=5)


@pytest.fixture
def dataset(tmp_path):
    """23 pictures of noise in two classes."""
    rng = np.random.default_rng(0)
    for i in range(23):
        path = tmp_path / "data" / f"class{i % 2}" / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (70, 80, 3), dtype=np.uint8)).save(path)
    return folder_dataset(tmp_path / "data")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(feature_cache, "BLOCK", 5)


@pytest.fixture
def passes(net):
    """Counts the pictures that go up the network."""
    seen = []
    net.conv1.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    return seen


def test_features_are_the_networks(net, dataset, tmp_path):
    found = extract(net, dataset, LAYERS, tmp_path / "cache", batch=4)
    assert list(found) == LAYERS
    images = torch.stack([zfnb.preprocess(dataset[i][0], net) for i in range(len(dataset))])
    for layer, features in found.items():
        expected = zfnb.features(net, images, layer).flatten(1).numpy()
        assert features.values.dtype == np.float16 and features.values.shape == expected.shape
        np.testing.assert_allclose(features.values, expected, rtol=2e-3, atol=1e-4)
        assert features.readable.all() and not features.values.flags.writeable


@pytest.mark.parametrize("batch", [1, 3, 5, 23, 50])
def test_the_batch_changes_nothing(net, dataset, tmp_path, batch):
    one = extract(net, dataset, LAYERS, tmp_path / "a", batch=7)
    other = extract(net, dataset, LAYERS, tmp_path / "b", batch=batch)
    for layer in LAYERS:
        np.testing.assert_allclose(one[layer].values, other[layer].values, rtol=2e-3, atol=1e-4)


def test_a_second_call_computes_nothing(net, dataset, tmp_path, passes):
    first = extract(net, dataset, LAYERS, tmp_path)
    assert sum(passes) == 23
    second = extract(net, dataset, LAYERS, tmp_path)
    assert sum(passes) == 23
    for layer in LAYERS:
        assert np.array_equal(first[layer].values, second[layer].values)
        assert first[layer].checksum == second[layer].checksum
    extract(net, dataset, ["conv3", *LAYERS], tmp_path)  # one more layer: all pictures once more
    assert sum(passes) == 46
    assert len(list(tmp_path.glob("zfnet-*/facts.json"))) == 1


def test_an_interrupted_pass_goes_on(net, dataset, tmp_path, passes):
    whole = extract(net, dataset, LAYERS, tmp_path / "whole")
    passes.clear()

    def stop(block):
        if block == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(net, dataset, LAYERS, tmp_path / "cache", batch=2, on_block=stop)
    passes.clear()
    blocks = []
    found = extract(net, dataset, LAYERS, tmp_path / "cache", on_block=blocks.append)
    assert blocks == [3, 4] and sum(passes) == 8  # three blocks of five were done
    for layer in LAYERS:
        np.testing.assert_allclose(found[layer].values, whole[layer].values, rtol=2e-3, atol=1e-4)


def test_rows_are_synced_through_a_file_that_can_be_written(net, dataset, tmp_path, monkeypatch):
    """Windows syncs no other. The write of no bytes is refused where the file is open to read."""
    sync, synced = os.fsync, []

    def strict(number):
        os.write(number, b"")
        sync(number)
        synced.append(number)

    monkeypatch.setattr(feature_cache.os, "fsync", strict)
    extract(net, dataset, ["fc7"], tmp_path)
    assert synced


def test_what_was_written_without_a_note_is_not_believed(net, dataset, tmp_path, passes):
    """A process that is killed leaves rows that no checksum vouches for."""
    found = extract(net, dataset, ["fc7"], tmp_path)["fc7"]
    wanted = np.array(found.values)
    notes = found.path.with_suffix(".json")
    facts = json.loads(notes.read_text())
    facts["checksums"][1] = None
    notes.write_text(json.dumps(facts))
    damage(found.path, wanted.shape, row=7)
    passes.clear()
    again = extract(net, dataset, ["fc7"], tmp_path)["fc7"]
    assert sum(passes) == 5
    np.testing.assert_allclose(again.values, wanted, rtol=2e-3, atol=1e-4)


def damage(path, shape, row):
    raw = bytearray(path.read_bytes())
    place = len(raw) - 2 * shape[0] * shape[1] + 2 * row * shape[1]
    raw[place] ^= 0xFF
    path.write_bytes(raw)


@pytest.mark.parametrize("row", [0, 11, 22])
def test_a_damaged_block_is_mended_and_no_other(net, dataset, tmp_path, passes, row):
    found = extract(net, dataset, ["fc7"], tmp_path)["fc7"]
    wanted = np.array(found.values)
    damage(found.path, wanted.shape, row)
    passes.clear()
    with pytest.warns(UserWarning, match="damaged in 1 of 5 blocks"):
        again = extract(net, dataset, ["fc7"], tmp_path)["fc7"]
    assert sum(passes) == (3 if row == 22 else 5)
    np.testing.assert_allclose(again.values, wanted, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("how", ["cut", "empty", "text", "shape"])
def test_a_damaged_file_is_made_again(net, dataset, tmp_path, how):
    found = extract(net, dataset, ["fc7"], tmp_path)["fc7"]
    wanted, path = np.array(found.values), found.path
    del found
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("not an array")
    else:
        np.save(path, np.zeros((23, 3), dtype=np.float16))
    with pytest.warns(UserWarning, match="made again"):
        again = extract(net, dataset, ["fc7"], tmp_path)["fc7"]
    np.testing.assert_allclose(again.values, wanted, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("text", ["{", "{}", '{"checksums": [1], "skipped": {}}', "[]"])
def test_damaged_notes_are_not_believed(net, dataset, tmp_path, passes, text):
    found = extract(net, dataset, ["fc7"], tmp_path)["fc7"]
    found.path.with_suffix(".json").write_text(text)
    passes.clear()
    with pytest.warns(UserWarning, match=r"fc7\.json is damaged"):
        extract(net, dataset, ["fc7"], tmp_path)
    assert sum(passes) == 23


def test_another_network_data_or_preparation_has_another_cache(net, dataset, tmp_path):
    first = cache_key(net, dataset)
    with torch.no_grad():
        net.conv3[0].weight[0, 0, 0, 0] += 1
    weights = cache_key(net, dataset)
    net.preprocessing = zfnb.data.Preprocessing(64, 64, (0, 0, 0), (1, 1, 1))
    prepared = cache_key(net, dataset)
    Image.new("RGB", (9, 9)).save(tmp_path / "data" / "class0" / "new.png")
    data = cache_key(net, folder_dataset(tmp_path / "data"))
    keys = [json.dumps(key, sort_keys=True) for key in (first, weights, prepared, data)]
    assert len(set(keys)) == 4
    for dataset_of in (dataset, folder_dataset(tmp_path / "data")):
        extract(net, dataset_of, ["fc7"], tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_pictures_that_cannot_be_read_are_marked(net, dataset, tmp_path):
    for bad in (3, 22):  # in a block, and the last one
        dataset.path(bad).write_bytes(b"no picture")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = extract(net, dataset, ["fc7"], tmp_path / "cache", batch=4)["fc7"]
    assert any("Skipped" in str(warning.message) for warning in caught)
    assert np.flatnonzero(~found.readable).tolist() == [3, 22]
    assert not found.values[[3, 22]].any() and found.values[[2, 4, 21]].any(1).all()
    again = extract(net, dataset, ["fc7"], tmp_path / "cache")["fc7"]  # remembered
    assert np.array_equal(again.readable, found.readable)


@pytest.mark.filterwarnings("ignore:Skipped", "ignore:1 of 23 pictures")
def test_pictures_that_were_mended_get_their_features(net, dataset, tmp_path, passes):
    whole = dataset.path(3).read_bytes()
    dataset.path(3).write_bytes(bytes(len(whole)))  # a copy that was begun, of the same size
    assert not extract(net, dataset, ["fc7"], tmp_path / "cache")["fc7"].readable[3]
    dataset.path(3).write_bytes(whole)
    passes.clear()
    found = extract(net, dataset, ["fc7"], tmp_path / "cache")["fc7"]
    assert sum(passes) == 5  # its block
    fresh = extract(net, dataset, ["fc7"], tmp_path / "another")["fc7"]
    assert found.readable.all() and np.array_equal(found.values, fresh.values)


def test_the_paper_counts_layers_with_their_pool_and_norm(net, trunk):
    names = [top_of_layer(net, number) for number in range(1, 9)]
    assert names == ["norm1", "norm2", "conv3", "conv4", "pool5", "fc6", "fc7", "fc8"]
    assert [top_of_layer(trunk, n) for n in range(1, 6)] == [
        "pool1", "pool2", "conv3", "conv4", "pool5",
    ]  # fmt: skip
    with pytest.raises(BadInput, match="no layer 7; choose one of 1, 2, 3, 4, 5"):
        top_of_layer(trunk, 7)


def test_refusals(net, dataset, tmp_path):
    with pytest.raises(UnknownName, match="conv1"):
        extract(net, dataset, ["conv9"], tmp_path)
    with pytest.raises(BadInput, match="at least one layer"):
        extract(net, dataset, [], tmp_path)
    with pytest.raises(BadInput, match="batch"):
        extract(net, dataset, ["fc7"], tmp_path, batch=0)
    with torch.no_grad():
        net.conv1[0].weight.mul_(1e6)
    with pytest.raises(BadInput, match="do not fit float16"):
        extract(net, dataset, ["conv1"], tmp_path)


def test_a_full_disk_is_said_before_the_work(net, dataset, tmp_path, monkeypatch, passes):
    class Usage:
        free = 10

    monkeypatch.setattr(checkpoints.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(CannotSave, match="ZFNB_CACHE"):
        extract(net, dataset, ["fc7"], tmp_path)
    assert not passes


def test_the_layers_must_fit_the_disk_together(net, dataset, tmp_path, monkeypatch, passes):
    sizes = {layer: 2 * 23 * int(np.prod(net.shapes[layer])) for layer in ("conv5", "fc7")}

    class Usage:
        free = sum(sizes.values()) - 1

    monkeypatch.setattr(checkpoints.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(CannotSave, match=r"in conv5\.npy, fc7\.npy need"):
        extract(net, dataset, list(sizes), tmp_path)
    assert not passes and not list(tmp_path.rglob("*.npy"))
    extract(net, dataset, ["conv5"], tmp_path)
    extract(net, dataset, list(sizes), tmp_path)  # the one that is there needs nothing more


# ---------------------------------------------------------------- whose features they are


def test_a_transform_is_refused(net, dataset, tmp_path):
    """Two transforms of the same pictures would share one name, and so their features."""
    key = cache_key(net, dataset)
    dataset.transform = lambda picture: picture.rotate(90)
    with pytest.raises(BadInput, match="with a transform cannot be kept"):
        extract(net, dataset, LAYERS, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    dataset.transform = None
    assert cache_key(net, dataset) == key and key["data"] == dataset.fingerprint()


def test_every_picture_of_a_plain_dataset_counts(net, tmp_path):
    class Plain(torch.utils.data.Dataset):
        def __init__(self, changed=None):
            self.pictures = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), np.uint8)
            if changed is not None:
                self.pictures[changed] ^= 1

        def __len__(self):
            return 40

        def __getitem__(self, item):
            return Image.fromarray(self.pictures[item]), 0

    keys = {cache_key(net, Plain(changed))["data"] for changed in (None, *range(40))}
    assert len(keys) == 41
    assert cache_key(net, Plain()) == cache_key(net, Plain())
