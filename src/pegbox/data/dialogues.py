"""Conversations: each turn of the assistant is a row, and the turns before it are what it answers.

Read are OpenAI's fine-tuning format, ``{"messages": [{"role": "user", "content": "..."}, ...]}``, and ShareGPT's,
``{"conversations": [{"from": "human", "value": "..."}, ...]}``, from JSONL, JSON, Parquet and lists; and pairs of what was
said and the reply. A row's field ``turns`` holds the turns so far, its field ``system`` the conversation's own system turn,
where every conversation has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pegbox.data.cells import as_text
from pegbox.data.check import FIELD_LIMIT, OnProblem, Problem, bad_cell, count, listing, no_column, no_rows, settle
from pegbox.data.columns import Choice
from pegbox.data.read import parted, read_parts
from pegbox.data.references import together
from pegbox.data.rows import Data, Rows
from pegbox.data.stream import Reading, Record, Stream
from pegbox.data.table import PLAIN, Columns, Table, open_source
from pegbox.errors import DataError
from pegbox.prompt.turns import Said, written

COLUMNS = ("messages", "conversations", "conversation", "turns", "dialogue", "dialog")
"""A column called so holds the turns, where nobody says which; the first that is there."""
ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "developer": "system"}
"""Other names for the three roles."""
FIELD = "turns"


@dataclass(frozen=True)
class Conversation:
    """A conversation that was read.

    Settings:
        system: its own system turn; empty: it has none.
        turns: of the user and the assistant, in turn.
        learned: positions of the turns that are answers to be learned.
    """

    system: str
    turns: tuple[Said, ...]
    learned: tuple[int, ...]


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
    """Conversations to tune on, and sealed ones to test on; all turns of one are on the same side.

    Settings:
        text: the column that holds the turns. None: guessed by its name.
        label: the column of the reply, where `text` holds what it answers; no list of turns is read then.
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
    """Turns of the assistant to be scored (`labelled`), or conversations to be answered; and notes."""
    if isinstance(source, Rows):
        return source, ()
    table = read_table(source, text, label, labelled, fields=fields, reading=reading)
    rows, more = together(table.rows) if labelled else (table.rows, ())
    return rows, (*table.notes, *more)


def read_table(
    source: Any,
    text: Columns = None,
    label: str | None = None,
    labelled: bool = True,
    *,
    fields: Sequence[str] = (),
    reading: Reading = PLAIN,
) -> Table:
    """One table: a row for each turn of the assistant, or for each conversation that waits for one.

    Settings:
        fields: further columns, such as one to group rows by; turns and system are always there.

    Raises: DataError with the source, the rows and what to do.
    """
    stream = open_source(_as_records(source), reading)
    items = list(stream.items)
    if not items:
        raise no_rows(stream.name)
    column, reply, guesses = _columns(stream, text, label)
    problems: list[Problem] = []
    kept: list[tuple[Record, Conversation]] = []
    for item in items:
        found = item if isinstance(item, Problem) else _conversation(item, column, reply, labelled, reading.field_limit)
        if isinstance(found, Problem):
            problems.append(found)
        elif isinstance(item, Record):
            kept.append((item, found))
    notes = settle(problems, stream.name, reading.on_problem)
    if not kept:
        raise no_rows(stream.name, f"has no rows that can be used ({' '.join(notes)})")
    further = [name for name in fields if name not in (FIELD, "system", "text")]
    if missing := next((name for name in further if name not in stream.columns), None):
        raise no_column(stream.name, missing, stream.columns, "fields")
    rows, records, more = _rows(kept, labelled, stream.name, further)
    choice = Choice({FIELD: column}, frozenset({FIELD}), None)
    return Table(rows, records, tuple(stream.columns), choice, stream.named, (*stream.notes, *guesses, *notes, *more))


def _as_records(source: Any) -> Any:
    """A list of conversations, each a list of turns, as records; anything else as it is."""
    if isinstance(source, list) and source and all(isinstance(item, list) for item in source):
        return [{"messages": item} for item in source]
    if isinstance(source, list) and source and all(isinstance(item, str) for item in source):
        return [{"messages": [{"role": "user", "content": item}]} for item in source]
    return source


def _columns(stream: Stream, text: Columns, label: str | None) -> tuple[str, str | None, tuple[str, ...]]:
    """The column of the turns, that of the reply where turns are a single text, and a note on a guess."""
    named = text if isinstance(text, str) or text is None else next(iter(text), None)
    for name, flag in ((named, "text"), (label, "label")):
        if name is not None and name not in stream.columns:
            raise no_column(stream.name, name, stream.columns, flag)
    if named is not None:
        return named, label, ()
    if not stream.named and "text" in stream.columns:
        return "text", "label" if "label" in stream.columns else None, ()
    folded = {name.casefold(): name for name in reversed(stream.columns)}
    found = next((folded[name] for name in COLUMNS if name in folded), None)
    if found is None:
        raise DataError(
            f"{stream.name} has the columns {listing(stream.columns)}; none is called like a conversation",
            f"a column of turns called {listing(COLUMNS)}",
            "say text=... (--text COLUMN), and label=... (--label COLUMN) for a column of replies",
        )
    return found, label, (f"{stream.name}: took {found!r} as the turns (--text).",)


# --- one conversation ---------------------------------------------------------------------------------------------------


class _WrongTurnError(Exception):
    """Why a conversation cannot be used: a kind of `pegbox.data.check.KINDS`, and what exactly."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind, self.detail = kind, detail


def _conversation(record: Record, column: str, reply: str | None, labelled: bool, limit: int) -> Conversation | Problem:
    """The conversation of a raw row, or what is wrong with it."""
    try:
        listed = _listed(record, column, reply if labelled else None)
        turns = [_turn(turn, number, limit) for number, turn in enumerate(listed, 1)]
        weightless = {at for at, turn in enumerate(listed) if turn.get("weight") == 0}  # OpenAI's mark for context only
        return _ordered(turns, weightless, labelled)
    except _WrongTurnError as wrong:
        return Problem(wrong.kind, record.number, record.line, wrong.detail)


def _listed(record: Record, column: str, reply: str | None) -> list[Any]:
    value: Any = record.values.get(column)
    if isinstance(value, str):  # what was said, and what was replied
        answer = [] if reply is None else [{"role": "assistant", "content": record.values.get(reply)}]
        return [{"role": "user", "content": value}, *answer]
    listed = list(value) if isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) == 1 else []
    if not listed:
        raise _WrongTurnError(
            "messages", f"column {column!r} holds a {type(value).__name__}" if value else f"column {column!r} is empty"
        )
    return listed


def _turn(turn: Any, number: int, limit: int) -> Said:
    """A turn's role and content."""
    if not isinstance(turn, Mapping):
        raise _WrongTurnError("messages", f"turn {number} is a {type(turn).__name__}")
    given = turn.get("role", turn.get("from"))
    role = ROLES.get(str(given), str(given))
    if role not in ("system", "user", "assistant"):
        raise _WrongTurnError("role", f"turn {number} has the role {given!r}")
    content = _content(turn.get("content", turn.get("value")), number)
    if not content.strip():
        raise _WrongTurnError("empty", f"turn {number}, of the {role}")
    if (wrong := bad_cell(content, limit)) is not None:
        raise _WrongTurnError(wrong[0], f"turn {number}, {wrong[1]}")
    return role, content


def _content(value: Any, number: int) -> str:
    """What was said: a text, or parts of which each is one."""
    if isinstance(value, (list, tuple)):
        if any(not isinstance(part, Mapping) or part.get("type") != "text" for part in value):
            raise _WrongTurnError("type", f"turn {number} has parts other than text")
        return "".join(str(part.get("text") or "") for part in value)
    if value is not None and not isinstance(value, str):
        raise _WrongTurnError("type", f"turn {number} holds a {type(value).__name__}")
    return value or ""


def _ordered(turns: Sequence[Said], weightless: set[int], labelled: bool) -> Conversation:
    """The turns as a conversation, where their order is one."""
    system = turns[0][1] if turns[0][0] == "system" else ""
    skipped = 1 if system else 0
    own = turns[skipped:]
    for at, (role, _) in enumerate(own):
        wanted = "assistant" if at % 2 else "user"
        if role != wanted:
            raise _WrongTurnError("sequence", f"turn {at + skipped + 1} is the {role}'s where the {wanted}'s belongs")
    learned = tuple(at for at in range(1, len(own), 2) if at + skipped not in weightless)
    if not own:
        raise _WrongTurnError("sequence", "there is no turn of the user")
    if labelled and not learned:
        raise _WrongTurnError("silent", f"it has {count(len(turns), 'turn')}")
    return Conversation(system, tuple(own), learned)


# --- rows ---------------------------------------------------------------------------------------------------------------


def _rows(
    kept: Iterable[tuple[Record, Conversation]], labelled: bool, source: str, further: Sequence[str]
) -> tuple[Rows, tuple[Mapping[str, Any], ...], tuple[str, ...]]:
    """A row for each turn that is learned, or for each conversation as far as the user has spoken."""
    pairs = list(kept)
    systems = {found.system for _, found in pairs}
    keep = "" not in systems
    fields, numbers, gold, records, cut = [], [], [], [], 0
    for record, found in pairs:
        ends = found.learned if labelled else [len(found.turns) - (found.turns[-1][0] == "assistant")]
        cut += not labelled and found.turns[-1][0] == "assistant"
        for end in ends:
            more = {name: as_text(record.values.get(name)) or "" for name in further}
            fields.append({FIELD: written(found.turns[:end]), **({"system": found.system} if keep else {}), **more})
            numbers.append(record.number)
            records.append(record.values)
            gold.append([found.turns[end][1]] if labelled else [])
    notes = []
    if not keep and systems != {""}:
        some = sum(bool(found.system) for _, found in pairs)
        notes.append(f"{source}: {some} of {len(pairs)} conversations have a system turn of their own, which is left out.")
    if cut:
        notes.append(f"{source}: {count(cut, 'conversation')} ended with the assistant, whose last turn is written anew.")
    rows = Rows(tuple(fields), numbers=tuple(numbers), source=source)
    return (replace(rows, gold=tuple(gold)) if labelled else rows), tuple(records), tuple(notes)
