"""Fine-tuning: what is taken over, how fast it moves, runs that are killed, what does not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import zfnb
from tests.test_training import Killed, Stripes, assert_same_run, kill_after, logged, run, settings
from zfnb.data.pictures import Preprocessing
from zfnb.errors import BadInput, UnknownName
from zfnb.fine_tuning import LR, description_of, take_over
from zfnb.models import build, describe_variant
from zfnb.processes import choose_device, processes
from zfnb.protocols import Part
from zfnb.recipes import recipe_named
from zfnb.runs import command
from zfnb.training import Run, Settings, train
from zfnb.weights import read_metadata, save_weights

OTHER = Preprocessing(resize=54, crop=48, mean=(0.4, 0.3, 0.2), std=(0.3, 0.3, 0.25))
SIZE = {"input_size": 48, "width": 0.05}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The file of a small ZFNet with seven classes and a preprocessing of its own."""
    torch.manual_seed(2)
    net = build(describe_variant("zfnet", **SIZE), 7, preprocessing=OTHER)
    path = tmp_path_factory.mktemp("source") / "source.safetensors"
    save_weights(net, path, SIZE)
    return path


def begun(folder: Path, chosen: Settings, train_set=None) -> Run:
    """A run before its first step."""
    device = choose_device("cpu")
    with processes(device) as group:
        pictures = train_set or Stripes()
        return Run(chosen, pictures, folder, cache=None, device=device, group=group)


@pytest.mark.parametrize("recipe", ["modern", "paper"])
def test_all_but_the_classifier_is_taken_over(source, tmp_path, recipe):
    """Also the preprocessing; and no recipe's batch normalisation, clipping or mean is left."""
    chosen = settings(recipe, weights=source)
    net = begun(tmp_path, chosen).net
    given = zfnb.load_model("zfnet", weights=source)
    assert net.preprocessing == given.preprocessing == OTHER
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
    own, learned = net.state_dict(), given.state_dict()
    assert own.keys() == learned.keys()
    for key in own:
        if key.startswith("fc8"):
            assert own[key].shape[0] == 3 and learned[key].shape[0] == 7
        else:
            assert torch.equal(own[key], learned[key])
    assert 0 < own["fc8.linear.weight"].std() < 0.2
    random = begun(tmp_path, settings(recipe)).net.state_dict()
    assert not torch.equal(own["conv2.filter.weight"], random["conv2.filter.weight"])
    changed = chosen.recipe
    assert not (changed.batch_norm or changed.clip or changed.pixel_mean or changed.std)
    assert replace(changed, batch_norm=0, clip=0, pixel_mean=0, std=0) == replace(
        settings(recipe).recipe, batch_norm=0, clip=0, pixel_mean=0, std=0
    )


def test_the_new_classifier_moves_faster(source, tmp_path):
    """Ten times as fast: the first step, without momentum or decay, is the rate times the slope."""
    plain = {"momentum": 0.0, "weight_decay": 0.0, "nesterov": False}
    plain |= {"warm_up": 0.0, "cool_down": 0.0}
    chosen = settings(weights=source, dropout=0.0, lr=0.01, **plain)
    before = begun(tmp_path, chosen).net.state_dict()
    steps = []

    def on_step(one: Run) -> None:
        state, slopes = one.net.state_dict(), dict(one.net.named_parameters())
        steps.append({key: (state[key].clone(), slopes[key].grad.clone()) for key in state})
        raise Killed

    with pytest.raises(Killed):
        run(tmp_path / "r", chosen, on_step=on_step)
    for key, (after, slope) in steps[0].items():
        rate = 0.01 * (1.0 if key.startswith("fc8") else 0.1)
        torch.testing.assert_close(before[key] - after, rate * slope, rtol=1e-3, atol=1e-7)
    assert steps[0]["fc8.linear.weight"][1].abs().max() > 0
    assert steps[0]["conv2.filter.weight"][1].abs().max() > 0


@pytest.mark.parametrize("steps", [(1,), (4, 3)])
def test_a_killed_run_goes_on_bit_for_bit(source, tmp_path, steps):
    chosen = settings(weights=source)
    run(tmp_path / "whole", chosen)
    for count in steps:
        with pytest.raises(Killed):
            mine = {"resume": True, "checkpoint_every": 2, "on_step": kill_after(count)}
            run(tmp_path / "mine", chosen, **mine)
    run(tmp_path / "mine", chosen, resume=True, checkpoint_every=2)
    assert_same_run(tmp_path / "whole", tmp_path / "mine")
    path = tmp_path / "mine" / "zfnet.safetensors"
    assert read_metadata(path)["weights"] == "source.safetensors"
    net = zfnb.load_model("zfnet", weights=path)
    assert net.preprocessing == OTHER and [name for _, name in net.classes] == [*Stripes.classes]


def test_a_run_says_where_it_started(source, tmp_path):
    """And goes on from there only; without the places of one machine."""
    with pytest.raises(Killed):
        run(tmp_path / "r", settings(weights=source), on_step=kill_after(1))
    text = (tmp_path / "r" / "run.json").read_text()
    facts = json.loads(text)
    assert facts["settings"]["weights"] == "source.safetensors"
    assert "--weights source.safetensors" in facts["command"]
    fast = settings(weights=source, lr=0.04)  # the recipe's own, which is not fine-tuning's
    assert "--lr 0.04" in command(fast)
    assert len(facts["start"]["weights"]) == 16 and str(source.parent) not in text
    with pytest.raises(BadInput, match=r"weights = 'source.safetensors', not None"):
        bare = replace(settings(weights=source), weights=None)
        run(tmp_path / "r", bare, resume=True)
    other = tmp_path / "source.safetensors"  # of the same name
    save_weights(build(describe_variant("zfnet", **SIZE), 7, preprocessing=OTHER), other, SIZE)
    with pytest.raises(BadInput, match=r"weights whose checksum is '[0-9a-f]{16}', not"):
        run(tmp_path / "r", settings(weights=other), resume=True)
    # the weights may have moved
    moved = tmp_path / "elsewhere" / "source.safetensors"
    moved.parent.mkdir()
    moved.write_bytes(source.read_bytes())
    run(tmp_path / "r", settings(weights=moved), resume=True)


def test_a_run_from_random_weights_is_not_continued_from_others(source, tmp_path):
    bare = replace(settings(weights=source), weights=None)  # the recipe is that of fine-tuning
    with pytest.raises(Killed):
        run(tmp_path / "r", bare, on_step=kill_after(1))
    with pytest.raises(BadInput, match=r"weights = None, not 'source\.safetensors'"):
        run(tmp_path / "r", settings(weights=source), resume=True)


OLD = {  # a run.json of before there were `weights`
    "network": "zfnet",
    "data": "stripes",
    "recipe": {
        "name": "modern",
        "batch": 8,
        "epochs": 2,
        "lr": 0.01,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "nesterov": True,
        "schedule": "trapezoid",
        "warm_up": 0.5,
        "cool_down": 1.0,
        "start": "he",
        "batch_norm": True,
        "clip": False,
        "smoothing": 0.1,
        "dropout": 0.5,
        "std": None,
        "pixel_mean": False,
        "augmentation": {
            "crops": "random",
            "side": 0.875,
            "area": [0.35, 1.0],
            "aspect": 1.25,
            "colour": 0.2,
        },
    },
    "input_size": 48,
    "width": 0.05,
    "precision": "float32",
    "seed": 0,
    "holdout": 2,
}


@pytest.mark.parametrize("old", [OLD, {**OLD, "weights": None}])
def test_an_older_run_goes_on(tmp_path, old):
    assert json.loads(json.dumps(settings().facts())) == OLD
    run(tmp_path / "whole", settings())
    with pytest.raises(Killed):
        run(tmp_path / "mine", settings(), checkpoint_every=2, on_step=kill_after(4))
    path = tmp_path / "mine" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "settings": old}))
    run(tmp_path / "mine", settings(), resume=True, checkpoint_every=2)
    assert_same_run(tmp_path / "whole", tmp_path / "mine")


def test_the_trunk_learns_stamps(tmp_path):
    """It has no classifier; one is put on its layers of maps."""
    stamps = zfnb.load_dataset("stamps", "train")
    targets = np.asarray(stamps.targets)
    few = [int(item) for kind in range(4) for item in np.flatnonzero(targets == kind)[:4]]
    changes = {"epochs": 4, "batch": 8, "lr": LR, "cool_down": 2.0, "dropout": 0.0}
    recipe = replace(recipe_named("modern"), smoothing=0.0, **changes)
    chosen = Settings("torchvision-alexnet", "stamps", recipe, weights="imagenet-trunk")
    train(chosen, Part(stamps, few), None, tmp_path / "r", progress=False, device="cpu")
    losses = [line["train_loss"] for line in logged(tmp_path / "r") if line["kind"] == "epoch"]
    assert losses[-1] < 0.6 * losses[0]
    net = zfnb.load_model(
        "torchvision-alexnet", weights=tmp_path / "r" / "torchvision-alexnet.safetensors"
    )
    assert net.layer_names[-2:] == ("pool5", "fc8") and len(net.classes) == 10
    trunk = zfnb.load_model("torchvision-alexnet", weights="imagenet-trunk").state_dict()
    moved = [(net.state_dict()[key] - trunk[key]).abs().max() for key in trunk]
    assert 0 < max(moved) < 0.05  # it moved, and not far


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"weights": "tiny-imagenett"}, UnknownName, "Did you mean 'tiny-imagenet'"),
        ({"weights": "imagenet-trunk"}, UnknownName, "belong to torchvision-alexnet"),
        ({"weights": "none.safetensors"}, BadInput, "no weights file"),
        ({"input_size": 64}, BadInput, "trained with input_size=48, not 64"),
        ({"width": 0.1}, BadInput, "trained with width=0.05, not 0.1"),
    ],
)
def test_what_does_not_fit(source, tmp_path, changes, kind, message):
    with pytest.raises(kind, match=message):
        run(tmp_path / "r", settings(**{"weights": source, **changes}))
    assert not (tmp_path / "r" / "run.json").exists()


def test_tensors_without_a_counterpart(source):
    small = build(describe_variant("zfnet", **SIZE), 3)
    for other, message in (
        (build(describe_variant("zfnet", input_size=48, width=0.1), 3), r"conv1.* \(5, 3, 7, 7\)"),
        (build(describe_variant("alexnet", input_size=96, width=0.05), 3), "'conv1.filter.weight'"),
        (build(replace(describe_variant("zfnet", **SIZE), fc=None)), "'fc6.*but is none"),
    ):
        before = {key: value.clone() for key, value in small.state_dict().items()}
        with pytest.raises(BadInput, match=message):
            take_over(small, other)
        assert all(torch.equal(small.state_dict()[key], before[key]) for key in before)
    trunk = build(replace(describe_variant("zfnet", **SIZE), fc=None))
    on_top = build(description_of(trunk), 102)
    take_over(on_top, trunk)
    assert torch.equal(on_top.conv5.filter.weight, trunk.conv5.filter.weight)
    assert on_top.shapes["fc8"] == (102,)
