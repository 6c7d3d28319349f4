"""From the record of a comparison to the numbers that tables, reports and recommendations show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from pegbox.errors import DataError
from pegbox.evaluate.record import Cell, Comparison, Cost, Kind
from pegbox.metrics.classification import Scores, score
from pegbox.metrics.intervals import (
    Estimate,
    Samples,
    Scored,
    centred_interval,
    interval,
    resampled_accuracy,
    resampled_scores,
)
from pegbox.metrics.ranking import Ranking, rank
from pegbox.metrics.runs import FIXED, Runs
from pegbox.metrics.significance import difference, holm, usual_seed_spread

ZERO_SHOT = "zero-shot"
MEANS = ("macro_precision", "macro_recall", "macro_f1", "mcc", "brier", "log_loss")


@dataclass(frozen=True)
class ClassLine:
    """One class under one method, averaged over seeds."""

    label: str
    support: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True)
class MethodLine:
    """One method, averaged over its seeds; every interval is a 95 % one over test rows and seeds.

    Settings:
        method: its name.
        kind: reference, hard, soft or hybrid.
        readable: whether its prompt is all words under every seed.
        prompted: whether it has a prompt at all.
        seeds: the seeds that were run; ``(-1,)`` where a single run counts for every seed.
        accuracy: and the other scores, as `pegbox.metrics.classification.Scores` defines them.
        seed_sd: standard deviation of accuracy over seeds; None with fewer than two.
        dev_accuracy: accuracy on the rows it was chosen on; None where nothing was chosen.
        dev_gap: dev_accuracy less test accuracy: how much choosing flattered it.
        group: 1 for the best and all that cannot be told apart from it, and so on.
        same_as: methods that gave right answers on exactly the same rows.
        behind: accuracy less that of the best method; None for the best itself.
        behind_error: standard error of `behind`, over rows and seeds.
        p_best: against the best, Holm-corrected over the methods; None for the best itself.
        gain: accuracy less that of zero-shot; None without one, and for zero-shot itself.
        p_zero_shot: against zero-shot, Holm-corrected over the methods.
        classes: scores of each class.
        confusion: [C, C] mean counts over seeds, gold in rows.
        cost: means over seeds.
        notes: what was noticed under any seed.
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


@dataclass(frozen=True)
class Summary:
    """What a comparison says, in numbers.

    Settings:
        methods: best mean accuracy first.
        winner: the method that beats all others beyond doubt; None where there is none.
        detectable: the smallest true difference in accuracy that a comparison of the best with another method would
            find four times in five, the median over those methods; None with fewer than two that differ.
        rows: number of test rows.
        accuracy_resamples: bootstrap resamples behind the intervals of accuracy.
        score_resamples: bootstrap resamples behind the other intervals.
    """

    methods: tuple[MethodLine, ...]
    winner: str | None
    detectable: float | None
    rows: int
    accuracy_resamples: int
    score_resamples: int

    @property
    def best(self) -> MethodLine:
        """The method with the best mean accuracy, whether or not it wins."""
        return self.methods[0]

    @property
    def top(self) -> tuple[MethodLine, ...]:
        """The best method and those that cannot be told apart from it."""
        return tuple(line for line in self.methods if line.group == 1)

    @property
    def once(self) -> tuple[MethodLine, ...]:
        """The methods run with one seed: nothing is known of what another would give."""
        return tuple(line for line in self.methods if len(line.seeds) == 1 and line.seeds != (FIXED,))

    def find(self, method: str) -> MethodLine | None:
        """The line of this method, or None."""
        return next((line for line in self.methods if line.method == method), None)


def by_method(comparison: Comparison) -> dict[str, list[Cell]]:
    """The cells of each method, methods in the order of their first cell, seeds ascending."""
    found: dict[str, list[Cell]] = {}
    for cell in comparison.cells:
        found.setdefault(cell.method, []).append(cell)
    return {name: sorted(cells, key=lambda cell: cell.seed) for name, cells in found.items()}


def check(comparison: Comparison) -> None:
    """Raises DataError for a comparison that cannot be summed up."""
    rows, classes = len(comparison.gold), len(comparison.labels)
    if not comparison.cells or rows == 0:
        raise DataError(
            f"a comparison of {len(comparison.cells)} results on {rows} test rows",
            "at least one result and one test row",
            "run at least one method, on a test set that is not empty",
        )
    if len(comparison.texts) != rows or len(comparison.numbers) != rows:
        raise DataError(
            f"{len(comparison.texts)} texts, {rows} labels and {len(comparison.numbers)} row numbers",
            "as many of each",
            "build the comparison from one set of rows",
        )
    for cell in comparison.cells:
        if cell.probabilities.shape != (rows, classes):
            raise DataError(
                f"probabilities of shape {cell.probabilities.shape} from {cell.method!r}, seed {cell.seed}",
                f"({rows}, {classes}): test rows by labels",
                "score every test row against every label",
            )


def summarise(comparison: Comparison, accuracy_resamples: int = 10_000, score_resamples: int = 2_000, seed: int = 0) -> Summary:
    """Everything that the report shows in numbers. The same comparison gives the same summary.

    Raises:
        DataError: no results, no rows, or results that do not fit together.
    """
    check(comparison)
    cells = by_method(comparison)
    scored = [Scored(np.stack([c.probabilities for c in own]), tuple(c.seed for c in own)) for own in cells.values()]
    runs = [
        replace(one.runs(comparison.gold), quick=not own[0].spends) for own, one in zip(cells.values(), scored, strict=True)
    ]
    accuracy = resampled_accuracy(runs, accuracy_resamples, seed)
    ranking = rank(runs, lambda i, j: _gap(runs, accuracy, i, j)[1:])
    others = resampled_scores(comparison.gold, scored, score_resamples, seed)
    names, against = list(cells), _Against(list(cells), runs, accuracy, ranking)
    points = [[score(comparison.gold, cell.probabilities) for cell in own] for own in cells.values()]
    lines = [
        _line(comparison.labels, cells[name], points[i], accuracy[:, i], {key: s[:, i] for key, s in others.items()}, against)
        for i, name in enumerate(names)
    ]
    winner = None if ranking.winner is None else names[ranking.winner]
    ordered = tuple(lines[i] for i in ranking.order)
    return Summary(ordered, winner, _detectable(ranking), len(comparison.gold), accuracy_resamples, score_resamples)


def _gap(runs: Sequence[Runs], accuracy: Samples, i: int, j: int) -> tuple[float, float, float]:
    """Accuracy of i less that of j, with the ends of its interval."""
    found = interval(runs[i].accuracy - runs[j].accuracy, accuracy[:, i] - accuracy[:, j])
    return found.value, found.low, found.high


def _detectable(ranking: Ranking) -> float | None:
    sizes = [test.detectable() for test in ranking.against_best if test is not None and not test.equal]
    return float(np.median(sizes)) if sizes else None


class _Against:
    """How each method stands against the best and against zero-shot."""

    def __init__(self, names: list[str], runs: list[Runs], accuracy: Samples, ranking: Ranking) -> None:
        self.names, self.runs, self.accuracy, self.ranking = names, runs, accuracy, ranking
        self.best = ranking.order[0]
        self.base = names.index(ZERO_SHOT) if ZERO_SHOT in names else None
        self.p_base: dict[int, float] = {}
        if self.base is not None:
            rivals, usual = [i for i in range(len(names)) if i != self.base], usual_seed_spread(runs)
            adjusted = holm([difference(runs[i], runs[self.base], usual).p for i in rivals])
            self.p_base = {i: float(p) for i, p in zip(rivals, adjusted, strict=True)}

    def gap(self, i: int, j: int | None) -> Estimate | None:
        """Accuracy of method i less that of method j, or None where there is no other."""
        return None if j is None or i == j else Estimate(*_gap(self.runs, self.accuracy, i, j))

    def p_best(self, i: int) -> float | None:
        return None if i == self.best else self.ranking.p[i]

    def error(self, i: int) -> float | None:
        test = self.ranking.against_best[i]
        return None if test is None else test.error

    def same(self, i: int) -> tuple[str, ...]:
        """Names of the other methods with the very same right answers."""
        return tuple(name for j, name in enumerate(self.names) if j != i and self.runs[i].same_answers(self.runs[j]))


def _line(
    labels: tuple[str, ...],
    cells: list[Cell],
    points: list[Scores],
    accuracy: Samples,
    others: dict[str, Samples],
    against: _Against,
) -> MethodLine:
    """One method's numbers. Shape: accuracy [R]; others [R] or [R, C]."""
    first, place = cells[0], against.names.index(cells[0].method)
    values = {name: float(np.mean([getattr(point, name) for point in points])) for name in ("accuracy", "ece", *MEANS)}
    dev = [(c.dev_accuracy, point.accuracy) for c, point in zip(cells, points, strict=True) if c.dev_accuracy is not None]
    return MethodLine(
        method=first.method,
        kind=first.kind,
        readable=all(cell.readable for cell in cells),
        prompted=any(cell.prompt for cell in cells),
        seeds=tuple(cell.seed for cell in cells),
        accuracy=interval(values["accuracy"], accuracy),
        ece=centred_interval(values["ece"], others["ece"]),
        **{name: interval(values[name], others[name]) for name in MEANS},
        seed_sd=float(np.std([point.accuracy for point in points], ddof=1)) if len(points) > 1 else None,
        dev_accuracy=float(np.mean([d for d, _ in dev])) if dev else None,
        dev_gap=float(np.mean([d - t for d, t in dev])) if dev else None,
        group=against.ranking.groups[place],
        same_as=against.same(place),
        behind=against.gap(place, against.best),
        behind_error=against.error(place),
        p_best=against.p_best(place),
        gain=against.gap(place, against.base),
        p_zero_shot=against.p_base.get(place),
        classes=tuple(_class_line(label, c, points, others) for c, label in enumerate(labels)),
        confusion=np.mean([point.confusion for point in points], axis=0),
        cost=mean_cost([cell.cost for cell in cells]),
        notes=tuple(dict.fromkeys(note for cell in cells for note in cell.notes)),
    )


def _class_line(label: str, c: int, points: list[Scores], others: dict[str, Samples]) -> ClassLine:
    def estimate(name: str) -> Estimate:
        return interval(float(np.mean([getattr(point.classes[c], name) for point in points])), others[name][:, c])

    return ClassLine(label, points[0].classes[c].support, estimate("precision"), estimate("recall"), estimate("f1"))


def mean_cost(costs: Sequence[Cost]) -> Cost:
    """The mean of each cost over the runs where it was measured; whole numbers stay whole."""
    means: dict[str, float | int | None] = {}
    for one in fields(Cost):
        known = [value for value in (getattr(cost, one.name) for cost in costs) if value is not None]
        mean = float(np.mean(known)) if known else None
        whole = mean is not None and all(isinstance(value, int) for value in known)
        means[one.name] = round(mean) if mean is not None and whole else mean
    return Cost(**means)  # type: ignore[arg-type]
