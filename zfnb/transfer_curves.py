"""Accuracies as {count or layer: (mean, spread)}: published, kept, and where one passes another.

The form that `zfnb.transfer.by_count` gives and `zfnb.plots_transfer` draws, for the values of
`zfnb.transfer_tables`. All in percent; a spread is NaN where none was published.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from zfnb.errors import BadInput
from zfnb.transfer import Result, mean_and_spread
from zfnb.transfer_tables import Source, averaged, fig9, measured, of_one_count, published

Spread = tuple[float, float]
Curve = dict[int, Spread]
DATA = {4: "caltech101", 5: "caltech256"}


def paper_curves(number: int) -> dict[str, Curve]:
    """Table 4 (Caltech-101) or 5 (Caltech-256) as {method: {training pictures: accuracy}}.

    Table 5 holds the numbers that Fig. 9 draws.
    """
    if number not in DATA:
        raise BadInput(f"Tables 4 and 5 are over training pictures; {number} is not.")
    rows = published(number).dropna(subset=["accuracy"])
    return {name: curve_of(own, "count") for name, own in rows.groupby("method", sort=False)}


def kept_curves(source: Source = None, data: str = "caltech101") -> dict[str, Curve]:
    """Fig. 9 as measured: {"NETWORK (WEIGHTS), CLASSIFIER": {training pictures: accuracy}}."""
    rows = fig9(source, data)
    by = ["network", "weights", "classifier"]
    return {
        f"{network} ({weights}), {kind}": curve_of(own, "count")
        for (network, weights, kind), own in rows.groupby(by, sort=False)
    }


def beside_published(number: int, source: Source = None) -> dict[str, Curve]:
    """The curves of Table 4 or 5 as published, and Fig. 9 as measured on the same pictures.

    Ours are named "ours, NETWORK (WEIGHTS), CLASSIFIER"; there are none if nothing is measured.
    """
    curves = paper_curves(number)
    ours = kept_curves(source, DATA[number])
    return curves | {f"ours, {name}": curve for name, curve in ours.items()}


def paper_layers(data: str = "caltech101") -> dict[str, Curve]:
    """Table 7: {classifier: {layer: accuracy}}."""
    rows = published(7).query("data == @data")
    if rows.empty:
        raise BadInput(f"Table 7 has no {data}; take caltech101 or caltech256.")
    return {kind: curve_of(own, "layer") for kind, own in rows.groupby("classifier", sort=False)}


def kept_layers(source: Source = None, data: str = "caltech101") -> dict[str, dict[str, Curve]]:
    """Table 7 as measured: {"NETWORK (WEIGHTS)": {classifier: {layer: accuracy}}}.

    With as many training pictures as in the paper only; see `zfnb.transfer_tables.of_one_count`.
    """
    rows = of_one_count(measured("table7", source, data), data)
    rows = averaged(rows, ["network", "weights", "classifier", "layer"])
    found: dict[str, dict[str, Curve]] = {}
    for (network, weights, kind), own in rows.groupby(
        ["network", "weights", "classifier"], sort=False
    ):
        found.setdefault(f"{network} ({weights})", {})[kind] = curve_of(own, "layer")
    return found


def layer_curves(
    found: Mapping[tuple[str, int], Iterable[Result]],
) -> dict[str, Curve]:
    """What `zfnb.transfer.compare_layers` found, as {classifier: {layer: accuracy}}."""
    curves: dict[str, Curve] = {}
    for (kind, layer), results in found.items():
        results = list(results)
        if results:
            curves.setdefault(kind, {})[layer] = mean_and_spread(results)
    return curves


def fewest(curve: Mapping[int, Spread], level: float) -> int | None:
    """The fewest training pictures from which on a curve stays above a level; None if it never is.

    Raises
    ------
    BadInput
        An empty curve.
    """
    if not curve:
        raise BadInput("An empty curve passes no level; measure it first.")
    found = None
    for count in sorted(curve, reverse=True):
        if curve[count][0] <= level:
            break
        found = count
    return found


def curve_of(rows: pd.DataFrame, key: str) -> Curve:
    """Rows with accuracy and spread as {key: (accuracy, spread)}."""
    return {
        int(place): (float(mean), float(spread))
        for place, mean, spread in zip(rows[key], rows["accuracy"], rows["spread"], strict=True)
    }
