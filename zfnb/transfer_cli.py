"""Measure Tables 4 to 7 and Fig. 9 on real data: ``python -m zfnb.transfer_cli table7 --help``.

Features and dot products are kept in the cache, so a command that is stopped, or another one on the
same layers, does not compute them again. The results go to ``data/results/NAME.json``; a network
that was measured before is replaced, the others stay.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

import zfnb
from zfnb.data import PictureDataset, load_dataset
from zfnb.data.voc import CLASSES
from zfnb.errors import BadInput, ZfnbError
from zfnb.linear_classifiers import KINDS
from zfnb.models import Network
from zfnb.paths import cache_root, embedded
from zfnb.processes import choose_device
from zfnb.protocols import Draw, draws, feasible_counts, protocol_named
from zfnb.recipes import recipe_named
from zfnb.runs import commit, machine, read_json, write_json
from zfnb.training import Settings
from zfnb.transfer import (
    Result,
    compare_layers,
    dot_products,
    layer_features,
    layers_to_compare,
    mean_and_spread,
    not_pretrained,
    several_objects,
)
from zfnb.transfer_tables import kept, with_run
from zfnb.weights import fingerprint

app = typer.Typer(
    help="Measure how far features carry (Sec. 5.2, 5.3).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
NETWORK = "torchvision-alexnet:imagenet-trunk"

Data = Annotated[str, typer.Option(help="caltech101, caltech256, or another dataset")]
Root = Annotated[Path | None, typer.Option(help="where datasets lie; else $ZFNB_DATA")]
Networks = Annotated[
    list[str] | None,
    typer.Option("--network", help=f"NETWORK:WEIGHTS, several times too; {NETWORK}"),
]
Classifiers = Annotated[
    list[str] | None,
    typer.Option("--classifier", help="svm (one against one), softmax, svm-against-all"),
]
Splits = Annotated[int, typer.Option(help="random splits", min=1)]
Seed = Annotated[int, typer.Option(help="of the splits", min=0)]
Test = Annotated[int, typer.Option(help="test pictures a class, at the most", min=1)]
Counts = Annotated[
    list[int] | None, typer.Option("--count", help="training pictures a class; the paper's")
]
Cache = Annotated[Path | None, typer.Option(help="folder of features; else zfnb's cache")]
Results = Annotated[Path | None, typer.Option(help="JSON file; data/results/NAME.json")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda; default: a GPU if any")]
Threads = Annotated[int | None, typer.Option(help="CPU threads of PyTorch", min=1)]


@app.command("table7")
def table7(
    data: Data = "caltech101",
    network: Networks = None,
    layer: Annotated[
        list[int] | None, typer.Option(help="layer numbers; 1 to 5 and 7, as far as there are")
    ] = None,
    classifier: Classifiers = None,
    counts: Counts = None,
    splits: Splits = 5,
    test: Test = 50,
    seed: Seed = 0,
    root: Root = None,
    cache: Cache = None,
    results: Results = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Table 7: a linear SVM on each layer, and a softmax on layers 5 and 7."""
    asked = locals()
    chosen = prepare(device, threads)
    dataset = load_dataset(data, "train", root)
    counts = counts or protocol_named(data).counts[-1:]
    drawn = draws(dataset.targets, counts, splits=splits, test=test, seed=seed)
    for text in network or [NETWORK]:
        net = open_network(text, chosen)

        numbers = layer or layers_to_compare(net)
        compare(
            "table7", text, dataset, drawn, net, numbers, classifier, cache, results, chosen, asked
        )


@app.command("table4")
def table4(
    data: Data = "caltech101",
    network: Networks = None,
    classifier: Classifiers = None,
    counts: Counts = None,
    splits: Splits = 5,
    test: Test = 50,
    seed: Seed = 0,
    root: Root = None,
    cache: Cache = None,
    results: Results = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Tables 4 and 5 (--data caltech256): classifiers on the highest layer."""
    asked = locals()
    chosen = prepare(device, threads)
    dataset = load_dataset(data, "train", root)
    counts = counts or protocol_named(data).counts
    drawn = draws(dataset.targets, counts, splits=splits, test=test, seed=seed)
    name = "table5" if data == "caltech256" else "table4"
    on_highest(
        name,
        dataset,
        drawn,
        network,
        classifier or KINDS,
        cache,
        results,
        chosen,
        asked,
    )


@app.command("fig9")
def fig9(
    data: Data = "caltech101",
    network: Networks = None,
    classifier: Classifiers = None,
    counts: Counts = None,
    splits: Splits = 5,
    test: Test = 50,
    seed: Seed = 0,
    root: Root = None,
    cache: Cache = None,
    results: Results = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Fig. 9: accuracy against training pictures a class, as far as the data go."""
    asked = locals()
    chosen = prepare(device, threads)
    dataset = load_dataset(data, "train", root)
    counts = counts or feasible_counts(dataset.targets)
    drawn = draws(dataset.targets, counts, splits=splits, share_test=True, test=test, seed=seed)
    on_highest(
        "fig9",
        dataset,
        drawn,
        network,
        classifier or ["svm"],
        cache,
        results,
        chosen,
        asked,
    )


def on_highest(
    name: str,
    dataset: PictureDataset,
    drawn: Mapping[int, Sequence[Draw]],
    networks: Sequence[str] | None,
    kinds: Sequence[str] | None,
    cache: Path | None,
    results: Path | None,
    device: torch.device,
    asked: dict,
) -> None:
    """Classifiers on the highest layer of each network, for all draws."""
    for text in networks or [NETWORK]:
        net = open_network(text, device)
        highest = layers_to_compare(net)[-1:]
        compare(name, text, dataset, drawn, net, highest, kinds, cache, results, device, asked)


def compare(
    name: str,
    text: str,
    dataset: PictureDataset,
    drawn: Mapping[int, Sequence[Draw]],
    net: Network,
    numbers: Sequence[int],
    kinds: Sequence[str] | None,
    cache: Path | None,
    results: Path | None,
    device: torch.device,
    asked: dict,
) -> None:
    """Classifiers on some layers of a network, for all draws that are not done yet."""
    bar = sys.stderr.isatty()
    features = layer_features(net, dataset, numbers, folder=cache, progress=bar)
    log = Log(name, text, dataset, drawn, results, device, asked, net)
    compare_layers(
        features,
        dataset.targets,
        drawn,
        softmax_from=5 if name == "table7" else 1,
        kinds=kinds or KINDS,
        progress=bar,
        skip=log.done,
        on_result=log.keep,
    )
    log.end()


@app.command("scratch")
def scratch(
    data: Data = "caltech101",
    network: Annotated[str, typer.Option(help="a name from `zfnb models`")] = "zfnet",
    counts: Counts = None,
    splits: Splits = 5,
    test: Test = 50,
    seed: Seed = 0,
    recipe: Annotated[str, typer.Option(help="paper or modern")] = "modern",
    epochs: Annotated[int, typer.Option(help="over the training pictures", min=1)] = 60,
    batch: Annotated[int, typer.Option(help="pictures a step", min=1)] = 64,
    lr: Annotated[float | None, typer.Option(help="learning rate; the recipe's")] = None,
    input_size: Annotated[int, typer.Option(help="pixels")] = 96,
    width: Annotated[float, typer.Option(help="factor on maps and units")] = 1.0,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
    out: Annotated[Path, typer.Option(help="folder of the runs")] = Path("runs/scratch"),
    pictures: Annotated[Path | None, typer.Option(help="folder of decoded pictures")] = None,
    root: Root = None,
    results: Results = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Tables 4 and 5, "not pretrained": train from random weights; interrupt it at will."""
    asked = locals()
    chosen = prepare(device, threads)
    dataset = load_dataset(data, "train", root)
    counts = counts or protocol_named(data).counts
    drawn = draws(dataset.targets, counts, splits=splits, test=test, seed=seed)
    base = recipe_named(recipe)
    changes = {"epochs": epochs, "batch": batch, "cool_down": min(base.cool_down, epochs / 2)}
    chosen_recipe = replace(base, **changes, **({} if lr is None else {"lr": lr}))
    settings = Settings(
        network, data, chosen_recipe, input_size=input_size, width=width, precision=precision
    )

    name = "table5" if data == "caltech256" else "table4"
    asked["settings"] = asdict(settings)
    log = Log(name, f"{network}:random", dataset, drawn, results, chosen, asked)
    options = {"cache": pictures or cache_root() / "pictures", "device": str(chosen)}
    for several in drawn.values():
        for one in several:
            if not log.done(None, "not pretrained", one):
                log.keep(None, not_pretrained(dataset, one, settings, out, **options))
    log.end()


@app.command("table6")
def table6(
    network: Networks = None,
    classifier: Annotated[list[str] | None, typer.Option(help="svm, softmax, or both")] = None,
    seed: Seed = 0,
    root: Root = None,
    cache: Cache = None,
    results: Results = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Table 6: PASCAL VOC 2012, trained on train, measured on val."""
    asked = locals()
    chosen = prepare(device, threads)
    dataset = load_dataset("voc2012", "trainval", root)
    split = {key: set() for key in ("train", "val")}
    for key in split:
        part = load_dataset("voc2012", key, root)
        split[key] = {part.key(i) for i in range(len(part))}
    keys = [dataset.key(i) for i in range(len(dataset))]
    for text in network or [NETWORK]:
        net = open_network(text, chosen)
        number = layers_to_compare(net)[-1]
        began = time.perf_counter()
        features = layer_features(
            net, dataset, [number], folder=cache, progress=sys.stderr.isatty()
        )[number]
        products = dot_products(features, progress=sys.stderr.isatty())
        train, test = (
            np.array([i for i, k in enumerate(keys) if k in split[key] and features.readable[i]])
            for key in ("train", "val")
        )
        rows = []
        for kind in classifier or KINDS:
            found = several_objects(products, dataset.labels, train, test, kind, seed=seed)
            typer.echo(f"{text}, layer {number}, {kind}: mean {found.mean:.1f} %")
            rows.append(
                {
                    "layer": number,
                    "classifier": kind,
                    "mean": round(found.mean, 3),
                    "average_precision": {
                        name: None if np.isnan(value) else round(float(value), 3)
                        for name, value in zip(CLASSES, found.average_precision, strict=True)
                    },
                    "regularisation": found.regularisation,
                    "train_pictures": len(train),
                    "test_pictures": len(test),
                }
            )
        run = about("table6", text, dataset, chosen, asked, net)
        seconds = round(time.perf_counter() - began, 1)
        save("table6", {**run, "seconds": seconds, "rows": rows}, results)


def prepare(device: str | None, threads: int | None) -> torch.device:
    """The device asked for, with so many threads on a CPU."""
    if threads is not None:
        torch.set_num_threads(threads)
    return choose_device(device)


def open_network(text: str, device: torch.device) -> Network:
    """NETWORK:WEIGHTS as a network on the device."""
    name, colon, weights = text.partition(":")
    if not colon:
        raise BadInput(f"Say which weights: {text}:tiny-imagenet, say, or {text}:FILE.")
    return zfnb.load_model(name, weights=weights).to(device)


class Log:
    """The results of one network, kept after each, so that a command that is stopped goes on."""

    def __init__(
        self,
        name: str,
        text: str,
        dataset: PictureDataset,
        drawn: Mapping[int, Sequence[Draw]],
        results: Path | None,
        device: torch.device,
        asked: dict,
        net: Network | None = None,
    ) -> None:
        self.results = results_path(name, results)
        self.before, self.began = 0.0, time.perf_counter()
        splits = len(next(iter(drawn.values())))
        protocol = {"counts": list(drawn), "splits": splits, "test": asked["test"]}
        run = {
            **about(name, text, dataset, device, asked, net),
            "protocol": {**protocol, "seed": asked["seed"]},
            "rows": [],
        }
        self.name, self.run = name, json.loads(json.dumps(run))  # tuples become lists, as in files
        kept(name, self.results)  # a damaged file is said now, and not after hours
        which = (name, run["network"], run["weights"], dataset.name)
        self.part = self.results.with_name(f".{'-'.join(which)}.part.json")
        old = read_json(self.part) if self.part.exists() else {}
        same = ("network", "weights", "checksum", "data", "protocol", "settings")
        if old and all(old.get(key) == self.run.get(key) for key in same):
            self.run["rows"], self.before = old["rows"], old["seconds"]

    def done(self, number: int | None, kind: str, one: Draw) -> bool:
        """Whether a layer, kind and draw were measured before the command was stopped."""
        what = (number, kind, one.count, one.split)
        keys = ("layer", "classifier", "count", "split")
        return any(tuple(row[key] for key in keys) == what for row in self.run["rows"])

    def keep(self, number: int | None, result: Result) -> None:
        """Tell, and write down, one result."""
        layer = "" if number is None else f"layer {number}, "
        typer.echo(
            f"{layer}{result.kind}, {result.count} a class, split {result.split}: "
            f"{result.accuracy:.1f} % ({result.seconds:.0f} s)"
        )
        self.run["rows"].append({"layer": number, **result.row()})
        self.part.parent.mkdir(parents=True, exist_ok=True)
        self.run["seconds"] = round(self.before + time.perf_counter() - self.began, 1)
        write_json(self.part, self.run)

    def end(self) -> None:
        """Put the whole run into the results file, and tell the means."""
        save(self.name, self.run, self.results)
        self.part.unlink(missing_ok=True)
        found: dict[tuple, list[float]] = {}
        for row in self.run["rows"]:
            what = (row["layer"], row["classifier"], row["count"])
            found.setdefault(what, []).append(row["accuracy"])
        for (number, kind, count), several in found.items():
            mean, spread = mean_and_spread(several)
            layer = "" if number is None else f"layer {number}, "
            typer.echo(f"{layer}{kind}, {count} a class: {mean:.1f} ± {spread:.1f} %")


def about(
    name: str,
    text: str,
    dataset: PictureDataset,
    device: torch.device,
    asked: dict,
    net: Network | None = None,
) -> dict:
    """How a run was made, without the places of one machine."""
    network, _, weights = text.partition(":")
    is_file = Path(weights).suffix in (".safetensors", ".pth", ".pt")
    return {
        "network": network,
        "weights": Path(weights).name if is_file else weights,
        "checksum": None if net is None else fingerprint(net)[:16],
        "data": {
            "name": dataset.name,
            "pictures": len(dataset),
            "classes": len(dataset.classes),
            "fingerprint": dataset.fingerprint()[:16],
        },
        "command": command(name, text, asked),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "code": {"zfnb": zfnb.__version__, **commit()},
        "machine": machine(device),
        **({"settings": asked["settings"]} if "settings" in asked else {}),
    }


def command(name: str, text: str, asked: dict) -> str:
    """The command line that measures this network alone."""
    scratch = "recipe" in asked
    words = ["python -m zfnb.transfer_cli", "scratch" if scratch else name.replace("5", "4")]
    words += [f"--data {asked['data']}"] if "data" in asked else []
    words += [f"--network {asked['network'] if scratch else text}"]
    for option, key in (
        ("--layer", "layer"),
        ("--classifier", "classifier"),
        ("--count", "counts"),
    ):
        words += [f"{option} {value}" for value in asked.get(key) or ()]
    plain = ("splits", "test", "seed", "recipe", "epochs", "batch", "lr", "input_size", "width")
    for key in (*plain, "precision"):
        if asked.get(key) is not None:
            words.append(f"--{key.replace('_', '-')} {asked[key]}")
    return " ".join(words)


def results_path(name: str, results: Path | None) -> Path:
    """The results file asked for, or the one that travels with the package."""
    return embedded("data", "results", f"{name}.json") if results is None else results


def save(name: str, run: dict, results: Path | None) -> None:
    """Put a run into its results file."""
    path = results_path(name, results)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, with_run(kept(name, path), run))


def main() -> None:
    """What zfnb refuses is one sentence on stderr, and exit code 2."""
    try:
        app()
    except (ZfnbError, OSError) as error:
        typer.echo(f"zfnb.transfer_cli: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
