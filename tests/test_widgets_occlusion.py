"""The panel with the square, without a kernel: setting a value moves a control."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
import torch
from PIL import Image

import zfnb
from zfnb import occlusion_figure as occ
from zfnb import widgets_occlusion as wo
from zfnb.errors import BadInput, UnknownName
from zfnb.models import build, describe_variant
from zfnb.occlusion import fill_picture
from zfnb.widgets_occlusion import OcclusionPanel

SECONDS = 0.2  # of one thread, for one update of the ZFNet at 96 pixels


def picture(seed: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.fixture(scope="module")
def larger():
    torch.manual_seed(2)
    return build(describe_variant("zfnet", input_size=96, width=1 / 16), num_classes=7)


@pytest.fixture
def panel(small_zfnet, larger):
    nets = {"small": small_zfnet, "large": larger}
    return OcclusionPanel(nets, {"one": picture(1), "two": picture(2)})


def opened(panel) -> Image.Image:
    return Image.open(io.BytesIO(panel.picture.value))


def expected(panel, net, seed, top, left, square, fill="grey"):
    """The panel's picture, made the long way."""
    image = zfnb.preprocess(picture(seed), net)
    watcher = occ.Watcher(net, image)
    seen = watcher(top, left, square, fill)
    size = net.input_size
    box = (max(top, 0), max(left, 0), min(top + square, size), min(left + square, size))
    drawn = wo.glance_picture(seen, watcher.whole, box, net, "conv5", watcher.feature_map)
    return np.asarray(drawn)


def test_it_starts_in_the_middle(panel, small_zfnet):
    assert panel.error is None and opened(panel).format == "PNG"
    assert panel.controls["square"].value == 9  # a seventh of 64
    assert panel.place() == (28, 28)
    assert np.array_equal(np.asarray(opened(panel)), expected(panel, small_zfnet, 1, 28, 28, 9))


@pytest.mark.parametrize(
    ("name", "value"),
    [("row", 50), ("column", 3), ("square", 30), ("fill", "noise"), ("picture", "two")],
)
def test_each_control_changes_the_picture(panel, small_zfnet, name, value):
    before = panel.picture.value
    panel.controls[name].value = value
    assert panel.error is None and panel.picture.value != before
    (top, left), values = panel.place(), panel._values()
    seed = 2 if values["picture"] == "two" else 1
    shown = expected(panel, small_zfnet, seed, top, left, values["square"], values["fill"])
    assert np.array_equal(np.asarray(opened(panel)), shown)


def test_the_square_may_hang_over_the_border(panel, small_zfnet):
    with panel.once():
        for name, value in (("row", 0), ("column", 63), ("square", 20)):
            panel.controls[name].value = value
    assert panel.place() == (-10, 53) and panel.error is None
    assert np.array_equal(np.asarray(opened(panel)), expected(panel, small_zfnet, 1, -10, 53, 20))


def test_another_network_takes_the_square_along(panel, larger, monkeypatch):
    panel.controls["row"].value = 16
    drawn = []
    real = wo.glance_picture
    monkeypatch.setattr(wo, "glance_picture", lambda *a: drawn.append(a) or real(*a))
    panel.controls["network"].value = "large"
    assert len(drawn) == 1  # five controls moved, one picture
    values = panel._values()
    assert (values["row"], values["column"]) == (24, 48) and values["square"] in (13, 14)
    assert [panel.controls[n].max for n in ("row", "column", "square")] == [95, 95, 96]
    assert np.array_equal(
        np.asarray(opened(panel)), expected(panel, larger, 1, *panel.place(), values["square"])
    )
    panel.controls["row"].value = 95
    drawn.clear()
    panel.controls["network"].value = "small"
    assert panel.controls["row"].value == panel.controls["row"].max == 63 and len(drawn) == 1


def test_the_square_goes_over_the_picture_by_itself(panel):
    seen, places = [], []
    for step in (1, 2, wo.STEPS, wo.STEPS**2 - 1):
        panel.play.value = step
        seen.append(panel.picture.value)
        places.append((panel.controls["row"].value, panel.controls["column"].value))
    assert len(set(seen)) == 4 and panel.error is None
    cell = 64 / wo.STEPS
    assert places == [
        (round(cell / 2), round(1.5 * cell)),
        (round(cell / 2), round(2.5 * cell)),
        (round(1.5 * cell), round(cell / 2)),
        (round(11.5 * cell), round(11.5 * cell)),
    ]


def test_a_network_looks_once_at_the_whole_picture(panel, small_zfnet, monkeypatch):
    passes = []
    real = zfnb.Deconvnet.record
    monkeypatch.setattr(zfnb.Deconvnet, "record", lambda *a, **k: passes.append(1) or real(*a, **k))
    panel.controls["row"].value = 40
    panel.controls["column"].value = 40
    assert len(passes) == 2  # one a place
    panel.controls["picture"].value = "two"
    assert len(passes) == 4
    panel.controls["picture"].value = "one"
    assert len(passes) == 5


def bar_rows(image: np.ndarray, colour) -> int:
    """How many columns of the part with the bars hold a colour."""
    left, top = wo.BARS - 160 + wo.GAP, wo.GAP + 2 * wo.LINE  # where they begin; above is a title
    return int((image[top:, -left:] == np.array(colour)).all(2).any(0).sum())


def test_bars_are_as_long_as_probabilities(small_zfnet):
    watcher = occ.Watcher(small_zfnet, zfnb.preprocess(picture(1), small_zfnet))
    lengths = []
    for high in (0.4, 0.8):
        probabilities = torch.full((7,), (1 - high) / 6)
        label = int(watcher.whole.probabilities.argmax())
        probabilities[label] = high
        seen = occ.Glance(
            watcher.whole.image,
            probabilities,
            watcher.whole.feature_map,
            watcher.whole.projection,
        )
        drawn = wo.glance_picture(seen, watcher.whole, (0, 0, 9, 9), small_zfnet, "conv5", 0)
        lengths.append(bar_rows(np.asarray(drawn), wo.BLUE))
    assert lengths[1] == pytest.approx(2 * lengths[0], abs=3) and lengths[0] > 20


def test_random_weights_are_said_in_red(panel, small_zfnet, monkeypatch):
    def red():
        title = np.asarray(opened(panel))[: wo.GAP + wo.LINE]
        return int((title == np.array(wo.RED)).all(2).sum())

    assert red() > 50
    monkeypatch.setattr(small_zfnet, "weights", "trained")
    panel.refresh()
    assert red() == 0


def test_the_cover_is_the_experiments(panel, small_zfnet):
    image = zfnb.preprocess(picture(1), small_zfnet)[None]
    for fill in wo.FILLS:
        found = panel._cover("small", "one", fill, 12)
        assert torch.equal(found, fill_picture(fill, image, small_zfnet.preprocessing, 12))


def test_the_still_twin_is_the_picture(panel):
    data, metadata = panel._repr_mimebundle_()
    assert data["text/plain"] == panel.alt == metadata["image/png"]["alt"]
    assert "image/png" in data


def test_a_panel_that_cannot_start(small_zfnet, trunk):
    with pytest.raises(BadInput, match="at least one network"):
        OcclusionPanel({}, {"one": picture(1)})
    with pytest.raises(BadInput, match="at least one network"):
        OcclusionPanel({"small": small_zfnet}, {})
    with pytest.raises(UnknownName, match="conv5"):
        OcclusionPanel({"small": small_zfnet}, {"one": picture(1)}, layer="conv7")
    with pytest.raises(BadInput, match="no classifier"):
        OcclusionPanel({"trunk": trunk}, {"one": picture(1)})


def test_the_zfnet_at_96_pixels_follows_a_slider():
    """Time of the processor on one thread: what the clock shows when nothing else runs."""
    net = zfnb.load_model("zfnet", num_classes=200, input_size=96)  # random filters take as long
    panel = OcclusionPanel({"zfnet": net}, {"one": picture(1)})
    times = []
    for row in range(20, 26):
        began = time.process_time()
        panel.controls["row"].value = row
        times.append(time.process_time() - began)
    assert np.median(times) < SECONDS
