"""The script that turns runs into the files that travel, on a run of a minute's size."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import zfnb
from tests.test_training import run, settings
from zfnb.weights import read_metadata

SCRIPT = Path(__file__).parents[2] / "data" / "build" / "networks.py"


def script(*words) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run whose hidden layers have a multiple of 64 units, as those of the real networks."""
    folder = tmp_path_factory.mktemp("networks")
    # Units of layers 6 and 7: 4096 / 16; inputs of layer 6: 16 maps at 2 x 2 positions.
    result = run(folder / "run", settings(width=1 / 16, input_size=96, epochs=3))
    return folder, result


def test_what_is_kept_of_a_run(finished):
    folder, result = finished
    done = script(folder / "run", "--snapshots", "--out", folder / "data")
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (folder / "data" / "weights").iterdir())
    assert names == [
        "zfnet-epoch-001.safetensors",
        "zfnet-epoch-002.safetensors",
        "zfnet-stripes.safetensors",
    ]
    packed = folder / "data" / "weights" / names[-1]
    net = zfnb.load_model("zfnet", weights=packed)
    exact = zfnb.load_model("zfnet", weights=folder / "run" / "zfnet.safetensors")
    assert net.classes == exact.classes == [("n01", "rows"), ("n02", "columns"), ("n03", "neither")]
    x = torch.randn(4, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert 0 < (net(x) - exact(x)).norm() < 0.3 * exact(x).norm()
    assert read_metadata(packed)["epochs"] == "3"
    early = zfnb.load_model("zfnet", weights=packed.with_name(names[0]))
    assert early.layer_names[-1] == "pool5"  # layers of filters only
    assert read_metadata(packed.with_name(names[0]))["epochs"] == "1"
    kept = json.loads((folder / "data" / "results" / "training" / "zfnet.json").read_text())
    assert len(kept["epochs"]) == 3 and kept["result"] == result
    assert kept["command"].startswith("zfnb train zfnet --data stripes")
    facts = json.loads((folder / "run" / "run.json").read_text())
    assert kept["code"] == facts["code"] and "changed" in kept["code"]  # files not as committed


def test_a_run_that_is_not_there_or_not_finished(finished, tmp_path):
    folder, _ = finished
    done = script(tmp_path / "none")
    assert done.returncode == 1 and done.stderr.startswith("networks.py: ")
    (tmp_path / "run").mkdir()
    facts = (folder / "run" / "run.json").read_text()
    (tmp_path / "run" / "run.json").write_text(facts)
    done = script(tmp_path / "run", "--out", tmp_path / "data")
    assert done.returncode == 1 and "zfnet.safetensors" in done.stderr
    assert "Traceback" not in done.stderr


def test_bits_of_the_real_networks():
    spec = importlib.util.spec_from_file_location("networks", SCRIPT)
    networks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(networks)
    with torch.device("meta"):
        net = zfnb.models.build(zfnb.models.NETWORKS["zfnet"])
    found = networks.bits(net)
    assert found == {f"conv{n}": 8 for n in range(1, 6)} | {"fc6": 4, "fc7": 4, "fc8": 8}
