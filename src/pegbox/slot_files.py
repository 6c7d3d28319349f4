"""What an artifact's slots hold, as it goes to disk and comes back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone
from pegbox.errors import ArtifactError
from pegbox.prompt import DeepSlot, Prompt, VectorSlot


def vectors_of(prompt: Prompt) -> dict[str, NDArray[np.float32]]:
    """What the prompt's filled soft, deep and input slots hold. Shape: [N, width] for each slot."""
    return {
        name: np.asarray(slot.vectors)
        for name, slot in prompt.slots.items()
        if isinstance(slot, VectorSlot) and slot.vectors is not None
    }


def model_of(backbone: Backbone, prompt: Prompt) -> dict[str, Any]:
    """What the manifest says of the model."""
    said = {"name": backbone.name, "digest": backbone.digest, "width": backbone.width, "dtype": backbone.dtype}
    deep = any(isinstance(slot, DeepSlot) for slot in prompt.slots.values())
    return said | ({"deep_width": backbone.deep_width} if deep else {})


def widths_of(prompt: Prompt, model: Mapping[str, Any]) -> dict[str, int]:
    """How wide what each slot holds has to be, by what the manifest says of the model."""
    return {
        name: int(model["deep_width" if isinstance(slot, DeepSlot) else "width"])
        for name, slot in prompt.slots.items()
        if isinstance(slot, VectorSlot)
    }


def check_vectors(path: Path, vectors: Mapping[str, NDArray[Any]], widths: Mapping[str, int]) -> None:
    """Raises ArtifactError for other slots than these, other widths, or what is no number."""
    if set(vectors) != set(widths):
        raise ArtifactError(
            f"{path} has vectors for {sorted(vectors)}", f"vectors for {sorted(widths)}", "copy or tune it again"
        )
    for name, found in vectors.items():
        if found.ndim != 2 or found.shape[1] != widths[name]:
            raise ArtifactError(
                f"{path} has vectors of shape {found.shape} for {name!r}",
                f"vectors of width {widths[name]}",
                "copy or tune it again",
            )
        if not np.isfinite(found).all():
            raise ArtifactError(f"{path} has vectors for {name!r} that are not finite", "numbers", "copy or tune it again")
