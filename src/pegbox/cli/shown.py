"""Everything that can be said of a tuned prompt, as plain values."""

from __future__ import annotations

from typing import Any

from pegbox.artifact import Tuned
from pegbox.evaluate.nearest_words import NOTE, nearest_words
from pegbox.prompt import format
from pegbox.task.classification import Classification


def shown(tuned: Tuned) -> dict[str, Any]:
    """The prompt, its labels and words (or its task), its soft slots' nearest words, where it came from, and its scores."""
    nearest = nearest_words(tuned.prompt, tuned.backbone)
    return {
        "prompt": format(tuned.prompt),
        **_of_task(tuned),
        "model": {"name": tuned.backbone.name, "digest": tuned.backbone.digest, "dtype": tuned.backbone.dtype},
        "nearest": {name: [{"word": w, "cosine": c, "norm_ratio": n} for w, c, n in words] for name, words in nearest.items()},
        "nearest_note": NOTE if nearest else "",
        **tuned.record,
        "evaluations": tuned.evaluations,
    }


def _of_task(tuned: Tuned) -> dict[str, Any]:
    if not isinstance(tuned.task, Classification):
        return {"task": {"name": tuned.task.name, **tuned.task.to_json()}}
    words = {label: list(some) for label, some in tuned.task.words_in(tuned.prompt).items()}
    return {"words": words, **tuned.classifier.state()}
