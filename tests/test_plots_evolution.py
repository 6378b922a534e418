"""The figures of feature evolution, and the panel."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from tests.drawing import assert_warns_of_random_weights, figures_of
from tests.test_evolution import Noise, killed, run_of
from zfnb import evolution as ev
from zfnb import plots, plots_evolution, widgets
from zfnb.errors import BadInput, UnknownName
from zfnb.widgets_evolution import EvolutionPanel

GREY = 0.5


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def run():
    """(networks, pictures, answers); layer 3 changes until the last epoch, and map 1 awakes."""
    nets, pictures = run_of({"conv3": 10}, epochs=(1, 4, 10)), Noise()
    killed(nets[1], "conv3", 1)
    return nets, pictures, ev.answers(nets, pictures, ["conv1", "conv3"])


@pytest.fixture
def net(run):
    return run[0][10]


@pytest.fixture(scope="module")
def blocks(run):
    maps = sorted({1, *ev.random_maps(run[2], "conv3", 3)})
    return [ev.evolution(*run, layer, m) for layer, m in (("conv1", [0, 1]), ("conv3", maps))]


VALUES = {
    "conv1": np.array([[0.2, 0.4], [0.8, np.nan], [1, 1]]),
    "conv2": np.array([[np.nan, np.nan], [0.5, 0.7], [1, 1]]),
}


def drawn(name: str, net, blocks) -> plt.Figure:
    return {
        "evolution_grid": lambda: plots_evolution.evolution_grid(blocks, net),
        "one_map": lambda: plots_evolution.one_map(blocks[1], net, 4),
        "settling": lambda: plots_evolution.settling(
            (1, 4, 10), VALUES, net, "likeness", 0.9, (np.arange(1, 11), np.linspace(1, 0, 10))
        ),
        "changed_winners": lambda: plots_evolution.changed_winners(
            (1, 4, 10), {name: rows[1:] for name, rows in VALUES.items()}, net
        ),
    }[name]()


FIGURES = figures_of(plots_evolution)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_loudly_that_weights_are_random(name, net, blocks, monkeypatch):
    title = drawn(name, net, blocks)._suptitle
    assert_warns_of_random_weights(title)
    monkeypatch.setattr(net, "weights", "trained")
    title = drawn(name, net, blocks)._suptitle
    assert title.get_text() and "RANDOM" not in title.get_text()


@pytest.mark.parametrize("name", FIGURES)
def test_titles_and_labels_are_inside_and_apart(name, net, blocks):
    figure = drawn(name, net, blocks)
    figure.canvas.draw()
    box = figure._suptitle.get_window_extent()
    for axis in figure.axes:
        assert box.y0 >= axis.title.get_window_extent().y1 - 1 or not axis.get_title()
        if axis.axison:
            assert not axis.get_xlabel() or axis.xaxis.label.get_window_extent().y0 >= 0
    for text in figure.texts:
        assert text.get_window_extent().y0 >= 0


def cells(axis, rows, columns):
    """The pictures of a block, row by row."""
    shown = axis.images[0].get_array()
    side = (shown.shape[0] - (rows - 1) * plots.GAP) // rows
    step = side + plots.GAP
    assert shown.shape[1] == columns * step - plots.GAP
    return [
        [shown[r * step : r * step + side, c * step : c * step + side] for c in range(columns)]
        for r in range(rows)
    ]


def test_fig_4_has_maps_in_rows_and_epochs_in_columns(net, blocks):
    figure = plots_evolution.evolution_grid(blocks, net)
    assert [axis.get_title() for axis in figure.axes] == [
        "conv1, after epoch",
        "conv3, after epoch",
    ]
    for axis, one in zip(figure.axes, blocks, strict=True):
        assert [t.get_text() for t in axis.get_xticklabels()] == ["1", "4", "10"]
        assert [t.get_text() for t in axis.get_yticklabels()] == [str(m) for m in one.maps]
        shown = cells(axis, len(one.maps), 3)
        for m in range(len(one.maps)):
            for e in range(3):
                expected = plots.projection_picture(
                    one.projections[e, m], net, size=plots_evolution.CELL
                )
                assert np.allclose(shown[m][e], expected)
    dead = blocks[1].maps.index(1)
    assert blocks[1].items[0, dead] == -1
    assert (cells(figure.axes[1], len(blocks[1].maps), 3)[dead][0] == GREY).all()
    with pytest.raises(BadInput, match="at least one"):
        plots_evolution.evolution_grid([], net)


def test_a_red_bar_stands_where_the_picture_changes(net, blocks):
    figure = plots_evolution.evolution_grid(blocks, net)
    assert len(figure.axes[0].collections) == blocks[0].jumps.sum() == 0
    axis, jumps = figure.axes[1], blocks[1].jumps
    bars = axis.collections
    assert len(bars) == jumps.sum() > 0
    step = cells(axis, len(blocks[1].maps), 3)[0][0].shape[0] + plots.GAP
    places = set()
    for bar in bars:
        assert to_rgb(bar.get_color()[0]) == to_rgb("crimson")
        (x, top), (_, bottom) = bar.get_segments()[0]
        places.add((round(x / step) - 1, int((top + bottom) / 2 // step)))
    assert places == set(zip(*jumps.nonzero(), strict=True))


def test_one_map_shows_the_chosen_epoch_large(net, blocks):
    one = blocks[1]
    row = len(one.maps) - 1
    figure = plots_evolution.one_map(one, net, 4, row)
    whole, patch, projection, *strip = figure.axes
    assert np.allclose(whole.images[0].get_array(), plots.input_picture(one.pictures[1, row], net))
    assert np.allclose(patch.images[0].get_array(), plots.input_picture(one.patches[1, row], net))
    expected = plots.projection_picture(one.projections[1, row], net)
    assert np.allclose(projection.images[0].get_array(), expected)
    assert [axis.get_title() for axis in strip] == ["epoch 1", "epoch 4", "epoch 10"]
    top, left, bottom, right = one.boxes[1, row]
    outline = whole.patches[-1]
    assert (outline.get_x(), outline.get_y()) == (left - 0.5, top - 0.5)
    assert (outline.get_width(), outline.get_height()) == (right - left, bottom - top)
    assert [len(axis.patches) for axis in strip] == [0, 1, 0]  # the frame of the chosen one
    marked = [bool(axis.lines) for axis in strip]
    assert marked == [False, *one.jumps[:, row]]
    title = figure._suptitle.get_text()
    assert f"conv3, map {one.maps[row]}, epoch 4: picture {one.items[1, row]}, " in title
    with pytest.raises(BadInput, match="choose one of 1, 4, 10"):
        plots_evolution.one_map(one, net, 3)


def test_a_map_that_does_not_answer_yet_is_grey(net, blocks):
    one = blocks[1]
    figure = plots_evolution.one_map(one, net, 1, one.maps.index(1))
    assert "answers to no picture" in figure._suptitle.get_text()
    for axis in figure.axes[:3]:
        assert (axis.images[0].get_array() == GREY).all() and not axis.patches


def test_settling_draws_the_mean_of_what_there_is(net):
    rates = (np.arange(1, 11), np.linspace(1, 0, 10))
    figure = plots_evolution.settling((1, 4, 10), VALUES, net, "likeness", 0.9, rates)
    upper, lower = figure.axes
    first, second, threshold = upper.lines
    assert list(first.get_xdata()) == [1, 4, 10]
    assert first.get_ydata() == pytest.approx([0.3, 0.8, 1])
    assert list(second.get_xdata()) == [4, 10]
    assert second.get_ydata() == pytest.approx([0.6, 1])
    assert set(threshold.get_ydata()) == {0.9}
    assert [t.get_text() for t in upper.get_legend().get_texts()] == ["conv1", "conv2"]
    assert upper.get_ylabel() == "likeness" and lower.get_xlabel() == "epoch"
    assert np.array_equal(lower.lines[0].get_ydata(), rates[1])
    alone = plots_evolution.settling((1, 4, 10), VALUES, net, "likeness")
    assert len(alone.axes) == 1 and len(alone.axes[0].lines) == 2
    with pytest.raises(BadInput, match="at least one"):
        plots_evolution.settling((1,), {}, net, "")


def test_changed_winners_are_shares_of_the_living_maps(net):
    values = {
        "conv1": np.array([[1, 0, 0, np.nan], [0, 0, 0, 0]]),
        "conv2": np.array([[1, 1, 1, 1], [np.nan] * 4]),
    }
    axis = plots_evolution.changed_winners((1, 4, 10), values, net).axes[0]
    shown = axis.collections[0].get_array().reshape(2, 2)
    assert shown.filled(np.nan) == pytest.approx(np.array([[1 / 3, 0], [1, np.nan]]), nan_ok=True)
    assert [t.get_text() for t in axis.get_xticklabels()] == ["1 to 4", "4 to 10"]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["conv1", "conv2"]
    assert "33%" in [t.get_text() for t in axis.texts]
    with pytest.raises(BadInput, match="at least two"):
        plots_evolution.changed_winners((1,), values, net)


# ---------------------------------------------------------------- the panel


@pytest.fixture
def panel(run):
    return EvolutionPanel(*run, layer="conv3")


def test_each_control_changes_the_picture(panel, run):
    maps = ev.random_maps(run[2], "conv3", 99)
    other = next(m for m in maps if m != panel.controls["map"].value and m != 1)
    seen = {panel.picture.value}
    for name, value in {"epoch": 1, "map": other, "layer": "conv1"}.items():
        panel.controls[name].value = value
        assert panel.error is None and panel.picture.value not in seen
        seen.add(panel.picture.value)
    assert panel.controls["map"].max == 5  # the slider follows the layer


def test_the_panel_shows_the_evolution(panel, run):
    panel.controls["epoch"].value = 4
    chosen = panel.controls["map"].value
    one = ev.evolution(*run, "conv3", [chosen])
    assert panel.picture.value == widgets.png(plots_evolution.one_map(one, run[0][1], 4))


def test_where_the_panel_starts(run):
    panel = EvolutionPanel(*run)
    assert panel.controls["layer"].value == "conv3" and panel.controls["epoch"].value == 10
    assert run[2].alive("conv3")[-1, panel.controls["map"].value]
    panel = EvolutionPanel(*run, layer="conv1", feature_map=2, epoch=4)
    assert [panel.controls[name].value for name in ("layer", "map", "epoch")] == ["conv1", 2, 4]


def test_another_epoch_computes_nothing_anew(panel, monkeypatch):
    asked = []
    plain = torch.nn.Conv2d.forward
    monkeypatch.setattr(
        torch.nn.Conv2d, "forward", lambda self, x: asked.append(self) or plain(self, x)
    )
    panel.controls["epoch"].value = 1
    assert panel.error is None and not asked
    panel.controls["layer"].value = "conv1"
    assert asked


@pytest.mark.parametrize(
    ("start", "error", "words"),
    [
        ({"layer": "conv9"}, UnknownName, "conv1, conv3"),
        ({"layer": "conv1", "feature_map": 6}, BadInput, "it has maps 0 to 5"),
        ({"epoch": 3}, BadInput, "choose one of 1, 4, 10"),
    ],
)
def test_a_start_that_is_not_there(run, start, error, words):
    with pytest.raises(error, match=words):
        EvolutionPanel(*run, **start)


def test_a_dead_map_keeps_the_picture(run):
    nets, pictures, _ = run
    nets = {epoch: killed(run_of({})[10], "conv3", 1) for epoch in nets}
    found = ev.answers(nets, pictures, ["conv3"])
    panel = EvolutionPanel(nets, pictures, found)
    before = panel.picture.value
    panel.controls["map"].value = 1
    assert "Feature map 1 of conv3 answers to no picture" in panel.message.value
    assert panel.picture.value == before
    with pytest.raises(BadInput, match="answers to no picture"):
        EvolutionPanel(nets, pictures, found, "conv3", 1)
