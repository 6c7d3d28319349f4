"""Word swaps: what the gradient promises, and which swaps are tried."""

import numpy as np
import pytest
import torch

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.prompt import parse
from pegbox.task.classification import Classification
from pegbox.tune.swaps import filled, predicted_gains, proposals, usable, written


@pytest.fixture(scope="module")
def backbone() -> HuggingFaceBackbone:
    return HuggingFaceBackbone(tiny())


def test_predicted_gains_by_hand() -> None:
    """Two places, three tokens in two dimensions: gain = gradient . (here - there)."""
    table = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    gradient = torch.tensor([[1.0, 3.0], [-2.0, 0.5]])
    found = predicted_gains(gradient, (1, 0), table)
    assert found.tolist() == [[1.0, 0.0, 1.0 - 6.0], [0.0, 2.0, -1.0]]


def test_the_gradient_promises_what_a_small_step_keeps(backbone: HuggingFaceBackbone) -> None:
    rows = Rows.from_texts(["ab", "xyz", "q"], ["p", "q", "p"])
    bound = Classification(("p", "q")).bind(parse("{text}[hard go]\\nIs[answer]"), backbone, rows)
    ids, table = (ord("u"), ord("v")), backbone.vocabulary()[0]
    vectors = backbone.embed(ids)[None].requires_grad_()
    loss = bound.losses(range(3), {"go": vectors}).mean()
    (gradient,) = torch.autograd.grad(loss, [vectors])
    gains = predicted_gains(gradient[0], ids, table)
    for place, token in ((0, ord("k")), (1, ord("Z"))):
        moved, step = vectors.detach().clone(), 1e-3
        moved[0, place] += step * (table[token] - moved[0, place])
        change = float(loss.detach() - bound.losses(range(3), {"go": moved}).mean()) / step
        assert change == pytest.approx(float(gains[place, token]), rel=0.05, abs=1e-3)


def test_words_survive_when_they_are_encoded_as_they_were(backbone: HuggingFaceBackbone) -> None:
    assert written(backbone, backbone.encode("hi you"), spaced=False) == "hi you"
    assert written(backbone, backbone.encode(" hi"), spaced=True) == "hi"
    assert written(backbone, backbone.encode("hi"), spaced=True) is None  # it would come back with a space
    assert written(backbone, (0xC3,), spaced=False) is None  # half of a character
    assert written(backbone, (258,), spaced=False) is None  # a special token


def test_usable_tokens_can_be_seen(backbone: HuggingFaceBackbone) -> None:
    found = usable(backbone)
    assert found[ord("a")]
    assert found[ord("~")]
    assert not found[[ord(" "), ord("\n"), 0, 0xC3, 256, 257, 258]].any()


def test_proposals_differ_by_one_token_and_survive(backbone: HuggingFaceBackbone) -> None:
    prompt = parse("[hard one] {text} [hard two] [answer]")
    state = {"one": backbone.encode("ab"), "two": backbone.encode(" c")}
    generator = torch.Generator().manual_seed(0)
    gains = {name: torch.randn(2, 259, generator=generator) for name in state}
    tried = proposals(prompt, state, gains, usable(backbone), backbone, 12, 8, np.random.default_rng(0))
    assert len(tried) == 12
    for new in tried:
        changed = [(name, at) for name in state for at in range(2) if new[name][at] != state[name][at]]
        assert len(changed) == 1
        assert changed != [("two", 0)]  # without its space the word would be encoded otherwise
        assert filled(prompt, new, backbone) is not None
    assert len({tuple(sorted(new.items())) for new in tried}) == 12


def test_the_most_promising_swap_is_always_tried(backbone: HuggingFaceBackbone) -> None:
    prompt, state = parse("[hard one]{text}[answer]"), {"one": backbone.encode("ab")}
    gains = torch.zeros(2, 259)
    gains[1, ord("k")] = 5.0
    gains[0, 257] = 9.0  # special
    tried = proposals(prompt, state, {"one": gains}, usable(backbone), backbone, 4, 4, np.random.default_rng(0))
    assert tried[0] == {"one": backbone.encode("ak")}
