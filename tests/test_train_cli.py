"""`zfnb train` from the command line, on a miniature of ImageNet in torchvision's layout."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

import zfnb
from tests.test_training import gone_after, started, torchrun
from zfnb.errors import BadInput, MissingData, UnknownName
from zfnb.evaluate import evaluate
from zfnb.fine_tuning import LR
from zfnb.models import build, describe_variant
from zfnb.recipes import lasting, recipe_named
from zfnb.train_cli import open_sets, train
from zfnb.weights import save_weights

APP = typer.Typer()
APP.command()(train)
SMALL = ["--width", "0.03", "--epochs", "1", "--batch", "6", "--device", "cpu"]


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """Three synsets, 6 training and 3 validation pictures each, of several sizes and modes."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for number, synset in enumerate(("n01440764", "n02102040", "n03888257")):
            folder = root / "imagenet" / split / synset
            folder.mkdir(parents=True)
            for i in range(count):
                width, height = rng.integers(200, 400, 2)
                picture = Image.fromarray(
                    rng.integers(60 * number, 60 * number + 90, (height, width, 3), dtype=np.uint8)
                )
                if i == 1:
                    picture = picture.convert("L")
                picture.save(folder / f"{synset}_{split}_{i}.JPEG")
    return root


def call(*words) -> tuple[int, str, BaseException | None]:
    done = CliRunner().invoke(APP, [str(word) for word in words])
    return done.exit_code, done.output, done.exception


def test_imagenet_from_end_to_end(imagenet, tmp_path):
    """Squares of 256, crops of 224, a resumed run that is done, ten crops, an ensemble."""
    where = ["--root", imagenet, "--out", tmp_path / "run", "--cache", tmp_path / "cache"]
    words = ["zfnet", "--data", "imagenet", "--recipe", "paper", *SMALL, *where]
    assert "--holdout 50" in str(call(*words)[2])  # its rate falls by their error
    words += ["--holdout", 1]
    code, output, error = call(*words)
    assert code == 0, error
    assert "val_pictures: 9" in output
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["data"]["stored_size"] == 256
    assert facts["settings"]["input_size"] == 224
    assert facts["settings"]["recipe"]["augmentation"]["side"] == 224 / 256
    (cache,) = (tmp_path / "cache").glob("imagenet-256-*.npy")
    assert np.load(cache, mmap_mode="r").shape == (18, 3, 256, 256)

    net = zfnb.load_model("zfnet", weights=tmp_path / "run" / "zfnet.safetensors")
    assert [synset for synset, _ in net.classes] == ["n01440764", "n02102040", "n03888257"]
    val = zfnb.load_dataset("imagenet", "val", root=imagenet)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert evaluate(net, val)[1] == pytest.approx(result["val_error"])
    for nets in (net, [net, net]):
        assert 0 <= evaluate(nets, val, crops=10, ks=(1,))[1] <= 100
    log = (tmp_path / "run" / "log.jsonl").read_text()
    assert call(*words, "--resume")[0] == 0
    assert (tmp_path / "run" / "log.jsonl").read_text() == log


def test_torchrun_from_end_to_end(imagenet, tmp_path):
    """Two processes through `python -m zfnb`: one set of lines, and the losses of one process."""
    words = ["zfnet", "--data", "imagenet", "--recipe", "paper", *SMALL, "--holdout", "1"]
    words += ["--input-size", "64", "--dropout", "0", "--root", str(imagenet)]
    words += ["--cache", str(tmp_path / "cache"), "--out"]
    two = ["-m", "zfnb", "train", *words, str(tmp_path / "two"), "--threads", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with gone_after(started(torchrun(*two, logs=tmp_path), environment)) as process:
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    result = json.loads((tmp_path / "two" / "result.json").read_text())
    assert [line.partition(":")[0] for line in output.splitlines()] == list(result)
    assert errors.count("epoch 1: loss") == 1
    code, alone, error = call(*words, tmp_path / "one")
    assert code == 0, error
    assert set(output.splitlines()) <= set(alone.splitlines())  # which has stderr as well
    assert len(list((tmp_path / "cache").iterdir())) == 1
    one, two = (
        [json.loads(line) for line in (tmp_path / run / "log.jsonl").open()]
        for run in ("one", "two")
    )
    assert len(one) == len(two) == 3
    for a, b in zip(one, two, strict=True):
        for key in ("loss", "train_loss", "held_error"):
            assert a.get(key) == pytest.approx(b.get(key), abs=1e-5)


def test_fine_tuning_from_a_file(imagenet, tmp_path):
    """The input is that of the weights, the rate one for fine-tuning, unless others are asked."""
    net = build(describe_variant("zfnet", input_size=64, width=0.03), 5)
    weights = tmp_path / "mine.safetensors"
    save_weights(net, weights, {"input_size": 64, "width": 0.03})
    words = ["zfnet", "--data", "imagenet", "--root", imagenet, "--no-cache", *SMALL]
    words += ["--weights", weights]
    code, _, error = call(*words, "--out", tmp_path / "run")
    assert code == 0, error
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["settings"]["input_size"] == 64 and facts["settings"]["recipe"]["lr"] == LR
    assert "zfnet --data imagenet --recipe modern --weights mine.safetensors" in facts["command"]
    assert zfnb.load_model("zfnet", weights=tmp_path / "run" / "zfnet.safetensors").shapes[
        "fc8"
    ] == (3,)
    code, _, error = call(*words, "--lr", "0.02", "--out", tmp_path / "faster")
    assert "--lr 0.02" in json.loads((tmp_path / "faster" / "run.json").read_text())["command"]
    error = call(*words, "--input-size", "96", "--out", tmp_path / "larger")[2]
    assert isinstance(error, BadInput) and "input_size=64, not 96" in str(error)
    at = words.index("--width")
    del words[at : at + 2]  # left out, it is that of the weights
    assert call(*words, "--out", tmp_path / "width")[0] == 0
    assert json.loads((tmp_path / "width" / "run.json").read_text())["settings"]["width"] == 0.03
    error = call(*words, "--width", "1.0", "--out", tmp_path / "wide")[2]
    assert isinstance(error, BadInput) and "width=0.03, not 1.0; leave width out" in str(error)
    error = call(*words, "--input-size", "0", "--out", tmp_path / "none")[2]
    assert isinstance(error, BadInput) and "input_size" in str(error)


def test_decoding_workers_give_what_the_cache_gives(imagenet, tmp_path):
    base = ["zfnet", "--data", "imagenet", "--root", imagenet, "--input-size", 64, *SMALL]
    call(*base, "--cache", tmp_path / "cache", "--out", tmp_path / "a")
    call(*base, "--no-cache", "--workers", 2, "--out", tmp_path / "b")
    assert not (tmp_path / "b" / "cache").exists()
    losses = [
        [json.loads(line).get("loss") for line in (tmp_path / run / "log.jsonl").open()]
        for run in "ab"
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4


def test_the_papers_numbers():
    """Sec. 3.1."""
    paper = recipe_named("paper")
    assert (paper.batch, paper.lr, paper.momentum, paper.dropout) == (128, 0.01, 0.9, 0.5)
    assert paper.epochs == 70
    assert paper.clip
    assert paper.pixel_mean
    assert not paper.batch_norm


def test_a_run_of_few_epochs_reaches_the_full_rate():
    modern = recipe_named("modern")
    assert lasting(modern, 5) == replace(modern, epochs=5, cool_down=2.5)
    assert lasting(modern, 90) == replace(modern, epochs=90)
    paper = recipe_named("paper")
    assert lasting(paper, 1) == replace(paper, epochs=1)


def test_which_pictures_measure(imagenet, tmp_path):
    learn, measure = open_sets("imagenet", imagenet)
    assert (len(learn), len(measure)) == (18, 9)
    learn, measure = open_sets("stamps", None)
    assert measure.split == "test"
    assert not {learn.key(i) for i in range(len(learn))} & {
        measure.key(i) for i in range(len(measure))
    }
    # a folder of classes without splits has nothing to measure on
    assert open_sets(str(imagenet / "imagenet" / "val"), None)[1] is None


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (["zfnt"], UnknownName, "Did you mean 'zfnet'"),
        (["zfnet", "--recipe", "new"], UnknownName, "paper, modern"),
        (["zfnet", "--epochs", "0"], BadInput, "epochs must be"),
        (["zfnet", "--precision", "half"], UnknownName, "float32, bfloat16"),
        (["zfnet", "--device", "tpu9"], UnknownName, "device"),
        (["zfnet", "--width", "0"], BadInput, "width"),
        (["zfnet", "--input-size", "0"], BadInput, "input_size"),
        (["zfnet", "--checkpoint-every", "0"], BadInput, "checkpoint_every"),
        (["zfnet", "--weights", "tiny"], UnknownName, "weights for zfnet"),
    ],
)
def test_mistakes_get_one_clear_sentence(imagenet, tmp_path, words, kind, message):
    options = ["--data", "imagenet", "--root", imagenet, "--no-cache", "--out", tmp_path / "run"]
    error = call(*words, *options)[2]
    assert isinstance(error, kind)
    assert message in str(error)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("option", "count"), [("--workers", "-1"), ("--threads", "0")])
def test_fewer_than_none(imagenet, tmp_path, option, count):
    options = ["--data", "imagenet", "--root", imagenet, "--no-cache", "--out", tmp_path / "run"]
    code, output, _ = call("zfnet", *options, option, count)
    assert code == 2 and option.strip("-") in output
    assert not (tmp_path / "run").exists()


def test_missing_data(tmp_path):
    error = call("zfnet", "--data", "imagenet", "--root", tmp_path)[2]
    assert isinstance(error, MissingData)


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU it is no mistake")
def test_no_gpu_is_said(imagenet, tmp_path):
    words = ["zfnet", "--data", "imagenet", "--root", imagenet, "--out", tmp_path / "run"]
    error = call(*words, "--device", "cuda")[2]
    assert "no GPU" in str(error)
