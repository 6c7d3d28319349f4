"""Tagging as the commands see it: how its data are read, its task made, its prompt written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pegbox.data.rows import Rows
from pegbox.data.sentences import read_sentences
from pegbox.data.table import SAMPLE
from pegbox.data.tagged import read_tagged, types_of
from pegbox.data.tagged_samples import TAGGED_SAMPLES
from pegbox.data.words import OF_A_WORD
from pegbox.errors import PromptError
from pegbox.prompt import Answer, Field, Prompt, Text, format
from pegbox.task.entry import Asked, Entry
from pegbox.task.tagging import Tagging


def make(train: Rows, asked: Asked) -> tuple[Tagging, Prompt]:
    """The task that the sentences' tags describe, and the prompt to start from."""
    if asked.channel:
        raise PromptError("noisy-channel scoring for tagging", "the types' words scored after the word", "switch channel off")
    types = types_of(train)
    given = asked.words
    if given is None:  # a few sentences of a sample need not have all its types
        given = {kind: word for kind, word in _own_words(train.source).items() if kind in types}
    words = {str(kind): (some,) if isinstance(some, str) else tuple(some) for kind, some in given.items()}
    task = Tagging(types, words, asked.calibration)  # type: ignore[arg-type]  # checked there
    prompt = asked.prompt or default_prompt(task)
    if "word" not in prompt.field_names:
        raise PromptError(
            f"a prompt that asks about no word: {format(prompt)}",
            "the fields {text} and {word}",
            "say with {word} where it stands",
        )
    return task, prompt


def _own_words(source: str) -> Mapping[str, str]:
    """What a sample calls its types."""
    known = TAGGED_SAMPLES.get(source.removeprefix(SAMPLE).partition("/")[0]) if source.startswith(SAMPLE) else None
    return known.words if known else {}


def default_prompt(task: Tagging) -> Prompt:
    """The written prompt for those who bring none.

    What comes before the word is read once for the whole sentence, so nothing stands after it: a sentence costs about twice its
    own tokens.
    """
    words = [some[0] for some in task.words.values()]
    asked = f"Say what each word of the text names: {', '.join(words[1:])} or {words[0]}."
    return Prompt.of(Text(f"{asked}\nText: "), Field("text"), Text("\nWord and type: "), Field("word"), Text(" "), Answer())


def rows(
    source: Any, text: str | None, label: str | None, labelled: bool, *, fields: Any = (), **how: Any
) -> tuple[Rows, tuple[str, ...]]:
    """Sentences to be scored or tagged, and what the reader guessed, left out or noticed."""
    more = [name for name in fields if name not in OF_A_WORD]
    found = read_sentences(source, text, label, labelled, fields=more, **how)
    return found.rows, found.notes


ENTRY = Entry(Tagging, read_tagged, rows, make)
