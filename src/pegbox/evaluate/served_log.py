"""Versions of a served prompt, scored from the server's log and the labels that came later.

Versions that share a name's requests (A/B) answered rows of their own, and are compared as two shares (Fisher's exact test). A
shadow answered the very rows that another answered, and is compared with it row by row (McNemar's exact test).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pegbox.data.check import Problem
from pegbox.data.files import open_file
from pegbox.data.stream import Reading, Record
from pegbox.errors import DataError
from pegbox.metrics.intervals import Estimate
from pegbox.metrics.proportions import apart, fisher_p, wilson
from pegbox.metrics.runs import FIXED, Runs
from pegbox.metrics.significance import difference, holm

Row = tuple[str, int]
"""A request, and which of its rows (from 1)."""
Told = str | frozenset[str]
"""One answer, or several: labels, or entities."""


@dataclass
class Logged:
    """What a log holds.

    Settings:
        answers: by the name that was asked, by version, by row.
        shadows: the versions that answered into the log alone, by name.
        labels: what was told to be right, by row.
        other_lines: how many of its lines were none of ours.
    """

    answers: dict[str, dict[str, dict[Row, Told]]] = field(default_factory=dict)
    shadows: dict[str, set[str]] = field(default_factory=dict)
    labels: dict[Row, Told] = field(default_factory=dict)
    other_lines: int = 0


@dataclass(frozen=True)
class Version:
    """One version's score.

    Settings:
        prompt: its name with version.
        shadow: it answered into the log alone.
        rows: how many rows it answered.
        labelled: for how many of them the right label is known.
        accuracy: over these; None where there are none.
    """

    prompt: str
    shadow: bool
    rows: int
    labelled: int
    accuracy: Estimate | None


@dataclass(frozen=True)
class Pair:
    """Two versions beside each other.

    Settings:
        paired: they answered the same rows.
        rows: how many labelled rows the comparison rests on: those in common, or those of both.
        gap: accuracy of the first less that of the second; its interval where the rows are not the same.
        p: two-sided; corrected for the pairs of this name (Holm) in `corrected`.
        same: on rows in common, the share of equal answers; it needs no labels.
    """

    first: str
    second: str
    paired: bool
    rows: int
    gap: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    corrected: float | None = None
    same: float | None = None


@dataclass(frozen=True)
class Standing:
    """One name's versions and pairs."""

    name: str
    versions: tuple[Version, ...]
    pairs: tuple[Pair, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def read_log(paths: Iterable[Path]) -> Logged:
    """What servers wrote down.

    Raises: DataError where no line tells an answer.
    """
    found, named = Logged(), []
    for path in paths:
        named.append(str(path))
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                _take(line, found)
    if not found.answers:
        raise DataError(
            f"{', '.join(named)} tells no answers",
            'the log of `pegbox serve`, with lines that say "predicted"',
            "keep its log: pegbox serve PROMPTS/ --log FILE",
        )
    return found


def _take(line: str, found: Logged) -> None:
    """One line of the log. A server killed while it wrote leaves half a line, and others write to stderr too."""
    try:
        told = json.loads(line)
        kind, request = told["message"], str(told["request"])
        if kind == "predicted":
            versions = found.answers.setdefault(str(told["asked"]), {})
            rows = versions.setdefault(str(told["prompt"]), {})
            rows.update({(request, at): _told(answer) for at, answer in enumerate(told["answers"], 1)})
            if told["shadow"]:
                found.shadows.setdefault(str(told["asked"]), set()).add(str(told["prompt"]))
        elif kind == "feedback":
            labels = {(request, at): _told(label) for at, label in enumerate(told["labels"], 1) if label is not None}
            found.labels.update(labels)
    except (ValueError, KeyError, TypeError):
        found.other_lines += 1


def _told(value: Any) -> Told:
    return frozenset(map(str, value)) if isinstance(value, list) else str(value)


def _is_right(answer: Told, label: Told) -> bool:
    """Whether an answer is what is right. Where it is several things, these may be told in a text, with | between them."""
    if isinstance(label, str) and not isinstance(answer, str):
        return answer == {part.strip() for part in label.split("|") if part.strip()}
    return _all_of(answer) == _all_of(label)


def _all_of(told: Told) -> frozenset[str]:
    return frozenset((told,)) if isinstance(told, str) else told


def read_labels(path: Path, known: Logged) -> dict[Row, Told]:
    """A table with the columns request, label, and row where requests had several.

    A label is a text or a list; none at all says that none of several is right. Null says that it is not known.

    Raises: DataError for a table without these columns, a row number that is none, a label that is empty where each row has
        one, or no request of the log in it.
    """
    answered = {
        row: answer for versions in known.answers.values() for rows in versions.values() for row, answer in rows.items()
    }
    labels: dict[Row, Told] = {}
    for record in open_file(path, Reading()).items:
        if isinstance(record, Problem):
            raise DataError(
                f"{path}, row {record.number}: {record.kind} {record.detail}", "a table with request and label", "correct it"
            )
        row, label = _labelled(path, record)
        if not label and isinstance(answered.get(row), str):
            raise _lacking(path, record, "label")
        if label is not None:
            labels[row] = label
    if not answered.keys() & labels.keys():
        raise DataError(
            f"{path} names none of the log's requests", 'the ids that answers told as "request"', "keep them with your rows"
        )
    return labels


def _labelled(path: Path, record: Record) -> tuple[Row, Told | None]:
    """A row's label; None where it is not known."""
    if record.values.get("request") in (None, ""):
        raise _lacking(path, record, "request")
    if "label" not in record.values:
        raise _lacking(path, record, "label")
    row = str(record.values.get("row") or 1)
    if not row.isdecimal() or int(row) < 1:
        raise DataError(f"{path}, row {record.number} has row {row!r}", "a number from 1", "count a request's rows from 1")
    label = record.values["label"]
    if isinstance(label, dict) or (isinstance(label, list) and not all(isinstance(one, str) for one in label)):
        raise DataError(
            f"{path}, row {record.number} has the label {str(label)[:80]}",
            "a text, or a list of texts",
            "write labels by name, and entities as start-end:TYPE",
        )
    return (str(record.values["request"]), int(row)), None if label is None else _told(label)


def _lacking(path: Path, record: Record, column: str) -> DataError:
    return DataError(
        f"{path}, row {record.number} has no {column}",
        "request and label, and row where a request had several; an empty label where none of several is right",
        "correct it",
    )


def standings(found: Logged, labels: Mapping[Row, Told]) -> list[Standing]:
    """Every name's versions and pairs, by name."""
    return [_standing(name, versions, found, labels) for name, versions in sorted(found.answers.items())]


def _standing(name: str, versions: Mapping[str, Mapping[Row, Told]], found: Logged, labels: Mapping[Row, Told]) -> Standing:
    shadows = found.shadows.get(name, set())
    scored = []
    for prompt, rows in sorted(versions.items()):
        right, count = _right(rows, labels)
        scored.append(Version(prompt, prompt in shadows, len(rows), count, wilson(right, count) if count else None))
    pairs = [_pair(one, other, versions, labels) for one, other in itertools.combinations(sorted(versions), 2)]
    corrected = iter(holm([pair.p for pair in pairs if pair.p is not None]))
    told = (pair if pair.p is None else replace(pair, corrected=float(next(corrected))) for pair in pairs)
    return Standing(name, tuple(scored), tuple(told))


def _right(rows: Mapping[Row, Told], labels: Mapping[Row, Told]) -> tuple[int, int]:
    """Right answers among the labelled rows, and how many these are."""
    checked = [_is_right(answer, labels[row]) for row, answer in rows.items() if row in labels]
    return sum(checked), len(checked)


def _pair(first: str, second: str, versions: Mapping[str, Mapping[Row, Told]], labels: Mapping[Row, Told]) -> Pair:
    one, other = versions[first], versions[second]
    both = [row for row in one if row in other]
    if both:
        return _on_the_same_rows(first, second, [(one[row], other[row], labels.get(row)) for row in both])
    mine, theirs = _right(one, labels), _right(other, labels)
    rows = mine[1] + theirs[1]
    if not mine[1] or not theirs[1]:
        return Pair(first, second, False, rows)
    gap = apart(mine, theirs)
    return Pair(first, second, False, rows, gap.value, gap.low, gap.high, fisher_p(mine, theirs))


def _on_the_same_rows(first: str, second: str, rows: Sequence[tuple[Told, Told, Told | None]]) -> Pair:
    """The pair, from each row's two answers and its label where that is known."""
    same = sum(_all_of(one) == _all_of(other) for one, other, _ in rows) / len(rows)
    right = np.array([(_is_right(one, label), _is_right(other, label)) for one, other, label in rows if label is not None])
    if not len(right):
        return Pair(first, second, True, 0, same=same)
    test = difference(Runs(right[None, :, 0], (FIXED,)), Runs(right[None, :, 1], (FIXED,)))
    half = 1.959963984540054 * test.error
    return Pair(first, second, True, len(right), test.mean, test.mean - half, test.mean + half, test.p, same=same)
