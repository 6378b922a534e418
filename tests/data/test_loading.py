"""Batches: in order, read ahead, without what cannot be read."""

import threading
import time
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from zfnb.data import Preprocessing, iterate, load_dataset, unreadable
from zfnb.errors import BadInput

SMALL = Preprocessing(8, 8, (0, 0, 0), (1, 1, 1))


@pytest.fixture
def folder(tmp_path):
    """23 pictures in two classes; the colour says which."""
    for i in range(23):
        path = tmp_path / "ab"[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 12), (i, 2 * i, 3 * i)).save(path)
    return tmp_path


def spoil(folder, *numbers):
    for i in numbers:
        (folder / "ab"[i % 2] / f"{i:02d}.png").write_bytes(b"damaged")


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("batch_size", [1, 4, 23, 100])
def test_every_item_once_in_order(folder, workers, batch_size):
    dataset = load_dataset(folder)
    batches = iterate(dataset, batch_size, SMALL, workers)
    seen = list(batches)
    assert len(seen) == len(batches)
    indices = torch.cat([batch.indices for batch in seen])
    assert indices.tolist() == list(range(23))
    for batch in seen:
        assert batch.images.shape == (len(batch.indices), 3, 8, 8)
        for index, image, target in zip(*batch, strict=True):
            torch.testing.assert_close(image, SMALL(dataset[int(index)][0]))
            assert target == dataset.targets[index]
    assert [b.indices.tolist() for b in batches] == [b.indices.tolist() for b in seen]  # again


def test_bad_pictures_are_named_once_counted_and_skipped(folder):
    spoil(folder, 4, 7)
    dataset = load_dataset(folder)
    batches = iterate(dataset, 8, SMALL)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        seen = list(batches)
    assert [len(batch.indices) for batch in seen] == [8, 8, 5]
    names = {dataset.key(i) for i in batches.skipped}
    assert names == {"a/04.png", "b/07.png"}
    messages = [str(warning.message) for warning in caught]
    assert sum("04.png" in m for m in messages) == sum("07.png" in m for m in messages) == 1
    assert messages[-1].startswith("2 of 23 pictures of folder could not be read")
    left = torch.cat([batch.indices for batch in seen]).tolist()
    assert left == [i for i in range(23) if i not in batches.skipped]


@pytest.mark.filterwarnings("ignore:Skipped")
def test_a_dataset_without_a_name_is_called_by_its_kind(folder):
    spoil(folder, 4)
    part = torch.utils.data.Subset(load_dataset(folder), range(1, 4))  # a/04.png is item 2
    with pytest.warns(UserWarning, match="1 of 3 pictures of Subset could not be read"):
        (batch,) = iterate(part, 8, SMALL)
    assert batch.indices.tolist() == [0, 2]


@pytest.mark.filterwarnings("ignore:Skipped")
def test_nothing_but_bad_pictures(folder):
    spoil(folder, *range(23))
    with pytest.warns(UserWarning, match="23 of 23"):
        assert list(iterate(load_dataset(folder), 8, SMALL)) == []


def test_unreadable(folder):
    spoil(folder, 4, 7)
    dataset, steps = load_dataset(folder), []
    bad = unreadable(dataset, step=lambda: steps.append(1))
    assert {dataset.key(i) for i in bad} == {"a/04.png", "b/07.png"}
    assert all(dataset.key(i).split("/")[1] in why for i, why in bad.items())
    assert len(steps) == 23


def test_chosen_items(folder):
    batches = iterate(load_dataset(folder), 2, SMALL, indices=[20, 3, 3, 0])
    assert [batch.indices.tolist() for batch in batches] == [[20, 3], [3, 0]]


def test_the_datasets_own_transform(folder):
    (batch,) = iterate(load_dataset(folder, transform=SMALL), 50)
    assert batch.images.shape == (23, 3, 8, 8)


def test_a_mistake_in_the_transform_is_not_swallowed(folder):
    def broken(_image):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        next(iter(iterate(load_dataset(folder), 4, broken)))


def test_pictures_are_read_while_the_network_computes(folder):
    """While a batch is worked on, the next ones are read."""
    dataset, reads = load_dataset(folder), []

    def slow(image):
        time.sleep(0.002)
        reads.append(np.asarray(image)[0, 0, 0])
        return SMALL(image)

    stream = iter(iterate(dataset, 4, slow))
    next(stream)
    deadline = time.time() + 5  # a busy machine may take its time
    while len(reads) < 8 and time.time() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # the network computes
    assert 8 <= len(reads) <= 16  # two batches and the workers, not all
    stream.close()


def test_leaving_early_stops_the_threads(folder):
    for _batch in iterate(load_dataset(folder), 4, SMALL):
        break
    deadline = time.time() + 5
    while time.time() < deadline and any(
        thread.name.startswith("zfnb-read") for thread in threading.enumerate()
    ):
        time.sleep(0.01)
    assert not [t for t in threading.enumerate() if t.name.startswith("zfnb-read")]


def test_bad_sizes(folder):
    dataset = load_dataset(folder)
    for bad in ({"batch_size": 0}, {"workers": 0}):
        with pytest.raises(BadInput):
            iterate(dataset, transform=SMALL, **bad)
