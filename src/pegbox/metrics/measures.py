"""Measures: scores of many rows that are functions of sums over the rows, as accuracy is, and F1, and BLEU."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pegbox.errors import DataError

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """A score of many rows, worked out from the sums of what each row contributes.

    Settings:
        name: its key in JSON, such as ``entity_f1``.
        title: its column, such as "entity F1".
        score: from sums to scores, for many sums at once; 0 where there is nothing to divide by, never nan.
        higher: whether more is better. Where it is not (perplexity, a length ratio) it is shown and never ranked by.
        percent: whether it is shown times 100.

    Shape: score [..., S] to [...].
    """

    name: str
    title: str
    score: Callable[[Values], Values]
    higher: bool = True
    percent: bool = True


MEASURES: dict[str, Measure] = {}
"""Every measure that is known so far, by name."""

HOMES: tuple[str, ...] = ("pegbox.metrics.entities", "pegbox.metrics.label_sets", "pegbox.metrics.generation")
"""The modules that add measures when they are imported; each task's metrics module stands here."""


def add(*measures: Measure) -> None:
    """Makes measures known by their names. Called once, at the end of the module that defines them."""
    for one in measures:
        if MEASURES.setdefault(one.name, one) is not one:
            raise ValueError(f"two measures called {one.name!r}")


def measure(name: str) -> Measure:
    """The measure of this name. Raises DataError where there is none."""
    if name not in MEASURES:
        for home in HOMES:
            importlib.import_module(home)  # by name: they import this module
    if name not in MEASURES:
        raise DataError(f"a measure {name!r}", f"one of {', '.join(sorted(MEASURES))}", "read it with a newer pegbox")
    return MEASURES[name]


def ratio(above: ArrayLike, below: ArrayLike) -> Values:
    """above / below, and 0 where below is 0. Shape: [...]; [...]."""
    top, bottom = np.broadcast_arrays(np.asarray(above, np.float64), np.asarray(below, np.float64))
    return np.asarray(np.divide(top, bottom, out=np.zeros(top.shape), where=bottom > 0))


def share(sums: Values) -> Values:
    """How many of them: right and all. Shape: [..., 2] to [...]."""
    return ratio(sums[..., 0], sums[..., 1])


def precision(sums: Values) -> Values:
    """Of what was predicted, the share that was right. Shape: right, predicted and gold [..., 3] to [...]."""
    return ratio(sums[..., 0], sums[..., 1])


def recall(sums: Values) -> Values:
    """Of what was there, the share that was found. Shape: right, predicted and gold [..., 3] to [...]."""
    return ratio(sums[..., 0], sums[..., 2])


def f1(sums: Values) -> Values:
    """Harmonic mean of precision and recall. Shape: right, predicted and gold [..., 3] to [...]."""
    return ratio(2 * sums[..., 0], sums[..., 1] + sums[..., 2])


def overall(statistics: ArrayLike, found: Measure) -> float:
    """The score of all rows together. Shape: [N, S]."""
    return float(found.score(np.asarray(statistics, dtype=np.float64).sum(0)))


def influence(statistics: ArrayLike, found: Measure) -> Values:
    """What each row adds to the score, in the score's own units: values whose mean is the score of all rows.

    The pseudo-values of the jackknife, N f(S) - (N - 1) f(S - s_i), moved so that their mean is f(S). For a share they are
    the 0 and 1 of its rows, so that what is done with right and wrong answers can be done with any measure.

    Shape: statistics [N, S] to [N].
    Source: Tukey 1958; Efron and Stein 1981: the variance it gives errs on the careful side.
    """
    rows = np.asarray(statistics, dtype=np.float64)
    total, count = rows.sum(0), len(rows)
    whole = float(found.score(total))
    values = count * whole - (count - 1) * found.score(total - rows)
    values = values + (whole - values.mean())
    near: Values = np.rint(values)
    return near if np.abs(values - near).max() < 1e-7 else values  # whole numbers but for rounding are whole numbers


add(Measure("accuracy", "accuracy", share))
