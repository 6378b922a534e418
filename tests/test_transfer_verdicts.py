"""Each rule gives each of its verdicts, and says why where it is not a plain yes."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from zfnb import transfer_verdicts as verdicts
from zfnb.errors import BadInput
from zfnb.transfer_verdicts import IN_PART, Gap


def around(*means, apart=1.0, splits=5) -> dict:
    """Layers whose splits all move together: the steps between them are sure."""
    moves = [apart * (n - (splits - 1) / 2) for n in range(splits)]
    return {n: [mean + move for move in moves] for n, mean in enumerate(means, 1)}


def test_by_distance():
    found = [verdicts.near(80, ours) for ours in (80, 77, 76, 72, 71, 88.5, None)]
    assert found == [True, True, IN_PART, IN_PART, False, False, None]
    assert verdicts.near(82.9, 86.23) == IN_PART  # a softmax 3.3 points off is not a yes


def test_a_gain_is_held_against_the_papers():
    found = [verdicts.gained(40, ours) for ours in (40, 30, 50, 29.9, 20, 51, 19.9, -3, None)]
    assert found == [True, True, True, IN_PART, IN_PART, IN_PART, False, False, None]


def test_pairs_of_splits():
    gap = verdicts.paired([52, 61, 43], [50, 60, 40])
    assert (gap.mean, gap.splits) == (2, 3) and gap.spread == pytest.approx(1)
    assert gap.error == pytest.approx(1 / math.sqrt(3)) and gap.side == 1
    assert gap.doubt == pytest.approx(4.303 / math.sqrt(3), abs=1e-3)  # t, two degrees of freedom
    assert Gap(2, 1, 5).doubt == pytest.approx(2.776 / math.sqrt(5), abs=1e-3)
    assert str(gap) == "+2.0 ± 1.0 points"
    one = verdicts.paired([5], [3])
    assert math.isnan(one.spread) and one.side == 0 and str(one) == "+2.0 points"
    assert math.isnan(one.doubt)
    for first, second in (([], []), ([1], [1, 2])):
        with pytest.raises(BadInput, match="each split on both sides"):
            verdicts.paired(first, second)
    paper = verdicts.published_gap((86.2, 0.8), (82.9, 0.4))
    assert paper.mean == pytest.approx(3.3) and paper.spread == pytest.approx(math.sqrt(0.8))


def test_every_layer_has_to_beat_the_one_below():
    assert verdicts.rising(around(45, 66, 72, 77, 86)) == verdicts.Judged(True)
    level = verdicts.rising(around(23, 25, 25, 26, 44))
    assert level.agrees == IN_PART and level.note.startswith(
        "Not clearly ahead of the layer below: 3."
    )
    assert "Layer 5 against 1: +21.0" in level.note
    lower = verdicts.rising(around(44, 60, 50, 76, 80))
    assert lower.agrees == IN_PART and "below: 3." in lower.note
    assert verdicts.rising(around(50, 60, 70, 60, 50)).agrees is False


def test_a_step_within_its_error_is_none():
    wild = around(45, 66, 72, 77, 86)
    wild[4] = [value + move for value, move in zip(wild[4], (-30, 30, 0, -20, 20), strict=True)]
    found = verdicts.rising(wild)
    assert found.agrees == IN_PART and "below: 4, 5." in found.note
    # Steps of 6, 8 and 4: a mean of 6 with a standard error of 2 / sqrt(3), 1.15; of which
    # Student's t asks for 4.3 with three splits.
    assert verdicts.rising({1: [50, 50, 50], 2: [56, 58, 54]}).agrees is True
    assert verdicts.rising({1: [50, 50, 50], 2: [54, 56, 52]}).agrees is False  # 4 < 4.3 x 1.15
    assert verdicts.rising(around(45, 66, splits=1)).agrees == IN_PART
    assert verdicts.rising(around(66, 45, splits=1)).agrees is False
    with pytest.raises(BadInput, match="two layers"):
        verdicts.rising(around(45))


@pytest.mark.parametrize(
    ("paper", "ours", "agrees"),
    [
        ((3.3, 0.9), (2.0, 0.5), True),
        ((3.3, 0.9), (-0.1, 0.5), IN_PART),
        ((3.3, 0.9), (-2.0, 0.5), False),
        ((3.3, 0.9), (-2.0, 3.0), IN_PART),  # within the whiskers
        ((3.3, 0.9), (-6.0, 9.0), False),  # too far to call it near
        ((0.1, 0.6), (0.4, 0.5), True),
        ((0.1, 0.6), (-2.0, 0.5), IN_PART),
        ((0.1, 0.6), (9.0, 0.5), False),
        ((3.3, 0.9), (2.0, math.nan), IN_PART),
    ],
)
def test_who_is_ahead_by_more_than_the_whiskers(paper, ours, agrees):
    found = verdicts.same_side(Gap(*paper, 5), Gap(*ours, 5), "SVM", "softmax")
    assert found.agrees == agrees and "The paper: " in found.note
    assert ("SVM ahead" in found.note.split("Here")[0]) == (paper[0] > 1)


def test_a_weak_opponent_is_no_opponent():
    assert verdicts.wide_margin(60, 30, 20) == verdicts.Judged(True)
    weak = verdicts.wide_margin(43.7, 17.0, 17.7)
    assert weak == verdicts.Judged(IN_PART, verdicts.WEAK)
    narrow = verdicts.wide_margin(40, 30, 20)
    assert narrow.agrees == IN_PART and "10.0 points" in narrow.note
    assert verdicts.wide_margin(30, 20, 31).agrees is False  # random filters are better
    assert verdicts.wide_margin(30, 30, 20).agrees is False


def test_a_few_pictures():
    found = [verdicts.few_enough(passed, 6, 30) for passed in (1, 6, 7, 29, 30, None)]
    assert found == [True, True, IN_PART, IN_PART, False, False]
    weak = [verdicts.few_enough(passed, 2, 6, weak=True) for passed in (1, 4, 6, None)]
    assert weak == [IN_PART, IN_PART, False, False]


PAPER = {1: 45.0, 2: 66.0, 3: 72.0, 4: 77.0, 5: 86.0, 7: 85.0}


def fixed(**choices) -> pd.DataFrame:
    """Rows of one C each: how far its layers are from the paper."""
    rows = [
        ("svm", float(c[1:]), layer, PAPER[layer] + apart, PAPER[layer])
        for c, gaps in choices.items()
        for layer, apart in gaps.items()
    ]
    columns = ["classifier", "regularisation", "layer", "accuracy", "paper"]
    return pd.DataFrame(rows, columns=columns)


def test_one_choice_has_to_explain_all_layers():
    every = dict.fromkeys(range(1, 6), 2.0)
    assert verdicts.one_choice(fixed(c1=every, c10={**every, 1: 9.0})).agrees is True
    assert verdicts.one_choice(fixed(c1={**every, 7: 50.0})).agrees is True  # not asked of it
    # Layer 1 with one C and the others with another: no single choice.
    apart = verdicts.one_choice(fixed(c1={**every, 3: -9.0}, c10={**every, 1: 9.0}))
    assert apart.agrees == IN_PART and "takes other layers away" in apart.note
    alone = verdicts.one_choice(fixed(c1={1: 2.0}, c10={1: 9.0}))
    assert alone.agrees == IN_PART and "not measured yet" in alone.note
    # The paper lies between the two, and neither is near.
    assert verdicts.one_choice(fixed(c1={1: -5.0}, c10={1: 5.0})).agrees is False
    assert verdicts.one_choice(fixed()).agrees is None
    assert verdicts.one_choice(fixed(c1={2: 1.0})).agrees is None


def test_several_in_a_text():
    assert verdicts.percents([44.8, 66.2]) == "45, 66 %"
