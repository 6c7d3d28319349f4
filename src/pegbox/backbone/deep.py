"""What a deep slot holds: for each position a row of numbers, which are its keys and values in every layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pegbox.backbone.storage import KeysValues
from pegbox.errors import BackboneError


@dataclass(frozen=True)
class Kept:
    """How a model keeps a position: L layers, so many key/value heads, D numbers for each."""

    layers: int
    heads: int
    size: int

    @classmethod
    def of(cls, run: KeysValues) -> Kept:
        """As in this run. Raises BackboneError where values are of another size than keys."""
        if run.keys.shape != run.values.shape:
            raise BackboneError(
                f"keys of shape {tuple(run.keys.shape)} and values of shape {tuple(run.values.shape)}",
                "a model whose keys and values are of one size, for a deep slot",
                "use a soft slot on this model",
            )
        layers, heads, _, size = run.keys.shape
        return cls(layers, heads, size)

    @property
    def width(self) -> int:
        """Numbers for one position, W."""
        return 2 * self.layers * self.heads * self.size

    def run(self, rows: torch.Tensor) -> KeysValues:
        """Keys and values [L, heads, P, D] out of rows [P, W], differentiable."""
        keys, values = rows.view(-1, self.layers, 2, self.heads, self.size).permute(2, 1, 3, 0, 4)
        return KeysValues(keys, values)

    def rows(self, run: KeysValues) -> torch.Tensor:
        """The inverse of `run`. Shape: [P, W]."""
        both = torch.stack([run.keys, run.values])  # [2, L, heads, P, D]
        return both.permute(3, 1, 0, 2, 4).reshape(run.length, self.width)


def joined(*runs: KeysValues) -> KeysValues:
    """Runs one after the other as one."""
    return KeysValues(torch.cat([run.keys for run in runs], dim=2), torch.cat([run.values for run in runs], dim=2))
