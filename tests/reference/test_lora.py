"""The LoRA reference: it learns, and the backbone stays as it is."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.seam import Choices
from pegbox.backbone.tiny import tiny, tiny_family
from pegbox.data.rows import Rows
from pegbox.errors import BackboneError
from pegbox.prompt import Prompt, parse
from pegbox.reference.lora import Lora
from pegbox.tune.budget import Budget
from pegbox.tune.trail import Trail

SMALL = Lora(learning_rates=(3e-3, 1e-3), batch=8, dev_rows=16)


def test_it_learns_and_the_backbone_stays(setting: dict[str, Any], backbone: HuggingFaceBackbone, test_rows: Rows) -> None:
    before, spent = backbone.weights_digest(), backbone.spent.backward
    setting["budget"] = Budget(tokens=60_000)
    found = SMALL.fit(**setting)
    first, best = setting["trail"].of("step")[0]["loss"], setting["trail"].of("best")[0]["loss"]
    assert best < 0.1 * first
    assert best == min(line["loss"] for line in setting["trail"].of("dev"))
    right = found.predict_proba(test_rows).argmax(axis=1) == setting["task"].gold(test_rows)
    assert right.mean() >= 0.9
    assert backbone.weights_digest() == before
    assert backbone.spent.backward > spent
    tried = {line["variant"] for line in setting["trail"].of("step")}
    assert tried == {0, 1}
    # all seven linear layers of two blocks, width 64: q, o 64x64; k, v 32x64; gate, up 128x64; down 64x128; rank 8
    assert found.parameters == 2 * 8 * (2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 128))
    assert found.nbytes == 4 * found.parameters


def test_the_same_seed_gives_the_same_model(setting: dict[str, Any], test_rows: Rows) -> None:
    settings = {**setting, "budget": Budget(tokens=20_000)}
    first, second = (
        SMALL.fit(**{**settings, "rng": np.random.default_rng(7), "trail": Trail()}).predict_proba(test_rows) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def adapted(family: str) -> tuple[HuggingFaceBackbone, HuggingFaceBackbone, list[torch.nn.Parameter]]:
    backbone = HuggingFaceBackbone(tiny_family(family))
    changed, weights = Lora()._adapted(backbone, seed=3)
    with torch.no_grad():
        for some in weights:  # PEFT starts at no change at all
            some.copy_(0.1 * torch.randn(some.shape, generator=torch.Generator().manual_seed(some.numel())))
    return backbone, changed, weights


def by_hand(backbone: HuggingFaceBackbone, model: Any, prompt: Prompt, rows: Rows) -> torch.Tensor:
    """The log-probability of " b" among " a" and " b" at the end of each row, straight from the model."""
    contexts = backbone.bind(prompt, rows, Choices(("a", "b"))).contexts(range(len(rows)))
    found = []
    for codes in contexts:
        # both answers begin with the same space, which is certain; the choice is made after it
        logits = model(input_ids=torch.tensor([[*codes, ord(" ")]])).logits[0, -1]
        found.append(logits[[ord("a"), ord("b")]].float().log_softmax(-1)[1])
    return torch.stack(found)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_gradients_reach_the_weights_through_shared_beginnings(family: str) -> None:
    backbone, changed, weights = adapted(family)
    prompt, rows = parse(r"Long beginning.\nText: {text}\nSay: [answer]"), Rows.from_texts(["one", "", "three words here"])
    ours = changed.bind(prompt, rows, Choices(("a", "b"))).score(range(3))[0, :, 1]
    theirs = by_hand(backbone, changed.loaded.model, prompt, rows)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    expected = torch.autograd.grad(theirs.sum(), weights)
    for mine, right in zip(torch.autograd.grad(ours.sum(), weights), expected, strict=True):
        torch.testing.assert_close(mine, right, atol=1e-3, rtol=1e-2)
    assert sum(float(some.abs().sum()) for some in expected) > 1.0


def test_trained_weights_leave_no_stale_keys_and_values() -> None:
    _, changed, weights = adapted("llama")
    bound = changed.bind(parse("Begin. {text} [answer]"), Rows.from_texts(["one", "two"]), Choices(("a", "b")))
    before = bound.score(range(2)).detach()
    assert changed.store.held == 0
    with torch.no_grad():
        for some in weights:
            some.mul_(0.0)
    after = bound.score(range(2)).detach()
    base = HuggingFaceBackbone(tiny()).bind(
        parse("Begin. {text} [answer]"), Rows.from_texts(["one", "two"]), Choices(("a", "b"))
    )
    assert (before - after).abs().max() > 1e-3
    torch.testing.assert_close(after, base.score(range(2)))


def test_a_frozen_model_keeps_no_graph(backbone: HuggingFaceBackbone) -> None:
    bound = backbone.bind(parse("Begin. {text} [answer]"), Rows.from_texts(["one"]), Choices(("a", "b")))
    spent = backbone.spent.backward
    assert not bound.score([0]).requires_grad
    assert backbone.spent.backward == spent


def test_added_weights_are_float32_over_bfloat16() -> None:
    changed, weights = Lora()._adapted(HuggingFaceBackbone(tiny(dtype="bfloat16")), 0)
    assert {some.dtype for some in weights} == {torch.float32}
    assert changed.loaded.model.dtype == torch.bfloat16
    prompt, rows = parse("{text} [answer]"), Rows.from_texts(["one", "two"])
    changed.bind(prompt, rows, Choices(("a", "b"))).score(range(2))[..., 0].sum().backward()
    assert any(float(some.grad.abs().max()) > 0 for some in weights if some.grad is not None)


def test_the_best_step_is_kept_and_a_divergence_is_said(setting: dict[str, Any], test_rows: Rows) -> None:
    setting["budget"] = Budget(tokens=30_000)
    setting["backbone"] = HuggingFaceBackbone(tiny())
    found = Lora(learning_rates=(1e30,), batch=8).fit(**setting)
    notes = " ".join(line["text"] for line in setting["trail"].of("note"))
    assert "diverged: learning rate 1e+30 at step 1" in notes
    assert "the weights are those of the backbone" in notes
    fresh = HuggingFaceBackbone(tiny())
    plain = setting["task"].bind(setting["prompt"], fresh, test_rows).log_probabilities()[0]
    np.testing.assert_allclose(np.log(found.predict_proba(test_rows)), plain, atol=1e-4)


def test_after_a_divergence_the_next_learning_rate_is_taken(setting: dict[str, Any]) -> None:
    setting["budget"] = Budget(tokens=12_000)
    Lora(learning_rates=(1e30, 1e-3), batch=8).fit(**setting)
    assert setting["trail"].of("plan")[-1]["variants"] == 1
    assert setting["trail"].of("best")[-1]["learning_rate"] == 1e-3


def test_a_small_budget_tries_fewer_learning_rates(setting: dict[str, Any]) -> None:
    setting["budget"] = Budget(tokens=12_000)
    SMALL.fit(**setting)
    plan = setting["trail"].of("plan")[-1]
    assert plan["variants"] == 1
    assert plan["trial"] == 0
    assert plan["steps"] >= 1


def test_the_rate_rises_then_falls() -> None:
    rates = [Lora(warmup=0.2).rate(step, 10) for step in range(10)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])


def test_messages(setting: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackboneError, match="LoRA for a object"):
        SMALL.fit(**{**setting, "backbone": object()})
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(BackboneError, match=r"pip install 'pegbox\[lora\]'"):
        SMALL.fit(**setting)
