"""Words of a text: where they begin and end, and each of them as a row of its own."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from pegbox.data.rows import Rows
from pegbox.data.tags import OTHER

Span = tuple[int, int]
"""Where a word begins and where it ends, in characters of its text; text[start:end] is the word."""

WORDS, TAGS = "words", "tags"
"""The keys of a sentence's right answer in `Rows.gold`: its words' spans, and their tags in BIO, or None."""

OF_A_WORD = ("word", "bare", "before", "after")
"""The fields that differ among the words of a sentence."""

_NAMED_BY = 3
"""The most words by which a word is asked about."""
_JOINERS = "\u200c\u200d"


def word_spans(text: str) -> list[Span]:
    """The words of a text that nobody has divided.

    Letters, digits and underscores in a row are a word, with the marks that sit on them; every other character that is seen is
    a word by itself. So spans of people's own seldom cut a word, and each word is text[start:end], letter by letter.
    """
    found: list[Span] = []
    at = 0
    for kind, run in groupby(text, key=_kind):
        size = len(list(run))
        if kind == "word":
            found.append((at, at + size))
        elif kind == "mark":
            found.extend((at + n, at + n + 1) for n in range(size))
        at += size
    return found


def _kind(character: str) -> str:
    if character.isalnum() or character == "_" or character in _JOINERS or unicodedata.category(character).startswith("M"):
        return "word"
    return "" if character.isspace() or unicodedata.category(character) in ("Cc", "Cf") else "mark"


def joined(words: Sequence[str]) -> tuple[str, list[Span]]:
    """The text of words that come one by one, with a space between them, and where they stand in it."""
    spans, at = [], 0
    for word in words:
        spans.append((at, at + len(word)))
        at += len(word) + 1
    return " ".join(words), spans


def spans_in(gold: Mapping[str, Any]) -> list[Span]:
    """A sentence's words."""
    return [(int(start), int(end)) for start, end in gold[WORDS]]


def texts_of(text: str, spans: Sequence[Span]) -> list[str]:
    """The words themselves."""
    return [text[start:end] for start, end in spans]


def names(words: Sequence[str]) -> list[str]:
    """How each word is asked about: by itself, or with the words before it where it stands more than once.

    As many words before it as make it the only one so called, three words in all at most. What stands between them is a space.
    """
    runs = Counter(tuple(words[at : at + size]) for size in range(1, _NAMED_BY) for at in range(len(words) - size + 1))
    found = []
    for at in range(len(words)):
        size = 1
        while size < _NAMED_BY and size <= at and runs[tuple(words[at - size + 1 : at + 1])] > 1:
            size += 1
        found.append(" ".join(words[at - size + 1 : at + 1]))
    return found


@dataclass(frozen=True)
class WordRows(Rows):
    """Rows of which each asks about one word of a sentence.

    Settings:
        sentences: for each row the number of its sentence; rows of one sentence stand together, and are best read together.
    """

    sentences: tuple[int, ...] = ()

    @property
    def kin(self) -> tuple[int, ...]:
        """The rows' sentences."""
        return self.sentences

    def take(self, index: Sequence[int]) -> WordRows:
        """The rows at these positions, in this order."""
        picked = [int(at) for at in index]
        some = super().take(picked)
        assert isinstance(some, WordRows)  # `replace` keeps the class
        return replace(some, sentences=tuple(self.sentences[at] for at in picked))


@dataclass(frozen=True)
class WordFields(Mapping[str, str]):
    """What a prompt may read of a word: its sentence's own columns, and those that are worked out when they are asked for.

    Settings:
        row: the sentence's columns, ``text`` among them.
        span: where the word stands.
        word: how it is asked about.
    """

    row: Mapping[str, str]
    span: Span
    word: str

    def __getitem__(self, name: str) -> str:
        text, (start, end) = self.row["text"], self.span
        made = {"word": self.word, "bare": text[start:end]}.get(name)
        if made is None and name in ("before", "after"):
            made = text[:start] if name == "before" else text[end:]
        return self.row[name] if made is None else made

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self.row, *OF_A_WORD)))

    def __len__(self) -> int:
        return len({*self.row, *OF_A_WORD})


def word_rows(rows: Rows) -> WordRows:
    """Every word of every sentence as a row: ``text`` is its sentence, ``word`` how it is asked about.

    Besides, ``bare`` is the word alone, ``before`` and ``after`` the text before and after it. Labels are the words' types,
    where the sentences have tags.
    """
    fields: list[Mapping[str, str]] = []
    labels: list[str] = []
    numbers: list[int] = []
    sentences: list[int] = []
    tagged = all(gold[TAGS] is not None for gold in rows.gold or ())
    for at, (row, gold) in enumerate(zip(rows.fields, rows.gold or (), strict=True)):
        spans = spans_in(gold)
        found = names(texts_of(row["text"], spans))
        fields.extend(WordFields(row, span, name) for span, name in zip(spans, found, strict=True))
        numbers.extend([rows.numbers[at]] * len(spans))
        sentences.extend([at] * len(spans))
        labels.extend(type_of(tag) for tag in gold[TAGS] or ())
    return WordRows(tuple(fields), tuple(labels) if tagged else None, tuple(numbers), rows.source, sentences=tuple(sentences))


def type_of(tag: str) -> str:
    """A BIO tag's type: what a word is, whether it begins an entity or goes on with it."""
    return OTHER if tag == OTHER else tag.partition("-")[2]


def thinned(rows: WordRows) -> tuple[WordRows, float]:
    """The rows with only as many words of no type as there are words of types, and the share of them that was kept.

    Which ones does not change from run to run: it depends on their texts alone.
    """
    other = [at for at, label in enumerate(rows.answers()) if label == OTHER]
    typed = len(rows) - len(other)
    if not typed or len(other) <= typed:
        return rows, 1.0
    share = typed / len(other)
    left_out = {at for at in other if _chance(rows, at) >= share}
    if len(left_out) == len(other):
        left_out.remove(other[0])  # a task needs every label
    return rows.take([at for at in range(len(rows)) if at not in left_out]), share


def _chance(rows: WordRows, at: int) -> float:
    """A number from 0 to 1 that a word has for its own."""
    content = f"{rows.fields[at]['word']}\n{rows.fields[at]['text']}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64
