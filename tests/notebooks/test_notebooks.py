"""What the report relies on in each notebook. That they run is for nbval; see the Makefile."""

import re

import nbformat
import pytest
from quick import exercises

from zfnb import notebooks

PATHS = notebooks.find()


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request):
    return request.param


def test_the_profile_is_a_parameter(path):
    assert notebooks.declared(path)["profile"] == (str, "default")


def test_one_cell_draws_the_card(path):
    cells = nbformat.read(path, as_version=4).cells
    assert sum("key-figure" in notebooks.tags(cell) for cell in cells) == 1


def test_it_opens_with_its_number_and_title(path):
    nb = nbformat.read(path, as_version=4)
    assert nb.cells[0].cell_type == "markdown" and nb.cells[0].source.startswith("# ")
    assert notebooks.title(nb).startswith(path.stem[:2])
    assert notebooks.summary(nb)


def test_the_course_plan_has_its_reading_time(path):
    opening = nbformat.read(path, as_version=4).cells[0].source
    minutes = re.search(r"About (\d+) minutes to read", opening)[1]
    plan = (path.parent / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| {path.stem[:2]} [^|]+\| {minutes} \|", plan, re.M)


def test_the_code_of_exercises_is_found(path):
    # nbval runs it after the notebook. A fence without `python` is a command, or an output.
    text = "1. Try:\n\n```python\nx = 1\ny = 2\n```\n\n```\nzfnb report\n```\n"
    cells = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell("z = 3")]
    assert exercises(nbformat.v4.new_notebook(cells=cells)) == ["x = 1\ny = 2\n"]
    nb = nbformat.read(path, as_version=4)
    prose = [cell.source for cell in nb.cells if cell.cell_type == "markdown"]
    assert len(exercises(nb)) == sum(text.count("```python") for text in prose)


def test_it_has_no_latex(path):
    # MathJax comes from the network, and the exported pages stand alone.
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            prose = re.sub(r"```.*?```|`[^`]*`", "", cell.source, flags=re.S)
            assert not re.search(r"\$[^$\s][^$]*\$|\\\(|\\\[|\\begin\{", prose), cell.source


def test_headings_have_anchors_of_their_own(path):
    cells = nbformat.read(path, as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    headings = re.findall(r"^##? +(.+)$", re.sub(r"```.*?```", "", prose, flags=re.S), re.M)
    assert len(headings) == len(set(headings))
