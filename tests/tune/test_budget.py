"""Budgets and the meter."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pegbox.backbone.seam import Spent
from pegbox.errors import SettingsError
from pegbox.tune import budget as module
from pegbox.tune.budget import Budget, Meter
from pegbox.tune.trail import Trail


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", Budget(seconds=90)),
        ("5m", Budget(seconds=300)),
        (" 1.5 h ", Budget(seconds=5400)),
        ("0.5s", Budget(seconds=0.5)),
        ("700tokens", Budget(tokens=700)),
        ("200ktokens", Budget(tokens=200_000)),
        ("200Ktokens", Budget(tokens=200_000)),
        ("2M tokens", Budget(tokens=2_000_000)),
        ("2.3Mtokens", Budget(tokens=2_300_000)),  # 2.3 * 1e6 is a little less than that in floating point
        ("1Gtokens", Budget(tokens=1_000_000_000)),
    ],
)
def test_what_a_person_writes_is_read_and_written_again(text: str, expected: Budget) -> None:
    assert Budget.parse(text) == expected
    assert Budget.parse(str(expected)) == expected


@pytest.mark.parametrize("text", ["", "5", "5 minutes", "-5m", "2Mtoken", "tokens", "1e3s", "5m tokens", "٥m\n5"])
def test_what_cannot_be_read_is_told_with_examples(text: str) -> None:
    with pytest.raises(SettingsError, match=r"a time or a number of tokens: 90s, 5m, 1h, 200ktokens, 2Mtokens") as raised:
        Budget.parse(text)
    assert raised.value.came == f"a budget of {text!r}"


@pytest.mark.parametrize(
    "values",
    [{}, {"seconds": 5, "tokens": 5}, {"seconds": 0}, {"tokens": -1}, {"seconds": float("nan")}, {"seconds": float("inf")}],
)
def test_a_budget_is_one_number_above_zero(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="one of the two, a number above 0"):
        Budget(**values)


def test_nothing_to_spend_is_no_budget() -> None:
    with pytest.raises(SettingsError, match=r"a budget of 0\.0 seconds"):
        Budget.parse("0s")
    with pytest.raises(SettingsError, match="and 0 tokens"):
        Budget.parse("0.2tokens")


def test_shares_of_a_budget_are_of_its_kind() -> None:
    assert Budget(seconds=10).share(0.4) == Budget(seconds=4)
    assert Budget(tokens=1001).share(0.4) == Budget(tokens=400)
    assert Budget(tokens=1).share(0.4) == Budget(tokens=1)


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module.time, "monotonic", clock)
    return clock


def backbone(forward: int = 0, backward: int = 0) -> Any:
    return SimpleNamespace(spent=Spent(forward, backward))


def test_a_meter_counts_from_its_own_beginning() -> None:
    model = backbone(forward=1000, backward=500)
    meter = Meter(Budget(tokens=100), model, Trail())
    assert (meter.tokens, meter.tokens_left, meter.used, meter.exhausted) == (0, 100, 0.0, False)
    model.spent.forward += 30
    model.spent.backward += 20
    assert (meter.tokens, meter.tokens_left, meter.used) == (50, 50, 0.5)
    assert meter.allows(50)
    assert not meter.allows(51)
    meter.replay(70)
    assert (meter.tokens, meter.tokens_left, meter.exhausted) == (120, 0, True)


def test_seconds_become_tokens_once_and_the_plan_is_kept(tmp_path: Path, clock: Clock) -> None:
    model = backbone()
    meter = Meter(Budget(seconds=10), model, Trail(tmp_path))
    assert (meter.settled, meter.tokens_left, meter.allows(10**12)) == (False, None, True)
    clock.now, model.spent.forward = 2.0, 100
    assert meter.used == 0.2
    meter.settle()  # 50 tokens a second, for the 8 seconds that are left, on top of the 100 spent
    assert (meter.settled, meter.tokens_left) == (True, 400)
    clock.now = 9.0
    meter.settle()
    assert meter.tokens_left == 400  # the clock no longer counts
    model.spent.forward = 500
    assert meter.exhausted

    again = Meter(Budget(seconds=10), backbone(), Trail(tmp_path))  # a second try on a machine of any speed
    assert (again.settled, again.tokens_left) == (True, 500)
    clock.now = 100.0
    again.settle(rate=1.0)
    assert again.tokens_left == 500


def test_a_rate_may_be_told(clock: Clock) -> None:
    model = backbone()
    meter = Meter(Budget(seconds=10), model, Trail())
    clock.now, model.spent.backward = 4.0, 60
    meter.settle(rate=5.0)
    assert meter.tokens_left == 30


def test_a_budget_in_tokens_needs_no_plan(tmp_path: Path) -> None:
    trail = Trail(tmp_path)
    meter = Meter(Budget(tokens=10), backbone(), trail)
    meter.settle(rate=1e9)
    assert meter.tokens_left == 10
    assert trail.kept("plan") is None
