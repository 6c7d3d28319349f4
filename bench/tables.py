"""Figures and bars as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from bench.bars import Bar
from bench.figures import Figure, size


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def figure_tables(figures: Sequence[Figure], rates: dict[str, float]) -> str:
    """A table for each part, in the order of measuring."""
    parts = groupby(figures, key=lambda figure: figure.part)
    return "\n\n".join(f"### {part}\n\n{_one(list(some), rates)}" for part, some in parts)


def _one(figures: Sequence[Figure], rates: dict[str, float]) -> str:
    unit = figures[0].unit
    head = ("", "number type", f"s for one {unit}", "from", "to", "per second", "share of the floor", "")
    return table(head, (_row(figure, rates.get(figure.dtype)) for figure in figures))


def _row(figure: Figure, gflops: float | None) -> tuple[str, ...]:
    share, (low, high) = figure.share(gflops), figure.spread
    shown = "" if share is None else f"{100 * share:.0f} %"
    return figure.name, figure.dtype, size(figure.each), size(low), size(high), size(figure.rate), shown, figure.note


def bar_table(bars: Iterable[Bar]) -> str:
    """The bars with what was seen."""
    return table(("bar", "at least", "seen", "", ""), ((b.text, b.wanted, b.shown, b.verdict, b.note) for b in bars))
