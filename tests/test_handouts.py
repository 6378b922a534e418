"""Copies of the notebooks: all of it or without the solutions, never over somebody's work."""

import nbformat
import pytest

from zfnb.errors import BadInput, UnknownName
from zfnb.handouts import copy_notebooks, without_solutions
from zfnb.notebooks import find


def test_a_copy_is_the_notebook(tmp_path):
    copies = copy_notebooks(tmp_path / "mine")
    assert [copy.name for copy in copies] == [path.name for path in find()]
    for source, copy in zip(find(), copies, strict=True):
        assert nbformat.read(copy, as_version=4) == nbformat.read(source, as_version=4)


def test_the_solutions_go_and_all_else_stays(tmp_path):
    copies = copy_notebooks(tmp_path, solutions=False)
    for source, copy in zip(find(), copies, strict=True):
        before, after = (nbformat.read(path, as_version=4) for path in (source, copy))
        words = "\n".join(cell.source for cell in before.cells)
        left = "\n".join(cell.source for cell in after.cells)
        assert "Solution</summary>" in words and "Solution</summary>" not in left
        hints = words.count("<summary>Hint</summary>")
        assert left.count("<summary>Hint</summary>") == left.count("<details>") == hints
        assert [cell.id for cell in after.cells] == [cell.id for cell in before.cells]
        for old, new in zip(before.cells, after.cells, strict=True):
            assert old == new or "Solution</summary>" in old.source
        assert without_solutions(after) == 0


def test_exercises_without_solutions_read_on():
    cell = nbformat.v4.new_markdown_cell(
        "1. Why?\n\n<details><summary>Solution</summary>\n\nSo.\n</details>\n\n2. And?\n\n"
        "<details>\n<summary>Solution</summary>\n\n```python\n1\n```\n</details>\n\nNext."
    )
    notebook = nbformat.v4.new_notebook(cells=[cell])
    assert without_solutions(notebook) == 2
    assert cell.source == "1. Why?\n\n2. And?\n\nNext."


def test_nothing_is_overwritten(tmp_path):
    [tour] = copy_notebooks(tmp_path, ["0"])
    tour.write_text("my notes", encoding="utf-8")
    with pytest.raises(BadInput, match="there already"):
        copy_notebooks(tmp_path)
    assert tour.read_text(encoding="utf-8") == "my notes" and list(tmp_path.iterdir()) == [tour]
    with pytest.raises(UnknownName, match="99"):
        copy_notebooks(tmp_path / "other", ["99"])
    with pytest.raises(BadInput, match="is a file"):
        copy_notebooks(tour)
