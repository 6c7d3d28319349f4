"""Everything that can be said of a tuned prompt, as plain values."""

from __future__ import annotations

from typing import Any

from pegbox.artifact import Tuned
from pegbox.evaluate.nearest_words import NOTE, nearest_words
from pegbox.prompt import format


def shown(tuned: Tuned) -> dict[str, Any]:
    """The prompt, its labels and words, its soft slots' nearest words, where it came from, and its scores."""
    nearest = nearest_words(tuned.prompt, tuned.backbone)
    return {
        "prompt": format(tuned.prompt),
        "words": {label: list(words) for label, words in tuned.predictor.task.words_in(tuned.prompt).items()},
        "calibration": {"method": tuned.predictor.calibration.method, "offsets": list(tuned.predictor.calibration.offsets)},
        "model": {"name": tuned.backbone.name, "digest": tuned.backbone.digest, "dtype": tuned.backbone.dtype},
        "nearest": {name: [{"word": w, "cosine": c, "norm_ratio": n} for w, c, n in words] for name, words in nearest.items()},
        "nearest_note": NOTE if nearest else "",
        **tuned.record,
        "evaluations": tuned.evaluations,
    }
