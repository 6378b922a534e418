"""Which pictures of a dataset can be drawn: those that can be read; opened once, then noted.

A picture that cannot be read has no features. Drawn to train or to test (Sec. 5.2), it would count
all the same, so it has to be known before the draw.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import numpy as np

from zfnb.checkpoints import saving
from zfnb.data.base import PictureDataset
from zfnb.data.loading import unreadable
from zfnb.errors import BadInput
from zfnb.files import replacing
from zfnb.paths import cache_root


def usable(
    dataset: PictureDataset, folder: str | os.PathLike | None = None, workers: int = 2
) -> np.ndarray:
    """Which pictures can be read, as `zfnb.protocols.draw` takes it.

    Opening thousands of pictures takes a minute. What was found is kept under the dataset's
    fingerprint, which changes with the size of any file. Those that could not be read are opened
    again each time: a copy that has been completed may be of the same size.

    Parameters
    ----------
    dataset : PictureDataset
    folder : path, optional
        Where it is kept; by default the folder "usable" of zfnb's cache.
    workers : int
        Threads that read pictures.

    Returns
    -------
    array (N,) bool
        A warning says how many pictures cannot be read, if any, and names the first.
    """
    base = cache_root() / "usable" if folder is None else Path(folder)
    path = base / f"{dataset.name}-{dataset.fingerprint()[:16]}.json"
    before = noted(path, len(dataset))
    bad = before
    if before is None or before:
        bad = unreadable(dataset, workers, items=None if before is None else sorted(before))
    if bad != before:
        with saving(path), replacing(path) as temporary:
            temporary.write_text(json.dumps(bad), encoding="utf-8")
    if bad:
        warnings.warn(
            f"{len(bad)} of {len(dataset)} pictures of {dataset.name} cannot be read and are not "
            f"drawn, e.g.: {bad[min(bad)]}",
            stacklevel=2,
        )
    good = np.ones(len(dataset), dtype=bool)
    good[list(bad)] = False
    return good


def noted(path: Path, pictures: int) -> dict[int, str] | None:
    """{item: why it cannot be read} from a file; None if it is not there, or no such thing."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        bad = {int(item): str(reason) for item, reason in found.items()}
    except (OSError, ValueError, AttributeError):
        return None
    return bad if all(0 <= item < pictures for item in bad) else None


def check_readable(dataset: PictureDataset, items: np.ndarray, workers: int = 2) -> None:
    """Refuse pictures to be tested that cannot be read, before hours are spent on training.

    Raises
    ------
    BadInput
        If there is one.
    """
    bad = items[~usable(dataset, workers=workers)[items]]
    if len(bad):
        raise BadInput(
            f"{len(bad)} of the {len(items)} pictures to be tested cannot be read, e.g. "
            f"{dataset.key(bad[0])}; draw with usable=zfnb.usable.usable(dataset)."
        )
