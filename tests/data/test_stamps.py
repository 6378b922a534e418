"""The embedded stamps, and pasting one."""

import csv
import hashlib
import importlib.util
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zfnb.data import load_dataset
from zfnb.data.stamps import CLASSES, all_stamps, compose, stamp
from zfnb.errors import BadInput, UnknownName
from zfnb.paths import embedded


def square(side=20, colour=(255, 0, 0, 255)):
    return Image.new("RGBA", (side, side), colour)


# -- the embedded files ------------------------------------------------------------------------


def test_every_file_is_the_one_of_the_index():
    for one in all_stamps().values():
        assert hashlib.sha256(one.path.read_bytes()).hexdigest() == one.sha256
        image = one.image()
        assert image.mode == "RGBA"
        assert max(image.size) <= 224
        alpha = np.asarray(image.getchannel("A"))
        assert alpha.max() > 250
        assert alpha.min() < 128 or one.label == "other"  # cut out, not a full rectangle
        # cropped to what is visible
        assert all(edge.max() > 0 for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]))


def test_no_file_without_a_row_and_the_licence_is_there():
    folder = embedded("data", "stamps")
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*.webp")}
    assert files == {f"{key}.webp" for key in all_stamps()}
    assert "GNU GENERAL PUBLIC LICENSE" in (folder / "LICENSE").read_text(encoding="utf-8")
    assert sum(p.stat().st_size for p in folder.rglob("*")) < 5_000_000


def test_ten_classes_with_enough_stamps_in_both_splits():
    counts = Counter((s.label, s.split) for s in all_stamps().values())
    assert len(CLASSES) == 10
    for label in CLASSES:
        total = counts[label, "train"] + counts[label, "test"]
        assert total >= 8
        assert 0.2 < counts[label, "test"] / total < 0.4


def test_synsets_are_of_tiny_imagenet_and_names_are_said():
    with embedded("data", "stamps", "index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with_synset = [row for row in rows if row["synset"]]
    assert len(with_synset) >= 30
    assert all(row["synset"][0] == "n" and len(row["synset"]) == 9 for row in with_synset)
    assert stamp("mammal/koala").synset == "n01882714"
    assert all(row["name"] and row["credit"] and row["original"] for row in rows)


def test_no_stamp_is_there_twice_or_mirrored():
    """No two outlines and lightnesses agree nearly everywhere; a mirrored pair gives 0.0002."""
    small = []
    for one in all_stamps().values():
        image = one.image().resize((24, 24), Image.Resampling.BOX)
        alpha = np.asarray(image.getchannel("A"), float) / 255
        light = np.asarray(image.convert("L"), float) / 255 * alpha
        small += [np.stack([alpha, light]), np.stack([alpha, light])[:, :, ::-1]]
    flat = np.stack(small).reshape(len(small), -1)
    squares = (flat**2).sum(1)
    distance = squares[:, None] + squares[None, :] - 2 * flat @ flat.T
    for i in range(0, len(small), 2):  # a thing may be its own mirror image
        distance[i : i + 2, i : i + 2] = np.inf
    assert distance.min() / flat.shape[1] > 0.002


def build_script():
    place = Path(__file__).resolve().parents[2] / "data" / "build" / "stamps.py"
    spec = importlib.util.spec_from_file_location("build_stamps", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_index_is_what_the_script_selects():
    script = build_script()
    rows = script.read_selection()
    where = script.split(rows)
    assert where == script.split(rows[::-1])  # the order of the rows has no say
    with embedded("data", "stamps", "index.csv").open(encoding="utf-8", newline="") as file:
        index = {row["original"]: row for row in csv.DictReader(file)}
    assert index.keys() == where.keys()
    for row in rows:
        built = index[row["original"]]
        assert built["split"] == where[row["original"]]
        assert all(built[column] == value for column, value in row.items())


def test_the_script_cuts_out_crops_and_shrinks():
    picture = np.zeros((600, 500, 4), np.uint8)
    picture[100:500, 50:450] = (200, 10, 10, 255)  # the thing
    picture[590:592, 490:492] = (0, 0, 0, 255)  # a speck
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    image = build_script().cut_out(buffer.getvalue())
    assert image.size == (224, 224)
    assert np.asarray(image).reshape(-1, 4).std(axis=0).max() == 0


def test_the_dataset():
    train, test = load_dataset("stamps", "train"), load_dataset("stamps", "test")
    everything = load_dataset("stamps", "all")
    assert len(train) + len(test) == len(everything)
    keys = [{d.key(i) for i in range(len(d))} for d in (train, test)]
    assert not keys[0] & keys[1]
    image, target = train[3]
    assert image.size == (256, 256)
    assert image.mode == "RGB"
    assert train.classes[target] == train.key(3).split("/")[0]
    assert image.getpixel((0, 0)) == (128, 128, 128)
    assert train.classes == list(CLASSES)
    with_others = load_dataset("stamps", "all", others=True)
    assert with_others.classes == [*CLASSES, "other"]
    assert len(with_others) == len(all_stamps())
    assert with_others.fingerprint() != everything.fingerprint()


def test_the_mask_of_a_plain_stamp():
    dataset = load_dataset("stamps", "test", size=128)
    picture, alpha = dataset.composite(5)
    plain = (np.asarray(picture) == 128).all(axis=2)
    assert plain[alpha == 0].all()
    assert (alpha > 0.5).sum() > 200
    middle = np.count_nonzero(alpha[8:-8, 8:-8])
    assert middle == np.count_nonzero(alpha)  # whole inside a network's centre crop


def test_the_transform_and_wrong_names():
    sizes = load_dataset("stamps", transform=lambda image: image.size)
    assert sizes[0][0] == (256, 256)
    with pytest.raises(UnknownName, match="train, test, all"):
        load_dataset("stamps", "val")
    with pytest.raises(UnknownName, match="bird/crow"):
        stamp("bird/crwo")


# -- compose -----------------------------------------------------------------------------------


def test_a_square_lands_where_it_is_told():
    picture, alpha = compose(square(), (0, 0, 255), centre=(30, 50), scale=0.2, size=100)
    expected = np.zeros((100, 100), bool)
    expected[20:40, 40:60] = True
    np.testing.assert_array_equal(alpha == 1, expected)
    np.testing.assert_array_equal(alpha > 0, expected)
    assert (np.asarray(picture)[expected] == (255, 0, 0)).all()
    assert (np.asarray(picture)[~expected] == (0, 0, 255)).all()


def test_half_a_pixel_is_half_a_pixel():
    _, alpha = compose(square(), centre=(30, 50.5), scale=0.2, size=100)
    np.testing.assert_allclose(alpha[30, [40, 60]], 0.5, atol=0.1)
    assert alpha.sum() == pytest.approx(400, rel=0.01)


def test_moving_by_whole_pixels_moves_every_pixel():
    bird = stamp("bird/crow").image()
    _, here = compose(bird, centre=(128, 120), scale=0.5)
    there_picture, there = compose(bird, centre=(135, 131), scale=0.5)
    np.testing.assert_array_equal(np.roll(here, (7, 11), (0, 1)), there)
    here_picture, _ = compose(bird, centre=(128, 120), scale=0.5)
    moved = np.roll(np.asarray(here_picture), (7, 11), (0, 1))
    np.testing.assert_array_equal(moved, np.asarray(there_picture))


@pytest.mark.parametrize(("rotation", "axes"), [(90, 1), (180, 2), (270, 3), (-90, 3)])
def test_quarter_turns_are_anticlockwise(rotation, axes):
    bird = stamp("bird/crow").image()
    plain = compose(bird, scale=0.6)
    turned = compose(bird, scale=0.6, rotation=rotation)
    np.testing.assert_allclose(turned.alpha, np.rot90(plain.alpha, axes), atol=0.02)


def test_a_small_turn_is_anticlockwise_too():
    bar = Image.new("RGBA", (60, 6), (255, 255, 255, 255))
    _, alpha = compose(bar, scale=0.6, rotation=20, size=100)
    rows = [np.average(np.arange(100), weights=alpha[:, column]) for column in (25, 74)]
    assert rows[0] > rows[1] + 10  # the right end is higher


@pytest.mark.parametrize("scale", [0.1, 0.33, 0.5, 0.9, 1.7])
def test_the_area_follows_the_scale(scale):
    _, alpha = compose(square(137), scale=scale, size=200)
    assert alpha.sum() == pytest.approx(min(200, scale * 200) ** 2, rel=0.03)


def test_nothing_of_the_background_moves():
    rng = np.random.default_rng(0)
    ground = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for centre in ((20, 20), (20.3, 41.7), (-50, 200)):
        picture, alpha = compose(square(), ground, centre, 0.3, 10, size=64)
        outside = alpha == 0
        np.testing.assert_array_equal(np.asarray(picture)[outside], np.asarray(ground)[outside])
    assert outside.all()  # the last one is out of the picture


def test_no_dark_border_from_invisible_pixels():
    """The colour under alpha 0 (black here) must not bleed into the edge."""
    disc = Image.new("RGBA", (101, 101), (0, 0, 0, 0))
    y, x = np.mgrid[-50:51, -50:51]
    pixels = np.asarray(disc).copy()
    pixels[np.hypot(x, y) < 45] = (255, 255, 255, 255)
    picture, _ = compose(Image.fromarray(pixels), (255, 255, 255), (50.4, 51.3), 0.37, 33, 101)
    assert np.asarray(picture).min() >= 253


def test_a_background_of_another_size_is_fitted():
    ground = Image.new("RGB", (300, 90), (1, 2, 3))
    assert compose(square(), ground, size=64).picture.size == (64, 64)


@pytest.mark.parametrize(
    "change",
    [
        {"scale": 0},
        {"scale": float("nan")},
        {"rotation": float("inf")},
        {"centre": (0, float("nan"))},
        {"size": 0},
        {"size": 10.5},
        {"stamp": np.zeros((4, 4, 4), np.uint8)},
    ],
)
def test_bad_numbers_are_refused(change):
    with pytest.raises(BadInput):
        compose(**({"stamp": square()} | change))
