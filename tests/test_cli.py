"""The command line: what it prints, what it refuses, with which exit code."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

import zfnb
from zfnb import cli, report


@pytest.fixture
def call(monkeypatch, capsys):
    """A function that runs ``zfnb ...`` and returns (exit code, stdout, stderr)."""

    def zfnb_command(*arguments):
        monkeypatch.setattr(sys, "argv", ["zfnb", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return left.value.code or 0, out, err

    return zfnb_command


@pytest.fixture
def pictures(tmp_path):
    """A folder of five small pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(5):
        pixels = np.random.default_rng(i).integers(0, 256, (90, 120, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((240, 180)).save(folder / f"{i}.png")
    return folder


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom zfnb.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'numpy', 'papermill') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    for command in ("report", "models", "data", "top", "project"):
        assert command in done.stdout


def test_notebooks_to_hand_out(call, tmp_path):
    code, out, err = call("notebooks", tmp_path / "class", "--only", "02,4", "--no-solutions")
    assert (code, err) == (0, "")
    assert [Path(line).name[:2] for line in out.splitlines()] == ["02", "04"]
    assert "Solution" not in (tmp_path / "class" / "04_feature_visualisation.ipynb").read_text()
    code, out, err = call("notebooks", tmp_path / "class")
    assert code == 2 and err.count("\n") == 1 and "there already" in err


def test_version(call):
    assert call("--version") == (0, f"zfnb {zfnb.__version__}\n", "")


def test_a_module_too():
    done = subprocess.run(
        [sys.executable, "-m", "zfnb", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"zfnb {zfnb.__version__}\n"


def test_models_lists_all_with_their_parameters(call):
    code, out, _ = call("models")
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert code == 0
    assert "62,357,608" in rows["zfnet"] and "imagenet-trunk" in rows["torchvision-alexnet"]
    assert "224" in rows["alexnet"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", "--profile", "fast"], "Unknown profile 'fast'"),
        (["report", "--only", "99"], "Unknown notebook number '99'"),
        (["report", "02"], "Write --only before"),
        (["report", "-p", "k"], "-p takes name=value"),
        (["project", "none.png", "--layer", "conv5", "--map", "1", "-o", "x.gif"], "must end in"),
        (["project", "none.png", "--layer", "conv5", "--map", "1", "-o", "x.png"], "none.png"),
        (["top", "none", "--sheet", "x.png"], "--sheet draws one map"),
        (["top", "none"], "none"),
        (["data", "check", "none"], "Unknown dataset 'none'"),
        (["data", "fetch", "none"], "Unknown dataset to fetch 'none'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_refused_is_one_sentence(call, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*arguments)
    assert code == 2 and out == ""
    assert err.startswith("zfnb: ") and words in err and "Traceback" not in err
    assert not any(tmp_path.iterdir())


def test_debug_shows_the_traceback():
    done = subprocess.run(
        [sys.executable, "-m", "zfnb", "--debug", "report", "--profile", "fast"],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0 and "Traceback" in done.stderr


@pytest.mark.parametrize(
    "given", [["--only", "02", "04"], ["--only", "02,04"], ["--only", "02", "--only", "04"]]
)
def test_numbers_of_notebooks_in_any_manner(call, monkeypatch, tmp_path, given):
    calls = []

    def build(*arguments, **options):
        calls.append((arguments, options))
        return report.Report(tmp_path / "index.html", ["02"], {}, interrupted=False)

    monkeypatch.setattr(report, "build", build)
    code, out, _ = call("report", *given, "--profile", "quick", "--out", tmp_path, "-p", "k=4")
    assert code == 0 and out == f"{tmp_path / 'index.html'}\n"
    assert calls == [((tmp_path, "quick", ["02", "04"], {"k": "4"}), {"timeout": None})]


def test_paths_given_to_notebooks_are_found_from_where_they_run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "zfnet").mkdir()
    (tmp_path / "cat.jpg").write_bytes(b"")
    assert cli.absolute("cat.jpg") == str(tmp_path / "cat.jpg")
    assert cli.absolute("runs/mine") == str(tmp_path / "runs" / "mine")
    assert cli.absolute("./zfnet") == str(tmp_path / "zfnet")
    for name in ("zfnet", "dog.jpg", "runs/other", "0.5", "[3, 4]", ""):  # names, not files
        assert cli.absolute(name) == name


def test_a_failed_notebook_is_exit_code_1(call, monkeypatch, tmp_path):
    source = tmp_path / "notebooks"
    source.mkdir()
    cells = [nbformat.v4.new_code_cell("1 / 0")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), source / "00_a.ipynb")
    monkeypatch.setattr("zfnb.notebooks.embedded", lambda *parts: source)
    code, out, err = call("report", "--out", tmp_path / "out")
    assert code == 1
    assert out == f"{tmp_path / 'out' / 'index.html'}\n"
    assert "ZeroDivisionError: division by zero" in err and "Failed: 00_a." in err


def test_project_writes_a_picture(call, pictures, tmp_path):
    out = tmp_path / "projection.png"
    code, text, err = call(
        "project", pictures / "0.png", "--layer", "conv5", "--map", 13, "-o", out
    )
    assert code == 0, err
    assert "conv5 map 13" in text
    with Image.open(out) as picture:
        assert min(picture.size) > 100
        assert np.asarray(picture.convert("L")).std() > 5


def test_project_takes_a_position_and_a_rule(call, pictures, tmp_path):
    options = [
        "--where",
        "3,4",
        "--rule",
        "guided",
        "--collisions",
        "max",
        "-o",
        tmp_path / "x.png",
    ]
    code, text, err = call("project", pictures / "0.png", "--layer", "conv2", "--map", 7, *options)
    assert code == 0, err
    assert "row 3, column 4" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--layer": "conv9"}, "Unknown layer 'conv9'"),
        ({"--map": "1000"}, "maps 0 to 255"),
        ({"--rule": "magic"}, "Unknown rule 'magic'"),
        ({"--where": "99,0"}, "13"),
        ({"--network": "resnet"}, "resnet"),
        ({"--weights": "gold"}, "gold"),
    ],
    ids=str,
)
def test_project_names_the_choices(call, pictures, tmp_path, change, words):
    options = {"--layer": "conv5", "--map": "1", "-o": str(tmp_path / "x.png"), **change}
    code, _, err = call(
        "project", pictures / "0.png", *(x for pair in options.items() for x in pair)
    )
    assert code == 2
    assert err.startswith("zfnb: ") and words in err
    assert not (tmp_path / "x.png").exists()


def test_random_weights_say_so(call, pictures, tmp_path):
    options = ["--layer", "conv1", "--map", 0, "--weights", "none", "-o", tmp_path / "x.png"]
    code, _, err = call("project", pictures / "0.png", *options)
    assert code == 0 and "random" in err


def test_top_builds_an_index_and_a_sheet(call, pictures, tmp_path):
    index, sheet = tmp_path / "index.safetensors", tmp_path / "sheet.png"
    options = ["--layers", "conv2", "--k", 3, "--out", index, "--map", 5, "--sheet", sheet]
    code, out, err = call("top", pictures, *options)
    assert code == 0, err
    assert "5 pictures, layers conv2" in out
    made = zfnb.TopActivations.load(index)
    best = made.top("conv2", 5)
    assert f"{best[0].activation:.3f}" in out and f"{best[0].item}.png" in out
    with Image.open(sheet) as picture:
        assert min(picture.size) > 50


def test_top_refuses_a_map_before_it_looks_at_pictures(call, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(zfnb.TopActivations, "build", lambda *_, **__: pytest.fail("It looked."))
    out = ["--out", tmp_path / "index.safetensors"]
    for given, words in (
        (["--map", 384], "Feature map 384 is not in conv3; it has maps 0 to 383."),
        (["--map", 64, "--layers", "conv2,conv1"], "is not in conv1; it has maps 0 to 63."),
        (["--map", 0, "--layers", "conv9"], "Unknown layer 'conv9'"),
    ):
        code, _, err = call("top", pictures, *given, *out)
        assert code == 2 and err.startswith("zfnb: ") and words in err


def test_top_lists_a_map_of_the_layers_that_have_it(call, pictures, tmp_path):
    for picture in sorted(pictures.iterdir())[1:]:
        picture.unlink()
    code, out, err = call("top", pictures, "--map", 260, "--out", tmp_path / "i.safetensors")
    assert code == 0, err
    assert "conv1, conv2, conv3" in out
    assert "conv3 map 260" in out and "conv2 map" not in out


def test_data_list_names_the_datasets(call):
    code, out, _ = call("data", "list")
    assert code == 0
    rows = {line.split()[0]: line.split()[1] for line in out.splitlines()}
    assert rows["stamps"] == "yes"
    assert {"caltech101", "tiny-imagenet", "imagenette", "imagenet", "folder"} <= set(rows)


def test_data_check_without_data_says_what_to_do(call, tmp_path):
    code, _, err = call("data", "check", "caltech101")
    assert code == 2 and "ZFNB_DATA" in err


def test_data_check_opens_every_picture(call, pictures):
    code, out, _ = call("data", "check", pictures)
    assert code == 0 and "5 pictures" in out and "All can be read." in out
    (pictures / "3.png").write_bytes((pictures / "3.png").read_bytes()[:500])
    code, out, err = call("data", "check", pictures)
    assert code == 1 and "Bad: 1." in out and "3.png" in err


def test_tables_are_not_cut_in_a_pipe():
    done = subprocess.run(
        [sys.executable, "-m", "zfnb", "models"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "40"},
    )
    assert "3, 4, 5 of 512, 1024, 512 maps and 6, 7 of 8192 units (Table 3)" in done.stdout
