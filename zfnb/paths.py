"""Where files live: what travels with the package, the user's datasets, the cache."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

PACKAGE = Path(__file__).resolve().parent
# A wheel carries data/ and notebooks/ inside the package; a checkout has them beside it.
EMBEDDED = PACKAGE / "_embedded" if (PACKAGE / "_embedded").is_dir() else PACKAGE.parent


def embedded(*parts: str) -> Path:
    """Path of a file that travels with the package, e.g. ``embedded("data", "stamps")``."""
    return EMBEDDED.joinpath(*parts)


def results_file(name: str, chosen: str | os.PathLike | None = None) -> Path:
    """Where a command writes what it measured: the file asked for, else the one that is kept.

    A checkout keeps it in ``data/results``. An installed package is no place for measurements, so
    there it is ``zfnb-results`` in the current folder.
    """
    if chosen is not None:
        return Path(chosen).expanduser()
    installed = EMBEDDED.name == "_embedded"
    return Path("zfnb-results", name) if installed else embedded("data", "results", name)


def data_root(root: str | os.PathLike | None = None) -> Path | None:
    """Folder of the user's datasets: the argument, else ``$ZFNB_DATA``, else None."""
    chosen = root if root is not None else os.environ.get("ZFNB_DATA")
    return Path(chosen).expanduser() if chosen else None


def cache_root() -> Path:
    """Folder for what can be computed again: ``$ZFNB_CACHE``, else the platform's cache."""
    chosen = os.environ.get("ZFNB_CACHE")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("zfnb"))
