"""What it costs a prompt to leave its vectors and its calibration behind, measured on labelled rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pegbox.artifact import Tuned
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.metrics.intervals import Estimate
from pegbox.metrics.proportions import wilson
from pegbox.metrics.runs import FIXED, Runs
from pegbox.metrics.significance import difference
from pegbox.prompt import VectorSlot
from pegbox.task.calibration import Calibration
from pegbox.task.predictor import PromptPredictor


@dataclass(frozen=True)
class Cost:
    """Accuracies of the prompt as it was tuned and as it leaves, on the same rows.

    Settings:
        source, rows: what it was measured on.
        steps: what was left behind so far, and the accuracy without it; the first is the prompt as it was tuned.
        gap: accuracy as it leaves less accuracy as it was tuned, with its 95 % interval.
        p: two-sided, that the two are equally often right (McNemar's exact test).
    """

    source: str
    rows: int
    steps: tuple[tuple[str, Estimate], ...]
    gap: Estimate
    p: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "steps": [{"prompt": name, **asdict(found)} for name, found in self.steps]}

    def sentences(self) -> list[str]:
        """The same for people."""
        told = [f"{name}: {_percent(found)}" for name, found in self.steps]
        low, high = 100 * self.gap.low, 100 * self.gap.high
        gap = f"as it leaves: {100 * self.gap.value:+.1f} points ({low:+.1f} to {high:+.1f}; p {self.p:.3g})"
        return [f"on {self.rows} rows of {self.source}:", *told, gap]


def cost_of_words(tuned: Tuned, rows: Rows) -> Cost:
    """Scores a prompt with and without what words alone cannot say.

    Raises: PromptError for a prompt that scores texts given labels: no interface answers so; SettingsError for one of
        another task than classification.
    """
    whole = tuned.classifier
    if whole.task.channel:
        raise PromptError("a prompt that scores texts given labels", "one that the model answers", "tune it without --channel")
    bare = replace(whole, prompt=whole.prompt.map(lambda one: () if isinstance(one, VectorSlot) else one))
    steps: list[tuple[str, PromptPredictor]] = [("as it was tuned", whole)]
    if not whole.prompt.readable:
        steps.append(("without its vectors", bare))
    if any(whole.calibration.offsets):
        name = "without its calibration" if whole.prompt.readable else "without both"
        steps.append((name, replace(bare, calibration=Calibration())))
    right = [_right(predictor, rows) for _, predictor in steps]
    scored = [(name, wilson(int(one.sum()), len(rows))) for (name, _), one in zip(steps, right, strict=True)]
    test = difference(Runs(right[-1][None], (FIXED,)), Runs(right[0][None], (FIXED,)))
    half = 1.959963984540054 * test.error
    gap = Estimate(test.mean, test.mean - half, test.mean + half)
    return Cost(rows.source, len(rows), tuple(scored), gap, test.p)


def _right(predictor: PromptPredictor, rows: Rows) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Where the likeliest label is the right one. Shape: [N]."""
    return np.asarray(predictor.predict_proba(rows).argmax(axis=1) == predictor.task.gold(rows))


def _percent(found: Estimate) -> str:
    return f"{100 * found.value:.1f} % right ({100 * found.low:.1f} to {100 * found.high:.1f})"


def listed(sentences: Sequence[str]) -> str:
    """Sentences as lines of a card."""
    return "".join(f"- {sentence}\n" for sentence in sentences)
