"""A stream: the raw rows of any source, one at a time, before columns are chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pegbox.data.check import FIELD_LIMIT, OnProblem, Problem, check_policy


@dataclass(frozen=True)
class Reading:
    """How a file is to be read.

    Settings:
        encoding: the file's encoding; None is UTF-8, with or without a byte order mark.
        quotes: whether a double quote at the start of a CSV or TSV cell wraps the cell.
        field_limit: the most characters that one cell may hold.
        on_problem: "error" stops at rows that cannot be used; "drop" leaves them out with a note.
        known: labels that rows may have, where that is known: by them the mark between several in a cell is found in few rows.
    """

    encoding: str | None = None
    quotes: bool = True
    field_limit: int = FIELD_LIMIT
    on_problem: OnProblem = "error"
    known: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        check_policy(self.on_problem)


@dataclass(frozen=True)
class Record:
    """One raw row: its number (from 1), its cells by column, and the line of the file where it starts if that is known."""

    number: int
    values: Mapping[str, Any]
    line: int | None = None


@dataclass
class Stream:
    """Raw rows as they come.

    Settings:
        name: what messages call the source.
        items: the rows; a row that cannot be read is a Problem in its place.
        columns: the columns' names seen so far; complete once the items are used up.
        notes: what was guessed or skipped so far.
        named: whether the source has column names of its own. Pairs, texts and Rows have none: their columns are ``text``,
            ``label`` and, for Rows, the other fields.
    """

    name: str
    items: Iterator[Record | Problem] = field(default_factory=lambda: iter(()))
    columns: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    named: bool = True
