"""The course of a descent, and how many steps a budget allows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pegbox.errors import SettingsError
from pegbox.tune.schedule import Costs, Schedule


def test_the_learning_rate_rises_then_falls_as_a_cosine() -> None:
    schedule = Schedule(warmup=0.2)
    assert [schedule.rate(step, 10) for step in (0, 1, 2)] == [0.5, 1.0, 1.0]
    assert schedule.rate(6, 10) == pytest.approx(0.5)  # half of the way from step 2 to step 10
    assert schedule.rate(9, 10) == pytest.approx(0.0380602)  # (1 + cos(7 pi / 8)) / 2
    assert Schedule(warmup=0.0).rate(0, 1) == 1.0


@pytest.mark.parametrize(
    ("variants", "expected"),
    [(3, [3, 3, 2, 2, 1, 1, 1, 1]), (4, [4, 4, 2, 2, 1, 1, 1, 1]), (1, [1] * 8), (2, [2, 2, 1, 1, 1, 1, 1, 1])],
)
def test_variants_are_thinned_at_a_quarter_and_at_half(variants: int, expected: list[int]) -> None:
    assert [Schedule().alive(step, 8, variants) for step in range(8)] == expected


def test_dev_rows_are_looked_at_now_and_then_at_the_end_and_before_variants_are_dropped() -> None:
    few = Schedule(evaluations=1)
    assert [step for step in range(1, 11) if few.looks(step, 10, 3)] == [3, 5, 10]
    assert [step for step in range(1, 11) if few.looks(step, 10, 1)] == [10]
    assert [step for step in range(1, 11) if Schedule(evaluations=3).looks(step, 10, 1)] == [3, 6, 9, 10]
    assert [step for step in range(1, 5) if Schedule().looks(step, 4, 1)] == [1, 2, 3, 4]


def spent_by_hand(costs: Costs, schedule: Schedule, steps: int, variants: int, rows: int) -> float:
    """The same sum, by going through the steps as a descent does."""
    alive, total, read = variants, costs.dev + variants * costs.look, 0
    for step in range(steps):
        alive = schedule.alive(step, steps, variants)
        total += alive * costs.step
        fresh = min(rows - read, schedule.batch)
        read += fresh
        total += fresh * costs.row
        if schedule.looks(step + 1, steps, variants):
            total += alive * costs.look
    return total


@pytest.mark.parametrize("variants", [1, 3])
@pytest.mark.parametrize("tokens", [0, 500, 5_000, 40_000])
def test_a_budget_buys_the_most_steps_that_it_pays_for(tokens: float, variants: int) -> None:
    costs, schedule = Costs(step=100, look=40, row=5, dev=60), Schedule(batch=4, most_steps=300, evaluations=5)
    steps = costs.affordable(tokens, schedule, variants, rows=[37])
    assert costs.of(steps, schedule, variants, [37]) == pytest.approx(spent_by_hand(costs, schedule, steps, variants, 37))
    if steps:
        assert spent_by_hand(costs, schedule, steps, variants, 37) <= tokens
    if steps < 300:
        assert spent_by_hand(costs, schedule, steps + 1, variants, 37) > tokens


def test_no_more_steps_than_were_asked_for() -> None:
    costs = Costs(step=1, look=1, row=0, dev=0)
    assert costs.affordable(1e9, Schedule(steps=7), 1, [10]) == 7
    assert costs.affordable(1e9, Schedule(most_steps=9), 1, [10]) == 9
    assert costs.affordable(2.9, Schedule(steps=7), 1, [10]) == 0  # a look at the start, a step and a look: 3
    assert costs.affordable(3, Schedule(steps=7), 1, [10]) == 1


def test_of_a_small_stratum_rows_are_read_once() -> None:
    costs, schedule = Costs(step=0, look=0, row=1, dev=0), Schedule(batch=8)
    assert costs.of(10, schedule, 1, [100]) == 80
    assert costs.of(10, schedule, 1, [5, 100]) == 5 + 40
    assert costs.of(10, replace(schedule, batch=5), 1, [100, 100]) == 30 + 20


@pytest.mark.parametrize(
    ("tokens", "rows", "expected"),
    [
        (1_000_000, 400, 100),  # as many as are asked for
        (1_000_000, 60, 60),  # as there are
        (28_000, 400, 70),  # a quarter of the budget, over 4 + 2 * 2 + 2 looks of 10 tokens a row
        (100, 400, 32),
    ],
)
def test_a_small_budget_looks_at_fewer_dev_rows(tokens: float, rows: int, expected: int) -> None:
    schedule = Schedule(evaluations=4, dev_rows=100)
    assert schedule.looked(tokens, variants=2, per_row=10, rows=rows) == expected


@pytest.mark.parametrize(
    ("values", "came"),
    [
        ({"learning_rates": ()}, "learning_rates=()"),
        ({"learning_rates": (0.1, 0.0)}, "learning_rates=(0.1, 0.0)"),
        ({"learning_rates": (float("nan"),)}, "learning_rates=(nan,)"),
        ({"batch": 0}, "batch=0"),
        ({"steps": 0}, "steps=0"),
        ({"evaluations": 0}, "evaluations=0"),
        ({"dev_rows": 0}, "dev_rows=0"),
        ({"patience": -1}, "patience=-1"),
        ({"warmup": 1.0}, "warmup=1.0, clip=1.0, weight_decay=0.0"),
        ({"clip": 0.0}, "warmup=0.06, clip=0.0, weight_decay=0.0"),
        ({"loss": "words"}, "loss='words'"),
        ({"weight_decay": -0.1}, "warmup=0.06, clip=1.0, weight_decay=-0.1"),
    ],
)
def test_settings_are_checked(values: dict[str, Any], came: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Schedule(**values)
    assert raised.value.came == came


def test_every_learning_rate_from_every_start_is_a_variant() -> None:
    schedule = Schedule(learning_rates=(0.1, 0.3), starts=3)
    assert schedule.variants == 6
    assert [schedule.learning_rate(variant) for variant in range(6)] == [0.1, 0.3] * 3
    with pytest.raises(SettingsError, match="starts=0"):
        Schedule(starts=0)
