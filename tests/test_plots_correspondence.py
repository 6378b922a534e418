"""The figures of correspondence draw what they are given."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import Rectangle

from zfnb import plots_correspondence as plots
from zfnb.correspondences import masked
from zfnb.errors import BadInput
from zfnb.face_marks import Framed
from zfnb.permutation import Verdict
from zfnb.random_masks import box_masks


@pytest.fixture(autouse=True)
def closed():
    """Figures of a test; none stays open after it."""
    yield
    plt.close("all")


@pytest.fixture
def images(noise):
    return noise(3, 64) / 4


BOXES = np.array([(4, 5, 20, 30), (8, 9, 20, 30), (1, 2, 9, 9)])


def texts(figure) -> set[str]:
    return {text.get_text() for text in figure.findobj(plt.Text)}


def test_a_row_a_part_and_a_column_a_picture(small_zfnet, images):
    rows = {
        "original": images,
        "nose": masked(images, box_masks(BOXES, 64), small_zfnet),
    }
    names = ["mammal/tiger", "cougar_face/image_0004.jpg", "bird/owl"]
    figure = plots.masked_faces(rows, small_zfnet, names)
    assert len(figure.axes) == 6
    assert [axis.get_title() for axis in figure.axes[:3]] == ["tiger", "0004", "owl"]
    assert [figure.axes[n].get_ylabel() for n in (0, 3)] == ["original", "nose"]
    plain, covered = (np.asarray(figure.axes[n].images[0].get_array()) for n in (0, 3))
    assert np.allclose(covered[4:20, 5:30], 128 / 255, atol=1e-6)
    assert np.array_equal(plain[30:], covered[30:]) and not np.allclose(plain[4:20], covered[4:20])
    assert figure.get_suptitle().startswith("RANDOM WEIGHTS")  # the network is not trained


def test_marks_are_outlined(small_zfnet, images):
    faces = Framed(["a", "b", "c"], images, {"nose": BOXES, "eye": BOXES + 20}, BOXES, [])
    figure = plots.marks(faces, small_zfnet)
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "c"]
    first = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    corners = [(p.get_y() + 0.5, p.get_x() + 0.5, p.get_height(), p.get_width()) for p in first]
    assert corners == [(4, 5, 16, 25), (24, 25, 16, 25)]
    assert first[0].get_edgecolor() != first[1].get_edgecolor()
    assert {"nose", "eye"} <= texts(figure)


def test_table_1_as_points():
    panels = {
        "paper": (np.array([0.1, 0.2, 0.3]), np.array([0.01, 0.02, 0.03])),
        "ours": (np.array([0.5, 0.6, 0.4]), np.array([0.1, np.nan, 0.1])),
    }
    figure = plots.table_chart(panels, ["right eye", "nose"])
    paper, ours = figure.axes
    assert [axis.get_title() for axis in figure.axes] == ["paper", "ours"]
    assert [t.get_text() for t in paper.get_xticklabels()] == ["right\neye", "nose", "random"]
    assert paper.lines[0].get_ydata()[0] == 0.3 and ours.lines[0].get_ydata()[0] == 0.4
    points = np.concatenate([c[0].get_ydata() for c in paper.containers])
    assert points.tolist() == [0.1, 0.2, 0.3]
    assert paper.get_ylim()[0] == ours.get_ylim()[0] == 0 and ours.get_ylim()[1] > 0.6
    assert {"0.100", "0.600"} <= texts(figure)
    figure = plots.table_chart({f"{n}": panels["ours"] for n in range(7)}, ["right eye", "nose"])
    assert [axis.axison for axis in figure.axes] == [True] * 7 + [False]  # a second row of panels
    assert figure.axes[4].get_ylabel() == figure.axes[0].get_ylabel() != ""


def test_histograms_mark_the_part():
    chance = np.linspace(0.2, 0.4, 101)
    verdict = Verdict(0.25, 0.3, 0.26, True, chance)
    figure = plots.chance_histograms({"nose": verdict})
    axis = figure.axes[0]
    assert axis.lines[0].get_xdata()[0] == 0.25
    assert sum(bar.get_height() for bar in axis.patches) == 101
    assert axis.get_title() == "nose\np = 0.2600" and axis.get_ylabel() == "101 placements"
    unknown = Verdict(0.25, 0.3, 0.5, False, np.append(chance, np.nan))
    drawn = plots.chance_histograms({"nose": unknown}).axes[0]
    assert sum(bar.get_height() for bar in drawn.patches) == 101


def test_ratios_are_filled_where_p_is_small():
    rows = [
        {"part": part, "layer": layer, "zero": zero, "mean": mean, "random": 0.4, "p": p}
        for part, layer, zero, mean, p in (
            ("eye", "conv5", "own", 0.2, 0.01),
            ("nose", "conv5", "own", 0.5, 0.9),
            ("eye", "conv5", "half", 0.4, 0.5),
            ("eye", "fc7", "own", 0.3, 0.04),
        )
    ]
    figure = plots.ratios(rows, by="zero")
    first, second = figure.axes
    assert [axis.get_title() for axis in (first, second)] == ["conv5", "fc7"]
    dots = [line for line in first.lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx([0.5, 1.25, 1.0])
    assert [round(dot.get_ydata()[0]) for dot in dots] == [0, 0, 1]
    assert [dot.get_markerfacecolor() == "none" for dot in dots] == [False, True, True]
    assert [t.get_text() for t in first.get_yticklabels()] == ["own", "half"]
    assert {"eye", "nose", "p < 0.05"} <= texts(figure)
    figure = plots.ratios(rows, by="part", groups=("layer", "zero"))
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["conv5\nown", "conv5\nhalf", "fc7\nown"]
    more = [{**row, "layer": f"conv{n}"} for n in range(5) for row in rows[:1]]
    figure = plots.ratios(more, by="zero")  # a second row of panels
    assert [bool(axis.get_title()) for axis in figure.axes] == [True] * 5 + [False]
    assert not figure.axes[-1].axison


def test_bars_of_ones_own_masks(small_zfnet, images):
    values = {"these masks": 0.25, "random masks": 0.5}
    figure = plots.own_masks(images, BOXES, 1, small_zfnet, values, "a title")
    *pictures, bars = figure.axes
    assert [len(axis.patches) for axis in pictures] == [0, 2, 0]  # white and red
    assert [bar.get_width() for bar in bars.patches] == [0.25, 0.5]
    assert {"these masks", "0.250", "0.500"} <= texts(figure)
    unknown = {"these masks": np.nan, "random masks": np.nan}
    drawn = plots.own_masks(images, BOXES, 0, small_zfnet, unknown, "a title")
    assert "no element changed in both" in texts(drawn)


def test_nothing_to_draw_is_said(small_zfnet, images):
    for call, words in (
        (lambda: plots.masked_faces({}, small_zfnet), "at least one row"),
        (lambda: plots.masked_faces({"a": images, "b": images[:2]}, small_zfnet), "as many"),
        (lambda: plots.table_chart({}, ["nose"]), "no column"),
        (lambda: plots.chance_histograms({}), "no test"),
        (lambda: plots.ratios([], by="zero"), "measure some first"),
    ):
        with pytest.raises(BadInput, match=words):
            call()
