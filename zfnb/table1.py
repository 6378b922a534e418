"""Table 1: is the same part of a face masked more consistently than random places? (Sec. 4.3)

For each part of marked faces: the sign change of the part, that of random masks of the same size,
and a test of whether the one is smaller than the other by more than chance.

``python -m zfnb.table1`` measures all sets of faces and makes ``data/results/table1.json``.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from torch import Tensor

import zfnb
from zfnb.claims import IN_PART
from zfnb.correspondences import ZEROS, changes, mean_and_spread
from zfnb.errors import BadInput, UnknownName
from zfnb.face_marks import PAPERS, SETS, Face, Framed, framed, marked_faces
from zfnb.models import Network
from zfnb.named import named_networks, network_and_weights
from zfnb.paths import embedded, results_file
from zfnb.permutation import distances_by_zero, label_test, random_spread, rank_test
from zfnb.programs import run_alone
from zfnb.random_masks import box_masks, random_boxes
from zfnb.runs import measurement, read_results, write_json

PLACES = {
    "anywhere": "each picture has a random place of its own, anywhere in the picture",
    "on the face": "each picture has a random place of its own, inside the box of the face",
    "one place": "one random place for all pictures, inside the box of every face",
}
CHANCE = 0.05  # below it, a part counts as more consistent than random masks
LAYERS = ("conv5", "fc7")  # the paper's layers 5 and 7
NETWORKS = (
    "torchvision-alexnet:imagenet-trunk",
    "zfnet:tiny-imagenet",
    "torchvision-alexnet:random",  # what the measure gives without any learning
)


def measure(
    net: Network,
    faces: Framed,
    layers: Sequence[str],
    *,
    draws: int = 20,
    places: str = "anywhere",
    fill: str = "grey",
    zeros: Sequence[str] = ("own",),
    seed: int = 0,
) -> list[dict]:
    """Every part of the faces against random masks of its size.

    Parameters
    ----------
    net : Network
    faces : Framed
        From `zfnb.face_marks.framed` for this network; its ``boxes`` say which parts.
    layers : sequence of str
    draws : int
        Random masks a picture and part.
    places : {"anywhere", "on the face", "one place"}
        Where they may lie; see `PLACES`.
    fill : {"grey", "mean", "picture"}
        See `zfnb.correspondences.FILLS`.
    zeros : sequence of str
        Choices for the sign of zero, of `zfnb.correspondences.ZEROS`.
    seed : int

    Returns
    -------
    list of dict
        One for each part, layer and choice for zero, with these three and ``places``; ``mean`` and
        ``spread`` of the part (over pairs of pictures); ``random`` and ``random_spread`` of the
        random masks; ``moved`` and ``random_moved``, the share of elements that change at all;
        ``p`` (one-sided), whether it is ``exact``, and its ``trials``. The test is `rank_test` for
        "one place", since those masks belong together, and else `label_test`.

    Raises
    ------
    UnknownName, BadInput
        As for `zfnb.correspondence` and `random_boxes`.
    """
    rows = []
    for part in faces.boxes:
        options = {"draws": draws, "places": places, "fill": fill, "seed": seed}
        signs = part_and_random(net, faces, part, layers, **options)
        for layer in layers:
            moved = (signs[layer] != 0).double().mean((1, 2))  # (K,), the part first
            for zero, distances in distances_by_zero(signs[layer], zeros).items():
                test = rank_test if places == "one place" else label_test
                verdict = test(distances)
                mean, spread = mean_and_spread(torch.from_numpy(distances[:, 0, :, 0]))
                by_chance, its_spread = random_spread(distances)
                rows.append(
                    {
                        "part": part,
                        "layer": layer,
                        "zero": zero,
                        "places": places,
                        "mean": mean,
                        "spread": spread,
                        "random": by_chance,
                        "random_spread": its_spread,
                        "moved": moved[0].item(),
                        "random_moved": moved[1:].mean().item(),
                        "p": verdict.p,
                        "exact": verdict.exact,
                        "trials": verdict.trials,
                    }
                )
    return rows


def measure_networks(
    nets: Mapping[str, Network],
    faces: Sequence[Face],
    places: Sequence[str] = tuple(PLACES),
    *,
    layers: Sequence[str] = LAYERS,
    frame: str = "face",
    parts: Sequence[str] = PAPERS,
    **options,
) -> list[dict]:
    """Rows of `measure` for several networks and choices of random places.

    Parameters
    ----------
    nets : dict {what to call it: Network}
    faces : sequence of Face
        From `zfnb.face_marks.marked_faces`.
    places : sequence of str
        Of `PLACES`.
    layers : sequence of str
        Layers that a network does not have are left out for it.
    frame, parts
        See `zfnb.face_marks.framed`.
    **options
        See `measure`; by default all choices for the sign of zero.

    Returns
    -------
    list of dict
        As from `measure`, each with ``network`` as well.
    """
    options = {"zeros": tuple(ZEROS), **options}
    rows = []
    for name, net in nets.items():
        ready = framed(faces, net, parts, frame)
        known = [layer for layer in layers if layer in net.layer_names]
        for where in places:
            found = measure(net, ready, known, places=where, **options)
            rows += [{"network": name, **row} for row in found]
    return rows


def part_and_random(
    net: Network,
    faces: Framed,
    part: str,
    layers: Sequence[str],
    *,
    draws: int = 20,
    places: str = "anywhere",
    fill: str = "grey",
    seed: int = 0,
) -> dict[str, Tensor]:
    """Signs of the changes by masking a part, and by random masks of its size.

    Parameters are those of `measure`.

    Returns
    -------
    dict {layer: Tensor (1 + draws, N, D)}
        The part comes first.
    """
    if places not in PLACES:
        raise UnknownName.of("choice of random places", places, PLACES)
    if part not in faces.boxes:
        raise UnknownName.of("part", part, faces.boxes)
    if len(faces.images) < 2:
        raise BadInput("Correspondence compares pictures: give at least two faces.")
    boxes = faces.boxes[part]
    random = random_boxes(
        boxes,
        faces.all_parts,
        net.input_size,
        draws=draws,
        within=None if places == "anywhere" else faces.face,
        one_place=places == "one place",
        seed=seed + list(faces.boxes).index(part),
    )
    masks = box_masks(np.concatenate((boxes[None], random)), net.input_size)  # (K, N, S, S)
    return changes(net, faces.images, masks, layers, fill=fill)


def select(rows: Iterable[dict], **facts) -> list[dict]:
    """The rows with these values, e.g. ``select(rows, layer="conv5", zero="own")``."""
    return [row for row in rows if all(row[name] == value for name, value in facts.items())]


def published() -> pd.DataFrame:
    """Table 1 as printed: a row a part and one for random; mean and spread at layers 5 and 7."""
    with embedded("data", "paper", "table1.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    return pd.DataFrame(lines).set_index("part").astype(float)


def columns(rows: Sequence[dict]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rows of one setting as columns of Table 1: {layer: (means, spreads)}.

    The last number of each is that of random masks, averaged over the parts' sizes.

    Parameters
    ----------
    rows : sequence of dict
        From `measure`, of one choice for zero and one of places.

    Raises
    ------
    BadInput
        If they mix several settings.
    """
    found: dict[str, list[dict]] = {}
    for row in rows:
        found.setdefault(row["layer"], []).append(row)
    if not rows or any(len({r["part"] for r in some}) < len(some) for some in found.values()):
        raise BadInput("Give the rows of one setting (zero, places, faces): one a part and layer.")
    return {
        layer: tuple(
            np.array([r[of] for r in some] + [np.mean([r[by_chance] for r in some])])
            for of, by_chance in (("mean", "random"), ("spread", "random_spread"))
        )
        for layer, some in found.items()
    }


def published_columns() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The paper's table in the form of `columns`, for the same figure."""
    table = published()
    return {
        layer: (table[name].to_numpy(), table[f"{name}_spread"].to_numpy())
        for layer, name in (("layer 5", "layer5"), ("layer 7", "layer7"))
    }


def in_text(rows: Sequence[dict]) -> pd.DataFrame:
    """Rows of `measure` to read: part, random, their ratio and p, one line each."""
    lines = [
        {
            **{name: row[name] for name in ("faces", "network", "places", "zero") if name in row},
            "layer": row["layer"],
            "part": row["part"],
            "sign change": f"{row['mean']:.3f} ± {row['spread']:.3f}",
            "random masks": f"{row['random']:.3f} ± {row['random_spread']:.3f}",
            "ratio": round(row["mean"] / row["random"], 2),
            "changed": f"{row['moved']:.0%} / {row['random_moved']:.0%}",
            "p": f"{row['p']:.4f}",
        }
        for row in rows
    ]
    return pd.DataFrame(lines)


def below_random(rows: Sequence[dict]) -> bool | str:
    """Whether parts score below random masks by more than chance, as the verdict of a claim.

    Returns
    -------
    bool or str
        True if all rows have p < `CHANCE`, "in part" if some have, else False.
    """
    below = [row["p"] < CHANCE for row in rows]
    if not below:
        raise BadInput("There is no row to judge; measure some first.")
    return all(below) or (IN_PART if any(below) else False)


def in_words(rows: Sequence[dict]) -> str:
    """The numbers of several parts in one line: "0.19 to 0.23, random 0.17"."""
    if not rows:
        raise BadInput("There is no row to put into words; measure some first.")
    means = [row["mean"] for row in rows]
    random = np.mean([row["random"] for row in rows])
    return f"{min(means):.3f} to {max(means):.3f}, random {random:.3f}"


def kept(path: str | Path | None = None) -> dict:
    """What was measured on all sets of faces; without rows if it is not there.

    ``rows`` are those of `measure`, each with its ``faces`` and ``network`` and with the number of
    the run that it comes from; ``measured`` has the command, commit, device and settings of each.

    Parameters
    ----------
    path : path, optional
        By default ``data/results/table1.json``, which travels with the package.

    Raises
    ------
    BadInput
        If the file is damaged.
    """
    path = embedded("data", "results", "table1.json") if path is None else Path(path)
    if not path.exists():
        return {"measured": [], "rows": []}
    return read_results(path, "python -m zfnb.table1", from_file)


def from_file(content: dict) -> dict:
    """The content of the file with NaN where it has null, since JSON has no NaN."""
    if not isinstance(content["rows"], list) or not isinstance(content["measured"], list):
        raise TypeError("its rows are not a list")
    rows = [
        {name: np.nan if v is None else v for name, v in row.items()} for row in content["rows"]
    ]
    return {**content, "rows": rows}


# The command


def measure_all(
    sets: Annotated[
        list[str] | None, typer.Option("--faces", help="stamps, cougars, dalmatians; all")
    ] = None,
    networks: Annotated[
        list[str] | None, typer.Option(help="NETWORK:WEIGHTS, or NETWORK:random")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="where datasets lie; else $ZFNB_DATA")] = None,
    draws: Annotated[int, typer.Option(help="random masks a picture and part")] = 30,
    frame: Annotated[str, typer.Option(help="face or picture")] = "face",
    fill: Annotated[str, typer.Option(help="grey, mean or picture")] = "grey",
    seed: Annotated[int, typer.Option()] = 0,
    threads: Annotated[int | None, typer.Option(help="CPU threads of PyTorch", min=1)] = None,
    results: Annotated[
        Path | None, typer.Option(help="JSON file; data/results/table1.json")
    ] = None,
) -> None:
    """Measure Table 1 on marked faces (Sec. 4.3); rows of other faces and networks are kept."""
    if threads is not None:
        torch.set_num_threads(threads)
    names, started, rows = list(sets or SETS), time.monotonic(), []
    path = results_file("table1.json", results)
    kept(path)  # a damaged file, missing pictures or networks are said now and not after hours
    found = {name: marked_faces(name, root) for name in names}
    named = named_networks(networks or NETWORKS)
    nets = {name: opened(text, seed) for name, text in named.items()}
    for network, net in nets.items():
        for faces, pictures in found.items():
            some = measure_networks(
                {network: net}, pictures, frame=frame, draws=draws, fill=fill, seed=seed
            )
            rows += [{"faces": faces, **row} for row in some]
            typer.echo(f"{network}, {faces}: done", err=True)
    words = [
        "python -m zfnb.table1",
        *(f"--faces {name}" for name in sets or ()),
        *(f"--networks {name}" for name in nets if networks),
        f"--draws {draws} --frame {frame} --fill {fill} --seed {seed}",
    ]
    facts = {
        **measurement(" ".join(words), torch.device("cpu")),
        "seconds": round(time.monotonic() - started, 1),
        "data": {name: len(pictures) for name, pictures in found.items()},
        "settings": {"parts": list(PAPERS), "draws": draws, "frame": frame, "fill": fill},
        "seed": seed,
    }
    write_json(path, merged(kept(path), rows, facts))  # with what others have added meanwhile
    typer.echo(in_text(select(rows, zero="own")).to_string(index=False))


def opened(text: str, seed: int) -> Network:
    """NETWORK:WEIGHTS as a network, NETWORK:random with weights that `seed` draws."""
    name, weights = network_and_weights(text)
    torch.manual_seed(seed)
    return zfnb.load_model(name, weights=None if weights == "random" else weights)


def merged(content: dict, rows: Sequence[dict], facts: dict) -> dict:
    """The content of a results file with new rows in the place of the old ones.

    Old rows of the same faces and network go; of the runs that were noted, those that no row comes
    from any more go too.
    """
    new = {(row["faces"], row["network"]) for row in rows}
    old = [row for row in content["rows"] if (row["faces"], row["network"]) not in new]
    runs = sorted({row["measured"] for row in old})
    return {
        "measured": [content["measured"][run] for run in runs] + [facts],
        "rows": [tidy({**row, "measured": runs.index(row["measured"])}) for row in old]
        + [tidy({**row, "measured": len(runs)}) for row in rows],
    }


def tidy(row: dict) -> dict:
    """Numbers short enough to read in a file; NaN, which JSON lacks, as null."""
    short = {name: round(v, 5) if isinstance(v, float) else v for name, v in row.items()}
    return {name: None if v != v else v for name, v in short.items()}


if __name__ == "__main__":
    run_alone(measure_all, "zfnb.table1")
