"""Grouped attention against the formula, written out head by head."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from pegbox.backbone import attention
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.seam import Choices
from pegbox.backbone.tiny import FAMILIES, tiny_family
from pegbox.data.rows import Rows
from pegbox.prompt import parse


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


QUERY, KEY, VALUE = drawn(3, 6, 4, 5), drawn(3, 2, 9, 5), drawn(3, 2, 9, 7)
CAUSAL = torch.ones(4, 9, dtype=torch.bool).tril(5)[None, None]  # the 4 new positions are the last of 9


def by_formula(seen: torch.Tensor, scaling: float, softcap: float | None) -> torch.Tensor:
    rows = []
    for row in range(3):
        heads = []
        for head in range(6):
            group = head // 3
            scores = QUERY[row, head] @ KEY[row, group].T * scaling
            if softcap is not None:
                scores = softcap * torch.tanh(scores / softcap)
            scores = scores.masked_fill(~seen[row % len(seen), 0], -math.inf)
            heads.append(scores.softmax(-1) @ VALUE[row, group])
        rows.append(torch.stack(heads, dim=1))
    return torch.stack(rows)


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("scaling", [None, 0.3])
@pytest.mark.parametrize("padded", [False, True])
def test_it_is_the_formula(padded: bool, scaling: float | None, softcap: float | None) -> None:
    seen = CAUSAL.expand(3, -1, -1, -1).clone()
    if padded:
        seen[1, ..., :3] = False
    found, none = attention.grouped_attention(
        torch.nn.Module(), QUERY, KEY, VALUE, seen if padded else None, scaling=scaling, softcap=softcap
    )
    assert none is None
    want = by_formula(seen, 5**-0.5 if scaling is None else scaling, softcap)
    assert torch.allclose(found, want, atol=1e-6)


def test_a_single_new_position_sees_all_that_came_before() -> None:
    found, _ = attention.grouped_attention(torch.nn.Module(), QUERY[:, :, 3:], KEY, VALUE, None)
    assert torch.allclose(found, by_formula(CAUSAL, 5**-0.5, None)[:, 3:], atol=1e-6)


def test_frozen_keys_get_no_gradient_and_the_query_gets_all_of_its_own() -> None:
    def gradients(frozen: int) -> list[torch.Tensor]:
        leaves = [leaf.clone().requires_grad_() for leaf in (QUERY, KEY, VALUE)]
        with attention.frozen_past(frozen):
            found, _ = attention.grouped_attention(torch.nn.Module(), *leaves, None)
        return list(torch.autograd.grad((found**2).sum(), leaves))

    free, held = gradients(0), gradients(5)
    assert torch.allclose(free[0], held[0], atol=1e-5)
    for whole, part in zip(free[1:], held[1:], strict=True):
        assert part[:, :, :5].abs().max() == 0
        assert torch.allclose(part[:, :, 5:], whole[:, :, 5:], atol=1e-5)


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("padded", [False, True])
def test_a_fan_is_the_formula_branch_by_branch(padded: bool, softcap: float | None) -> None:
    """Two branches of two positions each over five kept ones: each as if the other were not there."""
    seen = torch.ones(3, 5, dtype=torch.bool)
    if padded:
        seen[1, :3] = False
    with attention.fanned(attention.Fan(5, 2, seen if padded else None)):
        found, _ = attention.grouped_attention(torch.nn.Module(), QUERY, KEY, VALUE, None, softcap=softcap)
    for branch in (0, 1):
        own = [5 + 2 * branch, 6 + 2 * branch]
        allowed = torch.zeros(3, 1, 4, 9, dtype=torch.bool)
        allowed[:, 0, :, :5] = seen[:, None]
        for at in (0, 1):
            allowed[:, 0, 2 * branch + at, own[: at + 1]] = True
        want = by_formula(allowed, 5**-0.5, softcap)[:, 2 * branch : 2 * branch + 2]
        assert torch.allclose(found[:, 2 * branch : 2 * branch + 2], want, atol=1e-6)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_long_passes_go_through_the_stock_function_and_score_alike(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding and short windows leave some of its queries with nothing to see; that must not reach a score."""
    backbone = HuggingFaceBackbone(tiny_family(family), cache_bytes=0)
    rows = Rows.from_texts(["a", "", "a text of many more words than the window is wide", "two words"])
    asked: dict[str, Any] = {"s": 0.2 * drawn(1, 3, 64)}
    for notation in ("Say: {text} [soft s 3] Now: [answer]", "[soft s 3] Say: {text}\\nNow: [answer]"):
        bound = backbone.bind(parse(notation), rows, Choices(("ab", "ac", "x")))
        want = bound.score(range(4), asked)
        monkeypatch.setattr(attention, "_MOST", 0)
        found = bound.score(range(4), asked)
        monkeypatch.undo()
        assert torch.allclose(found, want, atol=1e-4)
