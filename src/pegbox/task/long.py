"""Long texts: what is read of a text that does not fit, and how the scores of its pieces become one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch

from pegbox.backbone.laid import HARD_ROOM
from pegbox.backbone.seam import Backbone, Live, Words
from pegbox.data.rows import Rows
from pegbox.errors import SettingsError
from pegbox.prompt import HardSlot, Prompt, Segment, SoftSlot, VectorSlot

Way = Literal["head", "tail", "chunks"]
Pool = Literal["dev", "mean", "max", "average"]
POOLS: tuple[Pool, ...] = ("mean", "max", "average")
_SPARE = 8
"""Positions left over: spaces at seams, and the marks that some families read after the answer."""


@dataclass(frozen=True)
class Long:
    """What is done with texts that are too long for the model, or longer than is wanted.

    Settings:
        way: "head" reads the beginning, "tail" the end, "chunks" all of it in pieces whose scores are pooled.
        tokens: the most tokens of a text, or of a piece; None: as many as fit into the model's context beside the prompt.
        overlap: about so many tokens at the end of a piece are read again in the next one.
        pool: how the pieces' scores become the text's: "mean" of their log-probabilities, "max", each label's largest
            log-probability, or "average" of their probabilities. "dev": whichever is best on the dev rows.

    Raises: SettingsError for impossible settings.
    """

    way: Way = "head"
    tokens: int | None = None
    overlap: int = 0
    pool: Pool = "dev"

    def __post_init__(self) -> None:
        for name, value, known in (("long", self.way, get_args(Way)), ("long.pool", self.pool, get_args(Pool))):
            if value not in known:
                raise SettingsError(f"{name}={value!r}", f"one of {', '.join(known)}", "choose one of them")
        if self.tokens is not None and self.tokens < 1:
            raise SettingsError(f"long.tokens={self.tokens}", "at least 1 token", "say for example long.tokens=256")
        if not 0 <= self.overlap < (self.tokens or 1 << 20):
            raise SettingsError(
                f"long.overlap={self.overlap}",
                "a number from 0 to less than a piece's tokens",
                "say for example long.overlap=32",
            )

    @property
    def plain(self) -> bool:
        """Whether texts are cut at their ends where the model's context ends: the model's own way."""
        return self.way == "head" and self.tokens is None

    def parted(self, prompt: Prompt, backbone: Backbone, rows: Rows, words: Iterable[str], share: float = 1.0) -> Parted:
        """The rows as they are sent: the text of each cut, or in pieces.

        It is the field ``text`` that is parted, or the prompt's first one.

        Settings:
            words: the answers, which need room too.
            share: of the room that the prompt leaves, what the text may take.
        """
        field = "text" if "text" in prompt.field_names or not prompt.field_names else prompt.field_names[0]
        texts, cutter = rows.column(field), Cutter(backbone)
        reach = max((len(backbone.encode(f" {word}")) for word in words), default=0)
        pieces: list[list[str]] = []
        for text, room in zip(texts, self._rooms(prompt, backbone, rows, field, reach), strict=True):
            pieces.append(self._pieces(text, max(1, int(room * share)), cutter))
        starts = np.cumsum([0, *map(len, pieces)])
        spans = tuple(range(int(a), int(b)) for a, b in itertools.pairwise(starts))
        of = [at for at, own in enumerate(pieces) for _ in own]
        flat = [piece for own in pieces for piece in own]
        taken = rows.take(of)
        fields = tuple({**row, field: piece} for row, piece in zip(taken.fields, flat, strict=True))
        cut = tuple(at for at, (text, own) in enumerate(zip(texts, pieces, strict=True)) if own != [text])
        return Parted(replace(taken, fields=fields), spans, cut)

    def _rooms(self, prompt: Prompt, backbone: Backbone, rows: Rows, field: str, reach: int) -> list[int]:
        """How many tokens of its own text each row has room for, a few being left over."""
        slots = prompt.slots.values()
        hard = sum(HARD_ROOM for slot in slots if isinstance(slot, HardSlot) and slot.words is None)
        filled = prompt.map(lambda segment: _filled(segment, backbone.width))
        alike = set(prompt.field_names) <= {field}
        some = rows.take([0]) if alike else rows
        bare = replace(some, fields=tuple({**row, field: ""} for row in some.fields))
        left = [backbone.context - length - reach - hard - _SPARE for length in backbone.context_lengths(filled, bare)]
        capped = [room if self.tokens is None else min(room, self.tokens) for room in left]
        return capped * len(rows) if alike else capped

    def _pieces(self, text: str, room: int, cutter: Cutter) -> list[str]:
        if cutter.size(text) <= room:
            return [text]
        if self.way == "chunks":
            return cutter.pieces(text, room, min(self.overlap, room // 2))
        return [cutter.tail(text, room) if self.way == "tail" else cutter.head(text, room)]


def _filled(segment: Segment, width: int) -> Segment:
    """The segment, an open slot with anything of its length in it; the room for an open slot's words is counted apart."""
    match segment:
        case HardSlot(name, None):
            return HardSlot(name, "")
        case VectorSlot(name, length, None):
            return SoftSlot(name, length, np.zeros((length, width), np.float32))
    return segment


@dataclass(frozen=True)
class Parted:
    """Rows as they are sent.

    Settings:
        rows: the pieces, row by row.
        spans: which pieces are whose.
        cut: positions of the rows that were too long.
    """

    rows: Rows
    spans: tuple[range, ...]
    cut: tuple[int, ...]

    def of(self, index: Sequence[int]) -> list[int]:
        """The pieces of some rows."""
        return [piece for at in index for piece in self.spans[at]]

    def one_each(self) -> list[int]:
        """One piece of each row, drawn by chance; the same every time."""
        chance = np.random.default_rng(0)
        return [int(span[chance.integers(len(span))]) for span in self.spans]

    def owner(self, pieces: Sequence[int]) -> list[int]:
        """The rows that pieces are of."""
        owners = [at for at, span in enumerate(self.spans) for _ in span]
        return [owners[piece] for piece in pieces]


def pooled(scores: torch.Tensor, sizes: Sequence[int], rule: Pool) -> torch.Tensor:
    """Rows' label log-probabilities from those of their pieces. "dev" stands for the mean until dev rows have decided.

    Settings:
        sizes: how many pieces each row has.

    Shape: scores [K, sum of sizes, C]; result [K, B, C].
    """
    if all(size == 1 for size in sizes):
        return scores
    parts = scores.split(list(sizes), dim=1)
    match rule:
        case "max":
            found = [part.amax(1) for part in parts]
        case "average":
            found = [part.logsumexp(1) for part in parts]
        case _:
            found = [part.mean(1) for part in parts]
    return torch.stack(found, dim=1).log_softmax(-1)


def spread(live: Live | None, sizes: Sequence[int]) -> Live | None:
    """Vectors that each row has of its own, given to each of its pieces."""
    if live is None or all(size == 1 for size in sizes):
        return live
    counts = torch.tensor(list(sizes))

    def each(value: torch.Tensor | Words) -> torch.Tensor | Words:
        own = isinstance(value, torch.Tensor) and value.ndim == 4 and value.shape[1] > 1
        return value.repeat_interleave(counts.to(value.device), dim=1) if own else value  # type: ignore[union-attr]

    return {name: each(value) for name, value in live.items()}


class Cutter:
    """Cuts texts between words, by their tokens."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._sizes: dict[str, int] = {}

    def size(self, text: str) -> int:
        """How many tokens a text has."""
        return len(self._backbone.encode(text))

    def head(self, text: str, room: int) -> str:
        """The beginning of a text, at most so many tokens long."""
        words = self._words(text, room)
        return self._joined(words, 0, room)[0]

    def tail(self, text: str, room: int) -> str:
        """The end of a text, at most so many tokens long."""
        words = self._words(text, room)
        start, taken = len(words), 0
        while start and taken + self._size(words[start - 1]) <= room:
            start -= 1
            taken += self._size(words[start])
        start = min(start, len(words) - 1)
        while start < len(words) - 1 and self.size("".join(words[start:]).strip()) > room:
            start += 1
        return "".join(words[start:]).strip()

    def pieces(self, text: str, room: int, overlap: int) -> list[str]:
        """All of a text in pieces of at most so many tokens, the last of which is filled by what is left."""
        words, found, start = self._words(text, room), [], 0
        while start < len(words):
            piece, end = self._joined(words, start, room)
            if piece:
                found.append(piece)
            start = end if end == len(words) else self._back(words, start, end, overlap)
        return found or [""]

    def _back(self, words: Sequence[str], start: int, end: int, overlap: int) -> int:
        """Where the piece after the one from start to end begins."""
        at, again = end, 0
        while at - 1 > start and again + self._size(words[at - 1]) <= overlap:
            at -= 1
            again += self._size(words[at])
        return at

    def _joined(self, words: Sequence[str], start: int, room: int) -> tuple[str, int]:
        """The words from start on that fit, at least one, and where they end."""
        end, taken = start + 1, self._size(words[start].lstrip())  # no space begins a piece
        while end < len(words) and taken + self._size(words[end]) <= room:
            taken += self._size(words[end])
            end += 1
        while end > start + 1 and self.size("".join(words[start:end]).strip()) > room:
            end -= 1
        return "".join(words[start:end]).strip(), end

    def _words(self, text: str, room: int) -> list[str]:
        """The text's words with the space before them; words that are too long in parts."""
        return [part for word in re.findall(r"\s*\S+|\s+$", text) for part in self._split(word, room)]

    def _split(self, word: str, room: int) -> list[str]:
        if self._size(word) <= room or len(word) == 1:
            return [word]
        middle = len(word) // 2
        return [*self._split(word[:middle], room), *self._split(word[middle:], room)]

    def _size(self, word: str) -> int:
        if word not in self._sizes:
            self._sizes[word] = self.size(word)
        return self._sizes[word]
