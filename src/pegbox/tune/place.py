"""Where a soft slot goes in a prompt that has none."""

from __future__ import annotations

from typing import Literal, get_args

from pegbox.backbone.seam import Backbone
from pegbox.errors import SettingsError
from pegbox.prompt import TURNS, Answer, Field, Prompt, Segment, SoftSlot, Text, Turn

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
        place: "first" in the prompt, "after" the last field (the texts' keys and values can then be kept), or "both".
        length: vectors in each.
    """
    if any(isinstance(slot, SoftSlot) for slot in prompt.slots.values()):
        return prompt
    turns, taken = [], set(prompt.slots)
    fields = (n for n, turn in enumerate(prompt.turns) if any(isinstance(s, Field) for s in turn.segments))
    last = None if prompt.is_conversation else max(fields, default=None)
    for number, turn in enumerate(prompt.turns):
        segments = list(turn.segments)
        if place in ("after", "both") and number == (len(prompt.turns) - 1 if last is None else last):
            segments = _after(segments, SoftSlot(_free("after", taken), length))
        if place in ("first", "both") and number == 0:
            first = SoftSlot(_free("first", taken), length)
            if turn.role == TURNS:  # where nothing else may stand
                turns.append(Turn("system", (first,)))
            else:
                segments = [first, Text("\n"), *segments]
        turns.append(type(turn)(turn.role, tuple(segments)))
    return Prompt(tuple(turns))


def soft_slots(prompt: Prompt, place: Place, length: int | None, backbone: Backbone, channel: bool = False) -> Prompt:
    """As `with_soft_slots`; "instead" turns the words before the first field into vectors.

    Where these are too few, "instead" means "first".

    Settings:
        length: vectors in a slot. None: 20, or with "instead" as many as there are words.
        channel: the task scores the text after the label, and moves the line on which the text stands: it stays words.
    """
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
    if any(isinstance(slot, SoftSlot) for slot in prompt.slots.values()):
        return prompt
    turn = prompt.turns[0]
    stop = next((n for n, segment in enumerate(turn.segments) if isinstance(segment, Field | Answer)), len(turn.segments))
    before = enumerate(turn.segments[:stop])
    at = next((n for n, segment in before if isinstance(segment, Text) and segment.text.strip()), None)
    if at is None:
        return prompt
    text = turn.segments[at]
    assert isinstance(text, Text)
    words, rest = _first_lines(text.text, backbone)
    if whole_lines and not rest.strip():
        words, end_of_line, line = text.text.rpartition("\n")
        rest = end_of_line + line
    kept, space = (words[:-1], " ") if words.endswith(" ") else (words, "")
    ids = backbone.encode(kept)
    if len(ids) < FEWEST_WORDS:
        return prompt
    ids = ids if length is None else (ids * length)[:length]
    slot = SoftSlot(_free("words", set(prompt.slots)), len(ids), backbone.embed(ids).cpu().numpy())
    first = type(turn)(turn.role, (*turn.segments[:at], slot, Text(space + rest), *turn.segments[at + 1 :]))
    return Prompt((first, *prompt.turns[1:]))


def _first_lines(text: str, backbone: Backbone) -> tuple[str, str]:
    """As many whole lines as have MOST_WORDS tokens at most, without the line's end that follows them; and the rest."""
    if len(backbone.encode(text)) <= MOST_WORDS:
        return text, ""
    lines = text.splitlines(keepends=True)
    least = 1 + next(n for n, line in enumerate(lines) if line.strip())
    fit = (n for n in range(len(lines), least, -1) if len(backbone.encode("".join(lines[:n]))) <= MOST_WORDS)
    words = "".join(lines[: next(fit, least)]).rstrip("\n")
    return words, text[len(words) :]


def _after(segments: list[Segment], slot: SoftSlot) -> list[Segment]:
    fields = [at for at, segment in enumerate(segments) if isinstance(segment, Field)]
    answer = next((at for at, segment in enumerate(segments) if isinstance(segment, Answer)), len(segments))
    at = fields[-1] + 1 if fields else answer
    return [*segments[:at], slot, *segments[at:]]


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
