"""What the folder of a training run says of it: how it was started, on what, and its log."""

from __future__ import annotations

import functools
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import zfnb
from zfnb import checkpoints
from zfnb.errors import BadInput
from zfnb.files import replacing
from zfnb.fine_tuning import fine_tuning
from zfnb.named import weights_name
from zfnb.paths import PACKAGE
from zfnb.recipes import RECIPES, Recipe, lasting

if TYPE_CHECKING:
    from zfnb.training import Settings


def git(*words: str) -> str:
    """What git says of the checkout that this package lies in; empty outside one."""
    if not (PACKAGE.parent / ".git").exists():  # else it may find a repository around us
        return ""
    try:
        done = subprocess.run(
            ["git", *words], cwd=PACKAGE, capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.rstrip()


@functools.cache
def commit() -> dict:
    """The commit that this code is of, and which of its files have been changed since."""
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".")
    return {"commit": git("rev-parse", "HEAD") or None, "changed": changed.splitlines()}


def code() -> dict:
    """The version of this code, and its `commit`."""
    return {"zfnb": zfnb.__version__, **commit()}


def timestamp() -> str:
    """The time as files have it: UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def machine(device: torch.device) -> dict[str, str]:
    """What a number was measured on."""
    gpu = device.type == "cuda"
    cpu = f"CPU ({platform.machine()}), {torch.get_num_threads()} threads"
    return {
        "device": str(torch.cuda.get_device_name(device)) if gpu else cpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def measurement(command_line: str, device: torch.device, **asked: object) -> dict:
    """How numbers came about; every file of results says it in these words.

    Parameters
    ----------
    command_line : str
        What gives the numbers again, without the places of one machine.
    device : torch.device
    **asked
        What the command line does not say.

    Returns
    -------
    dict
        ``command``, what was `asked`, ``date`` (when this was called, UTC), ``code`` (version,
        commit, changed files) and ``machine`` (device, versions).
    """
    return {
        "command": command_line,
        **asked,
        "date": timestamp(),
        "code": code(),
        "machine": machine(device),
    }


# What the command line can change of a recipe.
OPTIONS = ("epochs", "batch", "lr", "dropout", "cool_down")


def command(settings: Settings) -> str:
    """The command line of a run, without the places of one machine.

    Where none gives the run, since its recipe is no preset or differs from it in more than
    `OPTIONS`, words that say so.
    """
    recipe = settings.recipe
    if recipe.name not in RECIPES:
        return f"no command line: the recipe {recipe.name} is no preset; see the settings"
    preset = RECIPES[recipe.name]
    basis = preset if settings.weights is None else fine_tuning(preset)
    names = [field.name for field in fields(Recipe) if field.name not in OPTIONS]
    other = [name for name in names if getattr(recipe, name) != getattr(basis, name)]
    if other:
        return (
            f"no command line: the recipe {recipe.name} with another {', '.join(other)}; see the "
            "settings"
        )
    asked = lasting(preset, recipe.epochs)  # what --epochs alone makes of the preset
    words = ["zfnb train", settings.network, f"--data {settings.data}", f"--recipe {recipe.name}"]
    if settings.weights is not None:
        words.append(f"--weights {weights_name(settings.weights)}")
    said = () if settings.weights is None else ("lr",)  # to fine-tune, it is not the recipe's own
    for name in OPTIONS:
        value = getattr(recipe, name)
        if name in said or value != getattr(preset, name) or value != getattr(asked, name):
            words.append(f"--{name.replace('_', '-')} {value}")
    words.append(f"--input-size {settings.input_size}")
    if settings.width != 1:
        words.append(f"--width {settings.width}")
    words += [f"--precision {settings.precision}", f"--seed {settings.seed}"]
    return " ".join([*words, f"--holdout {settings.holdout}"])


CHECKSUMS = {  # facts of a run that are the checksum of something, and of what
    ("data", "sampled"): "training pictures",
    ("start", "weights"): "weights",
}


def check_same(
    old: dict,
    new: dict,
    folder: Path,
    advice: str = "continue with the same, or choose another --out",
) -> None:
    """A run may only be continued with the settings, data and start that it was started with.

    What one of the two does not name, since an earlier version knew no such setting, is None in it.

    Parameters
    ----------
    old, new : dict
        Facts of the run as in run.json, and those that are asked for.
    folder : path
        Of the run.
    advice : str
        What to do if they differ.

    Raises
    ------
    BadInput
        For the first difference.
    """

    def flat(value: dict, before: str = "") -> dict:
        items: dict = {}
        for key, inner in value.items():
            nested = isinstance(inner, dict)
            items |= flat(inner, f"{before}{key}.") if nested else {before + key: inner}
        return items

    new = json.loads(json.dumps(new))  # tuples become lists, as in the file
    for part in ("settings", "data", "start"):
        before, now = flat(old.get(part, {})), flat(new.get(part, {}))
        for key in {**now, **before}:
            if before.get(key) != now.get(key):
                had, has = repr(before.get(key)), repr(now.get(key))
                said = f"{key} ="
                if (part, key) in CHECKSUMS:
                    said = f"{CHECKSUMS[part, key]} whose checksum is"
                raise BadInput(
                    f"The run in {folder} was started with {said} {had}, not {has}; {advice}."
                )


def write_json(path: Path, value: object) -> None:
    """Write a file whole or not at all, with the same bytes on every system.

    Parameters
    ----------
    path : path
        Its folder is made if need be.
    value : dict, list, ...
        Anything that `json.dumps` takes.

    Raises
    ------
    CannotSave
        A full disk, or a folder that cannot be written to.
    """
    with checkpoints.saving(path), replacing(path) as temporary:
        text = json.dumps(value, indent=2) + "\n"
        temporary.write_text(text, encoding="utf-8", newline="\n")


def read_json(path: Path, advice: str = "start again in another folder") -> dict:
    """The content of a file; `advice` says what to do if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({error}); {advice}.") from error


def read_results(path: Path, again: str, check: Callable[[Any], Any] = lambda found: found) -> Any:
    """The content of a file of results.

    Parameters
    ----------
    path : path
    again : str
        The command that makes the file.
    check : callable, optional
        Takes the content and returns what is wanted of it; its ValueError, KeyError, TypeError or
        AttributeError means that the content is not of the right form.

    Raises
    ------
    BadInput
        A file that is not there, that cannot be read, or of another form; a folder.
    """
    if path.is_dir():
        raise BadInput(f"{path} is a folder; give a file in it, such as {path / 'results.json'}.")
    try:
        return check(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise BadInput(f"There is no file {path.name}; make it with `{again}`.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{path.name} is damaged ({error}); remove it and make it again with `{again}`."
        ) from error


def read_log(folder: str | os.PathLike) -> dict[str, list[dict]]:
    """The log of a run, finished or not, for its curves: {"step": lines, "epoch": lines}.

    A line of "step" has epoch, step, lr and loss; one of "epoch" has epoch, lr (of the next step),
    train_loss, train_error, held_error and held_error5 (percent, with held-out pictures only),
    filter_rms (smallest and largest of each convolution layer), seconds and pictures_per_second.

    Raises
    ------
    BadInput
        No log in the folder, or a file that is none.
    """
    path = Path(folder) / "log.jsonl"
    if not path.is_file():
        raise BadInput(f"There is no run in {folder}: it has no log.jsonl.")
    found: dict[str, list[dict]] = {"step": [], "epoch": []}
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue  # the last line of a run that was killed while it wrote
        try:
            found[line.pop("kind")].append(line)
        except (AttributeError, KeyError, TypeError):
            raise BadInput(f"{path} is no log of a run: it has the line {text[:60]}") from None
    return found
