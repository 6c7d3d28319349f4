"""Racing: candidates are scored on the same blocks of rows, and those that are surely worse are dropped on the way.

The level of the test is shared out over all looks and all rivals. Without that, a race that looks ten times at the 20 % level
drops about two in three of the candidates that are as good as the leader.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Key = TypeVar("Key")


@dataclass(frozen=True)
class Rule:
    """When a candidate is dropped.

    Settings:
        level: chance that the truly best candidate of a race is dropped, at most, whatever the others are.
        looks: how often the race is looked at.
        least: rows before the first look.

    Source: Birattari et al. 2002 (F-Race) and Zehle et al. 2025 (CAPO) race candidates on blocks with an uncorrected test;
        here the level is divided by looks and rivals (Bonferroni).
    """

    level: float = 0.1
    looks: int = 8
    least: int = 30

    def losers(self, losses: Mapping[Key, NDArray[np.floating]]) -> set[Key]:
        """Those whose mean loss is surely above the leader's.

        Settings:
            losses: each candidate's losses on the same rows in the same order.
        """
        if len(losses) < 2:
            return set()
        leader = min(losses, key=lambda key: float(losses[key].mean()))
        if len(losses[leader]) < self.least:
            return set()
        level = self.level / (self.looks * (len(losses) - 1))
        return {key for key, values in losses.items() if key != leader and worse_p(values, losses[leader]) < level}


def worse_p(losses: NDArray[np.floating], others: NDArray[np.floating]) -> float:
    """One-sided p value of a paired t test: is the first mean above the second? Without any difference p is 1."""
    from scipy.special import stdtr

    difference = np.asarray(losses, dtype=np.float64) - np.asarray(others, dtype=np.float64)
    spread = float(difference.std(ddof=1)) / math.sqrt(len(difference)) if len(difference) > 1 else math.inf
    mean = float(difference.mean())
    if spread < 1e-12:
        return 0.0 if mean > 1e-9 else 1.0
    return float(stdtr(len(difference) - 1, -mean / spread))
