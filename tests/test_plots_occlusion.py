"""The figures of occlusion: what is drawn, where, and how it is labelled."""

from __future__ import annotations

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

import zfnb
from tests.drawing import assert_warns_of_random_weights, figures_of
from tests.test_occlusion_figure import Noise
from zfnb import occlusion_figure as occ
from zfnb import plots_occlusion as po
from zfnb.errors import BadInput
from zfnb.occlusion_truth import Grounding
from zfnb.plots import input_picture

SQUARE, STRIDE = 20, 11


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def rows(small_zfnet):
    """One picture with all there can be, and one with the least."""
    pictures = Noise()
    index = zfnb.TopActivations.build(small_zfnet, pictures, ["conv5"], k=3)
    mask = torch.zeros(64, 64)
    mask[20:40, 10:30] = 1
    options = {"square": SQUARE, "stride": STRIDE}
    more = {"mask": mask, "dataset": pictures, "index": index}
    return [
        occ.occluded_picture(small_zfnet, pictures.images[0], "all", **options, **more),
        occ.occluded_picture(small_zfnet, pictures.images[1], "least", **options),
    ]


GROUNDED = [
    Grounding(True, 0.2, 0.5, 0.25, 0.9),
    Grounding(False, 0.3, 0.1, 0.3, 0.8),
    Grounding(True, 0.3, 0.6, 0.3, 0.8),
]


def drawn(name: str, net, rows) -> plt.Figure:
    return {
        "figure_7": lambda: po.figure_7(rows, net),
        "settings": lambda: po.settings({"a": rows[0], "b": rows[1]}, net),
        "windows": lambda: po.windows(occ.layer_windows(net, 16, 4), net, 16),
        "on_objects": lambda: po.on_objects({"noise": GROUNDED}, net),
    }[name]()


FIGURES = figures_of(po)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_loudly_that_weights_are_random(name, small_zfnet, rows, monkeypatch):
    title = drawn(name, small_zfnet, rows)._suptitle
    assert_warns_of_random_weights(title)
    monkeypatch.setattr(small_zfnet, "weights", "trained")
    title = drawn(name, small_zfnet, rows)._suptitle
    assert title.get_text() and "RANDOM" not in title.get_text()


@pytest.mark.parametrize("name", FIGURES)
def test_titles_and_labels_are_inside_and_apart(name, small_zfnet, rows):
    figure = drawn(name, small_zfnet, rows)
    figure.canvas.draw()
    title, whole = figure._suptitle.get_window_extent(), figure.bbox
    for axis in figure.axes:
        box = axis.title.get_window_extent()
        assert not axis.get_title() or title.y0 >= box.y1 - 1
        for text in (axis.xaxis.label, axis.yaxis.label, axis.title):
            if text.get_text():
                box = text.get_window_extent()
                assert box.y0 >= -1 and box.x0 >= -1 and box.x1 <= whole.width + 1
        legend = axis.get_legend()
        if legend is not None:
            assert legend.get_window_extent().x1 <= whole.width + 1


# ---------------------------------------------------------------- heat maps


def test_each_pixel_has_the_value_of_the_nearest_centre(rows):
    maps = rows[0].maps
    found = po.over_picture(maps.probability, maps)
    assert found.shape == (64, 64)
    centres = maps.positions.double() + SQUARE / 2  # (h, w, 2)
    for y in range(64):
        for x in range(64):
            away = (centres - torch.tensor([y + 0.5, x + 0.5])).abs()
            inside = bool((away.amin((0, 1)) <= STRIDE / 2).all())
            assert np.isnan(found[y, x]) == (not inside)
            if inside:
                nearest = away.sum(2) == away.sum(2).min()
                assert found[y, x] in maps.probability[nearest].tolist()


def test_the_rim_that_no_centre_reaches_stays_empty(rows):
    empty = np.isnan(po.over_picture(rows[0].maps.activation, rows[0].maps))
    rim = int(SQUARE / 2 - STRIDE / 2)
    assert empty[:rim].all() and empty[:, -rim:].all()
    assert not empty[rim + 1 : -rim - 1, rim + 1 : -rim - 1].any()


# ---------------------------------------------------------------- labels


def labelled(one, label, whole):
    probability = torch.zeros(7)
    probability[whole] = 1
    maps = dataclasses.replace(one.maps, label=torch.tensor(label), whole_probability=probability)
    return maps


def test_the_whole_pictures_label_is_grey_and_the_rest_by_frequency(rows, small_zfnet):
    maps = labelled(rows[0], [[2, 2, 4], [4, 4, 2], [1, 2, 2]], 2)
    numbers, legend = po.label_colours(maps, small_zfnet)
    assert numbers.tolist() == [[0, 0, 1], [1, 1, 0], [2, 0, 0]]
    assert [name for _, name, _ in legend] == ["class 2", "class 4", "class 1"]
    assert [share for *_, share in legend] == pytest.approx([5 / 9, 3 / 9, 1 / 9])
    assert legend[0][0] == to_rgb(po.OWN) and len({colour for colour, *_ in legend}) == 3


def test_rare_labels_share_a_colour(rows, small_zfnet):
    maps = labelled(rows[0], [[6, 6, 6], [0, 0, 1], [2, 3, 4]], 5)  # the whole's is nowhere
    numbers, legend = po.label_colours(maps, small_zfnet, named=2)
    assert [name for _, name, _ in legend] == ["class 5", "class 6", "class 0", "4 others"]
    assert numbers.tolist() == [[1, 1, 1], [2, 2, 3], [3, 3, 3]]
    assert sum(share for *_, share in legend) == pytest.approx(1)


def test_classes_have_their_names(trunk, small_zfnet, monkeypatch):
    assert po.class_name(small_zfnet, 3) == "class 3"
    monkeypatch.setattr(small_zfnet, "classes", [("n1", "lion"), ("n2", "lemon")])
    assert po.class_name(small_zfnet, 1) == "lemon"
    assert po.short("lemon") == "lemon" and len(po.short("a" * 50)) == 20


# ---------------------------------------------------------------- Fig. 7


def panels(figure, count):
    """The axes of the rows, without colour bars."""
    return np.array(figure.axes[: 6 * count], dtype=object).reshape(count, 6)


def test_fig_7_shows_all_columns(rows, small_zfnet):
    figure = po.figure_7(rows, small_zfnet)
    axes = panels(figure, 2)
    assert [a.get_title()[:3] for a in axes[0]] == ["(a)", "(b)", "(c)", "(c)", "(d)", "(e)"]
    assert [a.get_ylabel() for a in axes[:, 0]] == ["all", "least"]
    for line, one in zip(axes, rows, strict=True):
        place = occ.lowest(one.maps.probability)
        shown = input_picture(one.with_square(*place), small_zfnet)
        assert np.allclose(line[0].images[0].get_array(), shown)
        top, left = one.maps.positions[place].tolist()
        (box, _) = line[0].patches
        assert box.get_xy() == (left - 0.5, top - 0.5) and box.get_width() == SQUARE
        for axis, values in ((line[1], one.maps.activation), (line[4], one.maps.probability)):
            heat = axis.images[1].get_array().filled(np.nan)
            expected = po.over_picture(values, one.maps)
            assert np.array_equal(heat, expected, equal_nan=True)
            assert axis.images[1].get_clim()[0] == 0
        assert f"map {one.maps.feature_map}" in line[1].get_xlabel()
        assert f"class {one.maps.target}" in line[4].get_xlabel()
        assert line[5].get_legend().get_texts()[0].get_text().startswith("class")
    assert len(axes[0, 3].images) == 1 and not axes[1, 3].images  # elsewhere, and nothing there
    assert axes[0, 4].collections and not axes[1, 4].collections  # the object's outline


def test_a_red_line_marks_the_value_without_a_square(rows, small_zfnet):
    figure = po.figure_7(rows[:1], small_zfnet)
    bars = figure.axes[6:]
    maps = rows[0].maps
    expected = [maps.whole_activation, float(maps.whole_probability[maps.target])]
    assert [bar.lines[0].get_ydata()[0] for bar in bars] == pytest.approx(expected)
    for bar, whole in zip(bars, expected, strict=True):
        assert bar.get_ylim()[0] == 0 and bar.get_ylim()[1] >= whole


def test_nothing_to_draw(rows, small_zfnet):
    without = dataclasses.replace(rows[0], maps=dataclasses.replace(rows[0].maps, probability=None))
    with pytest.raises(BadInput, match="at least one"):
        po.figure_7([], small_zfnet)
    with pytest.raises(BadInput, match="classifier"):
        po.figure_7([without], small_zfnet)
    for found in ({}, {"x": without}):
        with pytest.raises(BadInput, match="at least one"):
            po.settings(found, small_zfnet)
    with pytest.raises(BadInput, match="no layer of maps"):
        po.windows([], small_zfnet, 16)
    with pytest.raises(BadInput, match="at least one"):
        po.on_objects({"x": []}, small_zfnet)


# ---------------------------------------------------------------- the others


def test_settings_share_one_scale(rows, small_zfnet):
    figure = po.settings({"a": rows[0], "b": rows[1]}, small_zfnet)
    above, below = np.array(figure.axes[:4], dtype=object).reshape(2, 2)
    assert [axis.get_title() for axis in above] == ["a", "b"]
    limits = {axis.images[1].get_clim() for axis in below}
    assert len(limits) == 1 and limits.pop()[1] >= max(
        float(r.maps.probability.max()) for r in rows
    )
    for axis, one in zip(below, rows, strict=True):
        assert f"lowest {float(one.maps.probability.min()):.2f}" in axis.get_xlabel()


def test_windows_are_drawn_to_scale(small_zfnet):
    spread = occ.layer_windows(small_zfnet, 16, 4)
    figure = po.windows(spread, small_zfnet, 16)
    layers = [row for row in spread if row.operation != "fully connected"]
    assert [a.get_title() for a in figure.axes] == ["picture", *(row.layer for row in layers)]
    for axis, row in zip(figure.axes[1:], layers, strict=True):
        whole, window = axis.patches
        assert whole.get_width() == row.positions and window.get_width() == row.window
        assert 0 <= window.get_x() <= row.positions - row.window
        assert axis.get_xlabel().startswith(f"{row.window} of {row.positions}\n{row.share:.0%}")
    assert f"{occ.windows_share(spread):.0%} of the work" in figure._suptitle.get_text()


def test_hits_and_misses_are_told_apart(small_zfnet):
    (axis,) = po.on_objects({"noise": GROUNDED}, small_zfnet).axes
    hits, misses = axis.collections
    assert hits.get_offsets().tolist() == [[0.25, 0.5], [0.3, 0.6]]
    assert misses.get_offsets().tolist() == [[0.3, 0.1]]
    words = [text.get_text() for text in axis.get_legend().get_texts()]
    assert words == ["a square at a random place", "noise: hits (2)", "noise: misses (1)"]
