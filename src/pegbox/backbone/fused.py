"""Puts the fused parts of `fused_parts` in the place of a Transformers model's own, where they give the same.

A root mean square norm, a feed-forward part with a silu gate and an attention with rotary places are what Llama, Qwen2, SmolLM2
and many others are made of, and so is a layer of these. Parts that are built otherwise, whose weights are trained or that an
adapter has got hold of, run as Transformers wrote them, and so does everything without numba (`pip install 'pegbox[fast]'`).
"""

from __future__ import annotations

import copy
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # the field's name for it
from torch import nn

from pegbox.backbone.matrices import VARIABLE, kept_twice, linears

REVISION = "2"
"""Of what fused parts compute: kept keys and values of another one are not used."""
_NEAR = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""How far a part's result may lie from what it was, as a share of its length, by number type."""
_FAR = 0.1
"""Beyond this share it cannot be the rounding."""
_plain: ContextVar[bool] = ContextVar("plain", default=False)


@contextmanager
def left_plain(wanted: bool) -> Iterator[None]:
    """Within it, models are opened as Transformers wrote them, where that is wanted: for a few rows, fused parts are not worth
    the second that it takes to load the loops and to try them.
    """
    token = _plain.set(wanted)
    try:
        yield
    finally:
        _plain.reset(token)


def use(model: Any) -> int:
    """Replaces the parts of a frozen model on a CPU that can be; returns how many were."""
    fits = model.device.type == "cpu" and model.dtype in _NEAR and not _plain.get()
    if not fits or os.environ.get(VARIABLE) == "0" or not _loops():
        return 0
    config = model.config.get_text_config()
    given = torch.randn(2, 5, config.hidden_size, generator=torch.Generator().manual_seed(0))
    given[1, :, 0] = 100  # as large as single features grow
    given = given.to(model.dtype)
    twice, replaced, parts = kept_twice(model), 0, list(model.base_model.modules())
    with torch.no_grad():
        for part in reversed(parts):  # a layer's parts before the layer
            forward = _forward_of(part, config)
            if forward is None:
                continue
            part.matrices, part.twice, part.is_last = {}, twice, False
            if _same(part, forward, given, model.base_model):
                part.forward = MethodType(forward, part)
                replaced += 1
    for last in list(getattr(model.base_model, "layers", ()))[-1:]:
        last.is_last = True
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


def _forwards() -> Any:
    return importlib.import_module("pegbox.backbone.fused_parts")


def _same(part: Any, forward: Callable[..., Any], given: torch.Tensor, body: Any) -> bool:
    """Whether a part gives the same on some numbers, run in either way. Shape: given [N, T, H], each of N by itself."""
    try:
        more: dict[str, Any] = {}
        if forward in (_forwards().attention_forward, _forwards().layer_forward):
            places = body.rotary_emb(given, torch.arange(given.shape[1])[None])
            more = {"position_embeddings": places, "attention_mask": None}
        if forward is _forwards().layer_forward and not _near(part, forward, given / 100, more):
            return False  # beside large numbers, what a layer adds to them is not seen
        return _near(part, forward, given, more)
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):  # it is not built as it looks
        return False


def _near(part: Any, forward: Callable[..., Any], given: torch.Tensor, more: dict[str, Any]) -> bool:
    """The same for these numbers: ours is near the part's own way, or no farther from the truth where that one rounds."""
    theirs, ours = (_run(part, run, given, more) for run in (type(part).forward, forward))
    apart = _apart(ours, theirs)
    if bool((apart <= _NEAR[given.dtype]).all()):
        return True
    if given.dtype == torch.float32 or not bool((apart <= _FAR).all()):
        return False
    wide = {name: tuple(one.float() for one in value) if value else None for name, value in more.items()}
    exact = _run(copy.deepcopy(part).float(), type(part).forward, given.float(), wide)
    return bool((_apart(ours, exact) <= _apart(theirs, exact)).all())


def _run(part: Any, forward: Callable[..., Any], given: torch.Tensor, more: dict[str, Any]) -> torch.Tensor:
    made = forward(part, given, **more)
    found: torch.Tensor = (made[0] if isinstance(made, tuple) else made).float()
    return found


def _apart(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """How far results lie from what is wanted, as a share of its length. Shape: [N, ...] twice; result [N]."""
    apart: torch.Tensor = (found - wanted).flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)
    return apart


def _forward_of(part: nn.Module, config: Any) -> Callable[..., Any] | None:
    """What may take the place of a part's own way of running; none for a part of another kind."""
    ours, kind = _forwards(), type(part).__name__
    made: Callable[..., Any] | None = None
    if kind.endswith("RMSNorm") and getattr(part, "weight", None) is not None and hasattr(part, "variance_epsilon"):
        made = ours.norm_forward
    elif linears(part, *ours.GATES) and _is_silu(getattr(part, "act_fn", None)):
        made = ours.gated_forward if all(getattr(part, name).bias is None for name in ours.GATES) else None
    elif linears(part, *ours.HEADS) and hasattr(part, "scaling"):
        own = {name for name, _ in part.named_children()} - set(ours.HEADS)
        biased = {getattr(part, name).bias is not None for name in ours.HEADS[:3]}
        looks = not own and not list(part.parameters(recurse=False)) and len(biased) == 1 and _all_seen(config)
        made = ours.attention_forward if looks else None
    elif {name for name, _ in part.named_children()} == set(ours.LAYER):
        whole = all("forward" in vars(one) for one in part.children()) and not list(part.parameters(recurse=False))
        made = ours.layer_forward if whole else None
    return made


def _all_seen(config: Any) -> bool:
    """Whether every layer looks back on everything, and caps neither scores nor what they are made of."""
    kinds = set(getattr(config, "layer_types", None) or ("full_attention",))
    windows = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    capped = any(getattr(config, name, None) for name in ("attn_logit_softcapping", "clip_qkv"))
    return kinds == {"full_attention"} and not windows and not capped


def _is_silu(function: Any) -> bool:
    return isinstance(function, nn.SiLU) or function is F.silu or type(function).__name__ == "SiLUActivation"
