"""How fast a predictor answers, and how much it sends beside the user's text."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.prompt import TURNS, Prompt
from pegbox.prompt.turns import said

ENOUGH_SECONDS = 10.0
"""No more tries are begun after so long: where answers are written word by word, one try says enough."""


def predict_speed(predictor: Any, rows: Rows) -> tuple[float, float]:
    """Milliseconds a row, in batches of 1 and of 32: medians of a few tries, each on other rows, after one not counted.

    Settings:
        predictor: a `pegbox.task.predictor.Predictor`, or a `pegbox.task.task.Answering`.
    """
    # a predictor of texts is not asked how likely the references are, which is for the scores
    ask = getattr(predictor, "predict_proba", None) or getattr(predictor, "texts", None) or predictor.answers
    speeds = []
    for size, tries in ((1, 7), (32, 3)):
        clocks: list[float] = []
        start = time.perf_counter()
        for number in range(tries + 1):
            if clocks and time.perf_counter() - start > ENOUGH_SECONDS:
                break
            batch = rows.take([(number * size + at) % len(rows) for at in range(size)])
            began = time.perf_counter()
            ask(batch)
            clocks.append((time.perf_counter() - began) * 1000 / size)
        speeds.append(float(np.median(clocks[1:] or clocks)))
    return speeds[0], speeds[1]


def extra_tokens(predictor: Any, backbone: Backbone, rows: Rows) -> float | None:
    """Positions a request has beyond the user's own text, on average; None where no prompt is sent."""
    if not hasattr(predictor, "request"):
        return None
    some = rows.take(range(min(32, len(rows))))
    prompt, sent = predictor.request(some)
    whole = predictor.backbone.context_lengths(prompt, sent)
    own = [sum(len(backbone.encode(" " + text)) for text in _own_texts(prompt, row)) for row in some]
    if len(whole) != len(own):  # several requests for a row, as where every word is asked about
        return None
    return float(np.mean(np.array(whole) - np.array(own)))


def _own_texts(prompt: Prompt, row: Mapping[str, str]) -> list[str]:
    """The user's own texts in a row: fields, and of a conversation what was said."""
    names = [name for name in prompt.field_names if name in row]
    if not prompt.is_conversation:
        return [row[name] for name in names]
    return [content for _, content in said(row[TURNS])] + [row[name] for name in names if name != TURNS]
