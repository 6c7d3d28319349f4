"""Adam's direction, for K variants that share one step count."""

from __future__ import annotations

import torch

_BETAS, _EPSILON = (0.9, 0.999), 1e-8


def adam_direction(first: torch.Tensor, second: torch.Tensor, gradient: torch.Tensor, step: int) -> torch.Tensor:
    """The change that Adam asks for, before the learning rate; the two moments are updated in place.

    Settings:
        first, second: the moments.
        step: counted from 1.

    Shape: all alike.
    Source: Kingma and Ba 2015 (arXiv 1412.6980), algorithm 1.
    """
    first.mul_(_BETAS[0]).add_(gradient, alpha=1 - _BETAS[0])
    second.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
    return (first / (1 - _BETAS[0] ** step)) / ((second / (1 - _BETAS[1] ** step)).sqrt() + _EPSILON)
