"""Where a slot's vectors begin: at what words give, never at random."""

from __future__ import annotations

import numpy as np
import torch

from pegbox.backbone.seam import Backbone
from pegbox.prompt import DeepSlot, Prompt, SoftSlot, VectorSlot
from pegbox.task.classification import Classification
from pegbox.task.verbalizer import NAMED, instruction
from pegbox.tune.schedule import START_APART, Schedule


def start_vectors(
    prompt: Prompt, backbone: Backbone, task: Classification, variants: int, kind: type[VectorSlot] = SoftSlot
) -> dict[str, torch.Tensor]:
    """Start vectors of every slot of a kind, the same for all variants: its own, where it is filled, or those of words.

    Shape: for each slot [K, P, H], or [K, P, W] for deep slots.
    """
    found = {}
    for name, slot in prompt.slots.items():
        if isinstance(slot, kind):
            if slot.vectors is None:
                words = start_words(prompt, backbone, task, slot.length)
                deep = isinstance(slot, DeepSlot)
                vectors = backbone.keys_values(words)[: slot.length] if deep else backbone.embed(words)
            else:
                vectors = torch.tensor(slot.vectors, device=backbone.embed([0]).device)
            found[name] = vectors.expand(variants, -1, -1)
    return found


def starts_apart(vectors: dict[str, torch.Tensor], schedule: Schedule, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """How far each variant starts from these vectors, in units of the embeddings' size: 0 from the schedule's first start.

    Shape: for each slot [K, P, H], in and out.
    """
    found, per_start = {}, len(schedule.learning_rates)
    for name, at in vectors.items():
        apart = rng.normal(0, START_APART, (schedule.starts - 1, *at.shape[1:])).astype(np.float32)
        further = torch.from_numpy(apart).to(at.device).repeat_interleave(per_start, dim=0)
        found[name] = torch.cat([at.new_zeros(per_start, *at.shape[1:]), further])
    return found


def filled_at_start(prompt: Prompt, backbone: Backbone, task: Classification) -> Prompt:
    """The prompt with its open soft slots where tuning would start them, so that a method for words can read it."""
    starts = start_vectors(prompt, backbone, task, 1)
    return prompt.fill(**{name: starts[name][0].float().cpu().numpy() for name in prompt.open_slots if name in starts})


def start_words(prompt: Prompt, backbone: Backbone, task: Classification, count: int) -> list[int]:
    """Token ids to start from: an instruction that names the labels (some, of many), again and again until the slot is full.

    Source: Lester et al. 2021, section 3.2, start from the labels' words; that these stand in a sentence is ours. The labels
        stand in their own order, as in the prompt that pegbox writes: by chance they started worse.
    """
    words = [words[0] for words in task.words_in(prompt).values()]
    said = f"Classify the text as {', '.join(words)}." if len(words) <= NAMED else instruction(words)
    ids = backbone.encode(said if len(words) > 1 else task.asks(prompt))
    return list((ids * count)[:count])


def root_mean_square(vectors: torch.Tensor) -> float:
    """The size of a typical number in an embedding matrix. Shape: [V, H]."""
    return float(vectors.square().mean().sqrt())
