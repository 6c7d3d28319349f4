"""Learning curves from trails, labels in pictures, and the rows that were most confused."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from pegbox.evaluate.confused import ConfusedRow, most_confused
from pegbox.evaluate.curves import curves
from pegbox.evaluate.labels import LETTER, LINE, unstacked
from pegbox.evaluate.record import Cell, Comparison


def trailed(*events: dict[str, Any]) -> Comparison:
    chances = np.array([[0.6, 0.4], [0.3, 0.7]], dtype=np.float32)
    return Comparison(("a", "b"), ("x", "y"), np.array([0, 1]), (1, 2), (Cell("m", "soft", 0, chances, trail=events),))


def test_one_curve_for_each_variant_and_the_chosen_one_marked() -> None:
    found = curves(
        trailed(
            {"event": "dev", "step": 0, "accuracy": 0.5, "variant": 0},
            {"event": "dev", "step": 0, "accuracy": 0.5, "variant": 1},
            {"event": "dev", "step": 5, "accuracy": 0.6, "variant": 0},
            {"event": "dev", "step": 5, "accuracy": 0.7, "variant": 1},
            {"event": "step", "step": 5, "loss": 0.1},
            {"event": "best", "variant": 1},
        )
    )
    assert [(c.axis, c.x, c.y, c.chosen) for c in found] == [
        ("steps", (0, 5), (0.5, 0.6), False),
        ("steps", (0, 5), (0.5, 0.7), True),
    ]


def test_without_a_said_best_the_lowest_loss_is_chosen() -> None:
    found = curves(
        trailed(
            *({"event": "dev", "step": s, "accuracy": 0.5, "loss": 1.0 - v * s, "variant": v} for s in (0, 1) for v in (0, 1))
        )
    )
    assert [c.chosen for c in found] == [False, True]


def test_candidates_show_the_best_kept_so_far() -> None:
    events = [{"event": "candidate", "score": s, "kept": k} for s, k in ((0.5, True), (0.9, False), (0.6, True))]
    (found,) = curves(trailed(*events))
    assert (found.axis, found.x, found.y) == ("candidates", (1, 2, 3), (0.5, 0.5, 0.6))
    (guessed,) = curves(trailed(*({"event": "candidate", "score": s} for s in (0.5, 0.4, 0.7))))
    assert guessed.y == (0.5, 0.5, 0.7)


def test_long_runs_are_thinned_and_keep_their_end() -> None:
    (found,) = curves(trailed(*({"event": "dev", "step": s, "accuracy": 0.5} for s in range(1001))))
    assert len(found.x) <= 202
    assert (found.x[0], found.x[-1]) == (0, 1000)


def test_a_single_point_is_no_curve() -> None:
    assert (
        curves(trailed({"event": "dev", "step": 1, "accuracy": float("nan")}, {"event": "dev", "step": 1, "accuracy": 0.5}))
        == []
    )


@pytest.mark.parametrize("seed", range(3))
def test_labels_do_not_lie_on_each_other(seed: int) -> None:
    generator = np.random.default_rng(seed)
    points = [(float(x), float(y), "name" * 2) for x, y in generator.uniform(100, 160, (8, 2))]
    found = unstacked(points, 0, 300)
    assert sorted((x, y, t) for x, y, _, t in found) == sorted(points)
    for (x1, _, h1, t1), (x2, _, h2, _) in combinations(found, 2):
        assert abs(h1 - h2) >= LINE or abs(x1 - x2) >= 4 + LETTER * len(t1)
    assert unstacked([(10.0, 20.0, "alone")], 0, 100) == [(10.0, 20.0, 20.0, "alone")]


def test_the_surest_wrong_answers_come_first() -> None:
    gold = np.array([0, 0, 1, 1])
    seeds = [
        np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.1, 0.9]], dtype=np.float32),
        np.array([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1], [0.1, 0.9]], dtype=np.float32),
    ]
    cells = tuple(Cell("m", "soft", s, p) for s, p in enumerate(seeds))
    comparison = Comparison(("a", "b"), ("t0", "t1", "t2", "t3"), gold, (11, 12, 13, 14), cells)
    found = most_confused(comparison, "m")
    assert [(row.number, row.gold, row.answer) for row in found] == [(13, "b", "a"), (12, "a", "b")]
    assert found[0] == ConfusedRow(13, "t2", "b", "a", pytest.approx(0.75), pytest.approx(0.25))
    assert len(most_confused(comparison, "m", limit=1)) == 1
