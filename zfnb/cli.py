"""The command ``zfnb``. What is heavy is imported where it is used, so that help comes at once."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import typer

import zfnb
from zfnb.errors import BadInput
from zfnb.evaluate_cli import evaluate
from zfnb.programs import run_program
from zfnb.train_cli import train

NETWORK, WEIGHTS = "torchvision-alexnet", "imagenet-trunk"

app = typer.Typer(
    help="Visualizing and Understanding Convolutional Networks (Zeiler & Fergus, 2013).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Datasets: which there are, whether they are whole, fetching them.")
app.add_typer(data, name="data", no_args_is_help=True)

Network = Annotated[str, typer.Option(help="a name from `zfnb models`")]
Weights = Annotated[str, typer.Option(help="a name from `zfnb models`, a file, or none (random)")]


def say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"zfnb {zfnb.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=say_version, is_eager=True, help="print it and exit"),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks")] = False,
) -> None:
    """Options before the command; `main` looks for --debug itself."""


@app.command()
def report(
    profile: Annotated[str, typer.Option(help="quick, default or paper")] = "default",
    only: Annotated[
        list[str] | None, typer.Option(help="numbers of notebooks: 02 04, or 02,04")
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    out: Annotated[Path, typer.Option(help="folder of the report")] = Path("reports"),
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", help="name=value, for the notebooks that know it"),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="seconds a cell may take; else the profile's", min=1)
    ] = None,
) -> None:
    """Run the notebooks and write the report: an index page, a page a notebook, results.json."""
    from zfnb.report import build

    if more and not only:
        raise BadInput(f"What is {more[0]!r}? Write --only before the numbers of notebooks.")
    numbers = numbers_of(only, more)
    parameters = {}
    for text in parameter or []:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise BadInput(f"-p takes name=value, for example -p k=4, got {text!r}.")
        parameters[name] = absolute(value)
    result = build(out, profile, numbers, parameters, timeout=timeout)
    typer.echo(f"{result.index}")
    if result.failed:
        typer.echo(f"Failed: {', '.join(result.failed)}.", err=True)
    raise typer.Exit(result.exit_code)


def numbers_of(only: list[str] | None, more: list[str] | None = None) -> list[str]:
    """Numbers of notebooks in ``--only 02 04``, ``--only 02,04`` and ``--only 02 --only 04``."""
    return [n for n in re.split(r"[,\s]+", " ".join([*(only or []), *(more or [])])) if n]


def absolute(value: str) -> str:
    """The full path of what looks like a file or folder and is there; notebooks run elsewhere.

    A bare name may be one of a network or a dataset; a folder beside it is written ./name.
    """
    path = Path(value)
    looks_like_one = bool(path.suffix) or "/" in value or os.sep in value
    return str(path.resolve()) if looks_like_one and path.exists() else value


@app.command()
def notebooks(
    folder: Annotated[Path, typer.Argument(help="folder for the copies")],
    only: Annotated[list[str] | None, typer.Option(help="numbers: --only 02,04")] = None,
    solutions: Annotated[
        bool, typer.Option("--solutions/--no-solutions", help="with those of the exercises")
    ] = True,
) -> None:
    """Copy the notebooks, to work in them or to hand them out."""
    from zfnb.handouts import copy_notebooks

    for path in copy_notebooks(folder, numbers_of(only), solutions=solutions):
        typer.echo(f"{path}")


@app.command()
def models() -> None:
    """List the networks: input, parameters, weights."""
    from zfnb.models import describe

    rows = [
        (
            row["name"],
            f"{row['input_size']}",
            f"{row['parameters']:,}",
            ", ".join(row["weights"]) or "–",
            row["what"],
        )
        for row in describe()
    ]
    show_table(("name", "input", "parameters", "weights", "what"), rows, right=(1, 2))


@data.command("list")
def data_list() -> None:
    """List the datasets, and which of them are here."""
    from zfnb.data import describe

    rows = [
        (row.name, "yes" if row.present else "no", row.where, row.size, row.licence, row.what)
        for row in describe()
    ]
    show_table(("name", "here", "where", "size", "licence", "what"), rows)


@data.command("check")
def data_check(
    name: Annotated[str, typer.Argument(help="a name from `zfnb data list`")],
    root: Annotated[Path | None, typer.Option(help="folder of datasets; else $ZFNB_DATA")] = None,
) -> None:
    """Open every picture of a dataset; exit code 1 if one cannot be read or has changed."""
    from zfnb.data import check

    result = check(name, root=root, progress=True)
    for split, count in result.counts.items():
        typer.echo(f"{result.name} {split}: {count} pictures")
    for sentence in result.bad:
        typer.echo(sentence, err=True)
    typer.echo("All can be read." if result.ok else f"Bad: {len(result.bad)}.")
    raise typer.Exit(int(not result.ok))


@data.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="a name from `zfnb data list`")],
    root: Annotated[Path | None, typer.Option(help="folder of datasets; else $ZFNB_DATA")] = None,
) -> None:
    """Download a dataset, and check what came."""
    from zfnb.data import fetch

    typer.echo(fetch(name, root=root))


@app.command()
def top(
    folder: Annotated[Path, typer.Argument(help="your pictures, in it or in folders of classes")],
    network: Network = NETWORK,
    weights: Weights = WEIGHTS,
    layers: Annotated[
        list[str] | None, typer.Option(help="layers to index; else all of filters")
    ] = None,
    k: Annotated[int, typer.Option(help="pictures a feature map", min=1)] = 9,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="file of the index; an unfinished one is continued")
    ] = Path("index.safetensors"),
    sheet: Annotated[Path | None, typer.Option(help="draw --feature-map as a picture")] = None,
    feature_map: Annotated[
        int | None, typer.Option("--feature-map", "--map", help="the map to list and draw")
    ] = None,
) -> None:
    """Find the pictures in a folder that excite each feature map most (Sec. 4, Fig. 2)."""
    names = [n for n in re.split(r"[,\s]+", " ".join(layers or [])) if n]
    if sheet is not None and (feature_map is None or len(names) != 1):
        raise BadInput("--sheet draws one map: give one layer with --layers and a --feature-map.")
    check_suffix(sheet)
    dataset = zfnb.load_dataset("folder", root=folder)
    net = load(network, weights)
    if feature_map is not None:
        check_map(net, names, feature_map)
    index = zfnb.TopActivations.build(net, dataset, names or None, k, checkpoint=out, progress=True)
    typer.echo(f"{out}: {len(dataset)} pictures, layers {', '.join(index.layers)}")
    if feature_map is None:
        return
    for layer in (layer for layer in index.layers if feature_map < index.maps(layer)):
        rows = [
            (f"{row.activation:.3f}", dataset.key(row.item), f"{row.box}")
            for row in index.top(layer, feature_map)
        ]
        show_table((f"{layer} map {feature_map}", "picture", "box: top, left, ..."), rows)
    if sheet is not None:
        from zfnb.feature_sheets import feature_sheet

        drawn = feature_sheet(net, dataset, index, names[0], feature_map)
        save_figure(plots().feature_sheets([drawn], net, columns=1), sheet)


@app.command()
def project(
    picture: Annotated[Path, typer.Argument(help="a picture of any kind")],
    layer: Annotated[str, typer.Option(help="conv1, pool1, ..., conv5, fc6, ...")],
    feature_map: Annotated[int, typer.Option("--map", "--feature-map", help="from 0 on")],
    out: Annotated[Path, typer.Option("--out", "-o", help=".png, .jpg, .webp, .pdf or .svg")],
    network: Network = NETWORK,
    weights: Weights = WEIGHTS,
    rule: Annotated[str, typer.Option(help="deconvnet, gradient or guided")] = "deconvnet",
    collisions: Annotated[str, typer.Option(help="sum, max or last")] = "sum",
    where: Annotated[
        str, typer.Option(help="max (the strongest), map (all of it), or row,column")
    ] = "max",
) -> None:
    """Project an activation of a picture back to pixels (Sec. 2.1)."""
    check_suffix(out)
    place = where
    if found := re.fullmatch(r"\s*(\d+)\s*[, ]\s*(\d+)\s*", where):
        place = int(found[1]), int(found[2])
    net = load(network, weights)
    image = zfnb.preprocess(picture, net)[None]  # (1, 3, H, W)
    deconvnet = zfnb.Deconvnet(net, collisions=collisions, rule=rule)
    projection = deconvnet.project(image, layer, feature_map, where=place)

    save_figure(plots().projection_pair(image[0], projection, net, layer, feature_map), out)
    row, column = projection.position[0].tolist()
    at = "all of the map" if where == "map" else f"row {row}, column {column}"
    typer.echo(f"{out}: {layer} map {feature_map}, {projection.activation[0]:.4g} at {at}")


app.command()(train)
app.command()(evaluate)


def load(network: str, weights: str):
    """A network by the names of the command line; one without weights says so."""
    if weights.lower() == "none":
        typer.echo(f"The weights of {network} are random: nothing was learned.", err=True)
        return zfnb.load_model(network)
    return zfnb.load_model(network, weights=weights)


def check_map(net, layers: list[str], feature_map: int) -> None:
    """Refuse a map that is not in each of `layers`, or in no layer, before the work is done."""
    from zfnb.checks import map_number

    maps = {name: net.shapes[name][0] for name in map(net.check_layer, layers or net.layer_names)}
    for name in layers or [max(maps, key=maps.get)]:
        map_number(feature_map, maps[name], name)


def check_suffix(path: Path | None) -> None:
    """Refuse a kind of picture that cannot be written before the work is done."""
    kinds = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")
    if path is not None and path.suffix.lower() not in kinds:
        raise BadInput(f"{path.name} must end in one of {', '.join(kinds)}.")


def plots():
    """`zfnb.plots`, drawing into files: no window, no display needed."""
    import matplotlib

    matplotlib.use("agg")
    from zfnb import plots

    return plots


def save_figure(figure, path: Path) -> None:
    """Write a figure whole."""
    from zfnb.files import replacing

    with replacing(path) as temporary:
        figure.savefig(temporary, bbox_inches="tight", dpi=220)


def show_table(head: tuple[str, ...], rows: list[tuple[str, ...]], right: tuple = ()) -> None:
    """A table on the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for i, name in enumerate(head):
        justify = "right" if i in right else "left"
        table.add_column(name, justify=justify, no_wrap=i == 0, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 500  # a pipe has no width: a line a row
    console.print(table)


def main() -> None:
    """The entry point."""
    run_program(app, "zfnb")


if __name__ == "__main__":
    main()
