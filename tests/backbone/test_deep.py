"""Deep slots: keys and values before everything else count as the text that they were read from, whoever asks and how."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from pegbox.backbone import bound as bound_module
from pegbox.backbone.deep import Kept, joined
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.mixed import score_together
from pegbox.backbone.opening import backbone_of
from pegbox.backbone.seam import Answers, Choices, Targets
from pegbox.backbone.storage import KeysValues
from pegbox.backbone.tiny import FAMILIES, tiny, tiny_family
from pegbox.backbone.tiny_two_way import tiny_two_way
from pegbox.data.rows import Rows
from pegbox.errors import BackboneError, PromptError
from pegbox.prompt import parse

SAID = "Sort these, please."
TEXTS = ["a fine day", "", "so dull", "a rather long text about nothing " * 3, "Grüße", "so dull"]
ROWS = Rows.from_texts(TEXTS)
WORDS = ("yes", "yes, quite", "no")
ANSWERS: dict[str, Answers] = {
    "choices": Choices(WORDS),
    "over the vocabulary": Choices(("ya", "na"), "vocabulary"),
    "targets": Targets(("a", "long one", "b", "c d e", "f", "g")),
}
TAIL = " Say: {text} Is it? [answer]"
PROMPTS = {
    "words behind it": f"[deep d {len(SAID)}]{TAIL}",
    "a field behind it": f"[deep d {len(SAID)}]{{text}} Is it? [answer]",
    "words in a slot": f'[deep d {len(SAID)}] Now [hard h="quickly"]: {{text}} Is it? [answer]',
}


def kept(backbone: HuggingFaceBackbone, text: str = SAID) -> torch.Tensor:
    return backbone.keys_values(backbone.encode(text))


def written(prompt: str) -> str:
    """The prompt with the text in the place of the slot that holds its keys and values."""
    return prompt.replace(f"[deep d {len(SAID)}]", SAID)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS)
def test_a_texts_own_keys_and_values_score_as_that_text_standing_there(family: str, prompt: str, answers: Answers) -> None:
    backbone = HuggingFaceBackbone(tiny_family(family))
    cold = HuggingFaceBackbone(tiny_family(family), cache_bytes=0)
    expected = cold.bind(parse(written(prompt)), ROWS, answers).score(range(len(ROWS)))
    assert expected.std() > 0.1
    filled = parse(prompt).fill(d=kept(backbone).numpy())
    open_, live = parse(prompt), {"d": kept(backbone)[None]}
    order = [3, 0, 5, 1, 4, 2]
    whole = backbone.bind(filled, ROWS, answers)
    ways = {
        "filled": whole.score(range(len(ROWS))),
        "filled, again": whole.score(range(len(ROWS))),
        "filled, one by one": torch.cat([whole.score([row]) for row in range(len(ROWS))], dim=1),
        "nothing kept": cold.bind(filled, ROWS, answers).score(range(len(ROWS))),
        "in another order": whole.score(order)[:, torch.tensor(order).argsort()],
        "live": backbone.bind(open_, ROWS, answers).score(range(len(ROWS)), live),
        "live over another": backbone.bind(open_.fill(d=0 * kept(backbone).numpy()), ROWS, answers).score(
            range(len(ROWS)), live
        ),
        "live, one by one": torch.cat(
            [backbone.bind(open_, ROWS, answers).score([row], live) for row in range(len(ROWS))], dim=1
        ),
    }
    if not isinstance(answers, Targets):
        alone = [cold.bind(filled, ROWS.take([row]), answers).score([0]) for row in range(len(ROWS))]
        ways["a bound of its own"] = torch.cat(alone, dim=1)
    worst = {name: float((found - expected).abs().max()) for name, found in ways.items()}
    assert max(worst.values()) < 1e-4, worst


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_gradients_are_those_of_finite_differences(family: str, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not packed:
        monkeypatch.setattr(bound_module, "PACKED", 0)
    backbone = HuggingFaceBackbone(tiny_family(family))
    bound = backbone.bind(parse(PROMPTS["words behind it"]), ROWS, Choices(WORDS))
    chance = torch.Generator().manual_seed(3)
    rows = (kept(backbone) + 0.1 * torch.randn(len(SAID), backbone.deep_width, generator=chance))[None]
    weights = torch.randn(1, 4, len(WORDS), generator=chance)

    def value(vectors: torch.Tensor) -> torch.Tensor:
        return (bound.score([3, 0, 4, 5], {"d": vectors}) * weights).sum()

    asked = rows.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(asked), asked)
    assert gradient[:, 1:].abs().min(dim=-1).values.max() > 0 or family == "gemma2"  # a window hides the first positions
    for seed in range(4):
        way = torch.randn(rows.shape, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            slope = float(value(rows + 0.01 * way) - value(rows - 0.01 * way)) / 0.02
        assert slope == pytest.approx(float((gradient * way).sum()), abs=2e-3 * (1 + abs(slope)))


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_variants_together_score_and_learn_as_each_alone(prompt: str) -> None:
    backbone = HuggingFaceBackbone(tiny())
    bound = backbone.bind(parse(prompt), ROWS, Choices(WORDS, "vocabulary"))
    chance = torch.Generator().manual_seed(5)
    three = kept(backbone) + 0.3 * torch.randn(3, len(SAID), backbone.deep_width, generator=chance)
    asked = three.clone().requires_grad_()
    together = bound.score([3, 0, 4], {"d": asked})
    (gradient,) = torch.autograd.grad(together.sum(), asked)
    assert (together[0] - together[1]).abs().max() > 1e-2
    for k in range(3):
        one = three[k : k + 1].clone().requires_grad_()
        alone = bound.score([3, 0, 4], {"d": one})
        torch.testing.assert_close(together[k : k + 1], alone, atol=1e-4, rtol=0)
        torch.testing.assert_close(gradient[k : k + 1], torch.autograd.grad(alone.sum(), one)[0], atol=1e-4, rtol=1e-3)
    one_for_all = bound.score([3, 0], {"d": three[:1]})
    torch.testing.assert_close(one_for_all, together[:1, :2].detach(), atol=1e-4, rtol=0)


def test_it_stands_beside_a_soft_slot_and_words_to_choose() -> None:
    """What is live behind a filled deep slot looks back on it, and one for all goes with several of the other."""
    backbone = HuggingFaceBackbone(tiny())
    prompt, plain = (
        parse(f"[deep d {len(SAID)}] [soft s 3] {{text}} [hard h] [answer]"),
        parse(SAID + " [soft s 3] {text} [hard h] [answer]"),
    )
    vectors = 0.3 * torch.randn(2, 3, 64, generator=torch.Generator().manual_seed(2))
    live = {"s": vectors, "h": [backbone.encode(" why"), backbone.encode(" and how")]}
    expected = backbone.bind(plain, ROWS, Choices(WORDS)).score([0, 3], live)
    deep = kept(backbone)
    filled = backbone.bind(prompt.fill(d=deep.numpy()), ROWS, Choices(WORDS)).score([0, 3], live)
    both = backbone.bind(prompt, ROWS, Choices(WORDS)).score([0, 3], {**live, "d": deep[None]})
    torch.testing.assert_close(filled, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(both, expected, atol=1e-4, rtol=0)


def test_in_a_chat_it_stands_before_the_template() -> None:
    backbone = HuggingFaceBackbone(tiny())
    chat = parse(f"[deep d {len(SAID)}] [system] Sort. [user] {{text}} [assistant] [answer]")
    bound = backbone.bind(chat.fill(d=kept(backbone).numpy()), ROWS, Choices(WORDS))
    (row,) = bound.contexts([0])
    start = backbone.loaded.tokenizer.bos_token_id
    assert row[0] == start
    assert bound.given == len(SAID)
    ids = torch.tensor([[*backbone.encode(SAID), *row]])
    logits = backbone.loaded.model(input_ids=ids).logits[0, -1]
    torch.testing.assert_close(bound.next_words([0])[0], logits.log_softmax(-1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_deep_and_other_prompts_share_a_pass(family: str) -> None:
    backbone = HuggingFaceBackbone(tiny_family(family))
    prompts = [
        parse(PROMPTS["words behind it"]).fill(d=kept(backbone).numpy()),
        parse("[deep e 4]{text}[answer]").fill(e=kept(backbone, "Hm: ").numpy()),
        parse("Sort. {text} Is it? [answer]"),
    ]
    together = score_together([(backbone.standing(prompt, WORDS), ROWS) for prompt in prompts])
    for prompt, found in zip(prompts, together, strict=True):
        alone = HuggingFaceBackbone(tiny_family(family)).bind(prompt, ROWS, Choices(WORDS)).score(range(len(ROWS)))[0]
        torch.testing.assert_close(found, alone, atol=1e-4, rtol=0)


def test_what_is_kept_is_not_mistaken_for_that_of_another_deep_slot() -> None:
    backbone = HuggingFaceBackbone(tiny())
    prompt = parse(PROMPTS["words behind it"])
    for text in (SAID, "And so to sleep now"):
        found = backbone.bind(prompt.fill(d=kept(backbone, text).numpy()), ROWS, Choices(WORDS)).score([0, 3])
        expected = backbone.bind(parse(text + TAIL), ROWS, Choices(WORDS)).score([0, 3])
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral"])
def test_what_is_written_after_it_is_what_the_text_itself_leads_to(family: str) -> None:
    backbone = HuggingFaceBackbone(tiny_family(family))
    prompt = parse(PROMPTS["words behind it"]).fill(d=kept(backbone).numpy())
    plain = backbone.generate(parse(written(PROMPTS["words behind it"])), ROWS, max_tokens=8)
    assert len(set(plain)) > 1
    assert backbone.generate(prompt, ROWS, max_tokens=8) == plain
    without = backbone.generate(parse(TAIL), ROWS, max_tokens=8)
    assert without != plain


def test_its_positions_count_but_cost_no_tokens() -> None:
    backbone = HuggingFaceBackbone(tiny())
    prompt = parse("[deep d 19]{text}[answer]").fill(d=kept(backbone).numpy())
    before = backbone.spent.forward
    assert backbone.context_lengths(prompt, ROWS.take([0, 1])) == [19 + 1 + 10, 19 + 1]  # after a token that ends a text
    backbone.bind(prompt, ROWS.take([0]), Choices(("y", "n"))).score([0])
    assert backbone.spent.forward - before == 11
    long = Rows.from_texts(["x" * 3000])
    bound = backbone.bind(prompt, long, Choices(("y", "n")))
    assert bound.cut_rows == (0,)
    assert backbone.context_lengths(prompt, long) == [backbone.context]


def test_the_rows_of_a_deep_slot_are_laid_out_as_it_says() -> None:
    keys = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)  # L, heads, P, D
    kept_so = Kept.of(KeysValues(keys, -keys))
    rows = kept_so.rows(KeysValues(keys, -keys))
    assert rows.shape == (4, kept_so.width) == (4, 2 * 2 * 3 * 5)
    per_layer = [[keys[layer, :, 1].reshape(-1), -keys[layer, :, 1].reshape(-1)] for layer in range(2)]
    assert torch.equal(rows[1], torch.cat([part for layer in per_layer for part in layer]))
    again = kept_so.run(rows)
    assert torch.equal(again.keys, keys)
    assert torch.equal(again.values, -keys)
    assert torch.equal(joined(again, again).keys[:, :, 4:], keys)
    with pytest.raises(BackboneError, match="keys of shape"):
        Kept.of(KeysValues(keys, keys[..., :2]))


@pytest.mark.parametrize("shape", [(1, 18, 256), (1, 19, 64), (1, 2, 19, 256)])
def test_numbers_that_do_not_fit_are_refused(shape: Sequence[int], tiny_backbone: HuggingFaceBackbone) -> None:
    bound = tiny_backbone.bind(parse(PROMPTS["words behind it"]), ROWS, Choices(WORDS))
    with pytest.raises(PromptError, match=r"vectors of shape .* for slot 'd'"):
        bound.score([0, 1], {"d": torch.zeros(*shape)})
    with pytest.raises(PromptError, match="slot 'd' is open"):
        bound.score([0])


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_models_that_keep_no_positions_refuse_it(family: str) -> None:
    backbone = backbone_of(tiny_two_way(family))
    prompt = parse("[deep d 2]{text}[answer]")
    for ask in (
        lambda: backbone.bind(prompt.fill(d=np.zeros((2, 256), np.float32)), ROWS, Choices(WORDS)).score([0]),
        lambda: backbone.bind(prompt, ROWS, Choices(WORDS)).score([0], {"d": torch.zeros(1, 2, 256)}),
        lambda: backbone.keys_values([1]),
        lambda: backbone.deep_width,
    ):
        with pytest.raises(BackboneError, match=r"a deep slot for .*\n  expected: a causal model"):
            ask()


def test_a_filled_slot_of_another_models_width_is_refused(tiny_backbone: HuggingFaceBackbone) -> None:
    prompt = parse("[deep d 2]{text}[answer]").fill(d=np.zeros((2, 64), np.float32))
    with pytest.raises(PromptError, match="vectors of shape"):
        tiny_backbone.bind(prompt, ROWS, Choices(WORDS)).score([0])
