"""Soft prompt tuning: vectors in the prompt, learned by gradient descent through the frozen model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget
from pegbox.tune.descent import Descent, Vectors
from pegbox.tune.place import Place, check_slot, soft_slots
from pegbox.tune.schedule import Schedule
from pegbox.tune.standing import Parameters
from pegbox.tune.start import root_mean_square, start_vectors, starts_apart
from pegbox.tune.trail import Trail


@dataclass(frozen=True)
class Soft:
    """Prompt tuning. What is trained is the distance from the start, in units of the embeddings' root mean square.

    Settings:
        length: vectors in a slot that pegbox puts in itself. None: 20, or as many as the words that they take the place of.
        place: "instead" turns the words before the text into vectors, so that tuning starts as the written prompt and the
            result is no longer than that; without an instruction there it means "first". Vectors that come first change how
            the text is read; those "after" it learn less in a step, but the texts need reading only once. "both" is first
            and after. Soft slots written in the prompt come before all this.
        schedule: steps, learning rates and the rest.

    Source: Lester et al. 2021 (arXiv 2104.08691): vectors started from label words and vocabulary. We differ in AdamW for
        Adafactor, in the unit of the learning rate, in a start from a whole instruction, and in where the slot may stand.
    """

    length: int | None = None
    place: Place = "instead"
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        check_slot(self.place, self.length)

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
        """See `pegbox.tune.tuner.Tuner.tune`."""
        descent = self.descent(prompt, task, backbone, rng, trail)
        return descent.run(train, dev, budget, int(rng.integers(2**31)))

    def descent(
        self, prompt: Prompt, task: Classification, backbone: Backbone, rng: np.random.Generator, trail: Trail
    ) -> Descent:
        """The descent that tuning runs: where the slots are, what is trained, and what that makes of them."""
        placed = soft_slots(prompt, self.place, self.length, backbone, task.channel)
        starts = start_vectors(placed, backbone, task, self.schedule.variants)
        scale = root_mean_square(backbone.vocabulary()[0])

        def make(parameters: Parameters) -> Vectors:
            return {name: starts[name][: len(moved)] + scale * moved for name, moved in parameters.items()}

        start: Parameters = starts_apart(starts, self.schedule, rng)
        return Descent(self.schedule, prompt, placed, start, make, task, backbone, trail)
