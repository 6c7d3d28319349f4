"""Where the measurements are written, and what is told of the machine."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.bars import Bar, bars
from bench.figures import Figure, size, versions_line
from bench.tables import bar_table, figure_tables

FOLDER = Path(__file__).parent
PACKAGES = ("torch", "transformers", "peft", "promptolution", "dspy")


@dataclass
class Results:
    """All that was measured so far; written anew after each part, so that a stop loses one part at most."""

    command: str
    threads: int
    repeats: int
    folder: Path = FOLDER
    rates: dict[str, dict[int, float]] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    measured: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def floor(self) -> dict[str, float]:
        """GFLOP/s by number type: the better of the two heights, so that no share is flattered."""
        return {dtype: max(found.values()) for dtype, found in self.rates.items()}

    @property
    def bars(self) -> list[Bar]:
        return bars(self.figures, self.floor, self.measured)

    def write(self) -> None:
        """results.json and results.md."""
        text = json.dumps(self._record(), indent=1, ensure_ascii=False)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "results.json").write_text(text + "\n", encoding="utf-8")
        (self.folder / "results.md").write_text(self.markdown() + "\n", encoding="utf-8")

    def _record(self) -> dict[str, Any]:
        return {
            "command": self.command,
            "machine": machine(),
            "threads": self.threads,
            "repeats": self.repeats,
            "versions": versions(),
            "gflops": self.rates,
            "figures": [figure.record(self.floor.get(figure.dtype)) for figure in self.figures],
            "measured": self.measured,
            "bars": [asdict(bar) | {"verdict": bar.verdict} for bar in self.bars],
            "notes": self.notes,
        }

    def markdown(self) -> str:
        """The tables, with what they were measured on."""
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}"
        head = f"`{self.command}`: {machine()}, {threads}, {self.repeats} rounds in turns; {versions_line(versions())}."
        rates = "; ".join(f"{size(rate)} GFLOP/s in {dtype}" for dtype, rate in self.floor.items())
        floor = f"Floor: the products that cannot be left out, at this machine's rate for the model's own matrices ({rates})."
        tables = [bar_table(self.bars), figure_tables(self.figures, self.floor), _numbers(self.measured)]
        return "\n\n".join(part for part in (head, floor, *self.notes, *tables) if part)


def _numbers(measured: dict[str, float]) -> str:
    return "\n".join(f"- {name}: {size(value)} {'s' if 'cold' in name else 'MB'}" for name, value in measured.items())


def versions() -> dict[str, str]:
    """Of the packages that matter."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def machine() -> str:
    """The processor's name and what it multiplies with."""
    import torch

    return f"{_processor()} ({torch.backends.cpu.get_cpu_capability()})"


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    lines: Sequence[str] = listed.read_text().splitlines() if listed.is_file() else ()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
