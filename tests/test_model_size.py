"""Table 3: runs that are killed, fail or are done; the table and what is concluded from it."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

import zfnb
from zfnb import model_size, table3, table3_verdicts
from zfnb.architecture import outline, variants
from zfnb.chance import WITHIN_CHANCE as WITHIN
from zfnb.errors import BadInput, UnknownName
from zfnb.model_size import errors_on, measured_part, plan, run_folder, train_rows
from zfnb.models import build, describe_variant
from zfnb.training import data_facts

NAMES = [row["network"] for row in variants()]


class Stripes:
    """Three classes that differ in the direction of their stripes and their colour."""

    name = "stripes"
    classes = ("rows", "columns", "neither")

    def __init__(self, count: int = 24, first: int = 0):
        self.targets = [i % 3 for i in range(count)]
        self.first = first

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        target = self.targets[index]
        pixels = np.random.default_rng(self.first + index).integers(0, 90, (70, 66, 3))
        if target == 0:
            pixels[::8, :, 0] += 160
        elif target == 1:
            pixels[:, ::8, 1] += 160
        return Image.fromarray(pixels.astype(np.uint8)), target


SMALL = {"epochs": 2, "batch": 8, "width": 0.03, "lr": 0.01}


def small_plan(networks=("alexnet", "alexnet-no3467"), seeds=1, **changes):
    return plan("stripes", networks, seeds, **{**SMALL, **changes})


def go(runs, out, results=None, **options):
    options = {"device": "cpu", "progress": False, "pictures": 10, **options}
    return train_rows(runs, Stripes(), Stripes(9, first=100), out, results, **options)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Two rows of two seeds, and the file of them."""
    out = tmp_path_factory.mktemp("table3")
    content = go(small_plan(seeds=2), out, out / "table3.json", command="as a test")
    return out, content


@pytest.mark.parametrize("name", NAMES)
def test_every_network_has_positions_at_64_pixels(name):
    """As described, and in fact: a picture goes through it to the classes."""
    net = outline(name, 200, input_size=64, width=0.5)
    assert all(min(shape[1:]) >= 1 for shape in net.shapes.values() if len(shape) == 3)
    small = build(describe_variant(name, input_size=64, width=0.03), 5)
    with torch.inference_mode():
        assert small(torch.randn(2, 3, 64, 64)).shape == (2, 5)


def test_the_plan():
    """All rows from seed 0 first; then those that matter from the other seeds."""
    runs = plan("tiny-imagenet", seeds=3)
    assert [run.network for run in runs[:12]] == NAMES
    assert [run.seed for run in runs] == [0] * 12 + [1] * 8 + [2] * 8
    assert {run.network for run in runs[12:]} == set(model_size.RESTED_ON)
    first = runs[0]
    assert (first.width, first.input_size, first.recipe.epochs) == (0.5, 64, 15)
    assert first.recipe.name == "modern" and first.recipe.cool_down == 7
    assert [(r.network, r.seed) for r in plan("x", ["zfnet-fc2048"])] == [
        ("zfnet-fc2048", 0),
        ("zfnet-fc2048", 1),
    ]
    assert plan("x", ["zfnet"], 1, epochs=4)[0].recipe.cool_down == 2


def test_what_the_conclusions_rest_on_is_trained_twice():
    """Every row of a conclusion, or chance would be unknown just there."""
    needed = {network for _, _, weights, _ in table3_verdicts.CLAIMS for network in weights}
    assert needed == set(model_size.RESTED_ON)
    runs = [run.network for run in plan("tiny-imagenet")]
    assert all(runs.count(network) == 2 for network in needed) and len(runs) == 20


def test_what_is_planned_reads_as_what_was_done(done):
    _, content = done
    planned = model_size.planned()
    assert planned["settings"].keys() == content["settings"].keys()
    assert table3.scale(planned) == "Tiny ImageNet, half width, 64 pixels, 15 epochs"
    assert table3.scale(content) == "stripes, 0.03 of the width, 64 pixels, 2 epochs"
    assert table3.scale({"rows": [], "failed": []}) == ""
    assert table3.runs_in_words(planned) == "No row has been measured yet."
    assert table3.runs_in_words(content).startswith(
        "2 of 12 networks, 2 of them from several runs; 4 runs in all, on 24 training pictures."
    )


@pytest.mark.parametrize(
    ("networks", "changes", "message"),
    [
        (["alexnet-no34x"], {}, r"Did you mean 'alexnet-no34'"),
        (["torchvision-alexnet"], {}, "row of Table 3"),
        (None, {"seeds": 0}, "seeds must be"),
        (None, {"epochs": 0}, "epochs must be"),
        (None, {"input_size": 32}, "larger input_size"),
        (None, {"width": 0}, "width must be"),
    ],
)
def test_a_bad_plan(networks, changes, message):
    with pytest.raises(BadInput, match=message):
        plan("stripes", networks, **changes)


def test_rows(done):
    """What is written is what the saved network does; the runs describe themselves."""
    out, content = done
    assert [(row["network"], row["seed"]) for row in content["rows"]] == [
        ("alexnet", 0),
        ("alexnet", 1),
        ("alexnet-no3467", 0),
        ("alexnet-no3467", 1),
    ]
    assert content["failed"] == []
    assert json.loads((out / "table3.json").read_text())["rows"] == content["rows"]
    assert content["data"]["training_pictures"] == 24
    assert content["settings"]["width"] == 0.03
    assert content["command"] == "as a test"
    row = content["rows"][0]
    net = zfnb.load_model("alexnet", out / "alexnet-seed0" / "alexnet.safetensors")
    assert row["parameters"] == sum(p.numel() for p in net.parameters())
    data, right = Stripes(9, first=100), 0
    with torch.inference_mode():
        for i in range(9):
            right += int(net(zfnb.preprocess(data[i][0], net)[None]).argmax()) == data.targets[i]
    assert row["val_top1"] == pytest.approx(100 * (1 - right / 9), abs=1e-3)
    assert (row["train_pictures"], row["val_pictures"]) == (10, 9)
    for part, count in (("train", 10), ("val", 9)):
        share = table3.unpacked(row["wrong"][part], count).mean()
        assert row[f"{part}_top1"] == pytest.approx(100 * share, abs=1e-3)
    assert (
        "zfnb train alexnet --data stripes" in row["command"] and "--width 0.03" in row["command"]
    )
    assert str(out) not in json.dumps(content)  # no place of one machine
    assert not (out / "alexnet-seed0" / "checkpoints").exists()
    assert row != {**content["rows"][1], "seed": 0}  # another seed, another run


def test_training_errors_by_hand():
    """Central crops without distortion, a fixed part of the training pictures."""
    torch.manual_seed(0)
    net = build(describe_variant("alexnet-no3467", input_size=64, width=0.05), 3)
    data = Stripes(30)
    part = measured_part(30, 12)
    assert part == measured_part(30, 12) == sorted(set(part)) and len(part) == 12
    assert measured_part(5, 12) == [0, 1, 2, 3, 4]
    wrong = []
    for i in part:
        with torch.inference_mode():
            guess = net(zfnb.preprocess(data[i][0], net)[None]).argmax()
        wrong.append(int(int(guess) != data.targets[i]))
    errors, bits = errors_on(net, data, part)
    assert errors[1] == pytest.approx(100 * sum(wrong) / 12) and 0 < sum(wrong) < 12
    assert table3.unpacked(bits, 12).tolist() == wrong


def test_done_runs_are_skipped(done, monkeypatch):
    out, content = done

    def never(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(model_size, "train", never)
    again = go(small_plan(seeds=2), out)
    assert again["rows"] == content["rows"]
    with pytest.raises(AssertionError):
        go(small_plan(seeds=3), out)


def test_rows_without_their_pictures_are_measured_again(done, tmp_path):
    """As rows of earlier versions were: trained, but which pictures are wrong is not kept."""
    out, content = done
    shutil.copytree(out, tmp_path / "out")
    path = tmp_path / "out" / "alexnet-seed0" / "row.json"
    row = json.loads(path.read_text())
    del row["wrong"]
    path.write_text(json.dumps({**row, "val_top1": 0}))
    assert len(model_size.gather(tmp_path / "out")["rows"]) == 3
    steps = []
    again = go(small_plan(seeds=2), tmp_path / "out", on_step=steps.append)
    assert not steps and again["rows"] == content["rows"]


class Killed(Exception):
    """Stands for the power going off."""


def test_a_killed_table_goes_on(done, tmp_path):
    """Killed in the second row: the first one is kept in the file, the second goes on midway, and
    all is as if nothing had happened."""
    _, content = done
    results, steps = tmp_path / "table3.json", []

    def on_step(run):
        steps.append(run.settings.network)
        if len(steps) == 6 + 4:  # six steps a row, three an epoch
            raise Killed

    with pytest.raises(Killed):
        go(small_plan(), tmp_path / "out", results, on_step=on_step)
    kept = json.loads(results.read_text())
    assert [row["network"] for row in kept["rows"]] == ["alexnet"]
    steps.clear()
    go(small_plan(), tmp_path / "out", results, on_step=lambda run: steps.append(run.global_step))
    assert steps == [4, 5, 6]  # the second row's second epoch
    ours, theirs = (
        [
            {k: v for k, v in row.items() if k != "seconds"}
            for row in found["rows"]
            if row["seed"] == 0
        ]
        for found in (json.loads(results.read_text()), content)
    )
    assert ours == theirs


def test_killed_between_training_and_measuring(done, tmp_path, monkeypatch):
    _, content = done
    monkeypatch.setattr(model_size, "errors_on", lambda *_: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        go(small_plan(["alexnet"]), tmp_path)
    monkeypatch.undo()
    steps = []
    rows = go(small_plan(["alexnet"]), tmp_path, on_step=steps.append)["rows"]
    assert not steps
    assert {**rows[0], "seconds": 0} == {**content["rows"][0], "seconds": 0}


def test_a_diverged_row_is_noted_and_the_others_go_on(tmp_path, monkeypatch):
    real, broken = model_size.train, {"alexnet": 1}

    def train(settings, *sets, **options):
        if broken.get(settings.network):
            raise BadInput(f"The loss is nan at step 7 in {sets[-1]}: training has diverged.")
        return real(settings, *sets, **options)

    monkeypatch.setattr(model_size, "train", train)
    seen = []
    out, results = tmp_path / "out", tmp_path / "t.json"
    content = go(small_plan(), out, results, on_row=seen.append)
    assert [row["network"] for row in content["rows"]] == ["alexnet-no3467"]
    assert [row["network"] for row in seen] == ["alexnet", "alexnet-no3467"]
    [failed] = json.loads(results.read_text())["failed"]
    assert failed["network"] == "alexnet" and "diverged" in failed["error"]
    assert str(tmp_path) not in failed["error"]
    table = table3.table3(results)
    assert "diverged" in table.loc["alexnet", "error"]
    assert table3.in_text(table).loc["alexnet", "ours, val top-1"] == "failed"
    broken.clear()  # say, after a repair: the failed row alone is tried again
    seen.clear()
    content = go(small_plan(), out, results, on_row=seen.append)
    assert [row["network"] for row in seen] == ["alexnet"]
    assert content["failed"] == [] and len(content["rows"]) == 2


def test_a_loss_that_really_diverges(tmp_path):
    content = go(small_plan(["alexnet-no3467"], lr=1e30), tmp_path)
    assert content["rows"] == []
    assert "diverged" in content["failed"][0]["error"]


def test_a_full_disk_stops_all(tmp_path, monkeypatch):
    from zfnb import checkpoints

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(checkpoints.CannotSave, match="the disk is full"):
        go(small_plan(), tmp_path)
    assert not (tmp_path / "alexnet-no3467-seed0").exists()


def test_other_settings_are_refused_before_training(done):
    out, _ = done
    with pytest.raises(BadInput, match=r"recipe.epochs = 2, not 3"):
        go(small_plan(["zfnet", "alexnet"], epochs=3), out)
    assert not (out / "zfnet-seed0").exists()


def test_other_rows_are_not_written_over(done, tmp_path):
    out, _ = done
    results = tmp_path / "table3.json"
    results.write_text((out / "table3.json").read_text())
    with pytest.raises(BadInput, match=r"4 rows that are not in .*--results"):
        go(small_plan(["alexnet"]), tmp_path / "new", results)
    assert len(json.loads(results.read_text())["rows"]) == 4


def keep_run(settings, out, **row) -> None:
    """A run and its row as files keep them, without training."""
    folder = run_folder(out, settings)
    folder.mkdir(parents=True)
    facts = {"settings": settings.facts(), "data": data_facts(settings, Stripes())}
    (folder / "run.json").write_text(json.dumps(facts))
    own = {"network": settings.network, "seed": settings.seed, "wrong": {}}
    sizes = {"train_pictures": 10, "val_pictures": 9}
    (folder / "row.json").write_text(json.dumps({**own, **sizes, **row}))


def test_rows_of_other_settings_are_not_mixed(tmp_path):
    keep_run(*small_plan(["alexnet"]), tmp_path)
    keep_run(*small_plan(["zfnet"]), tmp_path)
    assert len(model_size.gather(tmp_path)["rows"]) == 2
    keep_run(*small_plan(["zfnetb"], lr=0.02), tmp_path)
    with pytest.raises(BadInput, match="other settings or data"):
        model_size.gather(tmp_path)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"lr": 0.02}, {}, r"recipe.lr = 0.01, not 0.02; a table needs .* another --out"),
        ({}, {"pictures": 12}, r"alexnet from seed 0 .* train_pictures = 10, not 12; a table"),
        ({}, {"val_set": Stripes(12)}, "val_pictures = 9, not 12"),
        ({}, {"train_set": Stripes(first=7)}, "training pictures whose checksum is"),
    ],
)
def test_rows_that_do_not_fit_are_refused_before_training(
    tmp_path, monkeypatch, changes, options, message
):
    def never(*_, **__):
        raise Killed

    monkeypatch.setattr(model_size, "train", never)
    keep_run(*small_plan(["alexnet"]), tmp_path)
    same = {"train_set": Stripes(), "val_set": Stripes(9), "pictures": 10}
    same |= {"out": tmp_path, "device": "cpu", "progress": False}
    with pytest.raises(Killed):
        train_rows(small_plan(["zfnet"]), **same)
    with pytest.raises(BadInput, match=message):
        train_rows(small_plan(["zfnet"], **changes), **{**same, **options})
    # A row that is measured again may have been measured on any number.
    (row,) = tmp_path.rglob("row.json")
    row.write_text(json.dumps({"network": "alexnet", "seed": 0, "val_pictures": 5}))
    with pytest.raises(Killed):
        train_rows(small_plan(["alexnet"]), **same)


@pytest.mark.parametrize(
    ("options", "message"), [({"pictures": 0}, "pictures must be"), ({"device": "gpu"}, "device")]
)
def test_bad_options(tmp_path, options, message):
    with pytest.raises(BadInput, match=message):
        go(small_plan(), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_no_validation_pictures(tmp_path):
    for none in (None, Stripes(0)):
        with pytest.raises(BadInput, match="validation pictures"):
            train_rows(small_plan(), Stripes(), none, tmp_path, progress=False)


# The table


def measured(errors: dict[str, list[tuple[float, float, float]]], failed=()) -> dict:
    rows = [
        {
            "network": name,
            "seed": seed,
            **dict(zip(table3.ERRORS, values, strict=True)),
            "parameters": 10,
            "seconds": 60.0,
            "wrong": {"train": "", "val": ""},  # so many pictures that they leave no doubt
            **dict.fromkeys(table3.SIZES, 0),
        }
        for name, runs in errors.items()
        for seed, values in enumerate(runs)
    ]
    return {"rows": rows, "failed": list(failed)}


def noise(seed: int, runs: int = 2) -> dict:
    """A table in which all networks are alike: 60 %, give or take half a point."""
    rng = np.random.default_rng(seed)
    return measured({name: [tuple(rng.normal(60, 0.5, 3)) for _ in range(runs)] for name in NAMES})


def as_published(shift: float = 10.0) -> dict:
    """A table that is the paper's own, but for a constant."""
    return measured(
        {row["network"]: [tuple(row[k] + shift for k in table3.ERRORS)] * 2 for row in variants()}
    )


def test_missing_rows_are_said_to_be_missing(tmp_path):
    """No file, or a part of one: the paper's values are all there, ours are NaN."""
    empty = table3.table3(tmp_path / "nothing.json")
    assert list(empty.index) == NAMES
    assert empty["val_top1"].isna().all() and (empty["seeds"] == 0).all()
    assert empty.loc["alexnet-no3467", "paper_val_top1"] == 71.3
    text = table3.in_text(empty)
    assert (text["ours, val top-1"] == table3.NOT_YET).all()
    assert table3.rank_correlation(empty) is None
    assert table3.gaps(empty)["ours"].isna().all()
    assert all(
        c.ours is None and c.agrees is None
        for c in table3_verdicts.conclusions({"rows": [], "failed": []})
    )

    part = measured({"alexnet": [(50, 60, 30), (52, 63, 31)], "alexnet-no67": [(55, 66, 35)]})
    table = table3.table3(part)
    assert table.loc["alexnet", "val_top1"] == 61.5
    spread = math.sqrt(4.5)  # of the one row with two runs, and taken for all rows
    assert table.loc["alexnet", "val_top1_se"] == pytest.approx(spread / math.sqrt(2))
    assert table.loc["alexnet-no67", "val_top1_se"] == pytest.approx(spread)
    assert math.isnan(table.loc["zfnet", "val_top1_se"])
    text = table3.in_text(table)
    assert text.loc["alexnet", "ours, val top-1"] == "61.5 ± 1.50"
    assert text.loc["alexnet-no67", "ours, train top-1"] == "55.0 ± 1.41"
    assert text.loc["zfnet", "ours, train top-1"] == table3.NOT_YET
    found = {c.what: c for c in table3_verdicts.conclusions(part)}
    one = found["Removing layers 6, 7 costs only a little"]
    assert one.ours == pytest.approx(4.5) and one.paper == pytest.approx(4.3)
    assert one.spread == pytest.approx(math.sqrt(4.5 * (1 / 2 + 1)))
    # A single repeated run, and pictures without end.
    assert one.doubt == pytest.approx(12.7062 * one.spread, rel=1e-4)
    assert one.agrees is None and one.note == table3_verdicts.FEW_RUNS
    assert "needs 3 repeated runs" in table3_verdicts.chance_in_words(part)
    assert sum(c.ours is not None for c in found.values()) == 1


def test_the_papers_own_table_agrees_with_the_paper():
    content = as_published()
    table = table3.table3(content)
    for name in table3.ERRORS:
        assert table3.rank_correlation(table, name) == pytest.approx(1)
        assert table3.seed_spread(content, name) == pytest.approx(0)
    for c in table3_verdicts.conclusions(content):
        # sums of rows with weights that do not add up to 0 would feel the constant
        assert c.ours == pytest.approx(c.paper) and c.agrees is True
    assert np.allclose(table3.gaps(table)["ours"], table3.gaps(table)["paper"])


def test_the_papers_differences():
    """As its text has them (Sec. 5.1)."""
    paper = [round(c.paper, 1) for c in table3_verdicts.conclusions({"rows": [], "failed": []})]
    assert paper == [30.8, 25.9, 26.5, 21.6, 4.3, 4.9, 0.9, 11.1, 0.4, 8.8, 0.8]
    rows = table3.errors({"rows": [], "failed": []})["paper_val_top1"]
    changes = [
        abs(rows[f"{name}-fc{units}"] - rows[name])
        for name in ("alexnet", "zfnet")
        for units in (2048, 8192)
    ]
    assert max(changes) == pytest.approx(table3_verdicts.LITTLE)


def test_a_reversed_table_disagrees():
    flat = measured(
        {row["network"]: [tuple(100 - row[k] for k in table3.ERRORS)] * 2 for row in variants()}
    )
    assert table3.rank_correlation(table3.table3(flat)) == pytest.approx(-1)
    verdicts = [c.agrees for c in table3_verdicts.conclusions(flat)]
    # 4.3 and 4.9 points are small, won or lost, and 0.4 points are little.
    assert verdicts == [False] * 4 + [True] * 2 + [False] * 2 + [True] + [False] * 2
    assert {c.note for c in table3_verdicts.conclusions(flat) if "Removing" in c.what} == {
        "Here their removal even helps."
    }


def test_where_nothing_is_lost_no_costs_add_up():
    """Without 3, 4: 4 points better, without 6, 7: 5, without all: 3. More than -4 - 5, and yet."""
    errors = {"alexnet": 60, "alexnet-no34": 56, "alexnet-no67": 55, "alexnet-no3467": 57}
    content = measured({name: [(60, top1, 30)] * 2 for name, top1 in errors.items()})
    facts = {k: model_size.planned()[k] for k in ("data", "settings")}
    found = {c.what: c for c in table3_verdicts.conclusions({**content, **facts})}
    worse, depth = found[table3_verdicts.WORSE], found[table3_verdicts.DEPTH]
    assert worse.ours == -3 and worse.agrees is False
    assert depth.ours == 6 and depth.agrees is False and depth.note.startswith("Nothing is lost")
    assert "After 15 epochs the best network still errs on 60 % of its training" in depth.note
    lost = measured({**{k: [(60, v, 30)] * 2 for k, v in errors.items()}, "alexnet": [(60, 40, 9)]})
    found = {c.what: c for c in table3_verdicts.conclusions(lost)}
    assert found[table3_verdicts.WORSE].agrees is True
    assert found[table3_verdicts.DEPTH].agrees is False  # 57 + 40 - 56 - 55


@pytest.mark.parametrize(
    ("expected", "ours", "doubt", "want"),
    [
        ("more", 3.0, 2.0, True),
        ("more", 1.5, 2.0, WITHIN),
        ("more", -1.5, 2.0, WITHIN),
        ("more", -3.0, 2.0, False),
        ("more", 30.0, None, None),
        ("more", -30.0, None, None),
        ("little", 3.9, 2.0, True),
        ("little", -3.9, 0.5, True),
        ("little", -4.1, 2.0, "in part"),
        ("little", -4.1, 0.0, "in part"),
        ("alike", 1.8, 0.5, True),
        ("alike", -1.8, 0.5, True),
        ("alike", 2.2, 0.5, WITHIN),
        ("alike", -2.2, 0.5, WITHIN),
        ("alike", -2.4, 0.5, False),
        ("alike", 0.0, None, None),
        ("little", 5.9, 2.0, WITHIN),
        ("little", 6.1, 2.0, False),
        ("little", 3.9, None, None),
        ("not less", 2.1, 2.0, True),
        ("not less", 1.9, 2.0, WITHIN),
        ("not less", -1.9, 2.0, WITHIN),
        ("not less", -2.1, 2.0, False),
        ("not less", 0.1, None, None),
    ],
)
def test_verdicts(expected, ours, doubt, want):
    """Of a difference that is 4 in the paper."""
    assert table3_verdicts.verdict(expected, 4.0, ours, doubt) == want


@pytest.mark.parametrize("expected", ["more", "little", "not less", "alike"])
def test_more_chance_gives_no_more_agreement(expected):
    for ours in np.linspace(-10, 10, 41):
        verdicts = [table3_verdicts.verdict(expected, 4.0, ours, doubt) for doubt in (0, 1, 3, 9)]
        assert all(a is True or b is not True for a, b in pairwise(verdicts))


def test_one_run_each_concludes_nothing():
    """Twelve alike networks: their differences are all chance, and none of it is known."""
    for c in table3_verdicts.conclusions(noise(0, runs=1)):
        assert c.ours is not None and c.spread is None and c.doubt is None
        assert c.agrees is None and c.note == table3_verdicts.ONE_RUN
    assert "no" in table3_verdicts.chance_in_words(noise(0, runs=1)).lower()


def test_alike_networks_seldom_differ():
    """Two runs each: chance passes for a difference as seldom as `SURE` promises."""
    found = [c for seed in range(40) for c in table3_verdicts.conclusions(noise(seed))]
    above = [c.agrees for c in found if "little" not in c.what]
    assert len(above) == 40 * 8
    assert sum(one is True for one in above) / len(above) < 0.05  # one side of 0.05, and some luck
    assert sum(one is False for one in above) / len(above) < 0.05
    assert above.count(WITHIN) > 0.88 * len(above)


def asked(content: dict, wrong: dict[str, list[str]]) -> dict:
    """A table of runs that were asked about pictures: "10" is wrong about the first of two."""
    for name, texts in wrong.items():
        runs = (row for row in content["rows"] if row["network"] == name)
        for row, text in zip(runs, texts, strict=True):
            bits = np.array([digit == "1" for digit in text])
            row.update(val_top1=100 * bits.mean(), val_pictures=len(bits))
            row["wrong"] = {"train": "", "val": table3.packed(bits)}
    return content


def test_the_doubt_of_the_pictures_by_hand():
    one = [(50, 50, 50)]
    runs = {"alexnet": ["1111000000"], "alexnet-no67": ["1111110000", "1111111100"]}
    table = asked(measured({"alexnet": one, "alexnet-no67": one * 2}), runs)
    weights = {"alexnet-no67": 1, "alexnet": -1}
    shares = [0, 0, 0, 0, 1, 1, 0.5, 0.5, 0, 0]  # one wrong more of each picture
    by_hand = 100 * np.std(shares, ddof=1) / math.sqrt(10)
    assert table3.picture_error(table, weights, "val_top1") == pytest.approx(by_hand)
    assert table3.picture_error(table, {"alexnet": 1}, "val_top1") == pytest.approx(
        100 * math.sqrt(0.24 / 9)
    )  # as of any share
    assert table3.picture_error(table, weights, "train_top1") == 0  # none were asked
    with pytest.raises(UnknownName, match="val_top5"):
        table3.picture_error(table, weights, "val_top5")


def test_pictures_and_starts_together():
    """As squares; with Welch's degrees of freedom."""
    together, doubt = table3_verdicts.chance_of(0.3, 0.4, 2)
    assert together == pytest.approx(0.5)
    freedom = 0.5**4 / (0.3**4 / 2)
    assert doubt == pytest.approx(0.5 * table3_verdicts.counts_from(freedom))
    assert table3_verdicts.chance_of(0.3, 0, 1)[1] == pytest.approx(0.3 * 12.7062, rel=1e-4)
    assert table3_verdicts.chance_of(0, 0.4, 1)[1] == pytest.approx(0.4 * 1.96, rel=1e-3)
    assert table3_verdicts.chance_of(0, 0, 1) == (0, 0)


def test_few_pictures_leave_a_difference_within_chance():
    """Runs that repeat to the point, and 5 points apart: of 40 pictures those are two."""
    names = ("zfnet", "zfnetb", "alexnet")
    several = {name: [(50, 50.0, 50)] * 2 for name in names}
    many = {"zfnet": 0.55, "zfnetb": 0.5, "alexnet": 0.5}
    what = "Wider layers 3, 4, 5 lower the validation error"
    for count, agrees in ((40, WITHIN), (10_000, True)):
        texts = {
            n: ["1" * int(p * count) + "0" * (count - int(p * count))] * 2 for n, p in many.items()
        }
        found = table3_verdicts.conclusions(asked(measured(several), texts))
        one = next(c for c in found if c.what == what)
        assert one.ours == pytest.approx(5) and one.agrees == agrees
        assert one.spread == pytest.approx(100 * math.sqrt(0.05 * 0.95 / (count - 1)))


def test_notes_say_why():
    """The layers' shares beside what rests on layers 6 and 7, and only there."""
    content = {**noise(3), **{k: model_size.planned()[k] for k in ("data", "settings")}}
    for c in table3_verdicts.conclusions(content):
        assert (c.note == "") == (c.agrees is True)
        rests = "6, 7" in c.what or "Removed together" in c.what or "on top of" in c.what
        assert ("holds 5% of the parameters instead of 61%" in c.note) == (c.note != "" and rests)
        assert (c.agrees == WITHIN) == (f"± {c.doubt:.1f} points" in c.note)
    flat = measured(
        {row["network"]: [tuple(100 - row[k] for k in table3.ERRORS)] * 2 for row in variants()}
    )
    notes = {c.what: c.note for c in table3_verdicts.conclusions(flat)}
    assert notes["Wider layers 3, 4, 5 lower the validation error"].startswith("Smaller pictures")


def test_the_shown_claims():
    shown = table3_verdicts.claims(as_published())
    assert [c.what for c in shown[:-1]] == [claim[0] for claim in table3_verdicts.CLAIMS]
    assert shown[0].paper == "+30.8 points" and shown[0].ours == "+30.8 ± 0.00 points"
    assert shown[-1].paper == "1 (its own order)" and shown[-1].ours == "1.00"
    assert all(c.agrees is True for c in shown)
    assert all(c.ours is None for c in table3_verdicts.claims({"rows": [], "failed": []}))


def test_the_spread_over_seeds_is_pooled():
    """By hand: rows with 2 and 3 seeds, and one that says nothing."""
    content = measured(
        {
            "alexnet": [(1, 1, 1), (3, 1, 1)],
            "zfnet": [(4, 1, 1), (5, 1, 1), (9, 1, 1)],
            "zfnetb": [(90, 1, 1)],
        }
    )
    assert table3.seed_spread(content, "train_top1") == pytest.approx(math.sqrt((2 + 14) / 3))
    assert table3.repeats(content) == 3
    alone = measured({"zfnet": [(4, 1, 1)]})
    assert table3.seed_spread(alone, "train_top1") is None and table3.repeats(alone) == 0
    assert table3.errors(content).loc["zfnetb", "train_top1_se"] == pytest.approx(math.sqrt(16 / 3))
    assert table3.errors(content).loc["zfnet", "train_top1_se"] == pytest.approx(4 / 3)
    words = table3_verdicts.chance_in_words(content)
    assert "training error spreads by 2.31 points" in words and "3 repeated runs" in words


def test_errors_are_those_of_the_table():
    content = noise(1)
    light, full = table3.errors(content), table3.table3(content)
    pd.testing.assert_frame_equal(light, full[list(light)], check_names=False)


def test_rank_correlation_by_hand():
    """Paper: alexnet 40.5, no34 45.4, no67 44.8, no3467 71.3. Two neighbours swapped of four."""
    content = measured(
        {
            "alexnet": [(0, 50, 0)],
            "alexnet-no34": [(0, 60, 0)],
            "alexnet-no67": [(0, 61, 0)],
            "alexnet-no3467": [(0, 70, 0)],
        }
    )
    table = table3.table3(content)
    assert table3.rank_correlation(table) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert table3.rank_correlation(table, "train_top1") is None  # all alike: no order
    with pytest.raises(UnknownName, match="val_top1"):
        table3.rank_correlation(table, "error")


@pytest.mark.parametrize(
    ("rows", "order", "want"),
    [
        (12, "paper", True),
        (10, "paper", True),
        (9, "paper", None),
        (3, "paper", None),
        (12, "reversed", False),
        (12, "half", "in part"),
    ],
)
def test_an_order_of_few_rows_is_no_verdict(rows, order, want):
    chosen = variants()[:rows]
    paper = {row["network"]: row["val_top1"] for row in chosen}
    if order == "reversed":
        paper = {name: 100 - error for name, error in paper.items()}
    if order == "half":  # the best taken for the worst: a correlation of 0.54
        paper[min(paper, key=paper.get)] = 80.0
    found = table3_verdicts.order(
        measured({name: [(0, error, 0)] for name, error in paper.items()})
    )
    assert found.agrees is want or found.agrees == want
    assert found.note.startswith(f"Over {rows} of the 12 networks, 0 of them from several runs.")
    assert ("A verdict needs 10" in found.note) == (rows < 10)
    assert ("few points of each other" in found.note) == (want not in (True, None))


def test_two_networks_alone_may_break_the_order():
    rows = {row["network"]: [(0, row["val_top1"], 0)] for row in variants()}
    rows |= {"alexnet-no3467": [(0, 10.0, 0)], "alexnet-no67": [(0, 11.0, 0)]}
    found = table3_verdicts.order(measured(rows))
    assert found.agrees is not True
    assert "Without the two networks that lack layers 6 and 7 it is 1.00." in found.note


def test_no_order_of_nothing():
    found = table3_verdicts.order({"rows": [], "failed": []})
    assert (found.ours, found.agrees, found.note) == (None, None, "")


def test_a_damaged_file(tmp_path):
    path = tmp_path / "table3.json"
    lacking = json.dumps(measured({"zfnet": [(1, 2, 3)]})).replace("val_top5", "top5")
    texts = ['{"rows": [', "[]", '{"rows": []}', '{"rows": 1, "failed": []}', lacking]
    for text in [*texts, '{"rows": ["alexnet"], "failed": []}', '{"rows": [], "failed": [{}]}']:
        path.write_text(text)
        with pytest.raises(BadInput, match=r"table3\.json is damaged"):
            table3.table3(path)


@pytest.mark.parametrize("text", ["/w==", "//8A", "/w\n==", "w", 5])
def test_damaged_pictures_of_a_row(tmp_path, text):
    """Too few, too many, or no base64: 12 pictures are two bytes."""
    table = asked(measured({"zfnet": [(1, 2, 3)]}), {"zfnet": ["101010101010"]})
    path = tmp_path / "table3.json"
    path.write_text(json.dumps(table))
    assert table3.kept(path) == table
    table["rows"][0]["wrong"]["val"] = text
    path.write_text(json.dumps(table))
    with pytest.raises(BadInput, match=r"table3\.json is damaged"):
        table3.kept(path)


def test_what_travels_with_the_package():
    """Whatever has been measured so far can be read, and is of Table 3's networks."""
    content = table3.kept()
    assert {row["network"] for row in content["rows"]} <= set(NAMES)
    table = table3.table3()
    assert isinstance(table, pd.DataFrame) and len(table) == 12
    for name in table3.ERRORS:
        assert table[name].dropna().between(0, 100).all()


def test_the_reduced_scale_in_numbers():
    planned = model_size.planned()
    full, small = table3.shares(), table3.shares(**table3.size_of(planned))
    hidden = 256 * 36 * 4096 + 4096
    assert full["layer 6"] == pytest.approx(hidden / 62_357_608)
    assert full["layers 6, 7"] == pytest.approx((hidden + 4096**2 + 4096) / 62_357_608)
    assert (full["values"], small["values"]) == (9216, 128)
    own = table3.reduced(planned, "zfnet")
    assert own.shapes["fc8"] == (200,) and own.shapes["pool5"] == (128, 1, 1)
    everything = sum(p.numel() for p in own.parameters())
    assert small["layer 6"] == pytest.approx((128 * 2048 + 2048) / everything)
    middle = sum(p.numel() for n in (3, 4, 5) for p in getattr(own, f"conv{n}").parameters())
    assert small["layers 3 to 5"] == pytest.approx(middle / everything)


# The command


def call(*words):
    app = typer.Typer()
    app.command()(model_size.model_size)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_command(tmp_path):
    """On folders of pictures, from the command line to the file."""
    for split, count in (("train", 8), ("val", 2)):
        data = Stripes(3 * count, first=0 if split == "train" else 50)
        for i in range(len(data)):
            picture, target = data[i]
            folder = tmp_path / "pictures" / split / data.classes[target]
            folder.mkdir(parents=True, exist_ok=True)
            picture.save(folder / f"{i}.png")
    words = ["--data", tmp_path / "pictures", "--out", tmp_path / "runs", "--cache", tmp_path]
    words += ["--results", tmp_path / "t.json", "--epochs", 1, "--batch", 8, "--width", 0.03]
    words += ["--device", "cpu", "--only", "alexnet-no3467,zfnet", "--seeds", 1, "--threads", 1]
    done = call(*words)
    assert done.exit_code == 0, done.exception
    assert "zfnet, seed 0: train" in done.output
    content = json.loads((tmp_path / "t.json").read_text())
    assert [row["network"] for row in content["rows"]] == ["alexnet-no3467", "zfnet"]
    assert "--only alexnet-no3467 --only zfnet" in content["command"]
    assert call(*words, "--only", "zfnt").exception.args[0].startswith("Unknown row of Table 3")
    assert call(*words, "--threads", 0).exit_code == 2


def test_a_mistake_is_one_sentence():
    words = [sys.executable, "-m", "zfnb.model_size", "--data", "stamps", "--only", "zfnt"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("zfnb.model_size: Unknown row of Table 3 'zfnt'. Did you mean")
    assert "Traceback" not in done.stderr
