"""Transfer: features, draws and classifiers together, on small networks and made-up features."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score
from sklearn.svm import SVC
from typer.testing import CliRunner

import zfnb
from zfnb import transfer, transfer_cli, transfer_setups, transfer_tables
from zfnb.data.folders import folder_dataset
from zfnb.data.voc import CLASSES as VOC_CLASSES
from zfnb.errors import BadInput, UnknownName
from zfnb.feature_cache import extract
from zfnb.fine_tuning import LR
from zfnb.gram import gram
from zfnb.linear_classifiers import UNCHOSEN, choose
from zfnb.metrics import average_precision, mean_per_class_accuracy
from zfnb.models import build, describe_variant
from zfnb.protocols import Draw, draw, draws
from zfnb.recipes import lasting, recipe_named
from zfnb.training import Settings
from zfnb.transfer import (
    accuracies,
    by_count,
    classify,
    compare_layers,
    dot_products,
    layer_features,
    layers_to_compare,
    mean_and_spread,
    several_objects,
    train_network,
)
from zfnb.transfer_curves import kept_layers
from zfnb.transfer_tables import choices, fig9, kept, measured, published, table4, table7, with_run
from zfnb.weights import fingerprint, save_weights


def vectors(n=160, d=60, classes=4, apart=0.4):
    rng = np.random.default_rng(0)
    targets = rng.permutation(np.arange(n) % classes)
    x = rng.normal(size=(n, d)) + apart * rng.normal(size=(classes, d))[targets]
    return x, targets


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ZFNB_CACHE", str(tmp_path / "zfnb"))


@pytest.fixture
def net():
    torch.manual_seed(4)
    return build(describe_variant("zfnet", input_size=64, width=1 / 16), num_classes=5)


@pytest.fixture
def dataset(tmp_path):
    """Three classes of 14 pictures: noise on red, green or blue."""
    rng = np.random.default_rng(0)
    for i in range(42):
        path = tmp_path / "data" / "rgb"[i % 3] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 200, (70, 70, 3), dtype=np.uint8)
        pixels[..., i % 3] += 50
        Image.fromarray(pixels).save(path)
    return folder_dataset(tmp_path / "data")


# ---------------------------------------------------------------- one split


def test_a_result_is_scikit_learns():
    x, targets = vectors()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    drawn = draw(targets, 12, test=20)
    result, model = classify(gram(x), targets, drawn, grid=(1.0,), tolerance=1e-6)
    reference = SVC(C=1.0, kernel="linear", tol=1e-8, break_ties=True)
    predicted = reference.fit(unit[drawn.train], targets[drawn.train]).predict(unit[drawn.test])
    assert (result.predicted != predicted).sum() <= 1  # one just on the border
    wanted = 100 * mean_per_class_accuracy(result.predicted, targets[drawn.test])
    assert result.accuracy == pytest.approx(wanted) and 50 < wanted < 100
    assert np.nanmean(result.per_class) == pytest.approx(result.accuracy)
    assert (result.train, result.test) == (48, 80) and result.kind == "svm"
    assert result.regularisation == model.regularisation == 1.0


def test_test_pictures_have_no_part_in_training():
    """Whatever is at the test pictures' places, the classifier is the same."""
    x, targets = vectors()
    drawn = draw(targets, 12, test=20)
    other, wrong = x.copy(), targets.copy()
    other[drawn.test] = np.random.default_rng(5).normal(size=(80, 60))
    wrong[drawn.test] = 3 - wrong[drawn.test]
    for kind in ("svm", "softmax"):
        first = classify(gram(x), targets, drawn, kind)[1]
        second = classify(gram(other), wrong, drawn, kind)[1]
        inner = gram(x)[:, drawn.train]
        np.testing.assert_allclose(first.scores(inner), second.scores(inner), rtol=1e-5, atol=1e-5)
        assert first.tried == second.tried


def test_shuffled_targets_are_at_chance():
    x, targets = vectors(400)
    mixed = np.random.default_rng(3).permutation(targets)
    results = accuracies(gram(x), mixed, draws(mixed, (20,), splits=3))
    assert mean_and_spread(results)[0] == pytest.approx(25, abs=6)
    apart = accuracies(gram(x), targets, draws(targets, (20,), splits=3))
    assert mean_and_spread(apart)[0] > 70


def test_accuracies_of_all_draws():
    x, targets = vectors()
    drawn = draws(targets, (2, 10), splits=3, share_test=True)
    seen = []
    results = accuracies(gram(x), targets, drawn, on_result=seen.append)
    assert [(r.count, r.split) for r in results] == [(c, s) for c in (2, 10) for s in range(3)]
    assert seen == results
    means = by_count(results)
    assert list(means) == [2, 10] and means[10][0] > means[2][0]
    values = [r.accuracy for r in results[3:]]
    assert means[10] == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    rest = accuracies(gram(x), targets, drawn, skip=lambda one: one.count == 2 or one.split < 2)
    assert [(r.count, r.split) for r in rest] == [(10, 2)]
    assert rest[0].accuracy == results[-1].accuracy


def test_groups_reach_the_choice(net, dataset, tmp_path):
    """Twins are drawn together; C is chosen on others than those that were learned from."""
    x, targets = vectors(60, apart=0.0)
    x, targets, groups = np.repeat(x, 2, 0), np.repeat(targets, 2), np.repeat(np.arange(60), 2)
    drawn, grid = draws(targets, (8,), splits=1, groups=groups), (1.0, 1000.0)
    (one,) = drawn[8]
    inner, mine = gram(x)[np.ix_(one.train, one.train)], groups[one.train]
    wanted = choose(inner, targets[one.train], grid=grid, groups=mine).tried
    assert wanted != choose(inner, targets[one.train], grid=grid).tried
    (result,) = accuracies(gram(x), targets, drawn, grid=grid, groups=groups)
    assert result.tried == {c: 100 * value for c, value in wanted.items()}
    with pytest.raises(BadInput, match="120 targets but 9 groups"):
        classify(gram(x), targets, one, groups=groups[:9])
    features = layer_features(net, dataset, [1], folder=tmp_path / "cache")
    pairs = np.arange(42) // 2  # two pictures of a colour
    drawn = draws(dataset.targets, (2,), splits=1, groups=pairs)
    tried = [
        compare_layers(features, dataset.targets, drawn, kinds=("svm",), groups=given)
        for given in (pairs, dataset.targets)
    ]
    assert len(tried[0]["svm", 1][0].tried) == 3
    assert tried[1]["svm", 1][0].tried == {}  # one group a class: nothing to hold out


def test_spread_of_one_is_not_known():
    mean, spread = mean_and_spread([80.0])
    assert mean == 80 and np.isnan(spread)
    with pytest.raises(BadInput, match="no result"):
        mean_and_spread([])


def test_sizes_must_fit():
    x, targets = vectors()
    with pytest.raises(BadInput, match=r"\(160, 160\)"):
        classify(gram(x)[:9], targets, draw(targets, 5))
    with pytest.raises(UnknownName, match="svm, softmax"):
        classify(gram(x), targets, draw(targets, 5), "tree")


# ---------------------------------------------------------------- networks


def test_dot_products_are_kept_and_mended(net, dataset, tmp_path):
    features = extract(net, dataset, ["conv3"], tmp_path / "cache")["conv3"]
    x = features.values.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    first = np.array(dot_products(features))
    np.testing.assert_allclose(first, x @ x.T, atol=1e-5)
    path = features.path.with_name("conv3-products.npy")
    before = path.stat().st_mtime_ns
    assert np.array_equal(dot_products(features), first) and path.stat().st_mtime_ns == before
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 0xFF
    path.write_bytes(raw)
    with pytest.warns(UserWarning, match="damaged; made again"):
        assert np.array_equal(dot_products(features), first)
    path.write_bytes(b"short")
    with pytest.warns(UserWarning, match="damaged"):
        assert np.array_equal(dot_products(features), first)
    with pytest.warns(UserWarning, match="of other features"):
        dot_products(replace(features, checksum="another"))


def test_layers_are_compared(net, dataset, tmp_path):
    numbers = layers_to_compare(net)
    assert numbers == [1, 2, 3, 4, 5, 7]
    features = layer_features(net, dataset, numbers, folder=tmp_path / "cache")
    assert features[1].layer == "norm1" and features[5].layer == "pool5"
    drawn = draws(dataset.targets, (4,), splits=2)
    seen = []
    found = compare_layers(
        features, dataset.targets, drawn, on_result=lambda n, r: seen.append((r.kind, n, r.split))
    )
    kinds = [("svm", n) for n in (1, 2, 3, 4)]
    kinds += [(kind, n) for n in (5, 7) for kind in ("svm", "softmax")]
    assert list(found) == kinds
    assert seen == [(kind, n, split) for kind, n in kinds for split in (0, 1)]
    assert mean_and_spread(found["svm", 1])[0] > 90  # colours, which layer 1 tells apart


def test_a_drawn_picture_without_features_is_refused(net, dataset, tmp_path):
    drawn = draws(dataset.targets, [4], splits=1, test=2)
    found = transfer.layer_features(net, dataset, [1], folder=tmp_path / "cache")
    assert compare_layers(found, dataset.targets, {}) == {("svm", 1): []}
    readable = np.ones(len(dataset), dtype=bool)
    readable[drawn[4][0].test[0]] = False
    found[1] = replace(found[1], readable=readable)
    with pytest.raises(BadInput, match="1 of the pictures drawn could not be read"):
        compare_layers(found, dataset.targets, drawn)


def test_the_trunk_has_no_layer_7(trunk):
    assert layers_to_compare(trunk) == [1, 2, 3, 4, 5]


def test_the_trunk_beats_chance_on_stamps(trunk, tmp_path):
    stamps = zfnb.load_dataset("stamps", "test")
    features = layer_features(trunk, stamps, [5], folder=tmp_path)
    results = accuracies(
        dot_products(features[5]), stamps.targets, draws(stamps.targets, (3,), splits=2)
    )
    assert mean_and_spread(results)[0] > 35  # of ten classes


def test_not_pretrained(dataset, tmp_path):
    """Trained on the draw's training pictures alone; a second call measures what is there."""
    recipe = replace(recipe_named("modern"), epochs=2, batch=4, cool_down=1.0, warm_up=0.1)
    settings = Settings("zfnet", "folder", recipe, input_size=48, width=1 / 32)
    drawn = draw(dataset.targets, 8)
    steps = []
    options = {"progress": False, "device": "cpu"}
    result = train_network(
        dataset, drawn, settings, tmp_path / "runs", on_step=steps.append, **options
    )
    assert len(steps) == 2 * (24 // 4)
    assert result.kind == "not pretrained" and (result.train, result.test) == (24, 18)
    (home,) = (tmp_path / "runs").glob("zfnet-8-split0-*")
    run = json.loads((home / "run.json").read_text())
    assert run["data"]["training_pictures"] == 24
    steps.clear()
    again = train_network(
        dataset, drawn, settings, tmp_path / "runs", on_step=steps.append, **options
    )
    assert not steps and np.array_equal(again.predicted, result.predicted)
    log = home / "log.jsonl"
    lines = [json.loads(text) for text in log.read_text().splitlines()]
    trained = sum(line["seconds"] for line in lines if line["kind"] == "epoch")
    assert result.seconds > trained and again.seconds > trained
    slow = [{**line, "seconds": 1000} for line in lines if line["kind"] == "epoch"]
    log.write_text("".join(json.dumps(line) + "\n" for line in slow))
    later = train_network(dataset, drawn, settings, tmp_path / "runs", **options)
    assert 2000 < later.seconds < 3000  # both epochs count, though this call trained neither
    other = replace(settings, input_size=64)
    with pytest.raises(BadInput, match="input_size"):
        train_network(dataset, drawn, other, tmp_path / "runs", **options)


def test_unreadable_pictures_stop_a_training_before_it_begins(dataset, tmp_path):
    drawn = draw(dataset.targets, 8)
    dataset.path(drawn.test[4]).write_bytes(b"no picture")
    settings = Settings("zfnet", "folder", recipe_named("modern"), input_size=48, width=1 / 32)
    steps, options = [], {"device": "cpu", "progress": False}
    match = "1 of the 18 pictures to be tested cannot be read, e.g. "
    with pytest.raises(BadInput, match=match), pytest.warns(UserWarning, match="1 of 42"):
        train_network(dataset, drawn, settings, tmp_path / "runs", on_step=steps.append, **options)
    assert not steps and not (tmp_path / "runs").exists()


def test_fine_tuned(net, dataset, tmp_path):
    """In a folder of its own beside the one from random weights; it starts from what it knows."""
    weights = tmp_path / "small.safetensors"
    save_weights(net, weights)
    recipe = replace(lasting(recipe_named("modern"), 1), batch=8, lr=1e-9)
    bare = Settings("zfnet", "folder", recipe, input_size=64, width=1 / 16)
    drawn, options = draw(dataset.targets, 8), {"progress": False, "device": "cpu"}
    result = train_network(
        dataset, drawn, replace(bare, weights=weights), tmp_path / "runs", **options
    )
    assert result.kind == "fine-tuned" and (result.train, result.test) == (24, 18)
    (home,) = (tmp_path / "runs").glob("zfnet-8-split0-*-from-small")
    tuned = zfnb.load_model("zfnet", weights=home / "zfnet.safetensors")
    assert tuned.shapes["fc8"] == (3,)
    torch.testing.assert_close(  # at so small a rate nothing moves; the file has float16
        tuned.conv3.filter.weight, net.conv3.filter.weight, rtol=1e-3, atol=1e-4
    )
    assert train_network(dataset, drawn, bare, tmp_path / "runs", **options).kind == (
        "not pretrained"
    )
    assert len(list((tmp_path / "runs").iterdir())) == 2
    steps, started = [], replace(bare, weights=weights)
    options["on_step"] = steps.append
    again = train_network(dataset, drawn, started, tmp_path / "runs", **options)
    assert not steps and np.array_equal(again.predicted, result.predicted)
    with torch.no_grad():
        net.conv1.filter.weight.mul_(1.5)
    save_weights(net, weights)  # the name is the same, but what it starts from is not
    with pytest.raises(BadInput, match="started with weights whose checksum is"):
        train_network(dataset, drawn, started, tmp_path / "runs", **options)


def test_a_trained_network_is_measured_on_the_device_asked_for(net, dataset, tmp_path, monkeypatch):
    def trained(settings, learn, val_set, home, **options):
        save_weights(net, home / "zfnet.safetensors")
        (home / "log.jsonl").write_text("")

    def chances(net, part, **options):
        places.add(next(net.parameters()).device.type)
        return torch.zeros(len(part), 3)

    places, settings = set(), Settings("zfnet", "folder", recipe_named("modern"), input_size=64)
    monkeypatch.setattr(transfer, "train", trained)
    monkeypatch.setattr(transfer, "probabilities", chances)
    monkeypatch.setattr(transfer, "choose_device", torch.device)
    train_network(dataset, draw(dataset.targets, 8), settings, tmp_path / "runs", device="meta")
    assert places == {"meta"}


# ---------------------------------------------------------------- several objects


def voc_like(n=240, classes=4):
    """Pictures of one to three objects; some of them difficult."""
    rng = np.random.default_rng(0)
    labels = np.where(rng.random((n, classes)) < 0.3, 1, -1)
    labels[np.arange(n), rng.integers(0, classes, n)] = 1
    x = rng.normal(size=(n, 50)) + 0.8 * (labels == 1) @ rng.normal(size=(classes, 50))
    labels[rng.random((n, classes)) < 0.05] = 0
    return gram(x), labels, x


def test_an_svm_for_each_class_of_voc():
    products, labels, x = voc_like()
    train, test = np.arange(150), np.arange(150, 240)
    found = several_objects(products, labels, train, test, "svm", grid=(1.0,), average="plain")
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    for target in range(4):
        say, told = labels[train, target] != 0, labels[test, target] != 0
        model = SVC(C=1.0, kernel="linear", tol=1e-6)
        model.fit(unit[train[say]], labels[train[say], target])
        wanted = average_precision_score(
            labels[test[told], target] == 1, model.decision_function(unit[test[told]])
        )
        assert found.average_precision[target] == pytest.approx(100 * wanted, abs=1.0)
    assert found.mean == pytest.approx(found.average_precision.mean())


@pytest.mark.parametrize("kind", ["svm", "softmax"])
def test_voc_is_better_than_chance_and_chooses_inside(kind):
    products, labels, _ = voc_like()
    train, test = np.arange(150), np.arange(150, 240)
    found = several_objects(products, labels, train, test, kind)
    chance = np.mean(
        [
            100 * average_precision(np.random.default_rng(1).random(90), labels[test, c])
            for c in range(4)
        ]
    )
    assert found.mean > chance + 15 and len(found.tried) == 3
    hidden = labels.copy()
    hidden[test] = -hidden[test]
    assert several_objects(products, hidden, train, test, kind).tried == found.tried


def test_voc_takes_the_usual_c_of_equal_ones():
    """Classes far apart are ranked without an error by any C."""
    labels = np.where(np.arange(60)[:, None] % 3 == np.arange(3), 1, -1)
    x = np.random.default_rng(0).normal(size=(60, 20)) + 20 * (labels == 1) @ np.eye(3, 20)
    found = several_objects(gram(x), labels, range(40), range(40, 60), "svm", grid=(1, 10, 100))
    assert found.tried == {1: 100, 10: 100, 100: 100} and found.regularisation == UNCHOSEN["svm"]


def test_voc_without_a_choice_says_so():
    """The one picture that holds the classes is held out: no C can be measured, so no entry."""
    products, labels, _ = voc_like()
    held = np.random.default_rng(0).permutation(np.arange(9))[:3]
    labels[:9] = -1
    labels[held[0]], labels[150:] = 1, 1
    found = several_objects(products, labels, range(9), range(140, 240), "svm")
    assert found.tried == {} and found.regularisation == UNCHOSEN["svm"]


def test_a_class_without_pictures_has_no_average_precision():
    products, labels, _ = voc_like()
    labels[:150, 2] = -1
    for kind in ("svm", "softmax"):
        found = several_objects(products, labels, range(150), range(150, 240), kind, grid=(1.0,))
        assert np.isnan(found.average_precision).tolist() == [False, False, True, False]
        assert found.mean == pytest.approx(np.nanmean(found.average_precision))
    labels[:150] = -1
    with pytest.raises(BadInput, match="No class has a training picture"):
        several_objects(products, labels, range(150), range(150, 240))
    with pytest.raises(BadInput, match="The grid of regularisations is empty"):
        several_objects(products, labels, range(150), range(150, 240), grid=[])
    with pytest.raises(BadInput, match="Labels must be"):
        several_objects(products, labels[:, 0], range(9), range(9))


# ---------------------------------------------------------------- tables


def run_of(name="net", data="caltech101", rows=()):
    return {"network": name, "weights": "w", "data": {"name": data}, "rows": list(rows)}


def row(accuracy, split=0, layer=5, classifier="svm", count=30):
    return {"layer": layer, "classifier": classifier, "count": count, "split": split,
            "accuracy": accuracy}  # fmt: skip


def test_the_published_tables():
    assert published(4).query("ours == 'yes' and count == 30")["accuracy"].tolist() == [46.5, 86.5]
    assert len(published(5)) == 16 and len(published(7)) == 16
    sixth = published(6).set_index("class")
    assert sixth.loc["mean", "ours"] == 79.0
    assert sixth["ours"][:-1].mean() == pytest.approx(79.0, abs=0.05)
    ahead = sixth["ours"][:-1] > sixth[["sande", "yan"]][:-1].max(axis=1)
    assert ahead.sum() == 5  # "classes won"
    with pytest.raises(UnknownName, match="4, 5, 6, 7"):
        published(3)


def test_table7_beside_the_papers():
    rows = [row(80), row(84, 1), row(50, layer=1), row(70, layer=6)]
    table = table7({"name": "table7", "runs": [run_of(rows=rows)]})
    line = table.loc[("svm", 5)]
    assert line["paper"] == 86.2 and line["net (w)"] == 82
    assert line["net (w) ±"] == pytest.approx(np.std([80, 84], ddof=1))
    assert np.isnan(table.loc[("svm", 1), "net (w) ±"]) and table.loc[("svm", 6), "net (w)"] == 70
    assert np.isnan(table.loc[("softmax", 7), "net (w)"])
    assert len(table7({"runs": []})) == 8 and list(table7({"runs": []})) == [
        "paper",
        "paper_spread",
    ]
    with pytest.raises(UnknownName, match="caltech256"):
        table7({"runs": []}, "voc2012")


def test_tables_in_words():
    table = table7(
        {"name": "table7", "runs": [run_of(rows=[row(80), row(84, 1), row(70, layer=6)])]}
    )
    text = transfer_tables.with_spreads(table)
    assert list(text) == ["paper", "net (w)"]
    assert text.loc[("svm", 5)].tolist() == ["86.2 ± 0.8", "82.0 ± 2.8"]
    assert text.loc[("svm", 6)].tolist() == ["–", "70.0"]  # one split, and not in the paper
    assert text.loc[("softmax", 7), "net (w)"] == "–"
    assert list(transfer_tables.with_spreads(table7({"runs": []}))) == ["paper"]


def test_only_the_papers_number_of_training_pictures_counts():
    rows = [row(80), row(40, count=15), row(20, count=60)]
    for data, count, wanted in (("caltech101", 30, 80), ("caltech256", 60, 20)):
        content = {"name": "table7", "runs": [run_of(data=data, rows=rows)]}
        assert table7(content, data).loc[("svm", 5), "net (w)"] == wanted
        (line,) = choices(content, data).to_dict("records")
        assert line["accuracy"] == wanted and line["splits"] == 1
        assert kept_layers(content, data)["net (w)"]["svm"][5][0] == wanted
        fewer = {"runs": [run_of(data=data, rows=[r for r in rows if r["count"] != count])]}
        assert choices(fewer, data).empty and kept_layers(fewer, data) == {}
        assert list(table7(fewer, data)) == ["paper", "paper_spread"]
    other = {"runs": [run_of(data="folder", rows=[row(80), row(40, count=15)])]}
    assert choices(other, "folder")["accuracy"].tolist() == [80]  # the largest


def test_table4_and_fig9():
    rows = [
        row(70, classifier="softmax"),
        row(75),
        row(30, classifier="not pretrained", layer=None),
    ]
    content = {"name": "table4", "runs": [run_of(rows=rows)]}
    tuned = run_of(rows=[row(72, layer=None, classifier="fine-tuned"),
                         row(74, layer=None, classifier="fine-tuned", split=1)])  # fmt: skip
    content = with_run(content, {**tuned, "settings": {}})
    assert len(content["runs"]) == 2  # both stay: it is another thing to do with the same weights
    assert len(with_run(content, {**tuned, "settings": {}})["runs"]) == 2
    table = table4(content)
    assert table.loc[("fine-tuned", 30), "net (w)"] == 73
    assert np.isnan(table.loc[("fine-tuned", 30), "paper"])
    assert table.loc[("pretrained", 30), "net (w)"] == 70
    assert table.loc[("not pretrained", 30), "net (w)"] == 30
    assert np.isnan(table.loc[("pretrained", 15), "net (w)"])
    curve = fig9({"name": "fig9", "runs": [run_of(rows=[row(60, count=6), row(40, count=1)])]})
    assert curve["count"].tolist() == [1, 6] and curve["accuracy"].tolist() == [40, 60]
    assert fig9({"runs": []}).empty


def test_results_files(tmp_path):
    path = tmp_path / "table7.json"
    assert kept("table7", path)["runs"] == []
    content = {"name": "table7", "runs": [run_of("a", rows=[row(1)]), run_of("b", rows=[row(2)])]}
    path.write_text(json.dumps(with_run(content, run_of("a", rows=[row(3)]))))
    assert measured("table7", path)["accuracy"].tolist() == [2, 3]
    assert measured("table7", path, "stamps").empty
    for text in ("{", '{"name": "fig9", "runs": []}', '{"name": "table7", "runs": [{}]}'):
        path.write_text(text)
        with pytest.raises(BadInput, match=r"table7\.json is damaged"):
            kept("table7", path)
    with pytest.raises(UnknownName, match="fig9"):
        kept("table1")
    path.write_text("{")
    for name, words in (("table5", "table4 --data caltech256"), ("fig9", "fig9")):
        with pytest.raises(BadInput, match=f"with `python -m zfnb.transfer_cli {words}`"):
            kept(name, path)


def test_folders_of_ones_own_do_not_replace_each_other():
    """All of them are called "folder"."""
    one, other = run_of(), run_of()
    one["data"], other["data"] = ({"name": "folder", "fingerprint": f} for f in "ab")
    content = with_run(with_run({"name": "table7", "runs": []}, one), other)
    assert content["runs"] == [one, other]
    assert with_run(content, one)["runs"] == [other, one]
    work = SimpleNamespace(command="table7", asked=transfer_cli.Asked(data="pictures/mine"))
    assert "--data mine " in transfer_cli.command_line(work, "zfnet:random")


def test_weights_files_of_one_name_do_not_replace_each_other():
    def one(weights, checksum, **facts):
        return {**run_of("zfnet"), "weights": weights, "checksum": checksum, **facts}

    content = {"name": "table7", "runs": [one("zfnet.safetensors", "a")]}
    with pytest.raises(BadInput, match=r"another weights file named zfnet\.safetensors, which wou"):
        with_run(content, one("zfnet.safetensors", "b"))
    for run in (one("zfnet.safetensors", "a"), one("zfnet.safetensors", None)):
        assert with_run(content, run)["runs"] == [run]
    other = one("zfnet.safetensors", "b", data={"name": "caltech256"})
    assert len(with_run(content, other)["runs"]) == 2
    # Weights of zfnb's own under a name are trained again: the new ones replace the old ones.
    content = {"name": "table7", "runs": [one("tiny-imagenet", "a")]}
    assert with_run(content, one("tiny-imagenet", "b"))["runs"][0]["checksum"] == "b"


# ---------------------------------------------------------------- commands


@pytest.fixture
def command(net, dataset, tmp_path, monkeypatch):
    """Run a command on the small network and the three colours."""
    weights = tmp_path / "small.safetensors"
    save_weights(net, weights)
    monkeypatch.setattr(
        transfer_cli, "load_dataset", lambda name, split, root: folder_dataset(tmp_path / "data")
    )

    def call(name, *words, network=f"zfnet:{weights}"):
        options = ["--results", str(tmp_path / f"{name}.json"), "--splits", "2"]
        options += ["--network", network] if network else []
        return CliRunner().invoke(transfer_cli.app, [name, "--data", "folder", *options, *words])

    return call


def test_the_command_writes_a_table(command, tmp_path):
    cache = ("--cache", str(tmp_path / "cache"))
    done = command("table7", *cache, "--count", "4", "--layer", "1", "--layer", "5")
    assert done.exit_code == 0, done.output
    run = kept("table7", tmp_path / "table7.json")["runs"][0]
    assert run["network"] == "zfnet" and run["weights"] == "small.safetensors"
    assert [(r["layer"], r["classifier"], r["split"]) for r in run["rows"]] == [
        (1, "svm", 0), (1, "svm", 1), (5, "svm", 0), (5, "svm", 1), (5, "softmax", 0),
        (5, "softmax", 1),
    ]  # fmt: skip
    for key in ("command", "date", "code", "machine", "seconds", "protocol", "data", "checksum"):
        assert run[key], key
    assert "--count 4 --splits 2" in run["command"]
    assert "± " in done.output and not list(tmp_path.glob(".*part*"))
    done = command("fig9", *cache, "--count", "1", "--count", "6", "--classifier", "svm")
    assert done.exit_code == 0, done.output
    curve = fig9(tmp_path / "fig9.json")
    assert curve["count"].tolist() == [1, 6] and curve["splits"].tolist() == [2, 2]


def test_what_would_measure_nothing_is_refused_and_nothing_is_lost(command, tmp_path):
    words = ["--cache", str(tmp_path / "cache"), "--count", "4", "--layer", "1"]
    assert command("table7", *words, "--classifier", "svm").exit_code == 0
    before = (tmp_path / "table7.json").read_text()
    refusal = command("table7", *words, "--classifier", "softmax").exception
    assert isinstance(refusal, BadInput) and "layers from 5 on; give --layer 5" in str(refusal)
    assert (tmp_path / "table7.json").read_text() == before


def test_networks_of_one_name_are_refused_before_the_first_begins(command, tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    other = (tmp_path / "small.safetensors").rename(tmp_path / "b" / "small.safetensors")
    words = ("--count", "4", "--network", f"zfnet:{other}")
    refusal = command("table7", *words).exception
    assert isinstance(refusal, BadInput)
    assert "Two of the networks are called zfnet:small.safetensors" in str(refusal)


@pytest.mark.parametrize("name", ["table7", "scratch"])
def test_a_damaged_results_file_is_said_before_anything_is_computed(
    command, tmp_path, monkeypatch, name
):
    def computed(*arguments, **options):
        raise AssertionError("this takes minutes")

    monkeypatch.setattr(transfer_cli, "layer_features", computed)
    monkeypatch.setattr(transfer_cli, "train_network", computed)
    path = tmp_path / "damaged.json"
    path.write_text("{")
    words = ("--count", "4", "--results", str(path))
    done = command(name, *words, **({"network": "zfnet"} if name == "scratch" else {}))
    assert isinstance(done.exception, BadInput) and "is damaged" in str(done.exception)


@pytest.mark.parametrize("name", ["table7", "scratch"])
def test_another_weights_file_is_refused_before_anything_is_computed(
    command, tmp_path, monkeypatch, name
):
    def computed(*arguments, **options):
        raise AssertionError("this takes minutes")

    monkeypatch.setattr(transfer_cli, "layer_features", computed)
    monkeypatch.setattr(transfer_cli, "train_network", computed)
    old = {"network": "zfnet", "weights": "small.safetensors", "checksum": "another", "rows": []}
    data = folder_dataset(tmp_path / "data")
    old |= {"data": {"name": data.name, "fingerprint": data.fingerprint()[:16]}}
    old |= {"settings": {}} if name == "scratch" else {}
    table = "table4" if name == "scratch" else name
    path = tmp_path / "some.json"
    path.write_text(json.dumps({"name": table, "runs": [old]}))
    words, options = ["--count", "4", "--results", str(path)], {}
    if name == "scratch":
        words += ["--weights", str(tmp_path / "small.safetensors")]
        options["network"] = "zfnet"
    refusal = command(name, *words, **options).exception
    assert isinstance(refusal, BadInput) and "named small.safetensors" in str(refusal)
    assert "--results" in str(refusal)


def test_an_unfinished_run_has_a_file_of_its_own(tmp_path):
    run = {"network": "zfnet", "weights": "zfnet.safetensors", "checksum": "a", "rows": [],
           "data": {"name": "folder"}, "protocol": {"counts": [4], "seed": 0}}  # fmt: skip
    results = tmp_path / "table4.json"
    path = transfer_cli.part_file(results, "table4", run)
    assert path.parent == tmp_path and path.match(".table4-zfnet-*.part.json")
    assert transfer_cli.part_file(results, "table4", {**run, "rows": [1], "date": "now"}) == path
    others = [
        transfer_cli.part_file(tmp_path / "mine.json", "table4", run),
        transfer_cli.part_file(results, "table4", {**run, "protocol": {"counts": [5], "seed": 0}}),
        transfer_cli.part_file(results, "table4", {**run, "settings": {"width": 1}}),
        transfer_cli.part_file(results, "table4", {**run, "checksum": "b"}),
    ]
    assert len({path, *others}) == 5


def stopping_after(files: int):
    """A writer of JSON files that is interrupted, as by Ctrl-C, once it has written so many."""
    write, written = transfer_cli.write_json, []

    def stop(path, value):
        write(path, value)
        written.append(path)
        if len(written) == files:
            raise KeyboardInterrupt

    return stop


def test_a_stopped_command_goes_on(command, tmp_path, monkeypatch):
    words = ("--cache", str(tmp_path / "cache"), "--count", "4", "--layer", "5")
    with monkeypatch.context() as patched:
        patched.setattr(transfer_cli, "write_json", stopping_after(3))
        assert command("table7", *words).exit_code != 0
    assert not (tmp_path / "table7.json").exists()
    done = command("table7", *words)
    assert done.exit_code == 0 and "softmax, 4 a class, split 1" in done.output
    assert "split 0" not in done.output  # of the four, only the last was left
    rows = kept("table7", tmp_path / "table7.json")["runs"][0]["rows"]
    assert len(rows) == 4 and len({(r["classifier"], r["split"]) for r in rows}) == 4


def test_a_stopped_command_keeps_only_what_is_asked_for_now(command, tmp_path, monkeypatch):
    words = ("--cache", str(tmp_path / "cache"), "--count", "4")
    with monkeypatch.context() as patched:
        patched.setattr(transfer_cli, "write_json", stopping_after(5))
        patched.setattr(zfnb.runs, "commit", lambda: {"commit": "a" * 40, "changed": []})
        assert command("table7", *words, "--layer", "1", "--layer", "5").exit_code != 0
    done = command("table7", *words, "--layer", "5", "--classifier", "softmax")
    assert done.exit_code == 0 and "svm" not in done.output and "split 0: " not in done.output
    (run,) = kept("table7", tmp_path / "table7.json")["runs"]
    assert [(r["layer"], r["classifier"], r["split"]) for r in run["rows"]] == [
        (5, "softmax", 0), (5, "softmax", 1),
    ]  # fmt: skip
    assert run["code"]["begun_with"] == ["a" * 40]  # the first row is of that version
    done = command("table7", *words, "--layer", "5", "--classifier", "softmax")
    (run,) = kept("table7", tmp_path / "table7.json")["runs"]
    assert "begun_with" not in run["code"]
    # What was measured and not asked for is still there, and nothing is left to measure.
    (part,) = tmp_path.glob(".table7-*.part.json")
    left = json.loads(part.read_text())
    assert [(r["layer"], r["split"]) for r in left["rows"]] == [(1, 0), (1, 1), (5, 0), (5, 1)]
    part.write_text(json.dumps({**left, "seconds": 172.6}))
    done = command("table7", *words, "--layer", "1", "--layer", "5", "--classifier", "svm")
    assert done.exit_code == 0 and "split" not in done.output
    (run,) = kept("table7", tmp_path / "table7.json")["runs"]
    assert run["rows"] == left["rows"] and run["code"]["begun_with"] == ["a" * 40]
    assert run["seconds"] == 172.6 and list(run)[-2:] == ["rows", "seconds"]
    assert not part.exists()


def test_another_c_that_was_begun_is_not_kept(command, tmp_path, monkeypatch):
    words = ("--cache", str(tmp_path / "cache"), "--count", "4", "--classifier", "svm")
    with monkeypatch.context() as patched:
        patched.setattr(transfer_cli, "write_json", stopping_after(3))
        some = ("--regularisation", "0.5", "--regularisation", "20")
        assert command("choices", *words, *some).exit_code != 0
    assert command("choices", *words, "--regularisation", "20").exit_code == 0
    (run,) = kept("choices", tmp_path / "choices.json")["runs"]
    assert [(r["regularisation"], r["split"]) for r in run["rows"]] == [(20, 0), (20, 1)]


@pytest.mark.filterwarnings("ignore:Skipped", "ignore:4 of 42 pictures of folder could not")
def test_unreadable_pictures_are_not_drawn(command, dataset, tmp_path, monkeypatch):
    bad = [0, 1, 2, 9]
    for item in bad:
        dataset.path(item).write_bytes(b"no picture")
    drawn = []
    monkeypatch.setattr(
        transfer_cli, "draws", lambda *given, **more: drawn.append(draws(*given, **more))
        or drawn[-1],
    )  # fmt: skip
    words = ("--cache", str(tmp_path / "cache"), "--layer", "1", "--classifier", "svm")
    with pytest.warns(UserWarning, match="4 of 42 pictures of folder cannot be read and are not"):
        done = command("table7", *words, "--count", "9")
    assert done.exit_code == 0, done.output
    for one in drawn[0][9]:
        assert not set(bad) & {*one.train, *one.test}
        assert len(one.train) == 27 and len(one.test) == 42 - 27 - 4
    # A curve goes as far as what can be read: of the first class, 14 less three or four.
    with pytest.warns(UserWarning, match="cannot be read"):
        done = command("fig9", *words[:2])
    assert done.exit_code == 0 and max(drawn[1]) == 8 < 10


def test_scenes_of_a_stamp_go_the_same_way(command, tmp_path, monkeypatch):
    pairs = np.arange(42) // 2  # two pictures of a colour
    monkeypatch.setattr(
        "zfnb.data.folders.FolderDataset.group", lambda self, item: int(pairs[item])
    )
    told, compare = [], transfer_cli.compare_layers

    def seen(features, targets, drawn, **options):
        told.append((drawn, options["groups"]))
        return compare(features, targets, drawn, **options)

    monkeypatch.setattr(transfer_cli, "compare_layers", seen)
    done = command(
        "table7", "--cache", str(tmp_path / "cache"), "--count", "2", "--layer", "1", "--test", "3"
    )
    assert done.exit_code == 0, done.output
    ((drawn, groups),) = told
    assert np.array_equal(groups, pairs)
    for one in drawn[2]:
        assert not set(pairs[one.train]) & set(pairs[one.test])
        assert (len(one.train), len(one.test)) == (3 * 4, 3 * 6)  # counts are of pairs
    done = command("fig9", "--cache", str(tmp_path / "cache"))
    assert done.exit_code == 0 and max(told[-1][0]) == 6  # of seven pairs a class


def test_test_pictures_named_in_a_file_are_left_out(command, dataset, tmp_path):
    cache, count = ("--cache", str(tmp_path / "cache")), ("--count", "4")
    one, two = draws(dataset.targets, (4,), splits=2)[4]
    gone = [int(item) for item in one.test[:5]]
    path = tmp_path / "duplicates.tsv"
    path.write_text("".join(f"0.99\tx.jpg\t{dataset.key(item)}\n" for item in gone))
    for name in ("table7", "table4", "fig9"):
        rows = {}
        for words in ((), ("--leave-out", str(path))):
            done = command(name, *cache, *count, "--classifier", "svm", *words)
            assert done.exit_code == 0, done.output
            (run,) = kept(name, tmp_path / f"{name}.json")["runs"]
            rows[words] = [r["test_pictures"] for r in run["rows"][:2]]
            assert [r["train_pictures"] for r in run["rows"][:2]] == [12, 12]
            assert ("--leave-out duplicates.tsv" in run["command"]) == bool(words)
            assert ("left_out" in run["protocol"]) == bool(words)
        before, after = rows.values()
        assert before == [30, 30]
        assert after == [25, 30 - len(set(gone) & set(two.test.tolist()))]
        assert run["protocol"]["left_out"]["pictures"] == 5
        assert str(tmp_path) not in json.dumps(run)
    path.write_text("nothing.jpg\n")
    refusal = command("table4", *count, "--leave-out", str(path)).exception
    assert isinstance(refusal, BadInput) and "'nothing.jpg'" in str(refusal)


def test_choices_fixes_what_the_table_chooses(command, tmp_path):
    words = ("--cache", str(tmp_path / "cache"), "--count", "4", "--regularisation", "0.5")
    done = command("choices", *words, "--regularisation", "20")
    assert done.exit_code == 0, done.output
    assert "layer 1, svm-against-all, C = 20, 4 a class: " in done.output
    path = tmp_path / "choices.json"
    run = kept("choices", path)["runs"][0]
    assert "--regularisation 0.5 --regularisation 20" in run["command"]
    assert len(run["rows"]) == 2 * 2 * 2  # kinds, C, splits
    table = choices(path, "folder")
    assert table["regularisation"].tolist() == [0.5, 0.5, 20, 20]
    assert table["splits"].tolist() == [2] * 4 and table["paper"].isna().all()
    ours = [
        r["accuracy"] for r in run["rows"] if (r["classifier"], r["regularisation"]) == ("svm", 20)
    ]
    assert table["accuracy"][2] == pytest.approx(np.mean(ours))


def test_scratch_and_pretrained_in_one_table(command, tmp_path):
    pretrained = command("table4", "--cache", str(tmp_path / "cache"), "--count", "4")
    assert pretrained.exit_code == 0, pretrained.output
    words = ["--count", "4", "--epochs", "1", "--batch", "6", "--input-size", "48"]
    words += ["--width", "0.04", "--out", str(tmp_path / "runs"), "--pictures", str(tmp_path)]
    scratch = command(
        "scratch", *words, "--results", str(tmp_path / "table4.json"), network="zfnet"
    )
    assert scratch.exit_code == 0, scratch.output
    runs = kept("table4", tmp_path / "table4.json")["runs"]
    assert [run["weights"] for run in runs] == ["small.safetensors", "random"]
    assert [r["classifier"] for r in runs[1]["rows"]] == ["not pretrained"] * 2
    assert "scratch --data folder --network zfnet" in runs[1]["command"]
    assert "--width 0.04" in runs[1]["command"] and runs[1]["settings"]["recipe"]["epochs"] == 1


def test_the_learning_rate_is_always_in_the_command():
    """Without --lr, the command does not take the recipe's own."""
    settings = Settings("zfnet", "folder", recipe_named("modern"), input_size=64)
    work = SimpleNamespace(command="scratch", asked=transfer_cli.Asked(data="folder"))
    words = transfer_cli.command_line(work, "zfnet:random", settings)
    assert settings.recipe.lr != transfer_cli.SCRATCH_LR and f"--lr {settings.recipe.lr}" in words


def test_scratch_from_weights_is_fine_tuning(command, tmp_path):
    """Its rows stand beside those of classifiers on the same weights."""
    results = ["--results", str(tmp_path / "table4.json"), "--count", "4"]
    done = command("table4", "--cache", str(tmp_path / "cache"), *results)
    assert done.exit_code == 0, done.output
    words = ["--weights", str(tmp_path / "small.safetensors")]
    words += ["--epochs", "1", "--batch", "6", "--out", str(tmp_path / "runs")]
    words += ["--pictures", str(tmp_path), *results]
    done = command("scratch", *words, network="zfnet")
    assert done.exit_code == 0, done.output
    first, second = kept("table4", tmp_path / "table4.json")["runs"]
    assert first["weights"] == second["weights"] == "small.safetensors"
    assert first["checksum"] == second["checksum"]
    assert [r["classifier"] for r in second["rows"]] == ["fine-tuned"] * 2
    assert "scratch --data folder --network zfnet --weights small.safetensors" in second["command"]
    wanted = f"--lr {LR} --input-size 64 --width 0.0625"  # as the weights were trained
    assert wanted in second["command"]
    assert second["settings"]["weights"] == "small.safetensors"
    assert str(tmp_path) not in json.dumps([first, second])
    rows = measured("table4", tmp_path / "table4.json", "folder")
    assert set(rows["classifier"]) == {"svm", "softmax", "fine-tuned"}


def test_several_classifiers_in_one_command(command, tmp_path):
    words = ["--cache", str(tmp_path / "cache"), "--count", "4", "--classifier", "softmax"]
    done = command("table4", *words, "--classifier", "svm-against-all", "--classifier", "svm")
    assert done.exit_code == 0, done.output
    (run,) = kept("table4", tmp_path / "table4.json")["runs"]
    kinds = ["softmax", "svm-against-all", "svm"]
    assert [r["classifier"] for r in run["rows"]] == [kind for kind in kinds for _ in range(2)]
    assert "--classifier softmax --classifier svm-against-all" in run["command"]


def test_a_part_of_before_is_read(command, net, dataset, tmp_path):
    """The format of the unfinished files that lie beside the results."""
    stored = zfnb.load_model("zfnet", weights=tmp_path / "small.safetensors")
    line = {"regularisation": 10.0, "train_pictures": 12, "test_pictures": 30, "seconds": 90.1}
    part = {
        "network": "zfnet",
        "weights": "small.safetensors",
        "checksum": fingerprint(stored)[:16],
        "data": {
            "name": dataset.name,
            "pictures": 42,
            "classes": 3,
            "fingerprint": dataset.fingerprint()[:16],
        },
        "command": "python -m zfnb.transfer_cli table7 ...",
        "date": "2026-11-25T21:09:32Z",
        "code": {"zfnb": "0.1.0", "commit": "b" * 40, "changed": []},
        "machine": {"device": "CPU (x86_64), 1 threads", "python": "3.11.7", "torch": "2.13.0"},
        "protocol": {"counts": [4], "splits": 2, "test": 50, "seed": 0},
        "rows": [{"layer": 1, "classifier": "svm", "count": 4, "split": 0, "accuracy": 51.451,
                  **line}],
        "seconds": 172.6,
    }  # fmt: skip
    path = transfer_cli.part_file(tmp_path / "table7.json", "table7", part)
    path.write_text(json.dumps(part))
    words = ["--cache", str(tmp_path / "cache"), "--count", "4", "--layer", "1"]
    done = command("table7", *words)
    assert done.exit_code == 0, done.output
    (run,) = kept("table7", tmp_path / "table7.json")["runs"]
    assert run["rows"][0] == part["rows"][0] and [r["split"] for r in run["rows"]] == [0, 1]
    assert run["seconds"] >= 172.6 and list(run) == list(part) and not path.exists()
    path.write_text(json.dumps({**part, "checksum": "of another network"}))  # by hand
    assert command("table7", *words).exit_code == 0
    (run,) = kept("table7", tmp_path / "table7.json")["runs"]
    assert run["rows"][0]["seconds"] != 90.1 and run["seconds"] < 172.6


def test_the_voc_command(net, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)

    class Small:
        name, split, classes = "voc2012", "trainval", list(VOC_CLASSES)
        targets = [0] * 20

        def __init__(self, items):
            self.items = items
            self.labels = np.full((len(items), 20), -1)
            for place, item in enumerate(items):
                self.labels[place, [item % 2, 2]] = 1, 1 - 2 * (item % 3 > 0)

        def __len__(self):
            return len(self.items)

        def __getitem__(self, index):
            pixels = np.random.default_rng(index).integers(0, 200, (64, 64, 3), dtype=np.uint8)
            pixels[..., index % 2] += 55
            return Image.fromarray(pixels), 0

        def key(self, index):
            return str(self.items[index])

        def fingerprint(self):
            return "f" * 64

    order = rng.permutation(20).tolist()
    parts = {"train": order[:12], "val": order[12:], "trainval": list(range(20))}
    for module in (transfer_cli, transfer_setups):
        monkeypatch.setattr(module, "load_dataset", lambda name, split, root: Small(parts[split]))
    save_weights(net, tmp_path / "small.safetensors")
    done = CliRunner().invoke(
        transfer_cli.app,
        ["table6", "--network", f"zfnet:{tmp_path / 'small.safetensors'}", "--cache",
         str(tmp_path), "--results", str(tmp_path / "table6.json")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = kept("table6", tmp_path / "table6.json")["runs"][0]["rows"]
    assert [(r["classifier"], r["train_pictures"], r["test_pictures"]) for r in rows] == [
        ("svm", 12, 8), ("softmax", 12, 8),
    ]  # fmt: skip
    for found in rows:
        values = found["average_precision"]
        assert [name for name in values if values[name] is not None] == list(VOC_CLASSES[:3])
        assert 0 < found["mean"] <= 100
    with torch.no_grad():
        net.conv1.filter.weight.mul_(1.5)
    save_weights(net, tmp_path / "small.safetensors")  # another file of the same name
    monkeypatch.delattr(transfer_setups, "layer_features")
    words = ["--network", f"zfnet:{tmp_path / 'small.safetensors'}"]
    words += ["--results", str(tmp_path / "table6.json")]
    refusal = CliRunner().invoke(transfer_cli.app, ["table6", *words]).exception
    assert isinstance(refusal, BadInput) and "named small.safetensors" in str(refusal)


@pytest.mark.parametrize("name", ["table7", "choices", "table4", "fig9", "table6"])
def test_a_mistyped_classifier_is_refused_before_the_work(command, monkeypatch, name):
    def opened(*arguments):
        raise AssertionError("this takes minutes")

    monkeypatch.setattr(transfer_cli, "load_dataset", opened)
    words = ["--classifier", "svm", "--classifier", "sofmax"]
    if name == "table6":
        error = CliRunner().invoke(transfer_cli.app, [name, *words]).exception
    else:
        error = command(name, "--count", "4", *words).exception
    assert isinstance(error, UnknownName) and "Did you mean 'softmax'?" in str(error)


def test_an_input_of_no_pixels_is_refused(command, tmp_path):
    words = ["--count", "4", "--input-size", "0", "--out", str(tmp_path / "runs")]
    done = command("scratch", *words, network="zfnet")
    assert done.exit_code == 2 and "--input-size" in done.output


def test_refusals_of_the_command(command, capsys, monkeypatch):
    assert isinstance(command("table7", network="zfnet").exception, BadInput)
    for name in ("table7", "choices", "table4", "scratch"):  # the paper has no folder
        network = "zfnet" if name == "scratch" else "zfnet:tiny-imagenet"
        refusal = command(name, network=network).exception
        assert isinstance(refusal, BadInput) and "for folder; give --count" in str(refusal)
    monkeypatch.setattr("sys.argv", ["transfer_cli", "table7", "--network", "zfnet", "--data", "x"])
    monkeypatch.setattr(transfer_cli, "load_dataset", zfnb.load_dataset)
    with pytest.raises(SystemExit) as left:
        transfer_cli.main()
    assert left.value.code == 2 and "Unknown dataset 'x'" in capsys.readouterr().err


def test_draws_can_be_made_by_hand():
    x, targets = vectors()
    by_hand = Draw(np.arange(0, 100), np.arange(100, 160), 0, 25)
    assert classify(gram(x), targets, by_hand)[0].test == 60
