"""Figures of Tables 4 to 7 draw the numbers they are given; the panel follows its controls."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from zfnb import plots_transfer as draw
from zfnb.errors import BadInput
from zfnb.transfer_tables import published, table4
from zfnb.widgets_transfer import NeighboursPanel


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def texts(figure) -> str:
    return " | ".join(t.get_text() for t in figure.findobj(plt.Text) if t.get_text())


def plain(colour, size=(30, 20)) -> Image.Image:
    return Image.new("RGB", size, colour)


def lines(axis) -> dict:
    """{label: [(x, y), ...]} of what errorbar and plot drew."""
    handles, labels = axis.get_legend_handles_labels()
    return {
        label: np.column_stack(
            (handle[0] if isinstance(handle, tuple) else handle).get_data()
        ).tolist()
        for handle, label in zip(handles, labels, strict=True)
    }


def test_a_thumbnail_is_the_middle_square():
    picture = plain("black", (60, 20))
    picture.paste("white", (20, 0, 40, 20))
    assert draw.thumbnail(picture, 20).min() > 250 and draw.thumbnail(picture).shape == (96, 96, 3)
    assert draw.thumbnail(plain("red").convert("L")).shape == (96, 96, 3)


def test_bars_are_as_long_as_the_accuracies():
    rows = {"a": (80.0, 1.5), "b": (40.0, np.nan), "c": None}
    figure = draw.accuracy_bars(rows, "title", chance=10)
    assert [bar.get_width() for bar in figure.axes[0].patches] == [80, 40]
    for words in ("80.0 ± 1.5", "40.0", draw.NOT_YET, "chance", "title"):
        assert words in texts(figure)
    assert "40.0 ±" not in texts(figure)
    with pytest.raises(BadInput, match="at least one row"):
        draw.accuracy_bars({}, "")


def test_curves_go_through_the_means_in_order():
    curves = {"a": {6: (60.0, 1.0), 1: (20.0, np.nan)}, "none": {}}
    figure = draw.accuracy_curves(curves, "title", "stamps", {"before": 55.2})
    axis = figure.axes[0]
    assert lines(axis) == {"a": [[1, 20], [6, 60]]}
    assert axis.get_xlabel() == "training stamps a class" and "before (55.2)" in texts(figure)
    assert draw.NOT_YET in texts(draw.accuracy_curves({}, "title"))


def test_the_paper_and_ours_stand_in_one_row():
    index = pd.MultiIndex.from_tuples([("svm", 1), ("softmax", 5)], names=["classifier", "layer"])
    columns = {"paper": [44.8, 82.9], "paper_spread": [0.7, np.nan]}
    columns |= {"net (w)": [54.0, np.nan], "net (w) ±": [1.0, np.nan]}
    figure = draw.beside_the_paper(pd.DataFrame(columns, index=index), "Table 7")
    found = lines(figure.axes[0])
    assert [x for x, _ in found["the paper"]] == [44.8, 82.9]
    assert found["ours, net (w)"][0][0] == 54
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels == ["SVM on layer 1", "softmax on layer 5"]
    assert "54.0" in texts(figure) and "nan" not in texts(figure)
    assert draw.NOT_YET not in texts(figure)


def test_without_ours_it_says_so():
    figure = draw.beside_the_paper(table4({"name": "table4", "runs": []}), "Table 4")
    assert f"ours: {draw.NOT_YET}" in texts(figure) and "pretrained, 30 a class" in texts(figure)


def test_layers_stand_at_their_numbers():
    by_layer = {"paper": {1: (45.0, 1.0), 5: (86.0, 1.0)}, "ours": {7: (70.0, np.nan)}, "none": {}}
    figure = draw.accuracy_by_layer(by_layer, "title", 10.0, "share")
    axis = figure.axes[0]
    found = lines(axis)
    assert found["paper"] == [[1, 45], [5, 86]] and found["ours"] == [[7, 70]]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["layer 1", "layer 5", "layer 7"]
    assert axis.get_ylabel() == "share" and "chance" in texts(figure)
    with pytest.raises(BadInput, match="at least one line"):
        draw.accuracy_by_layer({"a": {}}, "")


def test_confusions_are_written_in_percent():
    figure = draw.confusion(np.array([[0.75, 0.25], [np.nan, np.nan]]), ["cat", "dog"], "title")
    assert "75" in texts(figure) and "25" in texts(figure) and "nan" not in texts(figure)
    assert figure.axes[0].get_xlabel() == "taken for"
    many = draw.confusion(np.eye(30), [f"c{i}" for i in range(30)], "title")
    assert not many.axes[0].texts  # too many for numbers
    with pytest.raises(BadInput, match="matrix of that size"):
        draw.confusion(np.eye(3), ["a"], "")


def test_training_and_test_pictures_stand_apart():
    rows = {"cat": ([plain("red")] * 3, [plain("blue")]), "dog": ([plain("red")], [plain("blue")])}
    figure = draw.train_and_test(rows, "title")
    reds = sum(
        bool((image.get_array()[0, 0] == [255, 0, 0]).all())
        for axis in figure.axes
        for image in axis.images
    )
    assert reds == 4 and sum(len(axis.images) for axis in figure.axes) == 6
    assert "train" in texts(figure) and "test" in texts(figure) and "dog" in texts(figure)
    with pytest.raises(BadInput):
        draw.train_and_test({}, "")


def test_mistakes_are_named():
    figure = draw.mistakes([plain("red")] * 2, [("cat", "dog"), ("ant", "bee")], "title", columns=1)
    assert "cat,\ntaken for dog" in texts(figure) and "ant,\ntaken for bee" in texts(figure)
    assert "No mistake" in texts(draw.mistakes([], [], "title"))


def test_frames_tell_whether_the_class_is_the_same():
    near = [(plain("blue"), "cat", 0.9), (plain("blue"), "dog", 0.5)]
    figure = draw.neighbours([("layer 1", plain("red"), "cat", near)], "title")
    edges = [to_hex(axis.spines["top"].get_edgecolor()) for axis in figure.axes[1:]]
    assert edges == [draw.RIGHT, draw.WRONG]
    assert "cat  0.90" in texts(figure) and "layer 1" in texts(figure)
    for rows in ([], [("a", plain("red"), "cat", [])]):
        with pytest.raises(BadInput, match="neighbour"):
            draw.neighbours(rows, "")


def test_points_stand_where_they_are_put():
    xy, targets = np.arange(12.0).reshape(6, 2), [0, 0, 1, 1, 1, 2]
    figure = draw.maps_of_pictures({"layer 1": xy, "layer 5": -xy}, targets, list("abc"), "title")
    first, second = figure.axes
    points = np.concatenate([p.get_offsets() for p in first.collections])
    assert sorted(points.tolist()) == xy.tolist()
    assert [first.get_title(), second.get_title()] == ["layer 1", "layer 5"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["a", "b", "c"]
    with pytest.raises(BadInput):
        draw.maps_of_pictures({}, targets, list("abc"), "")


def test_of_many_classes_the_commonest_are_told_apart():
    targets = np.repeat(np.arange(12), [1, 2, *[3] * 10])
    xy = np.random.default_rng(0).normal(size=(len(targets), 2))
    figure = draw.maps_of_pictures({"x": xy}, targets, [f"c{i}" for i in range(12)], "title")
    names = [t.get_text() for t in figure.legends[0].get_texts()]
    assert names == ["others", *[f"c{i}" for i in range(2, 12)]]


def test_a_map_shows_every_picture():
    places = np.array([[0.0, 0], [1, 1], [0.5, 2]])
    figure = draw.picture_map(places, [plain("red")] * 3, "title", ["C0", "C1", "C2"])
    assert len(figure.axes[0].child_axes) == 3
    lowest, _, highest = sorted(a.get_position().y0 for a in figure.axes[0].child_axes)
    assert lowest < highest
    with pytest.raises(BadInput, match="as many pictures"):
        draw.picture_map(places, [plain("red")], "")


def test_average_precisions_by_class():
    table = published(6)
    ours = {"ours, net": {"aeroplane": 90.0, "bicycle": None}}
    found = lines(draw.average_precisions(table, ours).axes[0])
    assert found["the paper's convnet"][0] == [0, 96.0]
    values = [y for _, y in found["ours, net"]]
    assert values[0] == 90 and np.isnan(values[1:]).all()
    assert f"ours: {draw.NOT_YET}" in texts(draw.average_precisions(table, {}))


def test_duplicates_tell_their_correlation():
    figure = draw.duplicates([(plain("red"), plain("red", (9, 9)), 0.987)], "title")
    assert "30 x 20" in texts(figure) and "9 x 9: correlation 0.987" in texts(figure)
    with pytest.raises(BadInput):
        draw.duplicates([], "")


# ---------------------------------------------------------------- the panel


class Coloured:
    """Five red pictures and two blue ones."""

    name, classes, targets = "coloured", ["red", "blue"], [0] * 5 + [1] * 2

    def picture(self, item):
        return plain(self.classes[self.targets[item]])

    def key(self, item):
        return f"picture {item}"


def test_the_panel_follows_its_controls():
    panel = NeighboursPanel(Coloured(), {"layer 1": np.eye(7), "layer 5": np.eye(7)}, count=2)
    first = panel.picture.value
    panel.controls["number"].value = 4
    fifth = panel.picture.value
    assert fifth != first and panel.error is None
    panel.controls["kind"].value = "blue"  # which has two pictures only
    assert panel.controls["number"].max == 1 and panel.controls["number"].value == 1
    assert panel.picture.value not in (first, fifth) and panel.error is None
    panel.controls["kind"].value = "red"
    assert panel.controls["number"].max == 4 and panel.error is None


def test_panels_that_cannot_be():
    with pytest.raises(BadInput, match="at least one layer"):
        NeighboursPanel(Coloured(), {})
    with pytest.raises(BadInput, match="7 pictures"):
        NeighboursPanel(Coloured(), {"layer 1": np.eye(3)})
    with pytest.raises(BadInput, match="cannot be found"):
        NeighboursPanel(Coloured(), {"layer 1": np.eye(7)}, count=7)


def test_words_above_a_level_stay_away_from_the_curves():
    curve = {1: (40.0, 1.0), 10: (78.0, 1.0), 20: (84.0, 1.0), 30: (86.0, 1.0)}
    assert draw.freer_on_the_left([curve], 84.3)
    assert not draw.freer_on_the_left([curve], 40.0)
    figure = draw.accuracy_curves({"a": curve}, "A title", levels={"best": 84.3})
    (words,) = (text for text in figure.axes[0].texts if "best" in text.get_text())
    assert words.get_ha() == "left" and words.xy == (0.01, 84.3)
    plt.close(figure)
