"""A run that starts from another's state ends as if it had been started alone."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from tests.test_training import Stripes, run, settings
from zfnb import checkpoints, training
from zfnb.errors import BadInput, MissingData
from zfnb.recipes import trapezoid
from zfnb.runs import read_log
from zfnb.training import train


class Enough(Exception):
    """Ends a run between two of its steps."""


def stop_after(steps: int):
    def on_step(state):
        if state.global_step == steps:
            raise Enough

    return on_step


def chosen(**changes):
    return settings(**{"epochs": 4, "warm_up": 0.5, "cool_down": 2.0, **changes})


@pytest.fixture
def trunk(tmp_path):
    """A run of 4 epochs of 6 steps that was stopped in its 2nd; its rate falls from epoch 2 on."""
    with pytest.raises(Enough):
        run(tmp_path / "trunk", chosen(), checkpoint_every=1, on_step=stop_after(9))
    return tmp_path / "trunk"


def test_the_trapezoid():
    def at(done):
        return trapezoid(done, 10, 1, 4)

    assert [at(d) for d in (0, 0.5, 1, 3, 6, 8, 9, 10)] == [0, 0.5, 1, 1, 1, 0.5, 0.25, 0]
    assert trapezoid(3, 10, 0, 0) == 1
    # What comes before the cool-down does not know how many epochs there will be.
    assert all(trapezoid(d, 10, 1, 4) == trapezoid(d, 90, 1, 4) for d in (0.2, 1, 5, 6))


@pytest.mark.parametrize("epochs", [3, 6])
def test_a_branch_is_a_run_of_its_own_bit_for_bit(trunk, tmp_path, epochs):
    alone = run(tmp_path / "alone", chosen(epochs=epochs, cool_down=1.0))
    branched = run(tmp_path / "branch", chosen(epochs=epochs, cool_down=1.0), branch_of=trunk)
    assert branched == alone
    one, two = (read_log(tmp_path / name) for name in ("alone", "branch"))
    assert [line["loss"] for line in one["step"]] == [line["loss"] for line in two["step"]]
    assert len(two["epoch"]) == epochs
    names = sorted(path.name for path in (tmp_path / "alone" / "snapshots").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "branch" / "snapshots").iterdir())
    facts = json.loads((tmp_path / "branch" / "run.json").read_text())
    assert facts["branch"] == {"epochs": 4, "step": 9}


def test_a_branch_can_be_interrupted_too(trunk, tmp_path):
    new = chosen(epochs=3, cool_down=1.0)
    with pytest.raises(Enough):
        run(tmp_path / "b", new, branch_of=trunk, checkpoint_every=1, on_step=stop_after(11))
    resumed = run(tmp_path / "b", new, branch_of=trunk, resume=True)
    assert resumed == run(tmp_path / "alone", new)


def test_the_run_it_left_goes_on(trunk, tmp_path):
    before = {p.name: p.read_bytes() for p in (trunk / "checkpoints").iterdir()}
    run(tmp_path / "b", chosen(epochs=3, cool_down=1.0), branch_of=trunk)
    assert before == {p.name: p.read_bytes() for p in (trunk / "checkpoints").iterdir()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.02}, "other settings"),
        ({"seed": 1}, "other settings"),
        ({"epochs": 2, "cool_down": 1.0}, "stands at epoch 1.50, but the new run's"),
        ({"schedule": "cosine"}, "trapezoid"),
    ],
)
def test_refused_branches(trunk, tmp_path, changes, message):
    with pytest.raises(BadInput, match=message):
        run(tmp_path / "b", chosen(**changes), branch_of=trunk)


def test_a_branch_on_other_pictures(trunk, tmp_path):
    """Its settings are the same, but the pictures have changed since."""
    options = {"branch_of": trunk, "progress": False, "device": "cpu"}
    with pytest.raises(BadInput, match=r"training pictures whose checksum is .*; a branch needs"):
        train(chosen(epochs=6), Stripes(first=7), None, tmp_path / "b", **options)
    assert not (tmp_path / "b").exists()


def test_a_checkpoint_that_is_gone_before_it_is_copied(trunk, tmp_path, monkeypatch):
    """The run goes on meanwhile, and keeps its newest checkpoints only."""
    load = checkpoints.load_latest

    def then_gone(folder):
        found = load(folder)
        for path in folder.iterdir():
            path.unlink()
        return found

    monkeypatch.setattr(checkpoints, "load_latest", then_gone)
    with pytest.raises(BadInput, match=r"checkpoint .* has not arrived .*; try again"):
        run(tmp_path / "b", chosen(epochs=6), branch_of=trunk)
    assert not (tmp_path / "b" / "run.json").exists()


def test_a_fresh_run_has_nothing_of_a_killed_branch(trunk, tmp_path, monkeypatch):
    """Killed after the trunk's files were copied, and before there was a run.json."""

    def killed(*_):
        raise Enough

    with monkeypatch.context() as patch:
        patch.setattr(training, "write_json", killed)
        with pytest.raises(Enough):
            run(tmp_path / "b", chosen(epochs=6), branch_of=trunk)
    left = [*(tmp_path / "b").rglob("step-*"), *(tmp_path / "b").rglob("epoch-*")]
    assert len(left) == 3 and len(read_log(tmp_path / "b")["step"]) == 9
    (tmp_path / "b" / "checkpoints" / "mine.txt").write_text("")  # what is not a run's stays
    with pytest.raises(Enough):
        run(tmp_path / "b", chosen(epochs=6), on_step=stop_after(1))
    files = sorted(path.name for path in (tmp_path / "b").rglob("*") if path.is_file())
    assert files == ["mine.txt", "run.json"]


def test_a_run_in_its_cool_down_is_past_branching(tmp_path):
    run(tmp_path / "whole", chosen())
    with pytest.raises(BadInput, match="that run's learning rate falls"):
        run(tmp_path / "b", chosen(epochs=9), branch_of=tmp_path / "whole")


def test_nothing_to_branch_from(tmp_path):
    with pytest.raises(BadInput, match="no run"):
        run(tmp_path / "b", chosen(), branch_of=tmp_path / "none")


def test_curves_for_tensorboard(tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder, purge_step):
            assert folder.endswith("tensorboard") and purge_step == 0

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

        def close(self):
            written.append("closed")

    fake = SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    run(tmp_path / "r", chosen(epochs=2, cool_down=1.0), tensorboard=True)
    log = read_log(tmp_path / "r")
    assert written.pop() == "closed" and "closed" not in written
    losses = [(value, step) for name, value, step in written if name == "step/loss"]
    assert losses == [(line["loss"], line["step"]) for line in log["step"]]
    assert len({step for _, step in losses}) == len(losses) > 2
    last = log["epoch"][-1]["held_error"]
    assert ("epoch/held_error", last, log["step"][-1]["step"]) in written


def test_curves_of_a_run_that_is_interrupted(tmp_path, monkeypatch):
    closed = []
    writer = SimpleNamespace(add_scalar=lambda *_: None, close=lambda: closed.append(True))
    monkeypatch.setattr(training, "tensorboard_writer", lambda folder, step: writer)
    with pytest.raises(Enough):
        run(tmp_path / "r", chosen(), tensorboard=True, on_step=stop_after(1))
    assert closed == [True]


def test_tensorboard_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingData, match="pip install tensorboard"):
        run(tmp_path / "r", chosen(epochs=2, cool_down=1.0), tensorboard=True)
    assert not (tmp_path / "r" / "run.json").exists()  # so the same folder will do without it
