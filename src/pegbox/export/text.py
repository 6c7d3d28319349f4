"""To plain text: the words of a prompt, for any model or interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from pegbox.artifact import read_folder, read_prompt
from pegbox.export.cost import Cost, listed
from pegbox.export.place import new_folder, written_labels
from pegbox.prompt import Answer, Field, HardSlot, Prompt, Segment, Text, VectorSlot
from pegbox.prompt.segments import Turn


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
    dropped = sum(slot.length for slot in prompt.slots.values() if isinstance(slot, VectorSlot))
    return Plain(_text(prompt), own, dropped)


def text_of(turn: Turn) -> str:
    """A turn's words, fields as {name}, up to where the answer stands."""
    before = takewhile(lambda segment: not isinstance(segment, Answer), turn.segments)
    return "".join(map(_words, before)).rstrip(" ")


def to_text_folder(artifact: str | Path, folder: str | Path, cost: Cost | None = None) -> Path:
    """Writes prompt.txt, and a card that says what answers stand for, what was left behind, and what that costs.

    Settings:
        cost: what was measured of it.
    """
    plain = to_text(artifact)
    manifest, _ = read_folder(Path(artifact).expanduser())
    with new_folder(folder) as draft:
        (draft / "prompt.txt").write_text(plain.text + "\n", encoding="utf-8")
        (draft / "README.md").write_text(_card(plain, manifest["model"], cost), encoding="utf-8")
    return Path(folder)


def _card(plain: Plain, model: Mapping[str, Any], cost: Cost | None) -> str:
    left = f"{plain.dropped} learned vectors and the calibration" if plain.dropped else "The calibration"
    measured = listed(cost.sentences()) if cost else "Not measured: `pegbox export P --to text --data LABELLED.csv` does.\n"
    return f"""# A tuned prompt in words

`prompt.txt`, tuned on {model["name"]} (digest {model["digest"]}). A text goes where a {{field}} stands. The answers:

{written_labels(plain.words)}
{left} stayed behind. What that costs on the model that it was tuned on, choosing among the answers:

{measured}"""


def _text(prompt: Prompt) -> str:
    turns = [text_of(turn) for turn in prompt.turns]
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
        case VectorSlot() | Answer():
            return ""
