"""The gate: a search's winner must beat the starting prompt on rows that played no part in the search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt
from pegbox.task.calibration import Calibration, fit_calibration
from pegbox.task.classification import Classification
from pegbox.tune.memo import Memo
from pegbox.tune.racing import worse_p

_FEWEST = 30  # rows, where there are as many


@dataclass
class Gate:
    """Compares two prompts on dev rows.

    A winner passes when its calibrated log loss is lower by a one-sided paired t test and it is right on no fewer rows. One
    test on the loss, which moves with every row, sees smaller gains than one on hits; the second condition keeps out prompts
    that are merely surer of the same answers.

    Settings:
        rows: the dev rows.
        prior: the labels' shares among the training rows. Shape: [C].
        level: of the test.
    """

    task: Classification
    backbone: Backbone
    rows: Rows
    prior: NDArray[np.float64]
    level: float
    memo: Memo

    def limit(self, per_row: float, share: float = 1.0) -> bool:
        """Takes no more rows than a share of what is left pays for; whether these are enough for a test.

        Settings:
            per_row: tokens for one row under both prompts.
        """
        left = self.memo.meter.tokens_left or 0
        most = int(share * left / max(1e-9, per_row))
        enough = most >= min(_FEWEST, len(self.rows))
        self.rows = self.rows.take(range(min(len(self.rows), max(most, _FEWEST))))
        return enough

    def passes(self, start: Prompt, winner: Prompt) -> bool:
        """Whether the gain holds; says so in the trail either way."""
        gold = self.task.gold(self.rows)
        at = np.arange(len(gold))
        scores = [self._scores(prompt) for prompt in (start, winner)]
        losses = [-logs[at, gold] for logs in scores]
        hits = [float((logs.argmax(axis=1) == gold).mean()) for logs in scores]
        choices = scores[0].shape[1] > 1
        for variant in (0, 1):
            loss, hit = float(losses[variant].mean()), hits[variant] if choices else None
            self.memo.trail.write("dev", step=variant, loss=loss, accuracy=hit, variant=variant, rows=len(gold))
        p = worse_p(losses[0], losses[1])
        passed = p < self.level and hits[1] >= hits[0]
        gain = float((losses[0] - losses[1]).mean())
        told = f"on {len(gold)} dev rows {gain:+.3f} nats better, p {p:.2g}"
        told += f", accuracy {hits[0]:.3f} before, {hits[1]:.3f} after" if choices else ""
        verdict = "the found prompt is kept" if passed else "the gain does not hold, the starting prompt is kept"
        self.memo.trail.write("note", text=f"{verdict} ({told})")
        return passed

    def _scores(self, prompt: Prompt) -> NDArray[np.float64]:
        """Calibrated label log-probabilities; batch calibration needs no labels, so the dev rows serve. Shape: [N, C]."""

        def read() -> NDArray[np.floating]:
            scores: NDArray[np.floating] = self.task.bind(prompt, self.backbone, self.rows).log_probabilities()[0]
            return scores

        logs = self.memo.ask(f"{prompt.digest()[:24]} dev", read)
        if self.task.calibration == "contextual":
            key, prior = f"{prompt.digest()[:24]} calibration", list(self.prior)
            offsets = self.memo.recall(key, lambda: self.task.calibrate(prompt, self.backbone, self.rows, prior).offsets)
            return Calibration("contextual", tuple(offsets)).apply(logs)
        return fit_calibration(self.task.calibration, logs, list(self.prior)).apply(logs)
