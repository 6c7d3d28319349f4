"""Problems of single rows: what is wrong, in which rows, and whether they stop us or are left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pegbox.data.cells import NotTextError, as_text
from pegbox.errors import DataError, SettingsError

OnProblem = Literal["error", "drop"]

FIELD_LIMIT = 1_000_000
"""Characters that one cell may hold unless the user says otherwise."""


@dataclass(frozen=True)
class Kind:
    """One kind of problem: how a row with it is called, and what would have been right."""

    called: str
    expected: str


KINDS: Mapping[str, Kind] = {
    "cells": Kind("with too few or too many cells", "one cell for each column of the header"),
    "json": Kind("that cannot be read as JSON", "one JSON object a line"),
    "text": Kind("without a text", "a text in every row"),
    "label": Kind("without a label", "a label in every row"),
    "type": Kind("with a cell that is neither a text nor a number", "a text or a number in every cell that is used"),
    "nul": Kind("with a NUL character", "text without NUL characters"),
    "long": Kind("with a cell longer than the limit", "cells within the limit"),
    "half": Kind("with half a character (a lone surrogate)", "whole Unicode characters"),
    "leak": Kind("whose text is also among the rows that they are scored on", "texts that are in one part only"),
    "unseen": Kind("whose label no training row has", "only labels that the training rows have"),
    "reference": Kind("without a reference text", "at least one reference text in every row"),
    "messages": Kind("without a list of turns", 'turns as {"messages": [{"role": ..., "content": ...}, ...]}'),
    "role": Kind("with a turn of an unknown role", "the roles system, user and assistant"),
    "empty": Kind("with an empty turn", "words in every turn"),
    "sequence": Kind(
        "with turns out of order", "user and assistant in turn, the user first, after a system turn if there is one"
    ),
    "silent": Kind("without a turn of the assistant", "at least one turn of the assistant, which is what is learned"),
    "tag": Kind("with a word that has no tag", "a tag for every word"),
    "scheme": Kind("with a tag of no known scheme", "O, or B- or I- (also E- and S-) with a type"),
    "order": Kind(
        "with a tag that cannot stand where it does", "tags of one scheme: in BIO, B- begins an entity, I- goes on with it"
    ),
    "spans": Kind("with spans that cannot be read", 'a list of spans, each {"start": 0, "end": 5, "label": "PER"}'),
    "outside": Kind("with a span outside its text", "0 <= start < end <= the text's length, in characters"),
    "overlap": Kind("with spans that overlap", "spans that do not overlap"),
    "cut": Kind("with a span that cuts a word", "spans that begin and end where words do"),
}

HINTS: Mapping[str, str] = {
    "cells": "put double quotes around cells that hold the delimiter or a line break",
    "nul": "see that the file is text; if another program wrote it as UTF-16, say encoding='utf-16' (--encoding utf-16)",
    "long": "raise the limit with field_limit=N (--field-limit N), N characters",
    "tag": "name the columns of the word and the tag with text=1, label=4 (--text 1 --label 4)",
    "scheme": "name the column of the tags with label=4 (--label 4)",
    "cut": "give the words yourself, as lists of words and tags",
}


@dataclass(frozen=True)
class Problem:
    """Something wrong with one row.

    Settings:
        kind: a key of `KINDS`.
        number: the row's number (the first data row is 1).
        line: the line of the file where the row starts, where that is known.
        detail: what exactly, where there is more to say than the kind says.
    """

    kind: str
    number: int
    line: int | None = None
    detail: str = ""

    def where(self) -> str:
        """The row, and the line of the file where it starts."""
        return str(self.number) if self.line is None else f"{self.number} (line {self.line})"


def count(number: int, thing: str) -> str:
    """A number of things in words: "1 row", "2,000 rows"."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def which(numbers: Sequence[object]) -> str:
    """The first five of these rows, for a message: "rows 3, 5, 8, 9, 12 and 7 more"."""
    more = len(numbers) - 5
    listed = ", ".join(str(number) for number in numbers[:5])
    return f"row{'s' if len(numbers) > 1 else ''} {listed}" + (f" and {more:,} more" if more > 0 else "")


def check_policy(on_problem: str) -> None:
    """Raises SettingsError unless it is one of the two words."""
    if on_problem not in ("error", "drop"):
        raise SettingsError(
            f"on_problem={on_problem!r}", "'error' or 'drop'", "say 'error' to be told of bad rows, 'drop' to leave them out"
        )


def settle(problems: Iterable[Problem], source: str, on_problem: OnProblem = "error") -> tuple[str, ...]:
    """One note for each kind of problem if they are to be dropped, else an error that names them all.

    Raises: DataError where there is a problem and on_problem is "error".
    """
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(problem.kind, []).append(problem)
    if not kinds:
        return ()
    told = [_tell(found) for found in kinds.values()]
    if on_problem == "drop":
        return tuple(f"{source}: left out {line}." for line in told)
    hints = [HINTS[kind] for kind in kinds if kind in HINTS]
    raise DataError(
        f"{source} has {'; and '.join(told)}",
        "; ".join(KINDS[kind].expected for kind in kinds),
        "; or ".join(["correct them", *hints, "leave such rows out with on_problem='drop' (--on-problem drop)"]),
    )


def _tell(found: Sequence[Problem]) -> str:
    detail = f": {found[0].detail}" if found[0].detail else ""
    listed = which([problem.where() for problem in found])
    return f"{count(len(found), 'row')} {KINDS[found[0].kind].called} ({listed}{detail})"


def bad_cell(text: str, limit: int) -> tuple[str, str] | None:
    """What makes this text unusable, as (kind, detail); None where nothing does."""
    if len(text) > limit:
        return "long", f"{len(text):,} characters, the limit is {limit:,}"
    if "\0" in text:
        return "nul", f"at character {text.index(chr(0)) + 1}"
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            return "half", f"at character {error.start + 1}"
    return None


def used_cell(values: Mapping[str, Any], column: str, empty: str | None, limit: int) -> tuple[str, tuple[str, str] | None]:
    """One cell that will be used, as text, with what is wrong with it.

    Settings:
        empty: the kind of problem that a missing or blank cell is; None where it may be blank.
    """
    try:
        text = as_text(values.get(column))
    except NotTextError as error:
        return "", ("type", f"column {column!r} holds a {error}")
    if empty is not None and (text is None or not text.strip()):
        return "", (empty, f"column {column!r} is blank")
    wrong = bad_cell(text or "", limit)
    return text or "", None if wrong is None else (wrong[0], f"column {column!r}, {wrong[1]}")


def no_rows(source: str, why: str = "has no rows") -> DataError:
    """The error for a table without rows, to be raised."""
    return DataError(f"{source} {why}", "at least one row", "see that it is the right file and that its rows follow the header")


def no_column(source: str, name: str, columns: Sequence[str], flag: str) -> DataError:
    """The error for a column that is not there, to be raised; it names the nearest one."""
    from difflib import get_close_matches

    folded = {column.casefold().strip(): column for column in columns}
    near = get_close_matches(name.casefold().strip(), list(folded), 1, 0.6)
    guess = f"did you mean {folded[near[0]]!r}? " if near else ""
    return DataError(
        f"{source} has no column {name!r}",
        f"one of its columns: {listing(columns)}",
        f"{guess}name the column with {flag}=... (--{flag}); if the file has no header line, add one",
    )


def listing(columns: Sequence[str]) -> str:
    """Column names for a message, long ones cut and long lists ended."""
    shown = [repr(name if len(name) <= 40 else name[:39] + "…") for name in columns[:20]]
    return ", ".join(shown) + (f" and {len(columns) - 20} more" if len(columns) > 20 else "")
