"""Contestants take turns, A B C A B C, so that a machine that grows slower does so for all of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.figures import Figure


@dataclass(frozen=True)
class Contestant:
    """Somebody who does a job; the settings are those of `Figure`.

    Settings:
        run: does it once, given the number of the turn; -1 is the one that is not timed.
        ready: what must be done before each turn, untimed.
    """

    name: str
    run: Callable[[int], object]
    units: float = 1.0
    flops: float = 0.0
    note: str = ""
    ready: Callable[[], object] = lambda: None


def take_turns(part: str, unit: str, dtype: str, contestants: Sequence[Contestant], repeats: int) -> list[Figure]:
    """Everybody once untimed, then `repeats` rounds."""
    print(f"\n{part} ({dtype})", flush=True)
    seconds: dict[str, list[float]] = {one.name: [] for one in contestants}
    for turn in range(-1, repeats):
        for one in contestants:
            took = _timed(one, turn)
            print(f"  {'warm-up' if turn < 0 else turn + 1}: {one.name}: {took:.3f} s", flush=True)
            if turn >= 0:
                seconds[one.name].append(took)
    return [
        Figure(part, one.name, dtype, tuple(seconds[one.name]), one.units, unit, one.flops, one.note) for one in contestants
    ]


def _timed(one: Contestant, turn: int) -> float:
    one.ready()
    gc.collect()
    began = time.perf_counter()
    one.run(turn)
    return time.perf_counter() - began
