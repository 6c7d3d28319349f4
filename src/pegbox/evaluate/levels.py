"""Labels in levels, such as ``card:arrival`` under ``card``: how often the coarser part of the answer is right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pegbox.evaluate.lines import PartLine
from pegbox.metrics.classification import score
from pegbox.metrics.intervals import Scored, interval, resampled_accuracy, resampled_scores

SEPARATORS = ("::", ":", ">", "/")
"""What may stand between a label's levels, in the order of trying."""


def separator(labels: Sequence[str]) -> str | None:
    """The separator that parts every label in two or more, where several labels share a first part; None where none does."""
    for mark in SEPARATORS:
        paths = [path(label, mark) for label in labels]
        firsts = {parts[0] for parts in paths}
        if all(len(parts) > 1 and all(parts) for parts in paths) and 1 < len(firsts) < len(labels):
            return mark
    return None


def path(label: str, mark: str) -> tuple[str, ...]:
    """The label's levels, the coarsest first."""
    return tuple(part.strip() for part in label.split(mark))


def level_lines(
    labels: Sequence[str], gold: NDArray[np.int64], probabilities: NDArray[np.floating], resamples: int, seed: int = 0
) -> tuple[PartLine, ...]:
    """Accuracy and macro-F1 at each level but the finest, coarse to fine; nothing where labels have no levels.

    A coarse label's probability is that of all labels under it together, so the coarse answer need not lie above the fine one.

    Shape: gold [N]; probabilities [N, C].
    """
    mark = separator(labels)
    if mark is None:
        return ()
    paths = [path(label, mark) for label in labels]
    found = []
    for depth in range(1, max(map(len, paths))):
        coarse = sorted({parts[:depth] for parts in paths})
        of = np.array([coarse.index(parts[:depth]) for parts in paths])
        under = np.eye(len(coarse))[of]
        found.append(_line(f"{len(coarse)} labels before {mark!r}", of[gold], probabilities @ under, resamples, seed))
    return tuple(found)


def _line(name: str, gold: NDArray[np.int64], chances: NDArray[np.floating], resamples: int, seed: int) -> PartLine:
    """Shape: gold [N]; chances [N, coarse labels]."""
    scores, scored = score(gold, chances), Scored(chances[None], (0,))
    accuracy = resampled_accuracy([scored.runs(gold)], resamples, seed)[:, 0]
    macro = resampled_scores(gold, [scored], resamples, seed)["macro_f1"][:, 0]
    return PartLine(name, {"accuracy": interval(scores.accuracy, accuracy), "macro_f1": interval(scores.macro_f1, macro)})
