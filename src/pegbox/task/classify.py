"""Classification as the commands see it: how its data are read, its task made, its prompt written."""

from __future__ import annotations

from typing import Any

from pegbox.data.read import read
from pegbox.data.review import review
from pegbox.data.rows import Rows
from pegbox.data.samples import sample
from pegbox.data.table import SAMPLE, read_table
from pegbox.prompt import Answer, Field, Prompt, Text, parse
from pegbox.task import verbalizer
from pegbox.task.classification import Classification
from pegbox.task.entry import Asked, Entry


def make(train: Rows, asked: Asked) -> tuple[Classification, Prompt]:
    """The task that the rows describe, and the written prompt to start from; a sample brings its own words and instruction."""
    known = sample(train.source.removeprefix(SAMPLE)) if train.source.startswith(SAMPLE) else None
    words = asked.words if asked.words is not None or known is None else known.words
    plain = {str(label): (some,) if isinstance(some, str) else tuple(some) for label, some in (words or {}).items()}
    task = Classification(train.label_set(), plain, asked.calibration, asked.channel)  # type: ignore[arg-type]  # checked there
    written = None if known is None or known.prompt is None else parse(known.prompt)
    return task, asked.prompt or written or default_prompt(task, None if known is None else known.instruction)


def rows(source: Any, text: str | None, label: str | None, labelled: bool, **how: Any) -> tuple[Rows, tuple[str, ...]]:
    """Rows to be scored or answered, and what the reader guessed, left out or noticed."""
    if isinstance(source, Rows):
        return source, review(source) if labelled else ()
    table = read_table(source, text, label, labelled, **how)
    return table.rows, (*table.notes, *(review(table.rows) if labelled else ()))


def default_prompt(task: Classification, instruction: str | None = None, text: str = "Text", label: str = "Label") -> Prompt:
    """The written prompt for those who bring none: what to do, the text, and where the label goes.

    Settings:
        instruction: what to do; by default to classify the text as one of the label words, of which many are not all named.
        text, label: what stands before the text and before the label.
    """
    asked = instruction or verbalizer.instruction([words[0] for words in task.words.values()])
    return Prompt.of(Text(f"{asked}\n{text}: "), Field("text"), Text(f"\n{label}: "), Answer())


ENTRY = Entry(Classification, read, rows, make)
