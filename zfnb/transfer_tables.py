"""Tables 4 to 7 and Fig. 9 as numbers to read: the paper's values beside ours (Sec. 5.2, 5.3).

`zfnb.transfer_cli` measures and writes ``data/results/NAME.json``; here it is read again, averaged
over the splits, and put beside what the paper published. What is not measured yet is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from zfnb.errors import BadInput, UnknownName
from zfnb.paths import embedded
from zfnb.runs import read_results

PUBLISHED = (4, 5, 6, 7)
NAMES = ("table4", "table5", "table6", "table7", "fig9", "choices")
COLUMNS = (
    "network",
    "weights",
    "data",
    "layer",
    "classifier",
    "count",
    "split",
    "accuracy",
    "regularisation",
)
WEIGHTS_FILES = (".safetensors", ".pth", ".pt")
TRAINED = ("not pretrained", "fine-tuned")  # all layers, and not a classifier alone
Source = Mapping | str | Path | None


def published(number: int) -> pd.DataFrame:
    """A table of the paper, percent.

    Columns: Tables 4 and 5 ``method``, ``count`` (training pictures a class), ``accuracy``,
    ``spread`` (over 5 splits), ``ours`` (yes for the paper's own rows). Table 6 ``class``,
    ``paper_name``, ``sande``, ``yan``, ``ours``; the last row is the mean. Table 7 ``classifier``,
    ``layer``, ``data``, ``count``, ``accuracy``, ``spread``.
    """
    if number not in PUBLISHED:
        raise UnknownName.of("table", number, PUBLISHED)
    return pd.read_csv(embedded("data", "paper", f"table{number}.csv"))


def kept(name: str, path: str | Path | None = None) -> dict:
    """The content of a results file; without runs if it is not there yet.

    Parameters
    ----------
    name : str
        "table4", "table5", "table6", "table7", "fig9" or "choices".
    path : path, optional
        By default ``data/results/NAME.json``, which travels with the package.

    Raises
    ------
    UnknownName, BadInput
        Another name; a damaged file.
    """
    if name not in NAMES:
        raise UnknownName.of("result", name, NAMES)
    path = embedded("data", "results", f"{name}.json") if path is None else Path(path)
    if not path.exists():
        return {"name": name, "runs": []}

    def whole(content: dict) -> dict:
        if content["name"] != name:
            raise ValueError(f"it holds {content['name']!r}")
        for run in content["runs"]:
            _ = run["network"], run["weights"], run["data"]["name"], run["rows"]
        return content

    command = "table4 --data caltech256" if name == "table5" else name
    return read_results(path, f"python -m zfnb.transfer_cli {command}", whole)


def own_files(folder: str | Path = "") -> dict[str, Path | None]:
    """The results files of a folder of one's own, which replace the kept ones of the same name.

    Parameters
    ----------
    folder : str or path
        Where ``--results FOLDER/table7.json`` and its like wrote; empty: none.

    Returns
    -------
    dict {"table4", "table5", ...: path or None}
        None: the file that travels with the package. Each is a source for what stands below.

    Raises
    ------
    BadInput
        No folder, or one that holds no such file.
    """
    if not str(folder):
        return dict.fromkeys(NAMES)
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise BadInput(
            f"There is no folder {folder}; give the full path of the one that holds your results "
            "files, such as table7.json."
        )
    files = {name: folder / f"{name}.json" for name in NAMES}
    found = {name: path if path.is_file() else None for name, path in files.items()}
    if not any(found.values()):
        raise BadInput(
            f"{folder} holds no results to show; give your files the names of the kept ones: "
            f"{', '.join(path.name for path in files.values())}."
        )
    return found


def content_of(name: str, source: Source) -> Mapping:
    """The content of a results file, read or as it is.

    Parameters
    ----------
    name : str
        As for `kept`.
    source : dict, path or None
        The content itself, or its file; None: the file that travels with the package.

    Raises
    ------
    UnknownName, BadInput
        As for `kept`.
    """
    return source if isinstance(source, Mapping) else kept(name, source)


def with_run(content: Mapping, run: Mapping) -> dict:
    """The same content with a run in the place of an earlier one of the same thing.

    Raises
    ------
    BadInput
        If the earlier one is of another weights file that has the same name, as far as checksums
        tell. Weights that zfnb knows by a name may change: their new run replaces the old one.
    """

    def what(run: Mapping) -> tuple:  # fine-tuned from some weights: not the same as on top of them
        data = run["data"]
        which = data.get("fingerprint") if data["name"] == "folder" else None  # all have one name
        return run["network"], run["weights"], data["name"], which, "settings" in run

    same = [old for old in content["runs"] if what(old) == what(run)]
    checksums = {one.get("checksum") for one in (*same, run)} - {None}
    if len(checksums) > 1 and Path(run["weights"]).suffix in WEIGHTS_FILES:
        raise BadInput(
            f"The results of {content['name']} have a run of another weights file named "
            f"{run['weights']}, which would be lost; rename the new one, or give another file with "
            "--results."
        )
    others = [old for old in content["runs"] if what(old) != what(run)]
    return {**content, "runs": [*others, dict(run)]}


def measured(name: str, source: Source = None, data: str | None = None) -> pd.DataFrame:
    """Every row of a results file: one a classifier and split.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`; accuracy in percent.
    """
    rows = [
        {
            "network": run["network"],
            "weights": run["weights"],
            "data": run["data"]["name"],
            **{key: row.get(key) for key in COLUMNS[3:]},
        }
        for run in content_of(name, source)["runs"]
        for row in run["rows"]
        if data in (None, run["data"]["name"])
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def of_one_count(rows: pd.DataFrame, data: str) -> pd.DataFrame:
    """Only the rows of Table 7's number of training pictures a class (Caltech-101: 30).

    Others are not to be averaged with them. For data that the table does not have: the largest
    number that was measured.
    """
    paper = published(7).query("data == @data")["count"]
    return rows[rows["count"] == (rows["count"] if paper.empty else paper).max()]


def averaged(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Mean, ``spread`` (sample standard deviation) and number of ``splits`` of the accuracy."""
    rows = rows.assign(accuracy=rows["accuracy"].astype(float))
    grouped = rows.groupby(by, dropna=False, sort=False)["accuracy"]
    return grouped.agg(accuracy="mean", spread="std", splits="count").reset_index()


def table7(source: Source = None, data: str = "caltech101") -> pd.DataFrame:
    """Table 7, the paper's values beside ours, for one dataset and as many training pictures.

    Returns
    -------
    DataFrame
        A row a classifier and layer: ``paper``, ``paper_spread``; then for each network that was
        measured its mean over the splits, named "NETWORK (WEIGHTS)", and with " ±" its spread.
    """
    paper = published(7).query("data == @data").set_index(["classifier", "layer"])
    if paper.empty:
        raise UnknownName.of("dataset of Table 7", data, published(7)["data"].unique())
    rows = of_one_count(measured("table7", source, data), data)
    return beside(paper, rows, ["classifier", "layer"])


def choices(source: Source = None, data: str = "caltech101") -> pd.DataFrame:
    """Table 7 with what it leaves open fixed: the kind of classifier, and its C.

    Returns
    -------
    DataFrame
        ``network``, ``weights``, ``layer``, ``classifier``, ``regularisation``, ``accuracy``,
        ``spread``, ``splits``, ``paper``: the paper's accuracy on that layer, of a softmax or of an
        SVM (NaN where it has none). Only with as many training pictures as in the paper.
    """
    by = ["network", "weights", "layer", "classifier", "regularisation"]
    rows = averaged(of_one_count(measured("choices", source, data), data), by)
    paper = published(7).query("data == @data").set_index(["classifier", "layer"])["accuracy"]
    kinds = rows["classifier"].replace("svm-against-all", "svm")
    places = pd.MultiIndex.from_arrays([kinds, rows["layer"]])
    return rows.assign(paper=paper.reindex(places).to_numpy())


def table4(source: Source = None, data: str = "caltech101") -> pd.DataFrame:
    """Tables 4 (Caltech-101) and 5 (Caltech-256): the paper's own rows beside ours.

    Returns
    -------
    DataFrame
        A row for "pretrained" and "not pretrained" and each number of training pictures, and for
        "fine-tuned", which the paper lacks, once that is measured; columns as in `table7`. Where
        several classifiers were measured on pretrained features, the paper's, a softmax.
    """
    numbers = {"caltech101": 4, "caltech256": 5}
    if data not in numbers:
        raise UnknownName.of("dataset of Tables 4 and 5", data, numbers)
    paper = published(numbers[data]).query("ours == 'yes'").set_index(["method", "count"])
    rows = measured(f"table{numbers[data]}", source, data)
    rows = rows[rows["classifier"].isin(["softmax", *TRAINED])]
    method = rows["classifier"].replace("softmax", "pretrained")
    return beside(paper, rows.assign(method=method), ["method", "count"])


def table6(
    source: Source = None, this_run: Iterable[Mapping] = ()
) -> dict[str, dict[str, float | None]]:
    """Table 6 as measured: average precision on the 20 classes, and their mean, in percent.

    Parameters
    ----------
    source : dict, path or None
        As for `content_of`.
    this_run : iterable of dict
        Rows of `zfnb.transfer_setups.voc_rows`, which stand beside those of the source.

    Returns
    -------
    dict {name: {class or "mean": percent, or None}}
    """
    rows = {
        f"ours, {run['network']} ({run['weights']}), {row['classifier']}": row
        for run in content_of("table6", source)["runs"]
        for row in run["rows"]
    }
    rows |= {f"this run, {row['classifier']}": row for row in this_run}
    return {name: {**row["average_precision"], "mean": row["mean"]} for name, row in rows.items()}


def beside(paper: pd.DataFrame, rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The paper's accuracy and spread, and two columns for each network of `rows`."""
    table = paper[["accuracy", "spread"]].set_axis(["paper", "paper_spread"], axis=1)
    means = averaged(rows, ["network", "weights", *by])
    for (network, weights), ours in means.groupby(["network", "weights"], sort=False):
        own, name = ours.set_index(by), f"{network} ({weights})"
        index = table.index.union(own.index, sort=False)  # rows the paper does not have stay
        table = table.reindex(index)
        table[name], table[f"{name} ±"] = own["accuracy"], own["spread"]
    return table


def with_spreads(table: pd.DataFrame) -> pd.DataFrame:
    """`table4` or `table7` as people read it: "82.0 ± 0.3", and "–" where nothing is measured."""

    def words(mean: float, spread: float) -> str:
        if math.isnan(mean):
            return "–"
        return f"{mean:.1f}" if math.isnan(spread) else f"{mean:.1f} ± {spread:.1f}"

    spreads = {"paper": "paper_spread"} | {name[:-2]: name for name in table if name[-2:] == " ±"}
    return pd.DataFrame(
        {name: list(map(words, table[name], table[spread])) for name, spread in spreads.items()},
        index=table.index,
    )


def fig9(source: Source = None, data: str | None = None) -> pd.DataFrame:
    """Fig. 9 as measured: accuracy against training pictures a class.

    Returns
    -------
    DataFrame
        ``network``, ``weights``, ``data``, ``classifier``, ``count``, ``accuracy``, ``spread``,
        ``splits``; sorted by the count.
    """
    rows = measured("fig9", source, data)
    means = averaged(rows, ["network", "weights", "data", "classifier", "count"])
    return means.sort_values(
        ["network", "weights", "data", "classifier", "count"], ignore_index=True
    )
