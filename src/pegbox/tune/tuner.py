"""What every tuning method is: settings in a frozen dataclass, and one verb."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget
from pegbox.tune.trail import Trail


class Tuner(Protocol):
    """Takes a prompt with open slots, or one to improve, and returns it filled."""

    def tune(
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
    ) -> Prompt:
        """The tuned prompt.

        Settings:
            prompt: the written prompt.
            task: what the rows' labels mean, and how answers are scored.
            backbone: the frozen model.
            train: rows to learn from.
            dev: rows to choose on.
            budget: what may be spent.
            rng: all of the method's chance.
            trail: where the run is recorded, and continued from.
        """
