"""Columns: which hold the text, the label and the other fields. Guessed only where nothing else could be meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pegbox.data.cells import NotTextError, as_text
from pegbox.data.check import listing, no_column
from pegbox.errors import DataError

TEXT_NAMES = frozenset(
    ("text", "sentence", "review", "content", "tweet", "message", "comment", "utterance", "question", "document", "body")
)
LABEL_NAMES = frozenset(("label", "labels", "class", "category", "target", "sentiment", "intent", "topic"))

MOST_LABELS = 50
"""A column with more different values than this is not taken for labels unless it is called so."""


@dataclass(frozen=True)
class Choice:
    """The columns in use.

    Settings:
        fields: field name -> column, the column of ``text`` first.
        needed: the columns that must not be blank.
        label: the column of the labels; None where labels are not wanted or not there.
    """

    fields: Mapping[str, str]
    needed: frozenset[str]
    label: str | None


def choose(
    table: Preview,
    text: str | Sequence[str] | None,
    label: str | None,
    fields: Sequence[str] = (),
    labelled: bool | None = None,
) -> tuple[Choice, tuple[str, ...]]:
    """The columns to use, and a note on each that was guessed.

    Settings:
        text: one or more columns; the first becomes the field ``text``, the others keep their names. None: guess.
        label: the column of the labels. None: guess, if labels are wanted.
        fields: more columns, which may be blank.
        labelled: True: there must be labels; False: there are none to be read; None: if a column is called
            like one (no other guess is made, because a file to be predicted may have few-valued columns of any meaning).
    Raises: DataError for a column that is not there, and where a guess is needed but more than one column, or none, would do.
    """
    # A DataFrame without a header has the numbers 0, 1, ... for names; they are text here.
    texts = [] if text is None else [str(text)] if isinstance(text, (str, int)) else [str(name) for name in text]
    label = None if label is None else str(label)
    for name, flag in [*((name, "text") for name in texts), *((name, "fields") for name in fields)]:
        _present(table, name, flag)
    if label is not None and labelled is not False:
        _present(table, label, "label")
    taken = {*texts, *fields, label}
    label = None if labelled is False else label
    if label is None and labelled is not False:
        label = _guess_label(table, [name for name in table.columns if name not in taken], bool(texts), labelled)
    given = bool(texts)
    if not given:
        texts = [_guess_text(table, [name for name in table.columns if name not in {*taken, label}])]
    return _assemble(table, texts, fields, label), _notes(table, not given, taken, texts, label)


@dataclass(frozen=True)
class Preview:
    """What a guess may look at: the source's name, its columns, and raw rows."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]

    def texts(self, column: str) -> list[str] | None:
        """The column's cells that are not blank, as text; None if some cell cannot be text."""
        try:
            found = [as_text(row.get(column)) for row in self.rows]
        except NotTextError:
            return None
        return [cell for cell in found if cell is not None and cell.strip()]


def _present(table: Preview, name: str, flag: str) -> None:
    if name not in table.columns:
        raise no_column(table.name, name, table.columns, flag)


def _assemble(table: Preview, texts: Sequence[str], fields: Sequence[str], label: str | None) -> Choice:
    columns = [*texts, *fields]
    named = {"text": texts[0], **{name: name for name in columns[1:]}}
    if len(named) < len(columns) or len(set(columns)) < len(columns) or label in columns:
        raise DataError(
            f"the columns {listing([*columns, *([label] if label else [])])} of {table.name} give one field twice",
            "each column once, and none but the first called 'text'",
            "name each column once, and rename a further column that is called 'text'",
        )
    return Choice(named, frozenset(texts), label)


def _notes(
    table: Preview, guessed_text: bool, taken: set[str | None], texts: Sequence[str], label: str | None
) -> tuple[str, ...]:
    said = [f"{texts[0]!r} as the text (--text)"] if guessed_text else []
    said += [f"{label!r} as the label (--label)"] if label is not None and label not in taken else []
    return (f"{table.name}: took {' and '.join(said)}.",) if said else ()


def _guess_label(table: Preview, columns: Sequence[str], text_known: bool, labelled: bool | None) -> str | None:
    known = [name for name in columns if name.casefold().strip() in LABEL_NAMES]
    if len(known) == 1:
        return known[0]
    likely = known if known or labelled is None else [name for name in columns if _few_valued(table.texts(name))]
    if not known and len(likely) > 1:
        # A short table's texts may repeat; a column with a text's name is not the labels.
        likely = [name for name in likely if name.casefold().strip() not in TEXT_NAMES]
    if len(likely) == 1 and (text_known or len(columns) > 1):
        return likely[0]
    if labelled:
        raise _ask(table, "label", likely)
    return None


def _guess_text(table: Preview, columns: Sequence[str]) -> str:
    known = [name for name in columns if name.casefold().strip() in TEXT_NAMES]
    likely = known or [name for name in columns if _wordy(table.texts(name))]
    if len(likely) == 1:
        return likely[0]
    raise _ask(table, "text", likely)


def _ask(table: Preview, what: str, likely: Sequence[str]) -> DataError:
    why = f"more than one may hold the {what}s: {listing(likely)}" if likely else f"none is clearly the one with the {what}s"
    return DataError(
        f"{table.name} has the columns {listing(table.columns)}; {why}",
        f"to be told which column holds the {what}s",
        f"say {what}=... (--{what} COLUMN)",
    )


def _few_valued(cells: list[str] | None) -> bool:
    """Values that come again and again: at most one different value for every two rows."""
    return cells is not None and 2 <= len(set(cells)) <= min(MOST_LABELS, len(cells) // 2)


def _wordy(cells: list[str] | None) -> bool:
    """Texts: most differ and most have a space in them."""
    if not cells:
        return False
    return 2 * len(set(cells)) > len(cells) and 2 * sum(" " in cell.strip() for cell in cells) > len(cells)
