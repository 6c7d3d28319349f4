"""The rows' own texts without the prompt around them, and the backbone's features of them, within a budget."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt
from pegbox.tune.budget import Meter

_CHUNK = 64


def row_texts(rows: Rows, prompt: Prompt) -> list[str]:
    """One text for each row: the fields that the prompt reads, one below the other; the field ``text`` if it reads none."""
    columns = [rows.column(name) for name in prompt.field_names or ("text",)]
    return ["\n".join(texts) for texts in zip(*columns, strict=True)]


def cut_texts(rows: Rows, prompt: Prompt, backbone: Backbone) -> tuple[int, ...]:
    """Positions of the rows of whose texts `text_features` reads only the beginning, after the mark that stands before each."""
    texts = row_texts(rows, prompt)
    return tuple(at for at, text in enumerate(texts) if len(backbone.encode(text)) >= backbone.context)


def text_features(rows: Rows, prompt: Prompt, backbone: Backbone, layers: Sequence[float]) -> NDArray[np.float32]:
    """The backbone's features of the rows' texts. Shape: [B, layers, 2, H]."""
    return backbone.features(Rows.from_texts(row_texts(rows, prompt), source=rows.source), layers)


def features_within(
    meter: Meter, share: float, rows: Rows, prompt: Prompt, backbone: Backbone, layers: Sequence[float]
) -> NDArray[np.float32]:
    """Features of the first rows, as many as a share of the budget allows, but not fewer than 64.

    Shape: [B or fewer, layers, 2, H].
    """
    found: list[NDArray[np.float32]] = []
    dearest = 0
    for first in range(0, len(rows), _CHUNK):
        left = meter.tokens_left
        if found and left is not None and meter.tokens + dearest > share * (meter.tokens + left):
            break
        before = meter.tokens
        some = rows.take(range(first, min(first + _CHUNK, len(rows))))
        found.append(text_features(some, prompt, backbone, layers))
        meter.settle()
        dearest = max(dearest, meter.tokens - before)
    return np.concatenate(found)
