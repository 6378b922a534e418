"""The datasets by name, on small copies of their exact layouts, and on the real ones."""

import hashlib
import os
import stat
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zfnb import data
from zfnb.compat import torchvision
from zfnb.data import (
    NAMES,
    all_stamps,
    check,
    describe,
    download,
    fetch,
    iterate,
    load_dataset,
    stamps,
    unreadable,
)
from zfnb.errors import BadInput, BadPicture, MissingData, UnknownName, ZfnbError

REAL = Path(os.environ.get("ZFNB_DATA") or "nowhere")


def picture(path, value=0, size=(8, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value % 256, 100, 50)).save(path, quality=95)
    return path


def caltech101(root):
    base = root / "caltech101" / "101_ObjectCategories"
    (base / "BACKGROUND_Google").mkdir(parents=True)
    for name, count in {"Faces": 3, "accordion": 2, "zebra": 1, "Leopards": 12}.items():
        for i in range(count):
            picture(base / name / f"image_{i + 1:04d}.jpg", 10 * i)
    return root


def tiny_imagenet(root):
    base = root / "tiny-imagenet-200"
    synsets = ["n02124075", "n01443537"]  # not sorted, as in the real file
    for synset in synsets:
        rows = []
        for i in range(3):
            picture(base / "train" / synset / "images" / f"{synset}_{i}.JPEG", i, (64, 64))
            rows.append(f"{synset}_{i}.JPEG\t{i}\t10\t40\t50")
        (base / "train" / synset / f"{synset}_boxes.txt").write_text("\n".join(rows) + "\n")
    rows = []
    for i, synset in enumerate(["n01443537", "n02124075", "n02124075", "n01443537"]):
        picture(base / "val" / "images" / f"val_{i}.JPEG", i, (64, 64))
        rows.append(f"val_{i}.JPEG\t{synset}\t{i}\t5\t60\t61")
    (base / "val" / "val_annotations.txt").write_text("\n".join(rows) + "\n")
    (base / "wnids.txt").write_text("\n".join(synsets))
    (base / "words.txt").write_text(
        "n00001740\tentity\nn02124075\tEgyptian cat\nn01443537\tgoldfish, Carassius auratus\n"
    )
    return root


def class_folders(base, splits, synsets, each=2):
    for split in splits:
        for synset in synsets:
            for i in range(each):
                picture(base / split / synset / f"{synset}_{i}.JPEG", i)


# -- caltech101 --------------------------------------------------------------------------------


def test_caltech101_is_torchvisions(tmp_path):
    root = caltech101(tmp_path)
    ours = load_dataset("caltech101", root=root)
    theirs = torchvision.datasets.Caltech101(root)
    assert ours.classes == theirs.categories == ["Faces", "Leopards", "accordion", "zebra"]
    assert ours.targets == theirs.y
    assert len(ours) == 18
    for i in range(len(ours)):
        np.testing.assert_array_equal(ours[i][0], theirs[i][0])
        assert ours[i][1] == theirs[i][1]
    assert ours.key(3) == "Leopards/image_0001.jpg"
    assert ours.group(3) == 3


def test_caltech101_ignores_what_a_computer_leaves_behind(tmp_path):
    base = caltech101(tmp_path) / "caltech101" / "101_ObjectCategories"
    (base / ".DS_Store").write_text("x")
    (base / "zebra" / "._image_0001.jpg").write_text("x")
    (base / "zebra" / "Thumbs.db").write_text("x")
    assert len(load_dataset("caltech101", root=tmp_path)) == 18


def test_a_class_without_a_picture_is_told(tmp_path):
    base = caltech101(tmp_path) / "caltech101" / "101_ObjectCategories"
    (base / "brain").mkdir()
    with pytest.warns(UserWarning, match=r"without a picture .*: brain\.") as caught:
        dataset = load_dataset("caltech101", root=tmp_path)
    assert dataset.classes[3] == "brain" and 3 not in dataset.targets
    assert caught[0].filename == __file__  # it points at who asked for the data


def test_caltech101_splits(tmp_path):
    root = caltech101(tmp_path)
    everything = load_dataset("caltech101", "all", root)
    assert everything.fingerprint() == load_dataset("caltech101", "train", root).fingerprint()
    with pytest.raises(UnknownName, match="all, train"):
        load_dataset("caltech101", "test", root)


def test_the_data_root_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("ZFNB_DATA", str(caltech101(tmp_path)))
    assert len(load_dataset("caltech101")) == 18


# -- tiny-imagenet, imagenette, imagenet -------------------------------------------------------


def test_tiny_imagenet(tmp_path):
    root = tiny_imagenet(tmp_path)
    train, val = (
        load_dataset("tiny-imagenet", root=root),
        load_dataset("tiny-imagenet", "val", root),
    )
    assert train.synsets == val.synsets == ["n01443537", "n02124075"]
    assert train.classes == ["goldfish", "Egyptian cat"]
    assert train.targets == [0, 0, 0, 1, 1, 1]
    assert val.targets == [0, 1, 1, 0]
    assert val[2][0].size == (64, 64)
    np.testing.assert_array_equal(val.boxes[3], (5, 3, 61, 60))  # top, left, bottom, right
    np.testing.assert_array_equal(train.boxes[4], (10, 1, 50, 40))
    theirs = torchvision.datasets.ImageFolder(root / "tiny-imagenet-200" / "train")
    assert theirs.targets == train.targets
    assert [Path(p).name for p, _ in theirs.samples] == [Path(p).name for p in train.files]
    with pytest.raises(UnknownName, match="train, val"):
        load_dataset("tiny-imagenet", "test", root)


def test_damaged_tiny_imagenet(tmp_path):
    base = tiny_imagenet(tmp_path) / "tiny-imagenet-200"
    (base / "words.txt").write_bytes(b"n01443537\nn02124075\tcaf\xe9 cat, tabby\n")
    train = load_dataset("tiny-imagenet", root=tmp_path)
    assert train.classes == ["n01443537", "caf\N{REPLACEMENT CHARACTER} cat"]
    boxes = base / "train" / "n02124075" / "n02124075_boxes.txt"
    lines = boxes.read_text().splitlines()
    boxes.write_text("\n".join([lines[0].rsplit("\t", 1)[0], *lines[1:]]))
    with pytest.raises(BadInput, match=r"n02124075_boxes\.txt has the line .* box of four numbers"):
        _ = train.boxes
    boxes.write_text("\n".join(lines[1:]))
    with pytest.raises(BadInput, match="1 pictures of tiny-imagenet, such as n02124075_0"):
        _ = train.boxes
    (base / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn99999999\t0\t0\t1\t1\n")
    with pytest.raises(BadInput, match=r"val_annotations\.txt"):
        load_dataset("tiny-imagenet", "val", tmp_path)
    (base / "words.txt").unlink()
    with pytest.raises(MissingData, match=r"words\.txt"):
        load_dataset("tiny-imagenet", "val", tmp_path)


def test_imagenette_is_torchvisions(tmp_path):
    from zfnb.data.public import IMAGENETTE

    class_folders(tmp_path / "imagenette2-160", ("train", "val"), IMAGENETTE)
    ours = load_dataset("imagenette", "val", tmp_path)
    theirs = torchvision.datasets.Imagenette(tmp_path, "val", size="160px")
    assert ours.synsets == theirs.wnids
    assert ours.classes == [names[0] for names in theirs.classes]
    assert ours.targets == [theirs[i][1] for i in range(len(theirs))]
    with pytest.raises(MissingData, match="imagenette2-320"):
        load_dataset("imagenette", "val", tmp_path, size="320px")
    with pytest.raises(UnknownName, match="160px"):
        load_dataset("imagenette", root=tmp_path, size="huge")
    class_folders(tmp_path / "imagenette2", ("val",), IMAGENETTE, each=1)
    assert load_dataset("imagenette", "val", tmp_path).root.name == "imagenette2"  # the largest


def test_imagenet(tmp_path):
    synsets = [f"n{i:08d}" for i in range(1000)]
    for synset in synsets:
        (tmp_path / "imagenet" / "val" / synset).mkdir(parents=True)
    picture(tmp_path / "imagenet" / "val" / synsets[7] / "ILSVRC2012_val_00000001.JPEG")
    dataset = load_dataset("imagenet", "val", tmp_path)
    assert dataset.targets == [7]
    assert dataset.classes[7] == "cock"  # torchvision's names, in the order of the synsets
    assert dataset.synsets == synsets
    with pytest.raises(MissingData, match="no folder train"):
        load_dataset("imagenet", "train", tmp_path)


# -- folders -----------------------------------------------------------------------------------


def test_a_folder_of_classes_is_torchvisions(tmp_path):
    for name in ("dogs", "Cats", "birds"):
        for i in range(2):
            picture(tmp_path / name / f"{i}.png", i)
    picture(tmp_path / "dogs" / "more" / "x.PNG")
    ours, theirs = load_dataset("folder", root=tmp_path), torchvision.datasets.ImageFolder(tmp_path)
    assert ours.classes == theirs.classes
    assert ours.targets == theirs.targets
    assert [(tmp_path / f).as_posix() for f in ours.files] == [
        Path(p).as_posix() for p, _ in theirs.samples
    ]
    by_path = load_dataset(str(tmp_path))
    assert by_path.fingerprint() == load_dataset(tmp_path).fingerprint() == ours.fingerprint()


def test_a_flat_folder(tmp_path):
    for name in ("b.jpg", "a.png", "c.webp", ".hidden.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()
    dataset = load_dataset(tmp_path)
    assert dataset.files == ["a.png", "b.jpg", "c.webp"]
    assert dataset.targets == [0, 0, 0]
    assert dataset.classes == [tmp_path.name]
    assert len(dataset) == len(load_dataset(tmp_path, "test"))


def test_split_folders(tmp_path):
    class_folders(tmp_path, ("train", "val"), ("a", "b"), each=1)
    picture(tmp_path / "train" / "a" / "more.png")
    assert len(load_dataset(tmp_path)) == 3
    val = load_dataset(tmp_path, "val")
    assert val.files == ["val/a/a_0.JPEG", "val/b/b_0.JPEG"]
    assert val.classes == ["a", "b"]
    with pytest.raises(UnknownName, match="train, val"):
        load_dataset(tmp_path, "test")


def test_empty_folders_and_classes(tmp_path):
    with pytest.raises(MissingData, match="no picture"):
        load_dataset(tmp_path)
    with pytest.raises(MissingData, match="There is no folder"):
        load_dataset(tmp_path / "nowhere")
    (tmp_path / "cats").mkdir()
    picture(tmp_path / "dogs" / "1.png")
    with pytest.warns(UserWarning, match="without a picture .*: cats"):
        dataset = load_dataset(tmp_path)
    assert dataset.classes == ["cats", "dogs"]
    assert dataset.targets == [1]


def test_links_that_lead_in_a_circle_add_no_picture(tmp_path):
    """Other links are followed, twice to the same folder too."""
    for name in ("data/cat/1.png", "data/dog/2.png", "else/3.png", "else/deep/4.png"):
        picture(tmp_path / name)
    base = tmp_path / "data"
    try:
        (base / "cat" / "again").symlink_to(base, target_is_directory=True)
    except OSError:
        pytest.skip("No links to folders here.")
    (base / "loop").symlink_to(base, target_is_directory=True)
    (base / "dog" / "cats").symlink_to(base / "cat", target_is_directory=True)
    (base / "cat" / "dogs").symlink_to(base / "dog", target_is_directory=True)
    for name in ("one", "two"):
        (base / "dog" / name).symlink_to(tmp_path / "else", target_is_directory=True)
    dataset = load_dataset(base)
    assert dataset.classes == ["cat", "dog"]
    beyond = [f"{name}/{file}" for name in ("one", "two") for file in ("3.png", "deep/4.png")]
    assert dataset.files == [
        *("cat/1.png", "cat/dogs/2.png", *(f"cat/dogs/{file}" for file in beyond)),
        *("dog/2.png", "dog/cats/1.png", *(f"dog/{file}" for file in beyond)),
    ]


def test_a_bad_picture_is_named_when_it_is_asked_for(tmp_path):
    picture(tmp_path / "good.png")
    bad = picture(tmp_path / "bad.png", size=(50, 50))
    bad.write_bytes(bad.read_bytes()[:60])
    dataset = load_dataset(tmp_path)
    assert dataset[1][0].size == (8, 6)
    with pytest.raises(BadPicture, match=r"bad\.png"):
        dataset[0]


def test_the_fingerprint_follows_names_and_sizes_of_the_files(tmp_path):
    for name in ("a/1.png", "b/2.png"):
        picture(tmp_path / name)
    first = load_dataset(tmp_path).fingerprint()
    assert first == load_dataset(tmp_path, transform=np.asarray).fingerprint()
    picture(tmp_path / "b/2.png", size=(30, 30))
    second = load_dataset(tmp_path).fingerprint()
    picture(tmp_path / "b/3.png")
    assert len({first, second, load_dataset(tmp_path).fingerprint()}) == 3


def test_the_fingerprint_does_not_see_other_colours_in_a_file_of_the_same_size(tmp_path):
    """It does not read the pictures; see `FolderDataset.evidence`."""
    size = picture(tmp_path / "a/1.bmp", value=10).stat().st_size
    first = load_dataset(tmp_path).fingerprint()
    assert picture(tmp_path / "a/1.bmp", value=200).stat().st_size == size
    assert load_dataset(tmp_path)[0][0].getpixel((0, 0)) == (200, 100, 50)
    assert load_dataset(tmp_path).fingerprint() == first


def test_the_fingerprint_does_not_follow_the_place(tmp_path):
    for place in ("here", "there"):
        caltech101(tmp_path / place)
    prints = {
        load_dataset("caltech101", root=tmp_path / p).fingerprint() for p in ("here", "there")
    }
    assert len(prints) == 1


def test_options(tmp_path):
    picture(tmp_path / "1.png")
    assert load_dataset(tmp_path, transform=lambda image: image.size)[0] == ((8, 6), 0)
    with pytest.raises(UnknownName, match="transform"):
        load_dataset(tmp_path, transfrom=1)
    with pytest.raises(BadInput, match="root="):
        load_dataset("folder")


# -- what is not there -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["caltech101", "tiny-imagenet", "imagenette", "imagenet"])
def test_absent_data_say_what_to_set_and_what_to_run(name, tmp_path):
    for root in (None, tmp_path):
        with pytest.raises(MissingData) as caught:
            load_dataset(name, root=root)
        message = str(caught.value)
        assert "ZFNB_DATA" in message and f"zfnb data fetch {name}" in message
    assert list(tmp_path.iterdir()) == []  # looking leaves nothing behind


def test_unknown_names():
    with pytest.raises(UnknownName, match="Did you mean 'caltech101'"):
        load_dataset("caltech_101")
    with pytest.raises(UnknownName) as caught:
        load_dataset("mnist")
    assert all(name in str(caught.value) for name in NAMES)


def test_describe(tmp_path):
    entries = {entry.name: entry for entry in describe(tiny_imagenet(tmp_path))}
    assert tuple(entries) == NAMES
    assert entries["stamps"].present and entries["tiny-imagenet"].present
    assert not entries["caltech101"].present
    assert str(tmp_path) in entries["caltech101"].where
    assert "$ZFNB_DATA" in {e.name: e for e in describe()}["imagenet"].where
    for entry in entries.values():
        assert entry.what and entry.licence and entry.size and entry.splits


# -- check -------------------------------------------------------------------------------------


def test_check_names_the_bad_ones(tmp_path):
    base = caltech101(tmp_path) / "caltech101" / "101_ObjectCategories"
    assert check("caltech101", tmp_path).ok
    (base / "zebra" / "image_0001.jpg").write_bytes(b"not a picture")
    report = check("caltech101", tmp_path)
    assert report.counts == {"all": 18}
    assert not report.ok
    assert len(report.bad) == 1 and "image_0001.jpg" in report.bad[0]


def test_check_takes_every_split_and_counts_a_folder_once(tmp_path):
    assert check("tiny-imagenet", tiny_imagenet(tmp_path)).counts == {"train": 6, "val": 4}
    assert check(tmp_path / "tiny-imagenet-200" / "val" / "images").counts == {"train": 4}
    with pytest.raises(MissingData, match="caltech101"):
        check("caltech101", tmp_path)


def test_check_verifies_the_embedded_stamps(monkeypatch):
    report = check("stamps")
    assert report.ok
    assert sum(report.counts.values()) == 281
    real = hashlib.sha256
    monkeypatch.setattr("zfnb.data.hashlib.sha256", lambda raw: real(raw + b"!"))
    assert len(check("stamps").bad) == 281


def test_check_names_each_damaged_stamp_once(tmp_path, monkeypatch):
    real = all_stamps()
    broken, gone = list(real)[:2]
    for key in list(real)[:3]:
        copy = tmp_path / f"{key}.webp"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(real[key].path.read_bytes()[: 40 if key == broken else None])
    (tmp_path / f"{gone}.webp").unlink()
    monkeypatch.setattr(stamps, "embedded", lambda *parts: tmp_path.joinpath(*parts[2:]))
    few = {key: real[key] for key in list(real)[:3]}
    for module in (stamps, data):
        monkeypatch.setattr(module, "all_stamps", lambda: few)
    for name in ("stamps", "scenes"):
        report = check(name)
        assert sum(report.counts.values()) == (3 if name == "stamps" else 12)
        assert [(broken in one, gone in one) for one in report.bad] == [(1, 0), (0, 1)]
        assert "is missing" in report.bad[1]
    dataset = load_dataset("stamps", "all", others=True)
    assert len(unreadable(dataset)) == 2
    with pytest.raises(BadPicture, match="install zfnb again"):
        dataset[0]
    with (
        pytest.warns(UserWarning, match="2 of 3"),
        pytest.warns(UserWarning, match="be read: inst"),
    ):
        batches = list(iterate(dataset, transform=lambda _: torch.zeros(3, 1, 1)))
    assert [len(batch.indices) for batch in batches] == [1]


# -- fetch -------------------------------------------------------------------------------------


def test_fetch_leaves_what_is_there(tmp_path):
    caltech101(tmp_path)
    assert fetch("caltech101", tmp_path).name == "101_ObjectCategories"
    assert fetch("tiny-imagenet", tiny_imagenet(tmp_path)) == tmp_path / "tiny-imagenet-200"


def test_fetch_refuses(tmp_path):
    with pytest.raises(UnknownName, match="imagenette"):
        fetch("mnist", tmp_path)
    with pytest.raises(BadInput, match="no download"):
        fetch("stamps", tmp_path)
    with pytest.raises(MissingData, match="ZFNB_DATA"):
        fetch("caltech101")
    with pytest.raises(MissingData, match=r"ILSVRC2012_devkit_t12\.tar\.gz"):
        fetch("imagenet", tmp_path)


def tiny_zip(tmp_path):
    tiny_imagenet(tmp_path / "made")
    archive = tmp_path / "served.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((tmp_path / "made").rglob("*")):
            file.write(path, path.relative_to(tmp_path / "made"))
    return archive


def serve(monkeypatch, archive, checksum=None):
    monkeypatch.setattr(download, "TINY_IMAGENET", archive.as_uri())
    checksum = checksum or hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(download, "TINY_IMAGENET_MD5", checksum)

    def copy(url, output_file, _pooch):
        Path(output_file).write_bytes(archive.read_bytes())

    monkeypatch.setattr("pooch.core.choose_downloader", lambda *_, **__: copy)


def test_fetch_tiny_imagenet_downloads_checks_and_unpacks(tmp_path, monkeypatch):
    serve(monkeypatch, tiny_zip(tmp_path))
    fetch("tiny-imagenet", tmp_path / "data")
    assert check("tiny-imagenet", tmp_path / "data").counts == {"train": 6, "val": 4}
    assert not list((tmp_path / "data").glob(".unpacking*"))


def test_fetch_stops_at_a_wrong_checksum(tmp_path, monkeypatch):
    serve(monkeypatch, tiny_zip(tmp_path), checksum="0" * 32)
    with pytest.raises(MissingData, match="could not be fetched"):
        fetch("tiny-imagenet", tmp_path / "data")
    assert not (tmp_path / "data" / "tiny-imagenet-200").exists()


def test_fetch_without_a_connection(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets.Caltech101, "download", fail)
    with pytest.raises(MissingData, match="no route to host"):
        fetch("caltech101", tmp_path)


def interrupted(files):
    """A constructor of a dataset that stops after some of its files; then one that does not."""
    calls = []

    def unpack(root, *_, **__):
        assert not any((Path(root) / file).exists() for file in files)
        calls.append(Path(root))
        for file in files[: len(calls)]:
            picture(Path(root) / file)
        (Path(root) / "archive.tar").touch()
        if len(calls) < len(files):
            raise KeyboardInterrupt

    return unpack, calls


@pytest.mark.parametrize(
    ("name", "theirs", "inside"),
    [
        ("caltech101", "Caltech101", "caltech101/101_ObjectCategories"),
        ("caltech256", "Caltech256", "caltech256/256_ObjectCategories"),
        ("voc2012", "VOCDetection", "VOCdevkit/VOC2012"),
        ("imagenette", "Imagenette", "imagenette2-320"),
    ],
)
def test_an_interrupted_unpacking_is_no_dataset(name, theirs, inside, tmp_path, monkeypatch):
    unpack, calls = interrupted([f"{inside}/a/1.jpg", f"{inside}/b/2.jpg"])
    monkeypatch.setattr(torchvision.datasets, theirs, unpack)
    with pytest.raises(KeyboardInterrupt):
        fetch(name, tmp_path)
    assert (calls[0] / inside / "a").is_dir() and not (tmp_path / inside).exists()
    assert fetch(name, tmp_path) == tmp_path / inside
    assert calls[0] == calls[1]  # where the archive is
    assert {p.name for p in (tmp_path / inside).rglob("*.jpg")} == {"1.jpg", "2.jpg"}
    assert not list(tmp_path.glob(".*"))
    fetch(name, tmp_path)
    assert len(calls) == 2


def test_what_lies_beside_the_pictures_comes_along(tmp_path, monkeypatch):
    files = ["caltech101/101_ObjectCategories/a/1.jpg", "caltech101/Annotations/a/1.mat.jpg"]
    unpack, calls = interrupted(files)
    calls.append(None)  # no interruption
    monkeypatch.setattr(torchvision.datasets, "Caltech101", unpack)
    fetch("caltech101", tmp_path)
    assert all((tmp_path / file).is_file() for file in files)


def test_an_interrupted_unpacking_of_imagenet_is_no_split(tmp_path, monkeypatch):
    folder = tmp_path / "imagenet"
    folder.mkdir()
    for archive in ("devkit_t12.tar.gz", "img_train.tar", "img_val.tar"):
        (folder / f"ILSVRC2012_{archive}").touch()
    unpackers, calls = torchvision.datasets.imagenet, []
    monkeypatch.setattr(unpackers, "parse_devkit_archive", lambda root: None)

    def unpack(root, folder):
        assert not (root / folder).exists()
        calls.append(folder)
        picture(root / folder / "n00000001" / "1.JPEG")
        if len(calls) == 2:
            raise OSError("the disk is full")

    for kind in ("train", "val"):
        monkeypatch.setattr(unpackers, f"parse_{kind}_archive", unpack)
    with pytest.raises(MissingData, match="the disk is full"):
        fetch("imagenet", tmp_path)
    assert (folder / "train").is_dir() and not (folder / "val").exists()
    assert fetch("imagenet", tmp_path) == folder
    assert len(load_dataset("imagenet", "val", tmp_path)) == 1
    assert len(calls) == 3 and not list(folder.glob(".*"))


@pytest.mark.parametrize(
    "name", ["../outside.txt", "/etc/outside.txt", "a/../../x", "C:\\x", "a\\..\\..\\x"]
)
def test_an_archive_cannot_write_elsewhere(tmp_path, name):
    archive = tmp_path / "bad.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(zipfile.ZipInfo(name), "x")
    with pytest.raises(BadInput, match="not unpacked"):
        download.unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_and_bombs_in_an_archive(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(BadInput, match="a link"):
        download.unpack(tmp_path / "link.zip", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", b"0" * 100_000)
    with pytest.raises(BadInput, match="more than 5,000 bytes"):
        download.unpack(tmp_path / "bomb.zip", tmp_path / "out", limit=5000)


# -- the real thing ----------------------------------------------------------------------------


@pytest.mark.skipif(not (REAL / "caltech101").is_dir(), reason="ZFNB_DATA has no caltech101")
def test_the_real_caltech101():
    dataset = load_dataset("caltech101", root=REAL)
    assert len(dataset) == 8677
    assert len(dataset.classes) == 101
    assert dataset.targets == torchvision.datasets.Caltech101(REAL).y
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i in range(0, len(dataset), 500):
            image, target = dataset[i]
            assert image.mode == "RGB"
            assert dataset.key(i).startswith(dataset.classes[target] + "/")


def test_every_error_is_ours(tmp_path):
    for call in (lambda: load_dataset(tmp_path), lambda: load_dataset("x"), lambda: fetch("x")):
        with pytest.raises(ZfnbError):
            call()
