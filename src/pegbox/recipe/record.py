"""What an artifact says of where it came from."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import pegbox
from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.prompt import format
from pegbox.recipe.run import Job, Outcome
from pegbox.recipe.settings import settings_of

_PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "scikit-learn", "safetensors")


def record_of(job: Job, outcome: Outcome, backbone: Backbone, train: Rows, dev: Rows) -> dict[str, Any]:
    """Method, settings, seed, budget, data and versions, as plain JSON values."""
    return {
        "method": job.method,
        "settings": dict(settings_of(job.made())),
        "seed": job.seed,
        "budget": str(job.budget),
        "start": format(job.prompt),
        "data": {
            "source": train.source,
            "train_rows": len(train),
            "dev_rows": len(dev),
            "train_digest": train.digest(),
            "dev_digest": dev.digest(),
        },
        "scores": {f"dev_{job.task.measures[0]}": outcome.dev_accuracy},
        "cost": {
            "tokens_forward": outcome.spending.forward,
            "tokens_backward": outcome.spending.backward,
            "seconds": round(outcome.spending.seconds, 3),
            "peak_memory_bytes": outcome.spending.peak,
        },
        "notes": list(outcome.notes),
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
