"""Which pictures can be drawn: found once, and again when a file changes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image

from zfnb import usable as module
from zfnb.data.folders import folder_dataset
from zfnb.errors import BadInput
from zfnb.usable import check_readable, usable


@pytest.fixture
def folder(tmp_path):
    for i in range(6):
        path = tmp_path / "data" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (i, 0, 0)).save(path)
    return tmp_path / "data"


@pytest.fixture
def looks(monkeypatch):
    """How many pictures are opened each time."""
    seen, look = [], module.unreadable

    def counted(dataset, workers, items):
        seen.append(len(dataset) if items is None else len(items))
        return look(dataset, workers, items=items)

    monkeypatch.setattr(module, "unreadable", counted)
    return seen


def test_pictures_are_opened_once(folder, tmp_path, looks):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            assert usable(folder_dataset(folder), tmp_path / "kept").tolist() == [True] * 6
    assert looks == [6]
    (folder / "a" / "2.png").write_bytes(b"no picture")
    (folder / "b" / "5.png").write_bytes((folder / "b" / "5.png").read_bytes()[:40])
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"2 of 6 pictures of folder .*2\.png"):
            found = usable(folder_dataset(folder), tmp_path / "kept")
        assert found.tolist() == [True, False, True, True, True, False]
    assert looks == [6, 6, 2]


def test_a_picture_that_was_mended_is_drawn_though_its_size_is_the_same(folder, tmp_path, looks):
    path = folder / "a" / "2.png"
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)))  # a copy that was begun
    with pytest.warns(UserWarning, match="1 of 6 pictures"):
        assert not usable(folder_dataset(folder), tmp_path / "kept")[1]
    path.write_bytes(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            assert usable(folder_dataset(folder), tmp_path / "kept").all()
    assert looks == [6, 1]


@pytest.mark.parametrize("text", ["{", "[]", '{"a": "b"}', '{"6": "there is no such picture"}'])
def test_a_damaged_note_is_made_again(folder, tmp_path, looks, text):
    usable(folder_dataset(folder), tmp_path / "kept")
    (path,) = (tmp_path / "kept").iterdir()
    path.write_text(text)
    assert usable(folder_dataset(folder), tmp_path / "kept").all()
    assert len(looks) == 2 and path.read_text() == "{}"


def test_it_is_kept_in_the_cache(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("ZFNB_CACHE", str(tmp_path / "cache"))
    assert usable(folder_dataset(folder)).dtype == np.bool_
    assert len(list((tmp_path / "cache" / "usable").iterdir())) == 1


def test_unreadable_pictures_are_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("ZFNB_CACHE", str(tmp_path / "cache"))
    check_readable(folder_dataset(folder), np.arange(6))
    (folder / "a" / "2.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match="1 of 6"):
        check_readable(folder_dataset(folder), np.array([0, 2, 3]))  # not the damaged one
        with pytest.raises(BadInput, match=r"1 of the 3 pictures to be tested .* a/2\.png;"):
            check_readable(folder_dataset(folder), np.array([0, 1, 3]))
