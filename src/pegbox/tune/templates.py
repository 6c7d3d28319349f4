"""Templates: a written prompt taken apart, and put together again in other layouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pegbox.prompt import Answer, Field, HardSlot, Prompt, Segment, Text, Turn, VectorSlot
from pegbox.task.verbalizer import NAMED, instruction

Layout = Callable[[str], Prompt]
"""From an instruction to a prompt."""


@dataclass(frozen=True)
class Parts:
    """A prompt of words alone, taken apart.

    Settings:
        instruction: the lines before the text's own, or the system turn of a chat.
        text: the lines with the row's own texts.
        lead: what stands before the answer on its line, such as ``Type: ``.
        answer: the answer, and what is written after it.
        join: what stands between the text's lines and the lead: a line's end, or nothing where the lead is a mark alone, as in
            ``{word}: [answer]``, or a space after the second field.
    """

    instruction: str
    text: tuple[Segment, ...]
    lead: str
    answer: tuple[Segment, ...]
    join: str = "\n"


def take_apart(prompt: Prompt) -> Parts | None:
    """The prompt's parts; None for one with slots, without a text, or with more turns than system, user and assistant."""
    if prompt.slots or not prompt.field_names or prompt.is_conversation:
        return None
    segments = list(prompt)
    at = next(number for number, segment in enumerate(segments) if isinstance(segment, Answer))
    if prompt.is_chat:
        return _chat_parts(prompt)
    return _plain_parts(segments[:at], tuple(segments[at:]))


def _plain_parts(before: Sequence[Segment], answer: tuple[Segment, ...]) -> Parts:
    instruction, item = _head(before)
    lead = ""
    if isinstance(item[-1], Text):
        rest, line, lead = item[-1].text.rpartition("\n")
        item = (*item[:-1], Text(rest)) if line and rest else item[:-1]
    asked = bool(lead.strip()) or sum(isinstance(segment, Field) for segment in item) > 1
    join = "" if asked and isinstance(item[-1], Field) and not any(map(str.isalnum, lead)) else "\n"
    return Parts(instruction, item, lead if not join else lead.lstrip() or ("Answer: " if lead else "Answer:"), answer, join)


def _chat_parts(prompt: Prompt) -> Parts | None:
    roles = [turn.role for turn in prompt.turns]
    user, assistant = prompt.turns[-2:] if len(roles) > 1 else (prompt.turns[0], prompt.turns[0])
    system = prompt.turns[0].segments if roles[0] == "system" else ()
    lead, answer = _until_answer(assistant.segments)
    fields = any(isinstance(segment, Field) for segment in user.segments)
    plain = all(isinstance(segment, Text) for segment in (*system, *lead))
    if roles not in (["user", "assistant"], ["system", "user", "assistant"]) or not fields or not plain:
        return None
    instruction, item = ("", user.segments) if system else _head(user.segments)
    spoken = "".join(segment.text for segment in system if isinstance(segment, Text))
    return Parts(spoken or instruction, item, "".join(s.text for s in lead if isinstance(s, Text)), answer)


def _until_answer(segments: Sequence[Segment]) -> tuple[tuple[Segment, ...], tuple[Segment, ...]]:
    at = next(number for number, segment in enumerate(segments) if isinstance(segment, Answer))
    return tuple(segments[:at]), tuple(segments[at:])


def _head(segments: Sequence[Segment]) -> tuple[str, tuple[Segment, ...]]:
    """The lines before the one on which the first field stands, and the rest."""
    if not isinstance(segments[0], Text):
        return "", tuple(segments)
    instruction, _, line = segments[0].text.rpartition("\n")
    return instruction.rstrip("\n"), ((Text(line), *segments[1:]) if line else tuple(segments[1:]))


def layouts(prompt: Prompt, labels: Sequence[str], chat: bool, open_words: str) -> dict[str, Layout]:
    """Ways to write the prompt, by name; the first is its own.

    A prompt with hard slots keeps its layout, and the words of its first one are the instruction.

    Settings:
        labels: the labels in words, for a line of options.
        chat: whether the model knows chat turns.
        open_words: what stands in an open hard slot at first.
    """
    if _spoken_system(prompt) is not None:
        return {"as written": lambda words: _with_system(prompt, words)}
    parts = take_apart(prompt)
    if parts is None:
        return {"as written": _own_layout(prompt, open_words)}
    found: dict[str, Layout] = {"as written": _rewritten(prompt, parts)}
    if chat:
        found["chat"] = lambda words: _chat("", words, parts)
        found["chat with a system turn"] = lambda words: _chat(words, "", parts)
    found["plain"] = lambda words: _lines(words, parts.text, parts)
    found["apart"] = lambda words: _lines(words, parts.text, parts, gap="\n\n")
    if 1 < len(labels) <= NAMED:
        options = f"Options: {', '.join(labels)}"
        found["options"] = lambda words: _lines(_joined(words, options), parts.text, parts, gap="\n\n")
    found["instruction last"] = lambda words: _lines("", (*parts.text, Text("\n" + words)) if words else parts.text, parts)
    if sum(isinstance(segment, Field) for segment in parts.text) == 1:
        field = next(segment for segment in parts.text if isinstance(segment, Field))
        found["quoted"] = lambda words: _lines(words, _quoted(parts.text), parts)
        for name, ask, reply in (("text and answer", "Text", "Answer"), ("input and output", "Input", "Output")):
            found[name] = _named(field, ask, reply, parts)
    return found


def _spoken_system(prompt: Prompt) -> str | None:
    """The words of a conversation's system turn; None where there are slots, fields or another prompt."""
    if not prompt.is_conversation or prompt.slots or prompt.turns[0].role != "system":
        return None
    words = [segment.text if isinstance(segment, Text) else None for segment in prompt.turns[0].segments]
    return None if None in words else "".join(word for word in words if word is not None)


def _with_system(prompt: Prompt, words: str) -> Prompt:
    return Prompt((*((Turn("system", (Text(words),)),) if words else ()), *prompt.turns[1:]))


def _own_layout(prompt: Prompt, open_words: str) -> Layout:
    hard = [slot.name for slot in prompt.slots.values() if isinstance(slot, HardSlot)]
    others = {name: open_words for name in hard[1:] if name in prompt.open_slots}
    if hard:
        return lambda words: prompt.fill(**{hard[0]: words}, **others)
    return lambda _: prompt


def _rewritten(prompt: Prompt, parts: Parts) -> Layout:
    """The prompt itself with another instruction, and nothing else changed."""

    def layout(words: str) -> Prompt:
        first, *others = prompt.turns
        if first.role == "system":
            return Prompt((*((Turn("system", (Text(words),)),) if words else ()), *others))
        opening = first.segments[0].text if isinstance(first.segments[0], Text) else ""
        rest = opening.removeprefix(parts.instruction)
        changed = words + (rest if parts.instruction else "\n" + rest) if words else rest.lstrip("\n")
        segments = first.segments[1:] if opening else first.segments
        return Prompt((Turn(first.role, (Text(changed), *segments)), *others))

    return layout


def _lines(words: str, text: Sequence[Segment], parts: Parts, gap: str = "\n") -> Prompt:
    head = (Text(words + gap),) if words else ()
    return Prompt.of(*head, *text, Text(parts.join + parts.lead), *parts.answer)


def _chat(system: str, words: str, parts: Parts) -> Prompt:
    user = (Text(words + "\n"), *parts.text) if words else parts.text
    turns = [Turn("system", (Text(system),))] if system else []
    return Prompt((*turns, Turn("user", tuple(user)), Turn("assistant", (Text(parts.lead), *parts.answer))))


def _named(field: Field, ask: str, reply: str, parts: Parts) -> Layout:
    answering = replace(parts, lead=f"{reply}: " if parts.lead.endswith(" ") else f"{reply}:")
    return lambda words: _lines(words, (Text(f"{ask}: "), field), answering)


def _quoted(text: Sequence[Segment]) -> tuple[Segment, ...]:
    return tuple(
        part for segment in text for part in ((Text('"'), segment, Text('"')) if isinstance(segment, Field) else (segment,))
    )


def _joined(first: str, second: str) -> str:
    return f"{first}\n{second}" if first else second


def instruction_of(prompt: Prompt, open_words: str) -> str:
    """The words that phrase edits work on: the instruction, or those of the first hard slot."""
    hard = [slot for slot in prompt.slots.values() if isinstance(slot, HardSlot)]
    if hard:
        return open_words if hard[0].words is None else hard[0].words
    if (spoken := _spoken_system(prompt)) is not None:
        return spoken
    parts = take_apart(prompt)
    return "" if parts is None else parts.instruction


def asked(words: Mapping[str, Sequence[str]]) -> str:
    """A plain instruction that names the labels, where these are not many: what stands in an open slot at first."""
    names = [some[0] for some in words.values()]
    return f"Choose {', '.join(names[:-1])} or {names[-1]}." if len(names) <= NAMED else instruction(names)


def open_soft_slots(prompt: Prompt) -> list[str]:
    """The names of slots without vectors."""
    return [slot.name for slot in prompt.slots.values() if isinstance(slot, VectorSlot) and slot.vectors is None]
