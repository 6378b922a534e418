"""Cached squares, data order, crops on whole batches."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from zfnb import checkpoints
from zfnb.batches import (
    Augmentation,
    CachedSquares,
    Squares,
    cached,
    central,
    centre_boxes,
    crop_and_resize,
    epoch_batches,
    fetch,
    hold_out,
    mean_picture,
    square,
    stored_size,
    training_inputs,
)
from zfnb.checkpoints import CannotSave
from zfnb.data.pictures import Preprocessing
from zfnb.errors import BadInput, BadPicture

PLAIN = Preprocessing(resize=32, crop=28, mean=(0.0, 0.0, 0.0), std=(1 / 255,) * 3)


class Toy:
    """Noise pictures, 40 x 44; counts how often one is opened."""

    name = "toy"

    def __init__(self, count: int = 20, salt: int = 0):
        self.count, self.salt, self.opened = count, salt, 0

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.opened += 1
        noise = np.random.default_rng((index, self.salt)).integers(0, 256, (40, 44, 3))
        return Image.fromarray(noise.astype(np.uint8)), index % 2

    def fingerprint(self):
        return f"{self.count:x}".ljust(64, "0")


def test_a_square_is_the_scaled_centre():
    picture = Image.fromarray(np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3))
    centre = np.asarray(picture.crop((10, 0, 50, 40)))
    assert np.array_equal(square(picture, 40), centre.transpose(2, 0, 1))
    assert square(picture, 16).shape == (3, 16, 16)
    assert stored_size("imagenet", 224) == 256
    assert stored_size("tiny-imagenet", 112) == 64


def test_pictures_are_decoded_once(tmp_path):
    toy = Toy()
    first = cached(toy, 32, tmp_path, progress=False)
    assert toy.opened == len(toy)
    again = cached(toy, 32, tmp_path, progress=False)
    assert toy.opened < 2 * len(toy)  # a few are looked at again, to see that the cache fits
    want = np.stack([square(toy[i][0], 32) for i in range(len(toy))])
    assert np.array_equal(first.array, want)
    assert torch.equal(again.__getitems__([3, 0]), torch.from_numpy(want[[3, 0]]))


@pytest.mark.parametrize("damage", ["cut short", "no header", "other pictures"])
def test_a_damaged_cache_is_made_again(tmp_path, damage):
    path = cached(Toy(), 32, tmp_path, progress=False).path
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:-1000])
    elif damage == "no header":
        path.write_bytes(b"\0" * 500)
    source = Toy(salt=1) if damage == "other pictures" else Toy()
    with pytest.warns(UserWarning, match="made again"):
        squares = cached(source, 32, tmp_path, progress=False)
    assert np.array_equal(squares[7], square(source[7][0], 32))


def test_a_cache_is_what_numpy_writes(tmp_path):
    path = cached(Toy(), 32, tmp_path, progress=False).path
    np.save(tmp_path / "numpy.npy", np.stack([square(Toy()[i][0], 32) for i in range(20)]))
    assert path.read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    """A limit on the size of files stands for it; a mapped file would end the process."""
    resource = pytest.importorskip("resource")
    limit, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(OSError, match="large"):
            cached(Toy(), 32, tmp_path / "cache", progress=False)  # 61 kB
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list((tmp_path / "cache").iterdir())


def test_a_disk_that_is_too_small_is_said_before_the_work(tmp_path, monkeypatch):
    toy, need = Toy(), 20 * 3 * 32**2

    class Usage:
        free = need - 1

    monkeypatch.setattr(checkpoints.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(CannotSave, match=r"toy-32-.* need 0\.0 GB .* --cache, .*--no-cache"):
        cached(toy, 32, tmp_path / "new" / "cache", progress=False)
    assert not toy.opened and not list((tmp_path / "new" / "cache").iterdir())
    Usage.free = need
    assert len(cached(toy, 32, tmp_path, progress=False)) == 20
    Usage.free = 0
    cached(toy, 32, tmp_path, progress=False)  # what is there needs no more


def test_what_killed_processes_left_is_removed(tmp_path):
    path = cached(Toy(), 32, tmp_path, progress=False).path
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    gone, young, living, other, odd = (
        path.with_name(f".{stem}.{number}.npy")
        for stem, number in (
            (path.stem, dead.pid),
            (path.stem, dead.pid + 1_000_000_000),
            (path.stem, os.getpid()),
            ("toy-64-f", dead.pid),
            (path.stem, "x"),
        )
    )
    for left in (gone, young, living, other, odd):
        left.write_bytes(b"part")
        if left != young:
            os.utime(left, (1e9, 1e9))
    cached(Toy(), 32, tmp_path, progress=False)
    assert {p for p in tmp_path.iterdir() if p != path} == {young, living, other, odd}


def test_a_changed_dataset_gets_its_own_cache(tmp_path):
    first, second = (cached(Toy(n), 32, tmp_path, progress=False) for n in (20, 21))
    assert first.path != second.path
    assert len(second) == 21


def test_workers_fetch_the_same_batches(tmp_path):
    squares = cached(Toy(), 32, tmp_path, progress=False)
    batches = [np.array([4, 2, 9]), np.array([0, 1, 19])]
    assert isinstance(squares, CachedSquares)
    alone, helped = (list(fetch(squares, batches, workers)) for workers in (0, 2))
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))
    assert np.array_equal(alone[1][2], squares[19])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_cannot_be_read_is_one_sentence(workers):
    """Whoever reads it; without the traceback of the process that did."""

    class Damaged(Toy):
        def __getitem__(self, index):
            try:
                raise BadPicture("A cause.")
            except BadPicture as cause:
                raise BadPicture(f"{index}.png is damaged: cut\nshort.") from cause

    with pytest.raises(BadPicture) as caught:
        list(fetch(Squares(Damaged(), 8), [[3]], workers))
    assert str(caught.value) == "3.png is damaged: cut\nshort."


def test_hold_out_takes_the_same_pictures_of_every_class():
    targets = np.repeat([0, 1, 2], [10, 20, 30])
    learn, held = hold_out(targets, 4)
    assert np.bincount(targets[held]).tolist() == [4, 4, 4]
    assert np.array_equal(np.sort(np.concatenate([learn, held])), np.arange(60))
    assert np.array_equal(held, hold_out(targets, 4)[1])
    with pytest.raises(BadInput, match="--holdout"):
        hold_out(targets, 10)


def test_order_depends_on_seed_and_epoch_alone():
    indices = np.arange(100, 150)
    batches = epoch_batches(indices, 8, seed=1, epoch=2)
    assert [len(batch) for batch in batches] == [8] * 6
    taken = np.concatenate(batches)
    assert len(set(taken)) == 48
    assert set(taken) <= set(indices)
    assert np.array_equal(taken, np.concatenate(epoch_batches(indices, 8, 1, 2)))
    for seed, epoch in ((1, 3), (2, 2), (2, 1)):
        assert not np.array_equal(taken, np.concatenate(epoch_batches(indices, 8, seed, epoch)))
    assert [len(b) for b in epoch_batches(indices, 64, 0, 0)] == [50]


@pytest.mark.parametrize(("side", "resize", "crop"), [(64, 128, 112), (64, 112, 112), (96, 32, 28)])
def test_the_central_crop_is_that_of_preprocessing(side, resize, crop):
    """Two products of matrices against Pillow, enlarging and shrinking."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    preprocessing = Preprocessing(resize, crop, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    want = torch.stack([preprocessing(Image.fromarray(p)) for p in pixels])
    got = central(torch.from_numpy(pixels).permute(0, 3, 1, 2), preprocessing)
    grey_level = 1 / 255 / 0.2
    assert (got - want).abs().max() < 1.01 * grey_level  # Pillow rounds twice to whole levels
    assert (got - want).abs().mean() < 0.4 * grey_level


def test_resizing_equals_torch():
    x = torch.rand(2, 3, 40, 40)
    for size in (17, 40, 90):
        want = torch.nn.functional.interpolate(
            x, size=(size, size), mode="bilinear", antialias=True
        )
        got = crop_and_resize(x, *centre_boxes(2, 1.0), size)
        assert torch.allclose(got, want, atol=1e-5)


def test_flips_and_corners():
    x = torch.rand(2, 3, 32, 32)
    start = torch.tensor([[0.0, 4 / 32], [0.5, 0.0]])
    length = torch.full((2, 2), 0.5)
    flipped = torch.tensor([True, False])
    got = crop_and_resize(x, start, length, 16, flipped)
    assert torch.allclose(got[0], x[0, :, :16, 4:20].flip(2), atol=1e-6)
    assert torch.allclose(got[1], x[1, :, 16:, :16], atol=1e-6)


def test_the_papers_ten_crops_are_drawn():
    """Four corners and the centre, flipped or not: ten different inputs, and no others."""
    pictures = torch.from_numpy(np.stack([square(Toy()[0][0], 32)] * 400))
    x = training_inputs(
        pictures, PLAIN, Augmentation("ten", 28 / 32, colour=0.0), torch.Generator()
    )
    assert len({tuple(row) for row in x.round().int()[:, 0].flatten(1).tolist()}) == 10
    corner = pictures[0, :, :28, :28].float()
    assert (x - corner).abs().flatten(1).amax(1).min() < 1e-3


def test_random_crops_stay_inside_and_vary():
    start, length, flip = Augmentation().boxes(2000, torch.Generator().manual_seed(0))
    assert (start >= 0).all()
    assert (start + length <= 1 + 1e-6).all()
    area = length.prod(1)
    assert 0.34 < area.min() < 0.37
    assert area.max() > 0.97
    ratio = length[:, 0] / length[:, 1]
    assert 1.2 < ratio.max() < 1.2501
    assert 0.45 < flip.float().mean() < 0.55


def test_colours_vary_within_their_limits():
    """x becomes factor * x + offset: one contrast for all channels; of the brightness a part is
    common to them, up to 0.2, and a part is each channel's own, up to 0.1."""
    ramp = torch.arange(0, 256, 32, dtype=torch.uint8)[:, None].expand(3, 8, 8)  # grey, row by row
    small = Preprocessing(resize=8, crop=8, mean=(0.5,) * 3, std=(0.25,) * 3)
    whole = Augmentation(area=(1.0, 1.0), aspect=1.0, colour=0.2)  # no crop but the picture
    x = training_inputs(ramp.expand(2000, 3, 8, 8), small, whole, torch.Generator().manual_seed(0))
    plain = central(ramp[None], small)[0, 0, :, 0]  # (8,)
    assert (x - x[..., :1]).abs().max() < 1e-5  # each row is still of one colour
    rows = x[..., 0]  # (2000, 3, 8)
    factor = (rows[..., -1] - rows[..., 0]) / (plain[-1] - plain[0])
    offset = rows[..., 0] - factor * plain[0]
    assert (rows - factor[..., None] * plain - offset[..., None]).abs().max() < 1e-4
    assert (factor - factor[:, :1]).abs().max() < 1e-4
    assert 0.7999 < factor.min() < 0.81 and 1.19 < factor.max() < 1.2001
    assert -0.3001 < offset.min() < -0.27 and 0.27 < offset.max() < 0.3001
    between = offset.amax(1) - offset.amin(1)  # what is common falls out
    assert 0.18 < between.max() < 0.2001


def test_a_share_of_a_batch_gets_the_same_crops():
    pictures = torch.from_numpy(np.stack([square(Toy()[i][0], 32) for i in range(6)]))
    whole = training_inputs(pictures, PLAIN, Augmentation(), torch.Generator().manual_seed(5))
    for part in (slice(0, 3), slice(3, 6)):
        generator = torch.Generator().manual_seed(5)
        mine = training_inputs(pictures[part], PLAIN, Augmentation(), generator, part=part, whole=6)
        assert torch.equal(mine, whole[part])


def test_the_mean_picture(tmp_path):
    squares = cached(Toy(), 32, tmp_path, progress=False)
    places = np.array([1, 5, 6])
    want = squares.array[places].astype(float).mean(0)
    assert np.allclose(mean_picture(squares, places), want, atol=1e-4)
