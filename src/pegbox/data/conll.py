"""CoNLL files: a word a line with its tag among other columns, and a blank line after every sentence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pegbox.data.check import Problem, count
from pegbox.data.files import bad_encoding, check_encoding, no_file
from pegbox.data.stream import Reading, Record, Stream
from pegbox.errors import DataError

DOCUMENT = "-DOCSTART-"
LINES = "lines"
"""Beside a sentence's words and tags: the line of each, for messages."""


@dataclass(frozen=True)
class Columns:
    """Which columns are read, by number: 1 is the first, -1 the last.

    Settings:
        tag: None: no tags are read.
    """

    word: int = 1
    tag: int | None = -1

    @classmethod
    def of(cls, text: str | None, label: str | None, labelled: bool | None) -> Columns:
        """The columns that a user names by number. Raises DataError for a name that is no number."""
        for name, flag in ((text, "text"), (label, "label")):
            if name is not None and not _is_number(name):
                raise DataError(
                    f"the column {name!r} of a CoNLL file, whose columns have no names",
                    "its number: 1 is the first, -1 the last",
                    f"say for example {flag}=1 (--{flag} 1)",
                )
        return cls(int(text or 1), None if labelled is False else int(label or -1))


def _is_number(name: str) -> bool:
    return name.removeprefix("-").isdecimal() and int(name) != 0


def open_conll(path: Path, reading: Reading, columns: Columns) -> Stream:
    """The sentences of a file: records with the lists ``words``, ``tags`` and ``lines``.

    Columns are parted by tabs, in lines that have one, else by spaces. Lines of -DOCSTART- are skipped.

    Raises: SettingsError for an unknown encoding; DataError for a missing file, and while reading for wrong encoding.
    """
    path = path.expanduser()
    if not path.is_file():
        raise no_file(path)
    if reading.encoding is not None:
        check_encoding(reading.encoding)
    stream = Stream(str(path), columns=["text", "spans"], named=False)
    stream.items = _sentences(path, reading, columns, stream)
    return stream


def parse_conll(lines: Iterator[str], columns: Columns, stream: Stream) -> Iterator[Record | Problem]:
    """The sentences of lines, each numbered; one with a line that cannot be read is a Problem in its place."""
    held: list[tuple[int, list[str]]] = []
    number, documents = 0, 0
    for line, text in enumerate([*lines, ""], 1):
        cells = _cells(text)
        if cells:
            documents += cells[0] == DOCUMENT
            held.extend([(line, cells)] if cells[0] != DOCUMENT else [])
        elif held:
            number += 1
            yield _sentence(number, held, columns)
            held = []
    if documents:
        stream.notes.append(f"{stream.name}: skipped {count(documents, 'line')} of {DOCUMENT}.")


def _sentences(path: Path, reading: Reading, columns: Columns, stream: Stream) -> Iterator[Record | Problem]:
    try:
        with path.open(encoding=reading.encoding or "utf-8-sig") as file:
            yield from parse_conll(file, columns, stream)
    except UnicodeError as error:
        raise bad_encoding(path, reading.encoding, error) from error


def _cells(line: str) -> list[str]:
    line = line.rstrip("\r\n")
    return [cell.strip() for cell in line.split("\t")] if "\t" in line and line.strip() else line.split()


def _sentence(number: int, held: list[tuple[int, list[str]]], columns: Columns) -> Record | Problem:
    words, tags = [], []
    for line, cells in held:
        word = _cell(cells, columns.word)
        if not word:
            return Problem("tag", number, line, f"{' '.join(cells)!r} has no word in column {columns.word}")
        words.append(word)
        if columns.tag is not None:
            tag = _cell(cells, columns.tag)
            if not tag or (len(cells) == 1 and columns.tag in (-1, 1)):
                return Problem("tag", number, line, f"{' '.join(cells)!r}")
            tags.append(tag)
    values = {"words": words, "tags": tags if columns.tag is not None else None, LINES: [line for line, _ in held]}
    return Record(number, values, held[0][0])


def _cell(cells: list[str], column: int) -> str:
    at = column - 1 if column > 0 else len(cells) + column
    return cells[at] if 0 <= at < len(cells) else ""
