"""Attention for short tails over kept keys/values, through Transformers' public registry of attention functions.

Two things that the stock function does are waste here: it copies the key/value heads for each of the query heads that share
them, and on the way back it forms gradients for keys and values that are frozen. On a CPU it is also slow whenever there is
a mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface

NAME = "pegbox"
_MOST = 1 << 26
"""Scores in one pass; beyond that the stock function, which never holds all of them, is the better one."""
_frozen: ContextVar[int] = ContextVar("frozen", default=0)


@contextmanager
def frozen_past(length: int) -> Iterator[None]:
    """Within it, no gradient is formed for the first `length` keys and values."""
    token = _frozen.set(length)
    try:
        yield
    finally:
        _frozen.reset(token)


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """Scaled dot-product attention over grouped heads.

    Shape: query [N, heads, T, D]; key, value [N, shared heads, S, D]; attention_mask [N or 1, 1, T, S], True where seen, or
        None for plain causal; result [N, T, heads, D].
    """
    rows, heads, width, size = query.shape
    if rows * heads * width * key.shape[2] > _MOST and softcap is None:
        found: tuple[torch.Tensor, None] = AttentionInterface()["sdpa"](
            module, query, key, value, attention_mask, scaling=scaling, **rest
        )
        return found
    groups, length = key.shape[1], key.shape[2]
    together = query.reshape(rows, groups, heads // groups * width, size)
    past = _frozen.get() if torch.is_grad_enabled() else 0
    keys, values = _parts(key, past), _parts(value, past)
    scores = torch.cat([together @ part.transpose(-1, -2) for part in keys], dim=-1).float()
    scores = scores * (size**-0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores = scores.view(rows, groups, heads // groups, width, length)
    seen = attention_mask if attention_mask is not None else _causal(width, length, query.device)
    if seen is not None:
        scores = scores.masked_fill(~seen[:, :, None], torch.finfo(torch.float32).min)
    shares = scores.softmax(-1).to(query.dtype).view(rows, groups, -1, length)
    made = sum(share @ part for share, part in zip(shares.split([p.shape[2] for p in values], dim=-1), values, strict=True))
    assert isinstance(made, torch.Tensor)
    return made.view(rows, heads, width, -1).transpose(1, 2).contiguous(), None


def _parts(tensor: torch.Tensor, past: int) -> list[torch.Tensor]:
    return [tensor[:, :, :past].detach(), tensor[:, :, past:]] if past else [tensor]


def _causal(width: int, length: int, device: torch.device) -> torch.Tensor | None:
    if width == 1:
        return None
    return torch.ones(width, length, dtype=torch.bool, device=device).tril(length - width)[None, None]


def use(model: Any) -> None:
    """Switches a model that runs the stock attention on a CPU to this one."""
    if model.device.type == "cpu" and model.config.get_text_config()._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, grouped_attention)
        AttentionMaskInterface.register(NAME, AttentionMaskInterface()["sdpa"])
        model.set_attn_implementation(NAME)
