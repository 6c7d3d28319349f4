"""What every reference method is: something to beat that is no tuned prompt."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt
from pegbox.task.classification import Classification
from pegbox.task.predictor import Predictor
from pegbox.tune.budget import Budget
from pegbox.tune.trail import Trail


class Reference(Protocol):
    """Settings in a frozen dataclass, and one verb. The arguments are those of `pegbox.tune.tuner.Tuner.tune`."""

    def fit(
        self,
        prompt: Prompt,
        task: Classification,
        backbone: Backbone,
        train: Rows,
        dev: Rows,
        *,
        budget: Budget,
        rng: np.random.Generator,
        trail: Trail,
    ) -> Predictor:
        """What predicts after learning from `train` and choosing on `dev`."""
