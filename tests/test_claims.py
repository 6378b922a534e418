"""Claims: what is taken, what is refused, how they look."""

import json

import numpy as np
import pytest
import torch

from zfnb.claims import MIME, Claim, claim
from zfnb.errors import BadInput


def test_numbers_of_numpy_and_torch_become_plain():
    row = claim(
        "x", np.float32(2.5), torch.tensor(3), section="Sec. 1", agrees=np.bool_(True), unit="%"
    )
    assert (row.paper, row.ours, row.agrees) == (2.5, 3, True)
    assert [type(value) for value in (row.paper, row.ours, row.agrees)] == [float, int, bool]
    assert json.loads(json.dumps(row.bundle()))[MIME]["paper"] == 2.5


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (62_357_608, "", "62,357,608"),
        (16.31234, "%", "16.3 %"),
        (82.0, "%", "82.0 %"),
        (-1.9351, "points", "-1.94 points"),
        (16.31234, "pixels", "16.31 pixels"),
        (123_456.7, "", "123,457"),
        (1e-7, "", "1e-07"),
        ("edges", "%", "edges"),
        (None, "%", "–"),
    ],
)
def test_values_as_people_read_them(value, unit, shown):
    assert Claim("x", None, 1, "Sec. 1", unit=unit).shown(value) == shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"ours": float("nan")},
        {"ours": None},
        {"ours": True},
        {"ours": torch.zeros(2)},
        {"paper": float("inf")},
        {"what": " "},
        {"section": ""},
        {"note": 3},
        {"agrees": 1},
        {"agrees": "so much to say about it that it belongs in the note"},
    ],
    ids=str,
)
def test_bad_claims_are_refused(wrong):
    good = {"what": "x", "paper": 1, "ours": 1, "section": "Sec. 1", "agrees": True}
    arguments = {**good, **wrong}
    with pytest.raises(BadInput, match=r"claim\("):
        claim(arguments.pop("what"), arguments.pop("paper"), arguments.pop("ours"), **arguments)


def test_a_claim_is_read_as_it_was_kept():
    kept = {"what": "x", "paper": 1, "ours": 2, "section": "Sec. 1", "cell": "abc"}
    assert Claim.of(kept) == Claim("x", 1, 2, "Sec. 1")
    assert Claim.of({**kept, "note": "why"}).note == "why"
    with pytest.raises(BadInput, match=r"lacks a part; it has what, paper, ours\."):
        Claim.of({"what": "x", "paper": 1, "ours": 2})


def test_texts_are_escaped_in_html():
    html = Claim("a <b>", "<i>", "&", "Sec. 1", note="<script>").bundle()["text/html"]
    assert "<b>" not in html.replace("<b style", "") and "<i>" not in html
    assert "&lt;script&gt;" in html


def test_outside_a_notebook_it_is_printed(capsys):
    claim("Map size", 110, 110, section="Fig. 3", unit="pixels", agrees=True)
    assert "Map size: paper 110 pixels, ours 110 pixels (agrees: yes; Fig. 3)" in (
        capsys.readouterr().out
    )
