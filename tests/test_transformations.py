"""Moving pictures: what must be exact, and slow, plain versions of the rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from zfnb import transformations as tf
from zfnb.errors import BadInput, UnknownName


@pytest.fixture
def pictures():
    return torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(5))


def outside(index: int, size: int, fill: str) -> int | None:
    """The pixel that stands for one beyond the border, by walking there."""
    if fill == "mean":
        return index if 0 <= index < size else None
    step = 1
    at = 0 if index <= 0 else size - 1
    if 0 <= index < size:
        return index
    for _ in range(-index if index < 0 else index - size + 1):
        if fill == "reflect":
            if at == 0:
                step = 1
            elif at == size - 1:
                step = -1
            at += step
    return at


def plain(image: np.ndarray, rows: np.ndarray, columns: np.ndarray, fill: str) -> np.ndarray:
    """Bilinear, pixel by pixel: new pixel (i, j) lies at (rows[i, j], columns[i, j])."""
    size = image.shape[-1]
    new = np.zeros_like(image)
    for i, j in np.ndindex(size, size):
        r, c = int(np.floor(rows[i, j])), int(np.floor(columns[i, j]))
        for y, wy in ((r, r + 1 - rows[i, j]), (r + 1, rows[i, j] - r)):
            for x, wx in ((c, c + 1 - columns[i, j]), (c + 1, columns[i, j] - c)):
                y_in, x_in = outside(y, size, fill), outside(x, size, fill)
                if y_in is not None and x_in is not None:
                    new[:, i, j] += wy * wx * image[:, y_in, x_in]
    return new


@pytest.mark.parametrize("fill", tf.FILLS)
@pytest.mark.parametrize("size", [2, 5, 8])
def test_what_stands_for_a_pixel_outside(fill, size):
    index = np.arange(-4 * size, 5 * size)
    inside, there = tf.folded(index, size, fill)
    for given, found, exists in zip(index.tolist(), inside, there, strict=True):
        expected = outside(given, size, fill)
        assert exists == (expected is not None)
        assert expected is None or found == expected


def test_reflection_by_hand():
    inside, _ = tf.folded(np.arange(-4, 7), 4, "reflect")
    assert inside.tolist() == [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0]


@pytest.mark.parametrize("fill", tf.FILLS)
def test_a_shift_by_whole_pixels_copies(pictures, fill):
    down = tf.translate(pictures, down=3, fill=fill)
    assert torch.equal(down[:, :, 3:], pictures[:, :, :-3])
    left = tf.translate(pictures, right=-2, fill=fill)
    assert torch.equal(left[..., :-2], pictures[..., 2:])
    entered = {
        "edge": pictures[:, :, :1].expand(-1, -1, 3, -1),
        "reflect": pictures[:, :, 1:4].flip(2),
        "mean": torch.zeros(2, 3, 3, 12),
    }[fill]
    assert torch.equal(down[:, :, :3], entered)
    assert torch.equal(tf.translate(pictures, 2, 5), tf.translate(tf.translate(pictures, 2), 0, 5))


def test_half_a_pixel_is_half_of_both(pictures):
    moved = tf.translate(pictures, down=0.5)
    torch.testing.assert_close(moved[:, :, 1:], (pictures[:, :, 1:] + pictures[:, :, :-1]) / 2)
    quarter = tf.translate(pictures, right=-0.25)
    torch.testing.assert_close(
        quarter[..., :-1], 0.75 * pictures[..., :-1] + 0.25 * pictures[..., 1:]
    )


@pytest.mark.parametrize("fill", tf.FILLS)
@pytest.mark.parametrize("case", ["shift", "scale", "rotation"])
def test_it_is_the_plain_way(pictures, case, fill):
    i, j = np.mgrid[:12, :12].astype(float)
    c = 5.5
    if case == "shift":
        found, rows, columns = tf.translate(pictures, 1.7, -20.3, fill), i - 1.7, j + 20.3
    elif case == "scale":
        found = tf.scale(pictures, 1.3, fill)
        rows, columns = c + (i - c) / 1.3, c + (j - c) / 1.3
    else:
        found, angle = tf.rotate(pictures, 37, fill), np.radians(37)
        # Anticlockwise on the screen, whose rows go down: the new right end comes from below.
        rows = c + (i - c) * np.cos(angle) + (j - c) * np.sin(angle)
        columns = c - (i - c) * np.sin(angle) + (j - c) * np.cos(angle)
    for image, one in zip(pictures.double().numpy(), found, strict=True):
        expected = plain(image, rows, columns, fill)
        np.testing.assert_allclose(one.numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("quarter", range(-3, 6))
def test_a_quarter_turn_is_exact(pictures, quarter):
    found = tf.rotate(pictures, 90 * quarter, "mean")
    assert torch.equal(found, torch.rot90(pictures, quarter, (2, 3)))


def test_a_larger_picture_in_the_middle():
    # Twice as large: the middle half of a ramp fills the picture, at half its steepness.
    ramp = torch.arange(8.0).expand(1, 3, 8, 8)
    assert tf.scale(ramp, 2)[0, 0, 0].tolist() == [
        3.5 + (x - 3.5) / 2 for x in range(8)
    ]  # fmt: skip


def test_a_smaller_picture_is_not_aliased():
    # Stripes of one pixel: shrunk to a third, they are grey, where picking pixels shows stripes.
    stripes = torch.zeros(1, 3, 48, 48)
    stripes[..., ::2] = 1
    inside = tf.scale(stripes, 1 / 3, "mean")[0, 0, 20:28, 18:30]
    assert (inside - 0.5).abs().max() < 0.07
    level = torch.ones(1, 3, 48, 48)  # and a level stays a level
    torch.testing.assert_close(tf.scale(level, 0.4, "edge"), level)


@pytest.mark.parametrize("name", tf.TRANSFORMATIONS)
def test_it_commutes_with_normalisation(name, small_zfnet):
    # Of the 8-bit picture it gives the same, up to the rounding of the picture.
    raw = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    one = tf.TRANSFORMATIONS[name]
    value = {"scale": 1.37, "rotation": 23.0}.get(name, 4.6)
    wanted = one(small_zfnet.preprocessing.normalize(raw)[None], value)[0]
    pixels = torch.from_numpy(raw).permute(2, 0, 1)[None].double()
    turned = one(pixels, value)[0].permute(1, 2, 0).round().clamp(0, 255)
    found = small_zfnet.preprocessing.normalize(Image.fromarray(turned.byte().numpy()))
    assert (found - wanted).abs().max() < 0.51 / 255 / 0.224


@pytest.mark.parametrize("name", tf.TRANSFORMATIONS)
def test_nothing_happens_at_the_identity(pictures, name):
    one = tf.transformation(name)
    assert torch.equal(one(pictures, one.identity), pictures)
    assert torch.equal(one.move(pictures, one.identity, "reflect"), pictures)  # nor unasked
    assert not torch.equal(one(pictures, one.identity + 0.3), pictures)


def test_the_papers_values():
    vertical, scale, rotation = (
        tf.TRANSFORMATIONS[name] for name in ("vertical", "scale", "rotation")
    )
    assert vertical.values(224, 25).tolist() == list(range(-60, 61, 5))
    small = vertical.values(96, 25)
    assert small[12] == 0 and small[-1] == pytest.approx(60 * 96 / 224)
    assert scale.values(96, 9) == pytest.approx(np.arange(1, 1.81, 0.1)) and scale.values()[0] == 1
    assert rotation.values(count=36).tolist() == list(range(0, 360, 10))


def test_values_that_cannot_be(pictures):
    with pytest.raises(UnknownName, match="Did you mean 'rotation'"):
        tf.transformation("rotations")
    with pytest.raises(UnknownName, match="edge, reflect, mean"):
        tf.translate(pictures, 2, fill="black")
    with pytest.raises(UnknownName, match="edge, reflect, mean"):
        tf.rotate(pictures, 2, "black")
    with pytest.raises(BadInput, match="factor above 0"):
        tf.scale(pictures, 0)
    with pytest.raises(BadInput, match="finite"):
        tf.TRANSFORMATIONS["scale"](pictures, float("nan"))
    with pytest.raises(BadInput, match="odd number"):
        tf.TRANSFORMATIONS["vertical"].values(96, 24)
    with pytest.raises(BadInput, match="at least 3"):
        tf.TRANSFORMATIONS["scale"].values(96, 2)


def test_one_of_ones_own():
    flip = tf.Transformation("flip", "", 0.0, (0, 1), lambda x, value, fill: x.flip(3))
    assert tf.transformation(flip) is flip
    image = torch.arange(4.0).expand(1, 3, 4, 4)
    assert flip(image, 1)[0, 0, 0].tolist() == [3, 2, 1, 0]
