"""Texts with any number of labels each: lists in JSONL and Parquet, or cells with a separator between the labels."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pegbox.data.cells import NotTextError, as_text
from pegbox.data.check import FIELD_LIMIT, OnProblem, Problem, count, listing, settle
from pegbox.data.columns import LABEL_NAMES
from pegbox.data.read import parted
from pegbox.data.review import review
from pegbox.data.rows import Data, Rows
from pegbox.data.split import split
from pegbox.data.stream import Reading, Record, Stream
from pegbox.data.table import PLAIN, Columns, Table, open_source, read_table
from pegbox.errors import DataError

SEPARATORS = ("|", ";", ",")
"""What may stand between the labels of a cell, in the order of trying."""
NAMES = LABEL_NAMES | {"tags", "classes", "categories", "targets", "topics", "intents", "genres"}
ONE_LABEL = "no label"
"""What rows without labels are called where rows are drawn by label."""


def read_label_sets(
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
    """Rows whose right answers (`Rows.gold`) are lists of labels, which may be empty; the arguments are those of `read`.

    Test rows that are split off are drawn by each row's rarest label.

    Raises: DataError with the source, the rows and what to do.
    """
    reading = Reading(encoding, quotes, field_limit, on_problem)
    main = read_sets(source, text, label, fields=fields, reading=reading)
    notes = [*main.notes, *review(main.rows)]
    others = {"test": test, "dev": dev}
    known: dict[str, Rows | None] = {}
    for name, other in others.items():
        known[name] = None if other is None else _like(other, main, reading, notes)
    train = main.rows
    if test is None and test_size:
        train, drawn = by_rarest_label(train, test_size, seed)
        known["test"] = drawn
        share = f"{len(drawn):,} of {count(len(main.rows), 'row')}"
        notes.append(
            f"{train.source}: {share} are split off as test rows (by each row's rarest label, seed {seed}) and sealed."
        )
    labels = {one for own in train.gold or () for one in own}
    if not labels:
        raise DataError(
            f"no row of {train.source} has a label", "at least one label", "see that the label column is the right one"
        )
    for name, rows in known.items():
        if rows is not None:
            known[name] = without_unseen_sets(rows, labels, on_problem, notes)
    found = parted(train, known["test"], known["dev"], 0, seed, on_problem, notes)
    return replace(found, train=by_rarest(found.train))


def read_sets(
    source: Any,
    text: Columns = None,
    label: str | None = None,
    *,
    fields: Sequence[str] = (),
    reading: Reading = PLAIN,
) -> Table:
    """One table whose rows have lists of labels."""
    if isinstance(source, Rows) and source.gold is not None:
        return Table(source, (), (), read_table(replace(source, gold=None)).choice, named=False)
    stream = open_source(source, reading)
    items = list(stream.items)
    column = label or _guessed(stream, items)
    notes: list[str] = []
    if column is not None:
        items = list(_as_lists(items, column, stream.name, notes, reading.known))
    stream.items = iter(items)
    table = read_table(stream, text, column, True, fields=fields, reading=reading)
    rows = table.rows
    gold = tuple(json.loads(own) if own.startswith("[") else [own] for own in rows.answers())
    if without := sum(not own for own in gold):
        notes.append(f"{stream.name}: {count(without, 'row')} without any label.")
    return replace(table, rows=replace(rows, labels=None, gold=gold), notes=(*table.notes, *notes))


def _guessed(stream: Stream, items: Sequence[Record | Problem]) -> str | None:
    """The column that holds lists, or is called as labels are, if there is one such; None where `choose` must find it."""
    records = [item.values for item in items if isinstance(item, Record)]
    lists = [name for name in stream.columns if any(_is_list(values.get(name)) for values in records)]
    named = [name for name in stream.columns if name.casefold().strip() in NAMES]
    found = lists if len(lists) == 1 else named if len(named) == 1 else []
    if found:
        stream.notes.append(f"{stream.name}: took {found[0]!r} as the labels (--label).")
    return found[0] if found else None


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) or type(value).__name__ == "ndarray"


def _as_lists(
    items: Sequence[Record | Problem], column: str, name: str, notes: list[str], known: frozenset[str]
) -> Iterator[Record | Problem]:
    """The rows with their labels as a JSON list in their cell; what cannot be one is left for the reader to refuse."""
    cells = [
        str(item.values[column]) for item in items if isinstance(item, Record) and isinstance(item.values.get(column), str)
    ]
    separator = _separator(cells, known)
    if separator is not None:
        notes.append(f"{name}: the labels in {column!r} are taken as divided by {separator!r}.")
    for item in items:
        if isinstance(item, Problem) or column not in item.values:
            yield item
            continue
        yield replace(item, values={**item.values, column: _listed(item.values[column], separator)})


def _separator(cells: Sequence[str], known: frozenset[str]) -> str | None:
    """The first separator of whose parts at least half are known or come in several cells; None: each cell is one label."""
    whole = {cell.strip() for cell in cells}
    for separator in SEPARATORS:
        parts = Counter(one for cell in whole for one in {part.strip() for part in cell.split(separator)} - {""})
        often = sum(number > 1 or part in known for part, number in parts.items())
        if any(separator in cell for cell in whole) and 2 * often >= len(parts):
            return separator
    return None


def _listed(value: Any, separator: str | None) -> Any:
    if isinstance(value, str) and value.lstrip().startswith("["):  # a list written into a cell
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    try:
        if _is_list(value):
            own = [as_text(one) or "" for one in value]
        elif (cell := as_text(value)) is None:
            return value
        else:
            own = [cell] if separator is None else cell.split(separator)
    except NotTextError:
        return value
    return json.dumps(list(dict.fromkeys(part for one in own if (part := one.strip()))), ensure_ascii=False)


def _like(other: Any, main: Table, reading: Reading, notes: list[str]) -> Rows:
    """Test or dev rows, from the same columns as the training rows."""
    text: Columns = None
    label: str | None = None
    fields: tuple[str, ...] = ()
    if main.named:
        columns = main.choice.fields.values()
        text = [column for column in columns if column in main.choice.needed]
        fields = tuple(column for column in columns if column not in main.choice.needed)
        label = main.choice.label
    reading = replace(reading, known=frozenset(one for own in main.rows.gold or () for one in own))
    table = read_sets(other, text, label, fields=fields, reading=reading)
    notes += [*table.notes, *review(table.rows)]
    return table.rows


def by_rarest_label(rows: Rows, size: float, seed: int) -> tuple[Rows, Rows]:
    """Two parts, as `split` makes them, in which every label that has two texts is on both sides as far as can be."""
    places = tuple(range(len(rows)))
    parts = split(replace(by_rarest(rows), numbers=places), size, seed)
    rest, drawn = (rows.take(part.numbers) for part in parts)
    return rest, drawn


def by_rarest(rows: Rows) -> Rows:
    """The rows with the rarest of each one's labels as its stratum, by which parts and shots are drawn from them."""
    gold = rows.gold or ()
    counts = Counter(label for own in gold for label in own)
    rarest = tuple(min(own, key=lambda label: (counts[label], label)) if own else ONE_LABEL for own in gold)
    return replace(rows, strata=rarest)


def without_unseen_sets(rows: Rows, known: set[str], on_problem: OnProblem, notes: list[str]) -> Rows:
    """The rows all of whose labels the training rows have."""
    odd: dict[int, Problem] = {}
    for at, own in enumerate(rows.gold or ()):
        if new := [label for label in own if label not in known]:
            detail = f"the first is {new[0]!r}, known are {listing(sorted(known))}"
            odd[at] = Problem("unseen", rows.numbers[at], detail=detail)
    notes += settle(odd.values(), rows.source, on_problem)
    return rows.take([at for at in range(len(rows)) if at not in odd]) if odd else rows


def label_set_rows(source: Any, text: Columns, label: str | None, labelled: bool, **how: Any) -> tuple[Rows, tuple[str, ...]]:
    """Rows to be scored or answered, and what the reader guessed, left out or noticed."""
    if isinstance(source, Rows):
        return source, review(source) if labelled else ()
    if not labelled:
        table = read_table(source, text, label, labelled=False, **how)
        return table.rows, table.notes
    table = read_sets(source, text, label, **how)
    return table.rows, (*table.notes, *review(table.rows))


def labels_of(rows: Rows) -> tuple[str, ...]:
    """The different labels, sorted. Raises DataError for rows without lists of labels."""
    return tuple(sorted({label for own in gold_of(rows) for label in own}))


def gold_of(rows: Rows) -> Sequence[Sequence[str]]:
    """Each row's labels. Raises DataError where rows have none."""
    if rows.gold is None:
        raise DataError(f"{rows.source} has no labels", "a list of labels for every row", "name the label column with --label")
    return rows.gold
