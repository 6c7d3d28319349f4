"""To plain text: the words of a prompt, for any model or interface."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pegbox.artifact import read_folder, read_prompt
from pegbox.prompt import Answer, Field, HardSlot, Prompt, Segment, SoftSlot, Text


@dataclass(frozen=True)
class Plain:
    """A prompt in words.

    Settings:
        text: its turns, fields as {name}, up to where the answer stands.
        words: what the model is to answer, by label.
        dropped: how many vectors were left out.
    """

    text: str
    words: dict[str, tuple[str, ...]]
    dropped: int


def to_text(artifact: str | Path) -> Plain:
    """The words of an artifact's prompt. Braces in its own words stay as they are."""
    prompt = read_prompt(Path(artifact).expanduser())
    _, content = read_folder(Path(artifact).expanduser())
    own = dict(prompt.answer.words) or {label: tuple(words) for label, words in content.get("words", {}).items()}
    dropped = sum(slot.length for slot in prompt.slots.values() if isinstance(slot, SoftSlot))
    return Plain(_text(prompt), own, dropped)


def _text(prompt: Prompt) -> str:
    turns = ["".join(map(_words, turn.segments)).rstrip(" ") for turn in prompt.turns]
    if not prompt.is_chat:
        return turns[0]
    return "\n\n".join(f"{turn.role}: {text}".rstrip() for turn, text in zip(prompt.turns, turns, strict=True))


def _words(segment: Segment) -> str:
    match segment:
        case Text(text):
            return text
        case Field(name):
            return f"{{{name}}}"
        case HardSlot(_, words):
            return words or ""
        case SoftSlot() | Answer():
            return ""
