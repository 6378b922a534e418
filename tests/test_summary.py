"""The summary counts claims, reads every source, and stands when one of them is damaged."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from zfnb import plots_summary as draw
from zfnb import report, summary, summary_tables, table3, table3_verdicts, transfer_tables
from zfnb.claims import MIME, Claim
from zfnb.errors import BadInput
from zfnb.face_marks import PAPERS
from zfnb.paths import embedded
from zfnb.summary import AGREES, DIFFERS, IN_PART, ITEMS, MISSING, OPEN, Row, Summary, Tally

FACTS = {
    "command": "python -m zfnb.some --thing",
    "date": "2026-01-02T03:04:05Z",
    "code": {"commit": "0123456789", "changed": [" M a.py"]},
    "machine": {"device": "CPU", "torch": "2"},
}
FILES = sorted({item.file for item in ITEMS if item.file})


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def put(path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")


def row(found: Summary, label: str) -> Row:
    return next(one for one in found.rows if one.item.label == label)


def of(claims, what: str) -> Claim:
    return next(claim for claim in claims if claim.what == what)


def claim(agrees, what="what", ours=1, section="Sec. 4, Fig. 5", **facts) -> Claim:
    return Claim(what, facts.pop("paper", 1), ours, section, agrees=agrees, **facts)


def transfer(name: str, data: str, *runs) -> dict:
    """A results file of Tables 4 to 7: runs as (network, weights, rows)."""
    return {
        "name": name,
        "runs": [
            {"network": net, "weights": w, "data": {"name": data}, "rows": rows, **FACTS}
            for net, w, rows in runs
        ],
    }


def rows_of(
    classifier: str, values: dict, key: str = "layer", apart: float = 1, splits: int = 2, **facts
) -> list[dict]:
    """Two splits around each value, or more."""
    return [
        {
            "classifier": classifier,
            key: place,
            "split": n,
            "accuracy": value + apart * (-1) ** n,
            **facts,
        }
        for place, value in values.items()
        for n in range(splits)
    ]


TRUNK = ("torchvision-alexnet", "imagenet-trunk")


# ---------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("verdicts", "word", "text"),
    [
        ([True, True], AGREES, "2 of 2 agree"),
        ([True, None], AGREES, "1 of 1 agree"),
        ([True, False], IN_PART, "1 of 2 agree"),
        ([True, "within chance"], IN_PART, "1 of 2 agree, 1 in part"),
        (["in part"], IN_PART, "0 of 1 agree, 1 in part"),
        ([False, False], DIFFERS, "0 of 2 agree"),
        ([None], OPEN, OPEN),
        ([], MISSING, MISSING),
        ([True, "missing"], IN_PART, "1 of 1 agree, 1 not measured yet"),
        ([False, "missing"], DIFFERS, "0 of 1 agree, 1 not measured yet"),
        (["missing"], MISSING, MISSING),
    ],
)
def test_an_item_agrees_if_all_its_claims_do(verdicts, word, text):
    claims = [claim(None, ours=None) if v == "missing" else claim(v) for v in verdicts]
    tally = Tally.of(claims)
    assert (tally.word, str(tally)) == (word, text)


def test_numbers_as_files_keep_them():
    assert summary_tables.number(math.nan) is None and summary_tables.number(None) is None
    assert summary_tables.number(np.float64(1 / 3)) == 0.3333


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("Sec. 4, Fig. 5", {"Fig. 5"}),
        ("Sec. 4.1, Fig. 6 (b), (c)", {"Fig. 6b", "Fig. 6c"}),
        ("Sec. 3.1, Fig. 6a", {"Fig. 6a"}),
        ("Sec. 4.2, Fig. 7 b, d", {"Fig. 7b", "Fig. 7d"}),
        ("Sec. 4.2, Fig. 7", {"Fig. 7"}),
        ("our control for Fig. 5", {"Fig. 5"}),
        ("Fig. 5 and a control", {"Fig. 5"}),
        ("Sec. 4.3, Fig. 8, Table 1", {"Fig. 8", "Table 1"}),
        ("Sec. 4.3", {"Sec. 4.3"}),
        ("Sec. 5.3, Table 7, Caltech-101", {"Table 7"}),
        ("Sec. 5.3, Table 7 (256)", {"Table 7 (256)"}),
        ("elsewhere", set()),
    ],
)
def test_a_claim_belongs_where_its_section_says(section, expected):
    assert summary.places(section) == expected


# ---------------------------------------------------------------- what travels with the package


def test_every_figure_and_table_is_an_item():
    labels = " ".join(item.label for item in ITEMS)
    for label in [*(f"Fig. {n}" for n in range(1, 10)), *(f"Table {n}" for n in range(1, 8))]:
        assert label in labels
    assert all(f"Fig. 6 ({panel})" in labels for panel in "abcde")
    stems = {path.name[:2] for path in embedded("notebooks").glob("*.ipynb")}
    assert {item.notebook for item in ITEMS} <= stems


def test_what_is_kept_can_be_read_and_no_claim_is_lost():
    found = summary.gather()
    assert found.problems == []
    content = json.loads(embedded("data", "results", summary.REPORT).read_text(encoding="utf-8"))
    kept = [one for n in content["notebooks"] for one in n["claims"] if n["notebook"] < "14"]
    shared = {(c.section, c.what) for one in found.rows for c in one.claims}
    assert kept and shared == {(one["section"], one["what"]) for one in kept}
    assert sum(found.counts.values()) == len(ITEMS)
    assert found.made(row(found, "Fig. 1")).command == "zfnb report --profile default"
    assert str(found.counts[AGREES]) in found.sentence()


# ---------------------------------------------------------------- files of results


def test_table_7_layer_by_layer(tmp_path):
    values = {1: 44.8, 2: 60.0, 3: 50.0, 4: 76.0, 5: 80.5}
    trunk = [
        *rows_of("svm", values, count=30),
        *rows_of("softmax", {5: 82.0}, count=30),
    ]
    own = [
        *rows_of("svm", {5: 99.0, 7: 55.0}, count=30),
        *rows_of("softmax", {7: 56.0}, count=30),
    ]
    lucky = rows_of("svm", {7: 84.0}, count=30)  # another network: the best is not picked
    content = transfer(
        "table7",
        "caltech101",
        (*TRUNK, trunk),
        ("zfnet", "tiny-imagenet", own),
        ("alexnet", "tiny-imagenet", lucky),
    )
    put(tmp_path / "table7.json", content)
    found = summary.gather(results=tmp_path)
    claims = {c.what: c for c in row(found, "Table 7 (101)").measured}
    assert len(claims) == 9
    fifth, third = claims["SVM on layer 5"], claims["SVM on layer 3"]
    assert (fifth.paper, fifth.ours, fifth.agrees) == (86.2, 80.5, "in part")  # 5.7 points
    assert (third.agrees, claims["SVM on layer 1"].agrees) == (False, True)
    assert fifth.data == "Caltech-101, 2 splits; AlexNet trunk, ImageNet"
    assert third.note.startswith("Likely cause: ") and not claims["SVM on layer 1"].note
    seventh = claims["SVM on layer 7"]  # the trunk has none: shown, not judged
    assert (seventh.ours, seventh.agrees) == (55, None) and "zfnet" in seventh.note
    rising = claims["SVM on layers 1 to 5: each beats the one below"]
    assert rising.agrees == IN_PART and "below: 3." in rising.note  # 60, then 50
    assert rising.paper == "45, 66, 72, 77, 86 %" and rising.ours == "45, 60, 50, 76, 80 %"
    assert {c.ours for c in row(found, "Table 7 (256)").measured} == {None}
    assert found.made(row(found, "Table 7 (101)")) == summary.Origin(
        "table7.json", FACTS["command"], "0123456 +", "CPU", "2026-01-02", "caltech101"
    )


def test_table_4_pretrained_and_not(tmp_path):
    # 3: not in the paper.
    own = rows_of("softmax", {15: 82.0, 30: 86.0, 3: 50.0}, "count", apart=0.1)
    plain = rows_of("not pretrained", {15: 30.0, 30: 56.0}, "count")
    lucky = rows_of("not pretrained", {30: 80.0}, "count")  # another network does not count
    runs = (*TRUNK, own), ("zfnet", "random", plain), ("alexnet", "random", lucky)
    put(tmp_path / "table4.json", transfer("table4", "caltech101", *runs))
    claims = row(summary.gather(results=tmp_path), "Table 4").measured
    said = [(c.what, c.paper, c.ours, c.agrees) for c in claims]
    assert said == [
        ("pretrained, 15 a class", 83.8, 82, True),
        ("pretrained, 30 a class", 86.5, 86, True),
        ("not pretrained, 15 a class", 22.8, 30, "in part"),
        ("not pretrained, 30 a class", 46.5, 56, False),
        ("worth of pretraining, 30 a class", 40, 30, True),
        ("ahead of the best published before, 30 a class", 2.2, 1.7, True),
    ]
    assert claims[2].data == "Caltech-101, 2 splits; the whole ZFNet" and claims[2].note


def test_what_a_run_measured_beside_the_papers_rows():
    lines = {"svm": {1: (47.0, 1.0), 2: (80.0, 1.0), 6: (1.0, 0.0)}, "logistic": {5: (1.0, 0.0)}}
    paper = {"svm": {1: (44.8, 0.7), 2: (66.2, 0.5), 3: (72.3, 0.4)}, "softmax": {5: (82.9, 0.4)}}
    words = "{kind} on layer {place}"
    found = summary_tables.of_run(lines, paper, words, "Sec. 5.3, Table 7", "caltech101, 5 splits")
    assert [(c.what, c.paper, c.ours, c.agrees) for c in found] == [
        ("SVM on layer 1, this run", 44.8, 47.0, True),
        ("SVM on layer 2, this run", 66.2, 80.0, False),
    ]  # and no row that only one of the two has
    assert {c.data for c in found} == {"caltech101, 5 splits"}


def test_a_gain_of_half_the_papers_is_no_yes(tmp_path):
    own = rows_of("softmax", {30: 76.1}, "count", apart=0.1)
    plain = rows_of("not pretrained", {30: 56.0}, "count")
    runs = (*TRUNK, own), ("zfnet", "random", plain)
    put(tmp_path / "table4.json", transfer("table4", "caltech101", *runs))
    worth, ahead = summary_tables.accuracy_claims(tmp_path / "table4.json")[-2:]
    assert (worth.paper, worth.ours, worth.agrees) == (40, 20.1, IN_PART) and worth.note
    assert (ahead.ours, ahead.agrees) == (-8.2, False) and ahead.note


@pytest.mark.parametrize(
    ("value", "splits", "agrees"),
    # Two splits 1 point from their mean: Student's t makes 12.7 points of it. Four: 1.8.
    [(86.0, 2, "within chance"), (86.0, 4, "within chance"), (86.2, 4, True), (82.0, 4, False)],
)
def test_ahead_is_more_than_the_chance_of_the_splits(tmp_path, value, splits, agrees):
    own = rows_of("softmax", {30: value}, "count", splits=splits)
    put(tmp_path / "table4.json", transfer("table4", "caltech101", (*TRUNK, own)))
    ahead = summary_tables.accuracy_claims(tmp_path / "table4.json")[-1]
    assert (ahead.ours, ahead.agrees) == (pytest.approx(value - 84.3), agrees)
    assert ("Chance alone may make" in ahead.note) == (agrees == "within chance")


def test_one_split_is_not_judged_to_be_ahead(tmp_path):
    own = rows_of("softmax", {30: 90.0}, "count", apart=0, splits=1)
    put(tmp_path / "table4.json", transfer("table4", "caltech101", (*TRUNK, own)))
    ahead = summary_tables.accuracy_claims(tmp_path / "table4.json")[-1]
    assert (ahead.ours, ahead.agrees) == (5.7, None)


def test_table_5_waits_for_its_data(tmp_path):
    own = rows_of("softmax", {60: 60.0}, "count", apart=0.1)
    put(tmp_path / "table5.json", transfer("table5", "caltech256", (*TRUNK, own)))
    found = row(summary.gather(results=tmp_path), "Table 5")
    ahead = of(found.measured, "ahead of the best published before, 60 a class")
    assert (ahead.paper, ahead.ours, ahead.agrees) == (19, 4.8, True)  # 74.2 and 60 over 55.2
    assert of(found.measured, "worth of pretraining, 60 a class").ours is None
    assert found.verdict == IN_PART and "9 not measured yet" not in str(found.tally)


def test_fig_9_is_the_fewest_pictures(tmp_path):
    for values, ours, agrees, plain in (
        ({1: 30.0, 3: 85.0, 30: 86.0}, 3, True, 3),
        ({1: 30.0, 10: 47.0, 20: 84.4, 30: 86.0}, 20, IN_PART, 10),
        ({1: 30.0, 10: 47.0, 30: 84.4}, 30, False, 10),  # as many as the opponent had
        ({1: 50.0, 30: 84.2}, "never enough", False, 1),  # the untrained network is no opponent
    ):
        own = rows_of("svm", values, "count")
        put(tmp_path / "fig9.json", transfer("fig9", "caltech101", (*TRUNK, own)))
        found = row(summary.gather(results=tmp_path), "Fig. 9")
        best, untrained = found.measured
        assert (best.paper, best.ours, best.agrees) == (6, ours, agrees)
        assert "84.3 % at 30" in best.what and bool(best.note) == (agrees is not True)
        assert (untrained.paper, untrained.ours, untrained.agrees) == (None, plain, None)
        assert found.tally.compared == 1


def test_fig_9_is_on_the_papers_pictures_where_they_are(tmp_path):
    runs = [
        {"network": TRUNK[0], "weights": TRUNK[1], "data": {"name": data}, **FACTS,
         "rows": rows_of("svm", values, "count")}
        for data, values in (("caltech101", {6: 90.0}), ("caltech256", {6: 55.0, 15: 60.0}))
    ]  # fmt: skip
    put(tmp_path / "fig9.json", {"name": "fig9", "runs": runs})
    best, _ = row(summary.gather(results=tmp_path), "Fig. 9").measured
    assert (best.ours, best.agrees) == (15, IN_PART) and "55.2 % at 60" in best.what
    assert best.data == "Caltech-256, 2 splits; AlexNet trunk, ImageNet"


def chosen(rows) -> Claim:
    content = transfer("choices", "caltech101", (*TRUNK, rows), ("zfnet", "tiny-imagenet", rows))
    return summary_tables.choices_claim(transfer_tables.choices(content))


def test_one_choice_of_svm_is_asked_to_explain_all_layers():
    near = {1: 45.0, 2: 66.0, 3: 72.0, 4: 76.0, 5: 86.0}
    both = [
        *rows_of("svm", {**near, 1: 60.0}, count=30, regularisation=1.0),
        *rows_of("svm-against-all", near, count=30, regularisation=0.1),
    ]
    one = chosen(both)
    assert one.agrees is None and one.paper == "45, 66, 72, 77, 86 %"  # not the paper's claim
    assert one.note.startswith("One does.")
    assert one.ours == "45, 66, 72, 76, 86 % (one against all, C = 0.1)"
    assert "selects nothing" in one.note and one.data.startswith("Caltech-101, 2 splits")
    low = rows_of("svm", {**near, 5: 70.0}, count=30, regularisation=0.1)
    assert chosen([*both[:10], *low]).note.startswith("What brings layer 1 near takes")
    alone = chosen(rows_of("svm", {1: 46.0}, count=30, regularisation=1.0))
    assert alone.ours == "layer 1: 46 % (one against one, C = 1)"
    assert alone.note.startswith("Only layer 1 is near")
    far = chosen(rows_of("svm", {1: 55.0}, count=30, regularisation=1.0))
    assert far.note.startswith("No C brings")
    nothing = chosen([])
    assert nothing.ours is None and nothing.agrees is None


def test_a_notebook_states_what_is_measured_and_names_the_rest(capsys):
    summary_tables.state([claim(True, "here", 3), claim(None, "later", None)])
    shown = capsys.readouterr().out
    assert "here: paper 1, ours 3 (agrees: yes" in shown
    assert "later: not measured yet." in shown
    assert summary_tables.pictures_of("caltech101") == "8,677 pictures of 101 classes"
    assert summary_tables.pictures_of("stamps") == "not measured yet"
    assert summary_tables.best_before(4) == (30, 84.3)
    assert summary_tables.best_before(5) == (60, 55.2)


@pytest.mark.parametrize(("mean", "agrees"), [(78.0, True), (72.0, IN_PART), (60.0, False)])
def test_a_run_states_its_own_table_6(mean, agrees):
    rows = [
        {"layer": 5, "classifier": kind, "mean": mean, "average_precision": {"cat": 90.0}}
        for kind in ("svm", "softmax")
    ]
    svm, softmax = summary_tables.table6_of_run(rows, "AlexNet trunk")
    assert (softmax.paper, softmax.ours, softmax.agrees) == (79, mean, agrees)
    assert softmax.what == "mean average precision, 20 classes, softmax, this run"
    assert softmax.data == "PASCAL VOC 2012, val (the paper: test); AlexNet trunk, layer 5"
    assert softmax.note.startswith("Likely causes: ") == (agrees is not True)
    assert (svm.paper, svm.ours, svm.agrees) == (79, mean, None) and "softmax" in svm.note
    assert "SVM, this run" in svm.what and summary.places(svm.section) == {"Table 6"}
    drawn = transfer_tables.table6(transfer("table6", "voc2012", (*TRUNK, rows[:1])), rows[1:])
    assert list(drawn) == [
        "ours, torchvision-alexnet (imagenet-trunk), svm",
        "this run, softmax",
    ]
    assert drawn["this run, softmax"] == {"cat": 90, "mean": mean}


def test_a_folder_of_ones_own_replaces_kept_files(tmp_path):
    assert set(transfer_tables.own_files()) == set(transfer_tables.NAMES)
    assert not any(transfer_tables.own_files("").values())
    with pytest.raises(BadInput, match="holds no results to show"):
        transfer_tables.own_files(tmp_path)
    put(tmp_path / "table7.json", transfer("table7", "caltech101"))
    content = transfer("table4", "caltech101", (*TRUNK, rows_of("softmax", {30: 1.0}, "count")))
    content["runs"][0]["data"] |= {"pictures": 12, "classes": 3}
    put(tmp_path / "table4.json", content)
    files = transfer_tables.own_files(str(tmp_path))
    assert {name for name, path in files.items() if path} == {"table4", "table7"}
    assert transfer_tables.measured("table7", files["table7"]).empty
    assert not transfer_tables.measured("fig9", files["fig9"]).empty  # the kept one
    assert summary_tables.pictures_of("caltech101", files) == "12 pictures of 3 classes"
    with pytest.raises(BadInput, match=r"There is no folder .*give the full path"):
        transfer_tables.own_files(tmp_path / "table7.json")


def test_table_6_takes_the_softmax(tmp_path):
    rows = [{"classifier": "svm", "mean": 10.0}, {"classifier": "softmax", "mean": 70.0}]
    put(tmp_path / "table6.json", transfer("table6", "voc2012", (*TRUNK, rows)))
    [one] = row(summary.gather(results=tmp_path), "Table 6").measured
    assert (one.paper, one.ours, one.agrees) == (79, 70, False)
    assert "train and val" in one.note and "once for each" in one.note


def errors(seeds=(0, 1), **changed) -> dict:
    """Table 3 as if ours were the paper's, plus what is said of some networks."""
    paper = pd.read_csv(embedded("data", "paper", "table3.csv")).set_index("network")
    rows = [
        {
            "network": name,
            "seed": seed,
            **{top: line[top] + changed.get(name, 0) + seed / 10 for top in table3.ERRORS},
            "parameters": 5,
            "seconds": 1.0,
            "wrong": {"train": "", "val": ""},
            **dict.fromkeys(table3.SIZES, 0),
        }
        for name, line in paper.iterrows()
        for seed in seeds
    ]
    return {**FACTS, "rows": rows, "failed": []}


def test_table_3_has_the_conclusions_of_its_notebook(tmp_path):
    changed = {"zfnetb": 5.0, "alexnet_no3467": 0, "zfnet-fc8192": -3.0}
    content = errors(**changed)
    content["rows"] = [one for one in content["rows"] if one["network"] != "alexnet-no67"]
    put(tmp_path / "table3.json", content)
    claims = row(summary.gather(results=tmp_path), "Table 3").measured
    *ours, order = claims
    theirs = table3_verdicts.conclusions(content)
    assert [c.what for c in ours] == [one.what for one in theirs]
    assert [c.agrees for c in ours] == [one.agrees for one in theirs]
    assert {c.agrees for c in ours} >= {True, False, None}
    for mine, one in zip(ours, theirs, strict=True):
        assert mine.paper == pytest.approx(one.paper, abs=1e-3)
        assert mine.ours == (None if one.ours is None else pytest.approx(one.ours, abs=1e-3))
    full = table3.table3(content)
    assert order.ours == pytest.approx(table3.rank_correlation(full), abs=1e-3)
    light = table3.errors(content)
    for name in light:
        assert np.allclose(light[name], full.loc[light.index, name], equal_nan=True), name


def table2(**top1) -> dict:
    """Networks or sums of them, by their top-1 error."""
    names = {"zfnet": "zfnet:tiny-imagenet", "alexnet": "alexnet:tiny-imagenet", "trunk": "t:i"}
    rows = [
        {"networks": [names[n] for n in name.split("_")], "crops": 1, "top1": e, "top5": e / 2}
        for name, e in top1.items()
    ]
    data = {"name": "tiny-imagenet", "pictures": 10_000}
    content = {"data": data, "rows": rows, "measured": [FACTS]}
    return {**content, "classes": [], "details": {}}


def test_table_2_compares_differences_only(tmp_path):
    put(tmp_path / "table2.json", table2(zfnet=53, trunk=52, zfnet_trunk=48))
    first = summary.gather(results=tmp_path)
    gains = row(first, "Table 2").measured
    assert [(c.paper, c.ours) for c in gains] == [(2.1, None), (1.6, None), (1.7, 4)]
    assert row(first, "Table 2").verdict == IN_PART
    both = table2(zfnet=53, trunk=52, zfnet_trunk=48, alexnet=52, zfnet_alexnet=50)
    put(tmp_path / "table2.json", both)
    gains = row(summary.gather(results=tmp_path), "Table 2").measured
    assert [c.ours for c in gains] == [-1, -0.5, 2]  # networks trained alike, where there are
    chance = "within chance"  # below two standard errors of 0.7 points
    assert [c.agrees for c in gains] == [chance, chance, True]
    assert "cause" not in gains[0].note and "Standard error 0.71 points" in gains[0].note
    put(tmp_path / "table2.json", table2(zfnet=53, alexnet=51, zfnet_alexnet=50.9))
    gains = row(summary.gather(results=tmp_path), "Table 2").measured
    assert [c.agrees for c in gains] == [False, chance, chance] and "cause" in gains[0].note


def test_table_1_is_a_part_over_random_masks(tmp_path):
    facts = {"zero": "own", "places": "on the face", "moved": 0.2, "random_moved": 0.1}
    rows = [
        {"faces": faces, "network": net, "part": part, "layer": layer, "mean": mean, "random": 0.2,
         "p": p, **facts}
        for faces, net, layer, mean, p in (
            ("dalmatians", "torchvision-alexnet:imagenet-trunk", "conv5", 0.1, 0.01),
            ("dalmatians", "zfnet:tiny-imagenet", "conv5", 0.3, 0.9),
            ("dalmatians", "zfnet:tiny-imagenet", "fc7", 0.21, 0.9),
            ("stamps", "zfnet:tiny-imagenet", "fc7", 0.9, 0.9),
        )
        for part in PAPERS
    ]  # fmt: skip
    put(tmp_path / "table1.json", {"measured": [FACTS], "rows": rows})
    claims = row(summary.gather(results=tmp_path), "Table 1").measured
    assert [c.ours for c in claims] == [0.5] * 3 + [1.5] * 3 + [1.05] * 3
    assert [c.agrees for c in claims] == [True] * 3 + [False] * 3 + [True] * 3
    assert claims[0].paper == round(0.067 / 0.107, 2) and claims[6].paper == 0.95
    assert "20%" in claims[3].note and "10%" in claims[3].note


def test_an_empty_folder_says_not_measured_yet(tmp_path):
    found = summary.gather(results=tmp_path)
    assert found.counts == {AGREES: 0, IN_PART: 0, DIFFERS: 0, OPEN: 0, MISSING: len(ITEMS)}
    assert len(found.problems) == 1 and summary.REPORT in found.problems[0]
    assert found.disagreements().empty and found.changed().empty and found.how_measured().empty
    assert MISSING in draw.overview(found).html
    assert texts(draw.tiles(found.rows, "t")).count(MISSING) == len(ITEMS)
    waiting = texts(draw.against_the_paper(found.numbers(), "t"))
    assert "Table 7 (256) (8)" in " ".join(waiting.split()) and "Table 1 (9)" in waiting


@pytest.fixture(scope="module")
def sound():
    return summary.gather()


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"rows": [{}], "runs": 3}', "null"])
@pytest.mark.parametrize("name", [*FILES, summary.REPORT, "training/run.json"])
def test_a_damaged_file_costs_one_sentence(tmp_path, sound, name, damage):
    shutil.copytree(embedded("data", "results"), tmp_path, dirs_exist_ok=True)
    put(tmp_path / name, damage)
    found = summary.gather(results=tmp_path)
    about = [one for one in found.problems if name.split("/")[-1] in one]
    whole = name.startswith("training") and damage != "{"  # tells of no command, no more
    assert len(about) == (0 if whole else 1) and about == found.problems
    assert all("\n" not in one and str(tmp_path) not in one for one in about)
    for now, before in zip(found.rows, sound.rows, strict=True):
        if now.item.file != name:
            assert now.measured == before.measured
        else:
            assert now.damaged and now.verdict == MISSING
    page = draw.overview(found).html
    assert ("cannot be read" in page) == (name in FILES)


def test_origins_are_found_in_any_layout():
    several = {"rows": [{"data": "scenes", "measured": FACTS}, {"measured": FACTS}]}
    assert [one.data for one in summary.origins(several, "a.json")] == ["scenes", ""]
    bench = {"benchmark": "speed", "command": "c", "commit": "abc", "device": "X", "date": "2026"}
    [one] = summary.origins(bench, "b.json")
    assert one == summary.Origin("b.json", "c", "abc", "X", "2026", "speed")
    nested = {**FACTS, "rows": [{"command": "inner"}]}  # the outer one made the file
    assert [one.command for one in summary.origins(nested, "c.json")] == [FACTS["command"]]
    # Rows that were made one by one, as those of Table 3: at which commits, and not when gathered.
    rows = [{"commit": commit * 8} for commit in ("a1", "b2", "a1")]
    assert [one.commit for one in summary.origins({**FACTS, "rows": rows}, "d.json")] == [
        "a1a1a1a, b2b2b2b"
    ]
    assert summary.named({"name": "a", "split": "val", "pictures": 3}) == "a val"
    assert summary.named({"stamps": 7, "cougars": 16}) == "stamps, cougars"


# ---------------------------------------------------------------- a run


def executed(path, claims, status="passed", profile="quick", error="") -> None:
    """A notebook as a report leaves it."""
    outputs = [
        nbformat.v4.new_output("display_data", {MIME: asdict(one), "text/plain": ""})
        for one in claims
    ]
    cell = nbformat.v4.new_code_cell("claim()", outputs=outputs)
    nb = nbformat.v4.new_notebook(cells=[cell])
    nb.metadata["zfnb"] = {"status": status, "profile": profile, "error": error}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, path)


def test_the_run_stands_beside_what_is_kept(tmp_path):
    results, run = tmp_path / "results", tmp_path / "report"
    kept = [claim(True, "a"), claim(True, "b"), claim(False, "c", section="Sec. 4.3")]
    put(
        results / summary.REPORT,
        {
            "profile": "default",
            "notebooks": [
                {"notebook": "06_x", "claims": [asdict(one) for one in kept]},
                {"notebook": "14_summary", "claims": [asdict(claim(False, "mine"))]},
            ],
        },
    )
    folder = run / "notebooks"
    executed(folder / "06_a.ipynb", [claim(True, "a"), claim(False, "b", ours=7)])
    executed(folder / "07_b.ipynb", [claim(False, "old")], profile="default")
    earlier = nbformat.read(folder / "06_a.ipynb", 4)  # by a version without notes
    for output in earlier.cells[0].outputs:
        del output.data[MIME]["note"]
    earlier.cells[0].outputs.append(nbformat.v4.new_output("display_data", {MIME: {"what": "x"}}))
    nbformat.write(earlier, folder / "06_a.ipynb")
    executed(folder / "08_c.ipynb", [claim(True, "new")], status="failed", error="It broke.")
    executed(folder / "14_summary.ipynb", [claim(False, "mine")])
    (folder / "09_d.ipynb").write_text("{", encoding="utf-8")
    found = summary.gather("quick", run, results)
    fifth = row(found, "Fig. 5")
    assert [one.what for one in fifth.claims] == ["a", "b"] and fifth.verdict == AGREES
    assert [one.what for one in fifth.run] == ["a", "b", "new"] and found.from_run == 2
    assert any("08_c.ipynb" in one and "It broke." in one for one in found.problems)
    assert any("09_d.ipynb" in one for one in found.problems) and len(found.problems) == 2
    changed = found.changed()
    assert changed["claim"].tolist() == ["b"]
    assert changed.loc[0, "kept"] == "1 (agrees)" and changed.loc[0, "this run"] == "7 (differs)"
    page = BeautifulSoup(draw.overview(found).html, "html.parser")
    assert "this run: 2 of 3 agree" in page.get_text()
    assert "this run: 2 of 3 agree" in texts(draw.tiles(found.rows, "t"))


def test_a_folder_without_a_report_is_said(tmp_path):
    found = summary.gather("quick", tmp_path)
    assert found.from_run == 0 and "No notebook has run yet" in found.problems[0]


def test_a_claim_that_belongs_nowhere_is_said(tmp_path):
    executed(tmp_path / "notebooks" / "00_a.ipynb", [claim(True, "lost", section="Appendix")])
    assert "'lost' (Appendix) belongs to no row" in summary.gather("quick", tmp_path).problems[0]


def test_a_report_hands_its_folder_to_a_notebook_that_asks(tmp_path):
    def write(name: str, *sources: str) -> None:
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in sources])
        nb.cells[0].metadata["tags"] = ["parameters"]
        nbformat.write(nb, tmp_path / "in" / name)

    (tmp_path / "in").mkdir()
    write(
        "01_a.ipynb",
        'profile: str = "default"',
        "from zfnb.claims import claim\nclaim('x', 1, 2, section='Fig. 5', agrees=False)",
    )
    write(
        "02_b.ipynb",
        'profile: str = "default"\nreport: str = ""',
        "from zfnb import summary\nfound = summary.gather(profile, report)\n"
        "assert found.from_run == 1\n"
        "assert [c.what for row in found.rows for c in row.run] == ['x']",
    )
    out = tmp_path / "out"
    done = report.build(out, "quick", notebooks=tmp_path / "in", timeout=120, progress=False)
    assert done.passed == ["01_a", "02_b"], done.failed
    kept = json.loads((out / "results.json").read_text(encoding="utf-8"))["notebooks"]
    assert kept[1]["parameters"] == {"profile": "quick", "report": "../.."}  # no machine's path
    assert "report" not in kept[0]["parameters"]


# ---------------------------------------------------------------- tables and figures


def texts(figure) -> str:
    return " | ".join(t.get_text() for t in figure.findobj(plt.Text) if t.get_text())


def page_of(*rows: Row) -> Summary:
    return Summary(list(rows), [], [])


def test_disagreements_tell_their_cause_once():
    panels = [item for item in ITEMS if item.label in ("Fig. 6 (d)", "Fig. 6 (e)")]
    both = claim(False, "blocks", note="Because.", section="Fig. 6 (d), (e)")
    first = Row(panels[0], claims=[both, claim(True, "fine")])
    second = Row(panels[1], claims=[both, claim("in part", "half", ours="x")])
    table = page_of(first, second).disagreements()
    assert table["claim"].tolist() == ["blocks", "half"]
    assert table["verdict"].tolist() == [DIFFERS, IN_PART]
    assert table["likely cause"].tolist() == ["Because.", summary.NO_CAUSE]


def test_a_notebook_that_restates_a_kept_number_does_not_count_twice():
    item = next(item for item in ITEMS if item.label == "Table 4")
    mine = Row(item, [claim(False, "a", 3, unit="%")], [claim(False, "b", 3, unit="%")])
    found = page_of(mine)
    assert [one.what for _, one in found.every()] == ["a"]
    assert mine.verdict == DIFFERS
    mine.measured = []
    assert mine.verdict == MISSING  # claims on other pictures do not measure the table
    assert [one.what for _, one in found.every()] == ["b"]


def test_a_row_shows_both_sides():
    item = ITEMS[0]
    claims = [claim(None, "open"), claim("in part", "half"), claim(True, "yes"), claim(False, "no")]
    assert [one.what for one in Row(item, claims=claims).shown] == ["yes", "no"]
    assert [one.what for one in Row(item, claims=claims[:3]).shown] == ["half", "yes"]
    assert [one.what for one in Row(item, claims=claims[:1]).shown] == ["open"]
    assert Row(item).shown == []


def test_tiles_have_words_and_colours():
    rows = [
        Row(ITEMS[0], claims=[claim(True)]),
        Row(ITEMS[1], claims=[claim(False)]),
        Row(ITEMS[2]),
    ]
    figure = draw.tiles(rows, "title")
    for words in ("✓ agrees", "1 of 1 agree", "✗ differs", "· not measured yet", "title", "Fig. 1"):
        assert words in texts(figure)
    grounds = [to_hex(patch.get_facecolor()) for patch in figure.axes[0].patches]
    assert grounds == [draw.COLOURS[word][0] for word in (AGREES, DIFFERS, MISSING)]
    with pytest.raises(BadInput, match="at least one row"):
        draw.tiles([], "")


def test_colours_can_be_read():
    def luminance(colour: str) -> float:
        rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for ground, ink in draw.COLOURS.values():
        assert (luminance(ground) + 0.05) / (luminance(ink) + 0.05) > 4.5  # WCAG 2, AA


def test_numbers_stand_at_their_values():
    table = pd.DataFrame(
        [
            ("T", "a", "%", 80.0, 82.0, AGREES),
            ("T", "b", "%", 70.0, 40.0, DIFFERS),
            ("T", "c", "%", 60.0, np.nan, MISSING),
            ("T", "d", "", 6.0, 3.0, AGREES),
            ("U", "e", "%", 50.0, np.nan, MISSING),
        ],
        columns=["item", "what", "unit", "paper", "ours", "verdict"],
    )
    figure = draw.against_the_paper(table, "title")
    [axis] = figure.axes
    scattered = [one for one in axis.collections if isinstance(one, PathCollection)]
    paper, *ours = (one.get_offsets().tolist() for one in scattered)
    assert paper == [[80, 0], [70, 1], [60, 2]]
    assert [82, 0] in ours[0] and [[40, 1]] in ours
    labels = [tick.get_text() for tick in axis.get_yticklabels()]
    assert labels == ["T:  a", "T:  b", "T:  c"]  # of U nothing is measured
    assert "T: d: paper 6, ours 3" in texts(figure) and "wait for ours: U (1)" in texts(figure)
    with pytest.raises(BadInput, match="no number"):
        draw.against_the_paper(table[:0], "")


def test_the_numbers_are_those_with_two_sides():
    item = next(item for item in ITEMS if item.label == "Fig. 5")
    claims = [
        claim(True, "both", 2.5, unit="%"),
        claim(None, "waits", None),
        claim(None, "open", 3),
        claim(True, "words", "many"),
        claim(True, "no paper", 3, paper=None),
    ]
    table = page_of(Row(item, claims=claims)).numbers()
    assert table["what"].tolist() == ["both", "waits"]
    assert table["ours"].tolist()[0] == 2.5 and math.isnan(table["ours"][1])


def test_the_page_escapes_what_it_shows():
    item = next(item for item in ITEMS if item.label == "Fig. 5")
    found = page_of(Row(item, claims=[claim(False, "<b>x</b>", "<i>", note="a & b", data="<u>")]))
    for shown in (draw.overview(found), draw.text_table(found.disagreements(), "")):
        assert "&lt;b&gt;x&lt;/b&gt;" in shown.html and "<i>" not in shown.html
        assert set(shown._repr_mimebundle_()) == {"text/html", "text/plain"}
        assert DIFFERS in repr(shown)
    table = BeautifulSoup(draw.text_table(found.disagreements(), "").html, "html.parser")
    assert table.find("td", string="✗ differs") and table.find("td", string="a & b")
    assert draw.text_table(found.disagreements()[:0], "None.").html == "<p>None.</p>"
    assert "<li>a &lt;</li>" in draw.sentences(["a <"], "").html
    assert draw.sentences([], "All well.").html == "<p>All well.</p>"
