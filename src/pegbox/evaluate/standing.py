"""How the methods of a comparison stand against each other, whatever they are scored by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from pegbox.errors import DataError
from pegbox.evaluate.record import Cell, Comparison, Cost
from pegbox.metrics.intervals import Estimate, Samples, interval
from pegbox.metrics.ranking import Ranking, rank
from pegbox.metrics.runs import Runs
from pegbox.metrics.significance import difference, holm, usual_seed_spread

ZERO_SHOT = "zero-shot"


def by_method(comparison: Comparison) -> dict[str, list[Cell]]:
    """The cells of each method, methods in the order of their first cell, seeds ascending."""
    found: dict[str, list[Cell]] = {}
    for cell in comparison.cells:
        found.setdefault(cell.method, []).append(cell)
    return {name: sorted(cells, key=lambda cell: cell.seed) for name, cells in found.items()}


def check_rows(comparison: Comparison) -> None:
    """Raises DataError for a comparison without results or rows, or whose rows do not fit together."""
    rows = comparison.rows
    if not comparison.cells or rows == 0:
        raise DataError(
            f"a comparison of {len(comparison.cells)} results on {rows} test rows",
            "at least one result and one test row",
            "run at least one method, on a test set that is not empty",
        )
    if len(comparison.texts) != rows or len(comparison.numbers) != rows or len(comparison.groups) not in (0, rows):
        raise DataError(
            f"{len(comparison.texts)} texts, {rows} labels and {len(comparison.numbers)} row numbers",
            "as many of each",
            "build the comparison from one set of rows",
        )


class Standing:
    """How each method stands against the best and against zero-shot.

    Settings:
        names: the methods.
        runs: what each row adds to their scores.
        samples: their scores in each resample. Shape: [R, M].
    """

    def __init__(self, names: list[str], runs: list[Runs], samples: Samples) -> None:
        self.names, self.runs, self.samples = names, runs, samples
        self.ranking: Ranking = rank(runs, lambda i, j: self._gap(i, j)[1:])
        self.best = self.ranking.order[0]
        self.base = names.index(ZERO_SHOT) if ZERO_SHOT in names else None
        self.p_base: dict[int, float] = {}
        if self.base is not None:
            rivals, usual = [i for i in range(len(names)) if i != self.base], usual_seed_spread(runs)
            adjusted = holm([difference(runs[i], runs[self.base], usual).p for i in rivals])
            self.p_base = {i: float(p) for i, p in zip(rivals, adjusted, strict=True)}

    def _gap(self, i: int, j: int) -> tuple[float, float, float]:
        """Score of i less that of j, with the ends of its interval."""
        found = interval(self.runs[i].score - self.runs[j].score, self.samples[:, i] - self.samples[:, j])
        return found.value, found.low, found.high

    def gap(self, i: int, j: int | None) -> Estimate | None:
        """Score of method i less that of method j, or None where there is no other."""
        return None if j is None or i == j else Estimate(*self._gap(i, j))

    @property
    def winner(self) -> str | None:
        return None if self.ranking.winner is None else self.names[self.ranking.winner]

    def detectable(self) -> float | None:
        """The smallest difference from the best that would usually be noticed, the median over the methods."""
        sizes = [test.detectable() for test in self.ranking.against_best if test is not None and not test.equal]
        return float(np.median(sizes)) if sizes else None

    def same(self, i: int) -> tuple[str, ...]:
        """Names of the other methods with the very same right answers."""
        return tuple(name for j, name in enumerate(self.names) if j != i and self.runs[i].same_answers(self.runs[j]))

    def of(self, i: int) -> dict[str, Any]:
        """What a line says of method i beside the others."""
        test = self.ranking.against_best[i]
        return {
            "group": self.ranking.groups[i],
            "same_as": self.same(i),
            "behind": self.gap(i, self.best),
            "behind_error": None if test is None else test.error,
            "p_best": None if i == self.best else self.ranking.p[i],
            "gain": self.gap(i, self.base),
            "p_zero_shot": self.p_base.get(i),
        }


def alone(cells: Sequence[Cell], scores: Sequence[float]) -> dict[str, Any]:
    """What a line says of a method by itself.

    Settings:
        cells: its runs.
        scores: the main score of each.
    """
    dev = [(c.dev_accuracy, score) for c, score in zip(cells, scores, strict=True) if c.dev_accuracy is not None]
    return {
        "method": cells[0].method,
        "kind": cells[0].kind,
        "readable": all(cell.readable for cell in cells),
        "prompted": any(cell.prompt for cell in cells),
        "seeds": tuple(cell.seed for cell in cells),
        "seed_sd": float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
        "dev_accuracy": float(np.mean([d for d, _ in dev])) if dev else None,
        "dev_gap": float(np.mean([d - t for d, t in dev])) if dev else None,
        "cost": mean_cost([cell.cost for cell in cells]),
        "notes": tuple(dict.fromkeys(note for cell in cells for note in cell.notes)),
    }


def mean_cost(costs: Sequence[Cost]) -> Cost:
    """The mean of each cost over the runs where it was measured; whole numbers stay whole."""
    means: dict[str, float | int | None] = {}
    for one in fields(Cost):
        known = [value for value in (getattr(cost, one.name) for cost in costs) if value is not None]
        mean = float(np.mean(known)) if known else None
        whole = mean is not None and all(isinstance(value, int) for value in known)
        means[one.name] = round(mean) if mean is not None and whole else mean
    return Cost(**means)  # type: ignore[arg-type]
