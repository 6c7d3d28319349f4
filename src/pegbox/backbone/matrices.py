"""Products with the matrices of frozen layers.

Before every product oneDNN lays a bfloat16 matrix out in the order in which the processor reads it. Where rows are few that is
a third of the time (LAB.md), so matrices that are small enough are kept once more, laid out already.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # the field's name for it

LARGEST = 1 << 30
"""Bytes of a model's weights; those of larger ones are kept only once."""
_FEW = 1 << 20
"""Numbers to be multiplied; with more of them, laying the matrix out is a small part."""
_COLUMNS = 768
"""Of the result, for each thread; fewer are given to one thread alone where the matrix is laid out already."""


class Matrix:
    """A frozen matrix [O, I], and perhaps what is added to its products [O].

    Settings:
        weight, bias: the numbers.
        parts: the parameters that the weight is made of; when one has changed, copies are made anew.
        twice: whether a laid out copy may be kept for the way there, and one for the way back.
    """

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None = None, parts: Sequence[torch.Tensor] = (), twice: bool = False
    ) -> None:
        self.weight, self.bias = weight.detach(), bias
        self._parts = tuple(parts) or (weight,)
        self._twice = twice and weight.dtype == torch.bfloat16 and lays_out()
        self._laid: dict[bool, torch.Tensor] = {}
        self._versions: tuple[int, ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """None: a copy of a model has parameters of its own, and makes its matrices of them."""

    def times(self, x: torch.Tensor) -> torch.Tensor:
        """Products with the rows of x. Shape: [R, I] to [R, O]."""
        if self._is_few(x, len(self.weight)):
            return _product(x, self._laid_out(back=False), self.bias)
        return F.linear(x, self.weight, self.bias)

    def back(self, change: torch.Tensor) -> torch.Tensor:
        """The gradient towards x, given that towards the products. Shape: [R, O] to [R, I]."""
        if self._is_few(change, self.weight.shape[1]):
            return _product(change, self._laid_out(back=True), None)
        return change @ self.weight

    def _is_few(self, x: torch.Tensor, columns: int) -> bool:
        """Whether a copy is the faster one, for so many columns of the result."""
        threads = torch.get_num_threads()
        return self._twice and x.numel() <= _FEW and (threads == 1 or columns >= _COLUMNS * threads)

    def _laid_out(self, back: bool) -> torch.Tensor:
        versions = tuple(0 if part.is_inference() else part._version for part in self._parts)
        if versions != self._versions:
            self._laid, self._versions = {}, versions
        if back not in self._laid:
            wanted = self.weight.T.contiguous() if back else self.weight
            self._laid[back] = torch.ops.mkldnn._reorder_linear_weight(wanted)
        return self._laid[back]


@cache
def lays_out() -> bool:
    """Whether this torch can lay matrices out, and multiplies by them rightly; tried on numbers."""
    x, weight = torch.arange(192).view(3, 64).bfloat16() / 192, torch.arange(2048).view(32, 64).bfloat16() / 2048
    try:
        laid = torch.ops.mkldnn._is_mkldnn_bf16_supported() and torch.ops.mkldnn._reorder_linear_weight(weight)
        return laid is not False and torch.allclose(_product(x, laid, None), x @ weight.T, rtol=0.02)
    except (AttributeError, RuntimeError):
        return False


def _product(x: torch.Tensor, laid: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, laid, bias, "none", [], "")
    return made
