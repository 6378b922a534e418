"""The marks lie where the files say, in the file's pixels and in those of a network's input."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from zfnb import face_marks
from zfnb.data import all_stamps
from zfnb.data.pictures import MATTE, Preprocessing
from zfnb.errors import BadInput, MissingData, UnknownName
from zfnb.face_marks import PAPERS, PARTS, SETS, Face, framed, in_face, in_picture, marked_faces
from zfnb.models import Network
from zfnb.paths import embedded


def network(size: int = 60, resize: int | None = None) -> Network:
    """What it does to features does not matter here; it sees `size` pixels, in units of [0, 1]."""
    plain = Preprocessing(resize=resize or size, crop=size, mean=(0, 0, 0), std=(1, 1, 1))
    layers = {"conv1": torch.nn.Sequential(torch.nn.Conv2d(3, 1, 1), torch.nn.ReLU())}
    return Network(layers, name="small", input_size=size, preprocessing=plain, weights="by hand")


@pytest.fixture
def face(tmp_path):
    """A black picture, 100 high and 160 wide, with the parts in colours, and marks to match."""
    values = np.zeros((100, 160, 3), dtype=np.uint8)
    marks = {"right eye": (30, 60, 10, 12), "left eye": (32, 90, 10, 12), "nose": (52, 75, 14, 16)}
    for channel, (row, column, height, width) in enumerate(marks.values()):
        rows = slice(row - height // 2, row + height // 2)
        values[rows, column - width // 2 : column + width // 2, channel] = 255
    path = tmp_path / "face.png"
    Image.fromarray(values).save(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Face("face.png", path, sha256, (100, 160), (10, 40, 70, 110), marks)


# ---------------------------------------------------------------- the files


@pytest.mark.parametrize("name", SETS)
def test_the_marks_make_sense(name):
    """Inside the face and the file; right eye left of the left one, eyes above the nose above the
    mouth; the parts do not cover each other by more than an edge."""
    content = json.loads(embedded("data", "marks", f"{name}.json").read_text())
    assert len(content["faces"]) == int(SETS[name].split()[0])
    assert len({row["sha256"] for row in content["faces"]}) == len(content["faces"])
    for row in content["faces"]:
        assert set(PAPERS) <= set(row["parts"]) <= set(PARTS)
        box, parts = row["face"], row["parts"]
        assert 0 <= box["top"] < box["bottom"] <= row["height"]
        assert 0 <= box["left"] < box["right"] <= row["width"]
        covered = np.zeros((row["height"], row["width"]), dtype=int)
        for mark in parts.values():
            top, left = mark["row"] - mark["height"] / 2, mark["column"] - mark["width"] / 2
            bottom, right = top + mark["height"], left + mark["width"]
            assert box["top"] <= top and bottom <= box["bottom"]
            assert box["left"] <= left and right <= box["right"]
            covered[int(top + 0.5) : int(bottom + 0.5), int(left + 0.5) : int(right + 0.5)] += 1
        assert (covered > 1).sum() <= 0.05 * (covered > 0).sum()
        right_eye, left_eye, nose = (parts[part] for part in PAPERS)
        assert right_eye["column"] < nose["column"] < left_eye["column"]
        assert max(right_eye["row"], left_eye["row"]) < nose["row"]
        assert nose["row"] < parts.get("mouth", {"row": 1e9})["row"]


def test_stamps_are_the_embedded_ones():
    faces = marked_faces("stamps")
    assert len(faces) == 7
    for one in faces:
        stamp = all_stamps()[one.name]
        assert (one.path, one.sha256) == (stamp.path, stamp.sha256)
        picture = one.picture()
        assert picture.mode == "RGB" and picture.size == one.size[::-1]
    with_mouth = {one.name for one in marked_faces("stamps", parts=PARTS)}
    assert with_mouth == {one.name for one in faces} - {"bird/owl", "other/edward-bear"}


def test_eyes_are_darker_than_what_is_around_them():
    """A check by the pixels that marks are not off: in most, the mark holds something dark."""
    darker = []
    for one in marked_faces("stamps"):
        grey = np.asarray(one.picture().convert("L"), dtype=float)
        top, left, bottom, right = one.box
        for part in ("right eye", "left eye"):
            row, column, height, width = map(int, one.parts[part])
            inside = grey[
                row - height // 2 : row + height // 2, column - width // 2 : column + width // 2
            ]
            darker.append(inside.min() < np.percentile(grey[top:bottom, left:right], 25))
    assert np.mean(darker) > 0.8


def test_caltech_needs_its_pictures(tmp_path):
    with pytest.raises(MissingData, match="ZFNB_DATA"):
        marked_faces("cougars")
    folder = tmp_path / "caltech101" / "101_ObjectCategories"
    folder.mkdir(parents=True)
    faces = marked_faces("cougars", tmp_path)
    assert len(faces) == 16
    with pytest.raises(MissingData, match="is missing"):
        faces[0].picture()
    path = folder / faces[0].name
    path.parent.mkdir()
    Image.new("RGB", (300, 278)).save(path)
    with pytest.raises(MissingData, match="not the file that was marked"):
        faces[0].picture()


def test_unknown_names(face):
    with pytest.raises(UnknownName, match="'cougars'"):
        marked_faces("cougar")
    with pytest.raises(UnknownName, match="left eye"):
        marked_faces("stamps", parts=["left ear"])
    with pytest.raises(UnknownName, match="'face'"):
        framed([face], network(), frame="fase")
    with pytest.raises(BadInput, match="no mark for its mouth"):
        framed([face], network(), parts=PARTS)
    with pytest.raises(BadInput, match="no face"):
        framed([], network())


def test_no_marks_at_all(monkeypatch, tmp_path):
    monkeypatch.setattr(face_marks, "embedded", lambda *parts: tmp_path.joinpath(*parts))
    with pytest.raises(MissingData, match="install zfnb again"):
        marked_faces("stamps")


# ---------------------------------------------------------------- as a network sees them


def test_the_square_around_a_face_by_hand(face):
    """Face 60 x 70: side ceil(1.15 * 70) = 81, about (40, 75), so rows 0 .. 80, columns 34 .. 114
    (0.5 too far up is rounded to even)."""
    image, top, left, scale = in_face(face, network(81))
    assert (top, left, scale) == (0, 34, 1)
    whole = np.asarray(face.picture(), dtype=np.float32) / 255
    assert torch.equal(image, torch.from_numpy(whole[0:81, 34:115].copy()).permute(2, 0, 1))
    ready = framed([face], network(81))
    assert ready.boxes["right eye"].tolist() == [[25, 20, 35, 32]]
    assert ready.boxes["nose"].tolist() == [[45, 33, 59, 49]]
    assert ready.face.tolist() == [[10, 6, 70, 76]]


@pytest.mark.parametrize("frame", ["face", "picture"])
@pytest.mark.parametrize("size", [50, 90, 224])
def test_boxes_follow_the_pixels(face, frame, size):
    """Each box holds its part's colour, and what lies outside of it does not, at any scale."""
    face = replace(face, box=(5, 45, 85, 115))
    ready = framed([face], network(size, round(size * 1.05)), frame=frame)
    for channel, part in enumerate(PAPERS):
        top, left, bottom, right = ready.boxes[part][0]
        colour = ready.images[0, channel]
        inside = colour[top:bottom, left:right]
        assert inside.mean() > 0.8
        outside = colour.sum() - inside.sum()
        assert outside < 0.35 * inside.sum()  # the smoothed edge
    assert len(ready.all_parts[0]) == 3 and ready.names == ["face.png"]


def test_the_square_stays_inside_or_is_filled_with_grey(face):
    at_the_edge = replace(face, box=(0, 100, 60, 160))  # side 69
    image, top, left, _ = in_face(at_the_edge, network(69))
    assert (top, left) == (0, 91) and image.max() <= 1
    large = replace(face, box=(0, 0, 100, 160))  # side 184: more than there is
    image, top, left, _ = in_face(large, network(184))
    assert (top, left) == (-42, -12)
    assert torch.allclose(image[:, 0, 0], torch.tensor(MATTE) / 255)
    assert image[:, 42:142, 12:172].sum() > 0 and (image[:, 60, 12] == 0).all()


def test_a_part_that_the_network_does_not_see(face):
    outside = replace(face, parts={**face.parts, "left eye": (32, 154, 10, 12)})
    assert in_picture(outside, network())[2] > 0  # the centre is cut out of 160 columns
    with pytest.raises(BadInput, match=r"left eye of face.png .* frame='face'"):
        framed([outside], network(), frame="picture")
    assert framed([outside], network(), ("nose",), "picture").boxes["nose"].shape == (1, 4)


def test_the_embedded_faces_in_the_embedded_networks(trunk):
    faces = marked_faces("stamps")
    ready = framed(faces, trunk)
    assert ready.images.shape == (7, 3, 224, 224) and list(ready.boxes) == list(PAPERS)
    for boxes in [*ready.boxes.values(), *ready.all_parts, ready.face]:
        assert boxes.min() >= 0 and boxes.max() <= 224
    areas = [
        np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) / 224**2 for boxes in ready.boxes.values()
    ]
    assert np.min(areas) > 0.005 and np.max(areas) < 0.15
