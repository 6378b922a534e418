"""The panel for masks of one's own, without a kernel: setting a value moves a control."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import zfnb
from zfnb import widgets_correspondence
from zfnb.correspondences import mean_and_spread, sign_change
from zfnb.errors import BadInput, UnknownName
from zfnb.face_marks import Framed
from zfnb.random_masks import box_masks
from zfnb.widgets_correspondence import MaskPanel

PNG = b"\x89PNG\r\n"


@pytest.fixture
def faces(noise):
    eye = np.array([(10 + n, 8, 22 + n, 22) for n in range(3)])
    nose = np.array([(35, 20 + n, 50, 36 + n) for n in range(3)])
    parts = [np.array(boxes) for boxes in zip(eye, nose, strict=True)]
    box = np.tile([2, 2, 62, 62], (3, 1))
    return Framed(["a/x", "a/y", "a/z"], noise(3, 64), {"eye": eye, "nose": nose}, box, parts)


@pytest.fixture
def panel(small_zfnet, faces):
    return MaskPanel(small_zfnet, faces, draws=2)


def test_it_starts_on_the_part(panel, small_zfnet, faces):
    assert bytes(panel.picture.value).startswith(PNG) and panel.error is None
    assert np.array_equal(panel.boxes(), faces.boxes["eye"])
    expected = zfnb.correspondence(
        small_zfnet, faces.images, box_masks(faces.boxes["eye"], 64), ["conv5", "fc7"]
    )
    assert panel.values()["these masks"] == pytest.approx(expected.mean["conv5"])
    panel.controls["layer"].value = "fc7"
    assert panel.values()["these masks"] == pytest.approx(expected.mean["fc7"])
    panel.controls["zero"].value = "left out"
    signs = torch.stack([panel._signs(n, tuple(b), "fc7") for n, b in enumerate(panel.boxes())])
    expected = mean_and_spread(sign_change(signs, "left out"))[0]
    assert panel.values()["these masks"] == pytest.approx(expected)


def test_random_masks_are_fixed_and_off_the_parts(panel, small_zfnet, faces, monkeypatch):
    before = panel.values()["random masks"]
    seen = []
    real = widgets_correspondence.random_boxes

    def spy(*args, **options):
        seen.append(real(*args, **options))
        return seen[-1]

    monkeypatch.setattr(widgets_correspondence, "random_boxes", spy)
    panel.controls["row"].value = 30
    assert panel.values()["random masks"] == before and not seen  # of the same size: kept
    panel.controls["size"].value = 60
    assert len(seen) == 1 and seen[0].shape == (2, 3, 4)
    masks = box_masks(seen[0], 64)
    parts = torch.stack([box_masks(p, 64).any(0) for p in faces.all_parts])
    assert not (masks & parts).any()
    random = [
        zfnb.correspondence(small_zfnet, faces.images, m, "conv5").mean["conv5"] for m in masks
    ]
    assert panel.values()["random masks"] == pytest.approx(np.mean(random))


def test_sliders_move_the_chosen_picture_only(panel, faces):
    first = bytes(panel.picture.value)
    panel.controls["row"].value = 40
    assert panel.boxes()[0].tolist() == [34, 8, 46, 22]
    assert np.array_equal(panel.boxes()[1:], faces.boxes["eye"][1:])
    assert bytes(panel.picture.value) != first
    panel.controls["picture"].value = 2
    assert panel.controls["row"].value == 18  # the middle of its own mask
    assert panel.boxes()[0].tolist() == [34, 8, 46, 22]  # the first stays where it was put
    panel.controls["column"].value = 50
    assert panel.boxes()[2].tolist() == [12, 43, 24, 57]
    panel.controls["picture"].value = 0
    assert (panel.controls["row"].value, panel.controls["column"].value) == (40, 15)


def test_a_part_puts_all_masks_back(panel, faces):
    panel.controls["row"].value = 40
    panel.controls["part"].value = "nose"
    assert np.array_equal(panel.boxes(), faces.boxes["nose"])
    assert panel.controls["row"].value == 42
    panel.controls["part"].value = "eye"
    assert np.array_equal(panel.boxes(), faces.boxes["eye"])


@pytest.mark.parametrize(
    ("name", "value"), [("part", "nose"), ("picture", 1), ("row", 50), ("size", 150)]
)
def test_one_change_draws_once(panel, monkeypatch, name, value):
    drawn = []
    real = panel._draw
    monkeypatch.setattr(panel, "_draw", lambda: drawn.append(1) or real())
    panel.controls[name].value = value
    assert len(drawn) == 1


def test_only_the_moved_picture_runs_again(panel, monkeypatch):
    run = []
    real = widgets_correspondence.changes

    def counted(net, images, masks, layers):
        run.append(len(images))
        return real(net, images, masks, layers)

    monkeypatch.setattr(widgets_correspondence, "changes", counted)
    panel.controls["column"].value = 33
    assert run == [1]
    panel.controls["zero"].value = "half"
    assert run == [1]


def test_a_mask_at_the_border_is_cut_off(panel):
    panel.controls["row"].value, panel.controls["column"].value = 0, 63
    assert panel.boxes()[0].tolist() == [0, 56, 6, 64]
    assert panel.error is None


def test_masks_too_large_for_random_places_are_a_sentence(panel):
    panel.controls["part"].value = "nose"
    before = bytes(panel.picture.value)
    panel.controls["size"].value = 250
    assert isinstance(panel.error, BadInput) and "no place" in panel.message.value
    assert bytes(panel.picture.value) == before
    panel.controls["size"].value = 100
    assert panel.error is None and panel.message.value == ""


def test_what_is_refused(small_zfnet, faces):
    one = Framed(["a"], faces.images[:1], {"eye": faces.boxes["eye"][:1]}, faces.face[:1], [])
    with pytest.raises(BadInput, match="at least two faces"):
        MaskPanel(small_zfnet, one)
    with pytest.raises(UnknownName, match="part 'ear'"):
        MaskPanel(small_zfnet, faces, part="ear")
    with pytest.raises(UnknownName, match="layer 'conv6'"):
        MaskPanel(small_zfnet, faces, layers=("conv6",))
