"""What a method did on the test rows: one line of answers for each seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pegbox.errors import DataError

FIXED = -1
"""The seed of a method that has no randomness: its single run counts for every seed."""


@dataclass(frozen=True)
class Runs:
    """Which test rows a method answered rightly, under each of its seeds.

    Settings:
        correct: True where the answer was right.
        seeds: the seed of each run; ``(FIXED,)`` for a method without randomness.
        quick: it does not tune: its spread over seeds says nothing of methods that do.
    Shape:
        correct: [S, N], S seeds and N test rows.
    Raises:
        DataError: no rows, no seeds, a seed named twice, or counts that do not agree.
    """

    correct: NDArray[np.bool_]
    seeds: tuple[int, ...]
    quick: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "correct", np.asarray(self.correct, dtype=bool))
        if self.correct.ndim != 2 or self.correct.size == 0:
            raise DataError(
                f"answers of shape {self.correct.shape}",
                "at least one seed and one test row: [seeds, rows]",
                "score the method on some rows before comparing it",
            )
        if len(self.seeds) != len(self.correct) or len(set(self.seeds)) != len(self.seeds):
            raise DataError(
                f"seeds {self.seeds} for {len(self.correct)} runs", "one seed for each run, all different", "number the runs"
            )
        if FIXED in self.seeds and len(self.seeds) > 1:
            raise DataError(
                f"seeds {self.seeds}: {FIXED} among others",
                f"seed {FIXED} alone, for a method without randomness",
                "give every run of a method that draws lots its own seed from 0",
            )

    @property
    def fixed(self) -> bool:
        """Whether the method has no randomness."""
        return self.seeds == (FIXED,)

    @property
    def accuracy(self) -> float:
        """Share of right answers over all rows and seeds."""
        return float(self.correct.mean())

    def same_answers(self, other: Runs) -> bool:
        """Whether both are right on exactly the same rows under every seed."""
        if not (self.fixed or other.fixed or self.seeds == other.seeds):
            return False
        return bool((self.correct == other.correct).all())
