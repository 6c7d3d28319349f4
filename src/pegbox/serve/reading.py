"""The rows of a request, as the prompt's own task reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from pegbox.data.dialogues import COLUMNS, FIELD, ROLES, read_table
from pegbox.data.rows import Rows
from pegbox.data.sentences import WORD_NAMES, read_sentences
from pegbox.data.stream import Record, Stream
from pegbox.data.words import WORDS, joined
from pegbox.errors import DataError
from pegbox.serve.asking import premises_of
from pegbox.serve.errors import TooLargeError
from pegbox.serve.served import Served
from pegbox.serve.settings import Limits
from pegbox.serve.shelf import Kept
from pegbox.task.chat import Chat

Turns = list[dict[str, str | list[dict[str, str]]]]
"""A conversation: each turn's role and content (or from and value)."""
Given = str | dict[str, str | list[str] | Turns] | Turns
"""A row as it is sent: a text; fields, or words, or messages, by name; or the turns of a conversation."""
SOURCE = "the request"
CHARACTERS = 1000
"""So many for each word that a request may have are looked through for words."""


async def read(request: Request, given: Sequence[Given], served: Served) -> Rows:
    """The rows of a request, read as the artifact reads them, and checked.

    Raises: TooLargeError beyond the limits, in which the words of sentences are rows; DataError for rows that cannot be read.
    """
    limits = premises_of(request).limits
    _check_count(request, len(given), limits)
    if not served.tags:
        conversing = isinstance(served.tuned.task, Chat)
        return _checked(_conversations(given, served.fields) if conversing else _fields(given), served, limits)
    _check_sizes(given, limits)
    rows = _checked(await run_in_threadpool(_sentences, given, served.fields), served, limits)
    if (words := sum(len(one[WORDS]) for one in rows.gold or ())) > limits.rows:
        raise TooLargeError(
            f"{words} words", f"at most {limits.rows} words of sentences in one request", "send them in several requests"
        )
    return rows


def rows_of(request: Request, given: Sequence[Mapping[str, str]], served: Kept) -> Rows:
    """Rows whose fields are those of the prompt already, checked. Raises as `read`."""
    limits = premises_of(request).limits
    _check_count(request, len(given), limits)
    return _checked(Rows(tuple(dict(row) for row in given), source=SOURCE), served, limits)


def _check_count(request: Request, rows: int, limits: Limits) -> None:
    if rows > limits.rows:
        raise TooLargeError(f"{rows} rows", f"at most {limits.rows} in one request", "send them in several requests")
    request.state.rows = rows


def _checked(rows: Rows, served: Kept, limits: Limits) -> Rows:
    for number, row in enumerate(rows.fields, 1):
        _check_row(number, row, served.fields, limits)
    return rows


def _check_row(number: int, row: Mapping[str, str], fields: Sequence[str], limits: Limits) -> None:
    if missing := [name for name in fields if name not in row]:
        raise DataError(
            f"row {number} has no field {missing[0]!r}",
            f"the fields {', '.join(fields)}",
            'send {"rows": [{"' + missing[0] + '": "..."}]}',
        )
    if any("\ud800" <= character <= "\udfff" for name in fields for character in row[name]):
        raise DataError(f"row {number} has half a character (a lone surrogate)", "text that UTF-8 can hold", "correct it")
    _check_length(number, max((len(row[name]) for name in fields), default=0), limits)


def _check_length(number: int, longest: int, limits: Limits) -> None:
    if longest > limits.text_characters:
        raise TooLargeError(
            f"row {number} has a text of {longest} characters", f"at most {limits.text_characters}", "send shorter texts"
        )


def _check_sizes(given: Sequence[Given], limits: Limits) -> None:
    """Before sentences are looked through for words: none is too large, nor are all of them together."""
    sizes = [_size(row) for row in given]
    for number, size in enumerate(sizes, 1):
        _check_length(number, size, limits)
    most = max(limits.text_characters, limits.rows * CHARACTERS)
    if sum(sizes) > most:
        raise TooLargeError(f"texts of {sum(sizes)} characters", f"at most {most} in all", "send them in several requests")


def _size(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(map(_size, value.values()))
    return len(value) if isinstance(value, str) else sum(map(_size, value))


def _fields(given: Sequence[Given]) -> Rows:
    """Rows of texts: each is its text, or its fields by name."""
    named = [{"text": row} if isinstance(row, str) else row for row in given]
    return Rows(tuple(_texts(number, row) for number, row in enumerate(named, 1)), source=SOURCE)


def _texts(number: int, row: Any, names: Sequence[str] | None = None) -> dict[str, str]:
    """A row's fields, all or those of these names. Raises DataError for what is no text."""
    if not isinstance(row, Mapping):
        raise DataError(f"row {number} is a list", "a text, or the prompt's fields by name", 'send {"rows": ["..."]}')
    some = {name: value for name, value in row.items() if names is None or name in names}
    if wrong := next((name for name, value in some.items() if not isinstance(value, str)), None):
        raise DataError(f"row {number} has a list in its field {wrong!r}", "a text in every field", "send one text")
    return {name: str(value) for name, value in some.items()}


def _sentences(given: Sequence[Given], fields: Sequence[str]) -> Rows:
    """Rows of sentences: each is its text, or has it under ``text``, or its words under ``tokens`` or ``words``."""
    more = [name for name in fields if name != "text"]
    named = [{"text": row} if isinstance(row, str) else row for row in given]
    for number, row in enumerate(named, 1):
        _texts(number, row, more)
        _check_words(number, row)
    return _readable(lambda: read_sentences(_stream(named), None, None, False, fields=more).rows)


def _check_words(number: int, row: Any) -> None:
    """Raises DataError for a row that has words besides a text, and not those of the text."""
    words = next((row[name] for name in WORD_NAMES if name in row), None)
    if not isinstance(words, list) or "text" not in row or not all(isinstance(word, str) for word in words):
        return
    if joined(words)[0] != row["text"]:
        raise DataError(
            f"row {number} has a text, and words that are not that text with a space between each two",
            "a text or its words",
            "send one of them",
        )


def _conversations(given: Sequence[Given], fields: Sequence[str]) -> Rows:
    """Rows of conversations: each is what the user says, its turns, or has these under ``messages`` or the like."""
    more = [name for name in fields if name not in (FIELD, "system")]
    made: list[dict[str, Any]] = []
    for number, row in enumerate(given, 1):
        named: Mapping[str, Any] = row if isinstance(row, Mapping) else {"messages": row}
        further = _texts(number, named, more)
        turns = next((named[name] for name in COLUMNS if name in named), None)
        made.append({**further, "messages": [{"role": "user", "content": turns}] if isinstance(turns, str) else turns})
    rows = _readable(lambda: read_table(_stream(made), "messages", None, False, fields=more).rows)
    for number, one in enumerate(made, 1):
        _check_ends(
            number, [ROLES.get(role := str(turn.get("role", turn.get("from"))), role) for turn in one["messages"]], fields
        )
    return rows


def _check_ends(number: int, roles: Sequence[str], fields: Sequence[str]) -> None:
    """Raises DataError for turns that the prompt would leave out: of the system, where it is the prompt's, or the last."""
    if roles[0] == "system" and "system" not in fields:
        raise DataError(
            f"row {number} has a system turn",
            "turns of the user and the assistant: the prompt is the system's turn",
            "leave the system turn out",
        )
    if roles[-1] == "assistant":
        raise DataError(
            f"row {number} ends with the assistant", "a conversation that ends with the user", "leave its last turn out"
        )


def _stream(records: Sequence[Any]) -> Stream:
    columns = list(dict.fromkeys(name for record in records for name in record))
    return Stream(SOURCE, (Record(number, values) for number, values in enumerate(records, 1)), columns)


def _readable(reading: Callable[[], Rows]) -> Rows:
    """What a reader of files and tables makes of it. Raises its DataError, with what a client can do about it."""
    try:
        return reading()
    except DataError as error:
        raise DataError(error.came, error.expected, "correct the row, or leave it out") from error
