"""Rows run as branches of one sequence: the same scores and gradients, in one pass, where the model allows it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pegbox.backbone import bound as bound_module
from pegbox.backbone.engine import Engine
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.seam import Answers, Choices, Spent, Targets
from pegbox.backbone.tiny import FAMILIES, tiny, tiny_family
from pegbox.data.rows import Rows
from pegbox.prompt import parse

ROWS = Rows.from_texts(["one", "two words", "x", "a longer text than these", "", "one"])
ASKED = [3, 0, 4, 5]
PROMPTS = {
    "first": "[soft s 3] Say: {text} Is it? [answer]",
    "after a kept start": "Say it. [soft s 3] Then: {text} Is it? [answer]",
    "in a chat": "[system] Sort. [soft s 3] [user] {text} [assistant] [answer]",
}
ANSWERS: dict[str, Answers] = {
    "words of one token and more": Choices(("yes", "yes, quite", "no", "not at all")),
    "over the vocabulary": Choices(("ya", "na"), "vocabulary"),
    "targets": Targets(("a", "long one", "b", "c d e", "f", "g")),
}


def gradient(backbone: HuggingFaceBackbone, prompt: str, answers: Answers, variants: int) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(1)
    vectors = (0.3 * torch.randn(variants, 3, 64, generator=chance)).requires_grad_()
    scores = backbone.bind(parse(prompt), ROWS, answers).score(ASKED, {"s": vectors})
    weights = torch.randn(scores.shape, generator=chance)
    return scores.detach(), torch.autograd.grad((scores * weights).sum(), vectors)[0]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many branches each such pass had."""
    seen: list[int] = []
    whole = Engine.branches

    def counted(self: Engine, heads: Any, embeds: torch.Tensor, stem: int, lengths: Any) -> torch.Tensor:
        seen.append(len(lengths))
        return whole(self, heads, embeds, stem, lengths)

    monkeypatch.setattr(Engine, "branches", counted)
    return seen


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2", "qwen3", "gemma"])
@pytest.mark.parametrize("variants", [1, 3])
@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_scores_and_gradients_are_those_of_rows_side_by_side(
    prompt: str, answers: Answers, variants: int, family: str, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = HuggingFaceBackbone(tiny_family(family))
    assert backbone._engine.packs
    passes.clear()
    together = gradient(backbone, prompt, answers, variants)
    assert passes == [len(ASKED) * (2 if answers is ANSWERS["words of one token and more"] else 1)]
    monkeypatch.setattr(bound_module, "PACKED", 0)
    apart = gradient(backbone, prompt, answers, variants)
    assert len(passes) == 1
    for found, expected in zip(together, apart, strict=True):
        assert torch.allclose(found, expected, atol=2e-5, rtol=1e-4)


def test_as_many_tokens_count_as_there_are_positions(passes: list[int]) -> None:
    backbone = HuggingFaceBackbone(tiny())
    prompt, answers = PROMPTS["first"], ANSWERS["over the vocabulary"]
    backbone.bind(parse(prompt), ROWS, answers).score([0], {"s": torch.zeros(1, 3, 64)})  # no gradient, no branches
    assert passes == []
    before = Spent(backbone.spent.forward, backbone.spent.backward)
    gradient(backbone, prompt, answers, 2)
    stem = 3 + len(" Say: ")  # after the space that a tokenizer would give to the text, the texts part
    texts = [ROWS.fields[row]["text"] for row in ASKED]
    positions = sum(len(f"{text} Is it? ") for text in texts) + stem
    spent = backbone.spent - before
    assert spent.forward == spent.backward
    assert abs(spent.forward - 2 * positions) <= 2 * (len(ASKED) + 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_models_that_measure_distances_otherwise_are_left_out(family: str) -> None:
    engine = HuggingFaceBackbone(tiny_family(family))._engine
    windows = {"mistral", "gemma2", "gemma3"}
    assert engine.packs == (family not in windows)


def test_a_model_that_does_not_heed_positions_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = HuggingFaceBackbone(tiny())._engine
    body = engine.body

    def in_a_row(**given: Any) -> Any:
        return body(**{**given, "position_ids": torch.arange(given["inputs_embeds"].shape[1])[None]})

    monkeypatch.setattr(engine, "body", in_a_row)
    assert not engine.packs


def test_finding_out_costs_no_tokens() -> None:
    backbone = HuggingFaceBackbone(tiny())
    assert backbone._engine.packs
    assert (backbone.spent.forward, backbone.spent.backward) == (0, 0)
