"""How the fused parts of a layer run: what is put in the place of a Transformers model's own `forward` (see `fused`).

Each runs as Transformers wrote it wherever its weights are trained, or an adapter has got hold of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from pegbox.backbone import attention
from pegbox.backbone.fused_math import attended, gated, norm, norm_beside, turned
from pegbox.backbone.matrices import joined, linears, times

GATES = ("gate_proj", "up_proj", "down_proj")
"""The matrices of a feed-forward part, by Transformers' names."""
HEADS = ("q_proj", "k_proj", "v_proj", "o_proj")
"""Those of an attention."""
LAYER = ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")
"""The parts of a layer."""
_COLLECTING = "transformers.utils.output_capturing"


def norm_forward(self: Any, hidden_states: torch.Tensor) -> Any:
    """A root mean square norm."""
    if not _is_norm(self, hidden_states):
        return type(self).forward(self, hidden_states)
    return norm(hidden_states, self.weight, self.variance_epsilon)


def gated_forward(self: Any, x: torch.Tensor) -> Any:
    """A feed-forward part with a silu gate."""
    if not linears(self, *GATES):
        return type(self).forward(self, x)
    return gated(x, joined(self, *GATES[:2]), joined(self, *GATES[2:]))


def attention_forward(
    self: Any,
    hidden_states: torch.Tensor,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    attention_mask: torch.Tensor | None = None,
    past_key_values: Any = None,
    **rest: Any,
) -> Any:
    """An attention with rotary places, and nothing beside its results."""
    named = {
        "position_embeddings": position_embeddings,
        "attention_mask": attention_mask,
        "past_key_values": past_key_values,
    }
    asked = _asked(self, hidden_states, **named)
    if asked is None:
        return type(self).forward(self, hidden_states, **named, **rest)
    return times(_attended(self, hidden_states, asked), joined(self, "o_proj")), None


def layer_forward(
    self: Any,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    past_key_values: Any = None,
    position_embeddings: Any = None,
    **rest: Any,
) -> Any:
    """The whole layer: what passes by its parts is added in their products, and in the loops on the way back."""
    first, heads, second, gates = (getattr(self, name) for name in LAYER)
    named = {
        "position_embeddings": position_embeddings,
        "attention_mask": attention_mask,
        "past_key_values": past_key_values,
    }
    again = self.training and getattr(self, "gradient_checkpointing", False)  # Transformers' own forward sees to that
    ours = not again and _has_ours(self) and _fits(self, hidden_states)
    asked = _asked(heads, hidden_states, **named) if ours else None
    if asked is None:
        return type(self).forward(self, hidden_states, **named, **rest)
    x, beside = norm_beside(hidden_states, first.weight, first.variance_epsilon)
    x = _attended(heads, x, asked)
    places = attention.places_read() if self.is_last and not _watched(self) else None
    if places is not None:
        x, beside = (some.reshape(-1, some.shape[-1])[places] for some in (x, beside))
    x = times(x, joined(heads, "o_proj"), beside)
    x, beside = norm_beside(x, second.weight, second.variance_epsilon)
    x = gated(x, joined(gates, *GATES[:2]), joined(gates, *GATES[2:]), beside)
    if places is None:
        return x
    made = x.new_zeros(hidden_states.shape[0] * hidden_states.shape[1], x.shape[-1])
    return made.index_copy(0, places, x).view(hidden_states.shape)


def _has_ours(layer: Any) -> bool:
    """Whether a layer's parts still run as here, and nobody looks at them."""
    wanted = (norm_forward, attention_forward, norm_forward, gated_forward)
    parts = [getattr(layer, name) for name in LAYER]
    ours = (getattr(vars(one).get("forward"), "__func__", None) for one in parts)
    return all(one is own for one, own in zip(ours, wanted, strict=True)) and not any(map(_watched, parts))


def _watched(part: Any) -> bool:
    """Whether hooks look at a part, other than those that Transformers leaves behind to collect hidden states."""
    if part._backward_hooks or part._backward_pre_hooks:
        return True
    hooks = (*part._forward_hooks.values(), *part._forward_pre_hooks.values())
    return any(getattr(hook, "__module__", "") != _COLLECTING for hook in hooks)


def _fits(layer: Any, x: torch.Tensor) -> bool:
    """Whether a layer's norms and gates are frozen, and plain."""
    norms = (getattr(layer, name) for name in (LAYER[0], LAYER[2]))
    return all(_is_norm(one, x) for one in norms) and linears(getattr(layer, LAYER[3]), *GATES)


def _is_norm(part: Any, x: torch.Tensor) -> bool:
    return bool(x.dtype == part.weight.dtype and not part.weight.requires_grad)


@dataclass(frozen=True)
class _Asked:
    """What an attention looks back on.

    Settings:
        angles: cosines and sines of the new positions' places.
        cache: where keys and values are laid up; None: nowhere.
        kept: those laid up before, where there are any.
        branches: that the new positions are parted into.
    """

    angles: tuple[torch.Tensor, torch.Tensor]
    cache: Any
    kept: tuple[torch.Tensor, torch.Tensor] | None
    seen: attention.Seen
    branches: int


def _asked(
    part: Any,
    x: torch.Tensor,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    attention_mask: torch.Tensor | None,
    past_key_values: Any,
) -> _Asked | None:
    """What these ask of an attention; None where it is not known here, or there are too many scores to be held."""
    fan, kept = attention.current_fan(), _kept(past_key_values, part.layer_idx)
    rows, width = x.shape[:2]
    past, branches = 0 if kept is None else kept[0].shape[2], 1 if fan is None else fan.branches
    plain = attention_mask is None or (attention_mask.dtype == torch.bool and attention_mask.shape[-1] == past + width)
    known = plain and position_embeddings[0].shape[-1] == part.head_dim and linears(part, *HEADS)
    heads = part.q_proj.out_features // part.head_dim
    if not known or not attention.fits(rows * heads * width * (past + width // branches)):
        return None
    return _Asked(position_embeddings, past_key_values, kept, attention.seen(attention_mask, fan, past), branches)


def _attended(part: Any, x: torch.Tensor, asked: _Asked) -> torch.Tensor:
    """An attention's results, before its output matrix. Shape: x [N, T, H]; result [N, T, heads D]."""
    heads, groups = (layer.out_features // part.head_dim for layer in (part.q_proj, part.k_proj))
    query, *new = turned(times(x, joined(part, *HEADS[:3])), *asked.angles, heads, groups, asked.branches)
    if asked.cache is not None and attention.keeps():
        asked.cache.update(*new, part.layer_idx)
    kept = asked.kept
    if kept is None:
        nothing = new[0].new_empty(len(x), groups, 0, part.head_dim)
        kept = nothing, nothing
    return attended(query, kept, (new[0], new[1]), asked.seen, part.scaling, attention.frozen())


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
