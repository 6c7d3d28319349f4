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


@dataclass
class Logged:
    """What a log holds.

    Settings:
        answers: by the name that was asked, by version, by row.
        shadows: the versions that answered into the log alone, by name.
        labels: what was told to be right, by row.
        other_lines: how many of its lines were none of ours.
    """

    answers: dict[str, dict[str, dict[Row, str]]] = field(default_factory=dict)
    shadows: dict[str, set[str]] = field(default_factory=dict)
    labels: dict[Row, str] = field(default_factory=dict)
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
            rows.update({(request, at): _as_set(str(answer)) for at, answer in enumerate(told["answers"], 1)})
            if told["shadow"]:
                found.shadows.setdefault(str(told["asked"]), set()).add(str(told["prompt"]))
        elif kind == "feedback":
            labels = {(request, at): _as_set(str(label)) for at, label in enumerate(told["labels"], 1) if label is not None}
            found.labels.update(labels)
    except (ValueError, KeyError, TypeError):
        found.other_lines += 1


def _as_set(answer: str) -> str:
    """An answer that is several things, with | between them, in one order: so equal ones are equal texts."""
    return "|".join(sorted(part.strip() for part in answer.split("|"))) if "|" in answer else answer


def read_labels(path: Path, known: Logged) -> dict[Row, str]:
    """A table with the columns request, label, and row where requests had several.

    Raises: DataError for a table without them, a row number that is none, or no request of the log in it.
    """
    labels: dict[Row, str] = {}
    for record in open_file(path, Reading()).items:
        if isinstance(record, Problem):
            raise DataError(
                f"{path}, row {record.number}: {record.kind} {record.detail}", "a table with request and label", "correct it"
            )
        row, label = _labelled(path, record)
        labels[row] = label
    answered = {row for versions in known.answers.values() for rows in versions.values() for row in rows}
    if not answered & labels.keys():
        raise DataError(
            f"{path} names none of the log's requests", 'the ids that answers told as "request"', "keep them with your rows"
        )
    return labels


def _labelled(path: Path, record: Record) -> tuple[Row, str]:
    where = f"{path}, row {record.number}"
    if missing := [name for name in ("request", "label") if record.values.get(name) in (None, "")]:
        raise DataError(f"{where} has no {missing[0]}", "request and label, and row where a request had several", "correct it")
    row = str(record.values.get("row") or 1)
    if not row.isdecimal() or int(row) < 1:
        raise DataError(f"{where} has row {row!r}", "a number from 1", "count a request's rows from 1")
    return (str(record.values["request"]), int(row)), _as_set(str(record.values["label"]))


def standings(found: Logged, labels: Mapping[Row, str]) -> list[Standing]:
    """Every name's versions and pairs, by name."""
    return [_standing(name, versions, found, labels) for name, versions in sorted(found.answers.items())]


def _standing(name: str, versions: Mapping[str, Mapping[Row, str]], found: Logged, labels: Mapping[Row, str]) -> Standing:
    shadows = found.shadows.get(name, set())
    scored = []
    for prompt, rows in sorted(versions.items()):
        right, count = _right(rows, labels)
        scored.append(Version(prompt, prompt in shadows, len(rows), count, wilson(right, count) if count else None))
    pairs = [_pair(one, other, versions, labels) for one, other in itertools.combinations(sorted(versions), 2)]
    corrected = iter(holm([pair.p for pair in pairs if pair.p is not None]))
    told = (pair if pair.p is None else replace(pair, corrected=float(next(corrected))) for pair in pairs)
    return Standing(name, tuple(scored), tuple(told))


def _right(rows: Mapping[Row, str], labels: Mapping[Row, str]) -> tuple[int, int]:
    """Right answers among the labelled rows, and how many these are."""
    checked = [answer == labels[row] for row, answer in rows.items() if row in labels]
    return sum(checked), len(checked)


def _pair(first: str, second: str, versions: Mapping[str, Mapping[Row, str]], labels: Mapping[Row, str]) -> Pair:
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


def _on_the_same_rows(first: str, second: str, rows: Sequence[tuple[str, str, str | None]]) -> Pair:
    """The pair, from each row's two answers and its label where that is known."""
    same = sum(one == other for one, other, _ in rows) / len(rows)
    right = np.array([(one == label, other == label) for one, other, label in rows if label is not None])
    if not len(right):
        return Pair(first, second, True, 0, same=same)
    test = difference(Runs(right[None, :, 0], (FIXED,)), Runs(right[None, :, 1], (FIXED,)))
    half = 1.959963984540054 * test.error
    return Pair(first, second, True, len(right), test.mean, test.mean - half, test.mean + half, test.p, same=same)
