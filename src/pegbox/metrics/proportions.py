"""Shares of right answers: their intervals, and whether two of them differ, where each was counted on rows of its own."""

from __future__ import annotations

import math

from pegbox.errors import DataError
from pegbox.metrics.intervals import Estimate


def wilson(right: int, rows: int) -> Estimate:
    """A share with its 95 % interval, which stays within 0 and 1 and has width even where all answers are right.

    Raises: DataError for no rows.
    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if rows < 1:
        raise DataError("no rows to score", "at least one row", "give labels for some of the rows")
    from scipy.stats import binomtest

    ends = binomtest(right, rows).proportion_ci(method="wilson")
    return Estimate(right / rows, float(ends.low), float(ends.high))


def apart(first: tuple[int, int], second: tuple[int, int]) -> Estimate:
    """How far two shares lie apart, with the 95 % interval.

    Settings:
        first, second: right answers, and rows.

    Source: Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10.
    """
    one, other = wilson(*first), wilson(*second)
    gap = one.value - other.value
    low = gap - math.hypot(one.value - one.low, other.high - other.value)
    high = gap + math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(gap, low, high)


def fisher_p(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Two-sided p that two shares are equal. Source: Fisher 1935, the exact test of a 2 x 2 table."""
    from scipy.stats import fisher_exact

    table = [[right, rows - right] for right, rows in (first, second)]
    return float(fisher_exact(table).pvalue)
