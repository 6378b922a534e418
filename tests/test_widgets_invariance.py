"""The panel that transforms a picture."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest
import torch

import zfnb
from zfnb import plots_invariance, widgets, widgets_invariance
from zfnb.errors import BadInput, UnknownName
from zfnb.invariance import moved
from zfnb.movable import Movable
from zfnb.transformations import TRANSFORMATIONS
from zfnb.widgets_invariance import ALONE, WHOLE, InvariancePanel

LAYERS = ("pixels", "conv1", "fc7")
TRUE = {"one": 1, "two": 4}


@pytest.fixture
def pictures():
    behind, front = torch.randn(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    alpha = torch.zeros(2, 1, 64, 64)
    alpha[..., 16:40, 20:44] = 1
    both = Movable(behind, front * alpha, alpha)
    return {"one": both[0], "two": both[1]}


@pytest.fixture
def drawn(monkeypatch):
    """Titles of the figures that the panel draws, in order."""
    titles, plain = [], widgets.png

    def png(figure):
        titles.append(figure._suptitle.get_text())
        return plain(figure)

    monkeypatch.setattr(widgets, "png", png)
    return titles


@pytest.fixture
def panel(small_zfnet, pictures, drawn):
    made = InvariancePanel(small_zfnet, pictures, TRUE, LAYERS, count=5)
    drawn.clear()
    return made


def test_it_starts_at_the_identity(panel):
    assert panel.error is None
    assert panel.controls["value"].label == "0 px" and panel.controls["moves"].value == WHOLE
    assert plt.get_fignums() == []


def test_each_control_changes_the_picture(panel, drawn):
    seen = {panel.picture.value}
    changes = {"value": 4, "picture": "two", "moves": ALONE, "transform": "scale"}
    for name, value in changes.items():
        panel.controls[name].value = value
        assert panel.error is None and panel.picture.value not in seen, name
        seen.add(panel.picture.value)
    assert len(drawn) == 4  # one picture a change, also where the slider has to follow
    assert drawn[0].startswith("RANDOM WEIGHTS") and "one, vertical translation 17.1 px" in drawn[0]
    assert "two, scale 1×" in drawn[-1]


@pytest.mark.parametrize("name", ["scale", "rotation", "horizontal"])
def test_the_slider_follows_the_transformation(panel, name):
    panel.controls["value"].value = 4
    panel.controls["transform"].value = name
    one, slider = TRANSFORMATIONS[name], panel.controls["value"]
    values = one.values(64, 36 if one.turns else 5)
    assert [label for label, _ in slider.options] == [
        plots_invariance.amount(one, v) for v in values
    ]
    assert values[slider.value] == one.identity
    slider.value = len(values) - 1
    assert panel.error is None
    panel.controls["transform"].value = "vertical"
    assert len(slider.options) == 5 and slider.label == "0 px"


@pytest.mark.parametrize("moves", [WHOLE, ALONE])
def test_it_shows_what_the_experiment_finds(panel, small_zfnet, pictures, moves):
    with panel.once():
        panel.controls["picture"].value = "two"
        panel.controls["moves"].value = moves
        panel.controls["value"].value = 3
    still = pictures["two"] if moves == ALONE else pictures["two"].images
    values = TRANSFORMATIONS["vertical"].values(64, 5)
    curves = zfnb.invariance_curves(small_zfnet, still, [4], "vertical", values, LAYERS)
    image = moved(still, "vertical", values[3:4])[0, 0]
    expected = plots_invariance.one_picture(image, curves, values[3], small_zfnet, "two")
    assert panel.picture.value == widgets.png(expected)


def test_curves_are_computed_once(panel, monkeypatch):
    asked = []
    plain = widgets_invariance.invariance_curves

    def counting(net, images, targets, transform, *rest, **more):
        asked.append(transform)
        return plain(net, images, targets, transform, *rest, **more)

    monkeypatch.setattr(widgets_invariance, "invariance_curves", counting)
    for value in (4, 0, 3):
        panel.controls["value"].value = value
    assert asked == []  # the first picture's were there
    panel.controls["picture"].value = "two"
    panel.controls["value"].value = 1
    panel.controls["picture"].value = "one"
    assert asked == ["vertical"]


def test_plain_pictures_move_as_a_whole_only(small_zfnet, pictures, drawn):
    images = {name: one.images[0] for name, one in pictures.items()}
    panel = InvariancePanel(small_zfnet, images, None, LAYERS, count=5)
    assert panel.controls["moves"].options == (WHOLE,)
    panel.controls["value"].value = 4
    assert panel.error is None and "probability" not in drawn[-1]


def test_the_still_twin_has_words(panel):
    data, metadata = panel._repr_mimebundle_()
    assert "image/png" in data and "distances" in metadata["image/png"]["alt"]


def test_a_panel_that_cannot_start(small_zfnet, pictures):
    with pytest.raises(BadInput, match="no picture to transform"):
        InvariancePanel(small_zfnet, {})
    with pytest.raises(BadInput, match="no target for two"):
        InvariancePanel(small_zfnet, pictures, {"one": 1}, LAYERS)
    with pytest.raises(UnknownName, match="conv1"):
        InvariancePanel(small_zfnet, pictures, TRUE, ["conv9"])
    with pytest.raises(UnknownName, match="edge, reflect, mean"):
        InvariancePanel(
            small_zfnet, {n: p.images[0] for n, p in pictures.items()}, TRUE, LAYERS, fill="black"
        ).controls["value"].value = 3
