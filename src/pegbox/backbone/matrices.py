"""Products with the matrices of frozen layers.

Before every product oneDNN lays a bfloat16 matrix out in the order in which the processor reads it. Where rows are few that is
a third of the time (LAB.md), so matrices that are small enough are kept once more, laid out already.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # the field's name for it
from torch import nn
from torch.autograd.function import Function, once_differentiable

VARIABLE = "PEGBOX_FUSED"
"""Set to 0: frozen layers run as Transformers wrote them, and their matrices are kept once."""
LARGEST = 1 << 30
"""Bytes of a model's weights; those of larger ones are kept only once."""
_FEW = 1 << 20
"""Numbers to be multiplied; with more of them, laying the matrix out is a small part."""
_LOOKED_AT = 64
"""Numbers of a matrix by which it is seen to have changed."""
_COLUMNS = 768
"""Of the result, for each thread; fewer are given to one thread alone where the matrix is laid out already."""


class Matrix:
    """A frozen matrix [O, I], and perhaps what is added to its products [O].

    Settings:
        weight, bias: the numbers.
        parts: the parameters that the weight is made of; where they have changed, copies are made anew.
        twice: whether a laid out copy may be kept for the way there, and one for the way back.
    """

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None = None, parts: Sequence[torch.Tensor] = (), twice: bool = False
    ) -> None:
        self.weight, self.bias = weight.detach(), bias
        self._given = weight, bias, tuple(parts), twice
        self._parts = tuple(parts) or (weight,)
        self._twice = twice and weight.dtype == torch.bfloat16 and lays_out()
        self._laid: dict[bool, torch.Tensor] = {}
        self._mark: tuple[object, ...] = ()
        if self._twice:
            bits = self.weight.view(torch.uint16).numpy().reshape(-1)
            self._some = bits[:: max(1, len(bits) // _LOOKED_AT)]

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """None: a copy of a model has parameters of its own, and makes its matrices of them."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Matrix, self._given  # what is laid out can be made again, and not be written down

    def holds(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> bool:
        """Whether these lie in its numbers: parameters may be exchanged for others."""
        return _lies_in(weight, self.weight) and _lies_in(bias, self.bias)

    def times(self, x: torch.Tensor, plus: torch.Tensor | None = None) -> torch.Tensor:
        """Products with the rows of x, and what is to be added to them. Shape: x [R, I]; plus and result [R, O]."""
        if self._is_few(x, len(self.weight)):
            return _product(x, self._laid_out(back=False), self.bias, plus)
        if plus is None:
            return F.linear(x, self.weight, self.bias)
        return torch.addmm(plus if self.bias is None else plus + self.bias, x, self.weight.T)

    def back(self, change: torch.Tensor) -> torch.Tensor:
        """The gradient towards x, given that towards the products. Shape: [R, O] to [R, I]."""
        if self._is_few(change, self.weight.shape[1]):
            return _product(change, self._laid_out(back=True))
        return change @ self.weight

    def back_in_parts(self, changes: torch.Tensor) -> torch.Tensor:
        """The same, given the gradients towards equal parts of the products one after the other.

        A product for each part: threads share several better than one whose inner index is long.

        Shape: [parts, R, O / parts] to [R, I].
        """
        made = torch.bmm(changes, self.weight.view(len(changes), -1, self.weight.shape[1]))
        total: torch.Tensor = made[0]
        for part in made[1:]:
            total.add_(part)
        return total

    def _is_few(self, x: torch.Tensor, columns: int) -> bool:
        """Whether a copy is the faster one, for so many columns of the result."""
        threads = torch.get_num_threads()
        return self._twice and x.numel() <= _FEW and (threads == 1 or columns >= _COLUMNS * threads)

    def _laid_out(self, back: bool) -> torch.Tensor:
        mark = self._marked()
        if mark != self._mark:
            self._laid, self._mark = {}, mark
        if back not in self._laid:
            wanted = self.weight.T.contiguous() if back else self.weight
            self._laid[back] = torch.ops.mkldnn._reorder_linear_weight(wanted)
        return self._laid[back]

    def _marked(self) -> tuple[object, ...]:
        """What differs when a weight has changed: torch's counts, and some of the numbers, for `.data` is not counted."""
        counts = (0 if part.is_inference() else part._version for part in self._parts)
        return (self._some.tobytes(), *counts)


class _Times(Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, matrix: Matrix, plus: torch.Tensor | None) -> torch.Tensor:
        ctx.matrix, size = matrix, matrix.weight.shape[0]
        made = matrix.times(x.reshape(-1, x.shape[-1]), None if plus is None else plus.reshape(-1, size))
        return made.view(*x.shape[:-1], size)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        change = given[0]
        made = ctx.matrix.back(change.reshape(-1, change.shape[-1]))
        return made.view(*change.shape[:-1], made.shape[1]), None, change if ctx.needs_input_grad[2] else None


def times(x: torch.Tensor, matrix: Matrix, plus: torch.Tensor | None = None) -> torch.Tensor:
    """A frozen matrix's products, and what is to be added. Shape: x [..., I]; matrix [O, I]; plus and result [..., O]."""
    made: torch.Tensor = _Times.apply(x, matrix, plus)  # type: ignore[no-untyped-call]
    return made


def linears(part: nn.Module, *names: str) -> bool:
    """Whether these are plain frozen layers; an adapter's or a quantized one is of another type."""
    found = [getattr(part, name, None) for name in names]
    return all(type(one) is nn.Linear and not any(some.requires_grad for some in _weights(one)) for one in found)


def joined(part: Any, *names: str) -> Matrix:
    """These layers' weights and biases, each one after the other in one matrix, of which the layers' own are parts.

    Joined when first asked for, and anew where the layers' are no longer its parts, as in a copy of a model.
    """
    layers = [getattr(part, name) for name in names]
    found: Matrix | None = part.matrices.get(names)
    if found is None or not all(found.holds(layer.weight, layer.bias) for layer in layers):
        weight, bias = _one_matrix(layers, "weight"), None if layers[0].bias is None else _one_matrix(layers, "bias")
        found = part.matrices[names] = Matrix(weight, bias, [layer.weight for layer in layers], part.twice)
    return found


def _one_matrix(layers: list[Any], which: str) -> torch.Tensor:
    if len(layers) == 1:
        only: torch.Tensor = getattr(layers[0], which).data
        return only
    whole = torch.cat([getattr(layer, which).data for layer in layers])
    for layer, own in zip(layers, whole.split([layer.out_features for layer in layers]), strict=True):
        getattr(layer, which).data = own
    return whole


def _lies_in(part: torch.Tensor | None, whole: torch.Tensor | None) -> bool:
    if part is None or whole is None:
        return part is whole
    return part.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()


def _weights(layer: nn.Linear) -> list[torch.Tensor]:
    return [layer.weight] if layer.bias is None else [layer.weight, layer.bias]


def kept_twice(model: Any) -> bool:
    """Whether a model's matrices may be kept in copies too: it is small, and runs on a processor."""
    size = sum(one.nbytes for one in model.parameters())
    return bool(model.device.type == "cpu" and os.environ.get(VARIABLE) != "0" and size <= LARGEST)


@cache
def lays_out() -> bool:
    """Whether this torch can lay matrices out, and multiplies by them rightly; tried on numbers."""
    x, weight = torch.arange(192).view(3, 64).bfloat16() / 192, torch.arange(2048).view(32, 64).bfloat16() / 2048
    plus = torch.arange(96).view(3, 32).bfloat16()
    try:
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        laid = torch.ops.mkldnn._reorder_linear_weight(weight)
        both = [(_product(x, laid, None, some), x @ weight.T + (0 if some is None else some)) for some in (None, plus)]
    except (AttributeError, RuntimeError):
        return False
    return all(torch.allclose(ours, theirs, rtol=0.02) for ours, theirs in both)


def _product(
    x: torch.Tensor, laid: torch.Tensor, bias: torch.Tensor | None = None, plus: torch.Tensor | None = None
) -> torch.Tensor:
    made: torch.Tensor
    if plus is None:
        made = torch.ops.mkldnn._linear_pointwise(x, laid, bias, "none", [], "")
    else:
        made = torch.ops.mkldnn._linear_pointwise.binary(x, plus, laid, bias, "add")
    return made
