"""Which rule makes the scores of a long text's pieces one: chosen on the dev rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from pegbox.data.rows import Rows
from pegbox.task.calibration import Calibration, fit_calibration, some_rows
from pegbox.task.long import POOLS, Pool, pooled
from pegbox.task.predictor import PromptPredictor

Pieces = tuple[torch.Tensor, list[int]]
"""Scores of pieces [1, pieces, C], and how many pieces each row has."""


def chosen(predictor: PromptPredictor, train: Rows, dev: Rows, say: Callable[[str], None]) -> PromptPredictor:
    """The predictor with the rule that does best on the dev rows, calibrated under it.

    Each rule is calibrated as it would be used. Accuracy decides, and between equals the mean log-probability of the right
    label. Every row is read once, whatever the number of rules.

    Settings:
        say: takes a note on what was chosen.
    """
    task, prompt, backbone = predictor.task, predictor.prompt, predictor.backbone
    judged = task.bind(prompt, backbone, dev)
    assert judged.parted is not None
    if not judged.parted.cut:
        say(f"none of the {len(dev)} dev texts is too long, so pieces are pooled by {POOLS[0]}")
        return _with(predictor, POOLS[0], predictor.calibration)
    pieces, gold = judged.pieces(), task.gold(dev)
    learned = task.bind(prompt, backbone, some_rows(train)).pieces() if task.calibration == "batch" else None
    best: tuple[tuple[float, float], Pool, Calibration] | None = None
    for rule in POOLS:
        calibration = predictor.calibration
        if learned is not None:
            calibration = fit_calibration("batch", _joined(learned, rule), list(task.prior(train)))
        logs = calibration.apply(_joined(pieces, rule))
        found = float((logs.argmax(1) == gold).mean()), float(logs[np.arange(len(gold)), gold].mean())
        best = (found, rule, calibration) if best is None or found > best[0] else best
    assert best is not None
    share = f"{100 * best[0][0]:.1f} % right"
    say(f"pieces are pooled by {best[1]}, the best of {', '.join(POOLS)} on {len(dev)} dev rows ({share})")
    return _with(predictor, best[1], best[2])


def _joined(pieces: Pieces, rule: Pool) -> NDArray[np.float32]:
    """Shape: [B, C]."""
    found: NDArray[np.float32] = pooled(*pieces, rule)[0].cpu().numpy()
    return found


def _with(predictor: PromptPredictor, rule: Pool, calibration: Calibration) -> PromptPredictor:
    task = replace(predictor.task, long=replace(predictor.task.long, pool=rule))
    return replace(predictor, task=task, calibration=calibration)
