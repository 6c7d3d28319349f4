"""Measures as functions of sums, and what each row adds to them; against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pegbox.errors import DataError
from pegbox.metrics import measures
from pegbox.metrics.measures import MEASURES, Measure, add, f1, influence, measure, overall, precision, ratio, recall, share

F1 = Measure("test_f1", "F1", f1)


def test_scores_of_sums_by_hand() -> None:
    sums = np.array([[3.0, 4, 6], [0, 0, 5], [0, 0, 0]])  # right, predicted, gold
    assert precision(sums) == pytest.approx([3 / 4, 0, 0])
    assert recall(sums) == pytest.approx([3 / 6, 0, 0])
    assert f1(sums) == pytest.approx([2 * 3 / 10, 0, 0])
    assert share(np.array([[2.0, 8], [0, 0]])) == pytest.approx([0.25, 0])


def test_nothing_to_divide_by_gives_0_without_a_warning() -> None:
    assert ratio([1, 2], 0).tolist() == [0, 0]


def test_the_score_is_that_of_all_rows_together_not_a_mean_over_rows() -> None:
    # One row with 1 of 1, one with 0 of 9: together 2 x 1 / (10 + 10), while the mean over rows is 1/2.
    assert overall([[1, 1, 1], [0, 9, 9]], F1) == pytest.approx(2 / 20)


def test_of_a_share_the_values_are_its_rows() -> None:
    right = np.array([1, 0, 1, 1, 0, 1, 1])
    found = influence(np.stack([right, np.ones(7)], axis=1), measure("accuracy"))
    assert (found == right).all()  # to the bit, so that exact tests apply
    weighted = influence(np.array([[1.0, 2], [1, 1], [0, 1]]), measure("accuracy"))
    assert weighted.mean() == pytest.approx(2 / 4)
    assert not (weighted == np.rint(weighted)).all()


def test_pseudo_values_of_f1_by_hand() -> None:
    # Sums (2, 3, 3): F1 = 4/6. Without row 1: (1, 2, 2), 1/2; without row 2: (1, 2, 1), 2/3; without row 3: (2, 2, 3), 4/5.
    rows = np.array([[1.0, 1, 1], [1, 1, 2], [0, 1, 0]])
    raw = 3 * (2 / 3) - 2 * np.array([1 / 2, 2 / 3, 4 / 5])
    assert influence(rows, F1) == pytest.approx(raw - raw.mean() + 2 / 3)


def test_pseudo_values_agree_with_the_slope_of_f1() -> None:
    """The other way to say what a row adds, f(S) + N grad f . (s - S / N), worked out on paper for F1 = 2t / (p + g)."""
    generator = np.random.default_rng(3)
    gold = generator.integers(0, 4, 2000)
    right = generator.binomial(gold, 0.7)
    rows = np.stack([right, right + generator.integers(0, 2, 2000), gold], axis=1).astype(float)
    t, p, g = rows.sum(0)
    score = 2 * t / (p + g)
    slope = 2000 * (2 * rows[:, 0] - score * (rows[:, 1] + rows[:, 2])) / (p + g)  # at S the slope times S is 0
    found = influence(rows, F1)
    assert found.mean() == pytest.approx(score)
    assert np.abs(found - (score + slope)).max() < 0.01


def test_one_row_alone_is_its_own_score() -> None:
    assert influence([[1, 2, 2]], F1) == pytest.approx([1 / 2])


def test_an_unknown_measure_is_an_error() -> None:
    with pytest.raises(DataError, match="a measure 'blue'"):
        measure("blue")


def test_measures_are_found_where_their_homes_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(measures, "HOMES", ("somewhere",))
    monkeypatch.setattr(measures.importlib, "import_module", told.append)
    with pytest.raises(DataError):
        measure("green")
    assert told == ["somewhere"]


def test_two_measures_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two measures called 'accuracy'"):
        add(Measure("accuracy", "accuracy", f1))
    assert MEASURES["accuracy"].score is share
