"""Where a soft or deep slot goes in a prompt that has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pegbox.backbone.seam import Backbone
from pegbox.errors import PromptError, SettingsError
from pegbox.prompt import TURNS, Answer, DeepSlot, Field, InputSlot, Prompt, Segment, SoftSlot, Text, Turn, VectorSlot

Place = Literal["instead", "first", "after", "both"]
LENGTH = 20
"""Vectors in a slot, where nobody says how many."""
MOST_WORDS = 64
"""Tokens of a prompt's own words that become vectors: whole lines, and the first one in any case."""
FEWEST_WORDS = 8
"""Tokens of an instruction that is worth turning into vectors; fewer hold too little."""


def check_slot(place: str, length: int | None) -> None:
    """Raises SettingsError for a place that there is not, or no vectors."""
    if place not in get_args(Place):
        raise SettingsError(f"place={place!r}", f"one of {', '.join(get_args(Place))}", "choose one of them")
    if length is not None and length < 1:
        raise SettingsError(f"length={length}", "at least 1 vector", "say for example length=16")


def with_soft_slots(prompt: Prompt, place: Place, length: int) -> Prompt:
    """The prompt with soft slots put in, unless it has some of its own.

    Settings:
        place: "first" in the prompt, "after" the last field (the texts' keys and values can then be kept), or "both". A field
            on the answer's own line is what is asked, such as a word of the text: where there is one before that line, this is
            the last one.
        length: vectors in each.
    """
    if _has(prompt, SoftSlot):
        return prompt
    turns, taken = [], set(prompt.slots)
    last = _last_turn(prompt)
    for number, turn in enumerate(prompt.turns):
        segments = list(turn.segments)
        if place in ("after", "both") and number == last:
            segments = _after(segments, SoftSlot(_free("after", taken), length))
        if place in ("first", "both") and number == 0:
            first = SoftSlot(_free("first", taken), length)
            deep = [segment for segment in segments[:1] if isinstance(segment, DeepSlot)]  # it stays before everything
            if turn.role == TURNS:  # where nothing else may stand
                turns.append(Turn("system", (first,)))
            else:
                segments = [*deep, first, Text("\n"), *segments[len(deep) :]]
        turns.append(type(turn)(turn.role, tuple(segments)))
    return Prompt(tuple(turns))


def soft_slots(prompt: Prompt, place: Place, length: int | None, backbone: Backbone, channel: bool = False) -> Prompt:
    """As `with_soft_slots`; "instead" turns the words before the first field into vectors.

    Where these are too few, "instead" means "first".

    Settings:
        length: vectors in a slot. None: 20, or with "instead" as many as there are words.
        channel: the task scores the text after the label, and moves the line on which the text stands: it stays words.

    Raises: PromptError for an open slot of another kind.
    """
    _check_open(prompt, SoftSlot)
    if place == "instead":
        turned = words_to_slot(prompt, backbone, length, channel)
        if turned is not prompt:
            return turned
        place = "first"
    return with_soft_slots(prompt, place, length or LENGTH)


def words_to_slot(prompt: Prompt, backbone: Backbone, length: int | None = None, whole_lines: bool = False) -> Prompt:
    """The prompt with the first words before its first field, in its first turn, turned into a soft slot.

    The slot is filled with the words' embeddings, so it scores as they did, and tuning goes on from there. A prompt with less
    than FEWEST_WORDS there, or with soft slots of its own, stays as it is.

    Settings:
        length: vectors in the slot; the words' first ones, or the words again and again. None: as many as there are words.
        whole_lines: leave the line on which the field stands.
    """
    found = None if _has(prompt, SoftSlot) else _first_words(prompt, backbone, length, whole_lines)
    if found is None:
        return prompt
    slot = SoftSlot(_free("words", set(prompt.slots)), len(found.ids), backbone.embed(found.ids).cpu().numpy())
    return found.replaced(prompt, slot)


def deep_slot(
    prompt: Prompt, place: Literal["instead", "first", "after"], length: int | None, backbone: Backbone, channel: bool = False
) -> Prompt:
    """The prompt with a deep slot before everything or after the text, unless it has one of its own; else as `soft_slots`.

    Raises: PromptError for an open slot of another kind.
    """
    _check_open(prompt, DeepSlot)
    if _has(prompt, DeepSlot):
        return prompt
    if place == "after":
        return _with_infix(prompt, length or LENGTH)
    name = _free("prefix", set(prompt.slots))
    found = _first_words(prompt, backbone, length, channel) if place == "instead" and not prompt.is_chat else None
    if found is not None and found.at == 0:
        rows = backbone.keys_values(found.ids)[:length].cpu().numpy()
        return found.replaced(prompt, DeepSlot(name, len(rows), rows))
    turn = prompt.turns[0]
    gap = () if prompt.is_chat else (Text("\n"),)
    return Prompt((type(turn)(turn.role, (DeepSlot(name, length or LENGTH), *gap, *turn.segments)), *prompt.turns[1:]))


def _with_infix(prompt: Prompt, length: int) -> Prompt:
    """The prompt with a deep slot after the last field; a line begins behind it where no words follow in the same turn."""
    slot = DeepSlot(_free("infix", set(prompt.slots)), length)
    number = _last_turn(prompt)
    turn = prompt.turns[number]
    segments = _after(list(turn.segments), slot)
    at = segments.index(slot) + 1
    behind = segments[at] if at < len(segments) else None
    if isinstance(behind, Text) and not behind.text.strip(" "):
        segments[at] = Text("\n")
    elif behind is not None and not isinstance(behind, Text):
        segments.insert(at, Text("\n"))
    return Prompt((*prompt.turns[:number], type(turn)(turn.role, tuple(segments)), *prompt.turns[number + 1 :]))


def _last_turn(prompt: Prompt) -> int:
    """The turn with the last field, or in a conversation the last turn."""
    fields = (n for n, turn in enumerate(prompt.turns) if any(isinstance(s, Field) for s in turn.segments))
    end = len(prompt.turns) - 1
    return end if prompt.is_conversation else max(fields, default=end)


def input_slots(prompt: Prompt, place: Place, length: int | None, backbone: Backbone, channel: bool = False) -> Prompt:
    """As `soft_slots`, with input slots in their places, which share among the rows what the soft ones hold.

    Raises: PromptError for an open slot of another kind.
    """
    _check_open(prompt, InputSlot)
    if _has(prompt, InputSlot):
        return prompt
    return soft_slots(prompt, place, length, backbone, channel).map(
        lambda slot: InputSlot(slot.name, slot.length, slot.vectors) if isinstance(slot, SoftSlot) else slot
    )


def _has(prompt: Prompt, kind: type[VectorSlot]) -> bool:
    return any(isinstance(slot, kind) for slot in prompt.slots.values())


def _check_open(prompt: Prompt, kind: type[VectorSlot]) -> None:
    for slot in prompt.slots.values():
        if isinstance(slot, VectorSlot) and slot.vectors is None and not isinstance(slot, kind):
            raise PromptError(
                f"the open {slot.kind} slot {slot.name!r}",
                f"{kind.kind} slots, which are all that this method learns",
                f"use a method for {slot.kind} slots, or write [{kind.kind} {slot.name} {slot.length}]",
            )


@dataclass(frozen=True)
class _Words:
    """The first words before a prompt's first field.

    Settings:
        at: which of the first turn's segments holds them.
        ids: their tokens, as many as the slot in their place is long.
        rest: what of that segment stays.
    """

    at: int
    ids: Sequence[int]
    rest: str

    def replaced(self, prompt: Prompt, slot: VectorSlot) -> Prompt:
        """The prompt with a slot in their place."""
        turn = prompt.turns[0]
        segments = (*turn.segments[: self.at], slot, Text(self.rest), *turn.segments[self.at + 1 :])
        return Prompt((type(turn)(turn.role, segments), *prompt.turns[1:]))


def _first_words(prompt: Prompt, backbone: Backbone, length: int | None, whole_lines: bool) -> _Words | None:
    """See `words_to_slot`; nothing where they are too few."""
    turn = prompt.turns[0]
    stop = next((n for n, segment in enumerate(turn.segments) if isinstance(segment, Field | Answer)), len(turn.segments))
    before = enumerate(turn.segments[:stop])
    at = next((n for n, segment in before if isinstance(segment, Text) and segment.text.strip()), None)
    if at is None:
        return None
    text = turn.segments[at]
    assert isinstance(text, Text)
    words, rest = _first_lines(text.text, backbone)
    if whole_lines and not rest.strip():
        words, end_of_line, line = text.text.rpartition("\n")
        rest = end_of_line + line
    kept, space = (words[:-1], " ") if words.endswith(" ") else (words, "")
    ids = backbone.encode(kept)
    if len(ids) < FEWEST_WORDS:
        return None
    return _Words(at, ids if length is None else (ids * length)[:length], space + rest)


def _first_lines(text: str, backbone: Backbone) -> tuple[str, str]:
    """As many whole lines as have MOST_WORDS tokens at most, without the line's end that follows them; and the rest."""
    if len(backbone.encode(text)) <= MOST_WORDS:
        return text, ""
    lines = text.splitlines(keepends=True)
    least = 1 + next(n for n, line in enumerate(lines) if line.strip())
    fit = (n for n in range(len(lines), least, -1) if len(backbone.encode("".join(lines[:n]))) <= MOST_WORDS)
    words = "".join(lines[: next(fit, least)]).rstrip("\n")
    return words, text[len(words) :]


def _after(segments: list[Segment], slot: VectorSlot) -> list[Segment]:
    fields = [at for at, segment in enumerate(segments) if isinstance(segment, Field)]
    answer = next((at for at, segment in enumerate(segments) if isinstance(segment, Answer)), len(segments))
    lines = (at for at, segment in enumerate(segments[:answer]) if isinstance(segment, Text) and "\n" in segment.text)
    line = max(lines, default=len(segments))
    fields = [at for at in fields if at < line] or fields
    at = fields[-1] + 1 if fields else answer
    at = max(at, 1 + max((n for n, segment in enumerate(segments) if isinstance(segment, DeepSlot)), default=-1))
    return [*segments[:at], slot, *segments[at:]]


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
