"""Files: CSV, TSV, JSONL, JSON and Parquet as streams of raw rows, with errors that name the line or the byte."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from pegbox.data.check import Problem, count, listing, which
from pegbox.data.stream import Reading, Record, Stream
from pegbox.errors import DataError, SettingsError


def open_file(path: Path, reading: Reading) -> Stream:
    """The rows of a file, by its ending. Nothing is read before the first row is asked for.

    Raises: DataError for a missing file, a folder or an unknown ending, and while reading for wrong encoding and broken files.
    """
    path = path.expanduser()
    if not path.is_file():
        raise no_file(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path} ends in {path.suffix or 'nothing'!r}",
            f"a file that ends in {', '.join(READERS)}",
            "save it as one of these, or rename it if it is one of these",
        )
    if reading.encoding is not None:
        check_encoding(reading.encoding)
    stream = Stream(str(path))
    stream.items = _decoded(reader, path, reading, stream)
    return stream


def _decoded(reader: Reader, path: Path, reading: Reading, stream: Stream) -> Iterator[Record | Problem]:
    try:
        yield from reader(path, reading, stream)
    except UnicodeError as error:
        raise bad_encoding(path, reading.encoding, error) from error


def no_file(path: Path) -> DataError:
    """The error for a file that is not there, to be raised; it names the nearest one."""
    from difflib import get_close_matches

    if path.is_dir():
        return DataError(f"{path} is a folder", "a file", "name one of the files in it")
    names = sorted(other.name for other in path.parent.iterdir()) if path.parent.is_dir() else []
    near = get_close_matches(path.name, names, 1)
    guess = f"did you mean {path.parent / near[0]}? " if near else ""
    return DataError(f"there is no file {path}", "a file that exists", f"{guess}see that the path is right from this folder")


def check_encoding(name: str) -> None:
    """Raises SettingsError for an encoding that Python does not know."""
    try:
        codecs.lookup(name)
    except LookupError:
        raise SettingsError(
            f"encoding {name!r}", "an encoding that Python knows", "say for example utf-8, latin-1, cp1252 or utf-16"
        ) from None


def _open(path: Path, reading: Reading, newline: str) -> TextIO:
    return path.open(encoding=reading.encoding or "utf-8-sig", newline=newline)


def bad_encoding(path: Path, encoding: str | None, error: UnicodeError) -> DataError:
    """The error for bytes that are not in the encoding, to be raised; it names the first such byte and its line."""
    with path.open("rb") as file:
        head = file.read(2)
    guess = "utf-16" if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "latin-1"
    more = "" if guess == "utf-16" else ", or cp1252 for a file that a Windows program wrote"
    return DataError(
        f"{path} is not {encoding or 'UTF-8'}: {_first_bad_byte(path, encoding or 'utf-8') or error}",
        f"text in {encoding or 'UTF-8'}",
        f"say the file's encoding, for example --encoding {guess} (encoding={guess!r}){more}; or save the file as UTF-8",
    )


def _first_bad_byte(path: Path, encoding: str) -> str:
    """Value, offset (from 0) and line (from 1) of the first byte that cannot be decoded; empty if every byte can be."""
    decoder = codecs.getincrementaldecoder(encoding)()
    with path.open("rb") as file:
        at = len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0
        file.seek(at)
        lines, chunk = 1, b" "
        while chunk:
            held = len(decoder.getstate()[0])
            chunk = file.read(1 << 20)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                into = error.start - held
                line = lines + chunk[: max(into, 0)].count(b"\n")
                return f"byte 0x{error.object[error.start]:02x} at offset {at + into:,}, line {line:,}"
            except UnicodeError:
                return ""
            at += len(chunk)
            lines += chunk.count(b"\n")
    return ""


_ANY_SIZE = 2**31 - 1
"""The most that every platform's csv module takes as its limit."""


def _delimited(path: Path, reading: Reading, stream: Stream) -> Iterator[Record | Problem]:
    # A cell beyond the csv module's limit cannot be stepped over: where such rows are to be left out it is read to its end.
    limit = _ANY_SIZE if reading.on_problem == "drop" else reading.field_limit
    with _open(path, reading, "") as file:
        delimiter = _delimiter(path, file, stream)
        quote = '"' if reading.quotes else None
        lines = _csv_lines(csv.reader(file, delimiter=delimiter, quotechar=quote, strict=True), stream, limit)
        stream.columns.extend(_header(next(lines, (1, []))[1], stream.name))
        for number, (line, cells) in enumerate(lines, 1):
            if len(cells) != len(stream.columns):
                yield Problem("cells", number, line, f"{count(len(cells), 'cell')}, the header has {len(stream.columns)}")
            elif (longest := max(map(len, cells))) > reading.field_limit:
                yield Problem("long", number, line, f"{longest:,} characters, the limit is {reading.field_limit:,}")
            else:
                yield Record(number, dict(zip(stream.columns, cells, strict=True)), line)


def _delimiter(path: Path, file: TextIO, stream: Stream) -> str:
    """Tab for .tsv and .tab, else comma, unless the header holds no comma but semicolons or tabs."""
    if path.suffix.lower() != ".csv":
        return "\t"
    head = file.readline(1 << 16)
    file.seek(0)
    if "," not in head:
        for delimiter, name in ((";", "semicolons"), ("\t", "tabs")):
            if delimiter in head:
                stream.notes.append(f"{stream.name}: its header has no comma, so its cells are taken as divided by {name}.")
                return delimiter
    return ","


def _next_cells(reader: Any, limit: int) -> list[str]:
    """The next row; the csv module's limit, one number for the whole process, is back at what it was afterwards."""
    before = csv.field_size_limit(max(csv.field_size_limit(), limit))
    try:
        cells: list[str] = next(reader)
        return cells
    finally:
        csv.field_size_limit(before)


def _csv_lines(reader: Any, stream: Stream, limit: int) -> Iterator[tuple[int, list[str]]]:
    """Each row of cells with the line where it starts, the header first; empty lines are skipped and noted.

    A quote gone wrong cannot be stepped over, because nobody knows where the next row starts: it is an error at once.
    """
    number, told, blank = 0, 0, []
    while True:
        line = reader.line_num + 1
        try:
            cells = _next_cells(reader, limit)
        except StopIteration:
            break
        except csv.Error as error:
            raise _csv_error(str(error), f"{stream.name}, {f'row {number}' if number else 'header'} (line {line})") from error
        if not cells:
            blank.append(line)
            continue
        number, told = number + 1, len(blank)
        yield line, cells
    if told:  # empty lines at the end of a file mean nothing
        listed = which(blank[:told]).replace("row", "line")
        stream.notes.append(f"{stream.name}: skipped {count(told, 'empty line')} ({listed}).")


def _csv_error(reason: str, where: str) -> DataError:
    if "field limit" in reason:
        return DataError(
            f"{where} holds a cell longer than the limit ({reason})",
            "cells within the limit, and every opening quote closed",
            "close the quote if one is open; or raise the limit with field_limit=N (--field-limit N), N characters",
        )
    return DataError(
        f"{where} cannot be divided into cells: {reason}",
        "cells that either have no double quote at their start, or are wrapped in double quotes, inner quotes doubled",
        "correct the quotes; if the file never wraps cells in quotes, say quotes=False (--no-quotes)",
    )


def _header(cells: list[str], name: str) -> list[str]:
    blank = [at for at, cell in enumerate(cells) if not cell]
    names = [f"column {at + 1}" if at in blank and len(blank) > 1 else cell for at, cell in enumerate(cells)]
    return distinct(names, name)


def distinct(names: list[str], source: str) -> list[str]:
    """The same names. Raises DataError where two columns have one name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{source} has more than one column named {listing(twice)}", "columns with different names", "rename one of them"
        )
    return names


def _json_lines(path: Path, reading: Reading, stream: Stream) -> Iterator[Record | Problem]:
    with _open(path, reading, "\n") as file:
        number = 0
        for line, text in enumerate(file, 1):
            if text.strip():
                number += 1
                yield _json_row(text, number, line, stream)


def _json_row(text: str, number: int, line: int, stream: Stream) -> Record | Problem:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        return Problem("json", number, line, f"{error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return Problem("json", number, line, str(error))
    if not isinstance(values, dict):
        return Problem("json", number, line, f"a {type(values).__name__} instead of an object")
    grow(stream.columns, values)
    return Record(number, values, line)


def grow(columns: list[str], values: Any) -> None:
    """Appends the names that are new, in their order."""
    if len(values) > len(columns) or not all(map(columns.__contains__, values)):
        columns.extend(name for name in values if name not in columns)


def _json_file(path: Path, reading: Reading, stream: Stream) -> Iterator[Record | Problem]:
    """A .json file: one list of objects, or lines of objects."""
    with _open(path, reading, "\n") as file:
        is_list = file.read(4096).lstrip().startswith("[")
        file.seek(0)
        if not is_list:
            yield from _json_lines(path, reading, stream)
            return
        try:
            values = json.load(file)
        except UnicodeError:
            raise
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} cannot be read as JSON: {error}", "a list of JSON objects", "correct the file") from error
    for number, row in enumerate(values, 1):
        if isinstance(row, dict):
            grow(stream.columns, row)
            yield Record(number, row)
        else:
            yield Problem("json", number, None, f"a {type(row).__name__} instead of an object")


def _parquet(path: Path, _: Reading, stream: Stream) -> Iterator[Record | Problem]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(f"{path} needs pyarrow, which is not installed", "pyarrow", "pip install pyarrow") from error
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            stream.columns.extend(distinct([str(name) for name in file.schema_arrow.names], stream.name))
            for batch in file.iter_batches(batch_size=1024):
                for values in batch.to_pylist():
                    number += 1
                    yield Record(number, values)
    except pyarrow.ArrowException as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}", "a whole Parquet file", "write the file anew") from error


Reader = Callable[[Path, Reading, Stream], Iterator[Record | Problem]]

READERS: dict[str, Reader] = {
    ".csv": _delimited,
    ".tsv": _delimited,
    ".tab": _delimited,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json_file,
    ".parquet": _parquet,
    ".pq": _parquet,
}
