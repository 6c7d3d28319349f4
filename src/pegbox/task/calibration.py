"""Calibration: taking out of the scores what the model prefers whatever it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pegbox.data.rows import Rows
from pegbox.errors import SettingsError

Method = Literal["none", "contextual", "batch"]
METHODS: tuple[Method, ...] = ("none", "contextual", "batch")
CALIBRATION_ROWS = 256
"""The most training rows that batch calibration reads."""
CONTENT_FREE = ("N/A", "", "[MASK]")
"""Texts that say nothing (Zhao et al. 2021, section 5)."""


@dataclass(frozen=True)
class Calibration:
    """Offsets that are added to the labels' log-probabilities before these are made to sum to 1 again.

    Settings:
        method: how the offsets were fitted.
        offsets: one for each label; empty: none.
    """

    method: Method = "none"
    offsets: tuple[float, ...] = ()

    def apply(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Calibrated log-probabilities; that of a single answer stays as it is. Shape: [..., C] to [..., C]."""
        shifted = scores.astype(np.float64)
        if shifted.shape[-1] == 1:  # there is nothing to choose from, so nothing that must add up to 1
            return shifted
        if self.offsets:
            shifted = shifted + np.asarray(self.offsets)
        top = shifted.max(axis=-1, keepdims=True)
        shifted = shifted - top
        normal: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        return normal

    def probabilities(self, scores: NDArray[np.floating]) -> NDArray[np.float32]:
        """Calibrated probabilities, as predictors give them. Shape: [..., C] to [..., C]."""
        return np.exp(self.apply(scores)).astype(np.float32)


def fit_calibration(method: Method, scores: NDArray[np.floating], prior: Sequence[float]) -> Calibration:
    """Divides out the mean probability that the model gives each label, and puts the training rows' label shares in its place.

    Settings:
        method: "batch" (scores are those of training rows) or "contextual" (scores are those of texts that say nothing).
        scores: label log-probabilities.
        prior: the labels' shares among the training rows; add-one smoothing is up to the caller.

    Shape: scores [N, C]; prior C.
    Source: Zhao et al. 2021 "Calibrate Before Use" (contextual); Zhou et al. 2024 "Batch Calibration" (batch). Both assume
        equal shares of the labels; here the training rows' shares take that place, for unbalanced data.
    Raises: SettingsError for an unknown method.
    """
    if method not in METHODS:
        raise SettingsError(f"calibration {method!r}", f"one of {', '.join(METHODS)}", "choose one of them")
    if method == "none":
        return Calibration()
    mean = np.exp(Calibration().apply(scores)).mean(axis=0)
    offsets = np.log(np.asarray(prior, dtype=np.float64)) - np.log(np.maximum(mean, 1e-12))
    return Calibration(method, tuple(float(offset) for offset in offsets))


def some_rows(rows: Rows) -> Rows:
    """Rows for a mean: 256 give it to within three points of probability, and the rest would only cost time."""
    if len(rows) <= CALIBRATION_ROWS:
        return rows
    return rows.take(sorted(np.random.default_rng(0).permutation(len(rows))[:CALIBRATION_ROWS]))
