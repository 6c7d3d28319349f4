"""Loops in torch's own threads: each row once, whoever calls, and nothing held on to."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import inspect
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pegbox.backbone import fused_math, kernels, openmp

needs_them = pytest.mark.skipif(not openmp.FOUND, reason="this torch has no threads of OpenMP's")
both = np.random.default_rng(0).normal(size=(103, 64)).astype(np.float32)


@kernels.compiled
def count(low: int, high: int, made: Any) -> None:
    """Adds 1 to each of its rows."""
    for row in range(low, high):
        made[row] += 1


@kernels.compiled
def shared_count(threads: int, parts: int, rows: int, *given: Any) -> None:
    openmp.share_out(count, threads, parts, rows, given)


@needs_them
def test_no_part_is_done_twice() -> None:
    made = np.zeros(4096, np.int64)
    for _ in range(200):
        shared_count(4, 4096, 4096, made)
    assert set(made) == {200}


@needs_them
def test_all_of_torchs_threads_take_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that a smaller team leaves out would be ended, and begun again for the next product."""
    asked = []
    monkeypatch.setattr(kernels, "SHARED", {kernels.gate: lambda *given: asked.append(given[:3])})
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    made = torch.empty(3, 1 << 15)
    fused_math._spread(kernels.gate, 3, made.numel(), torch.empty(3, 1 << 16), made)
    assert asked == [(8, 3, 3)]


def test_kept_functions_are_old_when_the_sharing_changes() -> None:
    """numba goes by the file that a function stands in: `kernels` has to change with this one."""
    digest = hashlib.sha256(Path(openmp.__file__).read_bytes()).hexdigest()
    assert digest.startswith(kernels.SHARING), f"write {digest[:16]} into kernels.SHARING"


def wanted() -> np.ndarray:
    made = np.zeros((103, 32), np.float32)
    kernels.gate(0, 103, both, made)
    return made


@needs_them
def test_every_loop_can_be_shared() -> None:
    loops = [
        one
        for _, one in inspect.getmembers(kernels)
        if hasattr(one, "py_func") and next(iter(inspect.signature(one.py_func).parameters)) == "low"
    ]
    assert len(loops) == 8
    assert set(kernels.SHARED) == set(loops)


@needs_them
@pytest.mark.parametrize(("threads", "parts"), [(1, 1), (2, 3), (3, 12), (5, 103), (2, 200)])
def test_each_part_is_done(threads: int, parts: int) -> None:
    made = np.full((103, 32), np.nan, np.float32)
    kernels.SHARED[kernels.gate](threads, parts, 103, both, made)
    np.testing.assert_array_equal(made, wanted())


@needs_them
def test_it_may_be_called_from_many_threads_at_once() -> None:
    def once(_: int) -> np.ndarray:
        made = np.zeros((103, 32), np.float32)
        for _ in range(20):
            made[:] = np.nan
            kernels.SHARED[kernels.gate](2, 8, 103, both, made)
        return made

    with ThreadPoolExecutor(4) as many:
        for made in many.map(once, range(8)):
            np.testing.assert_array_equal(made, wanted())


@needs_them
def test_arrays_are_neither_kept_nor_given_up_early() -> None:
    made = np.zeros((103, 32), np.float32)
    before = sys.getrefcount(both), sys.getrefcount(made)
    for _ in range(50):
        kernels.SHARED[kernels.gate](2, 8, 103, both, made)
    gc.collect()
    assert (sys.getrefcount(both), sys.getrefcount(made)) == before
    np.testing.assert_array_equal(made, wanted())


def test_without_a_way_to_start_torchs_threads_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openmp, "_START", "no_such_function")
    assert not openmp._found()

    def cannot(_: str) -> None:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", cannot)
    assert not openmp._found()
