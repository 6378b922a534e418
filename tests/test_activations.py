"""The index of strongest activations against a plain search."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.utils.data import Dataset, TensorDataset

import zfnb
import zfnb.weights
from zfnb.activations import Table, dataset_fingerprint, inputs
from zfnb.errors import BadInput, BadPicture, StaleIndex, UnknownName
from zfnb.models import build, describe_variant

LAYERS = ("conv1", "conv2", "conv5", "fc6", "fc8")


class Noise(Dataset):
    """Random pictures, in groups, one of them damaged."""

    name = "noise"

    def __init__(self, count=23, group_of=lambda i: i, broken=None, size=64):
        generator = torch.Generator().manual_seed(5)
        self.images = torch.randn(count, 3, size, size, generator=generator)
        self.group, self.broken, self.reads = group_of, broken, []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, item):
        self.reads.append(item)
        if item == self.broken:
            raise BadPicture(f"{item}.jpg is damaged.")
        return self.images[item], 0


def plain_top(net, dataset, layer, feature_map, k):
    """All activations, sorted; the best of each group; the first k above zero."""
    maps = zfnb.features(net, dataset.images, layer)[:, feature_map]
    best = maps.reshape(len(maps), -1).max(1)
    taken, top = set(), []
    for item in best.values.sort(descending=True, stable=True).indices.tolist():
        alive = best.values[item] > 0 or layer == "fc8"
        if dataset.group(item) not in taken and alive and item != dataset.broken:
            taken.add(dataset.group(item))
            place = best.indices[item].item()
            width = maps.shape[-1] if maps.ndim == 3 else 1
            top.append((item, best.values[item].item(), divmod(place, width)))
    return top[:k]


@pytest.mark.filterwarnings("ignore:Skipped", "ignore:.*could not be read")
@pytest.mark.parametrize(
    "dataset",
    [Noise(), Noise(group_of=lambda i: i // 4), Noise(group_of=lambda i: i % 5), Noise(broken=3)],
    ids=["single", "neighbours", "far apart", "damaged"],
)
@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_finds_what_a_plain_search_finds(small_zfnet, dataset, batch_size):
    index = zfnb.TopActivations.build(
        small_zfnet, dataset, layers=LAYERS, k=4, batch_size=batch_size
    )
    for layer in LAYERS:
        for feature_map in range(min(7, index.maps(layer))):
            found = index.top(layer, feature_map)
            expected = plain_top(small_zfnet, dataset, layer, feature_map, 4)
            assert [(r.item, r.position) for r in found] == [(i, p) for i, _, p in expected]
            assert [r.activation for r in found] == pytest.approx([v for _, v, _ in expected], 1e-4)
            strongest = found[0].activation if found else 0
            assert index.strongest(layer)[feature_map].item() == pytest.approx(strongest)


def test_records_agree_with_the_deconvnet(small_zfnet):
    dataset = Noise()
    index = zfnb.TopActivations.build(small_zfnet, dataset, k=3)
    assert index.layers == ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
    for layer in ("conv1", "conv3", "fc7"):
        feature_map = int(index.strongest(layer).argmax())
        records = index.top(layer, feature_map)
        images = inputs(small_zfnet, dataset, [record.item for record in records])
        found = zfnb.Deconvnet(small_zfnet).project(images, layer, feature_map)
        assert [tuple(place) for place in found.position.tolist()] == [r.position for r in records]
        assert [tuple(box) for box in found.box.tolist()] == [r.box for r in records]
        assert found.activation.tolist() == pytest.approx([r.activation for r in records], 1e-4)


def test_pictures_are_prepared_for_the_network(small_zfnet):
    pictures = [Image.effect_noise((90, 70), 50).convert("RGB") for _ in range(3)]
    index = zfnb.TopActivations.build(small_zfnet, [(p, 0) for p in pictures], ["conv2"], k=3)
    batch = torch.stack([zfnb.preprocess(p, small_zfnet) for p in pictures])
    expected = zfnb.features(small_zfnet, batch, "conv2").amax((0, 2, 3))
    torch.testing.assert_close(index.strongest("conv2"), expected)


@pytest.mark.parametrize("batch_size", [1, 4, 6])
def test_ties_stay_in_order_and_dead_maps_are_empty(small_zfnet, batch_size):
    """Within a batch, and between batches."""
    dataset = TensorDataset(torch.zeros(6, 3, 64, 64), torch.zeros(6))
    index = zfnb.TopActivations.build(small_zfnet, dataset, k=4, batch_size=batch_size)
    assert index.top("conv1", 0) == []  # no bias, a black picture: nothing answers
    assert index.strongest("conv1").tolist() == [0.0] * 6
    assert [record.item for record in index.top("fc8", 0)] == [0, 1, 2, 3]  # logits, all equal


def test_memory_is_of_the_maps_not_of_the_pictures(small_zfnet):
    sizes = {
        count: sum(
            getattr(table, name).numel()
            for table in zfnb.TopActivations.build(small_zfnet, Noise(count), k=3)._tables.values()
            for name in ("value", "item", "group", "position")
        )
        for count in (5, 40)
    }
    assert sizes[5] == sizes[40]


def test_saved_and_read_again(small_zfnet, tmp_path):
    dataset = Noise()
    index = zfnb.TopActivations.build(small_zfnet, dataset, k=4)
    index.save(tmp_path / "index.safetensors")
    again = zfnb.TopActivations.load(
        tmp_path / "index.safetensors", dataset=dataset, net=small_zfnet
    )
    assert again.facts == index.facts
    assert again.layers == index.layers
    for layer in index.layers:
        for feature_map in range(index.maps(layer)):
            assert again.top(layer, feature_map) == index.top(layer, feature_map)


def test_another_dataset_or_network_is_refused(small_zfnet, trunk, tmp_path):
    path = tmp_path / "index.safetensors"
    index = zfnb.TopActivations.build(small_zfnet, Noise(), ["conv1"], checkpoint=path)
    assert index.facts["seen"] == "23"
    with pytest.raises(StaleIndex, match=r"was made from another dataset \(noise\)"):
        zfnb.TopActivations.load(path, dataset=Noise(24))
    with pytest.raises(StaleIndex, match=r"was made from another network \(zfnet"):
        zfnb.TopActivations.load(path, net=trunk)
    with pytest.raises(StaleIndex, match="another dataset"):
        zfnb.TopActivations.build(small_zfnet, Noise(24), ["conv1"], checkpoint=path)
    with pytest.raises(StaleIndex, match="holds layers conv1 with k=9"):
        zfnb.TopActivations.build(small_zfnet, Noise(), ["conv2"], checkpoint=path)
    with pytest.raises(StaleIndex, match="There is no index"):
        zfnb.TopActivations.load(tmp_path / "none.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StaleIndex, match="is damaged"):
        zfnb.TopActivations.load(path)
    zfnb.weights.save_weights(small_zfnet, tmp_path / "net.safetensors")
    with pytest.raises(StaleIndex, match="is not an index"):
        zfnb.TopActivations.load(tmp_path / "net.safetensors")


def test_an_index_of_pictures_prepared_in_another_way_is_refused(
    small_zfnet, tmp_path, monkeypatch
):
    path, older = tmp_path / "index.safetensors", tmp_path / "older.safetensors"
    dataset = Noise(3)
    zfnb.TopActivations.build(small_zfnet, dataset, ["conv1"], checkpoint=path)
    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
    save_file(load_file(path), older, {k: v for k, v in facts.items() if k != "preprocessing"})
    with pytest.raises(StaleIndex, match="may have been prepared in another way"):
        zfnb.TopActivations.load(older, net=small_zfnet)
    assert zfnb.TopActivations.load(older, dataset=dataset).k == 9
    other = replace(small_zfnet.preprocessing, mean=(0, 0, 0), resize=100)
    monkeypatch.setattr(small_zfnet, "preprocessing", other)
    with pytest.raises(StaleIndex, match="were prepared in another way"):
        zfnb.TopActivations.load(path, net=small_zfnet)
    with pytest.raises(StaleIndex, match="were prepared in another way"):
        zfnb.TopActivations.build(small_zfnet, dataset, ["conv1"], checkpoint=path)


def test_a_transform_makes_another_dataset():
    plain, fine, coarse = (
        zfnb.load_dataset("stamps", "test", transform=transform)
        for transform in (None, lambda p: p.resize((9, 9)), lambda p: p.resize((4, 4)))
    )
    assert dataset_fingerprint(plain) == plain.fingerprint()
    prints = [dataset_fingerprint(data) for data in (plain, fine, coarse, fine)]
    assert len(set(prints)) == 3 and prints[1] == prints[3]


def test_inputs_are_where_the_network_is():
    with torch.device("meta"):
        net = build(describe_variant("zfnet", input_size=64, width=1 / 16))
    assert inputs(net, Noise(2), [1, 0]).device.type == "meta"


def test_an_interrupted_pass_goes_on(small_zfnet, tmp_path, monkeypatch):
    """Stopped in the middle, built again: the same index, and nothing is read twice."""
    path = tmp_path / "index.safetensors"
    monkeypatch.setattr("zfnb.activations.SAVE_EVERY", 0.0)
    dataset = Noise()
    whole = zfnb.TopActivations.build(small_zfnet, dataset, k=4, batch_size=5)
    update, calls = Table.update, []

    def stop(self, maps, items, groups):
        if int(items[0]) == 10:
            raise KeyboardInterrupt
        update(self, maps, items, groups)

    monkeypatch.setattr(Table, "update", stop)
    with pytest.raises(KeyboardInterrupt):
        zfnb.TopActivations.build(small_zfnet, dataset, k=4, batch_size=5, checkpoint=path)
    assert zfnb.TopActivations.load(path).facts["seen"] == "10"

    def count(self, maps, items, groups):
        calls.extend(items.tolist())
        update(self, maps, items, groups)

    monkeypatch.setattr(Table, "update", count)
    resumed = zfnb.TopActivations.build(small_zfnet, dataset, k=4, batch_size=5, checkpoint=path)
    assert sorted(set(calls)) == list(range(10, 23))
    for layer in whole.layers:
        for feature_map in range(whole.maps(layer)):
            assert resumed.top(layer, feature_map) == whole.top(layer, feature_map)


def test_scenes_of_a_stamp_count_once(trunk):
    scenes = zfnb.load_dataset("scenes", split="test", per_stamp=2)
    few = torch.utils.data.Subset(scenes, range(16))
    few.group = lambda i: scenes.group(i)
    few.name = "scenes"
    index = zfnb.TopActivations.build(trunk, few, ["conv5"], k=9)
    for feature_map in range(0, 256, 16):
        stamps = [scenes.group(record.item) for record in index.top("conv5", feature_map)]
        assert len(stamps) == len(set(stamps))
    assert len(index.top("conv5", int(index.strongest("conv5").argmax()))) <= 8


def test_refuses(small_zfnet):
    build = zfnb.TopActivations.build
    with pytest.raises(UnknownName, match="conv1, pool1"):
        build(small_zfnet, Noise(), ["conv9"])
    with pytest.raises(BadInput, match="dataset is empty"):
        build(small_zfnet, [])
    for bad in (0, 2.0, True):
        with pytest.raises(BadInput, match="k must be"):
            build(small_zfnet, Noise(), k=bad)
    assert build(small_zfnet, Noise(2), ["conv1"], k=np.int64(3)).k == 3
    with pytest.raises(BadInput, match=r"must be \(N, 3, 64, 64\)"):
        build(small_zfnet, Noise(size=32))
    index = build(small_zfnet, Noise(), "conv2")
    with pytest.raises(UnknownName, match="Choose one of: conv2"):
        index.top("conv1", 0)
    for bad in (-1, 16, 1.5):
        with pytest.raises(BadInput, match="maps 0 to 15"):
            index.top("conv2", bad)
    with pytest.raises(BadInput, match="No items"):
        inputs(small_zfnet, Noise(), [])
