"""Tables in the form of curves: values of the paper, and rows averaged by hand."""

from __future__ import annotations

import numpy as np
import pytest

from zfnb import transfer_curves as curves
from zfnb.errors import BadInput
from zfnb.transfer import Result


def source(name, rows):
    run = {"network": "net", "weights": "w", "data": {"name": "caltech101"}, "rows": rows}
    return {"name": name, "runs": [run]}


def row(layer, classifier, count, split, accuracy):
    return {
        "layer": layer,
        "classifier": classifier,
        "count": count,
        "split": split,
        "accuracy": accuracy,
        "regularisation": 1.0,
    }


def test_published_curves():
    table = curves.paper_curves(5)
    assert table["pretrained"][60] == (74.2, 0.3) and table["not pretrained"][15] == (9.0, 1.4)
    assert table["Sohn et al. (2011)"][15][0] == 35.1
    assert np.isnan(table["Sohn et al. (2011)"][15][1])
    # Bo et al. published nothing at 15 a class of Caltech-101.
    assert list(curves.paper_curves(4)["Bo et al. (2013)"]) == [30]
    with pytest.raises(BadInput, match="Tables 4 and 5"):
        curves.paper_curves(7)


def test_a_measured_curve_stands_beside_the_published_ones():
    content = source("fig9", [row(5, "svm", 15, 0, 40.0), row(5, "svm", 60, 0, 70.0)])
    assert list(curves.beside_published(5, content)) == list(curves.paper_curves(5))
    content["runs"][0]["data"]["name"] = "caltech256"
    drawn = curves.beside_published(5, content)
    assert list(drawn) == [*curves.paper_curves(5), "ours, net (w), svm"]
    assert [drawn["ours, net (w), svm"][count][0] for count in (15, 60)] == [40, 70]
    assert drawn["pretrained"][60] == (74.2, 0.3)
    assert list(curves.beside_published(4, content)) == list(curves.paper_curves(4))


def test_published_layers():
    layers = curves.paper_layers()
    assert layers["svm"][5] == (86.2, 0.8) and layers["softmax"] == {5: (82.9, 0.4), 7: (85.4, 0.4)}
    assert curves.paper_layers("caltech256")["svm"][7] == (71.7, 0.2)
    with pytest.raises(BadInput, match="caltech256"):
        curves.paper_layers("imagenet")


def test_kept_curves_are_means_over_the_splits():
    rows = [row(5, "svm", 1, 0, 40.0), row(5, "svm", 1, 1, 44.0), row(5, "svm", 6, 0, 70.0)]
    found = curves.kept_curves(source("fig9", rows))
    assert list(found) == ["net (w), svm"]
    assert found["net (w), svm"][1] == pytest.approx((42, np.sqrt(8)))
    assert found["net (w), svm"][6][0] == 70 and np.isnan(found["net (w), svm"][6][1])
    assert curves.kept_curves({"name": "fig9", "runs": []}) == {}


def test_kept_layers():
    rows = [row(1, "svm", 30, 0, 50.0), row(1, "svm", 30, 1, 52.0), row(5, "softmax", 30, 0, 80.0)]
    found = curves.kept_layers(source("table7", rows))
    assert found["net (w)"]["svm"][1] == pytest.approx((51, np.sqrt(2)))
    assert found["net (w)"]["softmax"][5][0] == 80
    assert curves.kept_layers({"name": "table7", "runs": []}) == {}


def test_layers_of_results():
    def result(accuracy):
        return Result("svm", 6, 0, accuracy, np.zeros(1), np.zeros(1))

    found = curves.layer_curves(
        {("svm", 1): [result(10), result(14)], ("svm", 5): [result(90)], ("softmax", 5): []}
    )
    assert list(found) == ["svm"] and found["svm"][1] == pytest.approx((12, np.sqrt(8)))
    assert found["svm"][5][0] == 90


@pytest.mark.parametrize(("level", "expected"), [(5, 1), (15, 2), (35, 8), (99, None), (90, None)])
def test_fewest(level, expected):
    # It dips below 25 at 4, so 2 is not yet "from there on" for 22.
    curve = {1: (10, 0), 2: (30, 0), 4: (20, 0), 8: (90, 0)}
    assert curves.fewest(curve, level) == expected
    assert curves.fewest(curve, 22) == 8
    with pytest.raises(BadInput, match="empty"):
        curves.fewest({}, level)
