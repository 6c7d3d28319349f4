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


def take_turns(
    part: str, unit: str, dtype: str, contestants: Sequence[Contestant], repeats: int, at_least: float = 0.0
) -> list[Figure]:
    """Everybody once untimed, then `repeats` rounds.

    Settings:
        at_least: seconds of a turn, where runs follow each other as training steps do: its figure is their mean. A short run
            just after somebody else's long one would also pay for what that one did to the memory.
    """
    print(f"\n{part} ({dtype})", flush=True)
    seconds: dict[str, list[float]] = {one.name: [] for one in contestants}
    for turn in range(-1, repeats):
        for one in contestants:
            took = _timed(one, turn, at_least)
            print(f"  {'warm-up' if turn < 0 else turn + 1}: {one.name}: {took:.3f} s", flush=True)
            if turn >= 0:
                seconds[one.name].append(took)
    return [
        Figure(part, one.name, dtype, tuple(seconds[one.name]), one.units, unit, one.flops, one.note) for one in contestants
    ]


def _timed(one: Contestant, turn: int, at_least: float) -> float:
    one.ready()
    gc.collect()
    runs, took, began = 0, 0.0, time.perf_counter()
    while not runs or took < at_least:
        one.run(turn)
        runs, took = runs + 1, time.perf_counter() - began
    return took / runs
