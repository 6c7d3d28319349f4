"""In-context examples: answered rows, put in front of the text in the prompt's own layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pegbox.backbone.seam import Backbone
from pegbox.errors import PromptError
from pegbox.prompt import TURNS, Answer, Field, HardSlot, Prompt, Segment, Text, Turn, VectorSlot
from pegbox.prompt.turns import said

Example = tuple[Mapping[str, Segment], Segment]
"""What stands for each of the prompt's fields, and for its answer."""


def with_examples(prompt: Prompt, rows: Sequence[Mapping[str, str]], words: Sequence[str]) -> Prompt:
    r"""The prompt with answered examples in front of the text, in its own layout.

    The part that is repeated for each example begins with the line of the first field (or after the last slot on that line)
    and ends with the prompt. What stands before it, the instruction, comes once, at the top:
    ``Sort it.\nText: {text}\nMood: [answer]`` with ("fine day", "good") becomes
    ``Sort it.\nText: fine day\nMood: good\n\nText: {text}\nMood: [answer]``. In a chat the examples are earlier turns.
    Words of a filled hard slot in the repeated part are repeated; vectors and open slots stay with the text alone.
    The examples are plain text in the result: nothing in them is read as notation or as a model's special token.

    Settings:
        rows: each example's fields.
        words: each example's answer.

    Raises: PromptError for a prompt without fields, an example that lacks one, or other than one word for each example.
    """
    if len(rows) != len(words):
        raise PromptError(f"{len(words)} words for {len(rows)} examples", "one word for each example", "check the examples")
    for number, row in enumerate(rows, 1):
        if missing := [name for name in prompt.field_names if name not in row]:
            raise PromptError(
                f"example {number} has no field {missing[0]!r} (it has {', '.join(row) or 'none'})",
                f"all of the prompt's fields: {', '.join(prompt.field_names)}",
                "give the example's text under the field's name",
            )
    return _insert(
        prompt,
        [({name: Text(row[name]) for name in prompt.field_names}, Text(word)) for row, word in zip(rows, words, strict=True)],
    )


def with_places(prompt: Prompt, count: int) -> Prompt:
    """The prompt with places for examples that differ from row to row: fields that `placed` fills.

    Raises: PromptError for a prompt without fields.
    """
    examples: list[Example] = []
    for number in range(1, count + 1):
        fields = {name: Field(_place(name, number)) for name in prompt.field_names}
        examples.append((fields, Field(_place("", number))))
    return _insert(prompt, examples)


def placed(row: Mapping[str, str], examples: Sequence[Mapping[str, str]], words: Sequence[str]) -> dict[str, str]:
    """A row's own fields with those that `with_places` made for its examples."""
    fields = dict(row)
    for number, (example, word) in enumerate(zip(examples, words, strict=True), 1):
        fields.update({_place(name, number): text for name, text in example.items()})
        fields[_place("", number)] = word
    return fields


def _place(name: str, number: int) -> str:
    return f"{name} of example {number}" if name else f"answer of example {number}"


def _insert(prompt: Prompt, examples: Sequence[Example]) -> Prompt:
    at, head, item = _split(prompt)
    if not examples:
        return prompt
    later = _stripped(item)
    answered = [_answered(later if number else item, example) for number, example in enumerate(examples)]
    if prompt.is_chat:
        turns = [turn for part in (*answered, later) for turn in part]
        first = replace(turns[0], segments=(*head, *turns[0].segments))
        return Prompt((*prompt.turns[:at], first, *turns[1:]))
    gap = Text(_gap(item))
    lines = (segment for part in answered for segment in (*part[0].segments, gap))
    return Prompt.of(*head, *lines, *later[0].segments)


def _gap(item: Sequence[Turn]) -> str:
    """What parts examples: a blank line where each takes several lines; nothing where each ends with its own line's end."""
    last = item[0].segments[-1]
    if isinstance(last, Text) and last.text.endswith("\n"):
        return ""
    lines = any(isinstance(segment, Text) and "\n" in segment.text.strip(" ") for segment in item[0].segments)
    return "\n\n" if lines else "\n"


def _split(prompt: Prompt) -> tuple[int, tuple[Segment, ...], tuple[Turn, ...]]:
    """The number of the first field's turn, what comes in it before the part that is repeated, and that part."""
    for number, turn in enumerate(prompt.turns):
        if prompt.is_conversation and turn.role != TURNS:
            continue
        fields = [at for at, segment in enumerate(turn.segments) if isinstance(segment, Field)]
        if not fields:
            continue
        before, rest = turn.segments[: fields[0]], turn.segments[fields[0] :]
        if before and isinstance(before[-1], Text):
            top, end, line = before[-1].text.rpartition("\n")
            before, rest = (*before[:-1], Text(top + end)), (Text(line), *rest)
        return number, before, (replace(turn, segments=rest), *prompt.turns[number + 1 :])
    raise PromptError("examples for a prompt without fields", "a field for the text", "write {text} in the prompt")


def _stripped(item: Sequence[Turn]) -> tuple[Turn, ...]:
    """The repeated part without white space at its very start (it may have followed a slot)."""
    first = item[0].segments[0] if item[0].segments else None
    if not isinstance(first, Text):
        return tuple(item)
    return replace(item[0], segments=(Text(first.text.lstrip(" ")), *item[0].segments[1:])), *item[1:]


def _answered(item: Sequence[Turn], example: Example) -> tuple[Turn, ...]:
    turns: list[Turn] = []
    for turn in item:
        segments = _filled(turn.segments, example)
        if turn.role == TURNS:  # each of the example's turns becomes one of the prompt's
            spoken = "".join(segment.text for segment in segments if isinstance(segment, Text))
            turns += [Turn(role, (Text(content),)) for role, content in said(spoken)]
        else:
            turns.append(replace(turn, segments=segments))
    return tuple(turns)


def _filled(segments: Sequence[Segment], example: Example) -> tuple[Segment, ...]:
    fields, word = example
    found: list[Segment] = []
    for before, segment in zip((None, *segments), segments, strict=False):
        match segment:
            case Field(name):
                found.append(fields[name])
            case HardSlot(_, str(words)):
                found.append(Text(words))
            case HardSlot() | VectorSlot():
                pass
            case Answer():
                found.append(word)
            case Text(text) if _left_out(before) and _ends_open(found):
                found.append(Text(text.removeprefix(" ")))
            case _:
                found.append(segment)
    return tuple(found)


def _left_out(segment: Segment | None) -> bool:
    return isinstance(segment, VectorSlot) or (isinstance(segment, HardSlot) and segment.words is None)


def _ends_open(found: Sequence[Segment]) -> bool:
    """Whether a space now would be one too many."""
    return not found or (isinstance(found[-1], Text) and found[-1].text.endswith((" ", "\n")))


def shortened(text: str, most: int, backbone: Backbone) -> str:
    """The text's first `most` tokens."""
    ids = backbone.encode(text)
    return text if len(ids) <= most else backbone.decode(ids[:most]).rstrip("\ufffd")  # half of a character that was cut
