"""Input-made prompts: vectors that a small learned network makes anew for each row, from a cheap look at its text."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.errors import SettingsError
from pegbox.prompt import InputSlot, Prompt
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget
from pegbox.tune.descent import Descent, Vectors
from pegbox.tune.place import Place, check_slot, input_slots
from pegbox.tune.schedule import Schedule
from pegbox.tune.standing import Parameters
from pegbox.tune.start import root_mean_square, start_vectors, starts_apart
from pegbox.tune.trail import Trail


@dataclass(frozen=True)
class InputMade:
    """Prompt tuning whose vectors depend on the row: those that all share, and what a network with one hidden layer adds.

    Settings:
        length: vectors in a slot that pegbox puts in itself; None as for `Soft`.
        place: where it goes: "instead" of the words before the text, "first", "after" the text, or "both"; as for `Soft`.
        units: hidden units, each with vectors of its own to add.
        schedule: steps, learning rates and the rest.

    Source: Das et al. 2025, "Input Dependent Soft Prompting" (ID-SPAM, arXiv 2506.05629), and Choi et al. 2023, "SMoP"
        (EMNLP 2023): a prompt made from the input's own token embeddings. We differ in reading their plain mean where ID-SPAM
        learns an attention, in the hidden units, which are gates of prompts as in SMoP but soft ones, and in starting the
        network's output at 0, so that the start is the words themselves for every row.
    """

    length: int | None = None
    place: Place = "instead"
    units: int = 16
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        check_slot(self.place, self.length)
        if self.units < 1:
            raise SettingsError(f"units={self.units}", "a number of at least 1", "correct it")

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
        placed = input_slots(prompt, self.place, self.length, backbone, task.channel)
        shared = start_vectors(placed, backbone, task, self.schedule.variants, InputSlot)
        scale = root_mean_square(backbone.vocabulary()[0])
        starts, units = {}, {}
        for name, slot in placed.slots.items():
            if isinstance(slot, InputSlot):
                starts[name] = self._table(shared[name], slot.length, rng)
                units[name] = _unit(starts[name].shape[1], slot.length, scale, starts[name])

        def make(parameters: Parameters) -> Vectors:
            return {name: starts[name][: len(moved)] + units[name] * moved for name, moved in parameters.items()}

        start = starts_apart(starts, self.schedule, rng)
        descent = Descent(self.schedule, prompt, placed, start, make, task, backbone, trail)
        return descent.run(train, dev, budget, int(rng.integers(2**31)))

    def _table(self, begun: torch.Tensor, length: int, rng: np.random.Generator) -> torch.Tensor:
        """What the slot holds at the start: its own network, or a random one that adds nothing yet.

        Shape: begun [K, P or N, H]; result [K, N, H].
        """
        if begun.shape[1] > length:
            return begun
        width = begun.shape[-1]
        looks = torch.from_numpy(rng.normal(0, width**-0.5, (self.units, width)).astype(np.float32)).to(begun.device)
        adds = begun.new_zeros(len(begun), self.units * length, width)
        return torch.cat([begun, looks.expand(len(begun), -1, -1), adds], dim=1)


def _unit(rows: int, length: int, scale: float, like: torch.Tensor) -> torch.Tensor:
    """How far a learned 1 goes in each row of what a slot holds, so that one learning rate serves all of them.

    A step in all the numbers of a look turns its unit by about the learning rate; a step in all that is added moves a row's
    vectors about as far as a step in the shared vectors does.

    Shape: [N, 1].
    """
    units = (rows - length) // (1 + length)
    sizes = [scale] * length + [1 / like.shape[-1]] * units + [scale / units**0.5] * (units * length)
    return torch.tensor(sizes, device=like.device)[:, None]
