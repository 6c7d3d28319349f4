"""How fast this machine multiplies matrices of the model's own shapes."""

from __future__ import annotations

import statistics
import time

import torch
import torch.nn.functional as F  # noqa: N812  # the field's name for it

from bench.figures import joint_rate
from bench.flops import Decoder

HEIGHTS = (368, 2048)
"""Positions in one product: those of a short training step (16 rows of 23), and those of a long pass."""


def matrix_rates(model: Decoder, dtype: torch.dtype, repeats: int) -> dict[int, float]:
    """GFLOP/s of one layer's products in a row, by positions."""
    return {height: _rate(model, height, dtype, repeats) for height in HEIGHTS}


def _rate(model: Decoder, height: int, dtype: torch.dtype, repeats: int) -> float:
    flops = [2.0 * height * first * last for first, last in model.matrices]
    return joint_rate(flops, [_seconds(height, shape, dtype, repeats) for shape in model.matrices])


@torch.no_grad()
def _seconds(height: int, shape: tuple[int, int], dtype: torch.dtype, repeats: int) -> float:
    """The median time of one product; as many weights as there are layers take turns, as in the model."""
    first, last = shape
    states = torch.randn(height, first).to(dtype)
    weights = [torch.randn(last, first).to(dtype) for _ in range(30)]
    found = []
    for _ in range(max(3, repeats)):
        began = time.perf_counter()
        for weight in weights:
            F.linear(states, weight)
        found.append((time.perf_counter() - began) / len(weights))
    return statistics.median(found)
