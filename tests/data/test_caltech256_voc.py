"""Caltech-256 and PASCAL VOC 2012, on small copies of their exact layouts."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.data.test_datasets import picture
from zfnb import load_model, transfer_cli, transfer_setups
from zfnb.compat import torchvision
from zfnb.data import check, describe, fetch, load_dataset
from zfnb.data.voc import CLASSES, Voc2012
from zfnb.errors import BadInput, MissingData, UnknownName
from zfnb.transfer_setups import voc_rows
from zfnb.transfer_tables import kept
from zfnb.weights import save_weights

# ---------------------------------------------------------------- Caltech-256


@pytest.fixture
def caltech256(tmp_path):
    base = tmp_path / "caltech256" / "256_ObjectCategories"
    classes = {"001.ak47": 3, "002.american-flag": 2, "003.dog": 4}
    for name, count in classes.items():
        for i in range(count):
            picture(base / name / f"{name[:3]}_{i + 1:04d}.jpg", 20 * i)
    # What the real archive holds besides: a stray folder, a stray file, the clutter class.
    picture(base / "003.dog" / "greg" / "vision309.jpg")
    (base / "002.american-flag" / "RENAME2").write_text("x")
    return tmp_path


def test_caltech256_is_torchvisions(caltech256):
    ours, theirs = load_dataset("caltech256", root=caltech256), None
    theirs = torchvision.datasets.Caltech256(caltech256)
    assert ours.targets == theirs.y and len(ours) == len(theirs) == 9
    assert [f"{n}" for n in ours.classes] == ["ak47", "american-flag", "dog"]
    assert [name.partition(".")[2] for name in theirs.categories] == ours.classes
    for i in range(9):
        np.testing.assert_array_equal(ours[i][0], theirs[i][0])
    assert ours.key(3) == "002.american-flag/002_0001.jpg"


def test_the_clutter_class_is_left_out(caltech256):
    base = caltech256 / "caltech256" / "256_ObjectCategories"
    picture(base / "257.clutter" / "257_0001.jpg")
    assert load_dataset("caltech256", "all", caltech256).classes == ["ak47", "american-flag", "dog"]


def test_caltech256_faults(caltech256):
    with pytest.raises(UnknownName, match="all, train"):
        load_dataset("caltech256", "test", caltech256)
    (caltech256 / "caltech256" / "256_ObjectCategories" / "004.cat").mkdir()
    with pytest.warns(UserWarning, match=r"without a picture .*: 004\.cat"):
        dataset = load_dataset("caltech256", root=caltech256)
    assert dataset.classes[3] == "cat" and 3 not in dataset.targets
    for path in (caltech256 / "caltech256" / "256_ObjectCategories").rglob("*.jpg"):
        path.unlink()
    with pytest.raises(MissingData, match="holds no picture"):
        load_dataset("caltech256", root=caltech256)


# ---------------------------------------------------------------- VOC 2012

XML = """<annotation>
  <folder>VOC2012</folder><filename>{name}.jpg</filename>
  <size><width>50</width><height>40</height><depth>3</depth></size>
  {objects}
</annotation>"""
OBJECT = """<object><name>{name}</name><pose>Left</pose><truncated>0</truncated>
  <difficult>{difficult}</difficult><bndbox><xmin>{left}</xmin><ymin>3</ymin><xmax>20</xmax>
  <ymax>30</ymax></bndbox><part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax>
  <ymax>5</ymax></bndbox></part></object>"""

# name -> what it holds: class and whether it is difficult
PICTURES = {
    "train": {
        "2008_000008": [("horse", 0), ("person", 0)],
        "2008_000015": [("bottle", 1)],
        "2008_000019": [("person", 1), ("person", 0), ("cat", 0)],
        **{f"2009_{i:06d}": [(name, 0)] for i, name in enumerate(CLASSES)},
    },
    "val": {f"2010_{i:06d}": [(name, 0), ("dog", 1)] for i, name in enumerate(CLASSES)},
}


@pytest.fixture
def voc(tmp_path):
    base = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (base / folder).mkdir(parents=True)
    for number, (name, objects) in enumerate((PICTURES["train"] | PICTURES["val"]).items()):
        picture(base / "JPEGImages" / f"{name}.jpg", number, (50, 40))
        text = "".join(OBJECT.format(name=n, difficult=d, left="2.6") for n, d in objects)
        (base / "Annotations" / f"{name}.xml").write_text(XML.format(name=name, objects=text))
    both = PICTURES["train"] | PICTURES["val"]
    for split, pictures in (*PICTURES.items(), ("trainval", both)):
        (base / "ImageSets/Main" / f"{split}.txt").write_text("".join(f"{n}\n" for n in pictures))
        for name in CLASSES:
            lines = []
            for file, objects in pictures.items():
                own = [difficult for held, difficult in objects if held == name]
                label = -1 if not own else (0 if all(own) else 1)
                lines.append(f"{file} {label:2d}\n")
            (base / "ImageSets/Main" / f"{name}_{split}.txt").write_text("".join(lines))
    return tmp_path


def test_voc_labels(voc):
    train = load_dataset("voc2012", "train", voc)
    assert train.labels.shape == (23, 20) and train.labels.dtype == np.int8
    assert train.classes == list(CLASSES) and len(CLASSES) == 20
    horse, person, bottle, cat = (CLASSES.index(n) for n in ("horse", "person", "bottle", "cat"))
    assert np.flatnonzero(train.labels[0] == 1).tolist() == [horse, person]
    assert train.labels[1, bottle] == 0 and (np.delete(train.labels[1], bottle) == -1).all()
    assert train.labels[2, person] == 1 and train.labels[2, cat] == 1  # one is not difficult
    assert train.targets[:3] == [horse, bottle, cat]
    assert train.targets[3:] == list(range(20))
    assert train[0][0].size == (50, 40) and train.key(0) == "JPEGImages/2008_000008.jpg"
    val, both = load_dataset("voc2012", "val", voc), load_dataset("voc2012", "trainval", voc)
    assert np.array_equal(both.labels, np.concatenate([train.labels, val.labels]))


def test_voc_pictures_are_torchvisions(voc):
    ours = load_dataset("voc2012", "train", voc)
    theirs = torchvision.datasets.VOCDetection(voc, "2012", "train")
    assert len(ours) == len(theirs)
    for i in (0, 5, 22):
        np.testing.assert_array_equal(ours[i][0], theirs[i][0])


def test_the_fingerprint_follows_the_labels(voc):
    before = load_dataset("voc2012", "train", voc).fingerprint()
    path = voc / "VOCdevkit/VOC2012/ImageSets/Main/person_train.txt"
    path.write_text(path.read_text().replace("2008_000015 -1", "2008_000015  1"))
    assert load_dataset("voc2012", "train", voc).fingerprint() != before


def test_a_broken_annotation_does_no_harm(voc):
    """Labels are those of the lists; the boxes are not needed to classify."""
    before = [load_dataset("voc2012", split, voc) for split in ("train", "val", "trainval")]
    folder = voc / "VOCdevkit" / "VOC2012" / "Annotations"
    (folder / "2008_000008.xml").write_text("<annotation><object><name>hor")
    (folder / "2008_000015.xml").write_bytes(b"\x00\xff\xfe")
    (folder / "2008_000019.xml").unlink()
    for old in before:
        new = load_dataset("voc2012", old.split, voc)
        assert np.array_equal(new.labels, old.labels) and new.targets == old.targets
        assert new.fingerprint() == old.fingerprint()
    assert check("voc2012", voc).ok


def test_missing_files(voc):
    base = voc / "VOCdevkit" / "VOC2012"
    (base / "JPEGImages/2008_000015.jpg").unlink()
    with pytest.raises(MissingData, match=r"1 pictures of VOC 2012, such as 2008_000015\.jpg"):
        load_dataset("voc2012", "train", voc)
    load_dataset("voc2012", "val", voc)
    (base / "ImageSets/Main/sofa_val.txt").unlink()
    with pytest.raises(MissingData, match=r"sofa_val\.txt"):
        load_dataset("voc2012", "val", voc)


def test_damaged_lists(voc):
    path = voc / "VOCdevkit/VOC2012/ImageSets/Main/sofa_train.txt"
    text = path.read_text()
    path.write_text(text.replace("2008_000008 -1", "2008_000008 7"))
    with pytest.raises(BadInput, match="'2008_000008 7'"):
        load_dataset("voc2012", "train", voc)
    path.write_bytes(text.encode().replace(b"2008_000008 -1", b"2008_000008 \xff"))
    with pytest.raises(BadInput, match="has the line '2008_000008 "):
        load_dataset("voc2012", "train", voc)
    path.write_text("\n".join(text.splitlines()[1:]))
    with pytest.raises(BadInput, match=r"sofa_train\.txt lists other pictures"):
        load_dataset("voc2012", "train", voc)
    path.write_text("\n")
    with pytest.raises(BadInput, match="lists no picture"):
        load_dataset("voc2012", "train", voc)


def test_an_empty_class_is_said(voc):
    path = voc / "VOCdevkit/VOC2012/ImageSets/Main/sofa_train.txt"
    path.write_text(path.read_text().replace("  1", " -1").replace(" 1", " -1"))
    with pytest.warns(UserWarning, match="No picture of VOC 2012 train holds: sofa"):
        load_dataset("voc2012", "train", voc)


# ---------------------------------------------------------------- Table 6


@pytest.mark.filterwarnings("ignore:The number of unique classes")  # so few pictures
def test_a_run_measures_table_6_as_the_command_does(voc, small_zfnet, tmp_path):
    base = voc / "VOCdevkit/VOC2012"
    (base / "JPEGImages/2009_000000.jpg").write_bytes(b"no picture")  # of train, an aeroplane
    save_weights(small_zfnet, tmp_path / "small.safetensors")
    words = ["table6", "--network", f"zfnet:{tmp_path / 'small.safetensors'}", "--root", str(voc)]
    words += ["--cache", str(tmp_path / "kept"), "--results", str(tmp_path / "table6.json")]
    with pytest.warns(UserWarning, match="1 of 43 pictures of voc2012 could not be read"):
        done = CliRunner().invoke(transfer_cli.app, words)
    assert done.exit_code == 0, done.output
    net = load_model("zfnet", weights=tmp_path / "small.safetensors")
    rows = voc_rows(net, root=voc, folder=tmp_path / "kept")
    assert rows == kept("table6", tmp_path / "table6.json")["runs"][0]["rows"]
    assert [row["classifier"] for row in rows] == ["svm", "softmax"]
    for row in rows:
        assert (row["layer"], row["train_pictures"], row["test_pictures"]) == (7, 22, 20)
        values = row["average_precision"]
        assert list(values) == list(CLASSES)
        # Its one training picture is broken. All others are in both parts.
        assert [name for name in CLASSES if values[name] is None] == ["aeroplane"]
        assert 0 < row["mean"] < 100


def test_table_6_says_what_is_missing_before_the_work(small_zfnet, tmp_path, voc, monkeypatch):
    monkeypatch.delattr(transfer_setups, "layer_features")
    for root in (None, tmp_path / "empty"):
        with pytest.raises(MissingData, match="zfnb data fetch voc2012"):
            voc_rows(small_zfnet, root=root)
    with pytest.raises(UnknownName, match="kind of classifier 'sofmax'"):
        voc_rows(small_zfnet, ["softmax", "sofmax"], root=voc)


# ---------------------------------------------------------------- the catalogue


def test_both_are_in_the_catalogue(voc, caltech256):
    entries = {entry.name: entry for entry in describe(voc)}
    assert entries["voc2012"].present and entries["caltech256"].present  # one tmp_path
    assert check("voc2012", voc).counts == {"train": 23, "val": 20, "trainval": 43}
    assert check("caltech256", caltech256).counts == {"all": 9}
    assert fetch("voc2012", voc).name == "VOC2012"
    assert fetch("caltech256", voc).name == "256_ObjectCategories"


def test_check_opens_and_names_each_picture_of_voc_once(voc, monkeypatch):
    (voc / "VOCdevkit/VOC2012/JPEGImages/2008_000008.jpg").write_bytes(b"no picture")
    opened = []
    real = Voc2012.picture
    monkeypatch.setattr(Voc2012, "picture", lambda self, i: opened.append(i) or real(self, i))
    report = check("voc2012", voc)
    assert len(report.bad) == 1 and "2008_000008.jpg" in report.bad[0]
    assert len(opened) == 43
    assert report.counts == {"train": 23, "val": 20, "trainval": 43}


@pytest.mark.parametrize("name", ["caltech256", "voc2012"])
def test_absent_data_say_what_to_do(name, tmp_path):
    for root in (None, tmp_path):
        with pytest.raises(MissingData, match=f"zfnb data fetch {name}") as caught:
            load_dataset(name, root=root)
        assert "ZFNB_DATA" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "theirs", "arguments", "inside"),
    [
        ("caltech256", "Caltech256", (), "caltech256/256_ObjectCategories"),
        ("voc2012", "VOCDetection", ("2012", "trainval"), "VOCdevkit/VOC2012"),
    ],
)
def test_torchvision_downloads_them(name, theirs, arguments, inside, tmp_path, monkeypatch):
    asked = []

    def unpack(root, *args, **options):
        asked.append((args, options))
        picture(root / inside / "a" / "1.jpg")

    monkeypatch.setattr(torchvision.datasets, theirs, unpack)
    assert fetch(name, tmp_path) == tmp_path / inside
    assert asked == [(arguments, {"download": True})]

    def fail(*args, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets, theirs, fail)
    with pytest.raises(MissingData, match="no route to host"):
        fetch(name, tmp_path / "elsewhere")
