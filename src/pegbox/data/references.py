"""Rows to be written to: fields, and one or several reference texts as the right answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from pegbox.data.cells import NotTextError, as_text, plain
from pegbox.data.check import (
    FIELD_LIMIT,
    OnProblem,
    Problem,
    bad_cell,
    count,
    listing,
    no_column,
    no_rows,
    settle,
    used_cell,
    which,
)
from pegbox.data.columns import Choice, Preview, choose
from pegbox.data.read import parted, read_parts
from pegbox.data.repeats import same_texts
from pegbox.data.rows import Data, Rows
from pegbox.data.stream import Reading, Record, Stream
from pegbox.data.table import PLAIN, Columns, Table, open_source
from pegbox.errors import DataError

NAMES = frozenset(
    ("reference", "references", "ref", "refs", "target", "targets", "summary", "headline", "output", "response", "completion")
)
"""A column called so holds the reference texts, where nobody says which."""


def references(rows: Rows) -> list[tuple[str, ...]]:
    """Each row's reference texts. Raises DataError for rows without any."""
    if rows.gold is None:
        raise DataError(
            f"{rows.source} has no reference texts", "at least one for each row", "name the column that holds them with --label"
        )
    return [tuple(texts) for texts in rows.gold]


def apart(rows: Rows) -> Rows:
    """A row for each reference text, with that text as its label: what is learned from."""
    pairs = [(at, text) for at, texts in enumerate(references(rows)) for text in texts]
    return replace(rows.take([at for at, _ in pairs]), labels=tuple(text for _, text in pairs), gold=None)


def read(
    source: Any,
    text: Columns = None,
    label: str | None = None,
    *,
    fields: Sequence[str] = (),
    test: Any = None,
    dev: Any = None,
    test_size: float = 0.2,
    seed: int = 0,
    encoding: str | None = None,
    on_problem: OnProblem = "error",
    field_limit: int = FIELD_LIMIT,
    quotes: bool = True,
) -> Data:
    """Rows with reference texts to tune on, and sealed ones to test on.

    Settings:
        label: the column of the references: a text, or a list of texts. None: guessed by its name.
        The rest is as in `pegbox.data.read.read`.

    Raises: DataError with the source, the rows and what to do.
    """
    reading = Reading(encoding, quotes, field_limit, on_problem)
    train, tests, devs, notes = read_parts(
        source, test, dev, lambda one: read_rows(one, text, label, fields=fields, reading=reading)
    )
    return parted(train, tests, devs, test_size, seed, on_problem, notes)


def read_rows(
    source: Any,
    text: Columns = None,
    label: str | None = None,
    labelled: bool = True,
    *,
    fields: Sequence[str] = (),
    reading: Reading = PLAIN,
) -> tuple[Rows, tuple[str, ...]]:
    """Rows to be scored (`labelled`) or written to, and what the reader guessed, left out or noticed."""
    if isinstance(source, Rows):
        return source, ()
    if isinstance(source, list) and source and all(isinstance(item, str) for item in source) and not labelled:
        return Rows.from_texts(source), ()
    table = read_table(source, text, label, labelled, fields=fields, reading=reading)
    if not labelled:
        return table.rows, table.notes
    rows, more = together(table.rows)
    return rows, (*table.notes, *more)


def together(rows: Rows) -> tuple[Rows, tuple[str, ...]]:
    """The rows with those of equal fields made one, which has all their references; and a note on it."""
    groups = same_texts(rows)
    if len(groups) == len(rows):
        return rows, ()
    given = references(rows)
    found = [list(dict.fromkeys(text for at in group for text in given[at])) for group in groups.values()]
    merged = replace(rows.take([group[0] for group in groups.values()]), gold=tuple(found))
    later = [rows.numbers[at] for group in groups.values() for at in group[1:]]
    told = (
        f"{count(len(later), 'row')} with the fields of an earlier row gave that one more references ({which(sorted(later))})."
    )
    return merged, (f"{rows.source}: {told}",)


def read_table(
    source: Any,
    text: Columns = None,
    label: str | None = None,
    labelled: bool = True,
    *,
    fields: Sequence[str] = (),
    reading: Reading = PLAIN,
) -> Table:
    """One table, with the user's own columns and what is to be said about it; equal rows are left as they are.

    Raises: DataError with the source, the rows and what to do.
    """
    stream = open_source(source, reading)
    items = list(stream.items)
    if not items:
        raise no_rows(stream.name)
    column = _column(stream, label) if labelled else label if label in stream.columns else None
    choice, guesses = _fields(stream, items, text, fields, column)
    table = _table(stream, items, choice, column if labelled else None, reading)
    if not table.rows:
        raise no_rows(stream.name, f"has no rows that can be used ({' '.join(table.notes)})")
    took = (f"{stream.name}: took {column!r} as the reference texts (--label).",) if labelled and label is None else ()
    return replace(table, notes=(*stream.notes, *guesses, *(took if stream.named else ()), *table.notes))


def _column(stream: Stream, label: str | None) -> str:
    """The column of the references."""
    if label is not None:
        if label not in stream.columns:
            raise no_column(stream.name, label, stream.columns, "label")
        return label
    known = [name for name in stream.columns if name.casefold().strip() in NAMES]
    if not stream.named and "label" in stream.columns:
        known = ["label"]
    if len(known) != 1:
        why = f"more than one may hold the references: {listing(known)}" if known else "none is called like references"
        raise DataError(
            f"{stream.name} has the columns {listing(stream.columns)}; {why}",
            "to be told which column holds the reference texts",
            "say label=... (--label COLUMN)",
        )
    return known[0]


def _fields(
    stream: Stream, items: Iterable[Record | Problem], text: Columns, fields: Sequence[str], column: str | None
) -> tuple[Choice, tuple[str, ...]]:
    columns = [name for name in stream.columns if name != column]
    if not stream.named:
        return Choice({name: name for name in columns}, frozenset({"text"} & set(columns)), None), ()
    rows = [item.values for item in items if isinstance(item, Record)]
    return choose(Preview(stream.name, columns, rows), text, None, fields, labelled=False)


def _table(stream: Stream, items: Iterable[Record | Problem], choice: Choice, column: str | None, reading: Reading) -> Table:
    """The usable rows, with a note on the others; or the error for them."""
    problems: list[Problem] = []
    kept: list[tuple[Record, dict[str, str], list[str]]] = []
    for item in items:
        if isinstance(item, Problem):
            problems.append(item)
            continue
        row, wrong = _row(item, choice, reading.field_limit)
        texts, more = ([], []) if column is None else _references(item, column, reading.field_limit)
        problems += [*wrong, *more]
        if not wrong and not more:
            kept.append((item, row, texts))
    notes = settle(problems, stream.name, reading.on_problem)
    rows = Rows(
        tuple(row for _, row, _ in kept),
        numbers=tuple(record.number for record, _, _ in kept),
        source=stream.name,
        gold=None if column is None else tuple(texts for _, _, texts in kept),
    )
    return Table(rows, tuple(record.values for record, _, _ in kept), tuple(stream.columns), choice, stream.named, notes)


def _row(record: Record, choice: Choice, limit: int) -> tuple[dict[str, str], list[Problem]]:
    row, problems = {}, []
    for name, column in choice.fields.items():
        row[name], wrong = used_cell(record.values, column, "text" if column in choice.needed else None, limit)
        if wrong is not None:
            problems.append(Problem(wrong[0], record.number, record.line, wrong[1]))
    return row, problems


def _references(record: Record, column: str, limit: int) -> tuple[list[str], list[Problem]]:
    """The texts in one cell, and what is wrong with them: none may be blank."""

    def problem(kind: str, detail: str) -> tuple[list[str], list[Problem]]:
        return [], [Problem(kind, record.number, record.line, f"column {column!r} {detail}")]

    value: Any = record.values.get(column)
    listed = (
        list(value) if isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) == 1 else [value]
    )  # arrays from Parquet
    found: list[str] = []
    for at, item in enumerate(listed, 1):
        try:
            text = as_text(plain(item))
        except NotTextError as error:
            return problem("type", f"holds a {error}")
        if text is None or not text.strip():
            return problem("reference", "is blank" if len(listed) == 1 else f"has a blank text (number {at})")
        if (wrong := bad_cell(text, limit)) is not None:
            return problem(wrong[0], wrong[1])
        found.append(text)
    return (list(dict.fromkeys(found)), []) if found else problem("reference", "is an empty list")
