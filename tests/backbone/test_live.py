"""What may stand in the slots for one call, and what is refused."""

from __future__ import annotations

import re

import pytest
import torch

from pegbox.backbone.bound import HuggingFaceBound
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.seam import Choices, Live
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.prompt import parse

ROWS = Rows.from_texts(["one", "two words", "x"])
WIDTH = 64


@pytest.fixture(scope="module")
def backbone() -> HuggingFaceBackbone:
    return HuggingFaceBackbone(tiny(), cache_bytes=0)


@pytest.fixture(scope="module")
def bound(backbone: HuggingFaceBackbone) -> HuggingFaceBound:
    return backbone.bind(parse("[hard say] {text} [soft s 2] [answer]"), ROWS, Choices(("a", "b")))


GOOD = torch.zeros(1, 2, WIDTH)


@pytest.mark.parametrize(
    ("live", "message"),
    [
        ({}, "slot 'say' is open\n  expected: every slot filled or live\n  what to do: tune the prompt, or fill 'say' first"),
        ({"say": [[1]]}, "slot 's' is open"),
        ({"s": GOOD}, "slot 'say' is open"),
        ({"say": [[1]], "s": GOOD, "t": GOOD}, "no slot 't' in this prompt\n  expected: one of: say, s"),
        ({"say": [[1]], "s": [[1, 2]]}, "token ids for soft slot 's'\n  expected: vectors [K, P, H]"),
        ({"say": [[1]], "s": GOOD[:, :1]}, "vectors of shape (1, 1, 64) for slot 's'\n  expected: [K, 2, 64]"),
        ({"say": [[1]], "s": GOOD[..., :8]}, "vectors of shape (1, 2, 8) for slot 's'"),
        ({"say": [[1]], "s": GOOD[0]}, "vectors of shape (2, 64) for slot 's'"),
        ({"say": [[1]], "s": GOOD[:, None].expand(1, 3, 2, WIDTH)}, "or [K or 1, 2 or 1, 2, 64]"),
        ({"say": [[1], [2]], "s": GOOD.expand(3, -1, -1)}, "slots with [2, 3] variants in one call"),
        ({"say": [], "s": GOOD}, "slots with [0] variants in one call"),
        ({"say": torch.tensor([1, 2]), "s": GOOD}, "ids of shape (2,) for slot 'say'\n  expected: [K, P]"),
        ({"say": [[1, -1]], "s": GOOD}, "the token id -1 for slot 'say'\n  expected: 0 to 258"),
        ({"say": [[259]], "s": GOOD}, "the token id 259 for slot 'say'"),
    ],
)
def test_what_does_not_fit_is_refused(bound: HuggingFaceBound, live: Live, message: str) -> None:
    with pytest.raises(PromptError, match=re.escape(message)):
        bound.score([0, 1], live)


def test_one_value_stands_for_all_variants(bound: HuggingFaceBound) -> None:
    together = bound.score([0, 2], {"say": [[104], [105, 106]], "s": GOOD + 0.1})
    assert together.shape == (2, 2, 2)
    alone = bound.score([0, 2], {"say": [[105, 106]], "s": GOOD + 0.1})
    assert torch.allclose(together[1], alone[0], atol=1e-5)


def test_a_hard_slot_may_hold_vectors_for_a_while(backbone: HuggingFaceBackbone) -> None:
    """Gradient-guided word searches ask for the slope at the words' embeddings."""
    bound = backbone.bind(parse("{text} [hard say] [answer]"), ROWS, Choices(("a", "b")))
    run = backbone.encode(" hello")
    vectors = backbone.embed(run)[None].requires_grad_()
    scores = bound.score([0, 1], {"say": vectors})
    assert torch.allclose(scores, bound.score([0, 1], {"say": [run]}), atol=1e-5)
    (slope,) = torch.autograd.grad(scores[..., 0].sum(), vectors)
    assert slope.abs().max() > 0


def test_a_filled_slot_of_another_models_width_is_refused(backbone: HuggingFaceBackbone) -> None:
    filled = parse("{text} [soft s 2] [answer]").fill(s=torch.zeros(2, 8).numpy())
    with pytest.raises(PromptError, match=re.escape("vectors of shape (1, 1, 2, 8) for slot 's'")):
        backbone.bind(filled, ROWS, Choices(("a", "b"))).score([0])


def test_each_slot_of_vectors_keeps_to_its_own_places(backbone: HuggingFaceBackbone) -> None:
    """Two slots whose vectors are swapped score as the prompt with the slots swapped."""
    first, second = torch.randn(1, 2, WIDTH, generator=torch.Generator().manual_seed(0)), GOOD + 0.3
    one = backbone.bind(parse("[soft a 2] {text} [soft b 2] [answer]"), ROWS, Choices(("a", "b")))
    other = backbone.bind(parse("[soft b 2] {text} [soft a 2] [answer]"), ROWS, Choices(("a", "b")))
    found = one.score([0, 1, 2], {"a": first, "b": second})
    assert torch.allclose(found, other.score([0, 1, 2], {"b": first, "a": second}), atol=1e-6)
    assert not torch.allclose(found, one.score([0, 1, 2], {"a": second, "b": first}), atol=1e-2)
