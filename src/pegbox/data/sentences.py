"""Sentences with tagged words, from CoNLL files, tables with spans or with lists of words, data sets and lists in Python."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pegbox.data.cells import as_text
from pegbox.data.check import Problem, bad_cell, no_rows, settle
from pegbox.data.columns import TEXT_NAMES
from pegbox.data.conll import LINES, Columns, open_conll
from pegbox.data.files import READERS
from pegbox.data.memory import is_a
from pegbox.data.rows import Rows
from pegbox.data.stream import Reading, Record, Stream
from pegbox.data.table import SAMPLE, open_source
from pegbox.data.tagged_samples import open_tagged_sample
from pegbox.data.tags import OTHER, Fault, Scheme, check_scheme, scheme_of, to_bio, unknown
from pegbox.data.words import TAGS, WORDS, Span, joined, type_of, word_spans
from pegbox.errors import DataError

WORD_NAMES = ("tokens", "words")
TAG_NAMES = ("ner_tags", "tags", "labels")
SPAN_NAMES = ("spans", "entities", "label", "labels")
_TABLES = frozenset(ending for ending in READERS if ending not in (".tsv", ".tab"))


@dataclass(frozen=True)
class Sentences:
    """Sentences with the user's own columns beside them.

    Settings:
        rows: each with the field ``text``, and in `Rows.gold` its words and their tags in BIO, or None for these; labels are
            what sentences are drawn by: each one's rarest type.
        records: for each row all that its source said of it, so that predictions can be written beside it.
        columns: the source's columns, in order.
        notes: what was guessed, skipped or left out.
    """

    rows: Rows
    records: tuple[Mapping[str, Any], ...]
    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Made:
    """One sentence on its way: a record, its text and words, and its tags as they stand there; or the spans of its entities."""

    record: Record
    text: str
    words: Sequence[Span]
    tags: Sequence[str] | None = None


def read_sentences(
    source: Any,
    text: str | None = None,
    label: str | None = None,
    labelled: bool | None = None,
    *,
    fields: Sequence[str] = (),
    reading: Reading | None = None,
    scheme: Scheme = "auto",
) -> Sentences:
    """One table of sentences.

    Settings:
        source: a CoNLL file; a table of texts with spans, or of lists of words and tags (.jsonl, .json, .parquet, .csv, a
            datasets.Dataset, a DataFrame, a list of dicts); a list of (words, tags) pairs, or of texts; a sample such as
            "sample:entities". Rows, whose words are found in their texts where they have none yet.
        text: the column of the text or of the words; of a CoNLL file its number. None: guessed by its name.
        label: the column of the spans or the tags; of a CoNLL file its number, the last by default.
        labelled: True: there must be tags; False: none are read; None: they are taken where there are some.
        fields: more columns, for the prompt to read.
        scheme: the tags' scheme: bio, iob1 or bioes (BILOU too). "auto" finds it out.
    Raises: DataError with the source, the sentences and what to do.
    """
    check_scheme(scheme)
    if isinstance(source, Rows):
        return _of_rows(source, labelled)
    how = reading or Reading()
    stream = _open(source, how, text, label, labelled)
    problems: list[Problem] = []
    made = list(_made(stream, text, label, labelled, how, problems))
    tags = _in_bio(made, scheme, problems)
    kept = [one for one in made if one.record.number in tags]
    notes = settle(sorted(problems, key=lambda one: one.number), stream.name, how.on_problem)
    if not kept:
        raise no_rows(stream.name, f"has no rows that can be used ({' '.join(notes)})" if notes else "has no rows")
    rows = _rows(kept, tags, stream.name, fields)
    records = tuple(_record(one, stream) for one in kept)
    return Sentences(rows, records, tuple(stream.columns), (*stream.notes, *notes))


def _of_rows(rows: Rows, labelled: bool | None) -> Sentences:
    """Rows as sentences: as they are where they have words, else with the words of their texts."""
    texts = rows.column("text")
    gold = rows.gold or tuple({WORDS: [list(word) for word in word_spans(text)], TAGS: None} for text in texts)
    for number, one in zip(rows.numbers, gold, strict=True):
        seen = isinstance(one, Mapping) and TAGS in one and one.get(WORDS)
        if not seen or (labelled and one[TAGS] is None):
            what = "no tags" if seen else "no words"
            raise DataError(
                f"{rows.source}, row {number} has {what}",
                "rows of sentences, with a tag for each word where they are to be learned from or scored",
                "give (words, tags) pairs, or a file or table with tags or spans",
            )
    found = replace(rows, gold=gold)
    if rows.labels is None and all(one[TAGS] is not None for one in gold):
        found = replace(found, labels=rarest([one[TAGS] for one in gold]))
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    return Sentences(found, rows.fields, columns)


def _open(source: Any, reading: Reading, text: str | None, label: str | None, labelled: bool | None) -> Stream:
    if isinstance(source, str) and source.startswith(SAMPLE):
        return open_tagged_sample(source.removeprefix(SAMPLE))
    if isinstance(source, (str, os.PathLike)) and Path(source).suffix.lower() not in _TABLES:
        return open_conll(Path(source), reading, Columns.of(text, label, labelled))
    if isinstance(source, list) and source and _is_pair(source[0]):
        return _pairs(source)
    stream = open_source(source, reading)
    if is_a(source, "datasets", "Dataset"):
        stream.items = _named_tags(stream.items, source)
    return stream


def _is_pair(item: Any) -> bool:
    """A list of words with a list of their tags."""
    return isinstance(item, (tuple, list)) and len(item) == 2 and all(isinstance(part, (tuple, list)) for part in item)


def _pairs(items: Sequence[Any]) -> Stream:
    if wrong := [at for at, item in enumerate(items, 1) if not _is_pair(item)]:
        raise DataError(
            f"row {wrong[0]} of the list is a {type(items[wrong[0] - 1]).__name__}, row 1 is a (words, tags) pair",
            "a list of (words, tags) pairs",
            "make all items alike",
        )
    records = (Record(at, {"words": list(words), "tags": list(tags)}) for at, (words, tags) in enumerate(items, 1))
    return Stream("the list", records, ["text", "spans"], named=False)


def _named_tags(items: Iterator[Record | Problem], source: Any) -> Iterator[Record | Problem]:
    """A data set's records, with the names of class labels for their numbers in lists."""
    found = {name: getattr(getattr(kind, "feature", None), "names", None) for name, kind in source.features.items()}
    known = {name: names for name, names in found.items() if names}
    for item in items:
        if isinstance(item, Record):
            named = {name: [names[at] for at in item.values[name]] for name, names in known.items()}
            item = replace(item, values={**item.values, **named})  # noqa: PLW2901
        yield item


def _made(
    stream: Stream, text: str | None, label: str | None, labelled: bool | None, reading: Reading, problems: list[Problem]
) -> Iterator[Made]:
    """The sentences that can be read; the others are noted among the problems."""
    for item in stream.items:
        if isinstance(item, Problem):
            problems.append(item)
            continue
        values = dict(item.values)
        if LINES in values:  # a CoNLL file's columns have numbers, which have done their work
            text = label = None
        words = _column(values, text, WORD_NAMES)
        try:
            if words is not None and isinstance(values[words], (list, tuple)):
                made = _of_words(item, values, words, label, labelled)
            else:
                made = _of_text(stream, item, values, text, label, labelled)
        except _WrongError as wrong:
            problems.append(Problem(wrong.kind, item.number, item.line, wrong.detail))
            continue
        if bad := bad_cell(made.text, reading.field_limit):
            problems.append(Problem(bad[0], item.number, item.line, bad[1]))
        else:
            yield made


class _WrongError(Exception):
    """A record that cannot be used."""

    def __init__(self, kind: str, detail: str) -> None:
        self.kind, self.detail = kind, detail
        super().__init__(detail)


def _column(values: Mapping[str, Any], named: str | None, usual: Sequence[str]) -> str | None:
    """The column that is named, or the first with a usual name; None where there is none."""
    if named is not None:
        return named if named in values else None
    return next((name for name in usual if name in values), None)


def _of_words(record: Record, values: Mapping[str, Any], column: str, label: str | None, labelled: bool | None) -> Made:
    words = list(values[column])
    if not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise _WrongError("text", f"column {column!r} is blank, or holds a word that is")
    text, spans = joined(words)
    at = None if labelled is False else _column(values, label, TAG_NAMES)
    tags = None if at is None else values[at]
    if tags is None:
        if labelled:
            raise _WrongError("tag", f"no column {label or ' or '.join(TAG_NAMES)}")
        return Made(record, text, spans)
    if not isinstance(tags, (list, tuple)) or len(tags) != len(words):
        many = len(tags) if isinstance(tags, (list, tuple)) else 0
        raise _WrongError("tag", f"{len(words)} words and {many} tags")
    return Made(record, text, spans, [str(tag) for tag in tags])


def _of_text(
    stream: Stream, record: Record, values: Mapping[str, Any], column: str | None, label: str | None, labelled: bool | None
) -> Made:
    folded = [name for name in values if name.casefold().strip() in TEXT_NAMES] or [name for name in values if len(values) == 1]
    at = column if column in values else (folded[0] if folded and column is None else None)
    if at is None:
        known = ", ".join(map(repr, values)) or "none"
        raise DataError(
            f"{stream.name} has no column of texts or of words (it has {known})",
            f"a column called {column!r}" if column else f"a column called text, or {' or '.join(WORD_NAMES)}",
            "name the column with text=... (--text)",
        )
    text = values[at]
    if not isinstance(text, str) or not text.strip():
        raise _WrongError("text", f"column {at!r} is blank or no text")
    words = word_spans(text)
    if not words:
        raise _WrongError("text", f"column {at!r} holds nothing that is seen")
    of = None if labelled is False else _column(values, label, SPAN_NAMES)
    if of is None:
        if labelled:
            raise _WrongError("spans", f"no column {label or 'spans'}")
        return Made(record, text, words)
    return Made(record, text, words, _tags_from_spans(text, words, values[of]))


def _tags_from_spans(text: str, words: Sequence[Span], value: Any) -> list[str]:
    """BIO tags of the words from spans in characters. Raises _WrongError for spans that do not fit."""
    spans = sorted(_read_span(span) for span in _read_spans(value))
    tags = [OTHER] * len(words)
    before: tuple[int, int, str] | None = None
    for start, end, kind in spans:
        shown = f'{{"start": {start}, "end": {end}, "label": {json.dumps(kind)}}}'
        if not 0 <= start < end <= len(text):
            raise _WrongError("outside", f"{shown} in a text of {len(text)} characters")
        if before is not None and start < before[1]:
            raise _WrongError("overlap", f"{shown} begins before the end of the one from {before[0]} to {before[1]}")
        inside = [at for at, (first, last) in enumerate(words) if first < end and last > start]
        cut = [words[at] for at in inside if words[at][0] < start or words[at][1] > end]
        if cut or not inside:
            shown_word = f"the word {text[slice(*cut[0])]!r}" if cut else "no word"
            raise _WrongError("cut", f"{shown}, which is {text[start:end]!r}, holds {'part of ' if cut else ''}{shown_word}")
        for at in inside:
            tags[at] = f"{'B' if at == inside[0] else 'I'}-{kind}"
        before = start, end, kind
    return tags


def _read_spans(value: Any) -> Sequence[Any]:
    if isinstance(value, str):  # a CSV's cell
        try:
            value = json.loads(value) if value.strip() else []
        except ValueError as error:
            raise _WrongError("spans", str(error)) from error
    if value is None:
        raise _WrongError("spans", "none")
    if not isinstance(value, (list, tuple)):
        raise _WrongError("spans", f"a {type(value).__name__}")
    return value


def _read_span(span: Any) -> tuple[int, int, str]:
    parts = [span.get(name) for name in ("start", "end", "label")] if isinstance(span, Mapping) else span
    if isinstance(parts, (list, tuple)) and len(parts) == 3:
        start, end, kind = parts
        if type(start) is int and type(end) is int and isinstance(kind, str) and kind.strip():
            return start, end, kind.strip()
    raise _WrongError("spans", f"{json.dumps(span, ensure_ascii=False, default=str)}")


def _in_bio(made: Sequence[Made], scheme: Scheme, problems: list[Problem]) -> dict[int, list[str] | None]:
    """Each usable sentence's tags in BIO, or None where it has none, by its number."""
    strange = {one.record.number: unknown(one.tags or ()) for one in made}
    known: Scheme = scheme
    if scheme == "auto":
        known = scheme_of(one.tags for one in made if one.tags is not None and strange[one.record.number] is None)
    found: dict[int, list[str] | None] = {}
    for one in made:
        number, fault = one.record.number, strange[one.record.number]
        tags: list[str] | None = None
        if one.tags is not None and fault is None:
            tags, fault = to_bio(one.tags, known)
        if fault is None:
            found[number] = tags
        else:
            problems.append(_problem(one, fault, known))
    return found


def _problem(made: Made, fault: Fault, scheme: Scheme) -> Problem:
    lines = made.record.values.get(LINES)
    line = made.record.line if lines is None else lines[fault.at]
    word = made.text[slice(*made.words[fault.at])]
    read = f", read as {scheme.upper()}" if fault.kind == "order" else ""
    return Problem(fault.kind, made.record.number, line, f"{fault.detail} for {word!r}{read}")


def _rows(kept: Sequence[Made], tags: Mapping[int, list[str] | None], name: str, fields: Sequence[str]) -> Rows:
    numbers = tuple(one.record.number for one in kept)
    if missing := next((field for field in fields if any(field not in one.record.values for one in kept)), None):
        raise DataError(
            f"{name} has no column {missing!r} in every row", "the columns that the prompt reads", "correct the name"
        )
    more = [{field: as_text(one.record.values[field]) or "" for field in fields} for one in kept]
    gold = tuple({WORDS: [list(word) for word in one.words], TAGS: tags[one.record.number]} for one in kept)
    bio = [found for one in kept if (found := tags[one.record.number]) is not None]
    labels = rarest(bio) if len(bio) == len(kept) else None
    return Rows(tuple({**row, "text": one.text} for row, one in zip(more, kept, strict=True)), labels, numbers, name, gold)


def rarest(tagged: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Each sentence's rarest type, or O: what sentences are drawn by, so that every part has its share of each."""
    kinds = [{type_of(tag) for tag in tags} - {OTHER} for tags in tagged]
    counts = Counter(kind for some in kinds for kind in some)
    return tuple(min(some, key=lambda kind: (counts[kind], kind)) if some else OTHER for some in kinds)


def _record(made: Made, stream: Stream) -> Mapping[str, Any]:
    """What is written back of a sentence: its columns, or its text where its source has none with names."""
    return made.record.values if stream.named else {"text": made.text}
