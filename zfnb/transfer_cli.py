"""Measure Tables 4 to 7 and Fig. 9 on real data: ``python -m zfnb.transfer_cli table7 --help``.

Features and dot products are kept in the cache, so a command that is stopped, or another one on the
same layers, does not compute them again. The results go to ``data/results/NAME.json``. There they
replace all earlier ones of the same network, weights and dataset, those of other layers,
classifiers and numbers of pictures too; all others stay. So ask for all of them in one command.
A command that is stopped leaves a hidden file beside the results, with which the next one of the
same pictures, draws and settings goes on; results in it that the next one does not ask for stay.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

import zfnb
from zfnb.data import PictureDataset, load_dataset
from zfnb.errors import BadInput
from zfnb.fine_tuning import LR
from zfnb.linear_classifiers import ALL_KINDS, KINDS, check_kinds
from zfnb.models import Network
from zfnb.named import (
    data_name,
    named_networks,
    network_and_weights,
    network_name,
    weights_name,
)
from zfnb.paths import cache_root, results_file
from zfnb.processes import choose_device
from zfnb.programs import run_program
from zfnb.protocols import PROTOCOLS, Draw, draws, feasible_counts, items_of, without
from zfnb.recipes import lasting, recipe_named
from zfnb.runs import measurement, read_json, write_json
from zfnb.training import Settings
from zfnb.transfer import (
    SOFTMAX_FROM,
    Result,
    compare_layers,
    kind_of,
    layer_features,
    layers_to_compare,
    mean_and_spread,
    train_network,
)
from zfnb.transfer_setups import voc_rows
from zfnb.transfer_tables import kept, with_run
from zfnb.usable import usable
from zfnb.weights import fingerprint

app = typer.Typer(
    help="Measure how far features carry (Sec. 5.2, 5.3).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
NETWORK = "torchvision-alexnet:imagenet-trunk"
CHOICES = (0.1, 1.0, 10.0, 100.0)
# Of a run: what a command that goes on with it must have in common with the one that began it.
SAME = ("network", "weights", "checksum", "data", "protocol", "settings")
# From random weights on few pictures, in small batches: on Caltech-101, 15 a class, the training
# loss is 3.98 after 11 epochs, and 4.42 at the recipe's own rate.
SCRATCH_LR = 0.01

Data = Annotated[
    str, typer.Option(help="caltech101, caltech256, or, with --count, another dataset")
]
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
LeaveOut = Annotated[
    Path | None,
    typer.Option(
        help="text file of test pictures to leave out: a key a line, or what zfnb.overlap prints; "
        "give --results too, or the result without it is replaced"
    ),
]
Cache = Annotated[Path | None, typer.Option(help="folder of features; else zfnb's cache")]
Results = Annotated[Path | None, typer.Option(help="JSON file; data/results/NAME.json")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda; default: a GPU if any")]
Threads = Annotated[int | None, typer.Option(help="CPU threads of PyTorch", min=1)]


@dataclass(frozen=True)
class Asked:
    """The options that commands share, as they were typed; see their help. None: not asked for."""

    data: str | None = None
    network: Sequence[str] | None = None
    layer: Sequence[int] | None = None
    regularisation: Sequence[float] | None = None
    classifier: Sequence[str] | None = None
    counts: Sequence[int] | None = None
    splits: int | None = None
    test: int | None = None
    seed: int = 0
    leave_out: Path | None = None
    root: Path | None = None
    cache: Path | None = None
    results: Path | None = None
    device: str | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Work:
    """What a command has to do: what was asked, and the device, pictures and draws that follow.

    Attributes
    ----------
    command : str
        "table7", "choices", "table4", "fig9", "scratch" or "table6".
    asked : Asked
    device : torch.device
    dataset : PictureDataset
    drawn : dict {training pictures a class: list of Draw}
        Empty for Table 6.
    groups : (N,) int
        What they were drawn by: pictures of one group (the scenes of one stamp) go the same way.
    left_out : tuple of int
        Items that are not tested on, of those drawn or not.
    """

    command: str
    asked: Asked
    device: torch.device
    dataset: PictureDataset
    drawn: Mapping[int, Sequence[Draw]]
    groups: np.ndarray
    left_out: Sequence[int] = ()

    def __post_init__(self) -> None:
        kept(self.name, self.path)  # a damaged file is said now, and not after hours

    @property
    def name(self) -> str:
        """Of the results: Tables 4 and 5 are the same commands on different data."""
        if self.command in ("table4", "scratch"):
            return "table5" if self.asked.data == "caltech256" else "table4"
        return self.command

    @property
    def path(self) -> Path:
        """The results file asked for, or the usual one."""
        return results_file(f"{self.name}.json", self.asked.results)

    def networks(self) -> Sequence[str]:
        """NETWORK:WEIGHTS of each network to measure.

        Raises
        ------
        BadInput
            Two of one name, of which the second would replace the first after its hours.
        """
        return list(named_networks(self.asked.network or [NETWORK]).values())


def begin(command: str, asked: Asked, largest: bool = False) -> Work:
    """Open the pictures and draw those that can be read.

    Parameters
    ----------
    largest : bool
        Only the largest of the paper's numbers of training pictures, where none were asked for.

    Raises
    ------
    BadInput
        Data that the paper has no protocol for, and no number of training pictures asked for; a
        kind of classifier that there is not.
    """
    check_kinds(asked.classifier, ALL_KINDS)
    device = prepare(asked)
    dataset = load_dataset(asked.data, "train", asked.root)
    curve, counts = command == "fig9", asked.counts
    if not counts and not curve:
        if asked.data not in PROTOCOLS:
            raise BadInput(
                f"The paper has no protocol for {asked.data}; give --count, the number of training "
                "pictures a class."
            )
        counts = PROTOCOLS[asked.data].counts[-1:] if largest else PROTOCOLS[asked.data].counts
    groups = groups_of(dataset)
    may = {"groups": groups, "usable": usable(dataset)}
    counts = counts or feasible_counts(dataset.targets, classes=dataset.classes, **may)
    options = {"splits": asked.splits, "test": asked.test, "seed": asked.seed, **may}
    drawn = draws(dataset.targets, counts, share_test=curve, **options)
    left_out = () if asked.leave_out is None else tuple(items_of(dataset, asked.leave_out))
    return Work(command, asked, device, dataset, without(drawn, left_out), groups, left_out)


def groups_of(dataset: PictureDataset) -> np.ndarray:
    """(N,) int: the group of each picture."""
    return np.array([dataset.group(item) for item in range(len(dataset))])


def prepare(asked: Asked) -> torch.device:
    """The device asked for, with so many threads on a CPU."""
    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    return choose_device(asked.device)


# The commands


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
    leave_out: LeaveOut = None,
    root: Root = None,
    cache: Cache = None,
    results: Results = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Table 7: a linear SVM on each layer, and a softmax on layers 5 and 7."""
    asked = Asked(**locals())
    work = begin("table7", asked, largest=True)
    for text in work.networks():
        net = open_network(text, work.device)
        compare(work, text, net, layer or layers_to_compare(net), classifier or KINDS)


@app.command("choices")
def choices(
    data: Data = "caltech101",
    network: Networks = None,
    layer: Annotated[list[int] | None, typer.Option(help="layer numbers; 1")] = None,
    classifier: Annotated[
        list[str] | None, typer.Option(help="svm and svm-against-all; one of them, or softmax")
    ] = None,
    regularisation: Annotated[
        list[float] | None, typer.Option(help="C, several times too; 0.1, 1, 10 and 100")
    ] = None,
    counts: Counts = None,
    splits: Splits = 5,
    test: Test = 50,
    seed: Seed = 0,
    leave_out: LeaveOut = None,
    root: Root = None,
    cache: Cache = None,
    results: Results = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """What Table 7 leaves open: the kind of SVM and its C, fixed instead of chosen inside."""
    asked = Asked(**locals())
    work = begin("choices", asked, largest=True)
    fixed = regularisation or CHOICES
    for text in work.networks():
        net = open_network(text, work.device)
        kinds = classifier or ["svm", "svm-against-all"]
        compare(work, text, net, layer or [1], kinds, [(c,) for c in fixed])


@app.command("table4")
def table4(
    data: Data = "caltech101",
    network: Networks = None,
    classifier: Classifiers = None,
    counts: Counts = None,
    splits: Splits = 5,
    test: Test = 50,
    seed: Seed = 0,
    leave_out: LeaveOut = None,
    root: Root = None,
    cache: Cache = None,
    results: Results = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Tables 4 and 5 (--data caltech256): classifiers on the highest layer."""
    asked = Asked(**locals())
    work = begin("table4", asked)
    on_highest(work, classifier or KINDS)


@app.command("fig9")
def fig9(
    data: Data = "caltech101",
    network: Networks = None,
    classifier: Classifiers = None,
    counts: Counts = None,
    splits: Splits = 5,
    test: Test = 50,
    seed: Seed = 0,
    leave_out: LeaveOut = None,
    root: Root = None,
    cache: Cache = None,
    results: Results = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Fig. 9: accuracy against training pictures a class, as far as the data go."""
    asked = Asked(**locals())
    work = begin("fig9", asked)
    on_highest(work, classifier or ["svm"])


def on_highest(work: Work, kinds: Sequence[str]) -> None:
    """Classifiers on the highest layer of each network, for all draws."""
    for text in work.networks():
        net = open_network(text, work.device)
        compare(work, text, net, layers_to_compare(net)[-1:], kinds)


def compare(
    work: Work,
    text: str,
    net: Network,
    numbers: Sequence[int],
    kinds: Sequence[str],
    grids: Sequence[Sequence[float] | None] = (None,),
) -> None:
    """Classifiers on some layers of a network, for all draws that are not done yet.

    Each of the `grids` has the candidates for C; None: the usual ones.
    """
    bar = sys.stderr.isatty()
    softmax_from = SOFTMAX_FROM if work.name == "table7" else 1
    if set(kinds) == {"softmax"} and max(numbers) < softmax_from:
        raise BadInput(
            f"Table 7 has a softmax on layers from {softmax_from} on; give --layer {softmax_from}, "
            "or --classifier svm."
        )
    log = Log(work, text, net)  # what it refuses is said before the features are computed
    features = layer_features(net, work.dataset, numbers, folder=work.asked.cache, progress=bar)
    log.began = time.perf_counter()  # features may come from the cache: their time does not count
    for grid in grids:
        compare_layers(
            features,
            work.dataset.targets,
            work.drawn,
            softmax_from=softmax_from,
            kinds=kinds,
            progress=bar,
            groups=work.groups,
            skip=partial(log.done, grid=grid),
            on_result=log.keep,
            grid=grid,
        )
    fixed = [c for grid in grids for c in grid or ()]
    log.end(
        lambda row: (
            row["layer"] in numbers
            and row["classifier"] in kinds
            and (not fixed or row["regularisation"] in fixed)
        )
    )


@app.command("scratch")
def scratch(
    data: Data = "caltech101",
    network: Annotated[str, typer.Option(help="a name from `zfnb models`")] = "zfnet",
    weights: Annotated[
        str | None, typer.Option(help="fine-tune these instead: a name, or a file")
    ] = None,
    counts: Counts = None,
    splits: Splits = 5,
    test: Test = 50,
    seed: Seed = 0,
    leave_out: LeaveOut = None,
    recipe: Annotated[str, typer.Option(help="its schedule must be fixed: modern")] = "modern",
    epochs: Annotated[int, typer.Option(help="over the training pictures", min=1)] = 60,
    batch: Annotated[int, typer.Option(help="pictures a step", min=1)] = 64,
    lr: Annotated[
        float | None, typer.Option(help=f"learning rate; {SCRATCH_LR}, or to fine-tune {LR}")
    ] = None,
    input_size: Annotated[
        int | None, typer.Option(help="pixels; 96, or that of --weights", min=1)
    ] = None,
    width: Annotated[
        float | None, typer.Option(help="factor on maps and units; 1, or that of --weights")
    ] = None,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
    out: Annotated[Path, typer.Option(help="folder of the runs")] = Path("runs/scratch"),
    pictures: Annotated[Path | None, typer.Option(help="folder of decoded pictures")] = None,
    root: Root = None,
    results: Results = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Tables 4 and 5: train whole networks, from random weights ("not pretrained") or --weights
    ("fine-tuned"); interrupt it at will."""
    asked = Asked(
        data=data,
        counts=counts,
        splits=splits,
        test=test,
        seed=seed,
        leave_out=leave_out,
        root=root,
        results=results,
        device=device,
        threads=threads,
    )
    work = begin("scratch", asked)
    text, net = f"{network}:{weights or 'random'}", None
    if weights is not None:
        net = open_network(text, work.device)
    if lr is None:
        lr = SCRATCH_LR if weights is None else LR
    chosen = replace(lasting(recipe_named(recipe), epochs), batch=batch, lr=lr)
    if chosen.schedule == "plateau":
        raise BadInput(
            f"The recipe {recipe} lowers its learning rate by the error on held-out pictures, and "
            "so few leave none to hold out; choose the recipe modern."
        )
    if input_size is None:
        input_size = 96 if net is None else net.input_size
    settings = Settings(
        network,
        data,
        chosen,
        input_size=input_size,
        width=width,
        precision=precision,
        weights=weights,
    )
    log = Log(work, text, net, settings)
    options = {"cache": pictures or cache_root() / "pictures", "device": str(work.device)}
    for several in work.drawn.values():
        for one in several:
            if not log.done(None, kind_of(settings), one):
                log.keep(None, train_network(work.dataset, one, settings, out, **options))
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
    asked = Asked(**locals())
    check_kinds(classifier, KINDS)
    chosen, dataset = prepare(asked), load_dataset("voc2012", "trainval", root)
    work = Work("table6", asked, chosen, dataset, {}, np.arange(len(dataset)))
    for text in work.networks():
        net = open_network(text, chosen)
        run = about(work, text, net)
        with_run(kept(work.name, work.path), run)  # refused now, and not after the work
        began = time.perf_counter()
        bars = sys.stderr.isatty()
        rows = voc_rows(net, classifier or KINDS, seed, root, cache, progress=bars)
        for row in rows:
            what = f"layer {row['layer']}, {row['classifier']}"
            typer.echo(f"{text}, {what}: mean {row['mean']:.1f} %")
        seconds = round(time.perf_counter() - began, 1)
        save(work, {**run, "seconds": seconds, "rows": rows})


def open_network(text: str, device: torch.device) -> Network:
    """NETWORK:WEIGHTS as a network on the device."""
    network, weights = network_and_weights(text)
    return zfnb.load_model(network, weights=weights).to(device)


# What is kept


class Log:
    """The results of one network, kept after each, so that a command that is stopped goes on.

    Parameters
    ----------
    work : Work
    text : str
        NETWORK:WEIGHTS.
    net : Network or None
        With these weights; None if they are random.
    settings : Settings, optional
        Of networks that are trained whole.

    Attributes
    ----------
    run : dict
        What is kept. A run that went on under another version of this code names the commits that
        it was begun with under ``code``.
    part : Path
        The unfinished run; see `part_file`.
    old : dict
        What `part` held when this began, if it is of the same: its rows are taken over.

    Raises
    ------
    BadInput
        A damaged part, or results of another weights file of the same name.
    """

    def __init__(
        self, work: Work, text: str, net: Network | None, settings: Settings | None = None
    ) -> None:
        self.work, asked = work, work.asked
        self.before, self.began = 0.0, time.perf_counter()
        run = {
            **about(work, text, net, settings),
            "protocol": {
                "counts": list(work.drawn),
                "splits": asked.splits,
                "test": asked.test,
                "seed": asked.seed,
                **left_out_of(work),
            },
            "rows": [],
        }
        self.run = json.loads(json.dumps(run))  # tuples become lists, as in files
        with_run(kept(work.name, work.path), self.run)  # refused now, and not after hours
        self.part, self.old = part_file(work.path, work.name, self.run), {}
        old = read_json(self.part, "remove it") if self.part.exists() else {}
        if old and all(old.get(key) == self.run.get(key) for key in SAME):
            self.old, self.before = old, old["seconds"]
            self.run["rows"] = list(old["rows"])
            earlier = [*old["code"].get("begun_with", ()), old["code"]["commit"]]
            others = set(earlier) - {self.run["code"]["commit"], None}
            if others:  # rows of other versions of the code
                self.run["code"]["begun_with"] = sorted(others, key=earlier.index)
        self.run["seconds"] = self.before

    def done(
        self, number: int | None, kind: str, one: Draw, grid: Sequence[float] | None = None
    ) -> bool:
        """Whether a layer, kind and draw were measured before the command was stopped."""
        what = (number, kind, one.count, one.split)
        keys = ("layer", "classifier", "count", "split")
        return any(
            tuple(row[key] for key in keys) == what
            and (grid is None or row["regularisation"] in grid)
            for row in self.run["rows"]
        )

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

    def end(self, asked: Callable[[dict], bool] = lambda row: True) -> None:
        """Put the run into the results file, and tell the means.

        Parameters
        ----------
        asked : callable
            Whether a row was asked for. A command that was stopped may have measured others too:
            they stay in the part.
        """
        before = self.old.get("rows", ())
        left = [row for row in before if not asked(row)]  # all others were asked for
        spare = round(sum(row["seconds"] for row in left), 1)
        self.run["rows"] = [row for row in self.run["rows"] if asked(row)]
        self.run["seconds"] = max(0.0, round(self.run["seconds"] - spare, 1))
        if len(left) == len(before):  # no row of another version of the code
            self.run["code"].pop("begun_with", None)
        save(self.work, self.run)
        if left:
            write_json(self.part, {**self.old, "rows": left, "seconds": spare})
        else:
            self.part.unlink(missing_ok=True)
        found: dict[str, list[float]] = {}
        for row in self.run["rows"]:
            fixed = f"C = {row['regularisation']:g}, " if self.work.name == "choices" else ""
            layer = "" if row["layer"] is None else f"layer {row['layer']}, "
            what = f"{layer}{row['classifier']}, {fixed}{row['count']} a class"
            found.setdefault(what, []).append(row["accuracy"])
        for what, several in found.items():
            mean, spread = mean_and_spread(several)
            typer.echo(f"{what}: {mean:.1f} ± {spread:.1f} %")


def part_file(results: Path, name: str, run: Mapping) -> Path:
    """Where an unfinished run lies: beside its results, apart from those of any other protocol.

    Parameters
    ----------
    results : Path
    name : str
        Of the results: "table7", say; two of them may be given one file by mistake.
    run : dict
        What is asked for; of it counts what is `SAME`.
    """
    asked = json.dumps({key: run.get(key) for key in SAME}, sort_keys=True)
    digest = hashlib.sha256(asked.encode()).hexdigest()[:8]
    which = (name, run["network"], run["weights"], run["data"]["name"], results.stem, digest)
    return results.with_name(f".{'-'.join(which)}.part.json")


def left_out_of(work: Work) -> dict:
    """How many test pictures were left out, and a checksum of which; empty if none was to be."""
    if work.asked.leave_out is None:
        return {}
    keys = sorted(work.dataset.key(item) for item in work.left_out)
    digest = hashlib.sha256("\n".join(keys).encode("utf-8", "surrogateescape")).hexdigest()
    return {"left_out": {"pictures": len(keys), "keys": digest[:16]}}


def about(
    work: Work, text: str, net: Network | None = None, settings: Settings | None = None
) -> dict:
    """How a run was made, without the places of one machine."""
    network, weights = network_and_weights(text)
    dataset = work.dataset
    return {
        "network": network,
        "weights": weights_name(weights),
        "checksum": None if net is None else fingerprint(net)[:16],
        "data": {
            "name": dataset.name,
            "pictures": len(dataset),
            "classes": len(dataset.classes),
            "fingerprint": dataset.fingerprint()[:16],
        },
        **measurement(command_line(work, text, settings), work.device),
        **({} if settings is None else {"settings": settings.facts()}),
    }


def command_line(work: Work, text: str, settings: Settings | None = None) -> str:
    """The command line that measures this network alone."""
    asked, (network, weights) = work.asked, network_and_weights(text)
    words = [f"python -m zfnb.transfer_cli {work.command}"]
    words += [f"--data {data_name(asked.data)}"] if asked.data else []
    if settings is None:
        words.append(f"--network {network_name(text)}")
    else:
        words.append(f"--network {network}")
        words += [] if settings.weights is None else [f"--weights {weights_name(weights)}"]
    words += [f"--layer {number}" for number in asked.layer or ()]
    words += [f"--classifier {kind}" for kind in asked.classifier or ()]
    words += [f"--regularisation {c:g}" for c in asked.regularisation or ()]
    words += [f"--count {count}" for count in asked.counts or ()]
    for name in ("splits", "test", "seed"):
        value = getattr(asked, name)
        words += [] if value is None else [f"--{name} {value}"]
    words += [] if asked.leave_out is None else [f"--leave-out {asked.leave_out.name}"]
    if settings is not None:
        recipe = settings.recipe
        words.append(f"--recipe {recipe.name} --epochs {recipe.epochs} --batch {recipe.batch}")
        words.append(f"--lr {recipe.lr}")  # the recipe's own is not what the command takes
        words.append(f"--input-size {settings.input_size} --width {settings.width}")
        words.append(f"--precision {settings.precision}")
    return " ".join(words)


def save(work: Work, run: dict) -> None:
    """Put a run into its results file."""
    work.path.parent.mkdir(parents=True, exist_ok=True)
    write_json(work.path, with_run(kept(work.name, work.path), run))


def main() -> None:
    run_program(app, "zfnb.transfer_cli")


if __name__ == "__main__":
    main()
