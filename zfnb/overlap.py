"""Near-duplicates between the pictures a network was trained on and those it is tested on.

Sec. 5.2: "Using normalized correlation, we identified these few 'overlap' images and removed them
from our Imagenet training set and then retrained": 44 of the 9,144 pictures of Caltech-101, 243 of
the 30,607 of Caltech-256. Whoever does not train the network again leaves them out of the test
instead: then too it is tested only on pictures that it has not learned from.

A picture scaled, recompressed or slightly brightened correlates with itself nearly perfectly even
at 16 x 16 grey pixels. So all pairs are compared at that size, as one product of matrices; the few
that are alike are compared again at 64 x 64, in grey and in colour, and only those that still are
count.

    python -m zfnb.overlap tiny-imagenet caltech101 > duplicates.tsv
    python -m zfnb.transfer_cli table4 --network zfnet:tiny-imagenet --leave-out duplicates.tsv

Shapes: A and B pictures, S pixels a side, P = S x S.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from torch.utils.data import Dataset
from tqdm import tqdm

from zfnb.batches import in_parts
from zfnb.data import load_dataset
from zfnb.data.pictures import open_picture
from zfnb.errors import BadInput, BadPicture
from zfnb.paths import embedded
from zfnb.programs import run_program
from zfnb.runs import measurement, read_results, write_json

SMALL, LARGE = 16, 64  # pixels a side, of the search and of the check
BELOW = 0.05  # by how much the correlation of the search may be less than that of the check
FLAT = 2.0  # grey levels: a picture that varies less correlates with anything
BLOCK = 4096  # pictures of each side in one product

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Pair:
    """Two pictures that show the same.

    Attributes
    ----------
    known, tested : int
        Items of the two datasets.
    correlation : float
        Of their pixels at 64 x 64, in [-1, 1].
    flipped : bool
        One is the mirror image of the other.
    """

    known: int
    tested: int
    correlation: float
    flipped: bool = False


def overlap(
    known: Dataset,
    tested: Dataset,
    *,
    threshold: float = 0.95,
    search: float | None = None,
    flips: bool = False,
    workers: int = 2,
    progress: bool = False,
) -> list[Pair]:
    """Pictures of `tested` that are also in `known`, or nearly.

    Parameters
    ----------
    known, tested : Dataset
        Items (picture, target): what the network was trained on, and what it is tested on. Pictures
        that cannot be read, or that are of one even colour, are left out.
    threshold : float
        Least correlation at 64 x 64 pixels that counts.
    search : float, optional
        Least correlation at 16 x 16 that is looked at again; by default 0.05 below `threshold`,
        or just above 0. Lower finds no more duplicates and takes longer.
    flips : bool
        Look for mirror images too.
    workers : int
        Threads that read pictures.
    progress : bool
        Show a bar.

    Returns
    -------
    list of Pair
        The surest first; a picture can be in several.

    Raises
    ------
    BadInput
        A threshold outside (0, 1], or a dataset without a picture that can be compared.
    """
    for name, value in (("threshold", threshold), ("search", search)):
        if value is not None and not 0 < value <= 1:
            raise BadInput(f"{name} must be in (0, 1], not {value!r}.")
    search = max(threshold - BELOW, 1e-6) if search is None else search
    a, a_items = thumbnails(known, SMALL, workers=workers, progress=progress)
    b, b_items = thumbnails(tested, SMALL, workers=workers, progress=progress)
    pairs = []
    for flipped in (False, True) if flips else (False,):
        seen = b.reshape(-1, SMALL, SMALL)[:, :, ::-1].reshape(b.shape) if flipped else b
        alike = candidates(a, seen, search)
        pairs += [(int(a_items[i]), int(b_items[j]), flipped) for i, j in alike]
    return checked(known, tested, pairs, threshold)


def candidates(a: np.ndarray, b: np.ndarray, least: float) -> np.ndarray:
    """Pairs (M, 2) of rows of a (A, P) and b (B, P) with a correlation of at least `least`.

    Parameters
    ----------
    a, b : array
        Rows of mean 0 and length 1: their dot product is their correlation.
    """
    found = []
    for rows in in_parts(np.arange(len(a)), BLOCK):
        for columns in in_parts(np.arange(len(b)), BLOCK):
            i, j = np.nonzero(a[rows] @ b[columns].T >= least)
            found.append(np.stack([rows[i], columns[j]], 1))
    return np.concatenate(found) if found else np.empty((0, 2), dtype=np.int64)


def thumbnails(
    dataset: Dataset,
    size: int = SMALL,
    items: Sequence[int] | None = None,
    *,
    workers: int = 2,
    progress: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Small grey pictures as vectors of mean 0 and length 1.

    The whole picture is squeezed to a square, so that the same photograph at another size, or saved
    again, gives the same vector.

    Returns
    -------
    vectors : array (N, size * size) float32
    items : array (N,) of int
        Which items they are: without those that cannot be read or vary too little to be compared.
    """
    items = np.arange(len(dataset)) if items is None else np.asarray(items)

    def read(item: int) -> np.ndarray | None:
        try:
            return normalised(dataset[item][0], size, "L")
        except BadPicture as error:
            warnings.warn(f"Skipped: {error}", stacklevel=2)
            return None

    with ThreadPoolExecutor(workers) as pool:
        rows = list(
            tqdm(pool.map(read, items.tolist()), "thumbnails", len(items), disable=not progress)
        )
    there = np.array([row is not None for row in rows], dtype=bool)
    if not there.any():
        raise BadInput(
            f"{getattr(dataset, 'name', 'The dataset')} has no picture that can be compared; they "
            "cannot be read, or are of one even colour."
        )
    return np.stack([row for row in rows if row is not None]), items[there]


def normalised(picture, size: int, mode: str) -> np.ndarray | None:
    """A picture as a vector of mean 0 and length 1 for each channel; None if it varies too little.

    Parameters
    ----------
    picture : anything that `zfnb.data.pictures.open_picture` takes
    size : int
    mode : {"L", "RGB"}
        Grey, or in colour: then all three channels share one length.
    """
    # A box filter sees every pixel, so that a sharp edge does not depend on the picture's size.
    image = open_picture(picture).resize((size, size), Image.Resampling.BOX).convert(mode)
    x = np.asarray(image, dtype=np.float32).reshape(size * size, -1)
    x = (x - x.mean(0)).reshape(-1)  # each channel: a change of brightness is no difference
    if np.sqrt(np.mean(np.square(x))) < FLAT:
        return None
    return x / np.linalg.norm(x)


def checked(
    known: Dataset, tested: Dataset, pairs: Sequence[tuple[int, int, bool]], threshold: float
) -> list[Pair]:
    """The pairs whose grey and coloured pictures at 64 x 64 correlate as well, surest first."""
    found = []
    for i, j, flipped in pairs:
        first, second = known[i][0], tested[j][0]
        correlations = []
        for mode, channels in (("L", 1), ("RGB", 3)):
            a, b = (normalised(picture, LARGE, mode) for picture in (first, second))
            if a is None or b is None:
                break
            if flipped:
                b = b.reshape(LARGE, LARGE, channels)[:, ::-1].reshape(-1)
            correlations.append(float(a @ b))
        if len(correlations) == 2 and min(correlations) >= threshold:
            found.append(Pair(i, j, min(correlations), flipped))
    return sorted(found, key=lambda pair: -pair.correlation)


def kept(path: Path | None = None) -> dict:
    """What ``python -m zfnb.overlap KNOWN TESTED --results FILE`` has kept.

    Parameters
    ----------
    path : Path, optional
        By default ``data/results/overlap.json``, which travels with the package.

    Raises
    ------
    BadInput
        The file is damaged.
    """
    path = path or embedded("data", "results", "overlap.json")
    again = "python -m zfnb.overlap KNOWN TESTED --results FILE"

    def checked(content: dict) -> dict:
        in_words(content)
        return content

    return read_results(path, again, checked)


def in_words(content: dict) -> str:
    """A sentence for people on the content of a results file."""
    known, tested = content["known"], content["tested"]

    def called(one: dict) -> str:
        split = one.get("split", "all")
        return one["name"] if split == "all" else f"{one['name']} ({split})"

    return (
        f"{content['in_both']} of the {tested['pictures']:,} pictures of {called(tested)} are also "
        f"among the {known['pictures']:,} of {called(known)}."
    )


@app.command()
def search(
    known: Annotated[str, typer.Argument(help="trained on: tiny-imagenet, or another dataset")],
    tested: Annotated[str, typer.Argument(help="tested on: caltech101, or another dataset")],
    threshold: Annotated[float, typer.Option(help="least correlation that counts")] = 0.95,
    flips: Annotated[bool, typer.Option(help="look for mirror images too")] = False,
    workers: Annotated[int, typer.Option(help="threads that read pictures", min=1)] = 2,
    split: Annotated[
        str | None, typer.Option(help="of what is tested on; val for voc2012 (Table 6), else train")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="where datasets lie; else $ZFNB_DATA")] = None,
    results: Annotated[
        Path | None, typer.Option(help="keep the pairs in this JSON file; what it held is replaced")
    ] = None,
) -> None:
    """Print near-duplicates, a line each: correlation, both pictures, "mirrored" if they are."""
    began = time.perf_counter()
    split = split or ("val" if tested == "voc2012" else "train")
    a, b = load_dataset(known, "train", root), load_dataset(tested, split, root)
    bar = sys.stderr.isatty()
    pairs = overlap(a, b, threshold=threshold, flips=flips, workers=workers, progress=bar)
    for pair in pairs:
        words = [f"{pair.correlation:.3f}", a.key(pair.known), b.key(pair.tested)]
        typer.echo("\t".join([*words, *(["mirrored"] if pair.flipped else [])]))
    count = len({pair.tested for pair in pairs})
    content = {
        "known": {"name": known, "split": a.split, "pictures": len(a)},
        "tested": {"name": tested, "split": b.split, "pictures": len(b)},
        "in_both": count,  # pictures of `tested`
        "pairs": [
            {
                "known": a.key(pair.known),
                "tested": b.key(pair.tested),
                "correlation": round(pair.correlation, 4),
                "mirrored": pair.flipped,
            }
            for pair in pairs
        ],
    }
    typer.echo(in_words(content), err=True)
    if results is None:
        return
    command = f"python -m zfnb.overlap {known} {tested} --threshold {threshold:g} --split {split}"
    content["measured"] = {
        **measurement(command + " --flips" * flips, torch.device("cpu")),
        "seconds": round(time.perf_counter() - began, 1),
    }
    results.parent.mkdir(parents=True, exist_ok=True)
    write_json(results, content)


def main() -> None:
    run_program(app, "zfnb.overlap")


if __name__ == "__main__":
    main()
