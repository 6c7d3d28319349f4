"""Where a soft slot's vectors begin: at the embeddings of words, never at random."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt, SoftSlot, Text
from pegbox.task.classification import Classification


def start_vectors(
    prompt: Prompt, backbone: Backbone, task: Classification, train: Rows, variants: int, rng: np.random.Generator
) -> dict[str, torch.Tensor]:
    """Start vectors of every soft slot, the same for all variants: its own, where it is filled, or those of words.

    Shape: for each slot [K, P, H].
    """
    found = {}
    for name, slot in prompt.slots.items():
        if isinstance(slot, SoftSlot):
            if slot.vectors is None:
                vectors = backbone.embed(start_words(prompt, backbone, task, train, slot.length, rng))
            else:
                vectors = torch.tensor(slot.vectors)
            found[name] = vectors.expand(variants, -1, -1)
    return found


def start_words(
    prompt: Prompt, backbone: Backbone, task: Classification, train: Rows, count: int, rng: np.random.Generator
) -> list[int]:
    """Token ids to start from: the label words, the prompt's own words, then the commonest tokens of the texts.

    Source: Lester et al. 2021, section 3.2 (class labels, then frequent vocabulary); the order of the labels is chance.
    """
    words = [words[0] for words in task.words_in(prompt).values()]
    ids = [token for at in rng.permutation(len(words)) for token in backbone.encode(" " + words[at])]
    ids += [token for segment in prompt if isinstance(segment, Text) for token in backbone.encode(segment.text.strip())]
    if len(ids) < count:
        counts: Counter[int] = Counter()
        for row in train.fields[:500]:
            for name in prompt.field_names:
                counts.update(backbone.encode(" " + row[name]))
        ids += [token for token, _ in counts.most_common(count)]
    return (ids * count)[:count]
