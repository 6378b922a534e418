"""The figures of Table 2 draw the numbers they are given; the panel follows its controls."""

from __future__ import annotations

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import zfnb
from zfnb import plots_classification as draw
from zfnb.classification import SHORT, Row
from zfnb.data import stamp
from zfnb.errors import BadInput
from zfnb.evaluate import ten_crops
from zfnb.models import build, describe_variant
from zfnb.widgets_classification import PredictionPanel


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def net():
    torch.manual_seed(0)
    classes = [(f"n{i:08d}", f"thing {i}") for i in range(10)]
    return build(describe_variant("zfnet", width=0.0625, input_size=64), 10, classes=classes)


def texts(figure) -> str:
    return " | ".join(t.get_text() for t in figure.findobj(plt.Text) if t.get_text())


def test_bars_are_as_long_as_the_errors():
    rows = draw.named([Row(("a",), 1, 40.0, 20.0), Row(("a", "b"), 10, 35.5, 15.25)])
    figure = draw.error_bars({"ours": rows, "theirs": [("x", 30.0, None)]}, "errors")
    ours, theirs = figure.axes
    assert [bar.get_width() for bar in ours.patches] == [40.0, 35.5, 20.0, 15.25]
    assert [bar.get_width() for bar in theirs.patches] == [30.0, 0.0]
    assert "a + b, 10 crops" in texts(figure) and "a, 1 crop |" in texts(figure)
    assert "30.0" in texts(figure)  # and no number where there is none
    assert len([t for t in theirs.texts if t.get_text()]) == 1


LONGEST = tuple(SHORT)  # all networks that travel with the package


@pytest.mark.parametrize(
    "rows",
    [
        [Row(LONGEST[:1], 1, 53.0, 27.0), Row(LONGEST, 10, 48.0, 23.0)],
        [Row(tuple(f"zfnet:/a/long/place/of/weights/number-{n}" for n in range(4)), 1, 53.0, 27.0)],
    ],
)
def test_long_names_leave_the_bars_half_of_the_figure(rows):
    figure = draw.error_bars({"ours": draw.named(rows), "theirs": [("x", 30.0, 9.0)]}, "errors")
    figure.canvas.draw()
    for axis in figure.axes:
        assert axis.get_position().width > 0.5
    renderer = figure.canvas.get_renderer()
    boxes = [label.get_window_extent(renderer) for label in figure.axes[0].get_yticklabels()]
    assert all(box.x0 >= 0 for box in boxes)
    for above, below in pairwise(boxes):
        assert above.y0 > below.y1


def test_names_are_short_and_in_one_order():
    row = Row((LONGEST[2], "other:weights", LONGEST[0]), 1, 40.0, 20.0)
    others = [Row((LONGEST[1],), 10, 41.0, 21.0), Row((LONGEST[0],), 1, 42.0, 22.0)]
    assert draw.named([row, *others]) == [
        ("ZFNet, 1 crop", 42.0, 22.0),
        ("AlexNet, 10 crops", 41.0, 21.0),
        ("ZFNet + ImageNet trunk + other:weights, 1 crop", 40.0, 20.0),
    ]


def test_an_empty_group_is_refused():
    for groups in ({}, {"ours": []}):
        with pytest.raises(BadInput, match="at least one row"):
            draw.error_bars(groups, "errors")


def test_ten_crops_are_ten_pictures(net):
    figure = draw.ten_crops(ten_crops(stamp("bird/crow").image(), net.preprocessing), net)
    assert sum(len(axis.images) for axis in figure.axes) == 10
    assert "RANDOM WEIGHTS" in texts(figure)


def test_class_errors_are_sorted_and_named():
    classes = [("n", f"c{i}") for i in range(20)]
    values = np.arange(20.0)[::-1] * 5
    figure = draw.class_errors({"a": values, "b": values / 2}, classes, count=3)
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), np.sort(values))
    names = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert names == ["c19", "c18", "c17", "c2", "c1", "c0"]


def test_classes_without_a_picture_are_not_the_hardest():
    classes = [("n", f"c{i}") for i in range(6)]
    values = np.array([np.nan, 40.0, 10.0, 30.0, np.nan, 20.0])
    figure = draw.class_errors({"a": values}, classes, count=3)  # four have an error
    names = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert names == ["c2", "c5", "c3", "c1"]
    assert [bar.get_width() for bar in figure.axes[1].patches] == [10, 20, 30, 40]
    assert not draw.class_errors({"a": values[:2]}, classes).axes[1].patches


def test_confused_pairs():
    figure = draw.confused_pairs([(1, 0, 9), (0, 2, 4)], [("n", c) for c in "abc"], "test")
    assert [bar.get_width() for bar in figure.axes[0].patches] == [9, 4]
    assert "b  ↔  a" in texts(figure)
    with pytest.raises(BadInput, match="nothing to draw"):
        draw.confused_pairs([], [], "test")


def test_the_true_class_is_marked(net):
    image = zfnb.preprocess(stamp("bird/crow").image(), net)
    guesses = [[("cat", 0.7), ("crow", 0.2)], [("cat", 1.0)]]
    figure = draw.predictions([image, image], ["crow", "dog"], guesses, net, "test", columns=2)
    first, second = figure.axes[1], figure.axes[3]
    assert [bar.get_width() for bar in first.patches] == [0.7, 0.2]
    assert first.patches[0].get_facecolor() != first.patches[1].get_facecolor()
    assert second.patches[0].get_facecolor() == first.patches[0].get_facecolor()
    assert "crow  20%" in texts(figure)
    with pytest.raises(BadInput, match="no picture"):
        draw.predictions([], [], [], net, "test")


def test_the_panel_follows_its_controls(net):
    torch.manual_seed(1)
    other = build(describe_variant("alexnet", width=0.0625, input_size=64), 10)
    pictures = {"thing 3": stamp("bird/crow").image(), "a duck": stamp("bird/duck").image()}
    panel = PredictionPanel({"one": net, "two": other}, pictures)
    seen = [panel.picture.value]
    for control, value in (("picture", "a duck"), ("network", "two"), ("crops", 10)):
        panel.controls[control].value = value
        seen.append(panel.picture.value)
    assert len(set(seen)) == 4 and panel.error is None
    assert bytes(seen[0]).startswith(b"\x89PNG")


def test_a_panel_without_anything_to_ask(net):
    pictures = {"crow": stamp("bird/crow").image()}
    for nets, shown in (({}, pictures), ({"one": net}, {})):
        with pytest.raises(BadInput, match="at least one"):
            PredictionPanel(nets, shown)
    trunk = zfnb.load_model("torchvision-alexnet", weights="imagenet-trunk")
    with pytest.raises(BadInput, match="no classifier"):
        PredictionPanel({"trunk": trunk}, pictures)
