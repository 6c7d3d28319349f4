"""Generation as the commands see it: how its data are read, its task made, its prompt written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pegbox.data.references import read, read_rows
from pegbox.data.rows import Rows
from pegbox.data.samples import sample
from pegbox.data.table import SAMPLE
from pegbox.errors import SettingsError
from pegbox.metrics.generation import ready
from pegbox.prompt import Answer, Field, Prompt, Text, Turn
from pegbox.task.entry import Asked, Entry
from pegbox.task.generation import Generation

INSTRUCTION = "Read the text and write the answer that belongs to it."


def make(train: Rows, asked: Asked) -> tuple[Generation, Prompt]:
    """The task, and the written prompt to start from; a sample brings its own instruction."""
    only_labels(asked, "generate")
    ready()
    known = sample(train.source.removeprefix(SAMPLE)) if train.source.startswith(SAMPLE) else None
    others = [name for name in train.fields[0] if name != "text"]
    return Generation(), asked.prompt or default_prompt(INSTRUCTION if known is None else known.instruction, others)


def only_labels(asked: Asked, task: str) -> None:
    """Raises SettingsError where something was asked for that only labels have."""
    given = [("--words", asked.words), ("--channel", asked.channel)]
    if wrong := next((name for name, value in given if value), None):
        raise SettingsError(f"{wrong} for --task {task}", "a task that scores labels", "leave it out")


def default_prompt(instruction: str, fields: Sequence[str] = ()) -> Prompt:
    """The written prompt for those who bring none, in the model's own chat turns: what to do, the text, and any other fields.

    Settings:
        fields: names of fields besides the text; each stands on a line of its own.
    """
    lines = [part for name in fields for part in (Text(f"\n{name}: "), Field(name))]
    user = Turn("user", (Text(f"{instruction}\n\n"), Field("text"), *lines))
    return Prompt((user, Turn("assistant", (Answer(),))))


def rows(source: Any, text: str | None, label: str | None, labelled: bool, **how: Any) -> tuple[Rows, tuple[str, ...]]:
    """Rows to be scored or written to, and what the reader guessed, left out or noticed."""
    return read_rows(source, text, label, labelled, **how)


ENTRY = Entry(Generation, read, rows, make)
