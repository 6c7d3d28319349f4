"""Low-rank prompt tuning: few numbers for each vector, spread over the width by a random projection that is never learned."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.errors import SettingsError
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
class LowRank:
    """Prompt tuning with P = E + scale * (Z A) + shift, where E are words' embeddings and A is random and frozen.

    Learned are Z, a few numbers for each vector, and one scale and one shift for all of them.

    Settings:
        length: vectors in a slot that pegbox puts in itself; None as for `Soft`.
        place: where it goes: "instead" of the words before the text, "first", "after" the text, or "both"; as for `Soft`.
        rank: learned numbers for each vector.
        schedule: steps, learning rates and the rest.

    Source: Wu et al. 2025, "Ultra-Low-Dimensional Prompt Tuning" (arXiv 2502.04501): frozen random projection, rank 64, shift
        and scale. We differ in adding the words' embeddings, so that the start is the words themselves, and in the unit of the
        learning rate (the embeddings' root mean square). Afterwards the vectors are written out in full: with the words in
        them they are not of low rank, and at 2 kB a vector it is not worth an artifact of its own kind.
    """

    length: int | None = None
    place: Place = "instead"
    rank: int = 64
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        check_slot(self.place, self.length)
        if self.rank < 1:
            raise SettingsError(f"rank={self.rank}", "a number of at least 1", "correct it")

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
        placed = soft_slots(prompt, self.place, self.length, backbone, task.channel)
        starts = start_vectors(placed, backbone, task, self.schedule.variants)
        scale = root_mean_square(backbone.vocabulary()[0])
        projection = self._projection(starts, rng)

        def make(parameters: Parameters) -> Vectors:
            made = {}
            for name, vectors in starts.items():
                spread = parameters[name] @ projection
                moved = parameters["projection.scale"][:, None] * spread + parameters["projection.shift"][:, None]
                made[name] = vectors[: len(moved)] + scale * moved
            return made

        descent = Descent(self.schedule, prompt, placed, self._start(starts, rng), make, task, backbone, trail)
        return descent.run(train, dev, budget, int(rng.integers(2**31)))

    def _projection(self, starts: Vectors, rng: np.random.Generator) -> torch.Tensor:
        """Random numbers of such a size that a step in Z moves a vector about as far as a step in the vector itself would.

        Shape: [rank, H].
        """
        like = next(iter(starts.values()))
        drawn = rng.normal(0, self.rank**-0.5, (self.rank, like.shape[-1])).astype(np.float32)
        return torch.from_numpy(drawn).to(like.device)

    def _start(self, starts: Vectors, rng: np.random.Generator) -> Parameters:
        """Z at 0, but for further starts; the scale at 1 and the shift at 0."""
        like = next(iter(starts.values()))
        codes = {name: vectors.new_zeros(*vectors.shape[:-1], self.rank) for name, vectors in starts.items()}
        ones = like.new_ones(len(like), like.shape[-1])
        return starts_apart(codes, self.schedule, rng) | {"projection.scale": ones, "projection.shift": torch.zeros_like(ones)}
