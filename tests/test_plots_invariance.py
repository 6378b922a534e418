"""The figures of feature invariance."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

import zfnb
from tests.drawing import assert_warns_of_random_weights, figures_of
from zfnb import curve_shapes, plots, plots_invariance
from zfnb import invariance as inv
from zfnb.errors import BadInput
from zfnb.transformations import TRANSFORMATIONS

NAMES = ["a", "b"]
LAYERS = ["pixels", "conv1", "fc7"]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def curves(small_zfnet, images):
    return {
        name: zfnb.invariance_curves(
            small_zfnet, images, [1, 4], name, TRANSFORMATIONS[name].values(64, 5), LAYERS
        )
        for name in ("vertical", "rotation")
    }


@pytest.fixture
def figure_5(small_zfnet, images, curves):
    at = [one.values[[0, 4]] for one in curves.values()]
    shown = [inv.moved(images, name, v) for name, v in zip(curves, at, strict=True)]
    return plots_invariance.figure_5(
        shown, at, list(curves.values()), small_zfnet, NAMES, ("conv1", "fc7")
    )


def drawn(name: str, net, images, curves) -> plt.Figure:
    one = curves["vertical"]
    return {
        "strips": lambda: plots_invariance.strips({"row": images}, NAMES, net, "Strips"),
        "figure_5": lambda: plots_invariance.figure_5(
            [inv.moved(images, "vertical", [0, 3])], [[0, 3]], [one], net, NAMES, ("conv1", "fc7")
        ),
        "scaled_curves": lambda: plots_invariance.scaled_curves(
            {"all": {n: curve_shapes.scaled(one, n) for n in LAYERS}}, net
        ),
        "symmetry_dips": lambda: plots_invariance.symmetry_dips(
            images, curves["rotation"], [0, 5], net, NAMES
        ),
        "shares": lambda: plots_invariance.shares({"x": np.array([0.5, 1])}, net, "share"),
        "one_picture": lambda: plots_invariance.one_picture(
            images[0], one, float(one.values[1]), net, "a"
        ),
    }[name]()


FIGURES = figures_of(plots_invariance)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_title_that_warns_of_random_weights(name, small_zfnet, images, curves):
    figure = drawn(name, small_zfnet, images, curves)
    figure.canvas.draw()
    assert_warns_of_random_weights(figure._suptitle)


def test_figure_5_shows_the_curves(figure_5, curves):
    axes = np.array(figure_5.axes).reshape(2, 4)
    for line, one in zip(axes, curves.values(), strict=True):
        for axis, rows in zip(
            line[1:], (one.distance["conv1"], one.distance["fc7"], one.probability), strict=True
        ):
            lines = axis.get_lines()
            assert len(lines) == 2
            for drawn_line, row in zip(lines, rows, strict=True):
                assert np.array_equal(drawn_line.get_xdata(), one.values)
                assert np.array_equal(drawn_line.get_ydata(), row)
            assert axis.get_ylim()[0] == 0
        assert line[3].get_ylim() == (0, 1)
    assert [axis.get_title() for axis in axes[0]] == [
        "pictures",
        "distance at conv1",
        "distance at fc7",
        "probability of the true label",
    ]
    assert axes[0, 1].get_xlabel() == "vertical translation (pixels of 64)"
    assert axes[1, 1].get_xlabel() == "rotation (degrees)"
    assert [text.get_text() for text in figure_5.legends[0].get_texts()] == NAMES


def test_a_pictures_frame_has_the_colour_of_its_curves(figure_5, small_zfnet, images):
    axes = np.array(figure_5.axes).reshape(2, 4)
    picture = axes[0, 0].get_images()[0].get_array()
    frame = max(2, round(plots_invariance.FRAME * 64))
    step = 64 + 3 * frame
    assert picture.shape == (2 * step, 2 * step, 3)
    for n in range(2):
        colour = to_rgb(axes[0, 1].get_lines()[n].get_color())
        for row in range(2):
            assert tuple(picture[row * step, n * step]) == pytest.approx(colour)
            assert tuple(picture[row * step + frame - 1, n * step + 40]) == pytest.approx(colour)
    # Inside, the pictures as the network saw them: the first row at the first value.
    low = TRANSFORMATIONS["vertical"].values(64, 5)[0]
    seen = inv.moved(images, "vertical", [low])[0]
    inside = picture[frame : frame + 64, step + frame : step + frame + 64]
    assert np.allclose(inside, plots.input_picture(seen[1], small_zfnet))
    labels = [label.get_text() for label in axes[0, 0].get_yticklabels()]
    assert labels == ["-17.1 px", "17.1 px"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("vertical", -0.0, "0 px"),
        ("vertical", 12.857, "12.9 px"),
        ("scale", 1.4, "1.4×"),
        ("rotation", 350.0, "350°"),
    ],
)
def test_amounts_in_words(name, value, words):
    assert plots_invariance.amount(TRANSFORMATIONS[name], value) == words


def test_scaled_curves_show_means(small_zfnet, curves):
    rows = {"conv1": np.array([[0, 0.2, 1], [0, 0.6, 1]]), "pixels": np.zeros((1, 3))}
    figure = plots_invariance.scaled_curves(
        {"one": rows, "two": {"conv1": rows["conv1"]}}, small_zfnet
    )
    line, mean, pixels = figure.axes[0].get_lines()
    assert list(line.get_ydata()) == [0, 1]
    assert mean.get_ydata() == pytest.approx([0, 0.4, 1])
    assert mean.get_xdata() == pytest.approx([0, 0.5, 1])
    assert pixels.get_linestyle() == "--"
    assert figure.axes[1].get_lines()[1].get_color() == mean.get_color()
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["straight line", "conv1", "pixels"]


def test_turns_of_the_symmetry_are_marked(small_zfnet, images, curves):
    figure = plots_invariance.symmetry_dips(images, curves["rotation"], [0, 5], small_zfnet, NAMES)
    first, second = figure.axes[1], figure.axes[3]
    marked = [line.get_xdata()[0] for line in second.get_lines()[:4]]
    assert marked == pytest.approx([72, 144, 216, 288])
    assert len(first.get_lines()) == len(LAYERS) and len(second.get_lines()) == 4 + len(LAYERS)
    conv1 = first.get_lines()[1].get_ydata()
    assert np.array_equal(conv1, curves["rotation"].relative("conv1")[0])


def test_shares_are_means_and_dots(small_zfnet):
    figure = plots_invariance.shares(
        {"x": np.array([0.25, 0.75]), "y": np.ones(1)}, small_zfnet, "s"
    )
    axis = figure.axes[0]
    assert [bar.get_height() for bar in axis.patches] == [0.5, 1]
    assert axis.get_lines()[0].get_ydata().tolist() == [0.25, 0.75]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["x", "y"]


def test_one_picture_stands_on_its_curves(small_zfnet, images, curves):
    one = curves["vertical"]
    value = float(one.values[3])
    figure = plots_invariance.one_picture(images[1], one, value, small_zfnet, "a cat", item=1)
    picture, distance, chance = figure.axes
    assert np.allclose(
        picture.get_images()[0].get_array(), plots.input_picture(images[1], small_zfnet)
    )
    dots = [line for line in distance.get_lines() if line.get_marker() == "o"]
    for dot, layer in zip(dots, LAYERS, strict=True):
        assert np.ravel(dot.get_xdata()) == value
        assert np.ravel(dot.get_ydata()) == one.relative(layer)[1, 3]
    assert np.ravel(chance.get_lines()[1].get_ydata()) == one.probability[1, 3]
    title = figure._suptitle.get_text()
    assert f"a cat, vertical translation {value:.3g} px" in title
    assert f"seen as class {one.label[1, 3]}" in title


def test_one_picture_without_a_label(small_zfnet, images):
    one = zfnb.invariance_curves(small_zfnet, images, None, "scale", [1, 1.5], ["conv1"])
    figure = plots_invariance.one_picture(images[0], one, 1.5, small_zfnet, "a")
    assert [text.get_text() for text in figure.axes[2].texts] == ["no label"]
    assert "probability" not in figure._suptitle.get_text()


def test_what_cannot_be_drawn(small_zfnet, images, curves):
    net = small_zfnet
    with pytest.raises(BadInput, match="no value 99"):
        plots_invariance.one_picture(images[0], curves["vertical"], 99, net, "a")
    with pytest.raises(BadInput, match="for each transformation"):
        plots_invariance.figure_5([], [], [], net, NAMES, ("conv1", "fc7"))
    few = {"full": images[[0, 0, 0]], "short": images[:2]}
    with pytest.raises(BadInput, match="needs 3 pictures, one a column, but 'short' has 2"):
        plots_invariance.strips(few, ["x", "y", "z"], net, "")
    for rows, columns in (({}, ["x"]), ({"row": images[:0]}, [])):
        with pytest.raises(BadInput, match="no picture to draw"):
            plots_invariance.strips(rows, columns, net, "")
    with pytest.raises(BadInput, match="for each row"):
        plots_invariance.symmetry_dips(images, curves["rotation"], [0], net, NAMES)
    with pytest.raises(BadInput, match="at least one panel"):
        plots_invariance.scaled_curves({}, net)
    with pytest.raises(BadInput, match="at least one row"):
        plots_invariance.shares({}, net, "")
