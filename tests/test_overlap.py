"""Planted duplicates are found, and nothing else."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from typer.testing import CliRunner

import zfnb
import zfnb.overlap as overlap_module
from zfnb.data.folders import folder_dataset
from zfnb.data.scenes import background
from zfnb.errors import BadInput, BadPicture
from zfnb.overlap import SMALL, candidates, normalised, overlap, thumbnails


class Pictures:
    name = "pictures"

    def __init__(self, pictures):
        self.pictures = pictures

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        if self.pictures[index] is None:
            raise BadPicture("it is damaged")
        return self.pictures[index], 0


@pytest.fixture(scope="module")
def scenes():
    """24 scenes, each another stamp on another background."""
    dataset = zfnb.load_dataset("scenes", "train", per_stamp=1)
    return [dataset[i][0] for i in range(0, 120, 5)]


def recompressed(picture, quality=30):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue()))


CHANGES = {
    "same": lambda p: p,
    "smaller": lambda p: p.resize((120, 120)),
    "larger": lambda p: p.resize((400, 400), Image.Resampling.BICUBIC),
    "recompressed": recompressed,
    "brighter": lambda p: ImageEnhance.Brightness(p).enhance(1.1),
    "less contrast": lambda p: ImageEnhance.Contrast(p).enhance(0.8),
    "scaled and recompressed": lambda p: recompressed(p.resize((90, 90)), 50),
}


@pytest.mark.parametrize("change", CHANGES)
def test_planted_duplicates_are_found(scenes, change):
    known = scenes[:16]
    tested = [*scenes[16:], CHANGES[change](known[3]), CHANGES[change](known[11])]
    found = overlap(Pictures(known), Pictures(tested))
    assert {(pair.known, pair.tested) for pair in found} == {(3, 8), (11, 9)}
    assert all(0.95 <= pair.correlation <= 1.0001 and not pair.flipped for pair in found)
    assert found[0].correlation >= found[1].correlation


def test_mirror_images_are_found_on_request(scenes):
    tested = [*scenes[16:], ImageOps.mirror(scenes[3]), scenes[5]]
    plain = overlap(Pictures(scenes[:16]), Pictures(tested))
    both = overlap(Pictures(scenes[:16]), Pictures(tested), flips=True)
    assert {(pair.known, pair.tested) for pair in plain} == {(5, 9)}
    assert {(pair.known, pair.tested, pair.flipped) for pair in both} == {
        (5, 9, False), (3, 8, True),
    }  # fmt: skip


def test_another_colour_is_another_picture():
    """Grey values alike, red and green exchanged: the check tells them apart."""
    grey = np.asarray(background("noise", 1, 64).convert("L"), dtype=float)
    hue = np.asarray(background("noise", 2, 64).convert("L"), dtype=float)
    hue = 120 * (hue - hue.mean()) / np.abs(hue - hue.mean()).max()
    # Grey is 0.299 R + 0.587 G + 0.114 B, so this leaves it as it is.
    both = [
        Pictures([Image.fromarray(np.stack([r, g, grey], 2).clip(0, 255).astype(np.uint8))])
        for r, g in (
            (grey + 0.587 * hue, grey - 0.299 * hue),
            (grey - 0.587 * hue, grey + 0.299 * hue),
        )
    ]
    vectors = [thumbnails(one)[0][0] for one in both]
    assert vectors[0] @ vectors[1] > 0.95
    assert overlap(*both) == [] and len(overlap(both[0], both[0])) == 1


def test_even_and_unreadable_pictures_are_left_out(scenes):
    even = Image.new("RGB", (50, 50), (200, 200, 200))
    with pytest.warns(UserWarning, match="it is damaged"):
        found = overlap(Pictures([even, scenes[0], None]), Pictures([even, None, scenes[0]]))
    assert [(pair.known, pair.tested) for pair in found] == [(1, 2)]
    with pytest.raises(BadInput, match="no picture that can be compared"):
        overlap(Pictures([even]), Pictures(scenes[:2]))


def test_candidates_are_all_pairs_above_the_limit(monkeypatch):
    monkeypatch.setattr("zfnb.overlap.BLOCK", 7)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(20, 5)), rng.normal(size=(31, 5))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    found = {tuple(pair) for pair in candidates(a, b, 0.6).tolist()}
    assert found == {(i, j) for i in range(20) for j in range(31) if a[i] @ b[j] >= 0.6}
    assert len(found) > 5


def test_thumbnails_correlate_as_numpy_says(scenes):
    vectors, items = thumbnails(Pictures(scenes), items=[4, 9, 2])
    assert items.tolist() == [4, 9, 2] and vectors.shape == (3, SMALL * SMALL)
    small = [
        np.asarray(scenes[i].resize((SMALL, SMALL), Image.Resampling.BOX).convert("L"), float)
        for i in (4, 9)
    ]
    wanted = np.corrcoef(small[0].ravel(), small[1].ravel())[0, 1]
    assert vectors[0] @ vectors[1] == pytest.approx(wanted, abs=1e-5)


def test_an_offset_of_a_channel_is_no_difference():
    picture = np.clip(np.asarray(background("noise", 1, 64), dtype=int), 20, 200)
    shifted = (picture + np.array([30, 0, 10])).astype(np.uint8)
    a, b = (normalised(p.astype(np.uint8), 16, "RGB") for p in (picture, shifted))
    assert a @ b == pytest.approx(1, abs=1e-3)


def test_a_low_threshold_counts_all_that_are_a_little_alike(scenes):
    found = overlap(Pictures(scenes[:4]), Pictures(scenes[:4]), threshold=0.04)
    assert {(pair.known, pair.tested) for pair in found} >= {(n, n) for n in range(4)}
    assert all(pair.correlation >= 0.04 for pair in found)


def test_refusals(scenes):
    for options in ({"threshold": 0}, {"threshold": 1.5}, {"search": 0.0}):
        with pytest.raises(BadInput, match=f"{next(iter(options))} must be in"):
            overlap(Pictures(scenes[:1]), Pictures(scenes[:1]), **options)


def test_the_command_prints_pairs(scenes, tmp_path, monkeypatch, capsys):
    for name, pictures in (("a", scenes[:6]), ("b", [scenes[8], ImageOps.mirror(scenes[4])])):
        for number, picture in enumerate(pictures):
            path = tmp_path / name / "all" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
    asked = []

    def opened(name, split, root):
        asked.append((name, split))
        return folder_dataset(tmp_path / ("b" if name == "voc2012" else name))

    monkeypatch.setattr(overlap_module, "load_dataset", opened)
    plain = CliRunner().invoke(overlap_module.app, ["a", "b"])
    assert plain.exit_code == 0 and plain.stdout == ""
    assert "0 of the 2 pictures of b (train) are also among the 6 of a (train)." in plain.stderr
    assert CliRunner().invoke(overlap_module.app, ["a", "voc2012"]).exit_code == 0
    assert CliRunner().invoke(overlap_module.app, ["a", "b", "--split", "test"]).exit_code == 0
    assert asked[1::2] == [("b", "train"), ("voc2012", "val"), ("b", "test")]  # val: Table 6's
    assert {split for _, split in asked[::2]} == {"train"}
    results = tmp_path / "new" / "overlap.json"
    words = ["a", "b", "--flips", "--results", str(results)]
    turned = CliRunner().invoke(overlap_module.app, words)
    (line,) = turned.stdout.splitlines()
    correlation, known, tested, how = line.split("\t")
    assert (how, float(correlation)) == ("mirrored", pytest.approx(1, abs=0.01))
    assert "4.png" in known and "1.png" in tested
    assert "1 of the 2 pictures" in turned.stderr
    kept = json.loads(results.read_text())
    assert kept["in_both"] == 1 and kept["tested"] == {"name": "b", "split": "train", "pictures": 2}
    (pair,) = kept["pairs"]
    assert (pair["known"], pair["tested"], pair["mirrored"]) == (known, tested, True)
    again = "python -m zfnb.overlap a b --threshold 0.95 --split train --flips"
    assert kept["measured"]["command"] == again and str(tmp_path) not in results.read_text()
    assert overlap_module.kept(results) == kept
    results.write_text("{}")
    with pytest.raises(BadInput, match=r"overlap\.json is damaged"):
        overlap_module.kept(results)

    monkeypatch.setattr("sys.argv", ["overlap", "a", "b", "--threshold", "2"])
    with pytest.raises(SystemExit) as left:
        overlap_module.main()
    assert left.value.code == 2 and "threshold must be" in capsys.readouterr().err


def test_words_name_the_split():
    content = {"known": {"name": "x", "split": "train", "pictures": 2000}, "in_both": 3}
    content["tested"] = {"name": "y", "split": "val", "pictures": 9}
    assert overlap_module.in_words(content) == (
        "3 of the 9 pictures of y (val) are also among the 2,000 of x (train)."
    )


def test_what_is_kept():
    content = overlap_module.kept()
    assert len({pair["tested"] for pair in content["pairs"]}) == content["in_both"]
    assert "of the 8,677 pictures of caltech101" in overlap_module.in_words(content)
