"""A loaded model with its tokenizer, and the digest that tells it from every other model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

Kind = Literal["causal", "masked", "encoder-decoder"]
"""How a model reads and answers: it continues a text, fills masks in one, or reads one and writes another."""


@dataclass(frozen=True)
class Loaded:
    """A frozen language model, ready to answer.

    Settings:
        model: in evaluation mode, no parameter asks for a gradient.
        tokenizer: a fast one, with the model's own chat template where it has one.
        name: the model as the user named it.
        digest: SHA-256 over weights, configuration and tokenizer; equal digests mean equal models.
        dtype: "float32", "bfloat16" or "float16".
        device: "cpu", "cuda", "cuda:1", ...
        kind: how it reads and answers.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    name: str
    digest: str
    dtype: str
    device: str
    kind: Kind = "causal"


def state_digest(model: torch.nn.Module) -> str:
    """SHA-256 over every parameter and buffer of a model in memory: its name, type, shape and bytes.

    Taken before and after a run, it proves that the backbone did not change.
    """
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(flat.view(torch.uint8).numpy().data)
    return total.hexdigest()
