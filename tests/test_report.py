"""The report, on small notebooks that pass, fail, hang, die, and hide their errors."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from zfnb import notebooks, pages, report
from zfnb.errors import BadInput, MissingData, UnknownName

PARAMETERS = 'profile: str = "default"\nk: int = 9\npicture: str | None = None\nrate: float = 0.5'
PNG = (  # one grey pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)
PANEL = f"""
import ipywidgets
class Panel(ipywidgets.VBox):
    def _repr_mimebundle_(self, **kwargs):
        return {{**super()._repr_mimebundle_(**kwargs), "image/png": "{PNG}"}}
"""
PASSES = [
    "# 01 · It *passes*\n\nThe `first` paragraph.",
    (PARAMETERS, ["parameters"]),
    "## Figures of it",
    "import sys; print('ran by', sys.executable); print('given', profile, k, picture, rate)",
    (
        f"{PANEL}display({{'image/png': '{PNG}'}}, raw=True)\nPanel([ipywidgets.IntSlider()])",
        ["key-figure"],
    ),
    "ipywidgets.IntSlider()",
    "for i in range(3):\n    print(f'\\rbar {i}/2', end='', file=sys.stderr, flush=True)",
    "## Numbers",
    "from zfnb.report import claim\n"
    "claim('Error', 14.8, 16.5, section='Table 2', unit='%', data='stamps', agrees=False)",
    "claim('Maps', 96, 96, section='Fig. 3', agrees=True);",
    "# Why?\n\n<details><summary>Solution</summary>\n\nFor *that*.\n</details>\n\nNext.",
]
# The working directory and sys.path hold nothing of this test: the notebooks run elsewhere.
OTHERS = {
    "02_fails": ["# Two", "import time; time.sleep(0)", "raise ValueError('wrong <b>switch</b>')"],
    "03_hides": [
        "import ipywidgets\ndef f(x):\n    raise RuntimeError('nobody sees this')\n"
        "ipywidgets.interact(f, x=3);"
    ],
    "04_hides": ["import ipywidgets\nwith ipywidgets.Output():\n    1 / 0", "print('goes on')"],
    "05_hangs": ["import time", "time.sleep(600)", "print('never')"],
    "06_dies": ["print('alive')", "import os; os._exit(1)"],
    "09_asserts": [
        ("display({'image/png': '####'}, raw=True)", ["key-figure"]),  # no picture
        "two = 2\nassert two == 3",
    ],
    "08_remote": ["display({'text/html': '<img src=\"https://example.org/x.png\">'}, raw=True)"],
}


ALL = sorted(["01_passes", *OTHERS, "07_broken"])


def write(path: Path, cells: list) -> None:
    """Write a notebook; markdown cells are those that begin with ``#`` and a heading."""
    made = []
    for cell in cells:
        source, tags = cell if isinstance(cell, tuple) else (cell, [])
        markdown = source.startswith(("# ", "## "))
        new = nbformat.v4.new_markdown_cell if markdown else nbformat.v4.new_code_cell
        made.append(new(source, metadata={"tags": tags}))
    nbformat.write(nbformat.v4.new_notebook(cells=made), path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One report of all of them: (result, its folder, results.json, folder of the notebooks)."""
    source, out = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("out")
    write(source / "01_passes.ipynb", PASSES)
    for name, cells in OTHERS.items():
        write(source / f"{name}.ipynb", cells)
    (source / "07_broken.ipynb").write_text('{"cells": [', encoding="utf-8")
    shadow = tmp_path_factory.mktemp("jupyter")  # a kernel "python3" that is not this Python
    (shadow / "kernels" / "python3").mkdir(parents=True)
    spec = {"argv": ["no-such-python"], "display_name": "shadow", "language": "python"}
    (shadow / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(shadow))
        result = report.build(
            out,
            profile="quick",
            parameters={"k": "4", "rate": "1e-3"},
            notebooks=source,
            timeout=15,
            progress=False,
        )
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return result, out, results, source


def entry(results: dict, name: str) -> dict:
    return next(one for one in results["notebooks"] if one["notebook"] == name)


def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def test_failures_are_told_and_the_others_run(made):
    result, _, results, _ = made
    assert result.passed == ["01_passes"]
    assert list(result.failed) == ALL[1:]
    assert result.exit_code == 1 and not result.interrupted
    for name, words in {
        "02_fails": "ValueError: wrong <b>switch</b>",
        "03_hides": "In a widget: RuntimeError: nobody sees this",
        "04_hides": "In a widget: ZeroDivisionError: division by zero",
        "05_hangs": "A cell took longer than 15 seconds.",
        "06_dies": "The kernel died (often: out of memory).",
        "09_asserts": "AssertionError: assert two == 3",
        "08_remote": "No page could be made: it shows something that is not in it: "
        "https://example.org/x.png.",
    }.items():
        assert entry(results, name)["error"] == words == result.failed[name]
    assert entry(results, "07_broken")["status"] == "failed"


@pytest.mark.parametrize(("name", "cell"), [("02_fails", 2), ("05_hangs", 1), ("06_dies", 1)])
def test_the_page_of_a_failure_names_the_cell(made, name, cell):
    _, out, _, source = made
    page = soup(out / f"{name}.html")
    identity = nbformat.read(source / f"{name}.ipynb", as_version=4).cells[cell].id
    assert page.select_one(".banner.failed a")["href"] == f"#{identity}"
    assert page.find(id=identity)["class"] == ["cell", "stopped"]


def test_errors_are_escaped_on_page_and_index(made):
    _, out, _, _ = made
    for page in (out / "02_fails.html", out / "index.html"):
        html = page.read_text(encoding="utf-8")
        assert "<b>switch</b>" not in html
        assert "wrong &lt;b&gt;switch&lt;/b&gt;" in html


def test_parameters_reach_the_notebook_that_knows_them(made):
    _, out, results, _ = made
    assert "given quick 4 None 0.001" in soup(out / "01_passes.html").get_text()
    expected = {"profile": "quick", "k": 4, "picture": None, "rate": 0.001}
    assert entry(results, "01_passes")["parameters"] == expected
    assert entry(results, "02_fails")["parameters"] == {}


def test_the_kernel_is_this_interpreter(made):
    _, out, _, _ = made  # although a kernel "python3" of something else is registered
    assert f"ran by {sys.executable}" in soup(out / "01_passes.html").get_text()


def test_claims_are_collected(made):
    _, out, results, _ = made
    rows = entry(results, "01_passes")["claims"]
    assert [(row["what"], row["paper"], row["ours"], row["agrees"]) for row in rows] == [
        ("Error", 14.8, 16.5, False),
        ("Maps", 96, 96, True),
    ]
    index = soup(out / "index.html")
    shown = [
        [cell.get_text(" ", strip=True) for cell in row.find_all("td")]
        for row in index.select(".claims tbody tr:not(.group)")
    ]
    assert shown[0] == ["Error Table 2", "14.8 %", "16.5 %", "stamps", "✗ no"]
    assert shown[1][3:] == ["–", "✓ yes"]
    page = soup(out / "01_passes.html")
    for row, link in zip(rows, index.select(".claims td a"), strict=True):
        assert link["href"] == f"01_passes.html#{row['cell']}"
        assert page.find(id=row["cell"])


def test_index_has_a_card_for_each_and_the_key_figure(made):
    _, out, _, _ = made
    index = soup(out / "index.html")
    cards = index.select("a.card")
    assert [card["href"] for card in cards] == [f"{stem}.html" for stem in ALL]
    assert cards[0].h2.text == "01 · It passes"
    assert cards[0].p.text == "The first paragraph."
    assert cards[0].img["src"].startswith("data:image/webp;base64,")
    assert cards[0].img["alt"] == "Figure: Figures of it"
    assert "failed" in cards[1]["class"]
    assert all((out / card["href"]).exists() for card in cards)
    assert not cards[ALL.index("09_asserts")].img
    text = index.get_text(" ", strip=True)
    assert "1 of 9 notebooks ran to their end" in text
    assert "1 of 2 claims agree" in text


def test_environment_and_times_are_kept(made):
    _, out, results, _ = made
    found = results["environment"]
    assert found["Python"] == sys.version.split()[0] and found["profile"] == "quick"
    assert {"zfnb", "torch", "torchvision", "device", "cores", "platform"} <= set(found)
    assert 15 <= entry(results, "05_hangs")["seconds"] < 60
    assert soup(out / "index.html").find("th", string="torchvision")


@pytest.mark.parametrize(
    ("text", "bar"),
    [
        ("\rmaps:  50%|##   | 1/2 [00:01<00:01]\rmaps: 100%|#####| 2/2 [00:02<00:00]\n", True),
        ("a: 100%|#| 1/1 [00:00<00:00]\n\nb: 100%|#| 1/1 [00:00<00:00]", True),
        ("maps:  98%|#### | 49/50 [00:01<00:01]", True),
        ("maps: 100%|##| 2/2 [00:01<00:00]\nUserWarning: look here", False),
        ("100% of the pictures", False),
    ],
)
def test_pages_leave_out_bars(text, bar):
    """All that a warning says is still shown."""
    output = nbformat.v4.new_output("stream", name="stderr", text=text)
    assert pages.is_bar(output) is bar
    output.name = "stdout"
    assert not pages.is_bar(output)


def test_columns_of_numbers_are_flush_right():
    frame = pd.DataFrame(
        {
            "layer": ["conv1", "3"],
            "weights": ["14,208", "–"],
            "spread": ["1.0 ± 0.1", "-2 ± 1e-3"],
            "error": [1e-5, -0.2],
            "share": ["9%", "12.5 %"],
            "size": ["7 x 7", "3 x 3"],
            "empty": ["", ""],
        }
    )
    for html in (frame.to_html(), frame.style.to_html()):
        table = BeautifulSoup(html, "html.parser").table
        pages.align_numbers(table)
        right = [cell.get_text() for cell in table.select(".number")]
        assert right[:4] == ["weights", "spread", "error", "share"] and len(right) == 12
    several = BeautifulSoup(frame.set_index(["layer", "size"]).to_html(), "html.parser").table
    pages.align_numbers(several)  # of two indices the first may span rows
    assert len(several.select("td.number")) == 2 * 4
    uneven = BeautifulSoup(
        "<table><tbody><tr><td>1</td></tr><tr></tr></tbody></table>", "html.parser"
    )
    pages.align_numbers(uneven.table)
    assert not uneven.select(".number")


def test_pages_load_nothing_from_elsewhere(made):
    _, out, _, _ = made
    found = sorted(out.glob("*.html"))
    assert len(found) == 10
    for page in found:
        assert pages.outside_sources(page.read_text(encoding="utf-8")) == []


def test_what_outside_sources_finds():
    page = (
        "<script src='https://a/b.js'></script><img src='//c/d.png'><img src='data:image/png,x'>"
        "<link href='e.css'><style>p { background: url('http://f/g.png') }</style>"
        "<a href='https://h'>a link may be followed</a>"
    )
    assert pages.outside_sources(page) == [
        "https://a/b.js",
        "//c/d.png",
        "e.css",
        "http://f/g.png",
    ]


def test_a_panel_shows_as_its_still(made):
    _, out, _, _ = made
    page = soup(out / "01_passes.html")
    # In order: the plain picture, the panel's still, the slider that has none.
    figures = page.select("figure")
    assert [figure.img["src"] for figure in figures] == [f"data:image/png;base64,{PNG}"] * 2
    assert [figure.img["alt"] for figure in figures] == ["Figure: Figures of it"] * 2
    assert [bool(figure.select_one(".still")) for figure in figures] == [False, True]
    assert "interactive control" in page.select_one("p.still").text
    assert not page.select("script")


def test_folded_solutions_stay_folded(made):
    """What stands between <details> and </details> is inside it, Markdown and all."""
    soup = BeautifulSoup((made[1] / "01_passes.html").read_text(encoding="utf-8"), "html.parser")
    solution = next(d for d in soup.find_all("details") if d.summary.get_text() == "Solution")
    assert "For that." in solution.get_text()
    assert "Next." not in solution.get_text()


def test_of_a_progress_bar_the_last_state_is_shown(made):
    _, out, _, _ = made
    assert [text.text for text in soup(out / "01_passes.html").select(".stderr")] == ["bar 2/2"]


def test_links_between_the_pages(made):
    _, out, _, _ = made
    page = soup(out / "02_fails.html")
    assert page.select_one("a.home")["href"] == "index.html"
    assert page.select_one("a[rel=prev]")["href"] == "01_passes.html"
    assert page.select_one("a[rel=next]")["href"] == "03_hides.html"
    assert not soup(out / "01_passes.html").select("a[rel=prev]")
    contents = soup(out / "01_passes.html").select("nav.contents a")
    assert [link.text for link in contents] == ["Figures of it", "Numbers"]
    assert all(soup(out / "01_passes.html").find(id=link["href"][1:]) for link in contents)


def test_executed_notebooks_are_kept_and_nothing_else_is_left(made):
    _, out, _, _ = made
    kept = nbformat.read(out / "notebooks" / "06_dies.ipynb", as_version=4)
    assert kept.cells[0].outputs[0].text == "alive\n"
    assert kept.metadata.zfnb.status == "failed"
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]
    assert not (out / "work").exists()


def test_only_keeps_what_ran_before(tmp_path):
    cells = ["# A", (PARAMETERS, ["parameters"]), "open('left.txt', 'w').write(profile);"]
    for name in ("01_a", "02_b"):
        write(tmp_path / f"{name}.ipynb", cells)
    call = {"out": tmp_path / "out", "notebooks": tmp_path, "progress": False}
    assert report.build(**call, profile="quick").exit_code == 0
    result = report.build(**call, profile="quick", only=["2"])
    assert result.passed == ["02_b"]
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert [one["earlier_run"] for one in results["notebooks"]] == [True, False]
    # Files that a notebook writes land in the report, not beside the notebook.
    assert (tmp_path / "out" / "work" / "02_b" / "left.txt").read_text() == "quick"
    # Numbers of different profiles do not stand in one table.
    report.build(**call, only=["1"])
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert [one["notebook"] for one in results["notebooks"]] == ["01_a"]


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a whole console")
def test_ctrl_c_leaves_a_partial_report(tmp_path):
    write(tmp_path / "01_a.ipynb", ["open('started', 'w').close()", "import time; time.sleep(600)"])
    write(tmp_path / "02_b.ipynb", ["1"])
    code = (
        # A program started in the background of a shell script is told to ignore Ctrl-C.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "import sys; from zfnb.report import build;"
        f"r = build({str(tmp_path / 'out')!r}, notebooks={str(tmp_path)!r}, progress=False);"
        "sys.exit(r.exit_code)"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        started = tmp_path / "out" / "work" / "01_a" / "started"
        end = time.monotonic() + 60
        while not started.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert [one["status"] for one in results["notebooks"]] == ["interrupted", "not run"]
    assert results["interrupted"]
    assert "not complete" in soup(tmp_path / "out" / "index.html").get_text()


def test_bad_calls_name_the_choices(made, tmp_path):
    _, _, _, source = made

    def build(**changes):
        report.build(**{"out": tmp_path, "notebooks": source, "progress": False, **changes})

    with pytest.raises(UnknownName, match=r"'99'.*Choose one of: 01, 02, 03"):
        build(only=["99"])
    with pytest.raises(UnknownName, match=r"profile 'fast'.*quick, default, paper"):
        build(profile="fast")
    with pytest.raises(UnknownName, match=r"parameter 'kk'. Did you mean 'k'\?"):
        build(parameters={"kk": "3"})
    with pytest.raises(UnknownName, match="these notebooks have none"):
        build(parameters={"k": "3"}, only=["02"])
    with pytest.raises(BadInput, match="Parameter k must be of type int, got 'many'"):
        build(parameters={"k": "many"})
    with pytest.raises(BadInput, match="--profile"):
        build(parameters={"profile": "quick"})
    with pytest.raises(MissingData, match="No notebooks"):
        build(notebooks=tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="Cannot write to"):
        build(out=tmp_path / "file")
    assert not (tmp_path / "index.html").exists()


@pytest.mark.parametrize(
    ("given", "hint", "value"),
    [
        ("4", int, 4),
        ("1e-3", float, 0.001),
        ("2", float, 2),
        ("true", bool, True),
        ("007", str, "007"),
        ("/pictures/cat #2.png", str, "/pictures/cat #2.png"),
        ("'007'", str, "007"),
        ("null", str | None, None),
        ("[1, 2]", list[int], [1, 2]),
        ("[conv1, conv5]", tuple[str, ...], ["conv1", "conv5"]),
        ("{a: 1}", dict, {"a": 1}),
        (3, int, 3),
    ],
)
def test_values_are_read_by_their_type(given, hint, value):
    assert notebooks.typed("x", given, hint) == value


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        *(("4.5", int), ("true", int), ("x", float), ("1", bool), ("[a]", list[int])),
        *(("a: [", dict), ("5", list[int]), ("null", list[int]), ("5", list[int] | None)),
    ],
)
def test_values_of_a_wrong_type_are_refused(given, hint):
    with pytest.raises(BadInput, match="Parameter x must be of type"):
        notebooks.typed("x", given, hint)


def test_durations():
    assert [pages.duration(s) for s in (4.21, 59.94, 185, 7800)] == [
        "4.2 s",
        "59.9 s",
        "3 min 05 s",
        "2 h 10 min",
    ]
