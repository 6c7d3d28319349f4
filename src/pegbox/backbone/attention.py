"""Attention for short tails over kept keys/values, through Transformers' public registry of attention functions.

Two things that the stock function does are waste here: it copies the key/value heads for each of the query heads that share
them, and on the way back it forms gradients for keys and values that are frozen. On a CPU it is also slow whenever there is
a mask.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface

NAME = "pegbox"
_MOST = 1 << 26
"""Scores in one pass; beyond that the stock function, which never holds all of them, is the better one."""
_frozen: ContextVar[int] = ContextVar("frozen", default=0)


@dataclass(frozen=True)
class Fan:
    """Several branches that look back on the same kept keys and values, of which there is one copy, but not on each other.

    Settings:
        past: kept positions.
        branches: how many; the new positions are theirs, one branch after the other and all equally long.
        seen: which of the kept positions are real. Shape: [N, past]; None: all.
    """

    past: int
    branches: int
    seen: torch.Tensor | None = None

    @functools.cached_property
    def as_seen(self) -> Seen:
        """The same for loops; every layer is given it."""
        return Seen(None if self.seen is None else self.seen[:, None].byte())


_fan: ContextVar[Fan | None] = ContextVar("fan", default=None)
_kept: ContextVar[bool] = ContextVar("kept", default=True)
_read: ContextVar[torch.Tensor | None] = ContextVar("read", default=None)


@dataclass(frozen=True)
class Seen:
    """Which positions each new one looks back on.

    Settings:
        old: of those kept. Shape: [N or 1, T or 1, P], bytes; None: all.
        new: of those run with it. Shape: [N or 1, T, T], bytes; None: those before it in its branch, and itself.
    """

    old: torch.Tensor | None = None
    new: torch.Tensor | None = None


@contextmanager
def frozen_past(length: int) -> Iterator[None]:
    """Within it, no gradient is formed for the first `length` keys and values."""
    token = _frozen.set(length)
    try:
        yield
    finally:
        _frozen.reset(token)


@contextmanager
def fanned(fan: Fan) -> Iterator[None]:
    """Within it, the new positions are a fan's branches."""
    token = _fan.set(fan)
    try:
        yield
    finally:
        _fan.reset(token)


@contextmanager
def keeping(wanted: bool) -> Iterator[None]:
    """Within it, new keys and values are laid up in the cache, or need not be."""
    token = _kept.set(wanted)
    try:
        yield
    finally:
        _kept.reset(token)


@contextmanager
def reading(places: torch.Tensor | None) -> Iterator[None]:
    """Within it, the last layer's results are looked at only at some places; None: at all of them.

    Settings:
        places: their numbers, counted through the rows.
    """
    token = _read.set(places)
    try:
        yield
    finally:
        _read.reset(token)


def places_read() -> torch.Tensor | None:
    """The only places at which the last layer's results are looked at, where they are known."""
    return _read.get()


def frozen() -> int:
    """For how many of the first keys and values no gradient is formed."""
    return _frozen.get()


def current_fan() -> Fan | None:
    """The fan whose branches the new positions are."""
    return _fan.get()


def keeps() -> bool:
    """Whether new keys and values are wanted in the cache."""
    return _kept.get()


def seen(mask: torch.Tensor | None, fan: Fan | None, past: int) -> Seen:
    """What a mask, or a fan, lets each new position see. Shape: mask [N or 1, 1, T, past + T], True where seen."""
    if fan is not None:
        return fan.as_seen
    if mask is None:
        return Seen()
    found: Seen | None = getattr(mask, "pegbox_seen", None)  # every layer is given the same mask
    if found is None:
        own = (mask[:1] if mask.stride(0) == 0 else mask)[:, 0].byte()
        found = Seen(own[..., :past].contiguous(), own[..., past:].contiguous())
        mask.pegbox_seen = found  # type: ignore[attr-defined]
    return found


def fits(scores: int) -> bool:
    """Whether so many scores may be held at once."""
    return scores <= _MOST


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
    if (fan := _fan.get()) is not None:
        return _fan_attention(query, key, value, fan, scaling, softcap), None
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


def _fan_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, fan: Fan, scaling: float | None, softcap: float | None
) -> torch.Tensor:
    """The same where each new position sees what is kept and its own branch's past.

    Shape: query [N, heads, branches * T, D]; key, value [N, shared heads, past + branches * T, D]; result [N, branches * T,
        heads, D].
    """
    rows, heads, width, size = query.shape
    groups, each, past = key.shape[1], width // fan.branches, fan.past
    kept = _frozen.get() >= past and torch.is_grad_enabled()
    old_keys, old_values = (part[:, :, :past].detach() if kept else part[:, :, :past] for part in (key, value))
    new_keys, new_values = (p[:, :, past:].reshape(rows, groups, fan.branches, each, -1) for p in (key, value))
    asked = query.view(rows, groups, heads // groups, fan.branches, each, size).transpose(2, 3)
    asked = asked.reshape(rows, groups, fan.branches, -1, size)  # [N, groups, branches, heads of a group * T, D]
    back = asked.reshape(rows, groups, -1, size) @ old_keys.transpose(-1, -2)
    scores = torch.cat([back.view(*asked.shape[:-1], past), asked @ new_keys.transpose(-1, -2)], dim=-1).float()
    scores = scores * (size**-0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores = scores.masked_fill(~_seen_in_fan(fan, rows, heads // groups, each, query.device), torch.finfo(torch.float32).min)
    shares = scores.softmax(-1).to(query.dtype)
    made = (shares[..., :past].reshape(rows, groups, -1, past) @ old_values).view(*asked.shape[:-1], -1)
    made = made + shares[..., past:] @ new_values
    made = made.view(rows, groups, fan.branches, heads // groups, each, -1).permute(0, 2, 4, 1, 3, 5)
    return made.reshape(rows, width, heads, -1)


def _seen_in_fan(fan: Fan, rows: int, copies: int, each: int, device: torch.device) -> torch.Tensor:
    """What a branch's positions see, for each of the heads that share keys. Shape: [N or 1, 1, 1, copies * T, past + T]."""
    own = torch.ones(each, each, dtype=torch.bool, device=device).tril().repeat(copies, 1)
    if fan.seen is None:
        return torch.cat([own.new_ones(len(own), fan.past), own], dim=-1)[None, None, None]
    past = fan.seen[:, None].expand(rows, len(own), fan.past)
    return torch.cat([past, own.expand(rows, -1, -1)], dim=-1)[:, None, None]


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
        AttentionMaskInterface.register(NAME, _mask)
        model.set_attn_implementation(NAME)


def _mask(*given: Any, **named: Any) -> torch.Tensor | None:
    """The stock function's mask; a fan makes its own."""
    made: torch.Tensor | None = None if _fan.get() is not None else AttentionMaskInterface()["sdpa"](*given, **named)
    return made
