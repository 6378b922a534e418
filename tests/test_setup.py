"""The files of the set-up agree with each other."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w-]+", line)[0].lower() for line in requirements}


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("group", ["dependencies", "test", "pytorchcv"])
def test_every_direct_dependency_is_pinned(group):
    extras = PROJECT["optional-dependencies"]
    wanted = PROJECT["dependencies"] if group == "dependencies" else extras[group]
    assert names(wanted) <= set(pins())


def test_the_tested_pair_of_torch():
    assert (pins()["torch"], pins()["torchvision"]) == ("2.13.0", "0.28.0")


def test_pins_fit_every_platform():
    assert not [pin for pin in pins().values() if "+" in pin]  # no build for one machine
    assert not [name for name in pins() if name.startswith(("nvidia", "triton", "pywin"))]


def test_conda_lists_every_dependency_with_a_reason():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    entries = [line.strip() for line in text.splitlines() if line.strip().startswith("- ")]
    assert all("  # " in line for line in entries if not line.endswith("pip:"))
    listed = {line.split()[1] for line in entries}
    assert names(PROJECT["dependencies"]) <= listed


def test_what_travels_stays_small():
    files = [path for path in (ROOT / "data").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 60 * 2**20
