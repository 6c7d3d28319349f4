"""A long batch in parts: a pass with gradients holds every position's numbers in every layer until it is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.prompt import Answer, DeepSlot, Field, HardSlot, InputSlot, Prompt, Text, VectorSlot
from pegbox.task.classification import Classification

PASS = 2048
"""Tokens in one pass with gradients; about 1 MB each with SmolLM2-135M in bfloat16."""


@dataclass(frozen=True)
class Lengths:
    """How many positions a pass runs for one variant, about.

    Settings:
        rows: for each row.
        common: once for all rows of a pass.
    """

    rows: Sequence[int]
    common: int = 0


def parts(index: Sequence[int], lengths: Lengths, variants: int = 1) -> list[list[int]]:
    """The batch in parts of at most PASS tokens with their padding, rows of near length together.

    Settings:
        lengths: by the numbers that `index` holds.
    """
    found: list[list[int]] = [[]]
    for row in sorted(index, key=lambda row: lengths.rows[row]):
        tokens = lengths.common + (len(found[-1]) + 1) * lengths.rows[row]
        if found[-1] and tokens * variants > PASS:
            found.append([])
        found[-1].append(row)
    return found


def live_lengths(prompt: Prompt, task: Classification, backbone: Backbone, rows: Rows) -> Lengths:
    """What a step runs: all that stands behind the first soft slot, what no field precedes there once for all rows.

    A channel task runs all of it for every label's word. A model that reads a whole prompt before it answers runs all of that.

    Settings:
        prompt: with its slots filled.
    """
    if task.channel:
        words = sum(map(len, task.words_in(prompt).values()))
        return Lengths([words * length for length in backbone.context_lengths(prompt, rows)])
    if backbone.kind != "causal":
        return Lengths(backbone.context_lengths(prompt, rows))
    segments = [segment for segment in prompt if not isinstance(segment, Answer)]
    first = next((at for at, segment in enumerate(segments) if isinstance(segment, VectorSlot)), len(segments))
    field = next((at for at, segment in enumerate(segments) if isinstance(segment, Field)), len(segments))
    behind = segments[first:]
    alike = not any(isinstance(segment, InputSlot) for segment in behind)
    common = behind[: field - first] if field > first and alike else []
    fields = [segment.name for segment in behind if isinstance(segment, Field)]
    fixed = sum(_length(segment, backbone) for segment in behind[len(common) :])
    own = [fixed + sum(len(backbone.encode(row[name])) for name in fields) for row in rows.fields]
    if len(task.labels) == 1:  # the answers are the rows' own texts
        own = [length + len(backbone.encode(text)) for length, text in zip(own, rows.answers(), strict=True)]
    return Lengths(own, sum(_length(segment, backbone) for segment in common))


def _length(segment: object, backbone: Backbone) -> int:
    if isinstance(segment, VectorSlot):
        return 0 if isinstance(segment, DeepSlot) else segment.length
    words = segment.text if isinstance(segment, Text) else segment.words if isinstance(segment, HardSlot) else None
    return len(backbone.encode(words)) if words else 0
