"""What was measured, and the plain arithmetic on it. No heavy imports, so that it can be tested alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One contestant's times in one part.

    Settings:
        part: what was measured.
        name: who did it.
        dtype: in which number type.
        seconds: of each repeat.
        units: how much one repeat does (steps, rows, candidates x rows).
        unit: what these are called.
        flops: multiplications and additions that one repeat cannot do without; 0 where that was not worked out.
        note: what a reader should know.
    """

    part: str
    name: str
    dtype: str
    seconds: tuple[float, ...]
    units: float = 1.0
    unit: str = "step"
    flops: float = 0.0
    note: str = ""

    @property
    def median(self) -> float:
        """Seconds of the repeat in the middle."""
        return statistics.median(self.seconds)

    @property
    def each(self) -> float:
        """Seconds for one unit."""
        return self.median / self.units

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.units / self.median

    @property
    def spread(self) -> tuple[float, float]:
        """Seconds for one unit in the quickest and in the slowest repeat."""
        return min(self.seconds) / self.units, max(self.seconds) / self.units

    def share(self, gflops: float | None) -> float | None:
        """Which share of the time the necessary products alone would take, at so many GFLOP/s."""
        return self.flops / (gflops * 1e9) / self.median if self.flops and gflops else None

    def record(self, gflops: float | None) -> dict[str, Any]:
        """As it is written to the results."""
        low, high = self.spread
        worked_out = {"median": self.each, "min": low, "max": high, "rate": self.rate, "share_of_floor": self.share(gflops)}
        return asdict(self) | worked_out


def find(figures: Iterable[Figure], part: str, name: str, dtype: str) -> Figure | None:
    """One figure, if it was measured."""
    return next((f for f in figures if (f.part, f.name, f.dtype) == (part, name, dtype)), None)


def times_faster(ours: Figure | None, theirs: Figure | None) -> float | None:
    """How many times less ours takes for one unit; None where one of the two was not measured."""
    return None if ours is None or theirs is None else theirs.each / ours.each


def joint_rate(flops: Sequence[float], seconds: Sequence[float]) -> float:
    """GFLOP/s of products that are done one after the other."""
    return sum(flops) / sum(seconds) / 1e9


def size(value: float) -> str:
    """A number with three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 1 else f"{value:.2g}"


def versions_line(versions: Mapping[str, str]) -> str:
    """Names and versions in one line."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())
