"""Scores of one predictor on labelled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pegbox.data.rows import Rows
from pegbox.errors import DataError
from pegbox.evaluate.scores import evaluate_predictor

LABELS = ("a", "b")
GOLD = ["a", "a", "a", "b", "b", "b", "b", "b"]
SAID = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8], [0.1, 0.9], [0.6, 0.4], [0.25, 0.75]])


class Predictor:
    prompt, parameters, nbytes = None, 0, None

    def predict_proba(self, rows: Rows) -> Any:
        return SAID[: len(rows)].astype(np.float32)


def rows(labels: list[str] | None = None) -> Rows:
    return Rows.from_texts([f"text {n}" for n in range(8)], GOLD if labels is None else labels, "t.csv")


def test_figures_by_hand() -> None:
    found = evaluate_predictor(Predictor(), rows(), LABELS)
    assert found.scores.accuracy == 6 / 8
    a, b = found.scores.classes
    assert (a.support, a.precision, a.recall) == (3, 2 / 3, 2 / 3)
    assert (b.support, b.precision, b.recall) == (5, 4 / 5, 4 / 5)
    assert found.scores.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 2)
    right = [0.9, 0.8, 0.4, 0.7, 0.8, 0.9, 0.4, 0.75]
    assert found.scores.log_loss == pytest.approx(-np.mean(np.log(right)), abs=1e-6)
    assert found.scores.brier == pytest.approx(np.mean([2 * (1 - p) ** 2 for p in right]), abs=1e-6)
    assert (found.rows, found.source, found.rows_digest) == (8, "t.csv", rows().digest())


def test_intervals_hold_the_figures_and_are_the_same_each_time() -> None:
    found, again = (evaluate_predictor(Predictor(), rows(), LABELS, resamples=400) for _ in range(2))
    assert found.intervals == again.intervals
    for name, (low, high) in found.intervals.items():
        assert low <= getattr(found.scores, name) <= high
    assert found.intervals["accuracy"][0] < 0.6
    assert set(found.intervals) >= {"accuracy", "macro_f1", "mcc", "ece", "log_loss"}


def test_everything_as_plain_values() -> None:
    found = evaluate_predictor(Predictor(), rows(), LABELS, resamples=50).as_dict()
    assert found["accuracy"] == {"value": 0.75, "interval": list(found["accuracy"]["interval"])}
    assert found["classes"]["b"] == {"precision": 0.8, "recall": 0.8, "f1": pytest.approx(0.8), "rows": 5}
    assert (found["opening"], found["notes"]) == (None, [])


def test_an_unknown_label_is_told_with_its_row() -> None:
    with pytest.raises(DataError) as raised:
        evaluate_predictor(Predictor(), rows([*GOLD[:-1], "c"]), LABELS)
    assert raised.value.came == "t.csv, row 8 has the label 'c'"
    assert raised.value.expected == "one of a, b"


def test_unlabelled_and_no_rows_are_errors() -> None:
    with pytest.raises(DataError, match=r"t\.csv has no labels"):
        evaluate_predictor(Predictor(), Rows.from_texts(["x"], None, "t.csv"), LABELS)
    with pytest.raises(DataError):
        evaluate_predictor(Predictor(), Rows((), ()), LABELS)
