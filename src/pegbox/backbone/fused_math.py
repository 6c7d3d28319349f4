"""A frozen layer's parts as differentiable functions whose way there and back is a few products and a few compiled loops.

No gradient is formed for weights, nor for kept keys and values that do not ask for one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
from torch.autograd.function import Function, once_differentiable

from pegbox.backbone import kernels, openmp
from pegbox.backbone.attention import Seen
from pegbox.backbone.matrices import Matrix

_ALONE = 1 << 15
"""Numbers that one thread works through before another one could have begun."""
_PARTS = 4
"""For each thread, so that one that begins late does less."""


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "pegbox-loops")


def _spread(loop: Callable[..., None], rows: int, numbers: int, *given: Any) -> None:
    """Runs a loop over so many rows, shared by as many threads as torch uses.

    Settings:
        numbers: that it works through.
    """
    given = tuple(_array(some) if isinstance(some, torch.Tensor) else some for some in given)
    threads = torch.get_num_threads()
    wanted = min(threads, rows, numbers // _ALONE)
    if wanted <= 1:
        loop(0, rows, *given)
    elif openmp.FOUND:  # all threads, though some find nothing to do: those that a smaller team leaves out are ended
        kernels.SHARED[loop](threads, min(rows, _PARTS * wanted), rows, *given)
    else:
        _spread_by_pool(loop, rows, wanted, given)


def _spread_by_pool(loop: Callable[..., None], rows: int, parts: int, given: tuple[Any, ...]) -> None:
    ends = [rows * part // parts for part in range(parts + 1)]
    others = [_pool().submit(loop, ends[part], ends[part + 1], *given) for part in range(1, parts)]
    loop(0, ends[1], *given)
    for other in others:
        other.result()


def _array(tensor: torch.Tensor) -> Any:
    """A tensor's numbers; bfloat16 as its bits."""
    tensor = tensor.contiguous()
    return tensor.view(torch.uint16).numpy() if tensor.dtype == torch.bfloat16 else tensor.detach().numpy()


def _flat(*tensors: torch.Tensor) -> list[torch.Tensor]:
    return [tensor.reshape(-1) for tensor in tensors]


class _Norm(Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
        flat = x.contiguous().view(-1, x.shape[-1])
        made, scales = torch.empty_like(flat), torch.empty(len(flat))
        _spread(kernels.norm, len(flat), flat.numel(), flat, weight, epsilon, made, scales)
        ctx.save_for_backward(flat, weight, scales)
        ctx.set_materialize_grads(False)
        return made.view(x.shape), x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        change, beside = given
        if change is None:
            return beside, None, None
        flat, weight, scales = ctx.saved_tensors
        made = torch.empty_like(flat)
        more = flat.new_empty(0, 0) if beside is None else beside.reshape(flat.shape)
        _spread(kernels.norm_back, len(flat), flat.numel(), flat, weight, scales, change.reshape(flat.shape), more, made)
        return made.view(change.shape), None, None


class _Gated(Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, into: Matrix, back: Matrix, plus: torch.Tensor | None) -> torch.Tensor:
        both = into.times(x.reshape(-1, x.shape[-1]))
        made = both.new_empty(len(both), both.shape[1] // 2)
        _spread(kernels.gate, len(both), made.numel(), both, made)
        ctx.save_for_backward(both)
        ctx.matrices = into, back
        return back.times(made, None if plus is None else plus.reshape(-1, plus.shape[-1])).view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (both,), (into, back) = ctx.saved_tensors, ctx.matrices
        change = back.back(given[0].reshape(-1, given[0].shape[-1]))
        made = change.new_empty(2, *change.shape)
        _spread(kernels.gate_back, len(both), change.numel(), both, change, *made)
        return into.back_in_parts(made).view(given[0].shape), None, None, given[0] if ctx.needs_input_grad[3] else None


class _Turned(Function):
    @staticmethod
    def forward(
        ctx: Any, packed: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, heads: int, groups: int, branches: int
    ) -> tuple[torch.Tensor, ...]:
        rows, width, size = packed.shape[0], packed.shape[1], cos.shape[-1]
        query = packed.new_empty(rows, groups, branches, heads // groups, width // branches, size)
        key, value = packed.new_empty(rows, groups, width, size), packed.new_empty(rows, groups, width, size)
        ctx.sizes = (len(cos), groups, branches, heads // groups, width // branches, size)
        _spread(kernels.turn, rows, packed.numel(), ctx.sizes, *_flat(packed, cos, sin, query, key, value))
        ctx.save_for_backward(cos, sin)
        ctx.shape = packed.shape
        return query, key, value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        made = given[0].new_empty(ctx.shape)
        other = -sin.roll(sin.shape[-1] // 2, dims=-1)
        _spread(kernels.turn_back, len(made), made.numel(), ctx.sizes, *_flat(made, cos, other, *given))
        return made, None, None, None, None, None


class _Attended(Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        old_keys: torch.Tensor,
        old_values: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        seen: Seen,
        scale: float,
        frozen: int,
    ) -> torch.Tensor:
        rows, groups, branches, copies, each, size = query.shape
        past, branched = old_keys.shape[2], (rows * groups * branches, -1, size)
        old_keys, old_values = (old.reshape(rows * groups, past, size) for old in (old_keys, old_values))
        keys, values, query = (new.reshape(branched) for new in (keys, values, query))
        whole = query.view(rows * groups, -1, size)
        old = torch.bmm(whole, old_keys.transpose(1, 2)) if past else query.new_empty(*whole.shape[:2], 0)
        new = torch.bmm(query, keys.transpose(1, 2))
        nothing = torch.empty(0, 0, 0, dtype=torch.uint8)
        masks = [nothing if some is None else some for some in (seen.old if past else None, seen.new)]
        lines = (rows, groups * branches * copies * each, -1)
        sides = (old.view(*lines[:2], past), new.view(lines))
        _spread(kernels.share, rows, old.numel() + new.numel(), *sides, *masks, scale)
        made = torch.bmm(new, values)
        if past:
            made.view(whole.shape).baddbmm_(old, old_values)
        ctx.save_for_backward(query, old_keys, old_values, keys, values, old, new)
        ctx.frozen, ctx.scale, ctx.shape, ctx.lines = frozen, scale, (rows, groups, branches, copies, each, size), lines[:2]
        return made.view(ctx.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, old_keys, old_values, keys, values, old, new = ctx.saved_tensors
        rows, groups, past = ctx.shape[0], ctx.shape[1], old_keys.shape[1]
        change = given[0].reshape(query.shape)
        whole, of_whole = query.view(rows * groups, -1, query.shape[2]), change.view(rows * groups, -1, query.shape[2])
        of_new = torch.bmm(change, values.transpose(1, 2))
        of_old = torch.bmm(of_whole, old_values.transpose(1, 2)) if past else torch.empty_like(old)
        sides = [part.view(*ctx.lines, part.shape[-1]) for part in (old, new, of_old, of_new)]
        _spread(kernels.share_back, rows, old.numel() + new.numel(), *sides, ctx.scale)
        of_query = torch.bmm(of_new, keys)
        found: list[torch.Tensor | None] = [None, None]
        if past:
            of_query.view(whole.shape).baddbmm_(of_old, old_keys)
            pairs = zip((of_old, old), (whole, of_whole), ctx.needs_input_grad[1:3], strict=True)
            found = [_of_past(part, other, ctx.frozen, rows) if wanted else None for part, other, wanted in pairs]
        of_keys, of_values = torch.bmm(of_new.transpose(1, 2), query), torch.bmm(new.transpose(1, 2), change)
        width = (rows, groups, -1, query.shape[2])
        return of_query.view(ctx.shape), *found, of_keys.view(width), of_values.view(width), None, None, None


def _of_past(shares: torch.Tensor, by: torch.Tensor, frozen: int, rows: int) -> torch.Tensor:
    """The gradient of kept keys or values, 0 where they are frozen.

    Shape: shares [N groups, ..., P]; by [N groups, ..., D]; result [N, groups, P, D].
    """
    made = by.new_zeros(len(by), shares.shape[-1], by.shape[-1])
    made[:, frozen:] = torch.bmm(shares[..., frozen:].transpose(1, 2), by)
    return made.view(rows, -1, *made.shape[1:])


def norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Root mean square norm of the last index, times a frozen weight [H]. Shape: [..., H] to the same."""
    return norm_beside(x, weight, epsilon)[0]


def norm_beside(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The norm, and x itself: whoever goes on with both gets their gradients added in one loop. Shape: as for `norm`."""
    made: tuple[torch.Tensor, torch.Tensor] = _Norm.apply(x, weight, epsilon)  # type: ignore[no-untyped-call]
    return made


def gated(x: torch.Tensor, into: Matrix, back: Matrix, plus: torch.Tensor | None = None) -> torch.Tensor:
    """A frozen feed-forward part with a silu gate, and what is to be added.

    Shape: x [..., H]; into [2 I, H], the gate's rows first; back [H, I]; plus and result [..., H].
    """
    made: torch.Tensor = _Gated.apply(x, into, back, plus)  # type: ignore[no-untyped-call]
    return made


def turned(
    packed: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, heads: int, groups: int, branches: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys and values, the first two turned by their place.

    Shape: packed [N, T, (heads + 2 groups) D]; cos, sin [N or 1, T, D]; queries [N, groups, branches, heads / groups,
        T / branches, D]; keys, values [N, groups, T, D].
    """
    query, key, value = _Turned.apply(packed, cos, sin, heads, groups, branches)  # type: ignore[no-untyped-call]
    return query, key, value


def attended(
    query: torch.Tensor,
    old: tuple[torch.Tensor, torch.Tensor],
    new: tuple[torch.Tensor, torch.Tensor],
    seen: Seen,
    scale: float,
    frozen: int = 0,
) -> torch.Tensor:
    """Scaled dot-product attention over kept keys and values, and over those of the own branch.

    Settings:
        frozen: for how many of the first kept ones no gradient is formed.

    Shape: query [N, groups, branches, heads / groups, T / branches, D]; old twice [N, groups, P, D]; new twice [N, groups, T,
        D]; result [N, T, heads D].
    """
    made: torch.Tensor = _Attended.apply(query, *old, *new, seen, scale, frozen)  # type: ignore[no-untyped-call]
    rows, groups, branches, copies, each, size = query.shape
    return made.permute(0, 2, 4, 1, 3, 5).reshape(rows, branches * each, groups * copies * size)
