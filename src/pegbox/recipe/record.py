"""What an artifact says of where it came from."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import pegbox
from pegbox.artifact import row_marks
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.data.rows import Rows
from pegbox.prompt import format
from pegbox.recipe.methods import method
from pegbox.recipe.run import Job, Outcome
from pegbox.recipe.settings import settings_of, with_settings

_PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "scikit-learn", "safetensors")


def record_of(job: Job, outcome: Outcome, backbone: HuggingFaceBackbone, train: Rows, dev: Rows) -> dict[str, Any]:
    """Method, settings, seed, budget, data and versions, as plain JSON values."""
    made = with_settings(method(job.method).make(), job.settings)
    return {
        "method": job.method,
        "settings": dict(settings_of(made)),
        "seed": job.seed,
        "budget": str(job.budget),
        "start": format(job.prompt),
        "tokenizer_in_model_digest": True,
        "data": {
            "source": train.source,
            "train_rows": len(train),
            "dev_rows": len(dev),
            "train_digest": train.digest(),
            "dev_digest": dev.digest(),
            "seen": sorted({*row_marks(train), *row_marks(dev)}),
        },
        "scores": {"dev_accuracy": outcome.dev_accuracy},
        "cost": {
            "tokens_forward": outcome.tokens_forward,
            "tokens_backward": outcome.tokens_backward,
            "seconds": round(outcome.seconds, 3),
            "peak_memory_bytes": outcome.peak_memory,
        },
        "notes": list(outcome.notes),
        "evaluations": [],
        "device": backbone.device,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """The versions of pegbox, Python and what the numbers rest on."""
    return {
        "pegbox": pegbox.__version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
    }
