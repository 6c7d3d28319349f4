"""Several variants of a row over one copy of its kept keys and values: the same scores and gradients as over copies."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pegbox.backbone.engine import Engine
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.passes import Row, batches, fan
from pegbox.backbone.seam import Answers, Choices, Live, Spent
from pegbox.backbone.storage import KeysValues
from pegbox.backbone.tiny import FAMILIES, tiny, tiny_family
from pegbox.data.rows import Rows
from pegbox.prompt import parse

ROWS = Rows.from_texts(["one", "two words", "x", "a longer text than these", "", "one"])
ASKED = [3, 0, 4, 5]
WORDS = Choices(("yes", "yes, quite", "no", "not at all"))
PLAIN = Choices(("ya", "na"), "vocabulary")
WINDOWS = {"mistral", "gemma2", "gemma3"}


def scored(backbone: HuggingFaceBackbone, answers: Answers, variants: int) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(1)
    vectors = (0.3 * torch.randn(variants, 3, 64, generator=chance)).requires_grad_()
    scores = backbone.bind(parse("Say: {text} [soft s 3] Is it? [answer]"), ROWS, answers).score(ASKED, {"s": vectors})
    weights = torch.randn(scores.shape, generator=chance)
    return scores.detach(), torch.autograd.grad((scores * weights).sum(), vectors)[0]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """How many heads and branches each such pass had."""
    seen: list[tuple[int, int]] = []
    whole = Engine.fan

    def counted(self: Engine, heads: Any, embeds: torch.Tensor, lengths: Any, branches: int, *more: Any) -> torch.Tensor:
        seen.append((len(heads), branches))
        return whole(self, heads, embeds, lengths, branches, *more)

    monkeypatch.setattr(Engine, "fan", counted)
    return seen


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize(("answers", "variants"), [(PLAIN, 3), (WORDS, 2)], ids=["one trunk", "two trunks"])
def test_scores_and_gradients_are_those_over_copies(
    family: str, answers: Answers, variants: int, passes: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = HuggingFaceBackbone(tiny_family(family))
    assert backbone._engine._fans == (family not in WINDOWS)
    passes.clear()
    together = scored(backbone, answers, variants)
    assert passes == ([] if family in WINDOWS else [(len(ASKED), variants * (2 if answers is WORDS else 1))])
    monkeypatch.setattr(Engine, "fans", lambda *_: False)
    apart = scored(backbone, answers, variants)
    for found, expected in zip(together, apart, strict=True):
        assert torch.allclose(found, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("notation", ["Say: {text} [hard h] Is it? [answer]", "[hard h] Say: {text}\\nIs it? [answer]"])
def test_candidate_words_score_alike_with_and_without(notation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = HuggingFaceBackbone(tiny())
    asked: Live = {"h": [backbone.encode(words) for words in ("abc", "de", "fgh")]}
    bound = backbone.bind(parse(notation), ROWS, WORDS)
    before = Spent(backbone.spent.forward, backbone.spent.backward)
    found = bound.score(range(len(ROWS)), asked)
    tokens = (backbone.spent - before).forward
    monkeypatch.setattr(Engine, "fans", lambda *_: False)
    backbone.forget()
    before = Spent(backbone.spent.forward, backbone.spent.backward)
    assert torch.allclose(backbone.bind(parse(notation), ROWS, WORDS).score(range(len(ROWS)), asked), found, atol=1e-5)
    assert (backbone.spent - before).forward == tokens


def test_a_model_that_does_not_heed_positions_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = HuggingFaceBackbone(tiny())._engine
    body = engine.body

    def in_a_row(**given: Any) -> Any:
        cache = given["past_key_values"]
        start = cache.get_seq_length() if cache is not None else 0
        return body(**{**given, "position_ids": start + torch.arange(given["inputs_embeds"].shape[1])[None]})

    monkeypatch.setattr(engine, "body", in_a_row)
    assert not engine._fans


def run(length: int) -> KeysValues:
    return KeysValues(torch.zeros(1, 1, length, 2), torch.zeros(1, 1, length, 2))


def test_rows_that_look_back_on_the_same_stay_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    from pegbox.backbone import passes as passes_module

    monkeypatch.setattr(passes_module, "at_once", lambda: 12)
    heads = [(run(4),), (run(2),), (run(3),)]
    rows = [Row(head, (1, 2, 3), 3, variant, at) for variant in (0, 1) for at, head in enumerate(heads)]
    assert batches(rows) == [[1, 4, 2, 5], [0, 3]]  # 12 tokens, the shorter pasts first
    assert fan(rows) == [[0, 3], [1, 4], [2, 5]]


def test_rows_of_very_different_lengths_are_no_fan() -> None:
    head = (run(4),)
    rows = [Row(head, (1,) * length, 1, 0, 0) for length in (2, 200)]
    assert fan(rows) == []
    assert fan([Row((run(4),), (1, 2), 1, 0, at) for at in range(3)]) == []  # nothing is shared
    assert fan([Row((), (1, 2), 1, 0, at) for at in range(3)]) == []  # there is nothing to look back on
