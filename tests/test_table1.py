"""Table 1: rows that can be worked out, the kept file, the command."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

import zfnb
from tests.test_correspondence import network
from zfnb import table1
from zfnb.correspondences import ZEROS, changes
from zfnb.errors import BadInput, UnknownName
from zfnb.face_marks import PAPERS, PARTS, SETS, Framed, marked_faces
from zfnb.permutation import all_distances, label_test, rank_test
from zfnb.random_masks import box_masks
from zfnb.runs import write_json
from zfnb.table1 import PLACES, measure, part_and_random


@pytest.fixture
def faces(noise):
    """Four pictures of noise with two parts."""
    eye = np.array([(10 + n, 8, 22 + n, 22) for n in range(4)])
    nose = np.array([(35, 20 + n, 50, 36 + n) for n in range(4)])
    parts = [np.array(boxes) for boxes in zip(eye, nose, strict=True)]
    box = np.tile([2, 2, 62, 62], (4, 1))
    return Framed([f"{n}" for n in range(4)], noise(4, 64), {"eye": eye, "nose": nose}, box, parts)


@pytest.mark.parametrize("places", PLACES)
def test_rows_are_what_their_parts_say(small_zfnet, faces, places):
    rows = measure(
        small_zfnet, faces, ["conv5", "fc7"], draws=5, places=places, zeros=("own", "half"), seed=4
    )
    assert [(r["part"], r["layer"], r["zero"]) for r in rows] == [
        (part, layer, zero)
        for part in ("eye", "nose")
        for layer in ("conv5", "fc7")
        for zero in ("own", "half")
    ]
    for row in rows:
        masks = box_masks(faces.boxes[row["part"]], 64)
        options = {"zero": row["zero"]}
        found = zfnb.correspondence(small_zfnet, faces.images, masks, row["layer"], **options)
        assert row["mean"] == pytest.approx(found.mean[row["layer"]])
        assert row["spread"] == pytest.approx(found.spread[row["layer"]])
        signs = part_and_random(
            small_zfnet, faces, row["part"], [row["layer"]], draws=5, places=places, seed=4
        )[row["layer"]]
        of_the_part = changes(small_zfnet, faces.images, masks, [row["layer"]])[row["layer"]]
        assert torch.equal(signs[0], of_the_part)
        distances = all_distances(signs, row["zero"])
        verdict = (rank_test if places == "one place" else label_test)(distances)
        assert (row["p"], row["trials"]) == (verdict.p, verdict.trials)
        assert row["moved"] == pytest.approx((of_the_part != 0).double().mean().item())
        assert row["random_moved"] == pytest.approx((signs[1:] != 0).double().mean().item())
        pairs = [distances[i, m, j, m] for m in range(1, 6) for i in range(4) for j in range(i)]
        assert row["random"] == pytest.approx(np.mean(pairs))


def test_random_masks_differ_from_part_to_part_and_seed_to_seed(small_zfnet, faces):
    options = {"draws": 2, "layers": ["conv5"]}
    eye, again, other = (
        part_and_random(small_zfnet, faces, "eye", seed=seed, **options)["conv5"]
        for seed in (0, 0, 9)
    )
    assert torch.equal(eye, again)
    assert torch.equal(eye[0], other[0]) and not torch.equal(eye[1:], other[1:])


def test_masks_that_change_nothing_agree_perfectly(faces):
    """What the paper's measure rewards, by hand: conv1 passes red on, and only the part is red.

    Random masks are black on black, so that nothing changes, in any picture: their sign change is
    0, as consistent as the part's own. A placement mixes the two unless it takes the part in all
    four pictures or in none. "left out" says that such masks cannot be compared at all.
    """
    net = network(64)
    images = torch.zeros(4, 3, 64, 64)
    boxes = np.tile([10, 10, 20, 22], (4, 1))
    images[:, 0, 10:20, 10:22] = 1
    avoid = [boxes[n : n + 1] for n in range(4)]
    planted = Framed(faces.names, images, {"eye": boxes}, faces.face, avoid)
    own, left_out = measure(
        net, planted, ["conv1"], draws=4, fill="mean", zeros=("own", "left out")
    )
    assert own["mean"] == 0 and own["moved"] == pytest.approx(120 / 64**2)
    assert own["random"] == 0 and own["random_moved"] == 0
    assert own["p"] == pytest.approx((1 + 4**4) / 5**4)
    assert left_out["mean"] == 0 and np.isnan(left_out["random"])
    assert left_out["p"] == 1  # with nothing to compare, nothing is found


def test_what_is_refused(small_zfnet, faces):
    one = Framed(faces.names[:1], faces.images[:1], {"eye": faces.boxes["eye"][:1]}, faces.face, [])
    for call, error, words in (
        (lambda: measure(small_zfnet, one, ["conv5"]), BadInput, "at least two faces"),
        (
            lambda: measure(small_zfnet, faces, ["conv5"], places="here"),
            UnknownName,
            "on the face",
        ),
        (lambda: part_and_random(small_zfnet, faces, "ear", ["fc7"]), UnknownName, "'eye'|eye"),
        (lambda: measure(small_zfnet, faces, ["conv5"], draws=0), BadInput, "draws"),
        (lambda: measure(small_zfnet, faces, ["conv6"]), UnknownName, "conv5"),
        (lambda: measure(small_zfnet, faces, ["conv5"], zeros=["x"]), UnknownName, "left out"),
    ):
        with pytest.raises(error, match=words):
            call()


# ---------------------------------------------------------------- as tables


def test_the_published_table():
    table = table1.published()
    assert list(table.index) == ["right eye", "left eye", "nose", "random"]
    assert table.loc["nose"].tolist() == [0.079, 0.017, 0.069, 0.011]
    assert table.loc["random", "layer5"] == 0.107 and table["layer7"].max() == 0.073
    means, spreads = table1.published_columns()["layer 7"]
    assert means.tolist() == [0.069, 0.068, 0.069, 0.073]
    assert spreads.tolist() == [0.015, 0.013, 0.011, 0.014]


def row(part: str, layer: str, mean: float, random: float, **others) -> dict:
    facts = {"zero": "own", "places": "anywhere", "p": 0.25, "moved": 0.5, "random_moved": 0.1}
    spreads = {"spread": mean / 10, "random_spread": random / 10}
    return {
        "part": part,
        "layer": layer,
        "mean": mean,
        "random": random,
        **spreads,
        **facts,
    } | others


def test_columns_by_hand():
    rows = [
        row("nose", "fc7", 0.3, 0.6),
        row("eye", "conv5", 0.1, 0.2),
        row("nose", "conv5", 0.2, 0.4),
    ]
    found = table1.columns(rows)
    assert found["conv5"][0].tolist() == pytest.approx([0.1, 0.2, 0.3])  # the parts, mean random
    assert found["conv5"][1].tolist() == pytest.approx([0.01, 0.02, 0.03])
    assert found["fc7"][0].tolist() == pytest.approx([0.3, 0.6])
    for wrong in ([], [rows[1], row("eye", "conv5", 0.1, 0.2, zero="half")]):
        with pytest.raises(BadInput, match="one setting"):
            table1.columns(wrong)


def test_rows_to_read():
    rows = [row("nose", "fc7", 0.3, 0.6), row("eye", "conv5", 0.1, 0.2, faces="stamps")]
    text = table1.in_text(rows)
    assert text.loc[0, "sign change"] == "0.300 ± 0.030" and text.loc[0, "ratio"] == 0.5
    assert text.loc[0, "changed"] == "50% / 10%" and text.loc[0, "p"] == "0.2500"
    assert text.loc[1, "faces"] == "stamps"
    assert table1.select(rows, part="eye", layer="conv5") == [rows[1]]
    assert table1.select(rows, part="eye", layer="fc7") == []


def test_what_travels_with_the_package():
    """Whatever has been measured so far is of the sets, parts and choices there are."""
    content = table1.kept()
    for found in content["rows"]:
        assert found["faces"] in SETS and found["part"] in PAPERS
        assert found["places"] in PLACES and found["zero"] in ZEROS
        assert 0 <= found["mean"] <= 1 and 0 < found["p"] <= 1 and found["random"] > 0
        run = content["measured"][found["measured"]]
        assert run["command"].startswith("python -m zfnb.table1") and found["faces"] in run["data"]
    for key in {(r["faces"], r["network"], r["zero"], r["places"]) for r in content["rows"]}:
        names = ("faces", "network", "zero", "places")
        assert table1.columns(table1.select(content["rows"], **dict(zip(names, key, strict=True))))


def test_a_damaged_or_missing_file(tmp_path):
    path = tmp_path / "table1.json"
    assert table1.kept(path) == {"measured": [], "rows": []}
    for text in ('{"rows": [', "[]", '{"rows": 1}', '{"measured": [], "rows": [1]}'):
        path.write_text(text)
        with pytest.raises(BadInput, match=r"table1\.json is damaged"):
            table1.kept(path)


def test_a_number_that_could_not_be_known_survives_the_file(tmp_path):
    path = tmp_path / "table1.json"
    nose = table1.tidy(row("nose", "fc7", 0.3, float("nan")))
    path.write_text(json.dumps({"measured": [], "rows": [nose]}))
    [found] = table1.kept(path)["rows"]
    assert np.isnan(found["random"]) and found["mean"] == 0.3
    assert table1.in_text([found]).loc[0, "random masks"] == "nan ± nan"


def test_new_rows_take_the_place_of_old_ones():
    def rows(faces, network, mean):
        return [row("nose", "fc7", mean, 0.5, faces=faces, network=network)]

    first = table1.merged({"measured": [], "rows": []}, rows("a", "x", 0.1), {"command": "1"})
    second = table1.merged(first, rows("b", "x", 0.2), {"command": "2"})
    assert [r["mean"] for r in second["rows"]] == [0.1, 0.2]
    third = table1.merged(second, rows("a", "x", 0.3), {"command": "3"})
    found = [(r["faces"], r["mean"], third["measured"][r["measured"]]) for r in third["rows"]]
    assert found == [("b", 0.2, {"command": "2"}), ("a", 0.3, {"command": "3"})]
    assert [run["command"] for run in third["measured"]] == ["2", "3"]  # nothing is left of 1


def test_a_verdict_by_hand():
    rows = [row("eye", "conv5", 0.1, 0.2, p=p) for p in (0.01, 0.05, 0.9)]
    assert table1.below_random(rows[:1]) is True
    assert table1.below_random(rows) == "in part"
    assert table1.below_random(rows[1:]) is False  # 0.05 itself is not below
    for call in (table1.below_random, table1.in_words):
        with pytest.raises(BadInput, match="no row"):
            call([])
    words = table1.in_words([row("eye", "conv5", 0.1, 0.2), row("nose", "conv5", 0.3, 0.4)])
    assert words == "0.100 to 0.300, random 0.300"


def test_several_networks(small_zfnet, trunk):
    faces = marked_faces("stamps", parts=PARTS)[:2]
    nets = {"a": small_zfnet, "b": trunk}
    options = {"draws": 2, "parts": ("nose", "mouth"), "zeros": ("own",)}
    rows = table1.measure_networks(nets, faces, ["on the face"], **options)
    assert [(r["network"], r["part"], r["layer"]) for r in rows] == [
        ("a", "nose", "conv5"),
        ("a", "nose", "fc7"),
        ("a", "mouth", "conv5"),
        ("a", "mouth", "fc7"),
        ("b", "nose", "conv5"),  # the trunk has no layer 7
        ("b", "mouth", "conv5"),
    ]


# ---------------------------------------------------------------- the command


def call(*words):
    app = typer.Typer()
    app.command()(table1.measure_all)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_command(tmp_path, monkeypatch, small_zfnet):
    monkeypatch.setattr(zfnb, "load_model", lambda name, weights: small_zfnet, raising=False)
    path = tmp_path / "t.json"
    words = ["--faces", "stamps", "--networks", "zfnet:any", "--draws", 2, "--threads", 1]
    done = call(*words, "--results", path)
    assert done.exit_code == 0, done.exception
    assert "right eye" in done.output
    content = json.loads(path.read_text())
    command = "python -m zfnb.table1 --faces stamps --networks zfnet:any --draws 2 --frame face"
    [run] = content["measured"]
    assert run["command"] == f"{command} --fill grey --seed 0"
    assert run["data"] == {"stamps": 7} and run["settings"]["draws"] == 2
    assert {"commit", "changed"} <= set(run["code"]) and run["seconds"] > 0
    assert len(content["rows"]) == 3 * 2 * len(PLACES) * len(ZEROS)
    assert table1.kept(path) == content
    assert str(tmp_path) not in path.read_text()
    assert call(*words, "--threads", 0).exit_code == 2
    monkeypatch.setattr(table1, "measure_networks", None)  # said before anything is measured
    assert isinstance(call(*words, "--networks", "zfnet").exception, BadInput)
    monkeypatch.undo()
    typo = call(*words[:2], "--networks", "torchvision-alexnet:random", "--networks", "zfnet:tin")
    assert isinstance(typo.exception, UnknownName)


def test_rows_that_came_in_meanwhile_are_kept(tmp_path, monkeypatch, small_zfnet):
    """Two commands side by side: the one that ends last does not take the other's rows away."""
    path, real = tmp_path / "t.json", table1.measure_networks
    words = ["--networks", "zfnet:any", "--draws", 2, "--results", path]
    monkeypatch.setattr(zfnb, "load_model", lambda name, weights: small_zfnet, raising=False)
    monkeypatch.setattr(table1, "marked_faces", lambda name, root: marked_faces("stamps"))

    def slow(*positional, **named):
        if not path.exists():  # the other command begins and ends while this one measures
            write_json(path, {"rows": [], "measured": []})
            assert call("--faces", "cougars", *words).exit_code == 0
        return real(*positional, **named)

    monkeypatch.setattr(table1, "measure_networks", slow)
    done = call("--faces", "stamps", *words)
    assert done.exit_code == 0, done.exception
    assert {row["faces"] for row in table1.kept(path)["rows"]} == {"stamps", "cougars"}


def test_numbers_in_the_file():
    assert table1.tidy({"a": 0.1234567, "b": float("nan"), "c": "x", "d": True}) == {
        "a": 0.12346,
        "b": None,
        "c": "x",
        "d": True,
    }


def test_a_mistake_is_one_sentence():
    words = [sys.executable, "-m", "zfnb.table1", "--faces", "cats"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("zfnb.table1: Unknown set of marked faces 'cats'.")
    assert "Traceback" not in done.stderr
