"""Labels in levels: how they are recognised, and what is right at each."""

from __future__ import annotations

import numpy as np
import pytest

from pegbox.data.rows import Rows
from pegbox.evaluate.levels import level_lines, separator
from pegbox.evaluate.scores import evaluate_predictor


@pytest.mark.parametrize(
    ("labels", "mark"),
    [
        (("HUM:ind", "HUM:gr", "LOC:city"), ":"),
        (("a > b", "a > c", "d > e"), ">"),
        (("a/b/c", "a/b/d", "e/f/g"), "/"),
        (("a::b", "a::c", "d::e"), "::"),
        (("a:b", "a:c", "d"), None),
        (("a:b", "c:d"), None),
        (("a:b", "a:c"), None),
        (("a:", "a:b", "c:d"), None),
        (("bad", "good"), None),
    ],
)
def test_a_separator_parts_every_label_and_some_share_a_level(labels: tuple[str, ...], mark: str | None) -> None:
    assert separator(labels) == mark


LABELS = ("H:g", "H:i", "L:c")
CHANCES = np.array([[0.3, 0.3, 0.4], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8], [0.6, 0.1, 0.3]])
GOLD = np.array([0, 0, 2, 2])


def test_a_coarse_label_has_the_chances_of_all_under_it() -> None:
    """Fine: L, H:i, L and H:g, one right of four. Coarse: H has 0.6, 0.9, 0.2 and 0.7, so three of four are right."""
    (line,) = level_lines(LABELS, GOLD, CHANCES, 200)
    assert line.name == "2 labels before ':'"
    assert line.scores["accuracy"].value == 0.75
    assert line.scores["macro_f1"].value == pytest.approx((4 / 5 + 2 / 3) / 2)  # H: 2 of 3 and 2; L: 1 of 1 and 2
    assert line.scores["accuracy"].low < 0.75 < line.scores["accuracy"].high


def test_deeper_levels_each_have_a_line() -> None:
    chances = np.eye(4)
    found = level_lines(("a/b/c", "a/b/d", "a/e/f", "g/h/i"), np.arange(4), chances, 50)
    assert [line.name for line in found] == ["2 labels before '/'", "3 labels before '/'"]


def test_an_evaluation_tells_them() -> None:
    class Said:
        prompt, parameters, nbytes = None, 0, 0

        def predict_proba(self, rows: Rows) -> np.ndarray:  # type: ignore[type-arg]
            return CHANCES.astype(np.float32)

    rows = Rows.from_texts(list("abcd"), [LABELS[at] for at in GOLD])
    found = evaluate_predictor(Said(), rows, LABELS, 200)
    assert found.scores.accuracy == 0.25
    assert found.as_dict()["levels"]["2 labels before ':'"]["accuracy"]["value"] == 0.75
    flat = evaluate_predictor(Said(), Rows.from_texts(list("abcd"), ["x", "y", "z", "z"]), ("x", "y", "z"), 50)
    assert "levels" not in flat.as_dict()
