"""To any interface that speaks OpenAI's: the request's body, with {field} where a row's text goes.

Only words go there. Vectors are refused, or dropped where that is asked for and its cost was measured. ``response_format``
holds the model to the labels' words where the interface knows it; ``logit_bias`` is not used, for it needs the ids of a
tokenizer that is not known here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pegbox.artifact import read_folder, read_prompt
from pegbox.errors import PromptError
from pegbox.export.cost import Cost
from pegbox.export.parts import check_turns
from pegbox.export.text import text_of, to_text
from pegbox.prompt import HardSlot, Prompt, Text, format

ANSWER_TOKENS = 16
"""What a label's words take at most, whatever the tokenizer."""


def to_openai_json(artifact: str | Path, drop_soft: bool = False, cost: Cost | None = None) -> dict[str, Any]:
    """What to send, and what comes with it.

    Settings:
        drop_soft: leave vectors out.
        cost: what was measured of leaving them out; it is written down.

    Raises: PromptError for vectors that were not to be dropped, and for own words that look like a field.
    """
    path = Path(artifact).expanduser()
    prompt, plain = read_prompt(path), to_text(path)
    manifest, _ = read_folder(path)
    if plain.dropped and not drop_soft:
        raise PromptError(
            f"{artifact} with {plain.dropped} learned vectors, which OpenAI's interface cannot hold",
            "a prompt of words alone",
            "say --drop-soft with --data LABELLED.csv to leave them out and have the cost measured, or export it --to vllm",
        )
    words = sorted({word for some in plain.words.values() for word in some})
    return {
        "request": {"model": "MODEL", "messages": _messages(prompt), "temperature": 0, "max_tokens": ANSWER_TOKENS},
        "held_to_labels": {"response_format": _one_of(words)} if words else {},
        "held_to_labels_vllm": {"structured_outputs": {"choice": words}} if words else {},
        "fields": list(prompt.field_names),
        "words": {label: list(some) for label, some in plain.words.items()},
        "about": {
            "notation": format(prompt),
            "tuned_on": manifest["model"],
            "method": manifest.get("method"),
            "evaluations": manifest.get("evaluations", []),
            "dropped_vectors": plain.dropped,
            "cost": None if cost is None else cost.as_dict(),
            "note": NOTE,
        },
    }


NOTE = (
    "Put a model's name for MODEL and a row's text for each {field}. The scores are those of the model that the prompt was "
    "tuned on, which chose among the labels' words; another model, or one that writes freely, may do otherwise: score it there."
)


def _messages(prompt: Prompt) -> list[dict[str, str]]:
    """The turns as messages; words before the answer, in a turn that the interface would not go on with, end the user's."""
    _check(prompt)
    told = [(turn.role or "user", text_of(turn)) for turn in prompt.turns]
    if prompt.is_chat:
        *told, (_, opening) = told
        if opening and (not told or told[-1][0] != "user"):
            told.append(("user", opening))
        elif opening:
            told[-1] = ("user", f"{told[-1][1]}\n{opening}")
    return [{"role": role, "content": text} for role, text in told]


def _check(prompt: Prompt) -> None:
    check_turns(prompt)
    own = [s.text if isinstance(s, Text) else s.words or "" for s in prompt if isinstance(s, Text | HardSlot)]
    for name in prompt.field_names:
        if any(f"{{{name}}}" in text for text in own):
            raise PromptError(
                f"the prompt's own words {{{name}}}, beside the field of that name",
                "other words than a field's",
                "reword it",
            )


def _one_of(words: list[str]) -> dict[str, Any]:
    """An object with one of these words, as structured outputs ask for it."""
    label = {"type": "string", "enum": words}
    schema = {"type": "object", "properties": {"answer": label}, "required": ["answer"], "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
