"""Transformers alone: a batched forward, the logits of the last position, the labels' words compared."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bench.setting import WORDS, Setting

AT_ONCE = 32


@torch.no_grad()
def label_shares(setting: Setting, prompts: Sequence[str], vectors: torch.Tensor | None = None) -> torch.Tensor:
    """Probabilities of the labels, texts of near length together.

    Settings:
        vectors: stand in front of every prompt. Shape: [P, H].

    Shape: [prompts, labels].
    """
    order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]))
    batches = [order[at : at + AT_ONCE] for at in range(0, len(order), AT_ONCE)]
    found = torch.cat([_batch(setting, [prompts[at] for at in batch], vectors) for batch in batches])
    return found[torch.tensor(order).argsort()]


def _batch(setting: Setting, prompts: Sequence[str], vectors: torch.Tensor | None) -> torch.Tensor:
    words = [setting.tokenizer(f" {some[0]}")["input_ids"][0] for some in WORDS.values()]
    read = setting.tokenizer(list(prompts), padding=True, padding_side="left", return_tensors="pt")
    inputs = {"attention_mask": read["attention_mask"]}
    if vectors is None:
        inputs["input_ids"] = read["input_ids"]
    else:  # behind the padding would be the same prompt; in front of it the mask does it
        size = len(prompts), len(vectors)
        embeds = setting.plain.get_input_embeddings()(read["input_ids"])
        inputs["inputs_embeds"] = torch.cat([vectors.to(embeds.dtype).expand(size[0], -1, -1), embeds], dim=1)
        inputs["attention_mask"] = torch.cat([torch.ones(size, dtype=torch.long), read["attention_mask"]], dim=1)
    inputs["position_ids"] = (inputs["attention_mask"].cumsum(1) - 1).clamp_min(0)
    return setting.plain(**inputs, logits_to_keep=1, use_cache=False).logits[:, -1, words].float().softmax(-1)
