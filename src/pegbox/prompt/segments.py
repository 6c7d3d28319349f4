"""Prompts as values: immutable rows of segments, some of them open slots."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pegbox.errors import PromptError
from pegbox.prompt.turns import TURNS, check_place

ROLES = ("system", "user", "assistant")
_SLOT_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_FIELD_NAME = re.compile(r"[^{}\[\]\\\n]+")


@dataclass(frozen=True)
class Text:
    """Words that stay as they are written."""

    text: str


@dataclass(frozen=True)
class Field:
    """A place for one of the row's own texts. What stands there is data, never structure.

    Raises: PromptError for a name that the notation cannot hold.
    """

    name: str

    def __post_init__(self) -> None:
        if not _FIELD_NAME.fullmatch(self.name):
            raise PromptError(
                f"a field named {self.name!r}", "a name on one line without [ ] { } or \\", "rename the column in the data"
            )


@dataclass(frozen=True)
class HardSlot:
    """A place for words; open while `words` is None.

    Raises: PromptError for a name that the notation cannot hold.
    """

    name: str
    words: str | None = None

    def __post_init__(self) -> None:
        _check_slot_name(self.name)


@dataclass(frozen=True, eq=False)
class VectorSlot:
    """A place for learned numbers; open while `vectors` is None. It keeps a copy of the vectors it is given.

    Settings:
        kind: the slot's word in the notation.
        length: positions that it takes up, P.

    Shape: vectors [P, width], float32; what the width is, each kind says.
    Raises: PromptError for a name that the notation cannot hold, a length below 1, or vectors of another shape.
    """

    kind: ClassVar[str]
    name: str
    length: int
    vectors: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        _check_slot_name(self.name)
        if self.length < 1:
            raise PromptError(
                f"{self.kind} slot {self.name!r} has length {self.length}", "at least 1", f"write [{self.kind} name 16]"
            )
        if self.vectors is None:
            return
        # always a copy: an optimiser's own array goes on changing, and a value must not
        vectors = np.array(self.vectors, dtype=np.float32, order="C")
        if vectors.ndim != 2 or not self.holds(len(vectors)):
            raise PromptError(
                f"vectors of shape {vectors.shape} for {self.kind} slot {self.name!r} of length {self.length}",
                f"a shape of ({self.rows}, width)",
                "fill the slot with what a method learned for a slot of this kind and length",
            )
        vectors.flags.writeable = False
        object.__setattr__(self, "vectors", vectors)

    def holds(self, rows: int) -> bool:
        """Whether a slot of this kind and length may hold so many vectors."""
        return rows == self.length

    @property
    def rows(self) -> str:
        """How many vectors it holds, in words."""
        return str(self.length)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VectorSlot):
            return NotImplemented
        if (self.kind, self.name, self.length) != (other.kind, other.name, other.length):
            return False
        if self.vectors is None or other.vectors is None:
            return self.vectors is other.vectors
        return self.vectors.shape == other.vectors.shape and self.vectors.tobytes() == other.vectors.tobytes()

    def __hash__(self) -> int:
        return hash((self.kind, self.name, self.length, None if self.vectors is None else self.vectors.tobytes()))


class SoftSlot(VectorSlot):
    """A place for learned vectors among the words' embeddings.

    Shape: vectors [P, H].
    """

    kind = "soft"


class DeepSlot(VectorSlot):
    """A place for learned keys and values at every layer: before everything else (prefix tuning), or further on (infix tuning).

    What follows looks back on them as on P positions of text, what stands before them does not; they themselves have read
    nothing. Wherever they stand, keys are turned as those of a text's first P positions; what follows is numbered after them.

    Source: Li and Liang 2021 (arXiv 2101.00190), section 7.3, compare the two places.
    Shape: vectors [P, W]: for each position, layer by layer, the keys of all key/value heads and then the values; as in PEFT.
    """

    kind = "deep"


class InputSlot(VectorSlot):
    """A place for vectors that are made from each row's own texts by a small network, which is what the slot holds.

    Position p of a row gets shared[p] + sum over r of tanh(looks[r] . reading) adds[r, p], where the reading is the normalised
    mean of the row's own tokens' embeddings.

    Shape: vectors [P + R + R P, H]: shared [P, H], then looks [R, H], then adds [R, P, H], for any R from 0 up.
    """

    kind = "input"

    def holds(self, rows: int) -> bool:
        """See `VectorSlot.holds`."""
        return rows >= self.length and (rows - self.length) % (1 + self.length) == 0

    @property
    def rows(self) -> str:
        """See `VectorSlot.rows`."""
        return f"{self.length} + R * {1 + self.length}"


@dataclass(frozen=True)
class Answer:
    """Where the model answers.

    Settings:
        words: for each label the words that stand for it (its verbalizer); empty: the labels' own words.

    Raises: PromptError for a label named twice, or one without words.
    """

    words: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        labels = [label for label, _ in self.words]
        if twice := next((label for label in labels if labels.count(label) > 1), None):
            raise PromptError(f"words for the label {twice!r} twice", "each label once", f'write {twice}="one|other"')
        if bare := next((label for label, words in self.words if not words), None):
            raise PromptError(f"no words for the label {bare!r}", "at least one word", f'write {bare}="word"')


Segment = Text | Field | HardSlot | VectorSlot | Answer
Slot = HardSlot | VectorSlot


@dataclass(frozen=True)
class Turn:
    """One turn of a chat, or the whole of a plain prompt (role "")."""

    role: str
    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        merged: list[Segment] = []
        for segment in self.segments:
            if isinstance(segment, Text) and merged and isinstance(merged[-1], Text):
                merged[-1] = Text(merged[-1].text + segment.text)
            elif segment != Text(""):
                merged.append(segment)
        object.__setattr__(self, "segments", tuple(merged))


@dataclass(frozen=True)
class Prompt:
    """A row of segments, in one plain turn or in several chat turns, with exactly one place for the answer.

    Raises: PromptError for two slots of one name, no answer or two, a field or slot after the answer, an unknown
        role, chat turns that do not end with the assistant's, or two deep slots.
    """

    turns: tuple[Turn, ...]

    def __post_init__(self) -> None:
        roles = [turn.role for turn in self.turns]
        if roles != [""] and any(role not in (*ROLES, TURNS) for role in roles):
            raise PromptError(
                f"turns of roles {roles}", f"roles among {', '.join(ROLES)}", "write [user] ... [assistant] [answer]"
            )
        names = [segment.name for segment in self if isinstance(segment, Slot)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise PromptError(f"two slots named {twice[0]!r}", "a name of its own for every slot", "rename one of them")
        deep = [segment.name for segment in self if isinstance(segment, DeepSlot)]
        if len(deep) > 1:
            raise PromptError(f"deep slots {deep[0]!r} and {deep[1]!r}", "one deep slot", "make one longer, and drop the other")
        self._check_answer()
        check_place(roles, [[isinstance(segment, Field) for segment in turn.segments] for turn in self.turns])

    def _check_answer(self) -> None:
        kinds = list(self)
        count = sum(isinstance(segment, Answer) for segment in kinds)
        if count != 1:
            raise PromptError(
                f"a prompt with {count} answers", "exactly one [answer]", "say with [answer] where the model answers"
            )
        at = next(i for i, segment in enumerate(kinds) if isinstance(segment, Answer))
        if late := [segment for segment in kinds[at + 1 :] if not isinstance(segment, Text)]:
            raise PromptError(f"{late[0]!r} after the answer", "only text after [answer]", "move it before [answer]")
        if self.is_chat and not any(isinstance(s, Answer) for s in self.turns[-1].segments):
            raise PromptError(
                "an [answer] before the last turn", "the answer in the last turn", "end with [assistant] [answer]"
            )
        if self.is_chat and self.turns[-1].role != "assistant":
            raise PromptError(
                f"an [answer] in the {self.turns[-1].role} turn", "the assistant answers", "end with [assistant] [answer]"
            )

    def __iter__(self) -> Iterator[Segment]:
        for turn in self.turns:
            yield from turn.segments

    @classmethod
    def of(cls, *segments: Segment) -> Prompt:
        """A plain prompt, without chat turns."""
        return cls((Turn("", segments),))

    @property
    def infix(self) -> DeepSlot | None:
        """The deep slot, where something stands before it."""
        return next((segment for at, segment in enumerate(self) if at and isinstance(segment, DeepSlot)), None)

    @property
    def is_chat(self) -> bool:
        return self.turns[0].role != ""

    @property
    def is_conversation(self) -> bool:
        """Whether a row's own turns stand in it."""
        return any(turn.role == TURNS for turn in self.turns)

    @property
    def slots(self) -> Mapping[str, Slot]:
        """All slots by name, in order, open or filled."""
        return {segment.name: segment for segment in self if isinstance(segment, Slot)}

    @property
    def open_slots(self) -> tuple[str, ...]:
        """The names of the slots that are still to be filled."""
        return tuple(name for name, slot in self.slots.items() if _content(slot) is None)

    @property
    def field_names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(segment.name for segment in self if isinstance(segment, Field)))

    @property
    def answer(self) -> Answer:
        return next(segment for segment in self if isinstance(segment, Answer))

    @property
    def readable(self) -> bool:
        """Whether the prompt is all words, so that any model or API could read it."""
        return not any(isinstance(segment, VectorSlot) for segment in self)

    @property
    def parameters(self) -> int:
        """How many learned numbers its filled slots hold."""
        return sum(s.vectors.size for s in self if isinstance(s, VectorSlot) and s.vectors is not None)

    def spaced(self, slot: str) -> bool:
        """Whether the words in a slot follow a space, which then belongs to their first token."""
        for turn in self.turns:
            for before, segment in zip((None, *turn.segments), turn.segments, strict=False):
                if isinstance(segment, Slot) and segment.name == slot:
                    return isinstance(before, Text) and before.text.endswith(" ")
        raise PromptError(f"no slot {slot!r} in this prompt", f"one of: {', '.join(self.slots) or 'none'}", "check its name")

    def fill(self, /, **values: str | NDArray[np.float32] | None) -> Prompt:
        """The same prompt with these slots filled (or opened, with None). Raises PromptError for an unknown slot."""
        for name in values:
            if name not in self.slots:
                known = ", ".join(self.slots) or "no slots"
                raise PromptError(f"no slot {name!r} in this prompt", f"one of: {known}", "check the slot's name")
        return self.map(lambda s: _filled(s, values[s.name]) if isinstance(s, Slot) and s.name in values else s)

    def with_words(self, words: Mapping[str, tuple[str, ...]]) -> Prompt:
        """The same prompt with this verbalizer."""
        return self.map(lambda s: Answer(tuple(words.items())) if isinstance(s, Answer) else s)

    def map(self, change: Callable[[Segment], Segment | tuple[Segment, ...]]) -> Prompt:
        """The prompt with each segment replaced by what `change` makes of it (one segment, or a tuple of them)."""
        turns = []
        for turn in self.turns:
            segments: list[Segment] = []
            for segment in turn.segments:
                new = change(segment)
                segments.extend(new if isinstance(new, tuple) else (new,))
            turns.append(replace(turn, segments=tuple(segments)))
        return Prompt(tuple(turns))

    def digest(self) -> str:
        """SHA-256 of everything in the prompt, vectors included, in hex."""
        found = hashlib.sha256()
        for turn in self.turns:
            found.update(f"turn {turn.role}\n".encode())
            for segment in turn.segments:
                if isinstance(segment, VectorSlot):
                    vectors = b"open" if segment.vectors is None else segment.vectors.tobytes()
                    found.update(f"{segment.kind} {segment.name} {segment.length} ".encode() + hashlib.sha256(vectors).digest())
                else:
                    found.update(repr(segment).encode("utf-8", "surrogatepass"))
        return found.hexdigest()


def _check_slot_name(name: str) -> None:
    if not _SLOT_NAME.fullmatch(name):
        raise PromptError(
            f"a slot named {name!r}", "a letter or _, then letters, digits, _ . or -", "write [soft steer 16] or [hard say]"
        )


def _content(slot: Slot) -> object:
    return slot.words if isinstance(slot, HardSlot) else slot.vectors


def _filled(slot: Slot, value: str | NDArray[np.float32] | None) -> Slot:
    if isinstance(slot, HardSlot):
        if value is not None and not isinstance(value, str):
            raise PromptError(f"vectors for hard slot {slot.name!r}", "words", "give a string")
        return replace(slot, words=value)
    if isinstance(value, str):
        raise PromptError(f"words for {slot.kind} slot {slot.name!r}", "vectors [P, H]", "give an array, or use a hard slot")
    return replace(slot, vectors=value)
