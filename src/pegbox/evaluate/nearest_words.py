"""What words lie near a soft slot's vectors. It proves little: see the note."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from pegbox.backbone.seam import Backbone
from pegbox.prompt import Prompt, SoftSlot

NOTE = (
    "Nearest words say little about what a soft slot does: vectors that solve a task may lie near words that have nothing to "
    "do with it (Khashabi et al. 2022), and written in their place these words score differently."
)


@torch.no_grad()
def nearest_words(prompt: Prompt, backbone: Backbone) -> Mapping[str, tuple[tuple[str, float, float], ...]]:
    """For each vector of each filled soft slot the nearest ordinary word, its cosine, and its length over the word's."""
    slots = {name: slot for name, slot in prompt.slots.items() if isinstance(slot, SoftSlot) and slot.vectors is not None}
    if not slots:
        return {}
    embeddings, ordinary = backbone.vocabulary()
    ids = torch.from_numpy(np.flatnonzero(ordinary)).to(embeddings.device)
    words = embeddings[ids]
    sizes = words.norm(dim=1).clamp_min(1e-12)
    found = {}
    for name, slot in slots.items():
        vectors = torch.tensor(slot.vectors).to(words.device)
        cosines = (vectors @ (words / sizes[:, None]).T) / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)
        best = cosines.argmax(dim=1)
        found[name] = tuple(
            (backbone.decode([int(ids[at])]), float(cosines[p, at]), float(vectors[p].norm() / sizes[at]))
            for p, at in enumerate(best)
        )
    return found
