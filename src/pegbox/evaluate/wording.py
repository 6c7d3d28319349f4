"""How numbers are said: one way for the terminal, the page and the recommendation."""

from __future__ import annotations

from collections.abc import Sequence

from pegbox.metrics.intervals import Estimate

NONE = "-"
"""Stands where nothing was measured or nothing applies."""


def percent(value: float) -> str:
    """0.8412 as 84.1%."""
    return f"{100 * value:.1f}%"


def points(value: float) -> str:
    """A difference of scores: 0.032 as 3.2 points."""
    size = f"{100 * abs(value):.1f}"
    return f"{size} point" if size == "1.0" else f"{size} points"


def signed(value: float) -> str:
    """A difference of scores with its sign: -0.032 as -3.2."""
    text = f"{100 * value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def percent_range(found: Estimate) -> str:
    """The interval of a share: 82.0 to 86.1%."""
    return f"{100 * found.low:.1f} to {100 * found.high:.1f}%"


def signed_range(found: Estimate) -> str:
    """The interval of a difference: +1.4 to +5.0."""
    return f"{signed(found.low)} to {signed(found.high)}"


def p_value(p: float | None) -> str:
    """0.0001 as <0.001; otherwise three decimals up to 0.1 and two beyond."""
    if p is None:
        return NONE
    if p < 0.001:
        return "<0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def p_phrase(p: float) -> str:
    """p < 0.001, or p = 0.034."""
    text = p_value(p)
    return f"p {text[0]} {text[1:]}" if text.startswith("<") else f"p = {text}"


def listed(names: Sequence[str]) -> str:
    """a; a and b; a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def counted(count: int, noun: str) -> str:
    """1 row, 2 rows, 4,382 rows."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def milliseconds(value: float | None) -> str:
    """1.234 as 1.2 ms, 0.034 as 0.03 ms, 123.4 as 123 ms."""
    if value is None:
        return NONE
    if 0 < value < 0.005:
        return "<0.01 ms"
    digits = 0 if value >= 99.5 else 1 if value >= 1 else 2
    return f"{value:.{digits}f} ms"


def duration(seconds: float | None) -> str:
    """4.2 s, 3 min 5 s, 2 h 4 min."""
    if seconds is None:
        return NONE
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: float | None) -> str:
    """Bytes: 512 B, 36.9 kB, 1.2 GB."""
    if count is None:
        return NONE
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def amount(count: float | None) -> str:
    """Large counts: 9,216 as 9.2k, 1,234,567 as 1.2M; small ones as they are."""
    if count is None:
        return NONE
    if count < 1000:
        return f"{count:.0f}" if float(count).is_integer() else f"{count:.1f}"
    for unit in ("k", "M", "G"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f}{unit}"
    return f"{count:.0f}G"


def shortened(text: str, limit: int = 280) -> str:
    """A long text without its middle, so that beginning and end are seen."""
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    return f"{text[:head]} […] {text[-(limit - head) :]}"


def visible(text: str) -> str:
    """User text that can be shown anywhere on one line: see `printable`; line breaks and tabs become single spaces."""
    return printable(" ".join(text.split()) if any(c in text for c in "\n\r\t") else text)


def printable(text: str) -> str:
    """User text with its lines, but with a replacement mark for control characters, half characters and text-turning marks."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
