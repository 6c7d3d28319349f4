"""Deep prompt tuning: learned keys and values in every layer, before all that the model reads or after the text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.errors import SettingsError
from pegbox.prompt import DeepSlot, Prompt
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget
from pegbox.tune.descent import Descent, Vectors
from pegbox.tune.place import deep_slot
from pegbox.tune.schedule import Schedule
from pegbox.tune.standing import Parameters
from pegbox.tune.start import start_vectors, starts_apart
from pegbox.tune.trail import Trail

Where = Literal["instead", "first", "after"]
_FEWEST = 2


def _schedule() -> Schedule:
    return Schedule(learning_rates=(0.04, 0.08))


@dataclass(frozen=True)
class Deep:
    """Prefix tuning. What is learned is the distance from a real text's own keys and values, in units of their size.

    Settings:
        length: positions in a slot that pegbox puts in itself. None: 20, or as many as the words that they take the place of.
        place: "instead" takes the keys and values of the words before the text, so that tuning starts as the written prompt;
            without an instruction there, and in a chat, it means "first": those of an instruction that names the labels, before
            the written prompt. "after" puts these after the text, which then is read without them, once and for all: a step
            runs no more than the few words between the text and the answer. A deep slot written in the prompt comes before
            all this.
        sink: the first position's keys and values stay as they are: models look back on that position from everywhere.
        schedule: steps, learning rates and the rest.

    Source: Li and Liang 2021, "Prefix-Tuning" (arXiv 2101.00190), and for "after" its infix tuning (section 7.3); Liu et al.
        2022, "P-Tuning v2" (arXiv 2110.07602), which learns the keys and values directly, as we do. The start from a text and
        the sink are PEFT's advice for prefix tuning. We differ in the unit of the learning rate: the root mean square of each
        number over the start's positions.
    """

    length: int | None = None
    place: Where = "instead"
    sink: bool = True
    schedule: Schedule = field(default_factory=_schedule)

    def __post_init__(self) -> None:
        if self.place not in get_args(Where):
            raise SettingsError(f"place={self.place!r}", f"one of {', '.join(get_args(Where))}", "choose one of them")
        if self.length is not None and self.length < _FEWEST:
            raise SettingsError(f"length={self.length}", "at least 2 positions: the first may stay as it is", "say length=16")

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
        """The descent that tuning runs: where the slot is, what is trained, and what that makes of it."""
        placed = deep_slot(prompt, self.place, self.length, backbone, task.channel)
        starts = start_vectors(placed, backbone, task, self.schedule.variants, DeepSlot)
        units = {name: self._unit(rows[0]) for name, rows in starts.items()}

        def make(parameters: Parameters) -> Vectors:
            return {name: starts[name][: len(moved)] + units[name] * moved for name, moved in parameters.items()}

        start = starts_apart(starts, self.schedule, rng)
        return Descent(self.schedule, prompt, placed, start, make, task, backbone, trail)

    def _unit(self, rows: torch.Tensor) -> torch.Tensor:
        """How far a learned 1 goes: for each number its size among the start's positions, and nowhere at the sink.

        Shape: rows [P, W]; result [P, W].
        """
        later = rows[1:] if len(rows) > 1 else rows
        unit = later.square().mean(0).sqrt().repeat(len(rows), 1)
        if self.sink and len(rows) > 1:
            unit[0] = 0
        return unit
