"""PEFT's training steps, as its documentation shows them: right padding, loss on the answer's tokens, AdamW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from peft import LoraConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, TaskType, get_peft_model

from bench import names
from bench.setting import LABEL, TEXT, VECTORS, WORDS, Setting
from pegbox.data.rows import Rows

Batch = dict[str, torch.Tensor]


def configurations() -> dict[str, Any]:
    """Each method as it comes, with as many virtual tokens as ours."""
    common: dict[str, Any] = {"task_type": TaskType.CAUSAL_LM}
    virtual = common | {"num_virtual_tokens": VECTORS}
    return {
        names.PROMPT_TUNING: PromptTuningConfig(**virtual),
        names.P_TUNING: PromptEncoderConfig(**virtual),
        names.PREFIX_TUNING: PrefixTuningConfig(**virtual),
        names.LORA: LoraConfig(**common, r=8, lora_alpha=16),
    }


def stepper(setting: Setting, batch: Batch, config: Any) -> Callable[[int], None]:
    """What does one step: forward, backward, clipping, AdamW."""
    model = get_peft_model(setting.fresh(), config)
    trained = [some for some in model.parameters() if some.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-3, weight_decay=0.0)

    def run(turn: int) -> None:  # noqa: ARG001  # every turn is one more step
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return run


def padded(setting: Setting, rows: Rows) -> Batch:
    """Right-padded, with -100 where nothing is to be learned."""
    read = setting.tokenizer
    prompts = [read(f"{TEXT}{text}{LABEL}")["input_ids"] for text in rows.column()]
    answers = [read(f" {WORDS[label][0]}")["input_ids"] for label in rows.answers()]
    width = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
    ids = torch.full((len(rows), width), read.eos_token_id)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        whole = prompt + answer
        ids[row, : len(whole)] = torch.tensor(whole)
        mask[row, : len(whole)] = 1
        labels[row, len(prompt) : len(whole)] = torch.tensor(answer)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
