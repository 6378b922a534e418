"""Table 2 on scores small enough to count by hand, and the command that fills it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import zfnb
from zfnb import classification as table2
from zfnb.cli import app
from zfnb.errors import BadInput, MissingData
from zfnb.evaluate import evaluate
from zfnb.models import build, describe_variant
from zfnb.weights import save_weights

# Four pictures, six classes. The first network is right about picture 0 alone, the second about 1.
FIRST = torch.tensor(
    [
        [0.5, 0.1, 0.1, 0.1, 0.1, 0.1],
        [0.4, 0.3, 0.1, 0.1, 0.05, 0.05],
        [0.1, 0.6, 0.0, 0.1, 0.1, 0.1],
        [0.3, 0.25, 0.2, 0.15, 0.06, 0.04],
    ]
)
SECOND = torch.tensor(
    [
        [0.2, 0.6, 0.05, 0.05, 0.05, 0.05],
        [0.1, 0.7, 0.05, 0.05, 0.05, 0.05],
        [0.1, 0.5, 0.1, 0.1, 0.1, 0.1],
        [0.5, 0.1, 0.1, 0.1, 0.1, 0.1],
    ]
)
TARGETS = [0, 1, 2, 5]


def test_rows_of_a_table_by_hand():
    scores = {"a": {1: FIRST}, "b": {1: SECOND, 10: FIRST}}
    rows = {
        (row.networks, row.crops): (row.top1, row.top5) for row in table2.table(scores, TARGETS)
    }
    assert rows[("a",), 1] == (75.0, 50.0)  # picture 2 has 0 for its class, 3 the least
    assert rows[("b",), 10] == (75.0, 50.0)
    assert rows[("b",), 1][0] == 75.0
    # Means: picture 0: 0.35 and 0.35 for classes 0 and 1, a tie, which counts as wrong.
    assert rows[("a", "b"), 1][0] == 75.0
    assert (("a", "b"), 10) not in rows  # one of the two was not measured with ten crops
    assert [row.name for row in table2.table(scores, TARGETS)] == ["a", "b", "b", "a + b"]


def test_an_ensemble_can_be_right_where_no_member_is():
    """Each is misled to a class of its own; their mean is 0.4, 0.3, 0.3."""
    scores = {
        "a": {1: torch.tensor([[0.4, 0.6, 0.0, 0.0, 0.0, 0.0]])},
        "b": {1: torch.tensor([[0.4, 0.0, 0.6, 0.0, 0.0, 0.0]])},
    }
    rows = {row.networks: row.top1 for row in table2.table(scores, [0])}
    assert rows == {("a",): 100.0, ("b",): 100.0, ("a", "b"): 0.0}


def test_class_errors_and_confusion_by_hand():
    errors = table2.class_errors(FIRST, TARGETS)
    np.testing.assert_array_equal(errors[[0, 1, 2, 5]], [0, 100, 100, 100])
    assert np.isnan(errors[[3, 4]]).all()
    matrix = table2.confusion(FIRST, TARGETS)
    assert matrix.sum() == 4 and matrix[0, 0] == matrix[1, 0] == matrix[2, 1] == matrix[5, 0] == 1


def test_most_confused_adds_both_ways_and_names_the_mistaken_first():
    matrix = np.array([[9, 1, 0], [4, 9, 2], [0, 1, 9]])
    assert table2.most_confused(matrix) == [(1, 0, 5), (1, 2, 3)]
    assert table2.most_confused(matrix, 1) == [(1, 0, 5)]
    assert table2.most_confused(np.eye(3, dtype=int)) == []


def test_hardest_are_wrong_and_surest():
    assert table2.hardest(FIRST, TARGETS) == [2, 3, 1]  # 0.0, 0.04, 0.3 for their classes
    assert table2.hardest(FIRST, TARGETS, 1) == [2]
    same = torch.tensor([[0.0, 0.6, 0.4], [0.0, 1.0, 0.0]])
    assert table2.hardest(same, [0, 0]) == [1, 0]


def test_most_probable_by_name():
    named = table2.most_probable(FIRST[:1], [("n", c) for c in "uvwxyz"], 1)
    assert named == [[("u", 0.5)]]
    assert table2.most_probable(FIRST[2:3], None, 2)[0][0][0] == "1"
    assert len(table2.most_probable(FIRST, None, 99)[0]) == 6


def test_the_published_table():
    rows = {row["model"]: row for row in table2.published()}
    assert len(rows) == 10
    assert rows["1 convnet as in Fig. 3"]["val_top5"] == 16.5
    assert rows["6 convnets, (a) and (b)"]["test_top5"] == 14.8
    assert sum(row["ours"] for row in rows.values()) == 5
    assert rows["Gunji et al. (2012)"]["val_top1"] is None


@pytest.fixture
def net():
    torch.manual_seed(0)
    names = zfnb.load_dataset("stamps", "test").classes
    classes = [(f"n{i:08d}", name) for i, name in enumerate(names)]
    return build(describe_variant("zfnet", width=0.0625, input_size=64), 10, classes=classes)


def test_things_that_a_network_knows():
    classes = [("n02002724", "stork"), ("n04285008", "sports car"), ("n07747607", "orange")]
    for dataset in (
        zfnb.load_dataset("stamps", "all", others=True),
        zfnb.load_dataset("scenes", "all", others=True, per_stamp=2),
    ):
        items, targets = table2.known_things(dataset, classes)
        each = len(items) // (2 if dataset.name == "scenes" else 1)
        assert each == 4 and sorted(set(targets)) == [1, 2]
        for item, target in zip(items, targets, strict=True):
            assert ("orange" if target == 2 else "car") in dataset.key(item)


def test_classes_must_be_those_of_the_dataset(net):
    stamps = zfnb.load_dataset("stamps", "test")
    table2.check_classes(net, stamps)  # by their names; stamps have no synsets to compare
    other = build(describe_variant("zfnet", width=0.0625, input_size=64), 7)
    with pytest.raises(BadInput, match="7 classes, which are not the 10"):
        table2.check_classes(other, stamps)
    trunk = zfnb.load_model("torchvision-alexnet", weights="imagenet-trunk")
    with pytest.raises(BadInput, match="no classifier"):
        table2.check_classes(trunk, stamps)
    own = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10))
    adopted = zfnb.load_model(own, input_size=64)
    table2.check_classes(adopted, stamps)
    scores = table2.measure({"own": adopted}, stamps, (1,))["own"][1]
    assert scores.shape == (len(stamps), 10)
    stamps.synsets = [synset for synset, _ in net.classes]
    table2.check_classes(net, stamps)
    stamps.synsets = stamps.synsets[::-1]
    with pytest.raises(BadInput, match="not the 10 of stamps"):
        table2.check_classes(net, stamps)


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        (("n1", "cat"), ("n1", "tomcat"), True),
        (("n1", "cat"), ("n2", "cat"), False),  # two things of one name
        (("", "Snow leopard"), (None, "snow_leopard"), True),
        (("n1", "cat"), (None, "cat"), True),
        (("", "cat"), ("n1", "cat"), True),
        (("n1", "cat"), (None, "n1"), True),  # folders that are named by their synsets
        (("n1", "cat"), (None, "dog"), False),
        (("", "cat"), (None, "dog"), False),
        (("", ""), (None, ""), False),
    ],
)
def test_classes_are_compared_by_synset_or_name(ours, theirs, same):
    net = SimpleNamespace(name="net", num_classes=1, classes=[ours])
    dataset = SimpleNamespace(name="data", classes=[theirs[1]], synsets=[theirs[0]])
    if same:
        table2.check_classes(net, dataset)
        return
    with pytest.raises(BadInput, match="net knows 1 classes, which are not the 1 of data"):
        table2.check_classes(net, dataset)


def test_measured_rows_are_those_of_the_evaluation(net):
    stamps = zfnb.load_dataset("stamps", "test")
    scores = table2.measure({"net": net}, stamps, (1, 10))
    for row in table2.table(scores, stamps.targets):
        expected = evaluate(net, stamps, row.crops)
        assert (row.top1, row.top5) == pytest.approx((expected[1], expected[5]))


def test_the_command_keeps_what_it_prints(net, tmp_path):
    weights = tmp_path / "net.safetensors"
    save_weights(net, weights)
    results = tmp_path / "table2.json"
    done = CliRunner().invoke(
        app,
        [
            *("evaluate", f"zfnet:{weights}", "--data", "stamps", "--split", "test"),
            *("--crops", "1", "--limit", "20", "--results", str(results)),
        ],
    )
    assert done.exit_code == 0, done.output
    kept = table2.kept(results)
    [row] = kept["rows"]
    assert f"{row['top1']:.2f}" in done.output
    assert kept["data"] == {"name": "stamps", "split": "test", "pictures": 20}
    assert len(kept["details"][row["networks"][0]]["class_errors"]) == 10
    assert kept["classes"][3] == list(net.classes[3])
    assert "--limit 20" in kept["measured"][row["measured"]]["command"]


def test_the_command_measures_networks_and_their_ensemble(tmp_path):
    dataset = zfnb.load_dataset("stamps", "test")
    names, nets = [], []
    for seed in (1, 2):
        torch.manual_seed(seed)
        path = tmp_path / f"{seed}.safetensors"
        save_weights(build(describe_variant("zfnet", width=0.0625, input_size=64), 10), path)
        names.append(f"zfnet:{path}")
        nets.append(zfnb.load_model("zfnet", weights=path))
    results = tmp_path / "table2.json"
    words = ["evaluate", *names, "--data", "stamps", "--split", "test", "--crops", "1"]
    done = CliRunner().invoke(app, [*words, "--results", str(results)])
    assert done.exit_code == 0, done.output
    rows = table2.kept_rows(table2.kept(results))
    assert [row.networks for row in rows] == [(names[0],), (names[1],), tuple(names)]
    for row, members in zip(rows, (nets[:1], nets[1:], nets), strict=True):
        errors = evaluate(members, dataset)
        assert (row.top1, row.top5) == pytest.approx((errors[1], errors[5]), abs=1e-3)
        assert f"{errors[1]:.2f}" in done.output


def rows_of(top1: dict, pictures: int = 4) -> dict:
    """A record with given top-1 errors: {(networks, crops): error}."""
    rows = [table2.Row(networks, crops, value, 0.0) for (networks, crops), value in top1.items()]
    crops = {n for _, n in top1}
    scores = {name: dict.fromkeys(crops, FIRST) for networks, _ in top1 for name in networks}
    data = {"name": "test", "pictures": pictures}
    return table2.record(
        scores, TARGETS, rows, data=data, classes=None, measured={"command": f"{top1}"}
    )


def test_records_are_merged_row_by_row():
    before = rows_of({(("a",), 1): 10.0, (("b",), 1): 20.0})
    new = rows_of({(("b",), 1): 21.0, (("a", "b"), 1): 5.0, (("b",), 10): 19.0})
    before["details"]["b"] = "of other weights"
    both = table2.merged(before, new)
    found = {(tuple(r["networks"]), r["crops"]): (r["top1"], r["measured"]) for r in both["rows"]}
    assert found == {
        (("a",), 1): (10.0, 0),
        (("b",), 1): (21.0, 1),
        (("b",), 10): (19.0, 1),
        (("a", "b"), 1): (5.0, 1),
    }
    assert len(both["measured"]) == 2 and set(both["details"]) == {"a", "b"}
    assert both["details"]["b"]["class_errors"] == new["details"]["b"]["class_errors"]
    ten = rows_of({(("b",), 10): 30.0})
    ten["details"]["b"] = "of ten crops"
    assert table2.merged(both, ten)["details"]["b"] == both["details"]["b"]
    with pytest.raises(BadInput, match="other pictures"):
        table2.merged(before, rows_of({(("b",), 1): 21.0}, pictures=5))


def test_a_run_that_no_row_comes_from_any_more_goes():
    old = rows_of({(("a",), 1): 10.0})
    both = table2.merged(old, rows_of({(("b",), 1): 20.0}))
    again = table2.merged(both, rows_of({(("a",), 1): 11.0}))
    commands = [run["command"] for run in again["measured"]]
    assert len(commands) == 2 and old["measured"][0]["command"] not in commands
    assert {r["networks"][0]: commands[r["measured"]].count("11.0") for r in again["rows"]} == {
        "a": 1,
        "b": 0,
    }


def test_an_ensemble_stands_once_whatever_the_order_of_its_members():
    before = rows_of({(("a", "z"), 1): 10.0, (("a", "b"), 1): 20.0})
    both = table2.merged(before, rows_of({(("z", "a"), 1): 11.0}))
    rows = table2.kept_rows(both)
    assert len(rows) == 2 and table2.row_of(rows, "a", "z").top1 == 11.0


def scores_of(right: list[bool]) -> torch.Tensor:
    """(N, 6) scores for class 0: of the wrong ones the first class is the last."""
    wrong = torch.tensor([0.0, 0.5, 0.2, 0.1, 0.1, 0.1])
    return torch.stack([torch.eye(6)[0] if yes else wrong for yes in right])


def paired() -> dict:
    """Ten pictures: both right on 4, the first alone wrong on 1, the second alone on 3."""
    first = scores_of([True] * 4 + [False] + [True] * 3 + [False] * 2)
    second = scores_of([True] * 5 + [False] * 5)
    scores = {"a": {1: first}, "b": {1: second}}
    rows = table2.table(scores, [0] * 10)
    data = {"name": "test", "pictures": 10}
    return table2.record(scores, [0] * 10, rows, data=data, classes=None, measured={})


def test_disagreements_by_hand():
    kept = json.loads(json.dumps(paired()))
    [entry] = [e for e in kept["disagreements"] if e["rows"] == [[["a"], 1], [["b"], 1]]]
    assert entry["top1"] == entry["top5"] == [1, 3]
    assert len(kept["disagreements"]) == 3  # with their mean


def test_a_gain_is_judged_picture_by_picture_where_the_file_allows():
    kept = paired()
    one, other, _ = rows = table2.kept_rows(kept)
    assert [row.top1 for row in rows[:2]] == pytest.approx([30, 50])
    gain = table2.gain(kept, one, other)
    assert gain.points == pytest.approx(20) and gain.paired
    differences = np.array([0] * 4 + [-1] + [1] * 3 + [0] * 2)  # wrong: second minus first
    assert gain.error == pytest.approx(100 * differences.std() / 10**0.5)
    back = table2.gain(kept, other, one)
    assert (back.points, back.error) == pytest.approx((-20, gain.error))
    alone = table2.gain({**kept, "disagreements": []}, one, other)
    assert alone.error == pytest.approx(100 * ((0.21 + 0.25) / 10) ** 0.5) and not alone.paired
    assert alone.words != gain.words and f"{gain.error:.2f}" in gain.words


@pytest.mark.parametrize(
    ("points", "expected"), [(2.1, True), (1.9, "within chance"), (-1.9, "within chance"),
                             (-2.1, False), (0.0, "within chance")],
)  # fmt: skip
def test_a_gain_agrees_above_two_standard_errors(points, expected):
    assert table2.Gain(points, 1.0, True).agrees == expected
    assert table2.Gain(0.0, 0.0, True).agrees == "within chance"


def test_merging_drops_disagreements_of_rows_that_were_measured_anew():
    before, new = paired(), rows_of({(("b",), 1): 21.0, (("c",), 1): 20.0}, pictures=10)
    before["data"] = new["data"]
    both = table2.merged(before, new)
    found = [entry["rows"] for entry in both["disagreements"]]
    assert found == [[[["a"], 1], [["a", "b"], 1]], [[["b"], 1], [["c"], 1]]]
    del before["disagreements"]  # an earlier file
    assert len(table2.merged(before, new)["disagreements"]) == 1


def test_the_best_member_of_an_ensemble():
    rows = [table2.Row(("a",), 1, 3.0, 0.0), table2.Row(("b",), 1, 2.0, 0.0)]
    rows.append(table2.Row(("b",), 10, 1.0, 0.0))
    assert table2.best_member(rows, table2.Row(("a", "b"), 1, 1.0, 0.0)) == rows[1]
    assert table2.best_member(rows, table2.Row(("a", "b"), 10, 1.0, 0.0)) is None


def test_a_class_without_pictures_is_kept_as_nothing():
    kept = rows_of({(("a",), 1): 75.0})
    assert kept["details"]["a"]["class_errors"][3] is None


def test_the_command_adds_to_what_is_there(net, tmp_path):
    weights, results = tmp_path / "net.safetensors", tmp_path / "table2.json"
    save_weights(net, weights)
    words = ["evaluate", f"zfnet:{weights}", "--data", "stamps", "--split", "test"]
    words += ["--limit", "8", "--results", str(results)]
    for crops, add in (("1", []), ("10", ["--add"])):
        done = CliRunner().invoke(app, [*words, "--crops", crops, *add])
        assert done.exit_code == 0, done.output
    assert [row.crops for row in table2.kept_rows(table2.kept(results))] == [1, 10]


def test_rows_that_came_in_meanwhile_are_kept(net, tmp_path, monkeypatch):
    """Two `--add` side by side: the one that ends last does not take the other's rows away."""
    weights, results, real = tmp_path / "net.safetensors", tmp_path / "table2.json", table2.measure
    save_weights(net, weights)
    words = ["evaluate", f"zfnet:{weights}", "--data", "stamps", "--split", "test"]
    words += ["--limit", "8", "--results", str(results)]
    assert CliRunner().invoke(app, [*words, "--crops", "1"]).exit_code == 0
    again = [*words, "--add", "--crops"]

    def slow(*positional, **named):
        monkeypatch.setattr(table2, "measure", real)
        assert CliRunner().invoke(app, [*again, "10"]).exit_code == 0
        return real(*positional, **named)

    monkeypatch.setattr(table2, "measure", slow)
    assert CliRunner().invoke(app, [*again, "1"]).exit_code == 0
    assert [row.crops for row in table2.kept_rows(table2.kept(results))] == [1, 10]


def test_the_command_refuses_before_it_measures(net, tmp_path, monkeypatch):
    weights, results = tmp_path / "net.safetensors", tmp_path / "table2.json"
    save_weights(net, weights)
    words = ["evaluate", f"zfnet:{weights}", "--data", "stamps", "--split", "test"]
    words += ["--crops", "1", "--results", str(results)]
    assert CliRunner().invoke(app, [*words, "--limit", "8"]).exit_code == 0
    content = results.read_text()
    monkeypatch.setattr(table2, "measure", None)
    for more, match in (
        (["--limit", "8"], "add to it with --add"),
        (["--limit", "9", "--add"], "errors on other pictures"),
    ):
        error = CliRunner().invoke(app, [*words, *more]).exception
        assert isinstance(error, BadInput) and match in str(error)
    assert results.read_text() == content
    results.write_text("{")
    error = CliRunner().invoke(app, [*words, "--limit", "8", "--add"]).exception
    assert isinstance(error, BadInput) and "damaged" in str(error)


def test_refusals_of_the_command(net, tmp_path):
    run = CliRunner().invoke
    done = run(app, ["evaluate", "zfnet", "--data", "stamps", "--split", "test"])
    assert isinstance(done.exception, BadInput) and "NETWORK:WEIGHTS" in str(done.exception)
    with pytest.raises(MissingData, match="zfnb evaluate"):
        table2.kept(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    with pytest.raises(BadInput, match="damaged"):
        table2.kept(tmp_path / "bad.json")
