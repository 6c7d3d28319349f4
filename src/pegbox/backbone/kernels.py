"""Loops over a frozen layer's numbers that torch would run as many small ones: compiled by numba, in float32 inside.

bfloat16 comes as its bits (uint16); what is loaded is widened, what is stored is rounded to the nearest. All arrays are
contiguous. Each loop works on the first index from `low` to `high`, so that threads can share it (see `SHARED`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.extending import intrinsic

from pegbox.backbone.openmp import share_out

COMPILED = not getattr(config, "DISABLE_JIT", 0)
"""Whether these are loops of the machine's, and not of Python's, which some switch on to look for errors."""
SHARING = "e6a894bc26394d17"
"""The digest of openmp.py as it is compiled in here. With it this file changes, by which kept functions are found to be old."""
_f = np.float32
_EXACT = ("reassoc", "contract", "nsz", "arcp")
"""What the compiler may do with sums, so that they run side by side; numbers that are none stay none."""
_LOWEST = _f(-1e30)
_SIDE = 16
"""Numbers that are worked on side by side."""


def _widened(_: Any, number: Any) -> Any:  # numba looks at the names
    def made(_context: Any, build: Any, _signature: Any, given: Any) -> Any:
        if number != types.uint16:
            return given[0]
        return build.bitcast(build.shl(build.zext(given[0], _BITS), ir.Constant(_BITS, 16)), ir.FloatType())

    return types.float32(number), made


def _rounded(_: Any, number: Any, like: Any) -> Any:  # noqa: ARG001
    def made(_context: Any, build: Any, _signature: Any, given: Any) -> Any:
        if like != types.uint16:
            return given[0]
        bits, half = build.bitcast(given[0], _BITS), ir.Constant(_BITS, 16)
        odd = build.and_(build.lshr(bits, half), ir.Constant(_BITS, 1))
        up = build.add(build.add(bits, ir.Constant(_BITS, 0x7FFF)), odd)
        return build.trunc(build.lshr(up, half), ir.IntType(16))

    return like(types.float32, like), made


def _power(_: Any, exponent: Any) -> Any:  # noqa: ARG001
    def made(_context: Any, build: Any, _signature: Any, given: Any) -> Any:
        return build.bitcast(build.shl(build.add(given[0], ir.Constant(_BITS, 127)), ir.Constant(_BITS, 23)), ir.FloatType())

    return types.float32(types.int32), made


_BITS = ir.IntType(32)
_load: Any = intrinsic(_widened)
"""A stored number in float32."""
_stored: Any = intrinsic(_rounded)
"""A float32 as the number `like` is stored."""
_two_to: Any = intrinsic(_power)
"""2 to a power that is a whole number, from -126 to 127."""


def compiled(function: Any) -> Any:
    """A function as a loop of the machine's, which other threads of Python's can run beside."""
    how: dict[str, Any] = {"nogil": True, "fastmath": set(_EXACT), "error_model": "numpy", "boundscheck": False}
    try:
        return njit(function, cache=True, **how)
    except RuntimeError:  # no folder that can be written to: compiled anew in every process
        return njit(function, **how)


def _part(function: Any) -> Any:
    return njit(function, inline="always", fastmath=set(_EXACT), error_model="numpy", boundscheck=False)


@_part
def _exp(x: Any) -> Any:
    """e^x to the last bits of a float32: a power of two, and a polynomial within half a step of it (Cephes' coefficients).

    0 where it would be near the least number there is: processors are slow with numbers below that.
    """
    tiny = x < _f(-80.0)
    x = _f(-80.0) if tiny else x
    x = _f(88.0) if x > _f(88.0) else x
    n = np.floor(x * _f(1.44269504) + _f(0.5))
    r = x - n * _f(0.693359375) + n * _f(2.12194440e-4)
    p = _f(1.9875691500e-4)
    p = p * r + _f(1.3981999507e-3)
    p = p * r + _f(8.3334519073e-3)
    p = p * r + _f(4.1665795894e-2)
    p = p * r + _f(1.6666665459e-1)
    p = p * r + _f(5.0000001201e-1)
    p = p * r * r + r + _f(1.0)
    p = _f(0.0) if tiny else p
    return p * _two_to(np.int32(n))


@compiled
def norm(low: int, high: int, x: Any, weight: Any, epsilon: float, made: Any, scales: Any) -> None:
    """Root mean square norm. Shape: x, made [R, H]; weight [H]; scales [R], float32: what each row was multiplied by."""
    width = x.shape[1]
    for row in range(low, high):
        total = _f(0)
        for at in range(width):
            value = _load(x[row, at])
            total += value * value
        scale = _f(1) / np.sqrt(total / _f(width) + _f(epsilon))
        scales[row] = scale
        for at in range(width):
            made[row, at] = _stored(_load(x[row, at]) * scale * _load(weight[at]), made[row, at])


@compiled
def norm_back(low: int, high: int, x: Any, weight: Any, scales: Any, given: Any, beside: Any, made: Any) -> None:
    """The gradient of `norm` towards x, and what is to be added. Shape: x, given, made, beside [R, H]; beside may be empty.

    Settings:
        given: the gradient towards the result.
    """
    width = x.shape[1]
    for row in range(low, high):
        total = _f(0)
        for at in range(width):
            total += _load(x[row, at]) * _load(weight[at]) * _load(given[row, at])
        scale = scales[row]
        pull = total * scale * scale * scale / _f(width)
        if beside.size:
            for at in range(width):
                value = _load(given[row, at]) * _load(weight[at]) * scale - _load(x[row, at]) * pull
                made[row, at] = _stored(value + _load(beside[row, at]), made[row, at])
        else:
            for at in range(width):
                value = _load(given[row, at]) * _load(weight[at]) * scale - _load(x[row, at]) * pull
                made[row, at] = _stored(value, made[row, at])


@compiled
def gate(low: int, high: int, both: Any, made: Any) -> None:
    """silu(first half) * second half. Shape: both [R, 2 I]; made [R, I]."""
    width = made.shape[1]
    for row in range(low, high):
        for at in range(width):
            first = _load(both[row, at])
            share = _f(1) / (_f(1) + _exp(-first))
            made[row, at] = _stored(first * share * _load(both[row, width + at]), made[row, at])


@compiled
def gate_back(low: int, high: int, both: Any, given: Any, of_first: Any, of_second: Any) -> None:
    """The gradient of `gate` towards either half. Shape: both [R, 2 I]; given, of_first, of_second [R, I]."""
    width = given.shape[1]
    for row in range(low, high):
        for at in range(width):
            first, second, change = _load(both[row, at]), _load(both[row, width + at]), _load(given[row, at])
            share = _f(1) / (_f(1) + _exp(-first))
            of_second[row, at] = _stored(change * first * share, of_second[row, at])
            of_first[row, at] = _stored(change * second * share * (_f(1) + first * (_f(1) - share)), of_first[row, at])


@_part
def _turn_one(given: Any, start: int, cos: Any, sin: Any, of: int, made: Any, at: int, size: int) -> None:
    """One head's numbers at one place, turned: from `start` on in `given`, by the angles from `of` on, to `at` on in `made`."""
    half = size // 2
    first, second, made_first, made_second = (
        given[start : start + half],
        given[start + half : start + size],
        made[at : at + half],
        made[at + half : at + size],
    )
    cosines, sines, later_cosines, later_sines = (
        cos[of : of + half],
        sin[of : of + half],
        cos[of + half : of + size],
        sin[of + half : of + size],
    )
    for n in range(half):
        a, b = _load(first[n]), _load(second[n])
        made_first[n] = _stored(a * _load(cosines[n]) - b * _load(sines[n]), made_first[n])
        made_second[n] = _stored(b * _load(later_cosines[n]) + a * _load(later_sines[n]), made_first[n])


def _turning(back: bool) -> Any:
    """`turn`, or the other way: known when it is compiled, since a question inside would make it four times slower."""

    def turn(low: int, high: int, sizes: Any, packed: Any, cos: Any, sin: Any, query: Any, key: Any, value: Any) -> None:
        angles, groups, branches, copies, each, size = sizes
        width = branches * each
        for row in range(low, high):
            for place in range(width):
                start, of = (row * width + place) * groups * (copies + 2) * size, (min(row, angles - 1) * width + place) * size
                branch, step = place // each, place % each
                for group in range(groups):
                    for copy in range(copies):
                        at = ((((row * groups + group) * branches + branch) * copies + copy) * each + step) * size
                        own = start + (group * copies + copy) * size
                        if back:
                            _turn_one(query, at, cos, sin, of, packed, own, size)
                        else:
                            _turn_one(packed, own, cos, sin, of, query, at, size)
                    at, own = ((row * groups + group) * width + place) * size, start + (groups * copies + group) * size
                    last = own + groups * size
                    if back:
                        _turn_one(key, at, cos, sin, of, packed, own, size)
                        packed[last : last + size] = value[at : at + size]
                    else:
                        _turn_one(packed, own, cos, sin, of, key, at, size)
                        value[at : at + size] = packed[last : last + size]

    return compiled(turn)


turn: Any = _turning(back=False)
"""Parts each position's queries, keys and values, and turns the first two by their place (rotary embedding).

Settings:
    sizes: rows of angles; G, B, C, T / B, D.

Shape, all of them laid out flat: packed [N, T, (G C + 2 G) D]; cos, sin [N or 1, T, D]; query [N, G, B, C, T / B, D];
key, value [N, G, T, D].
"""
turn_back: Any = _turning(back=True)
"""The other way: turns queries and keys, and puts all together. It gives the gradient of `turn` where the halves of `sin` are
changed for each other and their signs turned.
"""


@_part
def _shares(blocks: Any, lanes: Any) -> Any:
    """e^(number - the largest one), in the numbers' place; returns 1 / their sum. Shape: blocks [any, _SIDE]; lanes [_SIDE]."""
    for lane in range(_SIDE):
        lanes[lane] = blocks[0, lane]
    for block in range(1, len(blocks)):
        for lane in range(_SIDE):
            lanes[lane] = blocks[block, lane] if blocks[block, lane] > lanes[lane] else lanes[lane]
    most = lanes[0]
    for lane in range(_SIDE):
        most = lanes[lane] if lanes[lane] > most else most
        lanes[lane] = _f(0)
    for block in range(len(blocks)):
        for lane in range(_SIDE):
            blocks[block, lane] = _exp(blocks[block, lane] - most)
            lanes[lane] += blocks[block, lane]
    return _f(1) / lanes.sum()


@_part
def _hide(scores: Any, past: int, width: int, row: int, step: int, old_seen: Any, new_seen: Any) -> None:
    """Makes the scores of what a new position does not see the lowest. Settings and shapes as for `share`."""
    if old_seen.size:
        of, when = min(row, old_seen.shape[0] - 1), min(step, old_seen.shape[1] - 1)
        for n in range(past):
            scores[n] = scores[n] if old_seen[of, when, n] else _LOWEST
    if new_seen.size:
        of = min(row, new_seen.shape[0] - 1)
        for n in range(width):
            scores[past + n] = scores[past + n] if new_seen[of, step, n] else _LOWEST
    else:
        for n in range(step + 1, width):
            scores[past + n] = _LOWEST


@compiled
def share(low: int, high: int, old: Any, new: Any, old_seen: Any, new_seen: Any, scale: float) -> None:
    """Softmax of attention scores over what is kept and what is new, in the scores' place.

    Settings:
        old_seen, new_seen: nought where a position is not seen; of no length: all that is kept is seen, and of what is new
            all up to the position itself.

    Shape: old [N, G B C T', P]; new [N, G B C T', T']; old_seen [N or 1, T' or 1, P]; new_seen [N or 1, T', T'].
    """
    past, width = old.shape[2], new.shape[2]
    blocks = np.full(((past + width + _SIDE - 1) // _SIDE, _SIDE), _LOWEST, np.float32)
    scores, lanes = blocks.reshape(-1), np.empty(_SIDE, np.float32)
    for row in range(low, high):
        back, own = old[row], new[row]
        for line in range(len(own)):
            step = line % width
            for n in range(past):
                scores[n] = _load(back[line, n]) * _f(scale)
            for n in range(width):
                scores[past + n] = _load(own[line, n]) * _f(scale)
            _hide(scores, past, width, row, step, old_seen, new_seen)
            whole = _shares(blocks, lanes)
            for n in range(past):
                back[line, n] = _stored(scores[n] * whole, back[line, n])
            for n in range(width):
                own[line, n] = _stored(scores[past + n] * whole, own[line, n])
            scores[past + width :] = _LOWEST


@compiled
def share_back(low: int, high: int, old: Any, new: Any, old_given: Any, new_given: Any, scale: float) -> None:
    """The gradient of `share` towards the scores, in the place of those given towards the shares. Shapes as there."""
    past, width = old.shape[2], new.shape[2]
    for row in range(low, high):
        back, own, of_back, of_own = old[row], new[row], old_given[row], new_given[row]
        for line in range(len(own)):
            total = _f(0)
            for n in range(past):
                total += _load(back[line, n]) * _load(of_back[line, n])
            for n in range(width):
                total += _load(own[line, n]) * _load(of_own[line, n])
            for n in range(past):
                change = (_load(of_back[line, n]) - total) * _f(scale)
                of_back[line, n] = _stored(_load(back[line, n]) * change, back[line, n])
            for n in range(width):
                change = (_load(of_own[line, n]) - total) * _f(scale)
                of_own[line, n] = _stored(_load(own[line, n]) * change, own[line, n])


@compiled
def _shared_norm(threads: int, parts: int, rows: int, *given: Any) -> None:
    share_out(norm, threads, parts, rows, given)


@compiled
def _shared_norm_back(threads: int, parts: int, rows: int, *given: Any) -> None:
    share_out(norm_back, threads, parts, rows, given)


@compiled
def _shared_gate(threads: int, parts: int, rows: int, *given: Any) -> None:
    share_out(gate, threads, parts, rows, given)


@compiled
def _shared_gate_back(threads: int, parts: int, rows: int, *given: Any) -> None:
    share_out(gate_back, threads, parts, rows, given)


@compiled
def _shared_turn(threads: int, parts: int, rows: int, *given: Any) -> None:
    share_out(turn, threads, parts, rows, given)


@compiled
def _shared_turn_back(threads: int, parts: int, rows: int, *given: Any) -> None:
    share_out(turn_back, threads, parts, rows, given)


@compiled
def _shared_share(threads: int, parts: int, rows: int, *given: Any) -> None:
    share_out(share, threads, parts, rows, given)


@compiled
def _shared_share_back(threads: int, parts: int, rows: int, *given: Any) -> None:
    share_out(share_back, threads, parts, rows, given)


SHARED = {
    norm: _shared_norm,
    norm_back: _shared_norm_back,
    gate: _shared_gate,
    gate_back: _shared_gate_back,
    turn: _shared_turn,
    turn_back: _shared_turn_back,
    share: _shared_share,
    share_back: _shared_share_back,
}
"""Each loop, and the one that is shared: called with the number of threads, of parts and of rows, and what the loop is given.

They are written out, each by itself and beside the loops, because a compiled function is kept for the next process under its
place in a file, and until that file changes.
"""
