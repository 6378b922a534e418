"""Scores of occlusion against a known object, worked by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer import Typer
from typer.testing import CliRunner

import zfnb
from zfnb import occlusion_truth
from zfnb.errors import BadInput, UnknownName
from zfnb.models import build, describe_variant
from zfnb.occlusion import OcclusionMaps
from zfnb.occlusion_truth import (
    Grounding,
    boxed_pictures,
    first,
    ground_truth,
    grounding,
    in_words,
    keep,
    kept,
    scene_classifier,
    scene_pictures,
    summary,
)


def made(drop: list, square: int = 2, size: int = 4) -> OcclusionMaps:
    """Maps whose class has probability 0.8, less `drop` at each place."""
    drop = torch.tensor(drop)
    at = torch.linspace(0, size - square, len(drop)).long()
    positions = torch.stack(torch.meshgrid(at, at, indexing="ij"), dim=2)
    probability = 0.8 - drop
    return OcclusionMaps(
        probability=probability,
        label=torch.zeros(drop.shape, dtype=torch.int64),
        activation=torch.zeros(drop.shape),
        feature_map=0,
        positions=positions,
        probabilities=torch.stack((probability, 1 - probability), dim=2),
        whole_probability=torch.tensor([0.8, 0.2]),
        whole_activation=0.0,
        target=0,
        layer="conv1",
        square=square,
        stride=2,
        size=size,
    )


def test_grounding_by_hand():
    """Four squares that tile the picture; the object is one of them and half of its neighbour."""
    mask = torch.zeros(4, 4)
    mask[:2, :3] = 1
    found = grounding(made([[0.6, 0.2], [0.0, -0.1]]), mask)
    assert found.hit
    # The squares' centres are (1, 1), (1, 3), (3, 1), (3, 3): one of four is on the object.
    assert found.chance == 0.25
    # Over pixels 4 * 0.6 + 4 * 0.2 = 3.2 is lost; 4 * 0.6 + 2 * 0.2 of it on the object.
    assert found.energy == pytest.approx(2.8 / 3.2)
    assert found.area == 6 / 16
    assert found.probability == pytest.approx(0.8)
    assert not grounding(made([[0.2, 0.6], [0.0, 0.0]]), mask).hit


def test_an_even_drop_has_the_energy_of_the_area():
    mask = torch.rand(4, 4, generator=torch.Generator().manual_seed(0))
    found = grounding(made([[0.3, 0.3], [0.3, 0.3]]), mask)
    assert found.energy == pytest.approx(found.area)


def test_nothing_drops():
    found = grounding(made([[-0.1, 0.0], [0.0, 0.0]]), torch.ones(4, 4))
    assert math.isnan(found.energy)
    said = summary([found, grounding(made([[0.1, 0.0], [0.0, 0.0]]), torch.ones(4, 4))])
    assert said.pictures == 2
    assert said.energy == said.area == 1


def test_grounding_says_what_is_wrong():
    maps = made([[0.1, 0.1], [0.1, 0.1]])
    with pytest.raises(BadInput, match="empty"):
        grounding(maps, torch.zeros(4, 4))
    with pytest.raises(BadInput, match="4 x 4"):
        grounding(maps, torch.ones(5, 5))
    with pytest.raises(BadInput, match="classifier"):
        grounding(replace(maps, probability=None), torch.ones(4, 4))


def test_summary_by_hand():
    rows = [Grounding(True, 0.25, 0.6, 0.2, 0.9), Grounding(False, 0.25, 0.1, 0.2, 0.9)]
    said = summary(rows)
    assert (said.hit, said.chance, said.better) == (0.5, 0.25, 0.5)
    assert said.energy == pytest.approx(0.35)
    assert said.hit_gain == pytest.approx((0.25, 0.5))  # of 0.75 and -0.25
    assert said.energy_gain == pytest.approx((0.15, 0.25))
    assert in_words(said).startswith("2 pictures: hit 0.50 (random square 0.25, gain 0.25 +- 0.50)")
    with pytest.raises(BadInput, match="no picture"):
        summary([])


class Brightest(torch.nn.Module):
    """Sees one place only: class 1 if the pixel (5, 9) is bright."""

    def __init__(self):
        super().__init__()
        self.maps = torch.nn.Identity()

    def forward(self, x):
        bright = self.maps(x)[:, 0, 5, 9]
        return torch.stack((torch.zeros_like(bright), 6 * bright - 3), dim=1)


def test_a_planted_cause_is_found():
    """A network that looks at one pixel: the drop lies on it, and a mask elsewhere gets nothing."""
    image, here, there = torch.ones(3, 16, 16), torch.zeros(16, 16), torch.zeros(16, 16)
    here[2:9, 6:13], there[10:16, 0:6] = 1, 1
    found = ground_truth(
        Brightest(),
        [(image, here, 1), (image, there, None)],
        square=4,
        stride=1,
        fill=torch.zeros(3, 16, 16),
        layer="maps",
    )
    assert found[0].hit and found[0].energy > 0.99
    assert not found[1].hit and found[1].energy == 0


@pytest.fixture(scope="module")
def classifier():
    trunk = zfnb.load_model("torchvision-alexnet", weights="imagenet-trunk")
    return scene_classifier(trunk, per_stamp=1)


def test_a_classifier_for_scenes_knows_unseen_stamps(classifier):
    """Far above the chance of one in ten, on stamps that it never saw."""
    net = classifier
    scenes = zfnb.load_dataset("scenes", "test", per_stamp=1)
    assert [name for _, name in net.classes] == scenes.classes
    right = list(scene_pictures(net, scenes, range(24)))
    assert len(right) >= 10
    image, mask, target = right[0]
    assert image.shape == (3, 224, 224) and mask.shape == (224, 224)
    assert 0.01 < mask.mean() < 0.7
    assert target in range(10)
    assert len(list(first(iter(right), 3))) == 3


class OnePicture:
    """One photograph with a box, as Tiny ImageNet has them."""

    targets = (1,)
    boxes = np.array([[16, 0, 47, 31]])

    def picture(self, item):
        from PIL import Image

        return Image.new("RGB", (64, 64), (250, 250, 250))


def test_boxes_follow_the_picture(monkeypatch):
    """The mask is cut and scaled as the picture is."""
    net = zfnb.load_model("zfnet", input_size=64, width=1 / 16, num_classes=2)
    for answer, count in ((1, 1), (0, 0)):
        torch.nn.init.zeros_(net.fc8.linear.weight)
        net.fc8.linear.bias.data = torch.tensor([1.0 - answer, float(answer)])
        found = list(boxed_pictures(net, OnePicture(), [0]))
        assert len(found) == count  # only pictures that are classified rightly
        if found:
            mask = found[0][1]
            # 64 pixels become 73, of which the middle 64 are seen: 4.5 are cut off each side.
            rows, columns = (mask > 0.5).any(1).nonzero(), (mask > 0.5).any(0).nonzero()
            assert abs(int(rows.min()) - (16 * 73 / 64 - 4.5)) <= 1
            assert abs(int(rows.max()) + 1 - (48 * 73 / 64 - 4.5)) <= 1
            assert int(columns.min()) == 0
            assert abs(int(columns.max()) + 1 - (32 * 73 / 64 - 4.5)) <= 1


def test_pictures_are_where_the_network_is(monkeypatch):
    with torch.device("meta"):
        net = build(describe_variant("zfnet", input_size=64, width=1 / 16), 10)
    seen = []

    def answer(_, image, layer):
        seen.append((image.device.type, layer))
        return torch.zeros(1, 10)

    monkeypatch.setattr(occlusion_truth, "features", answer)
    scenes = zfnb.load_dataset("scenes", "test", per_stamp=1)
    item = scenes.targets.index(0)
    ((image, _, target),) = scene_pictures(net, scenes, [item])
    assert image.device.type == "meta" and target == 0
    one = OnePicture()
    one.targets = (0,)
    ((image, _, _),) = boxed_pictures(net, one, [0])
    assert image.device.type == "meta" and seen == [("meta", "fc8")] * 2


def test_measurements_replace_their_like(tmp_path):
    path = tmp_path / "results" / "occlusion.json"
    assert kept(path) == []
    row = {"data": "scenes", "network": "a:b", "square": 32, "fill": "grey", "value": 1}
    keep(path, row)
    keep(path, row | {"fill": "blur", "value": 2})
    keep(path, row | {"value": 3})
    assert [one["value"] for one in kept(path)] == [2, 3]
    path.write_text(path.read_text()[:40])
    with pytest.raises(
        BadInput, match=r"occlusion\.json is damaged .* remove it and make it again"
    ):
        kept(path)


def test_the_command(tmp_path, monkeypatch, classifier):
    app = Typer()
    app.command()(occlusion_truth.measure)
    runner = CliRunner()
    wrong = runner.invoke(app, ["--data", "cifar", "--network", "zfnet:tiny-imagenet"])
    assert isinstance(wrong.exception, UnknownName)
    wrong = runner.invoke(app, ["--data", "scenes", "--network", "zfnet:tiny-imagenet"])
    assert "imagenet-trunk" in str(wrong.exception)
    wrong = runner.invoke(app, ["--data", "scenes", "--network", "zfnet", "--square", "0"])
    assert wrong.exit_code == 2 and "square" in wrong.output
    monkeypatch.setattr(occlusion_truth, "scene_classifier", lambda *_, **__: classifier)
    out = tmp_path / "occlusion.json"
    words = ["--data", "scenes", "--network", "torchvision-alexnet:imagenet-trunk"]
    words += ["--pictures", "2", "--square", "3", "--results", str(out)]
    done = runner.invoke(app, words)
    assert done.exit_code == 0, done.output
    (row,) = json.loads(out.read_text())["rows"]
    assert row["summary"]["pictures"] == len(row["pictures"]) == 2
    assert row["square"] == 75 and row["stride"] == 18
    assert row["measured"]["command"].endswith("--pictures 2 --square 3 --fill grey")
    assert "2 pictures: hit" in done.output
