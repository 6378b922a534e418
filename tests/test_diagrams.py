"""What the drawings say: every number that is shown is the right one."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import zfnb
from zfnb import architecture as arch
from zfnb import diagrams, traps
from zfnb.diagrams import Grid
from zfnb.receptive import receptive_boxes


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def words(figure) -> list[str]:
    """All text of a figure, titles and legends too."""
    figure.canvas.draw()
    found = [text.get_text() for text in figure.findobj(plt.Text)]
    return [text for text in found if text]


def overlapping(axis) -> list[tuple[str, str]]:
    """Pairs of texts of an axis that cover each other."""
    axis.figure.canvas.draw()
    boxes = [
        (text.get_text(), text.get_window_extent().padded(-1))  # a line's box has some air
        for text in axis.texts
        if text.get_text()
    ]
    return [
        (a, b) for n, (a, one) in enumerate(boxes) for b, two in boxes[n + 1 :] if one.overlaps(two)
    ]


def clipped(figure) -> list[str]:
    """Texts that reach over the edge of the figure; numbers at the ticks aside."""
    figure.canvas.draw()
    width, height = figure.canvas.get_width_height()
    texts = [figure._suptitle] if figure._suptitle else []
    for axis in figure.axes:
        texts += [*axis.texts, axis.title, axis._left_title]
        texts += [axis.xaxis.label, axis.yaxis.label] if axis.axison else []
        texts += axis.get_legend().get_texts() if axis.get_legend() else []
    boxes = {text.get_text(): text.get_window_extent() for text in texts if text.get_text()}
    return [
        text
        for text, box in boxes.items()
        if min(box.x0, box.y0) < -1 or box.x1 > width + 1 or box.y1 > height + 1
    ]


@pytest.mark.parametrize("name", ["zfnet", "alexnet", "torchvision-alexnet", "alexnet-no3467"])
def test_network(name):
    net = arch.outline(name)
    figure = diagrams.draw_network(net)
    [axis] = figure.axes
    said = words(figure)
    for row in arch.layer_table(net):
        if row.layer.startswith("norm"):
            continue
        assert row.layer in said
        assert str(row.maps) in said
        assert row.side == 1 or str(row.side) in said
    assert name in figure.get_suptitle()
    assert not overlapping(axis)
    assert not clipped(figure)


def test_network_says_what_fig_3_says():
    said = words(diagrams.draw_network(arch.outline("zfnet"), "Fig. 3"))
    sides = [text for text in said if text in ("224", "110", "55", "26", "13", "6")]
    assert sides == ["224", "110", "55", "26", "13", "13", "13", "13", "6"]
    assert "filters 7×7\nstride 2\nReLU" in said
    assert said.count("pool 3×3\nstride 2\ncontrast norm.") == 2
    assert "Fig. 3" in said


@pytest.mark.parametrize("what", ["parameters", "multiply_adds"])
def test_by_layer(what):
    tables = {name: arch.layer_table(arch.outline(name)) for name in ("zfnet", "alexnet-no34")}
    figure = diagrams.draw_by_layer(tables, what)
    [axis] = figure.axes
    expected = [getattr(r, what) / 1e6 for t in tables.values() for r in t if r.parameters]
    assert [bar.get_width() for bar in axis.patches] == pytest.approx(expected)
    layers = [label.get_text() for label in axis.get_yticklabels()]
    assert layers == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    total = sum(getattr(row, what) for row in tables["zfnet"])
    first = getattr(tables["zfnet"][0], what)
    said = words(figure)
    assert f"zfnet: {total / 1e6:,.1f} million in all" in said
    assert f" {first / 1e6:,.2f}  ({100 * first / total:.1f} %)" in said
    assert what.replace("_", "-") in axis.get_xlabel()
    assert not overlapping(axis)
    assert not clipped(figure)


def test_by_layer_leaves_a_gap_where_a_network_has_no_layer():
    tables = {name: arch.layer_table(arch.outline(name)) for name in ("zfnet", "alexnet-no34")}
    [axis] = diagrams.draw_by_layer(tables).axes
    places = [round(bar.get_y() + bar.get_height() / 2) for bar in axis.patches]
    assert places == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 4, 5, 6, 7]


def test_variants():
    rows = arch.variants()
    figure = diagrams.draw_variants(rows)
    left, right = figure.axes
    assert [bar.get_width() for bar in left.patches] == [row["parameters"] / 1e6 for row in rows]
    validation = next(line for line in right.lines if line.get_label() == "validation")
    training = next(line for line in right.lines if line.get_label() == "training")
    assert validation.get_xdata().tolist() == [row["val_top1"] for row in rows]
    assert training.get_xdata().tolist() == [row["train_top1"] for row in rows]
    assert "published" in right.get_xlabel()
    assert not clipped(figure)


def test_pool_edges():
    figure = diagrams.draw_pool_edges(8)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == [
        "“floor”: 3 windows, position 7 is never looked at",
        "“ceil”: 4 windows",
        "“pad”: 4 windows",
    ]
    spans = [[line.get_xdata() for line in axis.lines] for axis in figure.axes]
    first = [(round(a + 0.4), round(b - 0.4)) for a, b in spans[2]]
    assert first == arch.pool_windows(8, "pad")
    assert "never" not in "".join(words(diagrams.draw_pool_edges(9)))


def test_receptive_fields():
    net = arch.outline("zfnet")
    layers = ["conv1", "conv5", "pool5"]
    places = {"middle": (0.5, 0.5), "corner": (1, 1)}
    image = torch.zeros(3, 224, 224)
    figure = diagrams.draw_receptive_fields(image, net, layers, places)
    legends = [[t.get_text() for t in axis.get_legend().get_texts()] for axis in figure.axes]
    assert legends[0] == ["conv1: 7 × 7", "conv5: 139 × 139", "pool5: 171 × 171"]
    for layer, text, patch in zip(layers, legends[1], figure.axes[1].patches[1::2], strict=True):
        side = net.shapes[layer][1]
        box = receptive_boxes(net, layer, torch.tensor([[side - 1, side - 1]]))[0].tolist()
        top, left, bottom, right = box
        assert text == f"{layer}: {bottom - top} × {right - left}"
        assert patch.get_xy() == (left - 0.5, top - 0.5)
        assert (patch.get_width(), patch.get_height()) == (right - left, bottom - top)
    assert [axis.get_title() for axis in figure.axes] == ["middle", "corner"]


def test_grids():
    values = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 3.0]])
    figure = diagrams.draw_grids(
        Grid("left", values, marks=[(1, 2), (1, 2)], windows=[(0, 0, 2)]),
        Grid("right", values.relu()[None, None]),
        arrows=["ReLU"],
        title="An example",
    )
    said = words(figure)
    assert figure.get_suptitle() == "An example"
    numbers = [text for text in said if text.strip("−.0123456789") == ""]
    assert numbers == ["1", "−2", "0.5", "0", "0", "3", "1", "0", "0.5", "0", "0", "3"]
    assert {"left", "right", "ReLU"} <= set(said)
    [axis] = figure.axes
    circles = [patch for patch in axis.patches if isinstance(patch, plt.Circle)]
    assert [c.center for c in circles] == [(2.5, 1.5), (2.5, 1.5)]
    assert circles[0].radius > circles[1].radius  # both can be seen
    assert not overlapping(axis)
    assert not clipped(figure)


def test_a_plane_may_lie_on_another_device(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "cpu", lambda x: torch.ones(x.shape))
    assert diagrams.as_plane(torch.empty(1, 2, 3, device="meta")).tolist() == [[1.0] * 3] * 2


def test_scheme():
    said = " ".join(words(diagrams.draw_scheme()))
    for step in ("unpool", "rectify", "transposed filters", "switches", "pool", "convolve"):
        assert step in said
    assert not clipped(diagrams.draw_scheme())


@pytest.fixture(scope="module")
def comparison():
    right = torch.zeros(2, 3, 64, 64)
    right[:, :, 10:30, 20:50] = torch.linspace(-1, 1, 600).reshape(20, 30)
    wrong = {"negative": -right, "gone": torch.zeros_like(right)}
    return traps.Comparison(right, wrong, {"negative": [-1.0, -0.25], "gone": [0.0, 0.0]})


def test_mistakes(small_zfnet, comparison):
    figure = diagrams.draw_mistakes(small_zfnet, comparison, unit=1, columns=3)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["right", "negative\ncosine −0.25", "gone\nnothing is left"]
    pictures = [axis.get_images()[0].get_array() for axis in figure.axes]
    assert all(picture.shape == (20, 30, 3) for picture in pictures)  # cropped
    np.testing.assert_allclose(pictures[0] + pictures[1], 1, atol=1e-6)  # mirrored about mid grey
    assert (pictures[2] == 0.5).all()
    whole = diagrams.draw_mistakes(small_zfnet, comparison, crop=False)
    assert whole.axes[0].get_images()[0].get_array().shape == (64, 64, 3)
    assert not clipped(figure)


def test_rules(small_zfnet, noise):
    rules = ("deconvnet", "gradient")
    x = noise(1, 64)
    found = {r: zfnb.Deconvnet(small_zfnet, rule=r).project(x, "conv3", [2, 5]) for r in rules}
    figure = diagrams.draw_rules(x[0], found, small_zfnet, "conv3", [2, 5])
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == [
        *("conv3, map 2", "deconvnet", "gradient"),
        *("conv3, map 5", "deconvnet", "gradient"),
    ]
    for row in (0, 1):
        top, left, bottom, right = found["deconvnet"].box[row].tolist()
        for axis in figure.axes[3 * row + 1 : 3 * row + 3]:
            assert axis.get_images()[0].get_array().shape == (bottom - top, right - left, 3)
    assert not clipped(figure)


def test_random_weights_are_said_loudly(small_zfnet, trunk, comparison, noise):
    x = noise(1, 64)
    found = {"deconvnet": zfnb.Deconvnet(small_zfnet).project(x, "conv3", 2)}
    for title in ("", "A title of one's own"):
        for figure in (
            diagrams.draw_mistakes(small_zfnet, comparison, title=title),
            diagrams.draw_rules(x[0], found, small_zfnet, "conv3", [2], title),
        ):
            assert figure.get_suptitle().startswith("RANDOM WEIGHTS")
            assert figure._suptitle.get_color() == "crimson"
    trained = diagrams.draw_mistakes(trunk, comparison)
    assert "RANDOM" not in trained.get_suptitle()
