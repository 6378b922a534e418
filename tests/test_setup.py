"""The files of the set-up agree with each other."""

import ast
import re
import sys
import tomllib
from fnmatch import filter as fnfilter
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
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


def imported() -> set[str]:
    """Packages that `zfnb` imports somewhere, by the names they are installed by."""
    found = set()
    for path in (ROOT / "zfnb").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.partition(".")[0])
    installed = packages_distributions()
    own = {"zfnb", *sys.stdlib_module_names}
    return {installed.get(name, [name])[0].lower().replace("_", "-") for name in found - own}


def test_what_is_imported_is_declared():
    declared = names(PROJECT["dependencies"])
    extras = {one for extra in PROJECT["optional-dependencies"].values() for one in names(extra)}
    assert {"torch", "scipy", "pillow"} <= imported()  # the names are found at all
    assert not imported() - {name.replace("_", "-") for name in declared | extras}


def test_the_readme_names_every_file():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("| of the paper | files")[2].partition("\n\n")[0]
    patterns = [*re.findall(r"`([\w*]+)`", table), "plots*", "widgets*"]
    files = {path.stem for path in (ROOT / "zfnb").glob("*.py") if not path.stem.startswith("__")}
    named = {stem for stem in files if any(fnmatch(stem, pattern) for pattern in patterns)}
    assert named == files
    assert not [one for one in patterns if not fnfilter(files, one)]  # none that is gone


def test_what_travels_stays_small():
    files = [path for path in (ROOT / "data").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 60 * 2**20
