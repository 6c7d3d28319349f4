"""The check at the end of a descent: a slot's start may be worse than no slot, and few steps may not make up for it."""

from __future__ import annotations

from collections.abc import Sequence

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt
from pegbox.task.classification import Classification
from pegbox.tune.budget import Meter
from pegbox.tune.dev_score import DevScore, dev_score, remembered
from pegbox.tune.trail import Trail

_ROUNDING = 1e-4
"""Nats: vectors that start as words score as these do, but for so much."""


def or_written(
    tuned: Prompt,
    written: Prompt,
    task: Classification,
    backbone: Backbone,
    dev: Rows,
    prior: Sequence[float],
    meter: Meter,
    trail: Trail,
) -> Prompt:
    """The tuned prompt, unless the written one, where it has no slot to fill, fits the dev rows as well.

    Settings:
        prior: the labels' shares among the training rows.
    """
    if written.open_slots or written == tuned:
        return tuned

    def fit(key: str, prompt: Prompt) -> DevScore:
        return remembered(key, lambda: dev_score(prompt, task, backbone, dev, prior), meter, trail)

    before, after = fit("written", written), fit("tuned", tuned)
    if after.fit > before.fit + _ROUNDING:
        return tuned
    told = f"calibrated dev loss {-after.fit:.3f} with the vectors, {-before.fit:.3f} without, on {len(dev)} rows"
    trail.write("note", text=f"the vectors do not beat the prompt without them, which is kept ({told})")
    return written
