"""Which methods can be told apart, and whether one of them wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pegbox.errors import DataError
from pegbox.metrics.runs import Runs
from pegbox.metrics.significance import Difference, Spread, difference, holm, usual_seed_spread

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
        order: positions of the methods, best mean score first; the earlier named first among equals.
        groups: for each method its group, 1 is the top.
        winner: position of the method that beats all others, or None.
        against_best: for each method the uncorrected test of the best method's lead over it; None for the best.
        p: for each method that test's p, Holm-corrected over all of them; 1 for the best.
    """

    order: tuple[int, ...]
    groups: tuple[int, ...]
    winner: int | None
    against_best: tuple[Difference | None, ...]
    p: tuple[float, ...]


def rank(runs: Sequence[Runs], interval: Interval) -> Ranking:
    """Order the methods, put those that cannot be told apart into groups, and name a winner if there is one.

    A method is told apart from the best when the p of their difference, Holm-corrected over the comparisons with the best,
    is below `APART` and the bootstrap interval of their difference excludes 0. Groups are made from the top: the best
    method and all that cannot be told apart from it are group 1; the best of the rest and all of the rest that cannot be
    told apart from it are group 2; and so on. The best method wins when it is told apart, at the stricter `WIN`, from every
    method that did not give the very same answers.

    The best method is picked by looking at the same rows. That is allowed for: the truly best method drops out of group 1
    in at most 5 % of comparisons, as its lead over each other method is tested (Hsu 1996, "Multiple Comparisons",
    chapter 4: comparisons with the best), and equals are called a winner in far fewer than 5 % because the winner must
    beat every other method.

    Raises:
        DataError: no methods.
    """
    if not runs:
        raise DataError("no methods to rank", "at least one", "name some methods to compare")
    order = tuple(sorted(range(len(runs)), key=lambda i: (-runs[i].score, i)))
    usual, groups, left, number = usual_seed_spread(runs), [0] * len(runs), list(order), 0
    best = _behind(runs, left, usual)
    while left:
        number += 1
        behind = best if number == 1 else _behind(runs, left, usual)
        apart = {i for i, (_, p) in behind.items() if p < APART and _excludes_zero(interval(left[0], i))}
        for i in left:
            if i not in apart:
                groups[i] = number
        left = [i for i in left if i in apart]
    rivals = [i for i, (test, _) in best.items() if not test.equal]
    wins = bool(rivals) and all(groups[i] > 1 and best[i][1] < WIN for i in rivals)
    tests = tuple(best[i][0] if i in best else None for i in range(len(runs)))
    p = tuple(best[i][1] if i in best else 1.0 for i in range(len(runs)))
    return Ranking(order, tuple(groups), order[0] if wins else None, tests, p)


def _behind(runs: Sequence[Runs], left: Sequence[int], usual: Spread | None) -> dict[int, tuple[Difference, float]]:
    """The lead of the first method over each of the others, with its p Holm-corrected over these comparisons."""
    tests = [difference(runs[left[0]], runs[i], usual) for i in left[1:]]
    return {i: (test, float(p)) for i, test, p in zip(left[1:], tests, holm([test.p for test in tests]), strict=True)}


def _excludes_zero(ends: tuple[float, float]) -> bool:
    return ends[0] > 0 or ends[1] < 0
