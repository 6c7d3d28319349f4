"""A comparison's numbers, against values worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pegbox.errors import DataError
from pegbox.evaluate.record import Comparison, Cost
from pegbox.evaluate.summary import mean_cost, summarise


def test_scores_are_means_over_seeds(make_cell: Any, make_comparison: Any, first: Any) -> None:
    found = summarise(
        make_comparison(
            make_cell("soft", first(8, 10), 0, "soft", dev_accuracy=0.9),
            make_cell("soft", first(6, 10), 1, "soft", dev_accuracy=0.8),
            make_cell("zero-shot", first(5, 10)),
        ),
        500,
        200,
    )
    line = found.methods[0]
    assert line.method == "soft"
    assert line.accuracy.value == pytest.approx(0.7)
    assert line.accuracy.low < 0.7 < line.accuracy.high
    assert line.seed_sd == pytest.approx(math.sqrt(0.02))
    assert line.dev_accuracy == pytest.approx(0.85)
    assert line.dev_gap == pytest.approx(0.15)
    # 0.8 sure and right 0.7 of the time.
    assert line.ece.value == pytest.approx((0.0 + 0.2) / 2, abs=1e-6)
    assert line.brier.value == pytest.approx((0.7 * 0.08) + (0.3 * 1.28), abs=1e-6)
    assert line.confusion.tolist() == [[3.5, 1.5], [1.5, 3.5]]
    assert [c.support for c in line.classes] == [5, 5]
    assert [c.recall.value for c in line.classes] == pytest.approx([0.7, 0.7])
    assert line.gain is not None
    assert line.gain.value == pytest.approx(0.2)
    assert line.behind is line.p_best is line.behind_error is None
    assert found.methods[1].behind is not None
    assert found.methods[1].behind.value == pytest.approx(-0.2)
    assert found.methods[1].gain is found.methods[1].p_zero_shot is None


def test_tests_against_best_and_zero_shot_are_corrected(make_cell: Any, make_comparison: Any, first: Any) -> None:
    # b is 5 rows ahead of zero-shot and a 12, all one way: 2/2^5 and 2/2^12; a is 7 ahead of b: 2/2^7.
    found = summarise(
        make_comparison(make_cell("a", first(72, 80)), make_cell("b", first(65, 80)), make_cell("zero-shot", first(60, 80))),
        2000,
        100,
    )
    a, b, base = found.methods
    assert (a.p_zero_shot, b.p_zero_shot) == pytest.approx((2 * 2 / 2**12, 2 / 2**5))
    assert (b.p_best, base.p_best) == pytest.approx((2 / 2**7, 2 * 2 / 2**12))
    assert found.winner == "a"
    assert [line.group for line in found.methods] == [1, 2, 2]


def test_equal_answers_are_noted(make_cell: Any, make_comparison: Any, first: Any) -> None:
    found = summarise(
        make_comparison(make_cell("zero-shot", first(30, 40)), make_cell("search", first(30, 40), 0, "hard")), 200, 100
    )
    assert [line.same_as for line in found.methods] == [("search",), ("zero-shot",)]
    assert found.winner is None
    assert found.best.method == "zero-shot"


def test_a_method_without_randomness_counts_for_every_seed(make_cell: Any, make_comparison: Any, first: Any) -> None:
    cells = [make_cell("zero-shot", first(30, 40))] + [make_cell("search", first(30, 40), s, "hard") for s in (0, 1)]
    found = summarise(make_comparison(*cells), 200, 100)
    assert found.methods[0].same_as == ("search",)
    assert found.detectable is None


def test_seeds_of_quick_methods_lend_no_spread_to_others(make_cell: Any, make_comparison: Any, first: Any) -> None:
    # 10 rows all one way: 2 / 2^10, doubled as the smaller of two p; the quick method's spread over seeds has no part in it.
    cells = [make_cell("any", first(right, 200), seed, spends=False) for seed, right in enumerate((60, 100, 80))]
    cells += [make_cell("soft", first(190, 200), 0, "soft"), make_cell("search", first(180, 200), 0, "hard")]
    found = summarise(make_comparison(*cells), 500, 50)
    search = found.find("search")
    assert search is not None
    assert search.p_best == pytest.approx(2 * 2 / 2**10)
    assert [line.method for line in found.once] == ["soft", "search"]
    lent = summarise(make_comparison(*(replace(cell, spends=True) for cell in cells)), 500, 50).find("search")
    assert lent is not None
    assert lent.p_best is not None
    assert lent.p_best > 0.05  # now the spread of 10 points over seeds speaks against a lead of 5 under one seed


def test_costs_are_means_of_what_was_measured() -> None:
    found = mean_cost([Cost(10, None, 5, 0, 1.0, 2.0), Cost(20, 300, 6, 0, 3.0, None)])
    assert found == Cost(15, 300, 6, 0, 2.0, 2.0)
    assert isinstance(found.trained_parameters, int)
    assert mean_cost([Cost(), Cost()]) == Cost()


def test_the_same_comparison_gives_the_same_numbers(rich_comparison: Comparison) -> None:
    first, second = (summarise(rich_comparison, 300, 100) for _ in range(2))
    assert [line.accuracy for line in first.methods] == [line.accuracy for line in second.methods]
    assert [line.macro_f1 for line in first.methods] == [line.macro_f1 for line in second.methods]
    assert first.winner == second.winner == "hybrid"


def test_notes_of_all_seeds_are_kept_once(rich_comparison: Comparison) -> None:
    line = summarise(rich_comparison, 100, 50).find("hybrid")
    assert line is not None
    assert line.notes == ("3 texts were cut",)
    assert line.seeds == (0, 1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: replace(c, cells=()), "a comparison of 0 results on 4 test rows"),
        (lambda c: replace(c, texts=("one",)), "1 texts, 4 labels and 4 row numbers"),
        (
            lambda c: replace(c, labels=("a", "b", "c")),
            r"probabilities of shape \(4, 2\) from 'm', seed -1\n  expected: \(4, 3\)",
        ),
        (lambda c: replace(c, cells=(c.cells[0], c.cells[0])), r"seeds \(-1, -1\) for 2 runs"),
        (
            lambda c: replace(c, cells=(replace(c.cells[0], probabilities=np.full((4, 2), np.nan, np.float32)),)),
            "4 rows whose values are no probabilities",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make_cell: Any, make_comparison: Any, first: Any, change: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        summarise(change(make_comparison(make_cell("m", first(2, 4)))), 50, 50)


def test_no_test_rows_is_an_error(make_cell: Any, make_comparison: Any) -> None:
    with pytest.raises(DataError, match="1 results on 0 test rows"):
        summarise(make_comparison(make_cell("m", [])))
