"""The calibrated loss of words in slots, differentiable in the slots' vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pegbox.task.calibration import Method
from pegbox.task.classification import BoundClassification
from pegbox.tune.swaps import State


@dataclass
class Loss:
    """The calibrated loss of words in the slots.

    Settings:
        bound: the prompt over some rows.
        basis: the same over texts that say nothing, for contextual calibration.
        prior: the labels' shares among the training rows. Shape: [C].
    """

    bound: BoundClassification
    basis: BoundClassification | None
    method: Method
    prior: torch.Tensor

    def __call__(self, index: Sequence[int], live: dict[str, Any]) -> torch.Tensor:
        """Calibrated label log-probabilities. Shape: [K, B, C], differentiable in live's vectors."""
        scores = self.bound.scores(index, live)
        if self.method == "none":
            return scores
        seen = scores if self.basis is None else self.basis.scores(range(self.basis.size), live)
        mean = seen.exp().mean(dim=1, keepdim=True).clamp_min(1e-12)
        return (scores + self.prior.to(scores.device).log() - mean.log()).log_softmax(-1)

    def losses(self, index: Sequence[int], live: dict[str, Any]) -> torch.Tensor:
        """Cross-entropy of each row. Shape: [K, B]."""
        scores = self(index, live)
        assert self.bound.gold is not None
        gold = self.bound.gold[list(index)].to(scores.device).expand(scores.shape[0], -1)
        return -scores.gather(-1, gold[..., None])[..., 0]

    @torch.no_grad()
    def of(self, states: Sequence[State], index: Sequence[int]) -> NDArray[np.float64]:
        """The losses of several states on the same rows. Shape: [K, B]."""
        return self.losses(index, live_words(states)).cpu().numpy().astype(np.float64)


def live_words(states: Sequence[State]) -> dict[str, list[tuple[int, ...]]]:
    """States as the seam takes them: for each slot K runs of token ids."""
    return {name: [state[name] for state in states] for name in states[0]}
