"""How good a prompt is on rows with labels, as it would be used: calibrated."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.errors import DataError
from pegbox.prompt import Prompt
from pegbox.task.calibration import fit_calibration
from pegbox.task.classification import Classification
from pegbox.tune.budget import Meter
from pegbox.tune.trail import Trail


@dataclass(frozen=True, order=True)
class DevScore:
    """Accuracy, and between equals the mean log-probability of the right label. The greater is the better.

    Settings:
        accuracy: share of the rows whose likeliest label is the right one; infinite where there is only one answer.
        fit: mean log-probability of the right label, in nats.
    """

    accuracy: float
    fit: float

    @property
    def shown(self) -> float:
        """What a person is told: the accuracy, but where there was nothing to choose from, how likely a token is."""
        return self.accuracy if math.isfinite(self.accuracy) else math.exp(self.fit)


def score_of(log_probabilities: NDArray[np.floating], gold: NDArray[np.int64]) -> DevScore:
    """The score of log-probabilities. Raises DataError without rows. Shape: [B, C]; [B]."""
    if not len(gold):
        raise DataError("no rows to choose on", "at least one row", "give more rows")
    accuracy = math.inf if log_probabilities.shape[1] == 1 else (log_probabilities.argmax(axis=1) == gold).mean()
    return DevScore(float(accuracy), float(log_probabilities[np.arange(len(gold)), gold].mean()))


def dev_score(prompt: Prompt, task: Classification, backbone: Backbone, rows: Rows, prior: Sequence[float]) -> DevScore:
    """The prompt's score on rows.

    Batch calibration needs no labels, so the scored rows stand in for the training rows: no further tokens are spent on it.

    Settings:
        prior: the labels' shares among the training rows.
    """
    scores = task.bind(prompt, backbone, rows).log_probabilities()[0]
    if task.calibration == "batch":
        calibration = fit_calibration("batch", scores, prior)
    else:
        calibration = task.calibrate(prompt, backbone, rows, prior)
    return score_of(calibration.apply(scores), task.gold(rows))


def remembered(key: str, compute: Callable[[], DevScore], meter: Meter, trail: Trail) -> DevScore:
    """What `compute` finds, or what an interrupted try had found; its tokens count either way."""
    if (found := trail.kept(key)) is not None:
        meter.replay(int(found["tokens"]))
        return DevScore(*found["score"])
    before = meter.tokens
    score = compute()
    trail.keep(key, {"score": astuple(score), "tokens": meter.tokens - before})
    return score
