"""Table 3 as numbers to read: the paper's values beside ours, and what follows (Sec. 5.1).

`zfnb.model_size` trains the networks; here its results are read, averaged over the seeds, and
compared. A row that has not been trained yet is NaN.
"""

from __future__ import annotations

import base64
import functools
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from zfnb.architecture import outline, totals, variants
from zfnb.errors import UnknownName
from zfnb.models import Network
from zfnb.paths import embedded
from zfnb.runs import read_results

ERRORS = ("train_top1", "val_top1", "val_top5")
SIZES = ("train_pictures", "val_pictures")  # that the errors were measured on
NOT_YET = "not measured yet"
# What a row of a results file needs.
KEYS = {
    "rows": ("network", "seed", *ERRORS, "wrong", "parameters", "seconds", *SIZES),
    "failed": ("network", "seed", "error"),
}


def kept(path: str | Path | None = None) -> dict:
    """The content of a results file; without rows if it is not there yet.

    Parameters
    ----------
    path : path, optional
        Of the file, or of a folder that it lies in. By default ``data/results/table3.json``, which
        travels with the package.

    Raises
    ------
    BadInput
        If the file is damaged.
    """
    path = embedded("data", "results", "table3.json") if path is None else Path(path)
    path = path / "table3.json" if path.is_dir() else path
    if not path.exists():
        return {"rows": [], "failed": []}

    def checked(content: dict) -> dict:
        for part, keys in KEYS.items():
            if not isinstance(content[part], list):
                raise TypeError("its rows are not lists")
            for row in content[part]:
                missing = [key for key in keys if key not in row]
                if missing:
                    raise ValueError(f"a row lacks {missing[0]}")
        for row in content["rows"]:
            check_pictures(row)
        if len({tuple(row[key] for key in SIZES) for row in content["rows"]}) > 1:
            raise ValueError("its rows were measured on different numbers of pictures")
        return content

    return read_results(path, "python -m zfnb.model_size", checked)


def content_of(source: dict | str | Path | None) -> dict:
    """A table as it was given, or that of a file, as for `kept`; BadInput if it is damaged."""
    return source if isinstance(source, dict) else kept(source)


def errors(source: dict | str | Path | None = None) -> pd.DataFrame:
    """The errors of Table 3 alone: at once, since no network is built to count its parameters.

    Parameters
    ----------
    source : dict or path, optional
        As for `table3`.

    Returns
    -------
    DataFrame
        Those of the columns of `table3` that hold errors, and ``seeds``.
    """
    content = content_of(source)
    paper = pd.read_csv(embedded("data", "paper", "table3.csv")).set_index("network")
    names = list(ERRORS)
    rows = pd.DataFrame(content["rows"], columns=["network", *names]).groupby("network")
    table = paper[names].add_prefix("paper_").join(rows[names].mean().astype(float))
    table["seeds"] = rows.size().reindex(table.index, fill_value=0).astype(int)
    for name in names:
        spread = seed_spread(content, name)
        runs = table["seeds"].where(table["seeds"] > 0)
        table[f"{name}_se"] = (math.nan if spread is None else spread) / np.sqrt(runs)
    return table


def table3(source: dict | str | Path | None = None) -> pd.DataFrame:
    """Table 3, the paper's values beside ours.

    Parameters
    ----------
    source : dict or path, optional
        From `zfnb.model_size.train_rows`, or a file; by default what travels with the package.

    Returns
    -------
    DataFrame
        A row a network, by name, in the paper's order. ``change`` (in words), ``parameters`` (at
        full size); ``paper_train_top1``, ``paper_val_top1``, ``paper_val_top5``; ours, as means
        over ``seeds`` runs: ``train_top1``, ``val_top1``, ``val_top5``, all in percent; their
        standard errors ``train_top1_se``, ..., from `seed_spread`; ``our_parameters``, ``seconds``
        (a run). NaN where there is no measurement yet. ``error``: why a run failed, else "".
    """
    content = content_of(source)
    networks = pd.DataFrame(variants()).set_index("network")[["change", "parameters"]]
    columns = ["network", "parameters", "seconds"]
    runs = pd.DataFrame(content["rows"], columns=columns).groupby("network")
    why = {row["network"]: row["error"] for row in reversed(content["failed"])}
    return networks.join(errors(content)).assign(
        our_parameters=runs["parameters"].first().astype(float),
        seconds=runs["seconds"].mean().astype(float),
        error=[why.get(name, "") for name in networks.index],
    )


def in_text(table: pd.DataFrame) -> pd.DataFrame:
    """`table3` as people read it: numbers ± standard errors, words where there is none."""

    def ours(line: pd.Series, name: str) -> str:
        if line["seeds"] == 0:
            return "failed" if line["error"] else NOT_YET
        chance = line[f"{name}_se"]
        return f"{line[name]:.1f}" + ("" if math.isnan(chance) else f" ± {chance:.2f}")

    words = {"train_top1": "train top-1", "val_top1": "val top-1", "val_top5": "val top-5"}
    columns = {"change": table["change"]}
    for name, word in words.items():
        columns[f"paper, {word}"] = table[f"paper_{name}"].map("{:.1f}".format)
    for name, word in words.items():
        columns[f"ours, {word}"] = [ours(line, name) for _, line in table.iterrows()]
    columns["seeds"] = table["seeds"]
    return pd.DataFrame(columns, index=table.index)


def gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Validation minus training error in points, ``paper`` and ``ours``: how much is overfitted."""
    return pd.DataFrame(
        {
            "paper": table["paper_val_top1"] - table["paper_train_top1"],
            "ours": table["val_top1"] - table["train_top1"],
        }
    )


def rank_correlation(table: pd.DataFrame, name: str = "val_top1") -> float | None:
    """Spearman's correlation of our errors with the paper's over the rows that are measured.

    1: we put the networks in the paper's order; 0: the orders have nothing in common. None with
    fewer than three rows.

    Parameters
    ----------
    name : {"train_top1", "val_top1", "val_top5"}
    """
    if name not in ERRORS:
        raise UnknownName.of("error", name, ERRORS)
    both = table[[f"paper_{name}", name]].dropna().rank()
    if len(both) < 3 or (both.nunique() < 2).any():
        return None
    return float(both.corr().iloc[0, 1])


def seed_spread(source: dict | str | Path | None, name: str) -> float | None:
    """Standard deviation of an error from seed to seed, pooled over all rows with several seeds.

    Two runs of one row say little about how much chance there is; those of eight rows together say
    more, and it is about the same for all. None if no row has two.
    """
    groups = [group for group in by_row(source, name) if len(group) > 1]
    if not groups:
        return None
    squares = sum((len(group) - 1) * group.var(ddof=1) for group in groups)
    return math.sqrt(squares / sum(len(group) - 1 for group in groups))


def packed(wrong: np.ndarray) -> str:
    """(N,) bool as text: eight pictures a byte, in base64."""
    return base64.b64encode(np.packbits(wrong)).decode()


def unpacked(text: str, count: int) -> np.ndarray:
    """The other way round: (count,) of 0 and 1."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=count)


def check_pictures(row: dict) -> None:
    """Raise ValueError if a row's wrong pictures are not as many as it was measured on."""
    for key in SIZES:
        text = row["wrong"][key.removesuffix("_pictures")]
        try:
            found = len(base64.b64decode(text, validate=True))
        except ValueError:
            found = -1
        if found != -(-row[key] // 8):
            raise ValueError("a row's pictures do not fit")


def picture_error(source: dict | str | Path | None, weights: Mapping[str, int], name: str) -> float:
    """Standard error of a weighted sum of rows' errors, in points, from the choice of pictures.

    All runs were asked about the same pictures. So a picture that all get wrong, or none, adds
    nothing to the doubt of a difference; those do on which the networks disagree.

    Parameters
    ----------
    weights : dict {network: weight}
        Rows that are measured.
    name : {"train_top1", "val_top1"}

    Raises
    ------
    UnknownName
        Another error: which pictures it is wrong about is not kept.
    """
    if name not in ERRORS[:2]:
        raise UnknownName.of("error with its pictures", name, ERRORS[:2])
    part = name.partition("_")[0]
    shares: np.ndarray | float = 0.0  # of each picture in the sum
    for network, weight in weights.items():
        own = (row for row in content_of(source)["rows"] if row["network"] == network)
        runs = [unpacked(row["wrong"][part], row[f"{part}_pictures"]) for row in own]
        shares = shares + weight * np.mean(runs, axis=0)
    count = np.size(shares)
    return 100 * float(np.std(shares, ddof=1)) / math.sqrt(count) if count > 1 else 0.0


def repeats(source: dict | str | Path | None) -> int:
    """Runs beyond the first of each row: the degrees of freedom of `seed_spread`."""
    return sum(len(group) - 1 for group in by_row(source, ERRORS[0]))


def by_row(source: dict | str | Path | None, name: str) -> list[pd.Series]:
    """An error of all runs, a series a row of the table."""
    rows = pd.DataFrame(content_of(source)["rows"], columns=["network", *ERRORS])
    return [group for _, group in rows.groupby("network")[name]]


# The scale of our networks

WIDTHS = {1: "full width", 0.5: "half width", 0.25: "a quarter of the width"}
TITLES = {"tiny-imagenet": "Tiny ImageNet"}


def scale(content: dict) -> str:
    """What all rows share, in words: data, width, input, epochs. "" if the content does not say."""
    if "settings" not in content:
        return ""
    facts, name = content["settings"], content["data"]["name"]
    width = WIDTHS.get(facts["width"], f"{facts['width']:g} of the width")
    epochs = facts["recipe"]["epochs"]
    return (
        f"{TITLES.get(name, name)}, {width}, {facts['input_size']} pixels, "
        f"{epochs} epoch{'s' if epochs > 1 else ''}"
    )


def runs_in_words(content: dict) -> str:
    """How many rows have been measured, from how many runs, in what time, by which command."""
    rows = content["rows"]
    if not rows:
        return "No row has been measured yet."
    seeds = errors(content)["seeds"]
    words = f"{(seeds > 0).sum()} of {len(seeds)} networks, {(seeds > 1).sum()} of them from"
    words += f" several runs; {len(rows)} run{'s' if len(rows) > 1 else ''} in all"
    pictures = content.get("data", {}).get("training_pictures")
    words += "." if pictures is None else f", on {pictures:,} training pictures."
    hours = sum(row["seconds"] for row in rows) / 3600
    words += f" They took {hours:.1f} hours, pauses of the machine included."
    return f"{words}\n{content['command']}" if content.get("command") else words


def size_of(content: dict) -> dict[str, float]:
    """num_classes (of Tiny ImageNet, if it is not said), width and input_size of our networks."""
    facts = content["settings"]
    size = {key: facts[key] for key in ("width", "input_size")}
    return {"num_classes": content["data"].get("classes", 200), **size}


def reduced(content: dict, network: str) -> Network:
    """A network of the table at our scale, to be counted; see `zfnb.architecture.outline`."""
    return outline(network, **size_of(content))


def hidden_layers(content: dict, network: str = "zfnet") -> str:
    """One sentence: how large a part layers 6 and 7 are in the paper's network and in ours."""
    paper, ours = shares(network), shares(network, **size_of(content))
    return (
        f"Layer 6 sees {ours['values']:,} numbers here instead of {paper['values']:,} and holds "
        f"{ours['layer 6']:.0%} of the parameters instead of {paper['layer 6']:.0%} (6 and 7 "
        f"together {ours['layers 6, 7']:.0%} instead of {paper['layers 6, 7']:.0%})."
    )


@functools.cache
def shares(network: str = "zfnet", **size: float) -> dict[str, float]:
    """Where a network's parameters lie: what a reduced scale does to the fully connected layers.

    Parameters
    ----------
    network : str
    **size
        As from `size_of`; by default the paper's.

    Returns
    -------
    dict
        Shares of all parameters, 0 to 1: ``layers 3 to 5``, ``layer 6``, ``layers 6, 7``; and
        ``values``, how many numbers layer 6 gets from below.
    """
    net = outline(network, **size)
    total = totals(net)["parameters"]

    def share(*layers: str) -> float:
        return sum(p.numel() for name in layers for p in getattr(net, name).parameters()) / total

    return {
        "layers 3 to 5": share("conv3", "conv4", "conv5"),
        "layer 6": share("fc6"),
        "layers 6, 7": share("fc6", "fc7"),
        "values": net.fc6.linear.in_features,
    }
