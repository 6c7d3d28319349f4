"""What stands out when the rows of a table, or of two tables, are seen together."""

from __future__ import annotations

from collections import Counter

from pegbox.data.check import OnProblem, Problem, count, listing, settle, which
from pegbox.data.repeats import key, same_texts
from pegbox.data.rows import Rows
from pegbox.errors import DataError

LOOKS_MISSING = frozenset({"nan", "na", "n/a", "null", "none", "nil", "<na>", "-"})


def review(rows: Rows) -> tuple[str, ...]:
    """Notes on repeats, contradictions and odd labels. Nothing is changed."""
    notes = [_repeats(rows), _contradictions(rows)]
    if rows.labels is not None and rows.gold is None:
        notes += [_once(rows), _alike(rows), _looks_missing(rows)]
    return tuple(f"{rows.source}: {note}" for note in notes if note)


def _repeats(rows: Rows) -> str:
    numbers = [rows.numbers[at] for at in _later(rows)]
    if not numbers:
        return ""
    repeat = "repeats" if len(numbers) == 1 else "repeat"
    what = "text" if rows.labels is None else "text and label"
    return f"{count(len(numbers), 'row')} {repeat} the {what} of an earlier row ({which(numbers)}); kept."


def _later(rows: Rows) -> list[int]:
    """Positions of the rows that have the text and the label of an earlier row."""
    seen: set[object] = set()
    later = []
    for at, row in enumerate(rows):
        mark = (key(row), None if rows.labels is None else rows.labels[at], None if rows.gold is None else repr(rows.gold[at]))
        if mark in seen:
            later.append(at)
        seen.add(mark)
    return later


def without_repeats(rows: Rows) -> tuple[Rows, tuple[str, ...]]:
    """The rows less those that have the text and the label of an earlier row, and a note on them."""
    later = set(_later(rows))
    if not later:
        return rows, ()
    kept = rows.take([at for at in range(len(rows)) if at not in later])
    numbers = [rows.numbers[at] for at in sorted(later)]
    return kept, (
        f"{rows.source}: left out {count(len(later), 'row')} with the text and label of an earlier row ({which(numbers)}).",
    )


def _contradictions(rows: Rows) -> str:
    if rows.labels is None or rows.gold is not None:
        return ""
    torn = [group for group in same_texts(rows).values() if len({rows.labels[at] for at in group}) > 1]
    if not torn:
        return ""
    numbers = [rows.numbers[at] for group in torn for at in group]
    return f"{count(len(torn), 'text')} with more than one label ({which(numbers)}); kept, as nobody here knows which is right."


def _once(rows: Rows) -> str:
    first = dict(zip(rows.answers(), rows.numbers, strict=True))
    seen = Counter(rows.answers())
    once = [f"{label!r} (row {first[label]})" for label in sorted(seen) if seen[label] == 1]
    if not once:
        return ""
    more = f" and {len(once) - 5} more" if len(once) > 5 else ""
    return f"{count(len(once), 'label')} seen only once: {', '.join(once[:5])}{more}; too few to learn and to test."


def _alike(rows: Rows) -> str:
    folded: dict[str, list[str]] = {}
    for label in rows.label_set():
        folded.setdefault(" ".join(label.split()).casefold(), []).append(label)
    pairs = [listing(labels) for labels in folded.values() if len(labels) > 1]
    return f"labels that differ only in spaces or capitals: {'; '.join(pairs)}; taken as different labels." if pairs else ""


def _looks_missing(rows: Rows) -> str:
    seen = Counter(label for label in rows.answers() if label.strip().casefold() in LOOKS_MISSING)
    told = ", ".join(f"{label!r} ({count(number, 'row')})" for label, number in sorted(seen.items()))
    return f"taken as a label like any other: {told}." if seen else ""


def two_labels(rows: Rows) -> None:
    """Raises DataError unless there are at least two different labels to tell apart."""
    labels = rows.label_set()
    if len(labels) < 2:
        raise DataError(
            f"every row of {rows.source} has the label {labels[0]!r}" if labels else f"{rows.source} has no rows",
            "at least two different labels",
            "see that the label column is the right one and that the file is whole",
        )


def without_leaks(rows: Rows, scored: Rows, on_problem: OnProblem = "error") -> tuple[Rows, tuple[str, ...]]:
    """The rows whose text is not among the scored rows, and notes on those left out.

    Raises: DataError where there are such rows and on_problem is "error".
    """
    there = same_texts(scored)
    leaks = {
        at: Problem(
            "leak", rows.numbers[at], detail=f"the first is row {scored.numbers[there[key(row)][0]]} of {scored.source}"
        )
        for at, row in enumerate(rows)
        if key(row) in there
    }
    notes = settle(leaks.values(), rows.source, on_problem)
    return (rows.take([at for at in range(len(rows)) if at not in leaks]) if leaks else rows), notes


def without_unseen(rows: Rows, train: Rows, on_problem: OnProblem = "error") -> tuple[Rows, tuple[str, ...]]:
    """The rows whose label the training rows have, and notes on those left out.

    Raises: DataError where there are such rows and on_problem is "error".
    """
    known = set(train.label_set())
    odd = {
        at: Problem("unseen", rows.numbers[at], detail=f"the first is {label!r}, known are {listing(sorted(known))}")
        for at, label in enumerate(rows.answers())
        if label not in known
    }
    notes = settle(odd.values(), rows.source, on_problem)
    return (rows.take([at for at in range(len(rows)) if at not in odd]) if odd else rows), notes
