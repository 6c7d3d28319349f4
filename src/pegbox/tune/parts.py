"""A long batch in parts: a pass with gradients holds every position's numbers in every layer until it is over."""

from __future__ import annotations

from collections.abc import Sequence

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.prompt import Field, Prompt, SoftSlot

PASS = 2048
"""Tokens in one pass with gradients; about 1 MB each with SmolLM2-135M in bfloat16."""


def parts(index: Sequence[int], lengths: Sequence[int], variants: int = 1) -> list[list[int]]:
    """The batch in parts of at most PASS tokens with their padding, rows of near length together.

    Settings:
        lengths: positions that each row takes in the pass, for one variant; by the numbers that `index` holds.
    """
    found: list[list[int]] = [[]]
    for row in sorted(index, key=lambda row: lengths[row]):
        if found[-1] and (len(found[-1]) + 1) * lengths[row] * variants > PASS:
            found.append([])
        found[-1].append(row)
    return found


def live_lengths(prompt: Prompt, backbone: Backbone, rows: Rows) -> list[int]:
    """How many positions of each row a step runs: all of them behind a soft slot that comes before the text, else hardly any.

    Settings:
        prompt: with its slots filled.
    """
    kinds = [type(segment) for segment in prompt if isinstance(segment, SoftSlot | Field)]
    return backbone.context_lengths(prompt, rows) if kinds[:1] == [SoftSlot] else [1] * len(rows)
