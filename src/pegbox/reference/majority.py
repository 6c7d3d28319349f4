"""Majority: the labels' shares among the training rows, whatever the text says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget
from pegbox.tune.trail import Trail


@dataclass(frozen=True)
class Majority:
    """Always answers with the commonest label; its probabilities are the labels' shares."""

    def fit(
        self,
        prompt: Prompt,  # noqa: ARG002  # the protocol's arguments, of which this method needs two
        task: Classification,
        backbone: Backbone,  # noqa: ARG002
        train: Rows,
        dev: Rows,  # noqa: ARG002
        *,
        budget: Budget,  # noqa: ARG002
        rng: np.random.Generator,  # noqa: ARG002
        trail: Trail,  # noqa: ARG002
    ) -> MajorityPredictor:
        """See `pegbox.reference.protocol.Reference.fit`."""
        return MajorityPredictor(tuple(float(share) for share in task.prior(train)))


@dataclass(frozen=True)
class MajorityPredictor:
    """The same probabilities for every row.

    Settings:
        shares: one for each label.
    """

    shares: tuple[float, ...]
    prompt: Prompt | None = None

    @property
    def parameters(self) -> int:
        return len(self.shares)

    @property
    def nbytes(self) -> int:
        return 8 * len(self.shares)

    def predict_proba(self, rows: Rows) -> NDArray[np.float32]:
        """See `pegbox.task.predictor.Predictor.predict_proba`."""
        return np.tile(np.array(self.shares, dtype=np.float32), (len(rows), 1))
