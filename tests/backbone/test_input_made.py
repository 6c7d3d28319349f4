"""Input slots: each row's vectors are what its own words make of the slot, whoever asks and beside whom."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pegbox.backbone import bound as bound_module
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.loaded_backbone import LoadedBackbone
from pegbox.backbone.mixed import score_together
from pegbox.backbone.opening import backbone_of
from pegbox.backbone.seam import Choices
from pegbox.backbone.tiny import FAMILIES, tiny, tiny_family
from pegbox.backbone.tiny_two_way import ENCODER_DECODER, MASKED, tiny_two_way
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.prompt import parse

TEXTS = ["a fine day", "", "so dull", "a rather long text about nothing " * 3, "Grüße", "so dull"]
ROWS = Rows.from_texts(TEXTS)
CHOICES = Choices(("yes", "yes, quite", "no"))
PROMPTS = {
    "first": "[input s 3] Say: {text} Is it? [answer]",
    "after": "Say: {text} Is it? [input s 3] So: [answer]",
    "in a chat": "[system] Sort. [input s 3] [user] {text} [assistant] [answer]",
    "behind a kept start": "Say it. [input s 3] Then: {text} Is it? [answer]",
}
UNITS = 2


def table(seed: int = 1, variants: int = 1) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    made = 0.3 * torch.randn(variants, 3 + UNITS + 3 * UNITS, 64, generator=chance)
    made[:, 3 : 3 + UNITS] *= 0.3  # the looks: short of where the gates are stuck
    return made


def by_hand(backbone: LoadedBackbone, rows: np.ndarray, text: str) -> np.ndarray:
    """The formula of `InputSlot`, number by number. tiny's tokens are the text's bytes."""
    words = backbone.vocabulary()[0].double().numpy()
    held = rows.astype(np.float64)
    read = sum((words[byte] - words.mean(0) for byte in text.encode()), np.zeros(64))
    size = np.linalg.norm(read)
    read = read * 8 / size if size else read  # 8 is the root of 64
    gates = [np.tanh(held[3 + r] @ read) for r in range(UNITS)]
    return np.stack([held[p] + sum(gates[r] * held[3 + UNITS + r * 3 + p] for r in range(UNITS)) for p in range(3)])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_each_row_scores_as_with_the_vectors_that_the_formula_gives_it(family: str, prompt: str) -> None:
    backbone = HuggingFaceBackbone(tiny_family(family))
    soft = parse(prompt.replace("input", "soft"))
    spaced = "[user]" not in prompt
    texts = [(" " if spaced else "") + text for text in TEXTS]  # the space before a text belongs to it
    own = np.stack([by_hand(backbone, table()[0].numpy(), text) for text in texts]).astype(np.float32)
    assert np.abs(own[0] - own[3]).max() > 0.05
    bound = backbone.bind(soft, ROWS, CHOICES)
    expected = torch.cat([bound.score([row], {"s": torch.from_numpy(own[row])[None]}) for row in range(len(TEXTS))], dim=1)
    filled = parse(prompt).fill(s=table()[0].numpy())
    whole, order = backbone.bind(filled, ROWS, CHOICES), [3, 0, 5, 1, 4, 2]
    ways = {
        "filled": whole.score(range(len(TEXTS))),
        "one by one": torch.cat([whole.score([row]) for row in range(len(TEXTS))], dim=1),
        "in another order": whole.score(order)[:, torch.tensor(order).argsort()],
        "live": backbone.bind(parse(prompt), ROWS, CHOICES).score(range(len(TEXTS)), {"s": table()}),
        "in a mixed batch": score_together(
            [
                (backbone.standing(filled, CHOICES.words), ROWS),
                (backbone.standing(parse("Hm. {text}[answer]"), CHOICES.words), ROWS),
            ]
        )[0][None],
    }
    worst = {name: float((found - expected).abs().max()) for name, found in ways.items()}
    assert max(worst.values()) < 1e-4, worst


@pytest.mark.parametrize("family", [*MASKED, *ENCODER_DECODER])
@pytest.mark.parametrize("prompt", [PROMPTS["first"], PROMPTS["after"]], ids=["first", "after"])
def test_it_is_the_same_on_models_that_read_both_ways(family: str, prompt: str) -> None:
    backbone = backbone_of(tiny_two_way(family))
    own = np.stack([by_hand(backbone, table()[0].numpy(), " " + text) for text in TEXTS]).astype(np.float32)
    bound = backbone.bind(parse(prompt.replace("input", "soft")), ROWS, CHOICES)
    expected = torch.cat([bound.score([row], {"s": torch.from_numpy(own[row])[None]}) for row in range(len(TEXTS))], dim=1)
    filled = backbone.bind(parse(prompt).fill(s=table()[0].numpy()), ROWS, CHOICES)
    torch.testing.assert_close(filled.score(range(len(TEXTS))), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(filled.score([3]), expected[:, 3:4], atol=1e-4, rtol=0)
    live = backbone.bind(parse(prompt), ROWS, CHOICES).score([4, 0], {"s": table()})
    torch.testing.assert_close(live, expected[:, [4, 0]], atol=1e-4, rtol=0)


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_variants_together_score_and_learn_as_each_alone(prompt: str) -> None:
    backbone = HuggingFaceBackbone(tiny())
    bound = backbone.bind(parse(prompt), ROWS, CHOICES)
    asked = table(variants=3).requires_grad_()
    together = bound.score([3, 0, 4], {"s": asked})
    (gradient,) = torch.autograd.grad(together.square().sum(), asked)
    assert (gradient.abs().amax((0, 2)) > 0).all()  # shared vectors, looks and what is added
    for k in range(3):
        one = asked[k : k + 1].detach().clone().requires_grad_()
        alone = bound.score([3, 0, 4], {"s": one})
        torch.testing.assert_close(together[k : k + 1], alone, atol=1e-4, rtol=0)
        (own,) = torch.autograd.grad(alone.square().sum(), one)
        torch.testing.assert_close(gradient[k : k + 1], own, atol=1e-3, rtol=1e-3)


def test_gradients_are_those_of_finite_differences() -> None:
    bound = HuggingFaceBackbone(tiny()).bind(parse(PROMPTS["first"]), ROWS, CHOICES)
    held = table().requires_grad_()
    (gradient,) = torch.autograd.grad(bound.score([3, 0, 4], {"s": held})[..., 0].sum(), held)
    for seed in range(3):
        way = torch.randn(held.shape, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            ends = [bound.score([3, 0, 4], {"s": held + sign * 0.0005 * way})[..., 0].sum() for sign in (1, -1)]
        slope = float(ends[0] - ends[1]) / 0.001
        assert slope == pytest.approx(float((gradient * way).sum()), abs=2e-2 * (1 + abs(slope)))


def test_a_network_of_no_units_is_a_soft_slot() -> None:
    backbone = HuggingFaceBackbone(tiny())
    shared = table()[0, :3].numpy()
    found = backbone.bind(parse(PROMPTS["first"]).fill(s=shared), ROWS, CHOICES).score([0, 3])
    soft = parse(PROMPTS["first"].replace("input", "soft")).fill(s=shared)
    torch.testing.assert_close(found, backbone.bind(soft, ROWS, CHOICES).score([0, 3]), atol=1e-4, rtol=0)


def test_many_rows_are_asked_for_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = HuggingFaceBackbone(tiny())
    bound = backbone.bind(parse(PROMPTS["after"]).fill(s=table()[0].numpy()), ROWS, CHOICES)
    with torch.no_grad():
        whole = bound.score([4, 0, 3, 2, 1])
        monkeypatch.setattr(bound_module, "PORTION", 2)
        torch.testing.assert_close(bound.score([4, 0, 3, 2, 1]), whole, atol=1e-4, rtol=0)


def test_what_it_writes_and_says_next_depends_on_the_row() -> None:
    backbone = HuggingFaceBackbone(tiny())
    filled = parse(PROMPTS["after"]).fill(s=table()[0].numpy())
    bound = backbone.bind(filled, ROWS, CHOICES)
    both = bound.next_words([0, 3])
    torch.testing.assert_close(both[1:], bound.next_words([3]), atol=1e-4, rtol=0)
    together = backbone.generate(filled, ROWS, max_tokens=6)
    alone = [backbone.generate(filled, ROWS.take([row]), max_tokens=6)[0] for row in range(len(TEXTS))]
    assert together == alone


def test_numbers_that_do_not_fit_are_refused(tiny_backbone: HuggingFaceBackbone) -> None:
    bound = tiny_backbone.bind(parse(PROMPTS["first"]), ROWS, CHOICES)
    for shape in ((1, 4, 64), (1, 11, 32), (1, 2, 11, 64)):
        with pytest.raises(PromptError, match=r"for slot 's'\n  expected: \[K, 3 \+ R \* 4, 64\]"):
            bound.score([0, 1], {"s": torch.zeros(*shape)})
    with pytest.raises(PromptError, match=r"vectors of shape \(4, 64\) for input slot 's' of length 3"):
        parse(PROMPTS["first"]).fill(s=np.zeros((4, 64), np.float32))
    with pytest.raises(PromptError, match="slot 's' is open"):
        bound.score([0])
