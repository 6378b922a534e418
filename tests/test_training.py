"""Runs that are killed, damaged, shared by processes or misused; the recipes' parts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import distributed as dist
from torch import nn

import zfnb
from zfnb import checkpoints, training
from zfnb.batches import hold_out, mean_picture
from zfnb.checkpoints import CannotSave
from zfnb.data.pictures import Preprocessing
from zfnb.errors import BadInput, UnknownName
from zfnb.models import build, describe_variant
from zfnb.processes import Processes, choose_device, exact, processes
from zfnb.recipes import Plateau, clip_filters, cosine, filter_rms, filters, recipe_named, start
from zfnb.runs import read_log
from zfnb.training import Run, Settings, snapshot_epochs, train


class Stripes:
    """Three classes that differ in the direction of their stripes and their colour."""

    name = "stripes"
    classes = ("rows", "columns", "neither")
    synsets = ("n01", "n02", "n03")

    def __init__(self, count: int = 54, first: int = 0):
        self.targets = [i % 3 for i in range(count)]
        self.first = first

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        target = self.targets[index]
        pixels = np.random.default_rng(self.first + index).integers(0, 90, (40, 44, 3))
        if target == 0:
            pixels[::8, :, 0] += 160
        elif target == 1:
            pixels[:, ::8, 1] += 160
        return Image.fromarray(pixels.astype(np.uint8)), target

    def fingerprint(self):
        return f"{self.first:x}-{len(self):x}".ljust(64, "0")


class Killed(Exception):
    """Stands for the power going off."""


def settings(recipe: str = "modern", **changes) -> Settings:
    own = {name: changes.pop(name) for name in list(changes) if hasattr(recipe_named(recipe), name)}
    own = {"epochs": 2, "batch": 8, "lr": 0.01, **own}
    own = {"cool_down": min(recipe_named(recipe).cool_down, own["epochs"] / 2), **own}
    changes = {"input_size": 48, "width": 0.05, "holdout": 2, **changes}
    return Settings("zfnet", "stripes", replace(recipe_named(recipe), **own), **changes)


def run(folder: Path, chosen: Settings, **options) -> dict:
    options = {"progress": False, "device": "cpu", "cache": folder.parent / "cache", **options}
    return train(chosen, Stripes(), Stripes(12, first=100), folder, **options)


def kill_after(steps: int):
    def on_step(_):
        nonlocal steps
        steps -= 1
        if steps == 0:
            raise Killed

    return on_step


def logged(folder: Path) -> list[dict]:
    """The log without the clock."""
    found = read_log(folder)
    lines = [{"kind": kind, **line} for kind in found for line in found[kind]]
    for line in lines:
        line.pop("seconds", None)
        line.pop("pictures_per_second", None)
    return lines


def assert_same_run(one: Path, other: Path) -> None:
    """Same losses, errors and weights, to the last bit."""
    assert logged(one) == logged(other)
    assert (one / "result.json").read_text() == (other / "result.json").read_text()
    for path in [*one.rglob("*.safetensors")]:
        if path.parent.name == "checkpoints":
            continue  # which two are the newest depends on where the run was interrupted
        first, second = load_file(path), load_file(other / path.relative_to(one))
        assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture(scope="module", params=["modern", "paper"])
def whole(request, tmp_path_factory):
    """A run that was never interrupted, and its settings. Six steps an epoch."""
    folder = tmp_path_factory.mktemp(request.param) / "whole"
    chosen = settings(request.param)
    run(folder, chosen)
    return folder, chosen


@pytest.mark.parametrize("steps", [(1,), (4,), (6,), (7, 1), (2, 3, 2), (12,)])
def test_a_killed_run_goes_on_bit_for_bit(whole, tmp_path, steps):
    """Killed before the first checkpoint, within an epoch, at its end, twice, at the very end."""
    folder, chosen = whole
    mine = tmp_path / "mine"
    for count in steps:
        with pytest.raises(Killed):
            run(mine, chosen, resume=True, checkpoint_every=2, on_step=kill_after(count))
    run(mine, chosen, resume=True, checkpoint_every=2)
    assert_same_run(folder, mine)


def test_sigkill_while_a_checkpoint_is_written(tmp_path):
    """The process dies with the tensors half written; the run goes on from the one before."""
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
import torch
from test_training import checkpoints, run, settings
torch.set_num_threads(1)
real, count = checkpoints.save_file, 0
def half(tensors, path):
    global count
    count += 1
    real(tensors, path)
    if count == 3:
        Path(path).write_bytes(Path(path).read_bytes()[:5000])
        os.kill(os.getpid(), signal.SIGKILL)
checkpoints.save_file = half
run(Path({str(tmp_path / "mine")!r}), settings(), checkpoint_every=2)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL
    left = sorted(p.name for p in (tmp_path / "mine" / "checkpoints").iterdir())
    whole = [f"step-00000000{n}.{end}" for n in (2, 4) for end in ("json", "safetensors")]
    assert left[0].startswith(".step-000000006.") and left[1:] == whole
    run(tmp_path / "whole", settings())
    run(tmp_path / "mine", settings(), resume=True, checkpoint_every=2)
    assert not list((tmp_path / "mine" / "checkpoints").glob(".*"))  # nor what was half written
    assert_same_run(tmp_path / "whole", tmp_path / "mine")


@pytest.mark.parametrize("damage", ["cut short", "one bit", "state", "gone"])
def test_a_damaged_checkpoint_is_passed_over(whole, tmp_path, damage):
    folder, chosen = whole
    mine = tmp_path / "mine"
    with pytest.raises(Killed):
        run(mine, chosen, checkpoint_every=2, on_step=kill_after(5))
    weights = mine / "checkpoints" / "step-000000004.safetensors"
    content = bytearray(weights.read_bytes())
    if damage == "cut short":
        weights.write_bytes(content[:-100])
    elif damage == "one bit":
        content[-50] ^= 1
        weights.write_bytes(content)
    elif damage == "state":
        weights.with_suffix(".json").write_text('{"epoch": 0,')
    else:
        weights.unlink()
    with pytest.warns(UserWarning, match="step-000000004 is damaged"):
        run(mine, chosen, resume=True, checkpoint_every=2)
    assert_same_run(folder, mine)


def test_only_damaged_checkpoints_are_an_error(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path / "r", settings(), checkpoint_every=2, on_step=kill_after(5))
    for path in (tmp_path / "r" / "checkpoints").glob("*.safetensors"):
        path.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(BadInput, match=r"All 2 checkpoints .* start again in another --out"),
    ):
        run(tmp_path / "r", settings(), resume=True)


def test_tensors_without_their_json_do_not_stay(tmp_path):
    """As of a process that was killed between the two files; damaged JSON is not none."""
    tensors = {"a": torch.ones(2)}
    checkpoints.save(tmp_path, 1, tensors, {})
    (tmp_path / "step-000000002.json").write_text("{")
    for step in (2, 3, 9):
        shutil.copy(
            tmp_path / "step-000000001.safetensors", tmp_path / f"step-{step:09d}.safetensors"
        )
    checkpoints.save(tmp_path, 4, tensors, {})
    whole = [f"step-00000000{n}.{end}" for n in (2, 4) for end in ("json", "safetensors")]
    assert sorted(path.name for path in tmp_path.iterdir()) == whole


def test_a_finished_run_without_checkpoints_is_left_as_it_is(whole, tmp_path):
    folder, chosen = whole
    mine = tmp_path / "mine"
    shutil.copytree(folder, mine)
    shutil.rmtree(mine / "checkpoints")
    before = {path.name: path.read_bytes() for path in mine.iterdir() if path.is_file()}
    with pytest.raises(BadInput, match="finished run whose checkpoints are gone"):
        run(mine, chosen, resume=True)
    assert {path.name: path.read_bytes() for path in mine.iterdir() if path.is_file()} == before


def test_a_full_disk_is_said_plainly_and_survived(whole, tmp_path, monkeypatch):
    folder, chosen = whole
    mine = tmp_path / "mine"
    real, count = checkpoints.save_file, 0

    def full(tensors, path, *metadata):
        nonlocal count
        count += 1
        if count == 2:
            Path(path).write_bytes(b"part")
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        real(tensors, path, *metadata)

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(CannotSave, match=r"the disk is full.*--resume"):
        run(mine, chosen, checkpoint_every=2)
    assert [p.name for p in (mine / "checkpoints").glob("*.json")] == ["step-000000002.json"]
    assert not list((mine / "checkpoints").glob(".*"))  # no half-written file is left
    run(mine, chosen, resume=True, checkpoint_every=2)
    assert_same_run(folder, mine)


def test_a_run_describes_itself(whole):
    folder, chosen = whole
    facts = json.loads((folder / "run.json").read_text())
    assert facts["settings"]["recipe"]["name"] == chosen.recipe.name
    assert facts["data"]["training_pictures"] == 48
    assert facts["data"]["held_out_pictures"] == 6
    assert f"--recipe {chosen.recipe.name} --epochs 2 --batch 8" in facts["command"]
    assert facts["machine"]["torch"] == torch.__version__
    lines = logged(folder)
    assert [line["step"] for line in lines if line["kind"] == "step"] == list(range(1, 13))
    assert [line["epoch"] for line in lines if line["kind"] == "epoch"] == [1, 2]
    assert {"held_error", "held_error5", "train_error", "lr"} <= set(lines[-1])
    assert str(folder) not in (folder / "run.json").read_text()  # no place of one machine


def test_a_run_says_what_continued_it(tmp_path, monkeypatch):
    """Another version of the code, say; runs of earlier versions have dates alone."""
    folder, chosen = tmp_path / "r", settings(epochs=1)
    with pytest.raises(Killed):
        run(folder, chosen, on_step=kill_after(1))
    first = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**first, "continued": ["2026-01-01T00:00:00Z"]}))
    monkeypatch.setattr(training, "code", lambda: {"zfnb": "9", "commit": "c", "changed": []})
    with pytest.raises(Killed):
        run(folder, chosen, resume=True, on_step=kill_after(1))
    facts = json.loads((folder / "run.json").read_text())
    date, now = facts.pop("continued")
    assert facts == first and date == "2026-01-01T00:00:00Z"
    assert list(now) == ["date", "code", "machine"]
    assert now["code"]["zfnb"] == "9" and now["machine"] == first["machine"]


def test_the_saved_network_is_the_papers_plain_graph(whole):
    """It loads by name, knows its classes, and holds no batch normalisation."""
    folder, _ = whole
    net = zfnb.load_model("zfnet", weights=folder / "zfnet.safetensors")
    assert net.classes == [("n01", "rows"), ("n02", "columns"), ("n03", "neither")]
    assert net.input_size == 48
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    snapshots = sorted(p.name for p in (folder / "snapshots").iterdir())
    assert snapshots == ["epoch-001.safetensors", "epoch-002.safetensors"]
    last = load_file(folder / "snapshots" / "epoch-002.safetensors")
    assert all(torch.equal(v.float(), last[k].float()) for k, v in net.state_dict().items())


def test_folding_changes_nothing(tmp_path):
    seen = {}
    run(tmp_path / "r", settings(), on_epoch=lambda r, line: seen.update(run=r))
    trained = seen["run"].net.eval()
    x = torch.randn(4, 3, 48, 48)
    with torch.inference_mode():
        want, got = trained(x), seen["run"].exported()(x)
    assert torch.allclose(want, got, atol=1e-4 * want.abs().max().item())


@pytest.mark.parametrize(("recipe", "lr"), [("modern", 0.02), ("paper", 0.02)])
def test_both_recipes_learn(tmp_path, recipe, lr):
    """At a twentieth of the paper's width, where a start at 1e-2 as such would not move."""
    chosen = settings(recipe, epochs=8, lr=lr, dropout=0.0)
    result = run(tmp_path / "r", chosen)
    assert result["val_error"] <= 35
    losses = [line["train_loss"] for line in logged(tmp_path / "r") if line["kind"] == "epoch"]
    assert losses[-1] < 0.7 * losses[0]


def test_bfloat16_follows_float32(tmp_path):
    losses = {}
    for precision in ("float32", "bfloat16"):
        run(tmp_path / precision, settings(epochs=1, precision=precision, dropout=0.0, lr=1e-3))
        lines = logged(tmp_path / precision)
        losses[precision] = [line["loss"] for line in lines if line["kind"] == "step"]
    assert losses["float32"] != losses["bfloat16"]
    assert np.allclose(losses["float32"], losses["bfloat16"], atol=0.05)


def started(command: list[str], environment: dict) -> subprocess.Popen:
    """A process, with a session of its own that holds whatever it starts."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, text=True, start_new_session=True, **pipes)


def torchrun(*words: str, logs: Path) -> list[str]:
    """A command that starts two processes on this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    return [*command, "--local-addr=127.0.0.1", f"--log-dir={logs}", *words]


def pair_of(script: Path) -> list[str]:
    """Run a script in two processes, each the first one of its machine; what each has on stderr."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    common |= {"OMP_NUM_THREADS": "1", "LOCAL_RANK": "0"}
    pair = [
        started([sys.executable, str(script), rank], {**os.environ, **common, "RANK": rank})
        for rank in "01"
    ]
    with gone_after(*pair):
        errors = [process.communicate(timeout=120)[1] for process in pair]
    assert not any(process.returncode for process in pair), errors
    return errors


@contextmanager
def gone_after(*processes: subprocess.Popen):
    """None of their sessions is left, whatever happens: they may wait long for each other."""
    try:
        yield processes[0]
    finally:
        for process in processes:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)


SHARED = """
import os, signal, sys
sys.path.insert(0, {here!r})
import torch
from pathlib import Path
from test_training import run, settings
torch.set_num_threads(1)

def kill(run):
    if run.global_step == {killed}:
        os.kill(os.getpid(), signal.SIGKILL)  # an exception would leave gloo's threads to abort

run(Path({folder!r}), settings("paper", dropout=0.0), resume=True, checkpoint_every=4, on_step=kill)
"""


def test_two_processes_do_what_one_does(tmp_path):
    """DistributedDataParallel over gloo: same effective batch, same losses to 1e-5 (torchrun).

    Killed after five steps, the last checkpoint being that of the fourth, and gone on with.
    """
    run(tmp_path / "one", settings("paper", dropout=0.0))
    script = tmp_path / "shared.py"
    here, folder = str(Path(__file__).parent), str(tmp_path / "two")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for killed, checkpoint in ((5, 4), (None, 12)):
        script.write_text(SHARED.format(here=here, folder=folder, killed=killed), encoding="utf-8")
        with gone_after(started(torchrun(str(script), logs=tmp_path), environment)) as process:
            errors = process.communicate(timeout=120)[1]
        assert (process.returncode != 0) == (killed is not None), errors
        left = (tmp_path / "two" / "checkpoints").glob("*.json")
        assert sorted(left)[-1].stem == f"step-{checkpoint:09d}"
    one, two = logged(tmp_path / "one"), logged(tmp_path / "two")
    assert len(one) == len(two) == 14
    for a, b in zip(one, two, strict=True):
        for key in ("loss", "train_loss", "train_error", "held_error", "held_error5"):
            assert a.get(key) == pytest.approx(b.get(key), abs=1e-5)
    results = [json.loads((tmp_path / n / "result.json").read_text()) for n in ("one", "two")]
    assert results[0] == pytest.approx(results[1])
    assert json.loads((tmp_path / "two" / "run.json").read_text())["machine"]["processes"] == 2


TOGETHER = """
import json, sys
sys.path.insert(0, {here!r})
import torch
from pathlib import Path
from test_training import run, settings
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")  # one for both runs
folder, seen = Path({folder!r}), []

def note(run, line):
    sums = [float(buffer.double().sum()) for buffer in run.net.buffers()]
    seen.append(sums)

run(folder / "normed", settings("modern", epochs=1), on_epoch=note)
run(folder / "odd", settings("paper", batch=64, holdout=1, dropout=0.0, lr=0.05), cache=None)
(folder / f"{{sys.argv[1]}}.json").write_text(json.dumps(seen))
torch.distributed.destroy_process_group()
"""


def test_processes_share_what_they_measure_with_and_uneven_batches(tmp_path):
    """On CPUs each normalises by its own share; at the end of an epoch all have the first one's.

    A batch of all 51 pictures is 25 and 26, and yet each picture counts alike.
    """
    script, here = tmp_path / "together.py", str(Path(__file__).parent)
    script.write_text(TOGETHER.format(here=here, folder=str(tmp_path)), encoding="utf-8")
    pair_of(script)
    sums = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in "01"]
    assert sums[0] == sums[1] and len(sums[0][0]) > 10
    run(tmp_path / "one", settings("paper", batch=64, holdout=1, dropout=0.0, lr=0.05))
    for a, b in zip(logged(tmp_path / "one"), logged(tmp_path / "odd"), strict=True):
        assert a.get("loss") == pytest.approx(b.get("loss"), abs=1e-6)
    one, two = (load_file(tmp_path / n / "zfnet.safetensors") for n in ("one", "odd"))
    for key, value in one.items():
        assert (value.float() - two[key].float()).norm() <= 1e-3 * value.float().norm()


APART = """
import json, os, sys
sys.path.insert(0, {here!r})
import torch
from pathlib import Path
from test_training import BadInput, run, settings
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")  # one for all runs
folder, own, said = Path({folder!r}), Path({folder!r}) / sys.argv[1], {{}}
chosen = settings("modern", epochs=4, cool_down=1.0)
for name in ("alone", "older", "other"):
    try:
        run(own / name, chosen, resume=True)
    except BadInput as error:
        said[name] = str(error)
try:
    run(own / "branch", settings("modern", epochs=5, cool_down=1.0), branch_of=folder / "whole")
except BadInput as error:
    said["branch"] = str(error)
(own / "said.json").write_text(json.dumps(said))
torch.distributed.barrier()
os._exit(0)  # gloo has threads for each network that was refused; they would abort
"""


def test_machines_that_do_not_share_the_folder_are_refused(tmp_path):
    """Two processes, each with a folder of its own for the run: both say so, and none waits."""
    whole = tmp_path / "whole"
    with pytest.raises(Killed):
        options = {"checkpoint_every": 1, "on_step": kill_after(5)}
        run(whole, settings("modern", epochs=4, cool_down=1.0), **options)
    older, newest = sorted(path.stem for path in (whole / "checkpoints").glob("*.json"))
    assert (older, newest) == ("step-000000004", "step-000000005")
    for place in ("0/alone", "0/older", "1/older", "0/other", "1/other"):
        shutil.copytree(whole, tmp_path / place)
    for path in (tmp_path / "1" / "older" / "checkpoints").glob(f"{newest}.*"):
        path.unlink()
    tensors, state = checkpoints.load_latest(whole / "checkpoints")
    first = next(key for key in tensors if key.startswith("net.") and tensors[key].ndim == 4)
    tensors[first] = tensors[first] * 1.01
    checkpoints.save(tmp_path / "1" / "other" / "checkpoints", state.pop("step"), tensors, state)
    script, here = tmp_path / "apart.py", str(Path(__file__).parent)
    script.write_text(APART.format(here=here, folder=str(tmp_path)), encoding="utf-8")
    pair_of(script)
    for rank in "01":
        said = json.loads((tmp_path / rank / "said.json").read_text())
        assert set(said) == {"alone", "older", "other", "branch"}
        assert all(text.endswith("on a disk that they share.") for text in said.values())
        assert "Process 0 finds a run" in said["alone"]
        assert "process 1 finds none" in said["alone"]
        places = ["process 0 stands at epoch 0, step 5", "process 1 at epoch 0, step 4"]
        assert all(place in said["older"] for place in places)
        assert "process 1 at epoch 0, step 5, with other weights" in said["other"]
        assert places[0] in said["branch"] and "process 1 at epoch 0, step 0" in said["branch"]


@pytest.mark.parametrize(
    ("rank", "local", "want"),
    [
        (0, 0, ["decode", "wait", "wait", "read"]),
        (1, 1, ["wait", "wait", "read"]),
        (2, 0, ["wait", "decode", "wait", "read"]),
        (3, 1, ["wait", "wait", "read"]),
    ],
)
def test_one_process_decodes_and_then_one_on_each_other_machine(
    tmp_path, monkeypatch, rank, local, want
):
    """Where the machines share the cache, the second one finds it, and decodes nothing."""
    done = []

    class Two(Processes):
        def wait(self):
            done.append("wait")

    monkeypatch.setattr(training, "cached", lambda *_: done.append("decode"))
    one = Run(
        settings(), Stripes(), tmp_path, cache=None, device=torch.device("cpu"), group=Processes()
    )
    done.clear()
    one.group = Two(rank, 4, local)
    one._squares(tmp_path)
    assert [*done[:-1], "read"] == want and done[-1] == "decode"


def test_too_many_processes(tmp_path):
    with pytest.raises(BadInput, match="64 processes cannot share 48 training pictures"):
        Run(
            settings(batch=64),
            Stripes(),
            tmp_path,
            cache=None,
            device=torch.device("cpu"),
            group=Processes(0, 64),
        )


def test_others_wait_for_hours_of_decoding(monkeypatch):
    """NCCL gives up after ten minutes, gloo after thirty, unless told otherwise."""
    told = {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(dist, "init_process_group", lambda _, **options: told.update(options))
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: told.update(left=True))
    with processes(torch.device("cpu")) as group:
        assert group == Processes(1, 2)
    assert told["timeout"] >= timedelta(hours=12) and told["left"]


def test_a_device_without_float64(whole, tmp_path, monkeypatch):
    """Apple's GPUs have none. Counted in float32, small counts are the same; losses to rounding."""
    assert exact(torch.device("mps")) == torch.float32
    assert exact(torch.device("cpu")) == exact(torch.device("cuda")) == torch.float64
    folder, chosen = whole
    used = []

    def single(device):
        used.append(device)
        return torch.float32

    monkeypatch.setattr(training, "exact", single)
    run(tmp_path / "r", chosen)
    assert len(used) == 12 + 3 + 1  # steps, errors of held-out pictures, validation
    assert logged(folder) == logged(tmp_path / "r")  # their float32 values, as before


def test_clipping_brings_large_filters_to_the_radius():
    net = build(describe_variant("zfnet", input_size=64, width=0.05), 3)
    paper = (1 / 255,) * 3
    with torch.no_grad():
        for _, convolution in filters(net):
            convolution.weight.mul_(0.05 / filter_rms(convolution.weight)[:, None, None, None])
            convolution.weight[0] *= 8  # one dominates, as in Fig. 6(a)
    before = {name: m.weight.clone() for name, m in filters(net)}
    clip_filters(net, paper)
    for name, convolution in filters(net):
        assert filter_rms(convolution.weight)[0] == pytest.approx(0.1)
        assert torch.equal(convolution.weight[1:], before[name][1:])
        assert torch.allclose(convolution.weight[0], before[name][0] / 4)
    clipped = {name: m.weight.clone() for name, m in filters(net)}
    clip_filters(net, paper)  # a filter at the radius stays as it is
    assert all(torch.equal(m.weight, clipped[name]) for name, m in filters(net))


def test_the_radius_follows_the_units_of_the_input():
    """The same function of the picture, in either unit, is clipped to the same function."""
    torch.manual_seed(0)
    nets = [build(describe_variant("zfnet", input_size=64, width=0.05), 3) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    units = ((1 / 255,) * 3, (0.25,) * 3)  # about [-128, 128], and about [-2, 2]
    larger = 255 * 0.25
    with torch.no_grad():
        nets[0].conv1.filter.weight.mul_(0.3)
        nets[0].conv1.filter.weight[0] *= 20  # beyond the radius
        nets[1].conv1.filter.weight.copy_(nets[0].conv1.filter.weight * larger)
    free = nets[0].conv1.filter.weight.clone()
    for net, std in zip(nets, units, strict=True):
        clip_filters(net, std)
    first, second = (net.conv1.filter.weight for net in nets)
    assert torch.equal(first[1:], free[1:]) and not torch.equal(first[0], free[0])
    assert torch.allclose(first * larger, second, rtol=1e-5)
    assert torch.equal(nets[0].conv2.filter.weight, nets[1].conv2.filter.weight)


def test_the_paper_recipe_clips_at_every_step(tmp_path):
    def within(r):
        for _, convolution in filters(r.net):
            assert filter_rms(convolution.weight).max() <= 0.1 + 1e-6

    chosen = settings("paper", epochs=1)
    run(tmp_path / "r", replace(chosen, recipe=replace(chosen.recipe, lr=0.05)), on_step=within)


def test_starts():
    """1e-2 at the paper's sizes; where a layer has fewer inputs, larger by the root of that."""
    net = build(describe_variant("alexnet", input_size=224, width=0.1), 10)
    net.preprocessing = replace(net.preprocessing, std=(1 / 255,) * 3)
    start(net, recipe_named("paper"))
    assert net.conv1.filter.weight.std().item() == pytest.approx(0.01, rel=0.05)
    inputs = net.conv3.filter.weight[0].numel()
    want = 0.01 * (256 * 9 / inputs) ** 0.5
    assert net.conv3.filter.weight.std().item() == pytest.approx(want, rel=0.05)
    assert not net.conv3.filter.bias.any()
    normed = build(describe_variant("zfnet", input_size=64, width=0.1, batch_norm=True), 10)
    start(normed, recipe_named("modern"))
    assert normed.conv1.filter.weight.std().item() == pytest.approx(1e-3, rel=0.05)


def test_the_plateau_schedule():
    """Ten times less after three epochs without progress, three times in all."""
    schedule = Plateau()
    errors = [90, 80, 70, 70, 69.9, 71] + [60, 60, 60, 60] + [60] * 20
    factors = [schedule.after_epoch(error) for error in errors]
    assert factors[:5] == [1] * 5
    assert factors[5] == factors[8] == pytest.approx(0.1)
    assert factors[9] == pytest.approx(0.01)
    assert factors[-1] == pytest.approx(0.001)


def test_the_cosine_schedule():
    assert cosine(0.01, 0.1) == pytest.approx(0.1)
    assert cosine(0.1, 0.1) == 1
    assert cosine(0.55, 0.1) == pytest.approx(0.5)
    assert cosine(1.0, 0.1) == pytest.approx(0)
    assert cosine(0.0, 0.0) == 1


def test_snapshots_are_kept_at_the_papers_pace():
    assert sorted(snapshot_epochs(26)) == [1, 2, 5, 10, 15, 20, 25, 26]
    assert snapshot_epochs(1) == {1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be"),
        ({"batch": 0}, "batch must be"),
        ({"lr": -1.0}, "lr must be"),
        ({"lr": float("nan")}, "lr must be"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"cool_down": -1.0}, "cool_down must be from 0 to the 2 epochs"),
        ({"cool_down": 2.5}, "cool_down must be"),
        ({"cool_down": float("nan")}, "cool_down must be"),
        ({"epochs": True}, "epochs must be"),
        ({"batch": 8.0}, "batch must be"),
        ({"seed": -1}, "seed must be a whole number from 0 on, not -1"),
        ({"seed": 1.5}, "seed must be"),
        ({"seed": "3"}, "seed must be"),
        ({"holdout": 2.5}, "holdout must be"),
        ({"precision": "float8"}, "float32, bfloat16"),
        ({"width": -1}, "width must be"),
        ({"holdout": 18}, "18 of them cannot be held"),
        ({"input_size": 20}, "larger input_size"),
    ],
)
def test_bad_settings(tmp_path, changes, message):
    with pytest.raises(BadInput, match=message):
        run(tmp_path / "r", settings(**changes))


def test_numbers_of_numpy_are_numbers():
    four = settings(epochs=np.int64(4), seed=np.int64(3), holdout=np.int32(1))
    assert four == settings(epochs=4, seed=3, holdout=1)
    assert json.dumps(four.facts()) == json.dumps(settings(epochs=4, seed=3, holdout=1).facts())


def test_what_a_recipe_does_not_know():
    paper = recipe_named("paper")
    with pytest.raises(UnknownName, match=r"schedule 'step'.*plateau, cosine, trapezoid"):
        replace(paper, schedule="step")
    with pytest.raises(UnknownName, match=r"start 'xavier'.*paper, he"):
        replace(paper, start="xavier")
    with pytest.raises(UnknownName, match=r"crops 'Ten'.*Did you mean 'ten'.*random, ten"):
        replace(paper.augmentation, crops="Ten")


def test_unknown_names():
    with pytest.raises(UnknownName, match=r"Did you mean 'modern'\?"):
        recipe_named("moden")
    with pytest.raises(BadInput, match="device"):
        choose_device("gpu")


@pytest.mark.parametrize("name", ["meta", "mps", "xpu"])
def test_a_device_that_cannot_compute(name):
    if name == "mps" and torch.backends.mps.is_available():
        pytest.skip("there is one")
    if name == "xpu" and torch.xpu.is_available():
        pytest.skip("there is one")
    with pytest.raises(BadInput, match=rf"cannot use the device {name} here .*choose the device"):
        choose_device(name)


def test_the_plateau_looks_at_held_out_pictures_only(tmp_path):
    """Sec. 3.1 lowers the rate by the validation error, not by that of the training pictures."""
    run(tmp_path / "r", settings("paper", holdout=0, epochs=5, lr=1e-9))  # nothing gets better
    assert {line["lr"] for line in read_log(tmp_path / "r")["step"]} == {1e-9}
    run(tmp_path / "h", settings("paper", holdout=2, epochs=5, lr=1e-9))
    assert min(line["lr"] for line in read_log(tmp_path / "h")["step"]) == pytest.approx(1e-10)


def test_the_plateau_goes_on_where_it_was(tmp_path):
    """Best in epoch 1; the wait over epochs 2 to 4 is interrupted in epoch 4."""
    chosen = settings("paper", holdout=2, epochs=5, lr=1e-9)
    run(tmp_path / "whole", chosen)
    with pytest.raises(Killed):
        run(tmp_path / "mine", chosen, checkpoint_every=2, on_step=kill_after(20))
    run(tmp_path / "mine", chosen, resume=True)
    assert read_log(tmp_path / "whole")["step"][-1]["lr"] == pytest.approx(1e-10)
    assert_same_run(tmp_path / "whole", tmp_path / "mine")


def begun(folder: Path, chosen: Settings) -> Run:
    """A run before its first step."""
    one = Processes(0, 1)
    return Run(chosen, Stripes(), folder, cache=None, device=torch.device("cpu"), group=one)


def test_the_mean_picture_is_that_of_what_is_learned(tmp_path):
    """Held-out pictures have no part in it."""
    fresh = begun(tmp_path, settings("paper", holdout=5))
    fresh.prepare()
    learn, _ = hold_out(Stripes().targets, 5)
    assert torch.equal(fresh.mean, mean_picture(fresh.squares, learn))
    everything = mean_picture(fresh.squares, np.arange(len(Stripes())))
    assert (fresh.mean - everything).abs().max() > 1


class Colours(nn.Module):
    """Knows the three classes of `Stripes` by their mean colours, and ranks six."""

    preprocessing = Preprocessing(resize=55, crop=48, mean=(0.0,) * 3, std=(1.0,) * 3)

    def forward(self, x):
        red, green, blue = x.mean((2, 3)).unbind(1)
        return torch.stack([red, green, blue + 10 / 255, blue - 1, blue - 2, blue - 3], 1)


class Close(Colours):
    """The same answers by scores that differ by less than bfloat16 can tell."""

    def forward(self, x):
        return F.linear(super().forward(x), torch.eye(6), torch.full((6,), 100.0))


def test_bfloat16_makes_no_ties_of_held_out_pictures(tmp_path):
    fresh = begun(tmp_path, settings(holdout=5, precision="bfloat16"))
    fresh.net = Close()
    assert fresh.held_out_errors() == {"held_error": 0.0, "held_error5": 0.0}


GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
def test_held_out_errors_by_hand(tmp_path, device):
    """The network is right about all pictures; of the 15 held-out ones, two change their class."""
    fresh = begun(tmp_path, settings(holdout=5))
    fresh.net, fresh.device = Colours(), torch.device(device)
    assert fresh.held_out_errors() == {"held_error": 0.0, "held_error5": 0.0}
    _, (first, second, *_) = hold_out(Stripes().targets, 5)
    fresh.targets[first] = (fresh.targets[first] + 1) % 3
    fresh.targets[second] = 5  # the last of six
    found = fresh.held_out_errors()
    assert found == pytest.approx({"held_error": 100 * 2 / 15, "held_error5": 100 / 15})


@pytest.mark.parametrize("schedule", ["trapezoid", "cosine"])
def test_the_rate_of_each_step_by_hand(tmp_path, schedule):
    """Six steps an epoch; up over the first half of an epoch. Each is taken in its middle."""
    used = []

    def note(r):
        [rate] = {group["lr"] for group in r.optimizer.param_groups}
        used.append(rate)

    run(tmp_path / "r", settings(schedule=schedule), on_step=note)
    if schedule == "trapezoid":
        twelfths = [2, 6, 10, 12, 12, 12, 11, 9, 7, 5, 3, 1]
        assert used == pytest.approx([0.01 * part / 12 for part in twelfths])
    else:
        assert used[0] == pytest.approx(0.01 / 6)
        assert used[6] == pytest.approx(0.01 * (1 + np.cos(np.radians(70))) / 2)
    assert [line["lr"] for line in read_log(tmp_path / "r")["step"]] == used


def test_weights_decay_and_biases_do_not(tmp_path):
    """The first step, without momentum, is the rate times the slope and a tenth of the weight."""
    plain = {"momentum": 0.0, "nesterov": False, "warm_up": 0.0, "cool_down": 0.0, "dropout": 0.0}
    chosen = settings(weight_decay=0.1, lr=0.1, **plain)
    before = {key: value.clone() for key, value in begun(tmp_path, chosen).net.named_parameters()}
    after, slopes = {}, {}

    def on_step(r):
        for key, value in r.net.named_parameters():
            after[key], slopes[key] = value.detach().clone(), value.grad.clone()
        raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "r", chosen, on_step=on_step)
    assert before.keys() == after.keys()
    for key, weight in before.items():
        decay = 0.1 * weight if weight.ndim > 1 else 0  # the ones of normalisation do not, either
        expected = 0.1 * (slopes[key] + decay)
        torch.testing.assert_close(weight - after[key], expected, rtol=1e-3, atol=3e-7)


def test_smoothed_labels_by_hand(tmp_path):
    """A part of each label is spread over the three classes alike."""
    logged_loss = {}
    for smoothing in (0.0, 0.3, 1.0):
        folder = tmp_path / str(smoothing)
        run(folder, settings(epochs=1, batch=48, smoothing=smoothing))  # a single step
        [line] = read_log(folder)["step"]
        logged_loss[smoothing] = line["loss"]
    sharp, mixed, even = logged_loss.values()
    assert abs(sharp - even) > 1e-4
    assert mixed == pytest.approx(0.7 * sharp + 0.3 * even, abs=1e-6)


def test_the_rate_of_an_epoch_is_that_of_the_next_step(tmp_path):
    """Whatever the schedule: the plateau's too, which falls at the end of an epoch."""
    errors = [50.0] * 8
    chosen = settings("paper", epochs=5, dropout=0.0)

    def same(self):
        return {"held_error": errors[self.epoch], "held_error5": 0.0}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "held_out_errors", same)
        run(tmp_path / "r", chosen)
    log = read_log(tmp_path / "r")
    first = {line["epoch"]: line["lr"] for line in reversed(log["step"])}
    assert [line["lr"] for line in log["epoch"][:-1]] == [first[epoch] for epoch in (2, 3, 4, 5)]
    assert first[5] == pytest.approx(first[1] / 10)


def test_a_run_compiled_by_torch(tmp_path, monkeypatch):
    """The steps go through the compiled network, and what is saved is the plain one."""
    calls = []

    def compiler(net):
        def compiled(x):
            calls.append(x.shape)
            return net(x)

        compiled.train = net.train
        return compiled

    monkeypatch.setattr(torch, "compile", compiler)
    run(tmp_path / "compiled", settings(), compiled=True)
    run(tmp_path / "plain", settings())
    assert len(calls) == 12
    assert_same_run(tmp_path / "plain", tmp_path / "compiled")


def test_a_run_is_not_overwritten_or_mixed(whole):
    folder, chosen = whole
    with pytest.raises(BadInput, match="--resume"):
        run(folder, chosen)
    with pytest.raises(BadInput, match=r"recipe.lr = 0.01, not 0.5"):
        run(folder, replace(chosen, recipe=replace(chosen.recipe, lr=0.5)), resume=True)
    with pytest.raises(BadInput, match="training pictures whose checksum is"):
        train(chosen, Stripes(first=7), None, folder, resume=True, progress=False)


def test_a_run_that_diverges_says_so(tmp_path):
    with pytest.raises(BadInput, match=r"diverged.*--lr"):
        run(tmp_path / "r", settings("paper", lr=1e30, clip=False))
