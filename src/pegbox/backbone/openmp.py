"""Compiled loops whose rows are shared by torch's own OpenMP threads.

Those wait for work at full speed for a while, so threads of another pool would have to push them off their processors first:
measured, a loop then took longer on two processors than on one.

Compiled functions are kept from process to process until the file changes that they stand in, which is `kernels`: it names this
file's digest.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import torch
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_START = "GOMP_parallel"
"""Runs a function in as many threads as are asked for (GNU's OpenMP; others offer it too)."""
_PTR, _INT, _LONG = ir.IntType(8).as_pointer(), ir.IntType(32), ir.IntType(64)


def _found() -> bool:
    """Makes the function that starts torch's threads known to the compiler; whether torch has one."""
    try:
        start = getattr(ctypes.CDLL(torch._C.__file__), _START)
    except (AttributeError, OSError):
        return False
    binding.add_symbol(_START, ctypes.cast(start, ctypes.c_void_p).value)
    return True


utils: Any = cgutils
FOUND = _found()
"""Whether torch's threads can be used; without them nothing that shares its loop may be called."""


def _shared_out(typing: Any, loop: Any, _threads: Any, _parts: Any, _rows: Any, given: Any) -> Any:
    """Compiles a call of `loop(low, high, *given)` for each part of the rows, by whichever thread comes first."""
    wanted = loop.get_call_type(typing, (types.int64, types.int64, *given.types), {})

    def made(context: Any, build: Any, _: Any, values: Any) -> Any:
        compiled = loop.dispatcher.overloads[wanted.args]
        context.active_code_library.add_linking_library(compiled.library)
        state = ir.LiteralStructType([_LONG, _LONG, _LONG, context.get_value_type(given)])
        shared = utils.alloca_once(build, state)
        for at, value in enumerate((ir.Constant(_LONG, 0), *values[2:])):
            build.store(value, utils.gep_inbounds(build, shared, 0, at))
        each = ir.Function(build.module, ir.FunctionType(ir.VoidType(), [_PTR]), build.module.get_unique_name("pegbox.each"))
        each.linkage = "internal"

        def call(inner: Any, low: Any, high: Any, held: Any) -> None:
            args = [low, high, *(_not_owned(context, inner, *one) for one in zip(given.types, held, strict=True))]
            function = context.declare_function(build.module, compiled.fndesc)
            context.call_conv.call_function(inner, function, wanted.return_type, wanted.args, args)

        _write(each, state, call)
        kind = ir.FunctionType(ir.VoidType(), [each.type, _PTR, _INT, _INT])
        start = utils.get_or_insert_function(build.module, kind, _START)
        build.call(start, [each, build.bitcast(shared, _PTR), build.trunc(values[1], _INT), ir.Constant(_INT, 0)])
        return context.get_dummy_value()

    return types.void(loop, types.int64, types.int64, types.int64, given), made


def _not_owned(context: Any, build: Any, kind: Any, value: Any) -> Any:
    """An array whose references are not counted: the counts would be written by all threads at once, for every slice."""
    if not isinstance(kind, types.Array):
        return value
    array = context.make_array(kind)(context, build, value)
    array.meminfo = ir.Constant(array.meminfo.type, None)
    return array._getvalue()


def _write(each: Any, state: Any, call: Callable[..., None]) -> None:
    """Writes what each thread does: takes the next part, calls, and ends where there is none."""
    first, more, part, end = (each.append_basic_block(name) for name in ("first", "more", "part", "end"))
    build, one = ir.IRBuilder(first), ir.Constant(_LONG, 1)
    shared = build.bitcast(each.args[0], state.as_pointer())
    taken, *held = (utils.gep_inbounds(build, shared, 0, at) for at in range(4))
    parts, rows, given = (build.load(place) for place in held)
    given = utils.unpack_tuple(build, given)
    build.branch(more)
    build.position_at_end(more)
    at = build.atomic_rmw("add", taken, one, "monotonic")
    build.cbranch(build.icmp_signed("<", at, parts), part, end)
    build.position_at_end(part)
    low, high = (build.sdiv(build.mul(rows, edge), parts) for edge in (at, build.add(at, one)))
    call(build, low, high, given)
    build.branch(more)
    build.position_at_end(end)
    build.ret_void()


share_out: Any = intrinsic(_shared_out)
"""`share_out(loop, threads, parts, rows, given)`, called in a compiled function: runs `loop(low, high, *given)` over all rows,
part by part, in so many of torch's threads."""
