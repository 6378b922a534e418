"""The figures of architecture selection draw what they are given."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection

from zfnb import aliasing, filters
from zfnb import plots_filters as plots
from zfnb.activations import Record
from zfnb.errors import BadInput
from zfnb.feature_sheets import FeatureSheet
from zfnb.plots import GAP


@pytest.fixture(autouse=True)
def closed():
    """Figures of a test; none stays open after it."""
    yield
    plt.close("all")


@pytest.fixture
def nets(small_zfnet, trunk):
    return {"ours": small_zfnet, "theirs": trunk}


def sheet(feature_map: int, side: int = 15, pictures: int = 9) -> FeatureSheet:
    generator = torch.Generator().manual_seed(feature_map)
    records = [Record(n, 1.0, (0, 0), (0, 0, side, side)) for n in range(pictures)]
    fields = (torch.randn(pictures, 3, side, side, generator=generator) for _ in range(2))
    return FeatureSheet("conv2", feature_map, records, *fields)


def texts(figure) -> str:
    found = [text.get_text() for text in figure.findobj(plt.Text)]
    return "\n".join(found)


def test_filters_stand_side_by_side_at_one_size(nets):
    figure = plots.filter_sheets(nets, columns=8)
    ours, theirs = (axis.images[0].get_array() for axis in figure.axes)
    step = plots.FILTER + GAP
    assert ours.shape == (step - GAP, 8 * step - GAP, 3)  # 6 filters in a row of 8
    assert theirs.shape == (8 * step - GAP, 8 * step - GAP, 3)
    weight, _ = filters.first_filters(nets["theirs"])
    expected = (0.5 + weight[0] / weight[0].abs().max() / 2)[:, 5, 5]
    assert np.allclose(theirs[11, 11], expected, atol=1e-6)  # pixel 11 of 22 is tap 5 of 11
    assert "ours\n6 filters 7 x 7, stride 2" in texts(figure)
    assert "64 filters 11 x 11, stride 4" in texts(figure)


def test_random_weights_are_said_loudly(nets):
    figure = plots.filter_sheets(nets)
    assert figure.axes[0].get_title().startswith("RANDOM WEIGHTS")
    assert figure.axes[0].title.get_color() == "crimson"
    assert figure.axes[1].title.get_color() == "black"
    rows = plots.projection_sheets({"ours": [sheet(0)]}, nets)
    assert rows.axes[0].get_ylabel() == "RANDOM WEIGHTS, not trained: ours"


def test_projections_have_a_row_a_network(nets):
    drawn = {"ours": [sheet(4), sheet(7)], "theirs": [sheet(1, 30), sheet(2, 30)]}
    figure = plots.projection_sheets(drawn, nets)
    assert [axis.get_title() for axis in figure.axes] == ["map 4", "map 7", "map 1", "map 2"]
    assert figure.axes[2].get_ylabel() == "theirs" and "conv2" in figure.get_suptitle()
    pictures = [np.asarray(axis.images[0].get_array()) for axis in figure.axes]
    assert not np.array_equal(pictures[0], pictures[1])


def test_spectra_draw_the_mean_and_the_limits():
    centres = np.array([0.1, 0.3])
    shares = np.array([[0.2, 0.8], [0.4, 0.6], [np.nan, np.nan]])
    figure = plots.radial_spectra(
        {"a": (centres, shares)}, {"a": 0.3}, {"a": (centres, np.full((2, 2), 0.5))}
    )
    lines = figure.axes[0].lines
    assert np.allclose(lines[0].get_ydata(), [0.3, 0.7])
    assert np.allclose(lines[1].get_ydata(), 0.5)
    assert np.allclose([line.get_xdata()[0] for line in lines[2:]], [0.1, 0.2, 0.3])


def test_bands_draw_means_spread_and_chance():
    shares = np.array([[0.2, 0.3, 0.5, 0], [0.4, 0.3, 0.3, 0]])
    figure = plots.band_bars({"a": shares, "b": shares[::-1]}, {"a": shares[:1], "b": shares[1:]})
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert np.allclose(heights, 2 * [0.3, 0.3, 0.4, 0])
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()][:3] == [
        "low",
        "middle",
        "high",
    ]
    assert {"a", "b", "random start"} <= set(texts(figure).split("\n"))
    marks = [c for c in figure.axes[0].collections if len(c.get_segments()) == 4]
    assert len(marks) == 4  # spread and chance of each
    assert np.allclose([s[0, 1] for s in marks[3].get_segments()], shares[1])


def test_strips_draw_a_dot_a_value_and_the_mean():
    figure = plots.share_strips(
        {"a": np.array([0.2, 0.4, np.nan]), "b": np.array([0.9])}, "share", {"a": 0.1, "b": 0.5}
    )
    axis = figure.axes[0]
    dots = [c.get_offsets() for c in axis.collections if isinstance(c, PathCollection)]
    assert sorted(dots[0][:, 0].tolist()) == [0.2, 0.4]
    assert {"0.3", "0.9", "mean", "random start, mean"} <= set(texts(figure).split("\n"))
    assert axis.get_xlabel() == "share"
    figure = plots.share_strips({"a": np.array([0.2])}, "share", {"a": 0.5}, "head", "white noise")
    assert {"head", "white noise"} <= set(texts(figure).split("\n"))


def test_responses_draw_one_row_a_network(nets):
    net = nets["ours"]
    weight, stride = filters.first_filters(net)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    shown = aliasing.most_excited(weight[0], images, stride)
    energies = [
        aliasing.respond(weight[0], x, 2).dense.square().sum() for x in aliasing.faded(images)
    ]
    assert torch.equal(shown[0], images[int(np.argmax(energies))])
    figure = plots.responses({"ours": shown}, nets)
    drawn = [axis.images[0].get_array() for axis in figure.axes]
    assert [len(values) for values in drawn] == [64, 7, 64, 32, 64]
    assert np.allclose(drawn[2], shown[2].dense) and np.allclose(drawn[4], shown[2].held)
    assert figure.axes[3].get_xlabel() == "every 2 pixels"


def test_nothing_to_draw_is_said(nets):
    for call, words in (
        (lambda: plots.filter_sheets({}), "nothing to draw"),
        (lambda: plots.projection_sheets({}, nets), "nothing to draw"),
        (lambda: plots.projection_sheets({"ours": []}, nets), "at least one"),
        (lambda: plots.projection_sheets({"ours": [sheet(0)], "theirs": []}, nets), "as many"),
        (lambda: plots.projection_sheets({"mine": [sheet(0)]}, nets), "'mine'"),
        (lambda: plots.radial_spectra({}, {}), "nothing to draw"),
        (lambda: plots.band_bars({}), "nothing to draw"),
        (lambda: plots.share_strips({}, "share"), "nothing to draw"),
        (lambda: plots.responses({}, nets), "nothing to draw"),
    ):
        with pytest.raises(BadInput, match=words):
            call()
