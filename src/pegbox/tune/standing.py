"""Where a descent stands: all that a second try needs, and its way into the trail and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from pegbox.tune.trail import Trail

Parameters = dict[str, torch.Tensor]
"""Trained numbers of K variants, by name. Shape: [K, ...]."""

_TENSORS = ("parameters", "first", "second")
_NUMBERS = (
    "step",
    "variants",
    "losses",
    "start_loss",
    "best_loss",
    "best_variant",
    "best_step",
    "judged",
    "waited",
    "moved",
)


@dataclass
class Standing:
    """Where a descent stands.

    Settings:
        parameters, first, second: trained numbers and AdamW's two moments, of the living variants.
        variants: the living variants' numbers, in order.
        step: steps done.
        losses: the living variants' latest dev losses; empty before the first look.
        start_scores, start_loss: the dev rows' label log-probabilities with the start, and its loss. Shape: [B, C].
        best: the slots' vectors where the dev loss was lowest.
        best_loss, best_variant, best_step: that loss, whose it was, and when.
        judged: the step of the latest look at the dev rows.
        waited: looks since the best one.
        moved: the furthest that any dev row's scores have come from those of the start, in nats.
    """

    parameters: Parameters
    first: Parameters
    second: Parameters
    variants: list[int]
    step: int = 0
    losses: list[float] = field(default_factory=list)
    start_scores: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    start_loss: float = math.nan
    best: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    best_loss: float = math.inf
    best_variant: int = -1
    best_step: int = -1
    judged: int = -1
    waited: int = 0
    moved: float = 0.0

    @classmethod
    def begun(cls, start: Parameters) -> Standing:
        """At the start, with nothing done."""
        laid = {name: values.contiguous() for name, values in start.items()}  # as they are when they are read again, to the bit
        zeros = [{name: torch.zeros_like(values) for name, values in laid.items()} for _ in range(2)]
        return cls(laid, zeros[0], zeros[1], list(range(len(next(iter(start.values()))))))

    def keep_only(self, places: Sequence[int]) -> None:
        """Drops the variants that do not stand at these places."""
        for values in (self.parameters, self.first, self.second):
            for name, tensor in values.items():
                values[name] = tensor[torch.tensor(list(places), dtype=torch.long, device=tensor.device)]
        self.variants = [self.variants[at] for at in places]
        self.losses = [self.losses[at] for at in places] if self.losses else []

    def save(self, trail: Trail, tokens: int) -> None:
        """Into the trail, with the tokens spent so far."""
        arrays = {f"best.{name}": vectors for name, vectors in self.best.items()} | {"start_scores.": self.start_scores}
        for part in _TENSORS:
            arrays |= {f"{part}.{name}": values.detach().cpu().numpy() for name, values in getattr(self, part).items()}
        trail.save(arrays, {"tokens": tokens} | {name: getattr(self, name) for name in _NUMBERS})

    @classmethod
    def saved(cls, trail: Trail, device: torch.device) -> tuple[Standing, int] | None:
        """Out of the trail, with the tokens spent until then; None for a new run."""
        found = trail.load()
        if found is None:
            return None
        arrays, values = found
        parts: dict[str, dict[str, NDArray[np.float32]]] = {name: {} for name in (*_TENSORS, "best", "start_scores")}
        for key, array in arrays.items():
            part, _, name = key.partition(".")
            parts[part][name] = array
        first, second, third = ({name: torch.tensor(a, device=device) for name, a in parts[p].items()} for p in _TENSORS)
        tokens = int(values.pop("tokens"))
        return cls(first, second, third, **values, best=parts["best"], start_scores=parts["start_scores"][""]), tokens
