"""The wheel carries all that the default profile needs, and works away from the tree.

``make wheel-test`` installs it into an empty environment, dependencies and all.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command, **options) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT)
    [made] = out.glob("zfnb-*.whl")
    return made


def test_it_carries_the_embedded_files(wheel):
    carried = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("data/stamps", "data/weights", "notebooks"):
        here = [p for p in (ROOT / folder).rglob("*") if p.is_file() and "/." not in p.as_posix()]
        wanted = {f"zfnb/_embedded/{p.relative_to(ROOT).as_posix()}" for p in here}
        assert wanted and wanted <= carried
    for path in (ROOT / "zfnb" / "templates").rglob("*.*"):
        assert path.relative_to(ROOT).as_posix() in carried
    assert not [name for name in carried if "checkpoints/" in name or name.startswith("tests")]


def test_it_reports_away_from_the_tree(wheel, tmp_path):
    site, out = tmp_path / "site", tmp_path / "out"
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel)
    env = {**os.environ, "PYTHONPATH": str(site)}  # in front of the checkout
    env.pop("ZFNB_DATA", None)
    where = run("-c", "import zfnb; print(zfnb.__file__)", cwd=tmp_path, env=env).stdout
    assert Path(where.strip()).is_relative_to(site)

    def files() -> dict[Path, int]:
        found = (p for p in site.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        return {path: path.stat().st_mtime_ns for path in found}

    before = files()
    call = ("report", "--profile", "quick", "--only", "01", "--out", out)
    run("-m", "zfnb", *call, cwd=tmp_path, env=env)
    assert files() == before  # an installation for all users can only be read
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert [one["status"] for one in results["notebooks"]] == ["passed"]
    assert (out / "index.html").exists()
    assert "commit" not in results["environment"]
