"""Which methods can be told apart, and whether one of them wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pegbox.errors import DataError
from pegbox.metrics.runs import Runs
from pegbox.metrics.significance import Difference, difference, holm, usual_seed_spread

APART = 0.05
"""Corrected p below which two methods are told apart."""

WIN = 0.025
"""Corrected p below which the best method wins: stricter, so that a comparison of equals names a winner in well under 5 %."""

Interval = Callable[[int, int], tuple[float, float]]
"""Gives the 95 % interval of the difference between the methods at two positions."""


@dataclass(frozen=True)
class Ranking:
    """The order of methods, and how far it can be trusted.

    Settings:
        order: positions of the methods, best mean accuracy first; the earlier named first among equals.
        groups: for each method its group, 1 is the top.
        winner: position of the method that beats all others, or None.
        p: [M, M] p-values of all pairs, Holm-corrected together.
        differences: the uncorrected test of each pair (i, j), i < j.
    """

    order: tuple[int, ...]
    groups: tuple[int, ...]
    winner: int | None
    p: NDArray[np.float64]
    differences: dict[tuple[int, int], Difference]

    def equal(self, first: int, second: int) -> bool:
        """Whether two methods gave right answers on exactly the same rows."""
        return first == second or self.differences[min(first, second), max(first, second)].equal


def rank(runs: Sequence[Runs], interval: Interval) -> Ranking:
    """Order the methods, put those that cannot be told apart into groups, and name a winner if there is one.

    Two methods are told apart when the p of their difference, Holm-corrected over all pairs, is below `APART` and the
    bootstrap interval of their difference excludes 0. All pairs are one family because the best method is picked by
    looking at the same rows. Groups are made from the top: the best method and all that cannot be told apart from it are
    group 1; the best of the rest and all of the rest that cannot be told apart from it are group 2; and so on. The best
    method wins when it is told apart from every method that did not give the very same answers.

    Raises:
        DataError: no methods.
    """
    if not runs:
        raise DataError("no methods to rank", "at least one", "name some methods to compare")
    count = len(runs)
    usual = usual_seed_spread(runs)
    differences = {(i, j): difference(runs[i], runs[j], usual) for i, j in combinations(range(count), 2)}
    p = np.ones((count, count))
    for (i, j), value in zip(differences, holm([d.p for d in differences.values()]), strict=True):
        p[i, j] = p[j, i] = value
    order = tuple(sorted(range(count), key=lambda i: (-runs[i].accuracy, i)))

    def apart(i: int, j: int) -> bool:
        if p[i, j] >= APART:
            return False
        low, high = interval(i, j)
        return low > 0 or high < 0

    groups = _groups(order, apart)
    best = order[0]
    rivals = [i for i in order[1:] if not differences[min(i, best), max(i, best)].equal]
    winner = best if rivals and all(groups[i] > 1 and p[best, i] < WIN for i in rivals) else None
    return Ranking(order, groups, winner, p, differences)


def _groups(order: Sequence[int], apart: Callable[[int, int], bool]) -> tuple[int, ...]:
    """For each method its group, by the rule of `rank`."""
    groups, left, number = [0] * len(order), list(order), 0
    while left:
        number += 1
        together = [i for i in left if i == left[0] or not apart(left[0], i)]
        for i in together:
            groups[i] = number
        left = [i for i in left if i not in together]
    return tuple(groups)
