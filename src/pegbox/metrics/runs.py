"""What a method did on the test rows: one line of values for each seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pegbox.errors import DataError

FIXED = -1
"""The seed of a method that has no randomness: its single run counts for every seed."""


@dataclass(frozen=True)
class Runs:
    """What each test row adds to a method's score, under each of its seeds.

    Settings:
        values: for accuracy True where the answer was right; for other measures `pegbox.metrics.measures.influence`.
        seeds: the seed of each run; ``(FIXED,)`` for a method without randomness.
        quick: it does not tune: its spread over seeds says nothing of methods that do.
        sums: what the values were worked out from, where a row's value also depends on the other rows.
    Shape:
        values: [S, N], S seeds and N test rows; sums: [S, N, K].
    Raises:
        DataError: no rows, no seeds, a seed named twice, or counts that do not agree.
    """

    values: NDArray[Any]
    seeds: tuple[int, ...]
    quick: bool = False
    sums: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        shares = values.dtype == bool or bool(np.isin(values, (0, 1)).all())
        object.__setattr__(self, "values", values.astype(bool if shares else np.float64))
        if self.values.ndim != 2 or self.values.size == 0:
            raise DataError(
                f"answers of shape {self.values.shape}",
                "at least one seed and one test row: [seeds, rows]",
                "score the method on some rows before comparing it",
            )
        if len(self.seeds) != len(self.values) or len(set(self.seeds)) != len(self.seeds):
            raise DataError(
                f"seeds {self.seeds} for {len(self.values)} runs", "one seed for each run, all different", "number the runs"
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
    def correct(self) -> NDArray[Any]:
        """The values, where they are right and wrong answers."""
        return self.values

    @property
    def score(self) -> float:
        """The score over all rows and seeds: of right and wrong answers their share."""
        return float(self.values.mean())

    @property
    def whole(self) -> bool:
        """Whether all values are whole numbers, as right and wrong answers are."""
        return self.values.dtype == bool or bool((self.values == np.rint(self.values)).all())

    def same_answers(self, other: Runs) -> bool:
        """Whether both did equally well on every row under every seed: were right on exactly the same rows."""
        if not (self.fixed or other.fixed or self.seeds == other.seeds):
            return False
        return bool(self.same_rows(other).all())

    def same_rows(self, other: Runs) -> NDArray[np.bool_]:
        """The rows on which both did the very same: under each seed, or on average where they have other seeds. Shape: [N]."""
        pairs = [(self.values[..., None], other.values[..., None])]
        pairs += [(self.sums, other.sums)] if self.sums is not None and other.sums is not None else []
        mine, theirs = pairs[-1]
        if self.fixed or other.fixed or self.seeds == other.seeds:
            return np.asarray((mine == theirs).all((0, 2)))
        return np.asarray((mine.mean(0) == theirs.mean(0)).all(1))
