"""Copy the notebooks with ``profile = "quick"`` injected: ``python quick.py FOLDER``.

nbval runs notebooks as they are. The profile comes in as in a report, by papermill's parameters,
so the notebooks need no second, hidden way to be told. The code of exercises and solutions is
appended as cells, so that it runs too.
"""

import re
import shutil
import sys
from pathlib import Path

import nbformat
import papermill

from zfnb import notebooks

CODE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def exercises(nb: nbformat.NotebookNode) -> list[str]:
    """The Python code in a notebook's prose: what readers are asked to run themselves."""
    prose = (cell.source for cell in nb.cells if cell.cell_type == "markdown")
    return [code for text in prose for code in CODE.findall(text)]


def copy(folder: Path) -> None:
    """Fill `folder` anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path, parameters in notebooks.assign(notebooks.find(), "quick", {}).items():
        nb = papermill.execute_notebook(
            path,
            None,
            parameters=parameters,
            kernel_name="python3",
            language="python",
            prepare_only=True,
            progress_bar=False,
        )
        nb.cells += [nbformat.v4.new_code_cell(code) for code in exercises(nb)]
        nbformat.write(nb, folder / path.name)


if __name__ == "__main__":
    copy(Path(sys.argv[1]))
