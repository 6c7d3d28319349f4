"""Puts the fused parts of `fused_math` in the place of a Transformers model's own, where they give the same.

A root mean square norm, a feed-forward part with a silu gate and an attention with rotary places are what Llama, Qwen2, SmolLM2
and many others are made of. Parts that are built otherwise, whose weights are trained or that an adapter has got hold of, run
as Transformers wrote them, and so does everything without numba (`pip install 'pegbox[fast]'`).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # the field's name for it
from torch import nn

from pegbox.backbone import attention
from pegbox.backbone.matrices import LARGEST, Matrix

REVISION = "2"
"""Of what fused parts compute: kept keys and values of another one are not used."""
VARIABLE = "PEGBOX_FUSED"
"""Set to 0: no part is replaced."""
_NEAR = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""How far a part's result may lie from what it was, as a share of its length, by number type."""


def use(model: Any) -> int:
    """Replaces the parts of a frozen model on a CPU that can be; returns how many were."""
    fits = model.device.type == "cpu" and model.dtype in _NEAR
    if not fits or os.environ.get(VARIABLE) == "0" or not _loops():
        return 0
    config = model.config.get_text_config()
    given = torch.randn(2, 5, config.hidden_size, generator=torch.Generator().manual_seed(0))
    given[1, :, 0] = 100  # as large as single features grow
    given = given.to(model.dtype)
    replaced, twice = 0, sum(one.nbytes for one in model.parameters()) <= LARGEST
    with torch.no_grad():
        for part in model.base_model.modules():
            forward = _forward_of(part, config)
            part.matrices, part.twice = {}, twice
            if forward is not None and _same(part, forward, given, model.base_model):
                part.forward = MethodType(forward, part)
                replaced += 1
    return replaced


def is_used(model: Any) -> bool:
    """Whether a model runs in fused parts."""
    return any("forward" in vars(part) for part in model.modules())


def _loops() -> bool:
    """Whether numba is there, fits the numpy that is there, and compiles."""
    try:
        return bool(importlib.import_module("pegbox.backbone.fused_math").kernels.COMPILED)
    except ImportError:
        return False


def _same(part: Any, forward: Callable[..., Any], given: torch.Tensor, body: Any) -> bool:
    """Whether a part gives the same on some numbers, run in either way. Shape: given [N, T, H], each of N by itself."""
    try:
        more: dict[str, Any] = {}
        if forward is _attention:
            places = body.rotary_emb(given, torch.arange(given.shape[1])[None])
            more = {"position_embeddings": places, "attention_mask": None}
        both = (run(part, given, **more) for run in (type(part).forward, forward))
        theirs, ours = (made[0].float() if isinstance(made, tuple) else made.float() for made in both)
        apart = (ours - theirs).flatten(1).norm(dim=1)
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):  # it is not built as it looks
        return False
    return bool((apart <= _NEAR[given.dtype] * theirs.flatten(1).norm(dim=1)).all())


def _forward_of(part: nn.Module, config: Any) -> Callable[..., Any] | None:
    """What may take the place of a part's own way of running; none for a part of another kind."""
    kind = type(part).__name__
    if kind.endswith("RMSNorm") and getattr(part, "weight", None) is not None and hasattr(part, "variance_epsilon"):
        return _norm
    if _linears(part, "gate_proj", "up_proj", "down_proj") and _is_silu(getattr(part, "act_fn", None)):
        if any(getattr(part, name).bias is not None for name in ("gate_proj", "up_proj", "down_proj")):
            return None
        return _gated
    if _linears(part, "q_proj", "k_proj", "v_proj", "o_proj") and hasattr(part, "scaling"):
        own = {name for name, _ in part.named_children()} - {"q_proj", "k_proj", "v_proj", "o_proj"}
        biased = {getattr(part, name).bias is not None for name in ("q_proj", "k_proj", "v_proj")}
        if own or list(part.parameters(recurse=False)) or len(biased) > 1 or not _all_seen(config):
            return None
        return _attention
    return None


def _all_seen(config: Any) -> bool:
    """Whether every layer looks back on everything, and caps neither scores nor what they are made of."""
    kinds = set(getattr(config, "layer_types", None) or ("full_attention",))
    windows = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    capped = any(getattr(config, name, None) for name in ("attn_logit_softcapping", "clip_qkv"))
    return kinds == {"full_attention"} and not windows and not capped


def _is_silu(function: Any) -> bool:
    return isinstance(function, nn.SiLU) or function is F.silu or type(function).__name__ == "SiLUActivation"


def _linears(part: nn.Module, *names: str) -> bool:
    """Whether these are plain frozen layers; an adapter's or a quantized one is of another type."""
    found = [getattr(part, name, None) for name in names]
    return all(type(one) is nn.Linear and not one.weight.requires_grad for one in found)


def _matrix(part: Any, *names: str) -> Matrix:
    """These layers' weights and biases, each one after the other in one matrix, of which the layers' own are parts.

    Joined when first asked for, and anew where the layers' are no longer its parts, as in a copy of a model.
    """
    layers = [getattr(part, name) for name in names]
    found: Matrix | None = part.matrices.get(names)
    if found is None or not all(_lies_in(layer.weight, found.weight) for layer in layers):
        weight, bias = _one_matrix(layers, "weight"), None if layers[0].bias is None else _one_matrix(layers, "bias")
        found = part.matrices[names] = Matrix(weight, bias, [layer.weight for layer in layers], part.twice)
    return found


def _one_matrix(layers: list[Any], which: str) -> torch.Tensor:
    if len(layers) == 1:
        only: torch.Tensor = getattr(layers[0], which).data
        return only
    whole = torch.cat([getattr(layer, which).data for layer in layers])
    for layer, own in zip(layers, whole.split([layer.out_features for layer in layers]), strict=True):
        getattr(layer, which).data = own
    return whole


def _lies_in(part: torch.Tensor, whole: torch.Tensor) -> bool:
    return part.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()


def _norm(self: Any, hidden_states: torch.Tensor) -> Any:
    from pegbox.backbone.fused_math import norm

    if hidden_states.dtype != self.weight.dtype or self.weight.requires_grad:
        return type(self).forward(self, hidden_states)
    return norm(hidden_states, self.weight, self.variance_epsilon)


def _gated(self: Any, x: torch.Tensor) -> Any:
    from pegbox.backbone.fused_math import gated

    if not _linears(self, "gate_proj", "up_proj", "down_proj"):
        return type(self).forward(self, x)
    return gated(x, _matrix(self, "gate_proj", "up_proj"), _matrix(self, "down_proj"))


def _attention(
    self: Any,
    hidden_states: torch.Tensor,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    attention_mask: torch.Tensor | None = None,
    past_key_values: Any = None,
    **rest: Any,
) -> Any:
    from pegbox.backbone.fused_math import attended, times, turned

    fan, kept = attention.current_fan(), _kept(past_key_values, self.layer_idx)
    rows, width = hidden_states.shape[:2]
    past, branches = 0 if kept is None else kept[0].shape[2], 1 if fan is None else fan.branches
    heads, groups = (layer.out_features // self.head_dim for layer in (self.q_proj, self.k_proj))
    cos, sin = position_embeddings
    plain = attention_mask is None or (attention_mask.dtype == torch.bool and attention_mask.shape[-1] == past + width)
    known = plain and cos.shape[-1] == self.head_dim and _linears(self, "q_proj", "k_proj", "v_proj", "o_proj")
    if not known or not attention.fits(rows * heads * width * (past + width // branches)):
        named = {
            "position_embeddings": position_embeddings,
            "attention_mask": attention_mask,
            "past_key_values": past_key_values,
        }
        return type(self).forward(self, hidden_states, **named, **rest)
    packed = times(hidden_states, _matrix(self, "q_proj", "k_proj", "v_proj"))
    query, *new = turned(packed, cos, sin, heads, groups, branches)
    if past_key_values is not None and attention.keeps():
        past_key_values.update(*new, self.layer_idx)
    if kept is None:
        nothing = new[0].new_empty(rows, groups, 0, self.head_dim)
        kept = nothing, nothing
    made = attended(query, kept, (new[0], new[1]), attention.seen(attention_mask, fan, past), self.scaling)
    return times(made, _matrix(self, "o_proj")), None


def _kept(cache: Any, layer: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """A layer's keys and values out of a cache, where there are any."""
    if (
        cache is None
        or len(cache.layers) <= layer
        or cache.layers[layer].keys is None
        or not cache.layers[layer].get_seq_length()
    ):
        return None
    return cache.layers[layer].keys, cache.layers[layer].values
