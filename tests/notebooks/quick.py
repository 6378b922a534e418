"""Copy the notebooks with ``profile = "quick"`` injected: ``python quick.py FOLDER``.

nbval runs notebooks as they are. The profile comes in as in a report, by papermill's parameters,
so the notebooks need no second, hidden way to be told.
"""

import shutil
import sys
from pathlib import Path

import papermill

from zfnb import notebooks


def copy(folder: Path) -> None:
    """Fill `folder` anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path, parameters in notebooks.assign(notebooks.find(), "quick", {}).items():
        papermill.execute_notebook(
            path,
            folder / path.name,
            parameters=parameters,
            kernel_name="python3",
            language="python",
            prepare_only=True,
            progress_bar=False,
        )


if __name__ == "__main__":
    copy(Path(sys.argv[1]))
