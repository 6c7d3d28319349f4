"""Residual prompt tuning: the vectors are learned through a small network beside a skip, which is dropped afterwards."""

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
class Residual:
    """Prompt tuning with P = E + MLP(E), where E is learned too; one two-layer network for all positions.

    Settings:
        length: vectors in a slot that pegbox puts in itself; None as for `Soft`.
        place: where it goes: "instead" of the words before the text, "first", "after" the text, or "both"; as for `Soft`.
        width: the network's hidden width.
        schedule: steps, learning rates and the rest.

    Source: Razdaibiedina et al. 2023, "Residual Prompt Tuning" (arXiv 2305.03937): shared two-layer network with ReLU and
        layer normalisation. We differ in starting the network's output at 0, so that the start is the words themselves, and in
        the unit of the learning rate (the embeddings' root mean square).
    """

    length: int | None = None
    place: Place = "instead"
    width: int = 64
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        check_slot(self.place, self.length)
        if self.width < 1:
            raise SettingsError(f"width={self.width}", "a number of at least 1", "correct it")

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
        variants = self.schedule.variants
        starts = start_vectors(placed, backbone, task, variants)
        scale = root_mean_square(backbone.vocabulary()[0])
        start = starts_apart(starts, self.schedule, rng) | self._network(starts, variants, rng)

        def make(parameters: Parameters) -> Vectors:
            made = {}
            for name, vectors in starts.items():
                moved = vectors[: len(parameters[name])] / scale + parameters[name]  # in units of the embeddings' size
                hidden = torch.relu(moved @ parameters["network.in"])
                through = torch.nn.functional.layer_norm(hidden @ parameters["network.out"], moved.shape[-1:])
                made[name] = scale * (moved + parameters["network.gate"][:, None] * through)
            return made

        descent = Descent(self.schedule, prompt, placed, start, make, task, backbone, trail)
        return descent.run(train, dev, budget, int(rng.integers(2**31)))

    def _network(self, starts: Vectors, variants: int, rng: np.random.Generator) -> Parameters:
        """A random network, and a gate that is shut."""
        like = next(iter(starts.values()))
        width = like.shape[-1]
        drawn = rng.normal(0, 1, (2, width, self.width)).astype(np.float32)
        network = {
            "network.in": torch.from_numpy(drawn[0]).mul_(width**-0.5).expand(variants, -1, -1),
            "network.out": torch.from_numpy(drawn[1]).T.mul(self.width**-0.5).expand(variants, -1, -1),
            "network.gate": torch.zeros(variants, width),
        }
        return {name: values.to(like.device) for name, values in network.items()}
