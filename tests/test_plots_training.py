"""Sizes of filters and signals, the curves of a run, the figures of Sec. 3.1 and of Table 3."""

from __future__ import annotations

import math
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import zfnb
from tests.test_model_size import Stripes, as_published, measured
from zfnb import filter_scales, plots_model_size, plots_training, table3, widgets_training
from zfnb.errors import BadInput
from zfnb.filter_scales import signal_sizes, sizes_at_start, watch, with_and_without_clipping
from zfnb.recipes import filter_rms, filters, recipe_named
from zfnb.runs import read_log
from zfnb.training import Run, Settings, train

PAPER, MODERN = recipe_named("paper"), recipe_named("modern")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def settings(recipe=PAPER, **changes) -> Settings:
    own = {"epochs": 3, "batch": 8, "lr": 0.05, "dropout": 0.0, "cool_down": 0.0, **changes}
    return Settings("zfnet", "stripes", replace(recipe, **own), input_size=48, width=0.05)


OPTIONS = {"progress": False, "device": "cpu"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Rough runs, so that a filter passes the radius."""
    chosen = settings(lr=0.5, schedule="trapezoid")
    return with_and_without_clipping(chosen, Stripes(), tmp_path_factory.mktemp("clip"), **OPTIONS)


def test_one_run_until_a_filter_passes_the_radius(pair):
    clipped, free = pair["with clipping"], pair["without clipping"]
    assert clipped.radius == free.radius == pytest.approx(0.1)
    assert clipped.first_out is not None and clipped.first_out == free.first_out
    before = clipped.first_out - 1
    assert before > 0
    assert np.array_equal(clipped.rms[:before], free.rms[:before])
    assert clipped.rms.max() <= 0.1 * (1 + 1e-5) < free.rms.max()
    assert not np.array_equal(clipped.rms[-1], free.rms[-1])


def test_watching_does_not_change_the_run(pair, tmp_path):
    """What is watched is what an unwatched run ends with."""
    chosen = settings(lr=0.5, schedule="trapezoid")
    seen = []
    train(chosen, Stripes(), None, tmp_path, on_epoch=lambda run, _: seen.append(run), **OPTIONS)
    weight = filters(seen[-1].net)[0][1].weight
    clipped = pair["with clipping"]
    assert torch.equal(clipped.filters, weight)
    assert np.array_equal(clipped.rms[-1], filter_rms(weight).numpy())
    assert clipped.rms.shape == (9, 5) and clipped.losses.shape == (9,)
    assert not clipped.diverged


def test_share_by_hand():
    run = filter_scales.Watched(
        np.array([[0.05, 0.05], [0.02, 0.1], [0.3, 0.1]]), np.zeros(3), torch.zeros(2, 3, 7, 7),
        np.zeros(3), 0.1, False,
    )  # fmt: skip
    assert run.share == pytest.approx([0.5, 0.01 / 0.0104, 0.9])
    assert run.first_out == 2
    assert replace(run, radius=1.0).first_out is None
    assert replace(run, radius=1.0, above=np.array([0.05, 0.09, 0.11])).first_out == 3


def test_a_run_whose_loss_is_infinite_is_a_finding(tmp_path):
    run = watch(settings(lr=1e30, clip=False), Stripes(), tmp_path, **OPTIONS)
    assert run.diverged and not np.isfinite(run.losses[-1])
    assert len(plots_training.clipping({"free": run}).axes) == 3


def test_a_run_with_weights_too_large_for_a_file_is_a_finding(tmp_path, monkeypatch):
    end_epoch = Run.end_epoch

    def far_out(one: Run, *rest):
        with torch.no_grad():
            one.net.fc8.linear.weight[0, 0] = 1e5  # beyond what 16 bits hold
        end_epoch(one, *rest)

    monkeypatch.setattr(Run, "end_epoch", far_out)
    run = watch(settings(epochs=1), Stripes(), tmp_path, **OPTIONS)
    assert run.diverged and np.isfinite(run.losses).all()
    assert len(plots_training.clipping({"free": run}).axes) == 3


def test_a_run_that_is_stopped_within_an_epoch(tmp_path):
    """Its loss is looked at between the last step and what watches it."""
    chosen = settings(lr=1e30, clip=False)
    run = watch(chosen, Stripes(), tmp_path, checkpoint_every=1, **OPTIONS)
    assert run.diverged and not np.isfinite(run.losses[-1])
    assert len(run.rms) == len(run.above) == len(run.losses)
    assert run.filters.isfinite().all()
    assert len(plots_training.clipping({"free": run}).axes) == 3


def test_another_mistake_is_not_taken_for_divergence(tmp_path):
    with pytest.raises(BadInput, match="device"):
        watch(settings(), Stripes(), tmp_path, progress=False, device="gpu")
    watch(settings(epochs=1), Stripes(), tmp_path, **OPTIONS)
    with pytest.raises(BadInput, match="--resume"):
        watch(settings(epochs=1), Stripes(), tmp_path, **OPTIONS)


def test_signals_are_those_before_the_relu(small_zfnet, noise):
    images = noise(2, 64)
    sizes = signal_sizes(small_zfnet, images)
    assert list(sizes) == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    with torch.inference_mode():
        assert sizes["conv1"] == pytest.approx(small_zfnet.conv1.filter(images).std().item())
        assert sizes["fc8"] == pytest.approx(small_zfnet(images).std().item())
    assert not any(module._forward_hooks for module in small_zfnet.modules())


def test_a_start_of_1e_2_fades_in_a_narrow_network():
    """And the same scaled to the width fades as the paper's own does: less."""
    starts = {"raw": 0.01, "paper": PAPER, "he": MODERN}
    narrow = sizes_at_start(settings(), Stripes(), range(3), starts)
    faded = {name: layers["fc8"] / layers["conv1"] for name, layers in narrow.items()}
    assert faded["raw"] < 1e-3 * faded["paper"]
    assert faded["paper"] < faded["he"]
    assert 0.02 < narrow["he"]["fc7"] / narrow["he"]["conv1"] < 50


# Figures


def lines(count: int, held: bool = True) -> list[dict]:
    made = []
    for n in range(1, count + 1):
        made.append(
            {
                "epoch": n,
                "lr": 0.1 / n,
                "train_loss": 2 / n,
                "train_error": 90 / n,
                "filter_rms": {"conv1": [0.01, 0.02 * n], "conv2": [0.02, 0.03]},
            }
        )
        if held:
            made[-1] |= {"held_error": 80 / n, "held_error5": 40 / n}
    return made


def ys(axis) -> list[list[float]]:
    return [list(np.asarray(line.get_ydata(), dtype=float)) for line in axis.lines]


def test_training_curves():
    figure = plots_training.training_curves({"a": lines(3), "b": lines(2, False)}, "Both", 5)
    loss, error, rate = figure.axes
    assert ys(loss) == [[2, 1, 2 / 3], [2, 1]]
    assert ys(error) == [[90, 45, 30], [80, 40, 80 / 3], [90, 45]]
    assert ys(rate)[0] == pytest.approx([0.1, 0.05, 0.1 / 3])
    assert loss.get_xlim() == (0.5, 5.5)
    labels = [text.get_text() for text in error.get_legend().get_texts()]
    assert labels == ["a, training", "a, held out", "b, training"]
    for runs in ({}, {"a": []}):
        with pytest.raises(BadInput, match="no epoch"):
            plots_training.training_curves(runs, "none")


def test_filter_norms():
    [axis] = plots_training.filter_norms(lines(3), "norms", radius=0.1).axes
    assert [0.02, 0.04, 0.06] in [pytest.approx(y) for y in ys(axis)]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == [
        "conv1",
        "conv2",
        "radius of clipping",
    ]
    with pytest.raises(BadInput):
        plots_training.filter_norms([], "none")


def test_clipping_draws_both_runs_on_one_scale(pair):
    figure = plots_training.clipping(pair)
    above, below = np.array(figure.axes).reshape(3, 2)[:2]
    assert below[0].get_ylim() == below[1].get_ylim()
    assert len(below[0].lines) == 5 + 1  # filters, and the radius
    for axis, (name, run) in zip(above, pair.items(), strict=True):
        assert (
            axis.get_title()
            == f"{name}: the largest filter has {run.final_share:.0%} of the energy"
        )
    with pytest.raises(BadInput):
        plots_training.clipping({})


def test_one_scale_for_a_layer_leaves_small_filters_grey():
    weight = torch.zeros(2, 3, 4, 4)
    weight[0], weight[1] = 1.0, 0.01
    picture = plots_training.layer_one(weight, 1.0, columns=2)
    assert np.allclose(picture[:, :4], 1.0)
    assert np.allclose(picture[:, -4:], 0.505)


def test_other_figures(small_zfnet, noise):
    sizes = {"a": {"conv1": 1.0, "conv2": 0.1}, "b": {"conv1": 1.0, "conv2": 2.0}}
    [axis] = plots_training.signal_sizes(sizes, "t").axes
    assert ys(axis) == [[1, 0.1], [1, 2]]
    assert axis.get_yscale() == "log"
    figure = plots_training.crops({"one": noise(3, 64), "two": noise(2, 64)}, small_zfnet)
    assert sum(len(axis.images) for axis in figure.axes) == 5
    for draw in (
        lambda: plots_training.signal_sizes({}, "t"),
        lambda: plots_training.crops({}, small_zfnet),
    ):
        with pytest.raises(BadInput):
            draw()


def texts(axis) -> list[str]:
    return [text.get_text() for text in axis.texts]


def test_table_of_a_part():
    part = measured({"alexnet": [(50, 60, 30)]}, [{"network": "zfnet", "seed": 0, "error": "x"}])
    left, right = plots_model_size.table(table3.table3(part)).axes
    assert "35.1 / 40.5 / 18.1" in texts(left)
    assert "50.0 / 60.0 / 30.0" in texts(right)
    assert texts(right).count(table3.NOT_YET) == 10 and texts(right).count("failed") == 1
    assert table3.NOT_YET not in texts(left)


def test_against_the_paper():
    whole = table3.table3(as_published())
    [axis] = plots_model_size.against_the_paper(whole).axes
    assert axis.get_title() == "rank correlation 1.00 over 12 networks"
    assert texts(axis) == [str(n) for n in range(1, 13)]
    [axis] = plots_model_size.against_the_paper(table3.table3(measured({})), "train_top1").axes
    assert texts(axis) == [table3.NOT_YET]
    assert "too few" in axis.get_title()


def test_gap_bars():
    part = measured({"alexnet": [(50, 60, 30)], "zfnet": [(60, 55, 30)]})
    [axis] = plots_model_size.gap_bars(table3.table3(part)).axes
    ours = [bar.get_width() for bar in axis.containers[1]]
    assert ours[0] == 10 and ours[7] == -5 and sum(map(abs, ours)) == 15
    assert texts(axis).count(table3.NOT_YET) == 10
    assert "5.4" in texts(axis)  # the paper's AlexNet


# Live


def test_live_curves_replace_one_picture(tmp_path, monkeypatch):
    """One display; then it is updated, every second epoch and at the end, with new pixels."""
    shown, updated = [], []

    class Handle:
        def update(self, picture):
            updated.append(picture.data)

    def display(picture, display_id):
        assert display_id is True
        shown.append(picture.data)
        return Handle()

    monkeypatch.setattr(widgets_training, "display", display)
    curves = widgets_training.LiveCurves("run", every=2)
    train(settings(MODERN, epochs=5), Stripes(), None, tmp_path, on_epoch=curves, **OPTIONS)
    assert len(shown) == 1 and len(updated) == 2
    assert len({*shown, *updated}) == 3 and all(data[:4] == b"\x89PNG" for data in updated)
    assert [line["epoch"] for line in curves.lines] == [1, 2, 3, 4, 5]
    expected = [line["train_loss"] for line in read_log(tmp_path)["epoch"]]
    assert [line["train_loss"] for line in curves.lines] == expected
    assert not plt.get_fignums()  # none is left open


def test_an_error_in_the_curves_is_not_swallowed(tmp_path, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(widgets_training, "training_curves", broken)
    with pytest.raises(ZeroDivisionError):
        train(
            settings(epochs=1), Stripes(), None, tmp_path,
            on_epoch=widgets_training.LiveCurves("run"), **OPTIONS,
        )  # fmt: skip


def test_the_kept_log_can_be_drawn():
    """If a log travels with the package, its figures can be made and its numbers are finite."""
    path = zfnb.paths.embedded("data", "results", "training", "zfnet.json")
    epochs = zfnb.training.read_json(path)["epochs"] if path.exists() else lines(2)
    plots_training.training_curves({"ZFNet": epochs}, "kept")
    plots_training.filter_norms(epochs, "kept")
    assert all(math.isfinite(line["train_loss"]) for line in epochs)
