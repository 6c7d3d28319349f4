"""A long batch in parts: a pass with gradients holds every position's numbers in every layer until it is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.data.words import OF_A_WORD
from pegbox.prompt import Answer, DeepSlot, Field, HardSlot, InputSlot, Prompt, Segment, Text, VectorSlot
from pegbox.task.classification import Classification

PASS = 2048
"""Tokens in one pass with gradients; about 1 MB each with SmolLM2-135M in bfloat16."""


@dataclass(frozen=True)
class Lengths:
    """How many positions a pass runs for one variant, about.

    Settings:
        rows: for each row.
        common: once for all rows of a pass.
        kin: for each row the number of its group, whose rows are run together; none: every row is by itself.
        shared: for each row what is run once for its group.
    """

    rows: Sequence[int]
    common: int = 0
    kin: Sequence[int] = ()
    shared: Sequence[int] = ()


def parts(index: Sequence[int], lengths: Lengths, variants: int = 1) -> list[list[int]]:
    """The batch in parts of at most PASS tokens with their padding, rows of near length together.

    Settings:
        lengths: by the numbers that `index` holds.
    """
    groups: dict[int, list[int]] = {}
    for row in index:
        groups.setdefault(lengths.kin[row] if lengths.kin else row, []).append(row)
    sizes = {at: sum(lengths.rows[row] for row in some) for at, some in groups.items()}
    if lengths.shared:
        sizes = {at: size + lengths.shared[groups[at][0]] for at, size in sizes.items()}
    found: list[list[int]] = [[]]
    count = 0
    for at in sorted(groups, key=lambda at: sizes[at]):
        if found[-1] and (lengths.common + (count + 1) * sizes[at]) * variants > PASS:
            found.append([])
            count = 0
        found[-1].extend(groups[at])
        count += 1
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
    apart = behind[len(common) :]
    together = sum(_length(segment, backbone) for segment in common)
    if not task.chooses:  # the answers are the rows' own texts
        texts = (len(backbone.encode(text)) for text in rows.answers())
        return Lengths([n + more for n, more in zip(_lengths(apart, rows, backbone), texts, strict=True)], together)
    if not rows.kin:
        return Lengths(_lengths(apart, rows, backbone), together)
    asked = (at for at, segment in enumerate(apart) if isinstance(segment, Field) and segment.name in OF_A_WORD)
    at = next(asked, len(apart))
    return Lengths(_lengths(apart[at:], rows, backbone), together, rows.kin, _lengths(apart[:at], rows, backbone))


def _lengths(segments: Sequence[Segment], rows: Rows, backbone: Backbone) -> list[int]:
    """How many positions these segments take in each row."""
    fields = [segment.name for segment in segments if isinstance(segment, Field)]
    fixed = sum(_length(segment, backbone) for segment in segments)
    return [fixed + sum(len(backbone.encode(row[name])) for name in fields) for row in rows.fields]


def _length(segment: object, backbone: Backbone) -> int:
    if isinstance(segment, VectorSlot):
        return 0 if isinstance(segment, DeepSlot) else segment.length
    words = segment.text if isinstance(segment, Text) else segment.words if isinstance(segment, HardSlot) else None
    return len(backbone.encode(words)) if words else 0
