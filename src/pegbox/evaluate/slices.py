"""Slices: the scores of groups of test rows, such as those in one language."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pegbox.evaluate.lines import PartLine
from pegbox.metrics.classification import score
from pegbox.metrics.intervals import Scored, interval, resampled_accuracy, resampled_scores

FEW = 30
"""A slice with fewer rows than this says so: its intervals are wide, and the bootstrap itself is unsure there."""


def positions(groups: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Which rows each group has; the groups sorted by name."""
    own = np.asarray(groups, dtype=object)
    return {name: np.flatnonzero(own == name) for name in sorted(set(groups))}


def classified_slices(
    labels: NDArray[np.int64], groups: Sequence[str], methods: Sequence[Scored], resamples: int, seed: int
) -> list[tuple[PartLine, ...]]:
    """For each method accuracy and macro-F1 of each group of rows; rows are resampled within the group.

    Settings:
        labels: the right ones. Shape: [N].
        groups: one for each row; none where no slices are wanted.
    """
    found: list[list[PartLine]] = [[] for _ in methods]
    for name, index in positions(groups).items():
        gold = labels[index]
        some = [Scored(method.probabilities[:, index], method.seeds) for method in methods]
        accuracy = resampled_accuracy([one.runs(gold) for one in some], resamples, seed)
        macro = resampled_scores(gold, some, resamples, seed)["macro_f1"]
        for at, one in enumerate(some):
            points = [score(gold, run) for run in one.probabilities]
            scores = {
                "accuracy": interval(float(np.mean([point.accuracy for point in points])), accuracy[:, at]),
                "macro_f1": interval(float(np.mean([point.macro_f1 for point in points])), macro[:, at]),
            }
            found[at].append(PartLine(name, scores, len(index)))
    return [tuple(one) for one in found]
