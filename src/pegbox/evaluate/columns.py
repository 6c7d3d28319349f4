"""The columns of scores in a table: those of a classification, or a task's measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pegbox.evaluate.lines import Line, MeasuredLine, MethodLine, PartLine, Summary
from pegbox.metrics.intervals import Estimate
from pegbox.metrics.measures import measure

_TITLES = {"accuracy": "accuracy", "macro_f1": "macro-F1"}


def title(name: str) -> str:
    """What a score is called."""
    return _TITLES[name] if name in _TITLES else measure(name).title


def shown(name: str, found: Estimate) -> tuple[str, str]:
    """A score's value and its interval, as its column shows them."""
    if name in _TITLES or measure(name).percent:
        return f"{100 * found.value:.1f}", f"{100 * found.low:.1f} to {100 * found.high:.1f}"
    digits = 1 if abs(found.value) >= 10 else 2
    return f"{found.value:.{digits}f}", f"{found.low:.{digits}f} to {found.high:.{digits}f}"


@dataclass(frozen=True)
class Column:
    """A score of every method: its title, and a line's value and interval as they are shown."""

    title: str
    of: Callable[[Line], tuple[str, str]]


def columns(summary: Summary) -> list[Column]:
    """The scores that the page shows of each method, the main one first."""
    if summary.classified:
        return [
            Column("accuracy", lambda line: shown("accuracy", line.main)),
            Column("macro-F1", lambda line: shown("macro_f1", _classified(line).macro_f1)),
            Column("MCC", lambda line: _three(_classified(line).mcc)),
            Column("ECE", lambda line: _three(_classified(line).ece)),
        ]
    return [_measure_column(name) for name in summary.measured[0].scores]


def _measure_column(name: str) -> Column:
    return Column(title(name), lambda line: shown(name, _measured(line).scores[name]))


def names(parts: Sequence[PartLine]) -> list[str]:
    """The scores that slices, classes or types have."""
    return list(parts[0].scores) if parts else []


def _classified(line: Line) -> MethodLine:
    assert isinstance(line, MethodLine)
    return line


def _measured(line: Line) -> MeasuredLine:
    assert isinstance(line, MeasuredLine)
    return line


def _three(found: Estimate) -> tuple[str, str]:
    return f"{found.value:.3f}", f"{found.low:.3f} to {found.high:.3f}"
