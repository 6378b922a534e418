"""How projections become pictures, and what every figure must say."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

import zfnb
from tests.drawing import assert_warns_of_random_weights, figures_of
from zfnb import plots
from zfnb.activations import Record
from zfnb.errors import BadInput
from zfnb.feature_sheets import FeatureSheet

PLAIN = plots.Display(percentile=100, gamma=1, saturation=1)
GREY = 0.5


@pytest.fixture(autouse=True)
def closed():
    """Figures of a test; none stays open after it."""
    yield
    plt.close("all")


@pytest.fixture
def net(small_zfnet, monkeypatch):
    """A network whose channels count alike: values as they are."""
    even = zfnb.data.pictures.Preprocessing(64, 64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    monkeypatch.setattr(small_zfnet, "preprocessing", even)
    return small_zfnet


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- one projection


def test_zero_is_mid_grey_and_signs_are_kept(net):
    pixels = torch.zeros(3, 1, 4)
    pixels[:, 0, 1], pixels[:, 0, 2], pixels[:, 0, 3] = 4.0, -4.0, 1.0
    picture = plots.projection_picture(pixels, net, PLAIN)
    assert picture.shape == (1, 4, 3)
    assert picture[0, :, 0].tolist() == pytest.approx([GREY, 1, 0, 0.625])
    assert (plots.projection_picture(torch.zeros(3, 5, 5), net) == GREY).all()


def test_each_projection_has_its_own_scale(net):
    pixels = random(3, 9, 9)
    once, larger = (plots.projection_picture(x, net) for x in (pixels, 1000 * pixels))
    assert np.allclose(once, larger)


@pytest.mark.parametrize("display", [PLAIN, plots.Display(), plots.Display(50, 0.3, 0.2)])
def test_pictures_lie_between_0_and_1(net, display):
    pixels = 7 * random(3, 20, 20)
    pixels[:, :5] = torch.nan
    for picture in (
        plots.projection_picture(pixels, net, display),
        plots.input_picture(pixels, net),
        plots.projection_picture(pixels, net, display, size=6),
        plots.input_picture(pixels, net, size=6),
    ):
        assert picture.min() >= 0 and picture.max() <= 1
        assert (picture[0] == GREY).all() and not (picture[-1] == GREY).all()


def test_nan_is_shown_blank(net):
    pixels = random(3, 6, 6)
    pixels[:, :, 4:] = torch.nan
    for draw in (plots.projection_picture, plots.input_picture):
        assert (draw(pixels, net, blank=1.0)[:, 4:] == 1).all()
        assert np.allclose(draw(pixels, net)[:, :4], draw(pixels[:, :, :4], net))
    assert (plots.projection_picture(torch.full((3, 4, 4), torch.nan), net) == GREY).all()


def test_a_percentile_lets_outliers_saturate(net):
    pixels = torch.ones(3, 10, 10)
    pixels[:, 0, 0] = 1000.0
    shown = plots.projection_picture(pixels, net, PLAIN)[5, 5, 0]
    assert shown == pytest.approx(0.5005)  # the outlier makes all else vanish
    cut = plots.projection_picture(pixels, net, plots.Display(98, 1, 1))
    assert cut[5, 5, 0] == cut[0, 0, 0] == 1


def test_what_a_projection_does_not_reach_has_no_say_in_its_scale(net):
    pixels = torch.zeros(3, 40, 40)
    pixels[:, 10:15, 20:25] = random(3, 5, 5)
    whole = plots.projection_picture(pixels, net)
    field = plots.projection_picture(pixels[:, 10:15, 20:25], net)
    assert np.allclose(whole[10:15, 20:25], field)


def test_gamma_lifts_the_faint_parts(net):
    pixels = torch.tensor([1.0, 0.25, -0.25]).expand(3, 1, 3)
    picture = plots.projection_picture(pixels, net, plots.Display(100, 0.5, 1))
    assert picture[0, :, 0].tolist() == pytest.approx([1, 0.75, 0.25])


def test_saturation_tones_colours_down(net):
    pixels = torch.tensor([3.0, 0.0, 0.0]).reshape(3, 1, 1)
    colours = {s: plots.projection_picture(pixels, net, plots.Display(100, 1, s)) for s in (0, 0.5)}
    assert colours[0][0, 0].tolist() == pytest.approx([1, 1, 1])  # the mean, at full strength
    assert colours[0.5][0, 0].tolist() == pytest.approx([1, 0.625, 0.625])  # 2, 0.5, 0.5


def test_a_unit_of_a_channel_is_as_large_as_its_deviation(net, monkeypatch):
    uneven = zfnb.data.pictures.Preprocessing(64, 64, mean=(0, 0, 0), std=(1, 0.5, 0.25))
    monkeypatch.setattr(net, "preprocessing", uneven)
    picture = plots.projection_picture(torch.ones(3, 1, 1), net, PLAIN)
    assert picture[0, 0].tolist() == pytest.approx([1, 0.75, 0.625])


def test_display_refuses_what_makes_no_sense():
    for wrong in ({"percentile": 0}, {"percentile": 101}, {"gamma": 0}, {"saturation": 1.5}):
        with pytest.raises(BadInput, match="percentile must be in"):
            plots.Display(**wrong)


def test_an_input_looks_like_its_picture(trunk):
    values = (255 * torch.rand(256, 256, 3, generator=torch.Generator().manual_seed(0))).byte()
    shown = plots.input_picture(zfnb.preprocess(values.numpy(), trunk), trunk)
    assert np.abs(shown - values.numpy()[16:240, 16:240] / 255).max() < 1e-5


# ---------------------------------------------------------------- sizes


def test_a_small_field_is_shown_in_whole_pixels():
    field = random(3, 3, 3)
    large = plots.resampled(field, 10)
    assert large.shape == (3, 9, 9)
    assert torch.equal(large, field.repeat_interleave(3, 1).repeat_interleave(3, 2))


def test_a_large_field_is_averaged_with_its_signs():
    stripes = torch.ones(3, 64, 64)
    stripes[:, :, ::2] = -1  # every other pixel would all have one sign
    assert plots.resampled(stripes, 16)[:, 2:-2, 2:-2].abs().max() < 0.05
    field = random(3, 64, 64) + 0.3
    assert plots.resampled(field, 16).mean() == pytest.approx(field.mean().item(), abs=0.01)


def test_averages_do_not_mix_with_what_is_missing():
    field = torch.full((3, 50, 50), 2.0)
    field[:, :21] = torch.nan
    small = plots.resampled(field, 13)
    missing = small[0].isnan()
    assert missing[:5].all() and not missing[6:].any()
    assert torch.allclose(small[:, ~missing], torch.tensor(2.0))


def test_grid_puts_pictures_in_rows():
    pictures = [np.full((4, 6, 3), n / 10) for n in range(5)]
    together = plots.grid(pictures, columns=3)
    gap = plots.GAP
    assert together.shape == (2 * 4 + gap, 3 * 6 + 2 * gap, 3)
    for n in range(5):
        top, left = (n // 3) * (4 + gap), (n % 3) * (6 + gap)
        assert (together[top : top + 4, left : left + 6] == n / 10).all()
    assert (together[4 : 4 + gap] == 1).all()  # between the rows
    assert (together[4 + gap :, -6:] == 1).all()  # the sixth place is empty


# ---------------------------------------------------------------- figures


def sheet(layer="conv2", feature_map=3, size=12):
    records = [Record(n, 1.0, (0, 0), (0, 0, size, size)) for n in range(9)]
    patches, projections = random(9, 3, size, size), random(9, 3, size, size, seed=1)
    patches[4, :, :3] = projections[4, :, :3] = torch.nan
    return FeatureSheet(layer, feature_map, records, patches, projections)


def drawn(name: str, net) -> plt.Figure:
    """The figure that the function `name` of zfnb.plots makes for a network."""
    image = random(3, net.input_size, net.input_size)
    recording = zfnb.Deconvnet(net).record(image[None])
    maps = recording.activations["conv2"][0]
    projection = zfnb.Deconvnet(net).project(recording, "conv2", [0, 3])
    values = {layer: np.linspace(0, 1, 5) for layer in ("conv1", "conv2")}
    return {
        "feature_sheets": lambda: plots.feature_sheets([sheet(), sheet("conv3")], net),
        "display_choices": lambda: plots.display_choices(sheet(), net, {"a": PLAIN, "b": PLAIN}),
        "projection_pair": lambda: plots.projection_pair(image, projection, net, "conv2", 0),
        "strongest_maps": lambda: plots.strongest_maps(
            image, maps, projection, net, "conv2", [0, 3]
        ),
        "two_by_layer": lambda: plots.two_by_layer(values, values, ("a", "b"), net, "share"),
        "by_layer": lambda: plots.by_layer(values, net, "share", baseline=0.5),
    }[name]()


FIGURES = figures_of(plots)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_loudly_that_weights_are_random(name, small_zfnet, monkeypatch):
    assert small_zfnet.weights is None
    title = drawn(name, small_zfnet)._suptitle
    assert_warns_of_random_weights(title)
    monkeypatch.setattr(small_zfnet, "weights", "trained")
    title = drawn(name, small_zfnet)._suptitle
    assert title.get_text() and "RANDOM" not in title.get_text()
    assert to_rgb(title.get_color()) == (0, 0, 0)


@pytest.mark.parametrize("name", ["feature_sheets", "two_by_layer", "by_layer"])
def test_a_title_of_ones_own_hides_nothing(name, small_zfnet):
    arguments = {
        "feature_sheets": ([sheet()], small_zfnet),
        "two_by_layer": ({"conv1": np.ones(3)}, {"conv1": np.ones(3)}, ("a", "b"), small_zfnet, ""),
        "by_layer": ({"conv1": np.ones(3)}, small_zfnet, ""),
    }[name]
    figure = getattr(plots, name)(*arguments, title="Mine")
    assert figure._suptitle.get_text() == "RANDOM WEIGHTS, not trained: Mine"


@pytest.mark.parametrize("name", FIGURES)
def test_titles_and_labels_are_inside_and_apart(name, small_zfnet):
    figure = drawn(name, small_zfnet)
    figure.canvas.draw()
    box = figure._suptitle.get_window_extent()
    for axis in figure.axes:
        assert box.y0 >= axis.title.get_window_extent().y1 - 1 or not axis.get_title()
        assert box.y0 >= axis.get_window_extent().y1
        if axis.axison:
            below = axis.xaxis.label.get_window_extent()
            assert not axis.get_xlabel() or below.y0 >= 0


def test_a_sheet_shows_projections_beside_patches(net):
    one = sheet()
    left, right = plots.sheet_grids(one, net)
    cell, gap = 96, plots.GAP
    assert left.shape == right.shape == (3 * cell + 2 * gap,) * 2 + (3,)
    fifth = (slice(cell + gap, 2 * cell + gap),) * 2
    assert np.allclose(
        left[fifth], plots.projection_picture(one.projections[4], net, size=cell), atol=1e-12
    )
    assert np.allclose(right[fifth], plots.input_picture(one.patches[4], net, size=cell))
    shown = plots.feature_sheets([one], net, columns=1).axes[0].images[0].get_array()
    assert np.array_equal(shown[:, : left.shape[1]], left)
    assert np.array_equal(shown[:, -right.shape[1] :], right)


def test_sheets_fill_rows_and_leave_the_rest_empty(net):
    figure = plots.feature_sheets([sheet(feature_map=n) for n in range(3)], net, columns=2)
    assert [axis.get_title() for axis in figure.axes] == [
        "conv2, map 0",
        "conv2, map 1",
        "conv2, map 2",
        "",
    ]
    assert [len(axis.images) for axis in figure.axes] == [1, 1, 1, 0]
    with pytest.raises(BadInput, match="at least one"):
        plots.feature_sheets([], net)


def test_a_pair_marks_the_field_and_draws_the_map(net):
    image = random(3, 64, 64)
    recording = zfnb.Deconvnet(net).record(image[None])
    maps = recording.activations["conv2"][0]
    chosen = int(maps.amax((1, 2)).argmax())
    projection = zfnb.Deconvnet(net).project(recording, "conv2", chosen)
    figure = plots.projection_pair(image, projection, net, "conv2", chosen, maps=maps)
    picture, middle, last = figure.axes[:3]
    top, left, bottom, right = projection.box[0].tolist()
    outline = picture.patches[-1]
    assert (outline.get_x(), outline.get_y()) == (left - 0.5, top - 0.5)
    assert (outline.get_width(), outline.get_height()) == (right - left, bottom - top)
    assert np.allclose(middle.images[0].get_array(), maps[chosen])
    row, column = projection.position[0].tolist()
    assert f"row {row}, column {column}" in figure._suptitle.get_text()
    assert np.array_equal(
        last.images[0].get_array(), plots.projection_picture(projection.pixels[0], net)
    )
    # A fully connected layer has no map to draw.
    units = recording.activations["fc6"][0]
    projection = zfnb.Deconvnet(net).project(recording, "fc6", 0)
    assert len(plots.projection_pair(image, projection, net, "fc6", 0, maps=units).axes) == 2


def test_maps_of_one_figure_share_a_scale(net):
    image = random(3, 64, 64)
    recording = zfnb.Deconvnet(net).record(image[None])
    maps = recording.activations["conv2"][0]
    projections = zfnb.Deconvnet(net).project(recording, "conv2", [0, 1, 2])
    figure = plots.strongest_maps(image, maps, projections, net, "conv2", [0, 1, 2])
    for axis in figure.axes[1:4]:
        assert axis.images[0].get_clim() == pytest.approx((0, maps[:3].max().item()))
    with pytest.raises(BadInput, match="at least one"):
        plots.strongest_maps(image, maps, projections, net, "conv2", [])
    with pytest.raises(BadInput, match="of a convolution layer"):
        plots.strongest_maps(image, maps[:, 0, 0], projections, net, "fc6", [0])


def test_numbers_by_layer_are_drawn_as_they_are(net):
    first = {"conv1": np.array([0.0, 0.2, 1.0]), "conv2": np.array([0.5, 0.5])}
    second = {"conv1": np.array([0.3]), "conv2": np.array([0.1])}
    axis = plots.two_by_layer(first, second, ("a", "b"), net, "share").axes[0]
    heights = [bar.get_height() for bar in axis.patches]
    assert heights == pytest.approx([0.4, 0.5, 0.3, 0.1])
    names = {text.get_text() for text in axis.get_legend().get_texts()}
    assert names == {"a", "b", "middle half of the maps"}
    figure = plots.by_layer(first, net, "share", baseline={"conv1": 0.1, "conv2": 0.7})
    mean, chance = figure.axes[0].lines
    assert mean.get_ydata() == pytest.approx([0.4, 0.5])
    assert list(chance.get_ydata()) == [0.1, 0.7] and chance.get_label() == "chance"
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["conv1", "conv2"]
