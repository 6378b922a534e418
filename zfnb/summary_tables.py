"""What was measured on real data, as claims: Tables 1 to 7 and Fig. 9 beside the paper.

Each function takes a file of ``data/results/`` and gives every claim that the paper's table makes,
those without a value of ours too: their ``ours`` is None. Without the file nothing has one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pandas as pd

from zfnb import classification, table1, table3, transfer_curves, transfer_tables
from zfnb.claims import Claim
from zfnb.face_marks import PAPERS
from zfnb.paths import embedded

IN_PART = "in part"
TRUNK = "torchvision-alexnet (imagenet-trunk)"
SIX = 6  # pictures a class; read off Fig. 9 by the paper itself (Sec. 5.2)


def near(paper: float, ours: float | None, close: float, fair: float) -> bool | str | None:
    """A verdict by distance: True within `close`, "in part" within `fair`, None without `ours`."""
    if ours is None:
        return None
    gap = float(abs(ours - paper))
    return gap <= close or (IN_PART if gap <= fair else False)


def number(value) -> float | None:
    """A plain number; None for NaN and for nothing."""
    return None if value is None or math.isnan(value) else round(float(value), 4)


def table1_claims(path: Path) -> list[Claim]:
    """Each part over random masks, on the faces of dogs (Sec. 4.3, Table 1)."""
    rows = table1.select(
        table1.kept(path)["rows"], faces="dalmatians", zero="own", places="on the face"
    )
    paper, found = table1.published(), []
    for name, network, layer, column in (
        ("AlexNet", "torchvision-alexnet:imagenet-trunk", "conv5", "layer5"),
        ("ZFNet", "zfnet:tiny-imagenet", "conv5", "layer5"),
        ("ZFNet", "zfnet:tiny-imagenet", "fc7", "layer7"),
    ):
        for part in PAPERS:
            own = table1.select(rows, network=network, layer=layer, part=part)
            row = own[0] if own else None
            ratio = row and row["mean"] / row["random"]
            if column == "layer5":
                agrees, note = row and row["p"] < table1.CHANCE, ""
                if row and not agrees:
                    note = (
                        f"The part changes {row['moved']:.0%} of the elements, a random mask "
                        f"{row['random_moved']:.0%}: the number counts how much changes, too."
                    )
            else:  # the paper finds parts and random masks about alike
                agrees, note = row and abs(ratio - 1) < 0.1, ""
            found.append(
                Claim(
                    f"{part} over random masks, layer {column[-1]}, {name}",
                    round(float(paper.at[part, column] / paper.at["random", column]), 2),
                    row and round(ratio, 2),
                    "Sec. 4.3, Table 1",
                    unit="times random",
                    data="dalmatians of Caltech-101",
                    agrees=agrees,
                    note=note,
                )
            )
    return found


def table2_claims(path: Path) -> list[Claim]:
    """What the paper's changes and several networks gain (Sec. 5.1, Table 2)."""
    content = classification.kept(path) if path.exists() else {"rows": []}
    rows = classification.kept_rows(content)
    paper = {row["model"]: row for row in classification.published()}
    alone, five = paper["1 convnet as in Fig. 3"], paper["5 convnets as in Fig. 3 (a)"]
    alike = paper["Replication of Krizhevsky et al., 1 convnet"]
    zfnet, alexnet = (
        classification.row_of(rows, f"{name}:tiny-imagenet") for name in ("zfnet", "alexnet")
    )
    several = [row for row in rows if len(row.networks) > 1 and row.crops == 1]
    several.sort(key=lambda row: not all(name.endswith(":tiny-imagenet") for name in row.networks))

    def claim(what, theirs, ours, note=""):
        return Claim(
            what,
            number(theirs),
            number(ours),
            "Sec. 5.1, Table 2",
            unit="points",
            data="Tiny ImageNet, validation, 1 crop",
            agrees=None if ours is None else ours > 0,
            note=note,
        )

    both = zfnet is not None and alexnet is not None
    found = []
    for top in ("top1", "top5"):
        gain = getattr(alexnet, top) - getattr(zfnet, top) if both else None
        found.append(
            claim(
                f"ZFNet instead of AlexNet: {top[:3]}-{top[3]} error lower by",
                alike[f"val_{top}"] - alone[f"val_{top}"],
                gain,
                "Small pictures hold few fine details to gain from." if both and gain <= 0 else "",
            )
        )
    gain, note = None, ""
    if several:
        members = [classification.row_of(rows, name) for name in several[0].networks]
        best = min((row.top1 for row in members if row), default=None)
        gain = None if best is None else best - several[0].top1
        note = f"The paper's is five networks of one kind; ours {several[0].name}."
    theirs = alone["val_top1"] - five["val_top1"]
    found.append(
        claim("Several networks instead of their best: top-1 error lower by", theirs, gain, note)
    )
    return found


def table3_claims(path: Path) -> list[Claim]:
    """The conclusions of Sec. 5.1 as differences between rows (Table 3)."""
    content = table3.kept(path)
    table = table3_errors(content)
    facts = {"section": "Sec. 5.1, Table 3", "data": "Tiny ImageNet, half width, 64 pixels"}
    found = []
    for what, name, weights, expected in table3.CLAIMS:
        paper = table3.difference(table[f"paper_{name}"], weights)
        ours, agrees = number(table3.difference(table[name], weights)), None
        if ours is not None:
            chance = table3.seed_spread(content, name)
            runs = sum(weight**2 / table["seeds"][row] for row, weight in weights.items())
            spread = None if chance is None else chance * math.sqrt(runs)
            agrees = table3.verdict(expected, paper, ours, spread)
        note = "" if agrees in (True, None) else "Smaller pictures and networks, shorter runs."
        facts_of = {"unit": "points", "agrees": agrees, "note": note, **facts}
        found.append(Claim(what, number(paper), ours, **facts_of))
    order = table3.rank_correlation(table)
    agrees = None if order is None else order > 0.7 or (IN_PART if order > 0.3 else False)
    what = "Order of the networks by validation error: rank correlation"
    return [*found, Claim(what, 1, number(order), agrees=agrees, **facts)]


def table3_errors(content: Mapping) -> pd.DataFrame:
    """The columns of `zfnb.table3.table3` that `table3_claims` needs.

    That function also builds the twelve networks to count their parameters: seconds, for a page
    that counts none.
    """
    paper = pd.read_csv(embedded("data", "paper", "table3.csv")).set_index("network")
    errors = list(table3.ERRORS)
    rows = pd.DataFrame(content["rows"], columns=["network", *errors]).groupby("network")
    table = paper[errors].add_prefix("paper_").join(rows[errors].mean().astype(float))
    return table.assign(seeds=rows.size()).fillna({"seeds": 0})


def accuracy_claims(path: Path, data: str, number_of_table: int) -> list[Claim]:
    """Tables 4 and 5: pretrained and not, and what pretraining gains (Sec. 5.2)."""
    table = transfer_tables.table4(path, data)
    table = table[table["paper"].notna()]  # without counts that the paper does not have
    ours = table[[name for name in table if "paper" not in name and "±" not in name]]
    facts = {
        "section": f"Sec. 5.2, Table {number_of_table}",
        "data": f"{data}; pretrained: AlexNet's layer 5, ImageNet",
    }
    why = {
        "pretrained": "Five layers of AlexNet instead of ZFNet's seven.",
        "not pretrained": "Trained with a recipe of today, which makes fewer errors.",
    }
    found, values = [], {}
    for method, note in why.items():
        for count, theirs in table["paper"][method].items():
            line = ours.loc[(method, count)]
            mine = number(line.max() if method == "not pretrained" else line.get(TRUNK))
            agrees = near(theirs, mine, 3, 8)
            values[method, count] = theirs, mine
            facts["note"] = note if agrees in (False, IN_PART) else ""
            what = f"{method}, {count} a class"
            found.append(Claim(what, number(theirs), mine, unit="%", agrees=agrees, **facts))
    most = max(count for _, count in values)
    (theirs, mine), (plain, own_plain) = (values[method, most] for method in why)
    earlier = transfer_tables.published(number_of_table).query("ours == 'no' and count == @most")
    best = earlier["accuracy"].max()
    for what, from_theirs, from_ours, enough in (
        (f"worth of pretraining, {most} a class", plain, own_plain, 20),
        (f"ahead of the best published before, {most} a class", best, best, 0),
    ):
        gain = None if mine is None or from_ours is None else number(mine - from_ours)
        agrees = None if gain is None else gain > enough or (IN_PART if gain > 5 else False)
        facts["note"] = why["pretrained"] if agrees in (False, IN_PART) else ""
        paper = number(theirs - from_theirs)
        found.append(Claim(what, paper, gain, unit="points", agrees=agrees, **facts))
    return found


def table6_claims(path: Path) -> list[Claim]:
    """The mean average precision on PASCAL VOC 2012 (Sec. 5.2, Table 6)."""
    rows = [
        row
        for run in transfer_tables.kept("table6", path)["runs"]
        if f"{run['network']} ({run['weights']})" == TRUNK
        for row in sorted(run["rows"], key=lambda row: row["classifier"] != "softmax")
    ]
    paper = transfer_tables.published(6).set_index("class").at["mean", "ours"]
    ours = number(rows[0]["mean"]) if rows else None
    agrees = near(paper, ours, 5, 12)
    return [
        Claim(
            "mean average precision, 20 classes",
            number(paper),
            ours,
            "Sec. 5.2, Table 6",
            unit="%",
            data="PASCAL VOC 2012, val (the paper: test)",
            agrees=agrees,
            note="Five layers of AlexNet instead of ZFNet's seven."
            if agrees in (False, IN_PART)
            else "",
        )
    ]


def table7_claims(path: Path, data: str) -> list[Claim]:
    """A linear classifier on each layer (Sec. 5.3, Table 7)."""
    table = transfer_tables.table7(path, data)
    facts = {"section": "Sec. 5.3, Table 7", "data": data}
    found, rising = [], []
    for (kind, layer), line in table.iterrows():
        if math.isnan(line["paper"]):
            continue  # a row that the paper does not have
        ours, note = number(line.get(TRUNK)), ""
        agrees = near(line["paper"], ours, 5, 12)
        if ours is None:  # the trunk has no layer 7: is there a network that has?
            others = line.drop([name for name in line.index if "±" in name or "paper" in name])
            others = others.dropna()
            if len(others):
                ours, note = number(others.max()), f"{others.idxmax()}: another pretraining."
        elif agrees is not True:
            note = "AlexNet's layer instead of ZFNet's; vectors brought to length 1."
        name = "SVM" if kind == "svm" else kind
        what = f"{name} on layer {layer}"
        facts_of = {"unit": "%", "agrees": agrees, "note": note, **facts}
        found.append(Claim(what, number(line["paper"]), ours, **facts_of))
        if kind == "svm" and layer <= 5:
            rising.append((line["paper"], number(line.get(TRUNK))))
    theirs, ours = zip(*rising, strict=True)
    if None not in ours:
        grows = all(low < high for low, high in pairwise(ours))
        say = [", ".join(f"{value:.0f}" for value in values) + " %" for values in (theirs, ours)]
        what = "SVM on layers 1 to 5: each beats the one below"
        found.insert(0, Claim(what, *say, agrees=grows, **facts))
    return found


def fig9_claims(path: Path) -> list[Claim]:
    """How few pictures a class are enough (Sec. 5.2, Fig. 9)."""
    curves = transfer_curves.kept_curves(path)
    curve = next((own for name, own in curves.items() if name.startswith(TRUNK)), None)
    level = transfer_curves.paper_curves(4)["not pretrained"][30][0]
    passed = transfer_curves.fewest(curve, level) if curve else None
    return [
        Claim(
            "pictures a class that are enough",
            SIX,
            passed if passed or not curve else "never enough",
            "Sec. 5.2, Fig. 9",
            data=f"Caltech-101: to beat {level} %, the paper's without pretraining at 30",
            agrees=(passed is not None and passed <= SIX) if curve else None,
            note="The paper's: Caltech-256, to beat the best published at 60." if curve else "",
        )
    ]
