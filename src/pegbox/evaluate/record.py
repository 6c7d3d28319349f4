"""The typed record of a comparison: the one thing that tables, reports and recommendations read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["reference", "hard", "soft", "hybrid"]


@dataclass(frozen=True)
class Cost:
    """What a method used, and what its prompt costs to serve. None: not applicable or not measured.

    Settings:
        trained_parameters: numbers that tuning set.
        artifact_bytes: size on disk of what must be kept besides the backbone.
        tokens_forward: tokens run forward through the backbone while tuning.
        tokens_backward: tokens run backward while tuning.
        tune_seconds: wall clock of tuning.
        predict_ms_1: milliseconds per row, batches of 1.
        predict_ms_32: milliseconds per row, batches of 32.
        extra_tokens: tokens per request beyond the user's own text.
        peak_memory_bytes: largest resident size of the process while tuning.
    """

    trained_parameters: int = 0
    artifact_bytes: int | None = None
    tokens_forward: int = 0
    tokens_backward: int = 0
    tune_seconds: float = 0.0
    predict_ms_1: float | None = None
    predict_ms_32: float | None = None
    extra_tokens: float | None = None
    peak_memory_bytes: int | None = None


@dataclass(frozen=True)
class Cell:
    """One method under one seed, scored on the test rows.

    Settings:
        method: the method's name in the table.
        kind: reference, hard, soft or hybrid.
        seed: the seed of its splits, starts and batches.
        probabilities: [N, C] over `Comparison.labels`; [N, 0] of a task that is seen through measures.
        dev_accuracy: accuracy, or the main measure, on the rows it was chosen on; None where nothing was chosen.
        cost: what it used.
        prompt: the tuned prompt in notation; empty for references without one.
        readable: whether the prompt is all words (could be sent to an API).
        nearest: for each soft slot, its vectors' nearest words as (word, cosine, norm ratio).
        trail: the run's events in order, each a flat dict with at least ``event`` (see pegbox.tune.trail).
        notes: what was noticed: divergence, a dead prompt, an exhausted budget, cut texts.
        spends: whether the method tunes until its budget is spent; the spread of the others over seeds says nothing of it.
        statistics: for each measure what every test row adds to its sums, [N, S]; empty for a classification.
        breakdown: the same for each class or type, where the task has some.
        outputs: the N outputs as a person reads them; empty for a classification.
    """

    method: str
    kind: Kind
    seed: int
    probabilities: NDArray[np.float32]
    dev_accuracy: float | None = None
    cost: Cost = field(default_factory=Cost)
    prompt: str = ""
    readable: bool = False
    nearest: Mapping[str, tuple[tuple[str, float, float], ...]] = field(default_factory=dict)
    trail: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    spends: bool = True
    statistics: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    breakdown: Mapping[str, Mapping[str, NDArray[np.float64]]] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Everything that was measured: cells of method x seed on the same test rows.

    Settings:
        labels: the C labels, in the order of the probabilities' columns; none of a task that is seen through measures.
        texts: the N test texts, for the most-confused rows.
        gold: [N] index into labels; empty without labels.
        numbers: the N row numbers in the source.
        cells: one for each method and seed; a deterministic method may have a single cell (seed -1), which counts for
            every seed.
        settings: model, dtype, budget, splits, digests, versions: whatever the report should state.
        notes: remarks on data and run, in plain sentences.
        measures: names of the measures, the main one first; none of a classification, which goes by accuracy.
        answers: the N right answers as a person reads them; empty with labels.
        groups: for each row the slice it is reported in; empty without slices. ``settings["group"]`` names the column.
    """

    labels: tuple[str, ...]
    texts: tuple[str, ...]
    gold: NDArray[np.int64]
    numbers: tuple[int, ...]
    cells: tuple[Cell, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """How many test rows there are."""
        return len(self.answers) if self.measures else len(self.gold)
