"""Which hard slots' words are swapped, and where a slot goes in a prompt that has none."""

from __future__ import annotations

from pegbox.errors import PromptError
from pegbox.prompt import Field, HardSlot, Prompt, Segment, Text, Turn


def with_hard_slot(prompt: Prompt, place: str) -> Prompt:
    """The prompt with a hard slot put in, unless it has some of its own: after the last field, or before everything else."""
    if swapped_slots(prompt):
        return prompt
    slot = HardSlot("words" if "words" not in prompt.slots else "words_")
    if place == "first":
        first = prompt.turns[0]
        return Prompt((Turn(first.role, (slot, Text(" "), *first.segments)), *prompt.turns[1:]))
    last = [segment for segment in prompt if isinstance(segment, Field)][-1:]
    if not last:
        raise PromptError(
            "a prompt without a text", "a field such as {text}", "write {text} in the prompt, or a [hard words] slot"
        )
    count = sum(isinstance(segment, Field) for segment in prompt)
    seen = 0

    def put(segment: Segment) -> Segment | tuple[Segment, ...]:
        nonlocal seen
        seen += isinstance(segment, Field)
        return (segment, Text(" "), slot) if isinstance(segment, Field) and seen == count else segment

    return prompt.map(put)


def swapped_slots(prompt: Prompt) -> dict[str, HardSlot]:
    """The slots whose words are swapped: the open ones, or all hard ones where none is open."""
    hard = {name: slot for name, slot in prompt.slots.items() if isinstance(slot, HardSlot)}
    return {name: slot for name, slot in hard.items() if slot.words is None} or hard
