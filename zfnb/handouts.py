"""Copies of the notebooks to work in, for a class without the solutions of the exercises.

The notebooks of an installed package lie among its code; nobody should write there. A copy runs
from any folder, since what the notebooks need travels with the package.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from zfnb.errors import BadInput
from zfnb.files import replacing
from zfnb.notebooks import find

# What folds out below an exercise; hints stay.
SOLUTION = re.compile(
    r"\n*<details>\s*<summary>Solution</summary>.*?</details>", re.DOTALL | re.IGNORECASE
)


def without_solutions(notebook: NotebookNode) -> int:
    """Take the folded solutions out of a notebook, in place.

    Returns
    -------
    int
        How many there were.
    """
    count = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source, found = SOLUTION.subn("", cell.source)
            count += found
    return count


def copy_notebooks(
    folder: str | os.PathLike, only: Iterable[str] = (), *, solutions: bool = True
) -> list[Path]:
    """Copy the notebooks into a folder.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    only : iterable of str
        Numbers, e.g. ``["02", "4"]``; none: all.
    solutions : bool
        False: without the solutions of the exercises. Hints stay.

    Returns
    -------
    list of Path
        The copies.

    Raises
    ------
    BadInput
        One of them is in the folder already; nothing has been written then.
    UnknownName
        A number that no notebook has.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is a file; give a folder for the copies.")
    sources = find(only)
    copies = [folder / source.name for source in sources]
    for copy in copies:
        if copy.exists():  # somebody's work may be in it
            raise BadInput(f"{copy} is there already; give another folder, or move it away.")
    for source, copy in zip(sources, copies, strict=True):
        notebook = nbformat.read(source, as_version=4)
        if not solutions:
            without_solutions(notebook)
        with replacing(copy) as temporary:
            nbformat.write(notebook, temporary)
    return copies
