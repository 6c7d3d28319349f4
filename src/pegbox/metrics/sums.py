"""Intervals of measures: rows and seeds resampled, each resample scored by the sums of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pegbox.metrics.intervals import Estimate, Samples, interval, over_seeds, row_weights, same_rows
from pegbox.metrics.measures import Measure, influence, measure
from pegbox.metrics.runs import Runs


@dataclass(frozen=True)
class Summed:
    """One method's statistics under each of its seeds, for one measure. Shape: statistics [seeds, N, S]."""

    statistics: NDArray[np.float64]
    seeds: tuple[int, ...]

    def scores(self, found: Measure) -> NDArray[np.float64]:
        """The score of each run. Shape: [seeds]."""
        return found.score(self.statistics.sum(1))

    def runs(self, found: Measure, quick: bool = False) -> Runs:
        """What each row adds to the score of each run, for tests."""
        values = np.stack([influence(run, found) for run in self.statistics])
        return Runs(values, self.seeds, quick, self.statistics)

    def take(self, index: NDArray[np.int64]) -> Summed:
        """The same of some rows."""
        return Summed(self.statistics[:, index], self.seeds)


def resampled_measure(found: Measure, methods: Sequence[Summed], resamples: int = 2_000, seed: int = 0) -> Samples:
    """Each method's score in each resample of rows and seeds; the same rows are drawn for all of them.

    Shape: [R, M].
    Source: Koehn 2004, "Statistical significance tests for machine translation evaluation" (the paired bootstrap of sums);
        seeds are resampled as in `pegbox.metrics.intervals.resampled_accuracy`.
    """
    rows = same_rows([method.statistics.shape[1] for method in methods], resamples)
    runs = np.concatenate([method.statistics for method in methods])  # [G, N, S]
    flat = runs.transpose(1, 0, 2).reshape(rows, -1)
    parts = [
        found.score((weights.astype(np.float64) @ flat).reshape(len(weights), len(runs), -1))
        for weights in row_weights(rows, resamples, seed)
    ]
    return over_seeds(np.concatenate(parts), [method.seeds for method in methods], seed)


def estimates(methods: Sequence[Mapping[str, Summed]], resamples: int = 2_000, seed: int = 0) -> list[dict[str, Estimate]]:
    """Each method's measures with their intervals; a method's score is the mean over its runs."""
    found: list[dict[str, Estimate]] = [{} for _ in methods]
    for name in methods[0]:
        one = measure(name)
        samples = resampled_measure(one, [method[name] for method in methods], resamples, seed)
        for at, method in enumerate(methods):
            found[at][name] = interval(float(method[name].scores(one).mean()), samples[:, at])
    return found
