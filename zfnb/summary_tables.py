"""What was measured on real data, as claims: Tables 1 to 7 and Fig. 9 beside the paper.

Each function takes a file of ``data/results/`` and gives every claim that the paper's table makes,
those without a value of ours too: their ``ours`` is None. Without the file nothing has one. When
an accuracy agrees is said in `zfnb.transfer_verdicts`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from zfnb import (
    classification,
    table1,
    table3,
    table3_verdicts,
    transfer_curves,
    transfer_tables,
)
from zfnb.chance import WITHIN_CHANCE, counts_from, more_than_chance
from zfnb.claims import IN_PART, Claim, claim
from zfnb.face_marks import PAPERS
from zfnb.transfer_verdicts import (
    CLOSE,
    SIX,
    Judged,
    few_enough,
    gained,
    gaps,
    near,
    one_choice,
    percents,
    rising,
)

TRUNK = "torchvision-alexnet (imagenet-trunk)"
OWN = "zfnet (tiny-imagenet)"
TITLES = {"caltech101": "Caltech-101", "caltech256": "Caltech-256"}
# Of each row of Tables 4 and 5: our network, in words, and the likely cause of a gap.
METHODS = {
    "pretrained": (
        TRUNK,
        "AlexNet's layer 5, ImageNet",
        "Likely cause: five layers of AlexNet instead of ZFNet's seven.",
    ),
    "not pretrained": (
        "zfnet (random)",
        "the whole ZFNet",
        "Likely cause: a recipe of today (batch normalisation, crops of many sizes) makes fewer "
        "errors.",
    ),
}
SMALLER = {
    "worth of pretraining": "Likely cause: AlexNet's five layers where pretrained, a recipe of "
    "today where from scratch.",
    "ahead of the best published before": METHODS["pretrained"][2],
}


NOT_THE_PAPERS = {"agrees": None, "note": "The paper's classifier is a softmax."}


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
    """What the paper's changes and several networks gain (Sec. 5.1, Table 2).

    A gain agrees if it is more than chance, by the rule of `zfnb.classification.gain`.
    """
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

    def claim(what, theirs, gain, cause="", note=""):
        doubt = "" if gain is None else gain.words
        likely = cause if gain is not None and gain.agrees is False else ""
        return Claim(
            what,
            number(theirs),
            None if gain is None else number(gain.points),
            "Sec. 5.1, Table 2",
            unit="points",
            data="Tiny ImageNet, validation, 1 crop",
            agrees=None if gain is None else gain.agrees,
            note=" ".join(filter(None, (likely, note, doubt))),
        )

    both = zfnet is not None and alexnet is not None
    found = [
        claim(
            f"ZFNet instead of AlexNet: {top[:3]}-{top[3]} error lower by",
            alike[f"val_{top}"] - alone[f"val_{top}"],
            classification.gain(content, zfnet, alexnet, top) if both else None,
            "Likely cause: small pictures hold few fine details to gain from.",
        )
        for top in ("top1", "top5")
    ]
    gain, note = None, ""
    if several:
        best = classification.best_member(rows, several[0])
        if best is not None:
            gain = classification.gain(content, several[0], best)
        note = f"The paper's is five networks of one kind; ours {several[0].short}."
    theirs = alone["val_top1"] - five["val_top1"]
    what = "Several networks instead of their best: top-1 error lower by"
    return [*found, claim(what, theirs, gain, note=note)]


def table3_claims(path: Path) -> list[Claim]:
    """The conclusions of Sec. 5.1 as differences between rows (Table 3)."""
    content = table3.kept(path)
    data = table3.scale(content)
    return [
        replace(one.claim(data), paper=number(one.paper), ours=number(one.ours), unit=one.unit)
        for one in (*table3_verdicts.conclusions(content), table3_verdicts.order(content))
    ]


def pictures_of(data: str, files: Mapping[str, Path | None] | None = None) -> str:
    """How many pictures and classes of a dataset the kept numbers were measured on, in words.

    `files` are those that replace the kept ones; see `zfnb.transfer_tables.own_files`.
    """
    for name in ("table5" if data == "caltech256" else "table4", "table7", "fig9"):
        for run in transfer_tables.kept(name, (files or {}).get(name))["runs"]:
            facts = run["data"]
            if facts["name"] == data and "pictures" in facts:
                return f"{facts['pictures']:,} pictures of {facts['classes']} classes"
    return "not measured yet"


def over(data: str, rows: pd.DataFrame) -> str:
    """The dataset, and over how many splits `rows` of `zfnb.transfer_tables.measured` go."""
    splits = rows["split"].nunique()
    title = TITLES.get(data, data)
    return f"{title}, {splits} split{'s' if splits > 1 else ''}" if splits else title


def of_network(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of one network, "NETWORK (WEIGHTS)"."""
    return rows[rows["network"] + " (" + rows["weights"] + ")" == name]


def best_before(number_of_table: int) -> tuple[int, float]:
    """The best earlier result of Table 4 or 5 at the most training pictures: (count, percent)."""
    earlier = transfer_tables.published(number_of_table).query("ours == 'no'")
    most = int(earlier["count"].max())
    return most, float(earlier.loc[earlier["count"] == most, "accuracy"].max())


def chance_of_mean(
    table: pd.DataFrame, rows: pd.DataFrame, network: str, place: tuple[str, int]
) -> float | None:
    """How far chance alone may carry a mean over splits, in points; None if that is not known.

    Parameters
    ----------
    table, rows : DataFrame
        From `zfnb.transfer_tables.table4`, and the rows that it was made of.
    network : str
        "NETWORK (WEIGHTS)".
    place : (method, count)
    """
    spread = number(table[f"{network} ±"][place]) if network in table else None
    if spread is None:
        return None
    splits = of_network(rows, network)["split"].nunique()
    return counts_from(splits - 1) * spread / math.sqrt(splits)


def accuracy_claims(path: Path | None = None, data: str = "caltech101") -> list[Claim]:
    """Tables 4 and 5: pretrained and not, and what pretraining gains (Sec. 5.2).

    Pretrained is ImageNet's AlexNet trunk, not pretrained is ZFNet: one named network each. The
    best of several would be the luckiest. Ahead of the best published before is what exceeds the
    chance of our splits; of one split there is no verdict.
    """
    which = 5 if data == "caltech256" else 4
    table = transfer_tables.table4(path, data)
    table = table[table["paper"].notna()]  # without counts that the paper does not have
    rows = transfer_tables.measured(f"table{which}", path, data)
    section = f"Sec. 5.2, Table {which}"
    found, values = [], {}
    for method, (network, pictured, why) in METHODS.items():
        for count, theirs in table["paper"][method].items():
            mine = number(table[network][method, count]) if network in table else None
            agrees = near(theirs, mine)
            values[method, count] = theirs, mine
            found.append(
                Claim(
                    f"{method}, {count} a class",
                    number(theirs),
                    mine,
                    section,
                    unit="%",
                    data=f"{over(data, of_network(rows, network))}; {pictured}",
                    agrees=agrees,
                    note=why if agrees in (False, IN_PART) else "",
                )
            )
    most = max(count for _, count in values)
    (theirs, mine), (plain, own_plain) = (values[method, most] for method in METHODS)
    _, best = best_before(which)
    doubt = chance_of_mean(table, rows, TRUNK, ("pretrained", most))

    def ahead(_, gain: float) -> bool | str | None:
        return None if doubt is None else more_than_chance(gain, doubt)

    for what, from_theirs, from_ours, judge in (
        ("worth of pretraining", plain, own_plain, gained),
        ("ahead of the best published before", best, best, ahead),
    ):
        paper = number(theirs - from_theirs)
        gain = None if mine is None or from_ours is None else number(mine - from_ours)
        agrees = None if gain is None else judge(paper, gain)
        note = SMALLER[what] if agrees in (False, IN_PART) else ""
        if agrees == WITHIN_CHANCE:
            note = f"Chance alone may make ± {doubt:.1f} points."
        found.append(
            Claim(
                f"{what}, {most} a class",
                paper,
                gain,
                section,
                unit="points",
                data=f"{over(data, of_network(rows, TRUNK))}; {METHODS['pretrained'][1]}",
                agrees=agrees,
                note=note,
            )
        )
    return found


def of_run(
    found: Mapping[str, transfer_curves.Curve],
    paper: Mapping[str, transfer_curves.Curve],
    words: str,
    section: str,
    data: str,
) -> list[Claim]:
    """What a notebook measured in this run, beside the paper's value where it has one.

    Parameters
    ----------
    found, paper : dict {kind: {count or layer: (accuracy, spread)}}
        In percent; see `zfnb.transfer_curves`.
    words : str
        What is measured, e.g. "{kind} on layer {place}".
    """
    return [
        Claim(
            f"{words.format(kind=kind.replace('svm', 'SVM'), place=place)}, this run",
            number(theirs),
            number(found[kind][place][0]),
            section,
            unit="%",
            data=data,
            agrees=near(theirs, found[kind][place][0]),
        )
        for kind, curve in paper.items()
        for place, (theirs, _) in curve.items()
        if place in found.get(kind, {})
    ]


def table6_claims(path: Path | None = None) -> list[Claim]:
    """The mean average precision on PASCAL VOC 2012 (Sec. 5.2, Table 6)."""
    rows = [
        row
        for run in transfer_tables.kept("table6", path)["runs"]
        if f"{run['network']} ({run['weights']})" == TRUNK
        for row in sorted(run["rows"], key=lambda row: row["classifier"] != "softmax")
    ]
    return [precision_claim(rows[0] if rows else None)]


def table6_of_run(rows: Iterable[Mapping], network: str) -> list[Claim]:
    """What a notebook measured on PASCAL VOC 2012 in this run, beside the paper's mean.

    Parameters
    ----------
    rows : iterable of dict
        From `zfnb.transfer_setups.voc_rows`. The paper's classifier is a softmax: others are shown
        beside it and not judged.
    network : str
        What was measured, in words.
    """
    return [
        replace(
            one,
            what=f"{one.what}, {row['classifier'].replace('svm', 'SVM')}, this run",
            data=f"{one.data}; {network}, layer {row['layer']}",
            **({} if row["classifier"] == "softmax" else NOT_THE_PAPERS),
        )
        for row in rows
        for one in [precision_claim(row)]
    ]


def precision_claim(row: Mapping | None) -> Claim:
    """The mean average precision of one classifier beside the paper's; None: not measured."""
    paper = transfer_tables.published(6).set_index("class").at["mean", "ours"]
    ours = None if row is None else number(row["mean"])
    agrees = near(paper, ours)
    note = (
        "Likely causes: trained on train alone, where the paper has train and val, so on about "
        "half the pictures; tested on val. A picture of several objects enters the softmax once "
        "for each, with its weight shared among them; one with difficult objects only is left out. "
        "Five layers of AlexNet instead of ZFNet's seven."
    )
    return Claim(
        "mean average precision, 20 classes",
        number(paper),
        ours,
        "Sec. 5.2, Table 6",
        unit="%",
        data="PASCAL VOC 2012, val (the paper: test)",
        agrees=agrees,
        note=note if agrees in (False, IN_PART) else "",
    )


def table7_claims(path: Path | None = None, data: str = "caltech101") -> list[Claim]:
    """A linear classifier on each layer (Sec. 5.3, Table 7)."""
    table = transfer_tables.table7(path, data)
    every = transfer_tables.measured("table7", path, data)
    rows = of_network(every, TRUNK)
    facts = {
        # Its dataset too: a claim is known by its section and its words.
        "section": f"Sec. 5.3, Table 7, {TITLES[data]}",
        "data": f"{over(data, rows)}; AlexNet trunk, ImageNet",
    }
    found = [rising_claim(rows, data, facts)]
    for (kind, layer), line in table.iterrows():
        if math.isnan(line["paper"]):
            continue  # a row that the paper does not have
        ours, note = number(line.get(TRUNK)), ""
        agrees = near(line["paper"], ours)
        if ours is None:  # the trunk has no layer 7: it is shown of one that has, and not judged
            ours = number(line.get(OWN))
            note = "" if ours is None else f"{OWN}: another pretraining."
        elif agrees is not True:
            note = "Likely cause: AlexNet's layer instead of ZFNet's; how C was chosen."
        name = "SVM" if kind == "svm" else kind
        what = f"{name} on layer {layer}"
        facts_of = {"unit": "%", "agrees": agrees, "note": note, **facts}
        if note.startswith(OWN):
            facts_of["data"] = f"{over(data, of_network(every, OWN))}; {OWN}"
        found.append(Claim(what, number(line["paper"]), ours, **facts_of))
    return found


def rising_claim(rows: pd.DataFrame, data: str, facts: Mapping[str, str]) -> Claim:
    """Layers 1 to 5, each better than the one below, split by split."""
    paper = transfer_tables.published(7).query("data == @data and classifier == 'svm'")
    own = rows[(rows["classifier"] == "svm") & rows["count"].isin(paper["count"])]
    layers = list(range(1, 6))
    splits = own.assign(accuracy=own["accuracy"].astype(float)).pivot_table(
        index="split", columns="layer", values="accuracy"
    )
    splits = splits.reindex(columns=layers).dropna()  # those in which every layer was measured
    judged, ours = Judged(None), None
    if len(splits):
        judged = rising({layer: splits[layer].to_numpy() for layer in layers})
        ours = percents(splits.mean())
    return Claim(
        "SVM on layers 1 to 5: each beats the one below",
        percents(paper.set_index("layer")["accuracy"][layers]),
        ours,
        agrees=judged.agrees,
        note=judged.note,
        **facts,
    )


def choices_claim(fixed: pd.DataFrame, data: str = "caltech101") -> Claim:
    """Whether what Table 7 leaves open, the kind of SVM and its C, explains the gaps (Sec. 5.3).

    No verdict: the paper claims nothing of the kind.

    Parameters
    ----------
    fixed : DataFrame
        From `zfnb.transfer_tables.choices`.
    """
    own = of_network(fixed, TRUNK)
    paper = transfer_tables.published(7).query("data == @data and classifier == 'svm'")
    paper = paper.set_index("layer")["accuracy"][list(range(1, 6))]
    judged, apart, ours, note = one_choice(own), gaps(own), None, ""
    if len(apart) and apart[1].notna().any():
        worst = apart.max(axis=1, skipna=False)
        # The one that comes nearest in all layers; in layer 1 where others are not measured.
        alone = bool(worst.isna().all())
        kind, c = (apart[1] if alone else worst).idxmin()
        best = own[(own["classifier"] == kind) & (own["regularisation"] == c)]
        best = best[best["layer"].between(1, 1 if alone else 5)].sort_values("layer")["accuracy"]
        kinds = {"svm": "one against one", "svm-against-all": "one against all"}
        ours = f"{'layer 1: ' if alone else ''}{percents(best)}"
        ours += f" ({kinds.get(kind, kind)}, C = {c:g})"
        note = f"{judged.note or 'One does.'} Our question, not the paper's. Told from test "
        note += "accuracies: it explains, and selects nothing."
    splits = f", {own['splits'].max():.0f} splits" if len(own) else ""
    return Claim(
        f"One choice of SVM and C brings layers 1 to 5 within {CLOSE:g} points of the paper",
        percents(paper),
        ours,
        f"Sec. 5.3, Table 7, {TITLES[data]}",
        data=f"{TITLES[data]}{splits}; AlexNet trunk, ImageNet",
        agrees=None,
        note=note,
    )


def softmax_claim(fixed: pd.DataFrame, data: str = "caltech101") -> Claim:
    """The softmax on layer 5 under the C of `choices_claim`'s SVM; no verdict, as there.

    Parameters
    ----------
    fixed : DataFrame
        From `zfnb.transfer_tables.choices`.
    """
    own = of_network(fixed, TRUNK)
    line = own.query("classifier == 'softmax' and layer == 5 and regularisation == 1")
    paper = transfer_tables.published(7).query("data == @data and classifier == 'softmax'")
    return Claim(
        "Softmax on layer 5 with C = 1",
        number(paper.set_index("layer")["accuracy"].get(5)),
        number(line["accuracy"].iloc[0]) if len(line) else None,
        f"Sec. 5.3, Table 7, {TITLES[data]}",
        unit="%",
        data=f"{TITLES[data]}; AlexNet trunk, ImageNet",
        agrees=None,
        note="Not chosen inside the training pictures: it explains, and selects nothing."
        if len(line)
        else "",
    )


def fig9_claims(path: Path | None = None) -> list[Claim]:
    """How few pictures a class are enough (Sec. 5.2, Fig. 9).

    On Caltech-256 as in the paper where that is measured, else on Caltech-101. The opponent is the
    paper's: the best that was published before, with the most pictures a class.
    """
    for data in ("caltech256", "caltech101"):
        curves = transfer_curves.kept_curves(path, data)
        curve = next((own for name, own in curves.items() if name.startswith(TRUNK)), None)
        if curve:
            break
    which = 5 if data == "caltech256" else 4
    most, level = best_before(which)
    rows = of_network(transfer_tables.measured("fig9", path, data), TRUNK)
    paper = transfer_curves.paper_curves(which)
    facts = {"section": "Sec. 5.2, Fig. 9", "data": f"{over(data, rows)}; AlexNet trunk, ImageNet"}

    def passing(level: float) -> tuple[int | None, int | str | None]:
        passed = transfer_curves.fewest(curve, level) if curve else None
        return passed, passed if passed or not curve else "never enough"

    passed, said = passing(level)
    agrees = few_enough(passed, SIX, most) if curve else None
    note = ""
    if curve and agrees is not True:
        nearest = min(paper["pretrained"])
        note = (
            f"The paper says it of Caltech-256. On {TITLES[data]} its own network has "
            f"{paper['pretrained'][nearest][0]:g} % with {nearest}."
        )
    plain = paper["not pretrained"][most][0]
    return [
        Claim(
            f"pictures a class that beat the best published at its most ({level:g} % at {most})",
            SIX,
            said,
            agrees=agrees,
            note=note,
            **facts,
        ),
        Claim(
            f"pictures a class that beat the paper's untrained network at {most} ({plain:g} %)",
            None,
            passing(plain)[1],
            agrees=None,
            note="An easier opponent, of which the paper says nothing." if curve else "",
            **facts,
        ),
    ]


def state(claims: Iterable[Claim]) -> None:
    """Show claims in a notebook; name those of which nothing is measured yet.

    Parameters
    ----------
    claims : iterable of Claim
        From the functions above.
    """
    for one in claims:
        if one.ours is None:
            print(f"{one.section}, {one.what}: not measured yet.")
        else:
            claim(**asdict(one))
