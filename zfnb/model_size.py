"""Table 3: the networks of the paper made smaller and larger, trained again (Sec. 5.1).

Every row is a whole run of `zfnb.training.train`, at reduced scale: half the maps and units, inputs
of 64 pixels, Tiny ImageNet. The folder of the runs is

    OUT/NETWORK-seedN/  a run, see `zfnb.training`; its checkpoints go once it is measured
        row.json        its errors, or why it failed

so the work can be stopped at will: runs that are done are skipped, one that was interrupted
goes on. ``python -m zfnb.model_size --data tiny-imagenet`` makes ``data/results/table3.json``.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch.utils.data import Dataset, Subset
from tqdm import tqdm

import zfnb
from zfnb.architecture import outline, variants
from zfnb.batches import seeded
from zfnb.errors import BadInput, UnknownName
from zfnb.evaluate import in_top, probabilities, top_k_errors
from zfnb.paths import results_file
from zfnb.processes import choose_device
from zfnb.programs import run_alone
from zfnb.recipes import lasting, recipe_named
from zfnb.runs import check_same, measurement, read_json, read_log, write_json
from zfnb.runs import command as train_command
from zfnb.table3 import SIZES, kept, packed
from zfnb.training import Settings, data_facts, train

# The rows on which the paper's conclusions rest; the others are trained from one seed.
RESTED_ON = (
    "alexnet",
    "alexnet-no34",
    "alexnet-no67",
    "alexnet-no3467",
    "zfnet",
    "zfnetb",
    "zfnet-fc8192",
    "zfnetb-fc8192",
)


def plan(
    data: str,
    networks: Sequence[str] | None = None,
    seeds: int = 2,
    *,
    epochs: int = 15,
    width: float = 0.5,
    input_size: int = 64,
    precision: str = "float32",
    **recipe,
) -> list[Settings]:
    """The runs of the table, in the order in which they are worth having.

    Parameters
    ----------
    data : str
        Name of the dataset.
    networks : sequence of str, optional
        Rows of Table 3, each from all `seeds`. None: all twelve, and only those that the paper's
        conclusions rest on (`RESTED_ON`) from more than one seed.
    seeds : int
        How many runs of a row, from seeds 0, 1, ...
    epochs, width, input_size, precision
        See `zfnb.training.Settings`.
    **recipe
        Changes to the recipe "modern", e.g. ``batch=32``. The learning rate falls over at most the
        second half of the epochs.

    Returns
    -------
    list of Settings
        Seed 0 of every row comes first.

    Raises
    ------
    UnknownName, BadInput
        No row of Table 3 has that name; a setting is out of range; the input is too small for a
        network.
    """
    names = [row["network"] for row in variants()]
    for name in networks or ():
        if name not in names:
            raise UnknownName.of("row of Table 3", name, names)
    if seeds < 1:
        raise BadInput(f"seeds must be at least 1, not {seeds}.")
    chosen = replace(lasting(recipe_named("modern"), epochs), **recipe)
    runs = []
    for name in dict.fromkeys(networks or names):
        outline(name, input_size=input_size, width=width)  # refuses an input that is too small
        for seed in range(seeds if networks or name in RESTED_ON else 1):
            runs.append(
                Settings(
                    name,
                    data,
                    chosen,
                    input_size=input_size,
                    width=width,
                    precision=precision,
                    seed=seed,
                )
            )
    return sorted(runs, key=lambda run: run.seed)  # of equal seeds, as in the table


def planned(data: str = "tiny-imagenet") -> dict:
    """What `gather` gives before anything is trained: `plan`'s settings, and no rows."""
    shared = shared_settings(plan(data)[0].facts())
    return {"data": {"name": data}, "settings": shared, "rows": [], "failed": []}


def shared_settings(facts: dict) -> dict:
    """Settings, as files keep them, without what the rows of a table differ in."""
    return {key: value for key, value in facts.items() if key not in ("network", "seed")}


def run_folder(out: str | Path, settings: Settings) -> Path:
    """Where a row is trained below `out`."""
    return Path(out) / f"{settings.network}-seed{settings.seed}"


def measured_part(count: int, pictures: int) -> list[int]:
    """The training pictures on which the training error is measured: the same for every run."""
    rng = np.random.default_rng(seeded("training error"))
    return np.sort(rng.choice(count, min(pictures, count), replace=False)).tolist()


def errors_on(
    net: zfnb.models.Network, dataset: Dataset, items: Sequence[int], workers: int = 0
) -> tuple[dict[int, float], str]:
    """Errors on pictures, each as its single central crop, and which of them are wrong.

    The error that `zfnb.training` logs while it trains is that of distorted crops, with dropout;
    the paper's training error is compared with a validation error, so it has to be measured alike.

    Parameters
    ----------
    net : Network
        Trained.
    dataset : Dataset
        Items (PIL image, target), with ``.targets``.
    items : sequence of int
        The pictures.
    workers : int
        Processes that read them; 0: this one does.

    Returns
    -------
    errors : dict {1 or 5: percent}
    wrong : str
        The pictures of a top-1 error, see `zfnb.table3.packed`.
    """
    targets = torch.as_tensor(np.asarray(dataset.targets)[items], dtype=torch.long)
    scores = probabilities(net, Subset(dataset, items), workers=workers)
    wrong = ~in_top(scores, targets, (1,))[:, 0]
    return top_k_errors(scores, targets), packed(wrong.numpy())


def train_rows(
    runs: Sequence[Settings],
    train_set: Dataset,
    val_set: Dataset | None,
    out: str | Path,
    results: str | Path | None = None,
    *,
    pictures: int = 10_000,
    command: str = "",
    cache: str | Path | None = None,
    device: str | None = None,
    workers: int = 0,
    progress: bool = True,
    on_row: Callable[[dict], None] | None = None,
    **callbacks,
) -> dict:
    """Train and measure the rows that are not done yet.

    A run that fails (its loss diverges, say) is noted, and the others go on; the next call tries it
    again from its last checkpoint.

    Parameters
    ----------
    runs : sequence of Settings
        From `plan`.
    train_set, val_set : Dataset
        Items (PIL image, target), as from `zfnb.load_dataset`.
    out : path
        Folder of the runs.
    results : path, optional
        JSON file that is rewritten after every row, with all that `out` holds.
    pictures : int
        Training pictures on which the training error is measured.
    command : str
        How this was called, for the file.
    cache, device, workers, progress, **callbacks
        See `zfnb.training.train`.
    on_row : callable, optional
        Called with each new row.

    Returns
    -------
    dict
        The content of `results`; see `gather`.

    Raises
    ------
    BadInput
        No validation pictures; `out` holds runs with other settings or data, or rows that were
        measured on other numbers of pictures; `results` holds rows that `out` does not, which would
        be lost.
    CannotSave
        A full disk. Call again once there is space.
    """
    out, results = Path(out), None if results is None else Path(results)
    if pictures < 1:
        raise BadInput(f"pictures must be at least 1, not {pictures}.")
    if val_set is None or not len(val_set):
        raise BadInput("Table 3 needs validation pictures; choose a dataset that has some.")
    chosen = choose_device(device)
    for settings in runs:
        refuse_another_run(run_folder(out, settings), settings)
    if runs:
        refuse_other_rows(runs, train_set, val_set, out, pictures)
    refuse_to_lose(results, out)
    for settings in runs:
        folder = run_folder(out, settings)
        if finished(folder):
            continue
        try:
            row = train_row(
                settings,
                train_set,
                val_set,
                folder,
                pictures=pictures,
                cache=cache,
                device=str(chosen),
                workers=workers,
                progress=progress,
                **callbacks,
            )
        except (BadInput, RuntimeError, MemoryError) as error:
            row = {"network": settings.network, "seed": settings.seed}
            sentence = str(error).replace(str(folder), folder.name)  # no place of one machine
            row["error"] = sentence.partition("\n")[0] or type(error).__name__
        write_json(folder / "row.json", row)
        if "error" not in row:
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        if progress:
            tqdm.write(in_words(row), file=sys.stderr)
        if results is not None:
            write_json(results, gather(out, command, chosen))
        if on_row:
            on_row(row)
    content = gather(out, command, chosen)
    if results is not None:
        write_json(results, content)
    return content


def train_row(
    settings: Settings,
    train_set: Dataset,
    val_set: Dataset,
    folder: Path,
    *,
    pictures: int,
    workers: int,
    **options,
) -> dict:
    """One row: train, go on, or leave as it is; and measure the network as it was saved."""
    weights = folder / f"{settings.network}.safetensors"
    if not (folder / "result.json").exists() or not weights.exists():
        train(settings, train_set, val_set, folder, resume=True, workers=workers, **options)
    net = zfnb.load_model(settings.network, weights)
    net.to(options["device"])
    part = measured_part(len(train_set), pictures)
    errors, wrong = errors_on(net, train_set, part, workers)
    val_errors, val_wrong = errors_on(net, val_set, range(len(val_set)), workers)
    facts = read_json(folder / "run.json")
    epochs = read_log(folder)["epoch"]
    return {
        "network": settings.network,
        "seed": settings.seed,
        "train_top1": round(errors[1], 4),
        "val_top1": round(val_errors[1], 4),
        "val_top5": round(val_errors[5], 4),
        "train_pictures": len(part),
        "val_pictures": len(val_set),
        "wrong": {"train": wrong, "val": val_wrong},
        "parameters": sum(p.numel() for p in net.parameters()),
        "epochs": len(epochs),
        "seconds": round(sum(line["seconds"] for line in epochs), 1),
        "command": train_command(settings),
        "commit": facts["code"]["commit"],
        "device": facts["machine"]["device"],
        "torch": facts["machine"]["torch"],
    }


def in_words(row: dict) -> str:
    """A row in one line: its errors and its time, or why it failed."""
    name = f"{row['network']}, seed {row['seed']}"
    if "error" in row:
        return f"{name}: failed. {row['error']}"
    return (
        f"{name}: train {row['train_top1']:.1f} %, val {row['val_top1']:.1f} % top-1, "
        f"{row['val_top5']:.1f} % top-5, {row['seconds'] / 60:.0f} min"
    )


def finished(folder: Path) -> bool:
    """Whether a run has been trained and measured, with all that a row has."""
    path = folder / "row.json"
    return path.exists() and "wrong" in read_json(path)


def refuse_another_run(folder: Path, settings: Settings) -> None:
    """Say before hours of training, and not after, that a folder holds another run."""
    if (folder / "run.json").exists():
        before = {"settings": read_json(folder / "run.json").get("settings", {})}
        check_same(before, {"settings": settings.facts()}, folder)


def refuse_other_rows(
    runs: Sequence[Settings], train_set: Dataset, val_set: Dataset, out: Path, pictures: int
) -> None:
    """Say before hours of training that `gather` will not put the new rows beside the old ones."""
    advice = "a table needs rows that differ in the network alone; choose another --out"
    places = sorted(out.glob("*-seed*/run.json"))
    data = data_facts(runs[0], train_set) if places else {}
    new = {"settings": shared_settings(runs[0].facts()), "data": data}
    for path in places:
        run = read_json(path)
        old = {
            "settings": shared_settings(run.get("settings", {})),
            "data": {key: value for key, value in run.get("data", {}).items() if key in data},
        }
        check_same(old, new, path.parent, advice)
    sizes = dict(zip(SIZES, (min(pictures, len(train_set)), len(val_set)), strict=True))
    again = {(settings.network, settings.seed) for settings in runs}
    for row in all_rows(out):
        if "wrong" not in row and (row["network"], row["seed"]) in again:
            continue  # it will be measured like the others
        for key, size in sizes.items():
            if row.get(key, size) != size:
                raise BadInput(
                    f"{row['network']} from seed {row['seed']} in {out} was measured with {key} = "
                    f"{row[key]}, not {size}; {advice}."
                )


def refuse_to_lose(results: Path | None, out: Path) -> None:
    """Do not write over a table that other runs have filled."""
    if results is None or not results.exists():
        return
    ours = {(row["network"], row["seed"]) for row in all_rows(out) if "wrong" in row}
    lost = [row for row in kept(results)["rows"] if (row["network"], row["seed"]) not in ours]
    if lost:
        raise BadInput(
            f"{results.name} holds {len(lost)} rows that are not in {out}, such as "
            f"{lost[0]['network']} from seed {lost[0]['seed']}; keep yours in another file with "
            "--results."
        )


def all_rows(out: Path) -> list[dict]:
    """Every row.json below `out`, in the order of Table 3."""
    order = {row["network"]: place for place, row in enumerate(variants())}
    rows = [read_json(path) for path in Path(out).glob("*-seed*/row.json")]
    return sorted(rows, key=lambda row: (order[row["network"]], row["seed"]))


def gather(out: Path, command: str = "", device: torch.device | None = None) -> dict:
    """All that the runs below `out` have given so far.

    Returns
    -------
    dict
        command, date, code, machine; data (name, classes, pictures), settings (what all rows
        share); ``rows``: network, seed, train_top1, val_top1, val_top5 (percent), wrong (which
        pictures, see `zfnb.table3.packed`), parameters, epochs, seconds, and the command, commit
        and device of each; ``failed``: network, seed, error.

    Raises
    ------
    BadInput
        If the rows were not trained on the same data with the same settings.
    """
    rows = all_rows(out)
    shared: dict = {}
    sizes: dict = {}  # pictures measured
    for row in rows:
        path = Path(out) / f"{row['network']}-seed{row['seed']}" / "run.json"
        if not path.exists():
            continue  # it failed before it began
        run = read_json(path)
        facts = {"data": run["data"], "settings": shared_settings(run["settings"])}
        shared = shared or facts
        sizes = sizes or {key: row[key] for key in SIZES if key in row}
        if facts != shared or any(row.get(key, size) != size for key, size in sizes.items()):
            raise BadInput(
                f"The run {path.parent.name} in {out} has other settings or data than the rest; "
                "a table needs rows that differ in the network alone. Choose another --out."
            )
    return {
        **measurement(command, device or torch.device("cpu")),
        **shared,
        "rows": [row for row in rows if "wrong" in row],
        "failed": [row for row in rows if "error" in row],
    }


# The command


def model_size(
    data: Annotated[str, typer.Option(help="dataset: tiny-imagenet, stamps, ...")],
    root: Annotated[Path | None, typer.Option(help="where datasets lie; else $ZFNB_DATA")] = None,
    out: Annotated[Path, typer.Option(help="folder of the runs")] = Path("runs/table3"),
    results: Annotated[
        Path | None, typer.Option(help="JSON file of the table; data/results/table3.json")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="rows: --only alexnet --only zfnet, or alexnet,zfnet")
    ] = None,
    seeds: Annotated[int, typer.Option(help="runs of each row that matters")] = 2,
    epochs: Annotated[int, typer.Option()] = 15,
    batch: Annotated[int, typer.Option(help="pictures a step")] = 128,
    lr: Annotated[float | None, typer.Option(help="learning rate; the recipe's")] = None,
    width: Annotated[float, typer.Option(help="factor on maps and units")] = 0.5,
    input_size: Annotated[int, typer.Option(help="pixels")] = 64,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
    pictures: Annotated[int, typer.Option(help="training pictures that are measured")] = 10_000,
    cache: Annotated[Path | None, typer.Option(help="folder of decoded pictures")] = None,
    workers: Annotated[int, typer.Option(min=0, help="processes that read pictures")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of PyTorch")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda; default: a GPU if any")] = None,
) -> None:
    """Train the rows of Table 3 (Sec. 5.1); interrupt it at will, call it again to go on."""
    from zfnb.paths import cache_root
    from zfnb.train_cli import open_sets

    rows = [name for text in only or [] for name in text.replace(",", " ").split()]
    options = {"epochs": epochs, "width": width, "input_size": input_size, "precision": precision}
    recipe = {"batch": batch, **({} if lr is None else {"lr": lr})}
    runs = plan(data, rows or None, seeds, **options, **recipe)
    if threads is not None:
        torch.set_num_threads(threads)
    content = train_rows(
        runs,
        *open_sets(data, root),
        out,
        results_file("table3.json", results),
        pictures=pictures,
        command=" ".join(
            [
                f"python -m zfnb.model_size --data {data} --epochs {epochs} --seeds {seeds}",
                f"--batch {batch} --width {width} --input-size {input_size}",
                *([] if lr is None else [f"--lr {lr}"]),
                f"--precision {precision} --pictures {pictures}",
                *(f"--only {name}" for name in rows),
            ]
        ),
        cache=cache or cache_root() / "pictures",
        device=device,
        workers=workers,
    )
    for row in content["rows"]:
        typer.echo(in_words(row))
    if content["failed"]:
        for row in content["failed"]:
            typer.echo(in_words(row), err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    run_alone(model_size, "zfnb.model_size")
