"""How a descent goes about it: steps, learning rates, looks at the dev rows; and how many steps a budget allows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from pegbox.errors import SettingsError
from pegbox.task.classification import Over
from pegbox.tune.orders import shares

_LOOKING = 0.25  # share of the budget for looking at dev rows
_FEWEST_LOOKED = 32
START_APART = 0.1
"""How far further starts lie from the words, in units of the embeddings' root mean square: too near to be other words."""


@dataclass(frozen=True)
class Schedule:
    """The course of a descent over K variants.

    Settings:
        learning_rates: swept; the variants share every pass through the model.
        starts: variants for each learning rate, the seeds of one run: the first starts at the words themselves, the others
            START_APART from them, each its own way.
        batch: rows in a step.
        steps: how many steps, as far as the budget goes; None: as many as it allows, up to `most_steps`.
        most_steps: no more than these, whatever the budget.
        warmup: share of the steps in which the learning rate rises; then it falls as a cosine.
        clip: largest norm of one variant's gradient.
        evaluations: how often the dev rows are looked at.
        dev_rows: how many of them at most; fewer where the budget is small.
        patience: evaluations without a better dev loss before the last variant stops.
        weight_decay: pull towards the start (AdamW).
        loss: of the right label's word among all words ("vocabulary") or among the labels' words ("labels"). The dev rows are
            judged on the labels' words either way, as predictions are.
    """

    learning_rates: tuple[float, ...] = (0.08, 0.16)
    starts: int = 1
    batch: int = 8
    steps: int | None = None
    most_steps: int = 1000
    warmup: float = 0.06
    clip: float = 1.0
    evaluations: int = 5
    dev_rows: int = 128
    patience: int = 3
    weight_decay: float = 0.0
    loss: Over = "vocabulary"

    def __post_init__(self) -> None:
        counts = {
            name: getattr(self, name) for name in ("starts", "batch", "most_steps", "evaluations", "dev_rows", "patience")
        }
        counts |= {} if self.steps is None else {"steps": self.steps}
        for name, value in counts.items():
            if value < 1:
                raise SettingsError(f"{name}={value}", "a number of at least 1", "correct it")
        if self.loss not in get_args(Over):
            raise SettingsError(f"loss={self.loss!r}", f"one of {', '.join(get_args(Over))}", "choose one of them")
        if not self.learning_rates or not all(0 < rate < math.inf for rate in self.learning_rates):
            raise SettingsError(
                f"learning_rates={self.learning_rates}", "at least one, all of them above 0", "say for example 0.03,0.1,0.3"
            )
        if not (0 <= self.warmup < 1 and self.clip > 0 and self.weight_decay >= 0):
            raise SettingsError(
                f"warmup={self.warmup}, clip={self.clip}, weight_decay={self.weight_decay}",
                "a share from 0 to below 1, a number above 0, and one from 0 up",
                "correct the one that is not",
            )

    @property
    def variants(self) -> int:
        """K: every learning rate from every start."""
        return len(self.learning_rates) * self.starts

    def learning_rate(self, variant: int) -> float:
        """The largest learning rate of a variant: those from the first start come first."""
        return self.learning_rates[variant % len(self.learning_rates)]

    def rate(self, step: int, steps: int) -> float:
        """The share of the learning rate in force at a step (0 based)."""
        rise = max(1, round(self.warmup * steps))
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))

    def looked(self, budget: float, variants: int, per_row: float, rows: int) -> int:
        """How many of so many dev rows are looked at each time: as many as leave most of the budget for steps.

        Settings:
            budget: in tokens or seconds.
            per_row: what one variant's look at one row takes of it.
        """
        looks = self.evaluations + 2 * variants + 2  # some by several variants, and the comparison at the end
        most = int(_LOOKING * budget / max(1e-9, looks * per_row))
        return min(rows, self.dev_rows, max(_FEWEST_LOOKED, most))

    def alive(self, step: int, steps: int, variants: int) -> int:
        """How many variants are still run at a step: all, from a quarter of the way half, from half of the way one."""
        if step < steps / 4:
            return variants
        return 1 if step >= steps / 2 else -(-variants // 2)

    def looks(self, step: int, steps: int, variants: int) -> bool:
        """Whether the dev rows are looked at after so many steps: now and then, at the end, and before variants are dropped."""
        every = max(1, steps // self.evaluations)
        fewer = self.alive(step, steps, variants) < self.alive(step - 1, steps, variants)
        return step % every == 0 or step == steps or fewer


@dataclass(frozen=True)
class Costs:
    """What a descent costs, in tokens or in seconds.

    Settings:
        step: one variant's step.
        look: one variant's look at the dev rows.
        row: the first reading of a training row.
        dev: the first reading of all dev rows.
        check: the comparison with the written prompt at the end.
        fixed: a step, whatever the number of variants.
    """

    step: float
    look: float
    row: float
    dev: float
    check: float = 0.0
    fixed: float = 0.0

    def of(self, steps: int, schedule: Schedule, variants: int, rows: Sequence[int]) -> float:
        """So many steps, with their looks at the dev rows and the first readings of the training rows.

        Settings:
            rows: how many training rows, or groups of rows, there are in each stratum.
        """
        alive = [schedule.alive(step, steps, variants) for step in range(steps)]
        looks = sum(alive[step - 1] for step in range(1, steps + 1) if schedule.looks(step, steps, variants))
        most = (steps * share for share in shares(schedule.batch, len(rows)))
        read = self.dev + self.row * sum(min(some, seen) for some, seen in zip(rows, most, strict=True))
        return steps * self.fixed + sum(alive) * self.step + (variants + looks) * self.look + read + self.check

    def affordable(self, budget: float, schedule: Schedule, variants: int, rows: Sequence[int]) -> int:
        """The most steps that so many tokens or seconds allow; 0 where they do not allow one."""
        low, high = 0, schedule.most_steps if schedule.steps is None else schedule.steps
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.of(middle, schedule, variants, rows) <= budget else (low, middle - 1)
        return low


@dataclass(frozen=True)
class Prices:
    """What single things take, in tokens or in seconds.

    Settings:
        step: a step, for each variant.
        row: the first reading of a row.
        look: one variant's look at one row.
        fixed: a step, whatever the number of variants.
    """

    step: float
    row: float
    look: float
    fixed: float = 0.0

    def over(self, looked: int, drawn: float, checked: bool) -> Costs:
        """What a descent costs.

        Settings:
            looked: dev rows that are looked at each time.
            drawn: training rows that are read where one is drawn.
            checked: the result is compared with the written prompt on these rows.
        """
        check = 2 * looked * (self.look + self.row) if checked else 0.0
        return Costs(self.step, self.look * looked, self.row * drawn, self.row * looked, check, self.fixed)
