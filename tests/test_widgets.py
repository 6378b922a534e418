"""Panels without a kernel: setting a control's value is what moving it does."""

from __future__ import annotations

import base64
import io
from datetime import UTC, datetime

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from ipywidgets import IntSlider, Text
from nbformat.v4 import new_notebook
from PIL import Image
from torch.utils.data import Dataset

import zfnb
from zfnb import plots, widgets
from zfnb.errors import BadInput, UnknownName
from zfnb.notebooks import WIDGET_STATE, swallowed_errors
from zfnb.widgets import FeaturePanel, Panel, TourPanel

PNG = b"\x89PNG\r\n"


class Drawing:
    """What a panel draws: a figure that shows `text()`; counts how often."""

    def __init__(self, text):
        self.text, self.count = text, 0

    def __call__(self) -> plt.Figure:
        self.count += 1
        figure = plt.figure(figsize=(1, 1))
        figure.text(0, 0, self.text())
        return figure


@pytest.fixture
def slider():
    return IntSlider(3, 0, 9)


@pytest.fixture
def counted(monkeypatch):
    """Titles of all figures that panels make, in order."""
    titles = []
    plain = widgets.png

    def png(figure):
        titles.append(" | ".join([figure._suptitle.get_text(), figure.axes[0].get_title()]))
        return plain(figure)

    monkeypatch.setattr(widgets, "png", png)
    return titles


# ---------------------------------------------------------------- any panel


def test_a_control_draws_the_picture_anew(slider):
    drawing = Drawing(lambda: str(slider.value))
    panel = Panel({"number": slider}, drawing, "a number")
    first = bytes(panel.picture.value)
    assert first.startswith(PNG) and drawing.count == 1
    slider.value = 4
    assert bytes(panel.picture.value).startswith(PNG) and panel.picture.value != first
    assert drawing.count == 2
    slider.value = 3
    assert panel.picture.value == first
    slider.description = "n"  # no change of value
    assert drawing.count == 3
    assert panel.error is None and panel.message.value == ""
    assert plt.get_fignums() == []


def test_several_controls_can_change_at_once(slider):
    text = Text("a")
    drawing = Drawing(lambda: f"{slider.value} {text.value}")
    panel = Panel({"number": slider, "text": text}, drawing, "")
    with panel.once():
        slider.value, text.value = 5, "b"
    assert drawing.count == 2
    text.value = "c"
    assert drawing.count == 3


def test_controls_that_move_each_other_draw_once(slider):
    text = Text("a")
    text.observe(lambda _: setattr(slider, "max", 1), names="value")
    drawing = Drawing(lambda: f"{slider.value} {text.value}")
    panel = Panel({"text": text, "number": slider}, drawing, "")
    text.value = "b"
    assert slider.value == 1 and drawing.count == 2
    assert panel.picture.value == widgets.png(drawing())


def test_an_error_of_the_user_is_a_sentence(slider):
    def draw():
        if slider.value == 5:
            raise BadInput("Map <5> answers to nothing; take another.")
        return Drawing(lambda: str(slider.value))()

    panel = Panel({"number": slider}, draw, "")
    before = panel.picture.value
    slider.value = 5
    assert isinstance(panel.error, BadInput) and panel.picture.value == before
    assert "Map &lt;5&gt; answers to nothing; take another." in panel.message.value
    assert panel.errors.outputs == ()  # nothing for the report
    slider.value = 6
    assert panel.error is None and panel.message.value == "" and panel.picture.value != before


def test_any_other_error_is_raised_and_found_by_the_report(slider):
    def draw():
        if slider.value == 5:
            raise ZeroDivisionError("no <scale>")
        return Drawing(lambda: str(slider.value))()

    panel = Panel({"number": slider}, draw, "")
    before = panel.picture.value
    with pytest.raises(ZeroDivisionError):
        slider.value = 5
    assert isinstance(panel.error, ZeroDivisionError) and panel.picture.value == before
    assert "ZeroDivisionError: no &lt;scale&gt;" in panel.message.value
    # The widgets' states are saved with the notebook; there the report looks for errors.
    state = {widget.model_id: {"state": widget.get_state()} for widget in (panel.errors, panel)}
    nb = new_notebook(metadata={"widgets": {WIDGET_STATE: {"state": state}}})
    [(line, traceback)] = swallowed_errors(nb)
    assert line == "ZeroDivisionError: no <scale>" and "in draw" in traceback


def test_there_is_a_picture_to_begin_with(slider):
    def draw():
        raise BadInput("Nothing to draw.")

    with pytest.raises(BadInput, match="Nothing to draw"):
        Panel({"number": slider}, draw, "")


def test_a_figure_that_cannot_be_drawn_is_closed(slider, monkeypatch):
    monkeypatch.setattr(plt.Figure, "savefig", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Panel({"number": slider}, Drawing(str), "")
    assert plt.get_fignums() == []


def test_the_still_twin_is_the_picture(slider):
    panel = Panel({"number": slider}, Drawing(lambda: str(slider.value)), "a number, drawn")
    slider.value = 7
    data, metadata = panel._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]) == panel.picture.value
    assert data["text/plain"] == "a number, drawn"
    assert metadata == {"image/png": {"alt": "a number, drawn"}}
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.model_id


# ---------------------------------------------------------------- Fig. 2


class Noise(Dataset):
    """Random inputs; counts how often each is read."""

    name = "noise"

    def __init__(self, count=14):
        self.images = torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        self.reads = []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, item):
        self.reads.append(item)
        return self.images[item], 0


@pytest.fixture
def noise_index(small_zfnet):
    dataset = Noise()
    index = zfnb.TopActivations.build(small_zfnet, dataset, layers=["conv1", "conv2", "conv3"])
    dataset.reads.clear()
    return dataset, index


@pytest.fixture
def feature_panel(small_zfnet, noise_index, counted):
    panel = FeaturePanel(small_zfnet, *noise_index, layer="conv3")
    counted.clear()
    return panel


def lively(index, layer, below=None):
    """The maps of a layer that answer to something."""
    maps = index.strongest(layer)[:below].nonzero()[:, 0]
    return maps.tolist()


def test_each_control_of_fig_2_changes_the_picture(feature_panel, noise_index, counted):
    seen = {feature_panel.picture.value}
    maps = lively(noise_index[1], "conv2")
    values = {"layer": "conv2", "rule": "gradient", "map": maps[-1]}
    if feature_panel.controls["map"].value == maps[-1]:
        values["map"] = maps[0]
    for name, value in values.items():
        feature_panel.controls[name].value = value
        assert feature_panel.error is None
        assert feature_panel.picture.value not in seen
        seen.add(feature_panel.picture.value)
    assert len(counted) == 3
    assert "conv2" in counted[-1] and f"map {values['map']}" in counted[-1]


def test_it_starts_with_a_map_that_answers(small_zfnet, noise_index):
    dataset, index = noise_index
    panel = FeaturePanel(small_zfnet, dataset, index)
    assert panel.controls["layer"].value == "conv3"  # the last one
    assert panel.controls["map"].value == int(index.strongest("conv3").argmax())


def test_a_layer_with_fewer_maps_moves_the_slider(feature_panel, noise_index, counted):
    layer, feature_map = feature_panel.controls["layer"], feature_panel.controls["map"]
    last = {name: noise_index[1].maps(name) - 1 for name in ("conv1", "conv3")}
    assert last["conv1"] < last["conv3"] == feature_map.max
    feature_map.value = last["conv3"]
    counted.clear()
    layer.value = "conv1"
    assert feature_map.max == feature_map.value == last["conv1"]
    assert len(counted) == 1 and f"conv1, map {last['conv1']}" in counted[0]  # one picture
    layer.value = "conv3"
    assert feature_map.max == last["conv3"] and feature_map.value == last["conv1"]


def test_the_panel_shows_the_sheet(small_zfnet, feature_panel, noise_index):
    dataset, index = noise_index
    feature_panel.controls["rule"].value = "guided"
    chosen = feature_panel.controls["map"].value
    deconvnet = zfnb.Deconvnet(small_zfnet, rule="guided")
    sheet = zfnb.feature_sheets.feature_sheet(
        small_zfnet, dataset, index, "conv3", chosen, deconvnet
    )
    expected = widgets.png(plots.feature_sheets([sheet], small_zfnet, columns=1))
    assert feature_panel.picture.value == expected


def test_pictures_are_read_once(feature_panel, noise_index):
    dataset, _ = noise_index
    first = len(dataset.reads)
    assert first == len(set(dataset.reads)) == 9
    feature_panel.controls["rule"].value = "gradient"
    assert len(dataset.reads) == first


def test_a_map_that_never_answers_keeps_the_picture(small_zfnet, noise_index):
    dataset, index = noise_index
    index._tables["conv3"].item[0] = -1
    other = int(index.strongest("conv3").argmax())
    panel = FeaturePanel(small_zfnet, dataset, index, "conv3", other)
    before = panel.picture.value
    panel.controls["map"].value = 0
    assert "Feature map 0 of conv3 answers to no picture" in panel.message.value
    assert panel.picture.value == before
    with pytest.raises(BadInput, match="answers to no picture"):
        FeaturePanel(small_zfnet, dataset, index, "conv3", 0)


@pytest.mark.parametrize(
    ("layer", "feature_map", "error", "words"),
    [
        ("conv9", None, UnknownName, "conv1, conv2, conv3"),
        ("conv3", 999, BadInput, "it has maps 0 to 23"),
        ("conv3", -1, BadInput, "it has maps 0 to 23"),
    ],
)
def test_a_start_that_is_not_there(small_zfnet, noise_index, layer, feature_map, error, words):
    with pytest.raises(error, match=words):
        FeaturePanel(small_zfnet, *noise_index, layer, feature_map)


# ---------------------------------------------------------------- the tour


def picture(seed: int, size=(80, 70)) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def upload(name: str, content: bytes) -> tuple[dict, ...]:
    """What the upload button's value becomes in JupyterLab."""
    now = datetime.now(UTC)
    file = {"name": name, "type": "image/png", "size": len(content), "last_modified": now}
    return ({**file, "content": memoryview(content)},)


def as_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="png")
    return buffer.getvalue()


@pytest.fixture
def tour(small_zfnet, counted):
    panel = TourPanel(small_zfnet, {"one": picture(1), "two": picture(2)}, layer="conv3")
    counted.clear()
    return panel


def test_each_control_of_the_tour_changes_the_picture(tour, counted):
    seen = {tour.picture.value}
    for name, value in {"picture": "two", "layer": "norm2", "map": 1}.items():
        tour.controls[name].value = value
        assert tour.error is None and tour.picture.value not in seen
        seen.add(tour.picture.value)
    assert len(counted) == 3
    assert "norm2, map 1:" in counted[-1]


def test_the_tour_shows_what_the_network_makes_of_the_picture(tour, small_zfnet):
    image = zfnb.preprocess(picture(1), small_zfnet)
    maps = zfnb.features(small_zfnet, image[None], "conv3")[0]
    chosen = int(maps.amax((1, 2)).argmax())
    assert tour.controls["map"].value == chosen
    projection = zfnb.Deconvnet(small_zfnet).project(image, "conv3", chosen)
    figure = plots.projection_pair(image, projection, small_zfnet, "conv3", chosen, maps=maps)
    assert tour.picture.value == widgets.png(figure)


def test_the_tour_goes_to_every_layer(tour, small_zfnet, counted):
    tour.controls["map"].value = tour.controls["map"].max
    for layer in small_zfnet.layer_names:
        counted.clear()
        tour.controls["layer"].value = layer
        assert tour.error is None
        assert tour.controls["map"].max == small_zfnet.shapes[layer][0] - 1
        assert len(counted) <= 1  # conv3 is there already


def test_a_picture_of_ones_own_is_added_and_shown(tour, small_zfnet, counted):
    tour.own.value = upload("mine.png", as_png(picture(3)))
    menu = tour.controls["picture"]
    assert menu.options == ("one", "two", "mine.png") and menu.value == "mine.png"
    assert tour.error is None and len(counted) == 1
    expected = TourPanel(
        small_zfnet, {"x": picture(3)}, "conv3", tour.controls["map"].value
    ).picture.value
    assert tour.picture.value == expected
    menu.value = "one"
    assert tour.picture.value != expected
    menu.value = "mine.png"
    assert tour.picture.value == expected


def test_another_picture_of_the_same_name_takes_its_place(tour):
    tour.own.value = upload("mine.png", as_png(picture(3)))
    before = tour.picture.value
    tour.own.value = upload("mine.png", as_png(picture(4)))
    assert tour.controls["picture"].options == ("one", "two", "mine.png")
    assert tour.picture.value != before


def test_a_file_that_is_no_picture_is_refused_in_a_sentence(tour, counted):
    before = tour.picture.value
    tour.own.value = upload("<b>notes.png", b"not a picture at all")
    assert isinstance(tour.error, BadInput)
    assert "&lt;b&gt;notes.png: " in tour.message.value
    assert tour.picture.value == before and counted == []
    assert tour.controls["picture"].options == ("one", "two")
    tour.own.value = upload("cut.png", as_png(picture(3))[:300])  # ends in the middle
    assert isinstance(tour.error, BadInput) and tour.picture.value == before
    tour.own.value = upload("mine.png", as_png(picture(3)))
    assert tour.error is None and tour.message.value == "" and tour.picture.value != before


def test_a_tour_that_cannot_start(small_zfnet):
    with pytest.raises(BadInput, match="no picture to start with"):
        TourPanel(small_zfnet, {})
    with pytest.raises(UnknownName, match="conv5"):
        TourPanel(small_zfnet, {"one": picture(1)}, layer="conv7")
    with pytest.raises(BadInput, match="it has maps 0 to"):
        TourPanel(small_zfnet, {"one": picture(1)}, feature_map=1000)
