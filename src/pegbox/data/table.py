"""One table: raw rows of any source, checked cell by cell, become Rows; whole, or in batches for files beyond memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from pegbox.data.check import Problem, no_rows, settle, used_cell
from pegbox.data.columns import Choice, Preview, choose
from pegbox.data.files import open_file
from pegbox.data.memory import open_table
from pegbox.data.rows import Rows
from pegbox.data.samples import open_sample
from pegbox.data.stream import Reading, Record, Stream
from pegbox.errors import DataError, SettingsError

Columns = str | Sequence[str] | None

SAMPLE = "sample:"

PLAIN = Reading()


@dataclass(frozen=True)
class Table:
    """Rows with the user's own columns beside them.

    Settings:
        rows: the fields and labels in use.
        records: for each row all cells of its source, so that predictions can be written beside them.
        columns: the source's columns, in order.
        choice: which column became which field.
        named: whether the source has column names of its own.
        notes: what was guessed, skipped or left out.
    """

    rows: Rows
    records: tuple[Mapping[str, Any], ...]
    columns: tuple[str, ...]
    choice: Choice
    named: bool = True
    notes: tuple[str, ...] = ()


def open_source(source: Any, reading: Reading = PLAIN) -> Stream:
    """The raw rows of a path, of a sample by its "sample:NAME", or of something in memory; a stream is one already."""
    if isinstance(source, Stream):
        return source
    if isinstance(source, str) and source.startswith(SAMPLE):
        return open_sample(source.removeprefix(SAMPLE))
    if isinstance(source, (str, os.PathLike)):
        return open_file(Path(source), reading)
    return open_table(source)


def read_table(
    source: Any,
    text: Columns = None,
    label: str | None = None,
    labelled: bool | None = None,
    *,
    fields: Sequence[str] = (),
    reading: Reading = PLAIN,
) -> Table:
    """One table, with the user's own columns and what is to be said about it.

    Settings:
        text, label, fields: columns, as in `pegbox.data.read`; a source without column names does not ask for them.
        labelled: True: it must have labels; False: labels are not read; None: labels are taken if a column is named or is
            called like one.
        reading: encoding, quotes, limits, and what to do about rows that cannot be used.
    Raises: DataError with the source, the rows and what to do.
    """
    stream = open_source(source, reading)
    items = list(stream.items)
    if not items:
        raise no_rows(stream.name)
    choice, guesses = _choice(stream, items, text, label, fields, labelled)
    table = _table(stream, items, choice, reading)
    if not table.rows:
        raise no_rows(stream.name, f"has no rows that can be used ({' '.join(table.notes)})")
    return replace(table, notes=(*stream.notes, *guesses, *table.notes))


def read_rows(
    source: Any,
    text: Columns = None,
    label: str | None = None,
    labelled: bool | None = None,
    *,
    fields: Sequence[str] = (),
    reading: Reading = PLAIN,
) -> Rows:
    """The rows of `read_table` alone."""
    return read_table(source, text, label, labelled, fields=fields, reading=reading).rows


def stream_rows(
    source: Any, text: Columns = None, batch: int = 1024, *, fields: Sequence[str] = (), reading: Reading = PLAIN
) -> Iterator[Table]:
    """Rows to be predicted, so many at a time; of a file no more is held in memory than two batches.

    Columns are guessed from the first batch. Each table's notes are those that are new. A batch of which nothing is left is
    not handed out; its notes come with another one.

    Raises: as `read_table`, when the batch with the bad row is reached.
    """
    if batch < 1:
        raise SettingsError(f"batches of {batch} rows", "at least 1 row a batch", "say for example batch=1024")
    stream = open_source(source, reading)
    held: Table | None = None
    notes: tuple[str, ...] = ()
    for table in _tables(stream, text, batch, fields, reading):
        notes += table.notes
        if table.rows:
            if held is not None:
                yield held
            held, notes = replace(table, notes=notes), ()
    if held is None:
        raise no_rows(stream.name, f"has no rows that can be used ({' '.join(notes)})" if notes else "has no rows")
    yield replace(held, notes=held.notes + notes)


def _tables(stream: Stream, text: Columns, batch: int, fields: Sequence[str], reading: Reading) -> Iterator[Table]:
    """Every batch as a table, empty ones too; what the stream itself notes at its end comes with an empty last one."""
    choice: Choice | None = None
    told = 0
    while items := list(islice(stream.items, batch)):
        guesses: tuple[str, ...] = ()
        if choice is None:
            choice, guesses = _choice(stream, items, text, None, fields, False)
        table = _table(stream, items, choice, reading)
        yield replace(table, notes=(*stream.notes[told:], *guesses, *table.notes))
        told = len(stream.notes)
    if choice is not None and told < len(stream.notes):
        yield replace(_table(stream, [], choice, reading), notes=tuple(stream.notes[told:]))


def _choice(
    stream: Stream,
    items: Iterable[Record | Problem],
    text: Columns,
    label: str | None,
    fields: Sequence[str],
    labelled: bool | None,
) -> tuple[Choice, tuple[str, ...]]:
    if not stream.named:
        return _unnamed(stream, labelled), ()
    rows = [item.values for item in items if isinstance(item, Record)]
    return choose(Preview(stream.name, stream.columns, rows), text, label, fields, labelled)


def _unnamed(stream: Stream, labelled: bool | None) -> Choice:
    """The columns of a source without names: every one is a field under its own name, but for the label."""
    there = "label" in stream.columns
    if labelled and not there:
        raise DataError(
            f"{stream.name} has no labels",
            "a label for every row",
            "give (text, label) pairs, or a tuple of two lists (texts, labels)",
        )
    names = [name for name in stream.columns if name != "label"]
    needed = frozenset({"text"} if "text" in names else names)
    return Choice({name: name for name in names}, needed, "label" if there and labelled is not False else None)


def _table(stream: Stream, items: Sequence[Record | Problem], choice: Choice, reading: Reading) -> Table:
    """The usable rows, with a note on the others; or the error for them."""
    problems: list[Problem] = []
    kept: list[tuple[Record, dict[str, str], str]] = []
    for item in items:
        if isinstance(item, Problem):
            problems.append(item)
            continue
        fields, label, wrong = _row(item, choice, reading.field_limit)
        problems.extend(wrong)
        if not wrong:
            kept.append((item, fields, label))
    notes = settle(problems, stream.name, reading.on_problem)
    rows = Rows(
        tuple(fields for _, fields, _ in kept),
        None if choice.label is None else tuple(label for _, _, label in kept),
        tuple(record.number for record, _, _ in kept),
        stream.name,
    )
    return Table(rows, tuple(record.values for record, _, _ in kept), tuple(stream.columns), choice, stream.named, notes)


def _row(record: Record, choice: Choice, limit: int) -> tuple[dict[str, str], str, list[Problem]]:
    """The fields and the label of one raw row, and what is wrong with them."""
    problems: list[Problem] = []

    def cell(column: str, blank: str | None) -> str:
        text, wrong = used_cell(record.values, column, blank, limit)
        if wrong is not None:
            problems.append(Problem(wrong[0], record.number, record.line, wrong[1]))
        return text

    fields = {name: cell(column, "text" if column in choice.needed else None) for name, column in choice.fields.items()}
    label = "" if choice.label is None else cell(choice.label, "label")
    return fields, label, problems
