"""Dialogue: each turn of the assistant is written after the turns before it, in the model's own chat template."""

from __future__ import annotations

from typing import Any, ClassVar

from pegbox.data.dialogues import FIELD, read, read_rows
from pegbox.data.references import apart
from pegbox.data.rows import Rows
from pegbox.data.samples import sample
from pegbox.data.table import SAMPLE
from pegbox.errors import PromptError
from pegbox.metrics.generation import ready
from pegbox.prompt import TURNS, Answer, Field, Prompt, Segment, Text, Turn, format
from pegbox.prompt.turns import as_read
from pegbox.task.entry import Asked, Entry
from pegbox.task.generate import only_labels
from pegbox.task.generation import Generation
from pegbox.task.likelihood import Likelihood

INSTRUCTION = "You are the assistant in this conversation. Reply to what the user says, as the assistant would."


class Chat(Generation):
    """The assistant's turns of conversations.

    The prompt is the system turn, in words, vectors or both; the turns so far follow it, and the answer is the assistant's
    next. Settings are those of `Generation`.
    """

    name: ClassVar[str] = "chat"

    def tuned_as(self, train: Rows, dev: Rows) -> tuple[Likelihood, Rows, Rows]:
        return Likelihood(instruction=INSTRUCTION, turns=FIELD), apart(train), apart(dev)

    def inputs(self, prompt: Prompt, rows: Rows) -> list[str]:  # noqa: ARG002  # the system turn is the prompt's
        return [as_read(row[FIELD]) for row in rows]


def make(train: Rows, asked: Asked) -> tuple[Chat, Prompt]:
    """The task, and the written prompt to start from: the conversations' own system turn, or a plain one.

    Raises: PromptError for a prompt in which the row's turns do not stand.
    """
    only_labels(asked, "chat")
    ready()
    known = sample(train.source.removeprefix(SAMPLE)) if train.source.startswith(SAMPLE) else None
    prompt = asked.prompt or _default_prompt(train, INSTRUCTION if known is None else known.instruction)
    if not prompt.is_conversation:
        raise PromptError(
            f"a prompt without the row's turns: {format(prompt)}",
            "a system turn, the turns and the answer",
            "write [system] ... [turns] {turns} [assistant] [answer]",
        )
    return Chat(), prompt


def _default_prompt(train: Rows, instruction: str) -> Prompt:
    systems = {row.get("system", "") for row in train}
    one = next(iter(systems))
    own: Segment = Text(one or instruction) if len(systems) == 1 else Field("system")
    return Prompt((Turn("system", (own,)), Turn(TURNS, (Field(FIELD),)), Turn("assistant", (Answer(),))))


def rows(source: Any, text: str | None, label: str | None, labelled: bool, **how: Any) -> tuple[Rows, tuple[str, ...]]:
    """Turns to be scored, or conversations to be answered, and what the reader guessed, left out or noticed."""
    return read_rows(source, text, label, labelled, **how)


ENTRY = Entry(Chat, read, rows, make)
