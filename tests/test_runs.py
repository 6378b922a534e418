"""What files say of runs and measurements, and how they are read again."""

from __future__ import annotations

import calendar
import json
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import zfnb
from zfnb import classification, occlusion_truth, report, runs, table1
from zfnb.checkpoints import CannotSave
from zfnb.errors import BadInput
from zfnb.recipes import Recipe, lasting, recipe_named
from zfnb.runs import (
    check_same,
    command,
    measurement,
    read_log,
    read_results,
    write_json,
)
from zfnb.training import Settings

CPU = torch.device("cpu")


def test_a_measurement():
    before = time.time()
    found = measurement("zfnb do --it", CPU, seed=3)
    assert list(found) == ["command", "seed", "date", "code", "machine"]
    assert found["command"] == "zfnb do --it" and found["seed"] == 3
    then = time.strptime(found["date"], "%Y-%m-%dT%H:%M:%SZ")
    assert 0 <= calendar.timegm(then) - int(before) <= 60
    assert found["code"]["zfnb"] == zfnb.__version__
    assert list(found["code"]) == ["zfnb", "commit", "changed"]
    assert found["machine"]["device"].startswith("CPU (")
    assert found["machine"]["torch"] == torch.__version__


def test_another_repository_around_the_package_is_not_asked(monkeypatch):
    """As of an environment inside the checkout of something else."""
    monkeypatch.setattr(runs, "PACKAGE", runs.PACKAGE / "data")
    assert runs.git("rev-parse", "HEAD") == ""
    assert runs.commit.__wrapped__() == {"commit": None, "changed": []}


def test_the_report_and_the_measurements_name_one_commit():
    assert (found := runs.commit()["commit"]) is None or len(found) == 40
    named = report.environment().get("commit", "").removesuffix("-dirty")
    assert (found or "").startswith(named) and bool(named) == bool(found)


def test_kept_files_say_the_same():
    """In the words and the order that a measurement of now would have."""
    words = list(measurement("", CPU))
    parts = list(measurement("", CPU)["machine"]), list(measurement("", CPU)["code"])
    runs = [row["measured"] for row in occlusion_truth.kept()]
    assert all(list(run) == [*measurement("", CPU, seed=0), "seconds"] for run in runs)
    others = classification.kept()["measured"] + table1.kept()["measured"]
    assert others and all(list(run)[:5] == [*words, "seconds"] for run in others)
    for run in runs + others:
        assert (list(run["machine"]), list(run["code"])) == parts


def line(recipe: Recipe, **changes) -> str:
    size = {"input_size": 64, "width": 0.5, **changes}
    return command(Settings("alexnet", "stamps", recipe, **size))


def test_the_command_of_a_preset():
    modern = recipe_named("modern")
    rest = "--input-size 64 --width 0.5 --precision float32 --seed 0 --holdout 0"
    start = "zfnb train alexnet --data stamps --recipe modern"
    assert line(modern) == f"{start} {rest}"
    assert line(lasting(modern, 15)) == f"{start} --epochs 15 {rest}"
    assert line(lasting(modern, 10)) == f"{start} --epochs 10 --cool-down 5.0 {rest}"
    # The command line would shorten it to half of the epochs.
    assert line(replace(modern, epochs=10)) == f"{start} --epochs 10 --cool-down 7.0 {rest}"
    changed = replace(modern, batch=32, lr=0.1, dropout=0.2)
    assert line(changed) == f"{start} --batch 32 --lr 0.1 --dropout 0.2 {rest}"
    tuned = line(replace(modern, lr=0.003), weights="/there/a.safetensors")
    assert tuned == f"{start} --weights a.safetensors --lr 0.003 {rest}"


def test_a_recipe_that_no_command_line_gives():
    modern = recipe_named("modern")
    changed = replace(modern, weight_decay=0.1, warm_up=2.0)
    said = "no command line: the recipe modern with another weight_decay, warm_up; see the settings"
    assert line(changed) == line(changed, weights="a.safetensors") == said
    assert line(Recipe("mine")) == "no command line: the recipe mine is no preset; see the settings"


def test_settings_of_earlier_versions(tmp_path):
    """What a run does not name is None in it, on either side."""
    old = {"settings": {"lr": 0.1, "recipe": {"std": None}}, "data": {"name": "a"}}
    same = {
        "settings": {"lr": 0.1, "weights": None, "recipe": {"std": None}},
        "data": {"name": "a"},
    }
    check_same(old, same, tmp_path)
    check_same(same, old, tmp_path)
    other = {**same, "settings": {**same["settings"], "weights": "w"}}
    for pair in ((old, other), (other, old)):
        with pytest.raises(BadInput, match=r"weights = .*; continue with the same"):
            check_same(*pair, tmp_path)
    with pytest.raises(BadInput, match=r"name = 'a', not 'b'"):
        check_same(old, {**same, "data": {"name": "b"}}, tmp_path)


def test_checksums_are_called_so(tmp_path):
    """`weights` of the settings is a name; that of the start, and `sampled`, are checksums."""
    for part, key, said in (
        ("data", "sampled", "training pictures whose checksum is 'a1', not 'b2'; do this."),
        ("start", "weights", "weights whose checksum is 'a1', not 'b2'; do this."),
        ("settings", "weights", "weights = 'a1', not 'b2'; do this."),
    ):
        with pytest.raises(BadInput, match=f"was started with {said}$"):
            check_same({part: {key: "a1"}}, {part: {key: "b2"}}, tmp_path, "do this")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"rows": null}', '{"lines": []}'])
def test_a_damaged_file_of_results(tmp_path, text):
    path = tmp_path / "table9.json"
    path.write_text(text)
    again = r"^table9\.json is damaged \(.*\); remove it and make it again with `zfnb do`\.$"
    with pytest.raises(BadInput, match=again):
        read_results(path, "zfnb do", lambda found: len(found["rows"]))


def test_no_file_of_results(tmp_path):
    said = r"^There is no file table9\.json; make it with `zfnb do`\.$"
    with pytest.raises(BadInput, match=said):
        read_results(tmp_path / "table9.json", "zfnb do")


def test_a_folder_is_no_file_of_results(tmp_path):
    with pytest.raises(BadInput, match=r"is a folder; give a file in it, such as .*results\.json"):
        read_results(tmp_path, "zfnb do")


def test_a_file_of_results(tmp_path):
    path = tmp_path / "table9.json"
    path.write_text(json.dumps({"rows": [1, 2]}))
    assert read_results(path, "zfnb do") == {"rows": [1, 2]}
    assert read_results(path, "zfnb do", lambda found: SimpleNamespace(**found)).rows == [1, 2]


@pytest.mark.parametrize("line", ["5", "[]", '{"loss": 1}', '{"kind": "other"}'])
def test_a_log_that_is_none(tmp_path, line):
    (tmp_path / "log.jsonl").write_text('{"kind": "step", "loss": 1.0}\n' + line + "\n")
    with pytest.raises(BadInput, match="is no log of a run"):
        read_log(tmp_path)


def test_a_log_that_was_cut_short(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"kind": "step", "loss": 1.0}\n{"kind": "st')
    assert read_log(tmp_path) == {"step": [{"loss": 1.0}], "epoch": []}


def test_a_file_that_cannot_be_written(tmp_path):
    """It speaks of checkpoints only where there are some."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotSave, match=r"could not be written.*and try again") as caught:
        write_json(tmp_path / "file" / "table2.json", {})
    assert "checkpoint" not in str(caught.value) and "space" not in str(caught.value)
