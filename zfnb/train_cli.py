"""The command `zfnb train`; also ``python -m zfnb.train_cli``, and with torchrun in front."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zfnb.errors import BadInput, MissingData, UnknownName
from zfnb.programs import run_alone

if TYPE_CHECKING:
    from zfnb.data import PictureDataset

SIZES = {"tiny-imagenet": 96}  # input in pixels where it is not the network's own 224


def train(
    network: Annotated[str, typer.Argument(help="a name from `zfnb models`, e.g. zfnet")],
    data: Annotated[str, typer.Option(help="dataset: tiny-imagenet, imagenet, stamps, ...")],
    root: Annotated[Path | None, typer.Option(help="where datasets lie; else $ZFNB_DATA")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="folder of the run; several machines: on a disk they share; runs/NETWORK"
        ),
    ] = None,
    recipe: Annotated[str, typer.Option(help="paper or modern")] = "modern",
    weights: Annotated[
        str | None, typer.Option(help="fine-tune these: a name from `zfnb models`, or a file")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="default: the recipe's")] = None,
    batch: Annotated[int | None, typer.Option(help="over all processes")] = None,
    lr: Annotated[
        float | None, typer.Option(help="learning rate; the recipe's, or to fine-tune 0.003")
    ] = None,
    dropout: Annotated[float | None, typer.Option(help="in layers 6 and 7")] = None,
    cool_down: Annotated[
        float | None, typer.Option(help="epochs; recipe modern: 7, at most half of all")
    ] = None,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
    seed: Annotated[int, typer.Option()] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out")] = False,
    branch_of: Annotated[
        Path | None, typer.Option(help="start where this run stands, with other --epochs")
    ] = None,
    input_size: Annotated[
        int | None, typer.Option(help="pixels; 224, Tiny ImageNet 96, or that of --weights")
    ] = None,
    width: Annotated[
        float | None, typer.Option(help="factor on maps and units; 1, or that of --weights")
    ] = None,
    holdout: Annotated[
        int, typer.Option(help="pictures a class kept out, to tune on; recipe paper needs some")
    ] = 0,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="folder of decoded pictures, 3 x side x side bytes each: ImageNet's (side 256) "
            "are 252 GB; in $ZFNB_CACHE, else the system's"
        ),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="decode every epoch")] = False,
    workers: Annotated[int, typer.Option(min=0, help="processes that read pictures")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of PyTorch")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda; default: a GPU if any")] = None,
    compile: Annotated[bool, typer.Option("--compile", help="use torch.compile")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="write its curves")] = False,
    checkpoint_every: Annotated[int, typer.Option(help="steps")] = 200,
) -> None:
    """Train a network on a dataset (Sec. 3.1); interrupt it at will, go on with --resume."""
    import torch

    from zfnb.fine_tuning import LR
    from zfnb.models import load_model
    from zfnb.paths import cache_root
    from zfnb.recipes import lasting, recipe_named
    from zfnb.training import Settings
    from zfnb.training import train as run

    if weights is not None:
        lr = LR if lr is None else lr
        if input_size is None:
            input_size = load_model(network, weights=weights).input_size
    changes = {"batch": batch, "lr": lr, "dropout": dropout, "cool_down": cool_down}
    chosen = recipe_named(recipe)
    if epochs is not None:
        chosen = lasting(chosen, epochs)
    chosen = replace(chosen, **{name: v for name, v in changes.items() if v is not None})
    if chosen.schedule == "plateau" and not holdout:
        raise BadInput(
            f"The recipe {recipe} lowers its learning rate by the error on pictures that are held "
            "out; say how many of each class, e.g. with --holdout 50."
        )
    settings = Settings(
        network,
        data,
        chosen,
        input_size=SIZES.get(data, 224) if input_size is None else input_size,
        width=width,
        precision=precision,
        seed=seed,
        holdout=holdout,
        weights=weights,
    )
    if threads is not None:
        torch.set_num_threads(threads)
    result = run(
        settings,
        *open_sets(data, root),
        out or Path("runs") / network,
        resume=resume,
        branch_of=branch_of,
        cache=None if no_cache else cache or cache_root() / "pictures",
        device=device,
        workers=workers,
        compiled=compile,
        tensorboard=tensorboard,
        checkpoint_every=checkpoint_every,
    )
    for name, value in result.items() if os.environ.get("RANK", "0") == "0" else ():
        typer.echo(f"{name}: {value:.2f}" if isinstance(value, float) else f"{name}: {value}")


def open_sets(name: str, root: Path | None) -> tuple[PictureDataset, PictureDataset | None]:
    """The training pictures of a dataset, and its validation pictures, if it has any."""
    from zfnb.data import load_dataset

    learn = load_dataset(name, "train", root)
    for split in ("val", "test"):
        try:
            measure = load_dataset(name, split, root)
        except (MissingData, UnknownName):
            continue
        same = len(measure) == len(learn) and measure.key(-1) == learn.key(-1)  # not split at all
        if not same and measure.classes == learn.classes:
            return learn, measure
    return learn, None


if __name__ == "__main__":
    run_alone(train, "zfnb train")
