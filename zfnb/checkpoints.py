"""Checkpoints of a run: written whole or not at all, checked when read, the last good one wins.

A checkpoint is two files: the tensors (safetensors), then a JSON file with everything else and the
tensors' SHA-256. The JSON file comes last, so a checkpoint that has one is whole.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from zfnb.errors import BadInput, ZfnbError
from zfnb.files import replacing

KEPT = 2  # the newest, and one to fall back on
RESUME = "continue with --resume (earlier checkpoints are intact)"


class CannotSave(ZfnbError, OSError):
    """A file of a run that cannot be written: a full disk, a read-only folder."""


@contextmanager
def saving(path: Path, then: str = "try again") -> Iterator[None]:
    """Turn the errors of a full or read-only disk into one sentence; `then` is what to do next."""
    try:
        yield
    except ZfnbError:
        raise  # says already what was wrong: a picture that cannot be read, say
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "os error 28" in str(error)
        full = full or "No space left" in str(error)
        reason, remedy = str(error), "choose a folder that can be written to"
        if full:
            reason, remedy = "the disk is full", "free some space"
        raise CannotSave(
            f"{path.name} could not be written: {reason}; {remedy} and {then}."
        ) from error


def check_space(folder: Path, need: int, what: str, remedy: str) -> None:
    """Refuse what does not fit the disk, before hours are spent on it.

    Parameters
    ----------
    folder : path
        That exists, on the disk.
    need : int
        Bytes.
    what, remedy : str
        What needs them, as the beginning of a sentence, and what to do if there are too few.

    Raises
    ------
    CannotSave
        Fewer bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if need > free:
        raise CannotSave(
            f"{what} need {need / 1e9:.1f} GB but {free / 1e9:.1f} GB are free; {remedy}."
        )


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(folder: Path, step: int, tensors: dict[str, Tensor], state: dict) -> Path:
    """Write the checkpoint of global step `step`; drop all but the two newest.

    Raises
    ------
    CannotSave
        On a full disk, say. What was there before is still there.
    """
    path = folder / f"step-{step:09d}.json"
    weights = path.with_suffix(".safetensors")
    for left in folder.glob(".step-*"):  # of a process that was killed while it wrote
        left.unlink(missing_ok=True)
    with saving(path, RESUME):
        with replacing(weights) as temporary:
            save_file({key: t.detach().cpu().contiguous() for key, t in tensors.items()}, temporary)
            digest = sha256(temporary)
        with replacing(path) as temporary:
            text = json.dumps({**state, "step": step, "sha256": digest}, indent=2)
            temporary.write_text(text, encoding="utf-8")
    paths = sorted(folder.glob("step-*.json"))
    newer = [old for old in paths if old > path]  # damaged ones, which this run has passed over
    for old in newer + [old for old in paths if old <= path][:-KEPT]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)
    for left in folder.glob("step-*.safetensors"):  # of a process that was killed before the JSON
        if not left.with_suffix(".json").exists():
            left.unlink(missing_ok=True)
    return path


def load_latest(folder: Path) -> tuple[dict[str, Tensor], dict] | None:
    """Tensors and state of the newest checkpoint that is whole; None if there is no checkpoint.

    A damaged one is passed over with a warning.

    Raises
    ------
    BadInput
        If there are checkpoints, and all are damaged.
    """
    paths = sorted(folder.glob("step-*.json"), reverse=True)
    for path in paths:
        weights = path.with_suffix(".safetensors")
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            if sha256(weights) != state["sha256"]:
                raise ValueError("its checksum is wrong")
            return load_file(weights), state
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            warnings.warn(
                f"The checkpoint {path.stem} is damaged ({error}); the one before it is used.",
                stacklevel=2,
            )
    if paths:
        raise BadInput(
            f"All {len(paths)} checkpoints in {folder} are damaged; start again in another --out."
        )
    return None
