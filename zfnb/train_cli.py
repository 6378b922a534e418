"""The command `zfnb train`; also ``python -m zfnb.train_cli``, and with torchrun in front."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from zfnb.errors import BadInput, MissingData, UnknownName, ZfnbError

SIZES = {"tiny-imagenet": 112}  # input in pixels where it is not the network's own 224


def train(
    network: Annotated[str, typer.Argument(help="a name from `zfnb models`, e.g. zfnet")],
    data: Annotated[str, typer.Option(help="dataset: tiny-imagenet, imagenet, stamps, ...")],
    root: Annotated[Path | None, typer.Option(help="its folder; else $ZFNB_DATA")] = None,
    out: Annotated[Path | None, typer.Option(help="folder of the run; runs/NETWORK")] = None,
    recipe: Annotated[str, typer.Option(help="paper or modern")] = "modern",
    epochs: Annotated[int | None, typer.Option(help="default: the recipe's")] = None,
    batch: Annotated[int | None, typer.Option(help="over all processes")] = None,
    lr: Annotated[float | None, typer.Option(help="learning rate")] = None,
    dropout: Annotated[float | None, typer.Option(help="in layers 6 and 7")] = None,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
    seed: Annotated[int, typer.Option()] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out")] = False,
    input_size: Annotated[int | None, typer.Option(help="pixels; 224, Tiny ImageNet 112")] = None,
    width: Annotated[float, typer.Option(help="factor on maps and units")] = 1.0,
    holdout: Annotated[int, typer.Option(help="pictures a class kept out, to tune on")] = 0,
    cache: Annotated[Path | None, typer.Option(help="folder of decoded pictures")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="decode every epoch")] = False,
    workers: Annotated[int, typer.Option(help="processes that read pictures")] = 0,
    threads: Annotated[int | None, typer.Option(help="CPU threads of PyTorch")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda; default: a GPU if any")] = None,
    compile: Annotated[bool, typer.Option("--compile", help="use torch.compile")] = False,
    checkpoint_every: Annotated[int, typer.Option(help="steps")] = 200,
) -> None:
    """Train a network on a dataset (Sec. 3.1); interrupt it at will, go on with --resume."""
    import torch

    from zfnb.paths import cache_root
    from zfnb.recipes import recipe_named
    from zfnb.training import Settings
    from zfnb.training import train as run

    changes = {"epochs": epochs, "batch": batch, "lr": lr, "dropout": dropout}
    chosen = replace(
        recipe_named(recipe), **{name: v for name, v in changes.items() if v is not None}
    )
    settings = Settings(
        network,
        data,
        chosen,
        input_size=input_size or SIZES.get(data, 224),
        width=width,
        precision=precision,
        seed=seed,
        holdout=holdout,
    )
    if threads is not None:
        if threads < 1:
            raise BadInput(f"--threads must be at least 1, not {threads}.")
        torch.set_num_threads(threads)
    result = run(
        settings,
        open_split(data, "train", root),
        open_split(data, "val", root),
        out or Path("runs") / network,
        resume=resume,
        cache=None if no_cache else cache or cache_root() / "pictures",
        device=device,
        workers=workers,
        compiled=compile,
        checkpoint_every=checkpoint_every,
    )
    for name, value in result.items():
        typer.echo(f"{name}: {value:.2f}" if isinstance(value, float) else f"{name}: {value}")


def open_split(name: str, split: str, root: Path | None):
    """A dataset by name."""
    if name != "tiny-imagenet":
        raise UnknownName.of("dataset", name, ["tiny-imagenet"])
    return TinyImagenet(root, split)


class TinyImagenet:
    """Reads Tiny ImageNet's layout until `zfnb.load_dataset` does."""

    name = "tiny-imagenet"

    def __init__(self, root: Path | None, split: str):
        if root is None or not (root / "wnids.txt").exists():
            raise MissingData("Give --root: the folder that holds wnids.txt of Tiny ImageNet.")
        self.split = split
        self.synsets = sorted((root / "wnids.txt").read_text().split())
        words = dict(line.split("\t") for line in (root / "words.txt").read_text().splitlines())
        self.classes = [words[synset].split(",")[0] for synset in self.synsets]
        number = {synset: i for i, synset in enumerate(self.synsets)}
        if split == "train":
            self.paths = [
                p for s in self.synsets for p in sorted((root / "train" / s / "images").iterdir())
            ]
            self.targets = [number[p.parent.parent.name] for p in self.paths]
        else:
            lines = (root / "val" / "val_annotations.txt").read_text().splitlines()
            found = sorted(line.split("\t")[:2] for line in lines)
            self.paths = [root / "val" / "images" / name for name, _ in found]
            self.targets = [number[synset] for _, synset in found]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int):
        from zfnb.data.pictures import open_picture

        return open_picture(self.paths[index]), self.targets[index]

    def fingerprint(self) -> str:
        keys = "\n".join(path.name for path in self.paths)
        return hashlib.sha256(f"{self.split}\n{keys}".encode()).hexdigest()


def main() -> None:
    app = typer.Typer(add_completion=False)
    app.command()(train)
    try:
        app()
    except ZfnbError as error:
        print(f"zfnb train: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
