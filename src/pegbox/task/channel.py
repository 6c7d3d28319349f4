"""Noisy-channel scoring: how likely is the text, given the label?"""

from __future__ import annotations

from dataclasses import replace

from pegbox.backbone.seam import Backbone, Bound, Targets
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.prompt import Answer, Field, Prompt, Text

LABEL = "label word"


def channel_prompt(prompt: Prompt) -> tuple[Prompt, str]:
    """The prompt turned round, and the field that is now the target.

    What led to the answer now leads to the label's word; after it, on a line of its own, comes what led to the text (its last
    line), and the text is the answer. ``Sort it.\\nReview: {text}\\nMood: [answer]`` becomes
    ``Sort it.\\nMood: {label word}\\nReview: [answer]``.

    Raises: PromptError for chat turns, or other than one field.
    """
    if prompt.is_chat or len(prompt.field_names) != 1:
        raise PromptError(
            "a chat, or several fields, with channel scoring", "a plain prompt with one field", "switch channel off"
        )
    segments = list(prompt)
    at = next(i for i, segment in enumerate(segments) if isinstance(segment, Field))
    end = next(i for i, segment in enumerate(segments) if isinstance(segment, Answer))
    before, between = segments[:at], segments[at + 1 : end]
    lead = ""
    if before and isinstance(before[-1], Text):
        kept, found, lead = before[-1].text.rpartition("\n")
        before[-1] = Text(kept + found)
    if between and isinstance(between[0], Text):
        between[0] = Text(between[0].text.lstrip())
    turned = Prompt.of(*before, *between, Field(LABEL), Text("\n" + lead), Answer())
    return turned, prompt.field_names[0]


def bind(prompt: Prompt, backbone: Backbone, rows: Rows, words: tuple[str, ...]) -> tuple[Bound, ...]:
    """One bound for each word, whose score is the text's log-probability after that word.

    Source: Min et al. 2022, "Noisy Channel Language Model Prompting"; label shares come in through calibration.
    """
    turned, field = channel_prompt(prompt)
    targets = Targets(tuple(rows.column(field)))
    labelled = [replace(rows, fields=tuple({**row, LABEL: word} for row in rows.fields)) for word in words]
    return tuple(backbone.bind(turned, some, targets) for some in labelled)
