"""Scenes: the same bytes for the same seed, and masks that are exact."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from zfnb.data import load_dataset
from zfnb.data.scenes import BACKGROUNDS, Scenes, Uniform, background
from zfnb.data.stamps import compose, stamp
from zfnb.errors import BadInput, UnknownName


def digest(dataset, indices):
    content = b"".join(np.asarray(dataset.picture(i)).tobytes() for i in indices)
    return hashlib.sha256(content).hexdigest()


def test_the_stream_of_numbers_never_changes():
    """Written down once; another NumPy or platform must give these."""
    expected = [0.7739560485559633, 0.4388784397520523, 0.8585979199113825]
    numbers = Uniform(3, 1, 4).array(100_000)
    assert numbers.min() >= 0 and numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 0.01
    np.testing.assert_array_equal(Uniform(42).array(3), expected)


def test_the_order_of_access_does_not_matter():
    a, b = Scenes("test", size=64), Scenes("test", size=64)
    forward = [np.asarray(a.picture(i)) for i in range(12)]
    backward = [np.asarray(b.picture(i)) for i in reversed(range(12))][::-1]
    np.testing.assert_array_equal(forward, backward)


def test_another_process_gives_the_same_bytes():
    here = digest(load_dataset("scenes", "test", size=96, seed=7), range(0, 200, 20))
    code = (
        "import hashlib, numpy as np; from zfnb.data import load_dataset\n"
        "d = load_dataset('scenes', 'test', size=96, seed=7)\n"
        "c = b''.join(np.asarray(d.picture(i)).tobytes() for i in range(0, 200, 20))\n"
        "print(hashlib.sha256(c).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == here


def test_what_else_is_in_the_dataset_does_not_matter():
    few, many = (
        Scenes("train", per_stamp=1, size=64),
        Scenes("all", per_stamp=3, size=64, others=True),
    )
    keys = {many.key(i): i for i in range(len(many))}
    for i in range(0, len(few), 29):
        same = keys[few.key(i)]
        np.testing.assert_array_equal(few.picture(i), many.picture(same))


def test_seeds_and_numbers_give_other_scenes():
    dataset, other = Scenes("test", size=64), Scenes("test", size=64, seed=1)
    digests = {digest(d, [i]) for d in (dataset, other) for i in range(8)}
    assert len(digests) == 16
    assert dataset.fingerprint() != other.fingerprint()
    assert dataset.fingerprint() == Scenes("test", size=64, transform=len).fingerprint()
    assert dataset.fingerprint() != Scenes("test", size=96).fingerprint()


def test_the_mask_is_exact():
    """The picture differs from its bare background only inside the mask, and there it does."""
    dataset = Scenes("all", size=128, others=True, per_stamp=1)
    for i in range(0, len(dataset), 13):
        scene = dataset.scene(i)
        bare = np.asarray(background(scene.background, scene.background_seed, 128), int)
        differs = np.abs(np.asarray(scene.picture, int) - bare).max(axis=2)
        assert differs[scene.alpha == 0].max() == 0
        assert (differs[scene.mask] > 0).mean() > 0.9
        again = compose(
            stamp(scene.stamp).image(),
            background(scene.background, scene.background_seed, 128),
            scene.centre,
            scene.scale,
            scene.rotation,
            128,
        )
        np.testing.assert_array_equal(again.picture, scene.picture)
        np.testing.assert_array_equal(again.alpha, scene.alpha)


def test_the_box_is_that_of_the_mask_and_networks_see_it():
    dataset = Scenes("train", size=256, per_stamp=1)
    for i in range(0, len(dataset), 17):
        scene = dataset.scene(i)
        top, left, bottom, right = scene.box
        assert scene.mask[top:bottom, left:right].sum() == scene.mask.sum() > 0
        assert min(top, left) >= 15 and max(bottom, right) <= 241  # the middle 224


def test_groups_and_keys():
    dataset = Scenes("test", per_stamp=3)
    assert [dataset.group(i) for i in range(7)] == [0, 0, 0, 1, 1, 1, 2]
    assert len({dataset.key(i) for i in range(len(dataset))}) == len(dataset)
    assert dataset.targets[4] == dataset.scene(4).target
    assert dataset.key(4).startswith(dataset.scene(4).stamp)
    image, target = dataset[-1]
    assert image.size == (256, 256)
    assert target == dataset.targets[-1]
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_no_stamp_of_the_training_scenes_is_in_a_test_scene():
    train, test = Scenes("train"), Scenes("test")
    assert not {s.key for s in train.stamps} & {s.key for s in test.stamps}


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_backgrounds(name):
    first, again, other = (np.asarray(background(name, seed, 100)) for seed in (5, 5, 6))
    assert first.shape == (100, 100, 3)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.std() > 3


def test_the_noise_has_natural_statistics():
    """Amplitude falls as 1 / f to 1 / f^1.5, and the colours are muted."""
    slopes = []
    for seed in range(12):
        rgb = np.asarray(background("noise", seed, 128), float)
        grey = rgb.mean(axis=2)
        amplitude = np.abs(np.fft.fft2(grey - grey.mean()))[: 128 // 2, : 128 // 2]
        frequency = np.hypot(*np.mgrid[:64, :64])
        rings = [(frequency >= f) & (frequency < 2 * f) for f in (2, 4, 8, 16)]
        levels = [np.log2(amplitude[ring].mean()) for ring in rings]
        slopes.append(np.polyfit(range(4), levels, 1)[0])
        saturation = np.median(rgb.max(axis=2) - rgb.min(axis=2))
        assert saturation < 90
    assert min(slopes) > -1.7 and max(slopes) < -0.8


def test_options_choose_and_bad_ones_are_named():
    dataset = Scenes("test", backgrounds=("grass",), scale=(0.5, 0.5), rotation=0)
    scene = dataset.scene(3)
    assert (scene.background, scene.scale, scene.rotation) == ("grass", 0.5, 0)
    with pytest.raises(UnknownName, match="noise, china"):
        Scenes(backgrounds=("snow",))
    with pytest.raises(UnknownName, match="per_stamp"):
        load_dataset("scenes", per_stmap=3)
    for bad in ({"per_stamp": 0}, {"seed": -1}, {"size": 2}, {"scale": (0.8, 0.4)}, {"scale": 0.5}):
        with pytest.raises(BadInput):
            Scenes(**bad)
    with pytest.raises(BadInput, match="several"):
        Scenes(backgrounds="noise")


@pytest.mark.parametrize("name", ["noise", "grass"])
def test_a_background_has_a_pixel_at_least(name):
    assert background(name, size=1).size == (1, 1)
    with pytest.raises(BadInput, match="positive number of pixels"):
        background(name, size=0)
