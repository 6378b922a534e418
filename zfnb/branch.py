"""Finish a long run early, or with more epochs, without doing its first part again.

With a trapezoid for the learning rate (`zfnb.recipes.trapezoid`) all steps before the cool-down are
the same whatever the number of epochs. So a run may start from where another one stands, and end
as if it had been started alone: the same network, bit for bit.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from zfnb import checkpoints
from zfnb.errors import BadInput
from zfnb.files import replacing
from zfnb.runs import check_same

if TYPE_CHECKING:
    from zfnb.training import Settings

FREE = ("epochs", "cool_down")  # what a branch may have of its own


def comparable(settings: dict) -> dict:
    """Settings (as in run.json) without what a branch may change."""
    recipe = {key: value for key, value in settings["recipe"].items() if key not in FREE}
    return json.loads(json.dumps({**settings, "recipe": recipe}))


def check_branch(source: Path, before: dict, settings: Settings, done: float) -> None:
    """Refuse a branch that would not be what a run of its own would be.

    Parameters
    ----------
    source : path
        Of the run to start from.
    before : dict
        Its settings, from run.json.
    settings : Settings
        Of the branch.
    done : float
        Epochs that the source's checkpoint has behind it.
    """
    recipe = settings.recipe
    if recipe.schedule != "trapezoid":
        raise BadInput(
            "A run can branch only with a trapezoid for its learning rate; the recipe "
            f"{recipe.name} has another schedule."
        )
    if comparable(before) != comparable(settings.facts()):
        raise BadInput(
            f"The run in {source} has other settings; a branch may differ in --epochs and "
            "--cool-down only."
        )
    for name, values in (("that run", before["recipe"]), ("the new run", asdict(recipe))):
        level = values["epochs"] - values["cool_down"]
        if done > level:
            raise BadInput(
                f"The run in {source} stands at epoch {done:.2f}, but {name}'s learning rate falls "
                f"from epoch {level:g} on; choose more --epochs or a shorter --cool-down, or start "
                "from an earlier state."
            )


def branch(
    source: Path, folder: Path, settings: Settings, steps_per_epoch: int, facts: dict
) -> dict:
    """Give the new run `folder` the newest checkpoint, the log and the snapshots of `source`.

    Parameters
    ----------
    source, folder : path
        Of the run to start from, and of the new one.
    settings : Settings
    steps_per_epoch : int
    facts : dict
        What the new run's run.json will hold; its data and start have to be those of `source`.

    Returns
    -------
    dict
        For run.json: where the run branched off.

    Raises
    ------
    BadInput
        No run, no good checkpoint, or one that a run with these settings would not have.
    """
    try:
        old = json.loads((source / "run.json").read_text(encoding="utf-8"))
        before = old["settings"]
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"There is no run in {source} to start from ({error}).") from error
    found = checkpoints.load_latest(source / "checkpoints")
    if found is None:
        raise BadInput(f"The run in {source} has no checkpoint yet; wait for its first one.")
    _, state = found
    check_branch(source, before, settings, state["step"] / steps_per_epoch)
    advice = "a branch needs the same; choose another run, or train from the start"
    own, new = ({part: run.get(part, {}) for part in ("data", "start")} for run in (old, facts))
    check_same(own, new, source, advice)
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    with checkpoints.saving(folder / "checkpoints"):
        for path in sorted((source / "checkpoints").glob(f"step-{state['step']:09d}.*"))[::-1]:
            with replacing(folder / "checkpoints" / path.name) as temporary:  # tensors, then JSON
                shutil.copyfile(path, temporary)
        with replacing(folder / "log.jsonl") as temporary:
            shutil.copyfile(source / "log.jsonl", temporary)
            os.truncate(temporary, state["log_bytes"])
        if (source / "snapshots").is_dir():
            shutil.copytree(source / "snapshots", folder / "snapshots", dirs_exist_ok=True)
    return {"epochs": before["recipe"]["epochs"], "step": state["step"]}
