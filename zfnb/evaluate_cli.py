"""The command `zfnb evaluate`: errors of networks and their ensembles on a dataset (Table 2)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from zfnb.errors import BadInput


def evaluate(
    networks: Annotated[
        list[str], typer.Argument(help="NETWORK:WEIGHTS, e.g. zfnet:tiny-imagenet; several too")
    ],
    data: Annotated[str, typer.Option(help="dataset: tiny-imagenet, imagenet, ...")],
    split: Annotated[str, typer.Option(help="train, val or test")] = "val",
    root: Annotated[Path | None, typer.Option(help="where datasets lie; else $ZFNB_DATA")] = None,
    crops: Annotated[list[int] | None, typer.Option(help="1, 10, or both (two options)")] = None,
    limit: Annotated[
        int | None, typer.Option(help="only so many pictures, drawn with seed 0", min=1)
    ] = None,
    batch: Annotated[
        int, typer.Option(help="inputs at a time; ten crops of a picture are ten", min=1)
    ] = 100,
    workers: Annotated[int, typer.Option(help="processes that read pictures", min=0)] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda; default: a GPU if any")] = None,
    results: Annotated[Path | None, typer.Option(help="keep the numbers in this JSON file")] = None,
    add: Annotated[
        bool, typer.Option("--add", help="keep what --results holds of the same pictures, too")
    ] = False,
) -> None:
    """Measure top-1 and top-5 errors, of each network alone and of their ensembles."""
    import numpy as np
    from torch.utils.data import Subset
    from tqdm import tqdm

    import zfnb
    from zfnb import classification as table2
    from zfnb.cli import load, show_table
    from zfnb.named import network_and_weights
    from zfnb.processes import choose_device
    from zfnb.runs import measurement, write_json

    parts = {text: network_and_weights(text) for text in networks}
    dataset = zfnb.load_dataset(data, split, root)
    chosen = choose_device(device)
    nets = {}
    for text, (network, weights) in parts.items():
        nets[text] = load(network, weights).to(chosen)
        table2.check_classes(nets[text], dataset, text)
    items = np.arange(len(dataset))
    if limit is not None and limit < len(items):
        items = np.sort(np.random.default_rng(0).choice(items, limit, replace=False))
    targets = np.asarray(dataset.targets)[items]
    what = {
        "data": {"name": data, "split": split, "pictures": len(items)},
        "classes": next(iter(nets.values())).classes,
    }
    if results is not None and results.exists():  # before minutes of work, and not after
        if not add:
            raise BadInput(
                f"{results.name} is there already; add to it with --add, or choose another "
                "--results."
            )
        table2.check_same_pictures(table2.kept(results), what)
    began = time.perf_counter()
    scores = table2.measure(
        nets,
        Subset(dataset, items.tolist()),
        crops or [1, 10],
        batch=batch,
        workers=workers,
        progress=tqdm,
    )
    seconds = time.perf_counter() - began
    rows = table2.table(scores, targets)
    show_table(
        ("networks", "crops", "top-1 error %", "top-5 error %"),
        [(row.name, str(row.crops), f"{row.top1:.2f}", f"{row.top5:.2f}") for row in rows],
        right=(1, 2, 3),
    )
    if results is None:
        return
    words = ["zfnb evaluate", *networks, f"--data {data}"]
    words += [f"--split {split}"] if split != "val" else []
    words += [f"--crops {n}" for n in crops or []]
    words += [f"--limit {limit}"] if limit is not None else []
    content = table2.record(
        scores,
        targets,
        rows,
        **what,
        measured={
            **measurement(" ".join(words), chosen),
            "seconds": round(seconds, 1),
        },
    )
    if add and results.exists():  # with what others have added meanwhile
        content = table2.merged(table2.kept(results), content)
    results.parent.mkdir(parents=True, exist_ok=True)
    write_json(results, content)
    typer.echo(f"{results}")
