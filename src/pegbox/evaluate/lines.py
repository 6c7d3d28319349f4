"""What is said of each method, in numbers: one line for each, of a classification or of any other task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pegbox.evaluate.record import Cost, Kind
from pegbox.metrics.intervals import Estimate
from pegbox.metrics.runs import FIXED


@dataclass(frozen=True)
class ClassLine:
    """One class under one method, averaged over seeds."""

    label: str
    support: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True)
class PartLine:
    """Some of the rows, or what is said of one class or type, under one method, averaged over seeds.

    Settings:
        name: of the slice, the class or the type.
        scores: by measure.
        rows: how many test rows it has; None for a class or type.
    """

    name: str
    scores: dict[str, Estimate]
    rows: int | None = None


class Line(Protocol):
    """One method, averaged over its seeds; every interval is a 95 % one over test rows and seeds.

    Settings:
        method: its name.
        kind: reference, hard, soft or hybrid.
        readable: whether its prompt is all words under every seed.
        prompted: whether it has a prompt at all.
        seeds: the seeds that were run; ``(-1,)`` where a single run counts for every seed.
        main: accuracy, or the task's main measure: methods are ranked and tested by it, and the following speak of it.
        seed_sd: standard deviation of it over seeds; None with fewer than two.
        dev_accuracy: it on the rows that were chosen on; None where nothing was chosen.
        dev_gap: dev_accuracy less the test score: how much choosing flattered it.
        group: 1 for the best and all that cannot be told apart from it, and so on.
        same_as: methods that gave right answers on exactly the same rows, or did equally well on each.
        behind: its score less that of the best method; None for the best itself.
        behind_error: standard error of `behind`, over rows and seeds.
        p_best: against the best, Holm-corrected over the methods; None for the best itself.
        gain: its score less that of zero-shot; None without one, and for zero-shot itself.
        p_zero_shot: against zero-shot, Holm-corrected over the methods.
        cost: means over seeds.
        notes: what was noticed under any seed.
        slices: scores of the groups of rows that were asked for; empty where none were.
    """

    @property
    def method(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def readable(self) -> bool: ...
    @property
    def prompted(self) -> bool: ...
    @property
    def seeds(self) -> tuple[int, ...]: ...
    @property
    def main(self) -> Estimate: ...
    @property
    def seed_sd(self) -> float | None: ...
    @property
    def dev_accuracy(self) -> float | None: ...
    @property
    def dev_gap(self) -> float | None: ...
    @property
    def group(self) -> int: ...
    @property
    def same_as(self) -> tuple[str, ...]: ...
    @property
    def behind(self) -> Estimate | None: ...
    @property
    def behind_error(self) -> float | None: ...
    @property
    def p_best(self) -> float | None: ...
    @property
    def gain(self) -> Estimate | None: ...
    @property
    def p_zero_shot(self) -> float | None: ...
    @property
    def cost(self) -> Cost: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def slices(self) -> tuple[PartLine, ...]: ...


@dataclass(frozen=True)
class MethodLine:
    """One method of a classification. See `Line`.

    Settings:
        accuracy: and the other scores, as `pegbox.metrics.classification.Scores` defines them.
        classes: scores of each class.
        confusion: [C, C] mean counts over seeds, gold in rows.
    """

    method: str
    kind: Kind
    readable: bool
    prompted: bool
    seeds: tuple[int, ...]
    accuracy: Estimate
    macro_precision: Estimate
    macro_recall: Estimate
    macro_f1: Estimate
    mcc: Estimate
    ece: Estimate
    brier: Estimate
    log_loss: Estimate
    seed_sd: float | None
    dev_accuracy: float | None
    dev_gap: float | None
    group: int
    same_as: tuple[str, ...]
    behind: Estimate | None
    behind_error: float | None
    p_best: float | None
    gain: Estimate | None
    p_zero_shot: float | None
    classes: tuple[ClassLine, ...]
    confusion: NDArray[np.float64]
    cost: Cost
    notes: tuple[str, ...]
    slices: tuple[PartLine, ...] = ()

    @property
    def main(self) -> Estimate:
        return self.accuracy


@dataclass(frozen=True)
class MeasuredLine:
    """One method of a task that is seen through measures. See `Line`.

    Settings:
        scores: by measure, the main one first.
        parts: scores of each class or type; empty where the task has none.
    """

    method: str
    kind: Kind
    readable: bool
    prompted: bool
    seeds: tuple[int, ...]
    scores: dict[str, Estimate]
    seed_sd: float | None
    dev_accuracy: float | None
    dev_gap: float | None
    group: int
    same_as: tuple[str, ...]
    behind: Estimate | None
    behind_error: float | None
    p_best: float | None
    gain: Estimate | None
    p_zero_shot: float | None
    parts: tuple[PartLine, ...]
    cost: Cost
    notes: tuple[str, ...]
    slices: tuple[PartLine, ...] = ()

    @property
    def main(self) -> Estimate:
        return next(iter(self.scores.values()))


@dataclass(frozen=True)
class Summary:
    """What a comparison says, in numbers.

    Settings:
        methods: best mean score first.
        winner: the method that beats all others beyond doubt; None where there is none.
        detectable: the smallest true difference in the main score that a comparison of the best with another method would
            find four times in five, the median over those methods; None with fewer than two that differ.
        rows: number of test rows.
        accuracy_resamples: bootstrap resamples behind the intervals of accuracy, or of the main measure.
        score_resamples: bootstrap resamples behind the other intervals.
        title: what the main score is called.
        group: the column whose values the slices are; None without slices.
    """

    methods: tuple[Line, ...]
    winner: str | None
    detectable: float | None
    rows: int
    accuracy_resamples: int
    score_resamples: int
    title: str = "accuracy"
    group: str | None = None

    @property
    def best(self) -> Line:
        """The method with the best mean score, whether or not it wins."""
        return self.methods[0]

    @property
    def top(self) -> tuple[Line, ...]:
        """The best method and those that cannot be told apart from it."""
        return tuple(line for line in self.methods if line.group == 1)

    @property
    def once(self) -> tuple[Line, ...]:
        """The methods run with one seed: nothing is known of what another would give."""
        return tuple(line for line in self.methods if len(line.seeds) == 1 and line.seeds != (FIXED,))

    @property
    def classified(self) -> tuple[MethodLine, ...]:
        """The lines of a classification; none of another task."""
        return tuple(line for line in self.methods if isinstance(line, MethodLine))

    @property
    def measured(self) -> tuple[MeasuredLine, ...]:
        """The lines of a task that is seen through measures; none of a classification."""
        return tuple(line for line in self.methods if isinstance(line, MeasuredLine))

    def find(self, method: str) -> Line | None:
        """The line of this method, or None."""
        return next((line for line in self.methods if line.method == method), None)
