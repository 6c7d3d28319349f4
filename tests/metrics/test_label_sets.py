"""Scores of sets of labels, and thresholds, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pegbox.metrics.label_sets import as_sets, set_statistics, thresholds
from pegbox.metrics.measures import measure, overall

LABELS = ("a", "b", "c")
GOLD = as_sets([["a", "b"], [], ["b"], ["a"]], LABELS)
GIVEN = as_sets([["a"], [], ["a", "b"], ["c"]], LABELS)


def test_lists_become_a_table() -> None:
    assert GOLD.tolist() == [[True, True, False], [False] * 3, [False, True, False], [True, False, False]]


def test_scores_by_hand() -> None:
    """a: 1 right of 2 given and 2 there; b: 1 of 1 and 2; c: 0 of 1 and 0. F1 1/2, 2/3 and 0; in all 2 of 4 given, 4 there."""
    found = {name: overall(sums, measure(name)) for name, sums in set_statistics(GIVEN, GOLD).items()}
    assert found == pytest.approx(
        {
            "macro_f1": (1 / 2 + 2 / 3 + 0) / 3,
            "micro_f1": 2 * 2 / (4 + 4),
            "micro_precision": 2 / 4,
            "micro_recall": 2 / 4,
            "exact_sets": 1 / 4,
            "hamming_loss": 4 / 12,
        }
    )
    assert not measure("hamming_loss").higher


def test_a_label_that_is_never_there_and_never_given_counts_for_nothing() -> None:
    gold, given = as_sets([["a"], ["b"]], LABELS), as_sets([["a"], ["a"]], LABELS)
    assert overall(set_statistics(given, gold)["macro_f1"], measure("macro_f1")) == pytest.approx((2 / 3 + 0) / 2)


def test_nothing_there_and_nothing_given_is_0_and_no_error() -> None:
    nothing = as_sets([[], []], LABELS)
    found = {name: overall(sums, measure(name)) for name, sums in set_statistics(nothing, nothing).items()}
    assert (found["macro_f1"], found["micro_f1"], found["exact_sets"]) == (0, 0, 1)


def test_a_label_with_rows_enough_gets_the_threshold_with_the_best_f1() -> None:
    """Five of the six highest scores are the label's: six given is F1 10/11, five 8/10, seven 10/12."""
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.2, 0.1])[:, None]
    gold = np.array([1, 1, 1, 0, 1, 1, 0, 0], dtype=bool)[:, None]
    assert thresholds(scores, gold) == pytest.approx([0.3])


def test_a_label_with_few_rows_gets_the_one_for_all() -> None:
    frequent = np.array([0.9, 0.8, 0.7, 0.65, 0.6, 0.2, 0.1, 0.1])
    rare = np.array([0.0, 0.1, 0.05, 0.1, 0.0, 0.0, 0.0, 0.0])  # its one row would be found at 0.05, which is only chance
    gold = np.stack([np.arange(8) < 5, np.arange(8) == 2], axis=1)
    found = thresholds(np.stack([frequent, rare], axis=1), gold)
    assert found[0] == pytest.approx(0.4)
    assert found[1] == pytest.approx(0.4)  # of all sixteen scores five are given, all of them right, and one is missed


def test_equal_scores_are_not_parted() -> None:
    scores, gold = np.array([0.5, 0.5, 0.5, 0.5, 0.5, 0.5])[:, None], np.array([1, 1, 1, 1, 1, 0], dtype=bool)[:, None]
    assert thresholds(scores, gold) == pytest.approx([0.25])
    assert (scores >= thresholds(scores, gold)).all()


def test_without_a_label_anywhere_something_is_still_chosen() -> None:
    assert np.isfinite(thresholds(np.array([[0.2], [0.1]]), np.zeros((2, 1), dtype=bool))).all()
