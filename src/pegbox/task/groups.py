"""Groups of test rows by a column that nothing else sees: not the methods, and not the split."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pegbox.data.read import parts_of
from pegbox.data.rows import Data
from pegbox.task.registry import entry


def in_groups(
    found: Data, column: str, task: str, source: Any, test: Any = None, text: str | None = None, label: str | None = None,
    **how: Any,
) -> Data:  # fmt: skip
    """The data with the test rows in groups by a column of the source they come from.

    Settings:
        found: what the task's reader made of the sources.
        source, test, text, label: what it was given.
        how: fields and reading, as `pegbox.task.entry.Entry.rows` takes them.

    Raises: DataError where there is no such column.
    """
    if found.test is None:
        return found
    source, test, _ = parts_of(source, test, None)
    fields = tuple(dict.fromkeys((*how.pop("fields", ()), column)))
    rows, _ = entry(task).rows(source if test is None else test, text, label, True, fields=fields, **how)
    return replace(found, test=found.test.grouped_by(dict(zip(rows.numbers, rows.column(column), strict=True))))
