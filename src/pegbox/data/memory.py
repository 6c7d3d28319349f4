"""Tables in memory: DataFrames, datasets, lists and Rows as streams of raw rows."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pegbox.data.cells import NotTextError, as_text, plain
from pegbox.data.check import Problem
from pegbox.data.files import distinct, grow
from pegbox.data.rows import Rows
from pegbox.data.stream import Record, Stream
from pegbox.errors import DataError


def is_a(value: Any, module: str, name: str) -> bool:
    """Whether the value is a `module.name`, without importing a module that nobody has imported yet."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def open_table(source: Any) -> Stream:
    """The rows of something in memory.

    Raises: DataError for a source that is none of the known kinds, or a list whose items are of different kinds.
    """
    if isinstance(source, Rows):
        return _rows(source)
    if is_a(source, "pandas", "DataFrame"):
        columns = distinct([str(name) for name in source.columns], "the DataFrame")
        values = source.set_axis(columns, axis=1).to_dict("records")
        return Stream("the DataFrame", _records(values), columns)
    if is_a(source, "datasets", "Dataset"):
        return Stream("the Dataset", _records(_dataset(source)), list(source.column_names))
    if isinstance(source, tuple) and len(source) == 2 and all(_is_column(part) for part in source):
        return _two_columns(*source)
    if _is_column(source):
        return _items(list(source))
    raise _unknown(source)


def _unknown(source: Any) -> DataError:
    return DataError(
        f"data of type {type(source).__name__}",
        "a path, a DataFrame, a datasets.Dataset, a list of (text, label) pairs, of dicts or of texts, or two lists as a tuple",
        "turn it into one of these",
    )


def _is_column(value: Any) -> bool:
    """A list, an array or a Series: not a tuple, which is a pair."""
    return isinstance(value, list) or is_a(value, "pandas", "Series") or is_a(value, "numpy", "ndarray")


def _records(rows: Any) -> Iterator[Record | Problem]:
    for number, values in enumerate(rows, 1):
        yield Record(number, values)


def _rows(rows: Rows) -> Stream:
    columns: list[str] = []
    for row in rows:
        grow(columns, row)
    if rows.labels is not None and "label" in columns:
        raise DataError(
            f"{rows.source} has labels and also a field named 'label'", "fields with other names", "rename that field"
        )
    labels = [{}] * len(rows) if rows.labels is None else [{"label": label} for label in rows.labels]
    items = (Record(number, {**row, **label}) for number, row, label in zip(rows.numbers, rows.fields, labels, strict=True))
    return Stream(rows.source, items, columns if rows.labels is None else [*columns, "label"], named=False)


def _dataset(source: Any) -> Iterator[Mapping[str, Any]]:
    """The rows of a datasets.Dataset; class labels become their names, and -1, which stands for no label, becomes None."""
    names = {name: kind.names for name, kind in source.features.items() if type(kind).__name__ == "ClassLabel"}
    for row in source.with_format(None):
        for name, words in names.items():
            at = row[name]
            row[name] = None if at is None or at < 0 else words[at]
        yield row


def _two_columns(texts: Sequence[Any], labels: Sequence[Any]) -> Stream:
    if len(texts) != len(labels):
        raise DataError(
            f"{len(texts):,} texts and {len(labels):,} labels", "as many labels as texts", "give one label for each text"
        )
    rows = [{"text": text, "label": label} for text, label in zip(list(texts), list(labels), strict=True)]
    return Stream("the lists", _records(rows), ["text", "label"], named=False)


def _items(items: list[Any]) -> Stream:
    """A list of dicts, of pairs or of texts, by its first item."""
    first = plain(items[0]) if items else ""
    if isinstance(first, Mapping):
        return _alike(items, Mapping, dict, "dict")
    if isinstance(first, (tuple, list)) and len(first) == 2:
        return _alike(items, (tuple, list), _pair, "(text, label) pair")
    if isinstance(first, str) or (not isinstance(first, (tuple, list)) and _is_missing(first)):
        return Stream("the list", _records({"text": item} for item in items), ["text"], named=False)
    raise DataError(
        f"a list that begins with a {type(first).__name__}" + (f" of {len(first)}" if isinstance(first, (tuple, list)) else ""),
        "a list of (text, label) pairs, of dicts or of texts",
        "give one of these, or two lists as a tuple: (texts, labels)",
    )


def _is_missing(value: Any) -> bool:
    try:
        return as_text(value) is None
    except NotTextError:
        return False


def _pair(item: Sequence[Any]) -> dict[str, Any] | None:
    return {"text": item[0], "label": item[1]} if len(item) == 2 else None


def _alike(items: list[Any], kind: Any, make: Any, called: str) -> Stream:
    rows = [make(item) if isinstance(item, kind) else None for item in items]
    columns: list[str] = []
    for number, row in enumerate(rows, 1):
        if row is None:
            raise DataError(
                f"row {number} of the list is a {type(items[number - 1]).__name__}, row 1 is a {called}",
                f"a list of {called}s",
                "make all items alike",
            )
        grow(columns, row)
    return Stream("the list", _records(rows), columns, named=called == "dict")
