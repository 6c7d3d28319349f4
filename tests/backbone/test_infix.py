"""Deep slots that stand after something: what follows looks back on them, what stands before them is read once without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from pegbox.backbone import bound as bound_module
from pegbox.backbone.engine import Engine, Head
from pegbox.backbone.fused import VARIABLE
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.loaded import Loaded
from pegbox.backbone.mixed import CHUNK, advance, branch_off, score_together, stem_of
from pegbox.backbone.opening import backbone_of
from pegbox.backbone.seam import Answers, Choices, Targets
from pegbox.backbone.storage import KeysValues
from pegbox.backbone.tiny import FAMILIES, tiny, tiny_family
from pegbox.backbone.tiny_two_way import tiny_two_way
from pegbox.data.rows import Rows
from pegbox.errors import BackboneError, PromptError
from pegbox.prompt import Prompt, parse

P = 5
TEXTS = ["a fine day", "", "so dull", "a rather long text about nothing " * 3, "Grüße", "so dull"]
ROWS = Rows.from_texts(TEXTS)
WORDS = ("yes", "yes, quite", "no")
ANSWERS: dict[str, Answers] = {
    "choices": Choices(WORDS),
    "over the vocabulary": Choices(("ya", "na"), "vocabulary"),
    "targets": Targets(("a", "long one", "b", "c d e", "f", "g")),
}
PROMPTS = {
    "after the text": f"Say: {{text}}[deep d {P}] Is it? [answer]",
    "the text comes first": f"{{text}}[deep d {P}]\\nSo: [answer]",
    "between two texts": f"Say: {{text}}[deep d {P}] Or: {{text}}? [answer]",
    "before the text": f"Say:[deep d {P}] {{text}} Is it? [answer]",
    "in a chat": f"[system] Say. [user] {{text}}[deep d {P}] [assistant] It is: [answer]",
}


def some_rows(backbone: HuggingFaceBackbone, seed: int = 3, count: int = 1) -> torch.Tensor:
    """Keys and values near those of a text. Shape: [K, P, W]."""
    begun = backbone.keys_values(backbone.encode("Sort these, please."))[:P]
    return begun + 0.2 * torch.randn(count, *begun.shape, generator=torch.Generator().manual_seed(seed))


def by_hand(loaded: Loaded, before: Sequence[int], rows: torch.Tensor, after: Sequence[int]) -> torch.Tensor:
    """Log-probabilities of what follows, from Transformers' own cache with a slot's numbers put into it. Shape: [T, V]."""
    config = loaded.model.config.get_text_config()
    past = DynamicCache()
    if before:
        past = loaded.model(input_ids=torch.tensor([before]), use_cache=True).past_key_values
    layers = config.num_hidden_layers
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    both = rows.view(P, layers, 2, -1, size).permute(1, 2, 3, 0, 4)  # L, 2, heads, P, D
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(both):
        old = (past.layers[layer].keys, past.layers[layer].values) if before else (keys[None, :, :0], values[None, :, :0])
        cache.update(torch.cat([old[0], keys[None]], dim=2), torch.cat([old[1], values[None]], dim=2), layer)
    ids, place = torch.tensor([list(after)]), len(before) + P
    made = loaded.model(input_ids=ids, past_key_values=cache, position_ids=torch.arange(place, place + len(after))[None])
    found: torch.Tensor = made.logits[0].log_softmax(-1)
    return found


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3"])
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_what_follows_reads_what_transformers_reads_with_the_slot_in_its_cache(family: str, prompt: str) -> None:
    backbone = HuggingFaceBackbone(tiny_family(family))
    rows = some_rows(backbone)[0]
    filled = parse(prompt).fill(d=rows.numpy())
    without = parse(prompt.replace(f"[deep d {P}]", '[hard mark="\u2020"]'))
    codes = backbone.bind(without, ROWS, Choices(WORDS)).contexts(range(len(ROWS)))
    mark = backbone.encode("\u2020")
    found = backbone.bind(filled, ROWS, Choices(WORDS)).next_words(range(len(ROWS)))
    for row, ids in enumerate(codes):
        at = next(at for at in range(len(ids)) if tuple(ids[at : at + len(mark)]) == tuple(mark))
        expected = by_hand(backbone.loaded, ids[:at], rows, ids[at + len(mark) :])[-1]
        torch.testing.assert_close(found[row], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_texts_own_keys_and_values_read_in_their_place_score_as_that_text(family: str) -> None:
    backbone = HuggingFaceBackbone(tiny_family(family))
    text, said = Rows.from_texts(["a fine day"]), "Sort these, please."
    plain = backbone.bind(parse(f"Say: {{text}}{said} Is it? [answer]"), text, Choices(WORDS))
    (ids,) = backbone.bind(parse(f"Say: {{text}}{said} Is it? [answer]"), text, Choices(WORDS)).contexts([0])
    until = len(ids) - len(backbone.encode(" Is it?"))
    engine, length = backbone._engine, len(backbone.encode(said))
    with torch.no_grad():
        (run,) = engine.extend([()], backbone.embed(ids[:until])[None], [until])
    kept = engine.kept.rows(type(run)(run.keys[:, :, -length:], run.values[:, :, -length:]))
    slot = parse(f"Say: {{text}}[deep d {length}] Is it? [answer]")
    expected = plain.score([0])
    live = backbone.bind(slot, text, Choices(WORDS)).score([0], {"d": kept[None]})
    filled = slot.fill(d=kept.numpy())
    torch.testing.assert_close(live, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(backbone.bind(filled, text, Choices(WORDS)).score([0]), expected, atol=1e-4, rtol=0)
    other = backbone.standing(parse("{text}?[answer]"), WORDS)
    together = score_together([(backbone.standing(filled, WORDS), text), (other, ROWS)])
    torch.testing.assert_close(together[0], expected[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("family", "answers"), [*((f, "choices") for f in FAMILIES), *(("llama", name) for name in list(ANSWERS)[1:])]
)
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_it_scores_the_same_whoever_asks_and_how(family: str, prompt: str, answers: str) -> None:
    backbone, asked = HuggingFaceBackbone(tiny_family(family)), ANSWERS[answers]
    cold = HuggingFaceBackbone(tiny_family(family), cache_bytes=0)
    rows = some_rows(backbone)
    filled, open_, live = parse(prompt).fill(d=rows[0].numpy()), parse(prompt), {"d": rows}
    every, order = range(len(ROWS)), [3, 0, 5, 1, 4, 2]
    alone = torch.cat([cold.bind(open_, ROWS, asked).score([row], live) for row in every], dim=1)
    other = cold.bind(open_, ROWS, asked).score(every, {"d": some_rows(backbone, 4)})
    hidden = family == "mistral" and "[user]" in prompt  # its window is shorter than the template's words after the slot
    assert ((alone - other).abs().max() > 1e-3) is not hidden
    whole = backbone.bind(filled, ROWS, asked)
    ways = {
        "filled": whole.score(every),
        "filled, again": whole.score(every),
        "filled, one by one": torch.cat([whole.score([row]) for row in every], dim=1),
        "nothing kept": cold.bind(filled, ROWS, asked).score(every),
        "in another order": whole.score(order)[:, torch.tensor(order).argsort()],
        "live": backbone.bind(open_, ROWS, asked).score(every, live),
        "live over another": backbone.bind(parse(prompt).fill(d=0 * rows[0].numpy()), ROWS, asked).score(every, live),
    }
    if not isinstance(asked, Targets):
        own = [cold.bind(filled, ROWS.take([row]), asked).score([0]) for row in every]
        ways["a bound of its own"] = torch.cat(own, dim=1)
    worst = {name: float((found - alone).abs().max()) for name, found in ways.items()}
    assert max(worst.values()) < 1e-4, worst


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_gradients_are_those_of_finite_differences(
    family: str, prompt: str, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not packed:
        monkeypatch.setattr(bound_module, "PACKED", 0)
    backbone = HuggingFaceBackbone(tiny_family(family))
    bound = backbone.bind(parse(prompt), ROWS, Choices(WORDS))
    chance, rows = torch.Generator().manual_seed(3), some_rows(backbone)
    weights = torch.randn(1, 4, len(WORDS), generator=chance)

    def value(vectors: torch.Tensor) -> torch.Tensor:
        return (bound.score([3, 0, 4, 5], {"d": vectors}) * weights).sum()

    asked = rows.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(asked), asked)
    assert gradient.abs().max() > 0
    for seed in range(3):
        way = torch.randn(rows.shape, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            slope = float(value(rows + 0.01 * way) - value(rows - 0.01 * way)) / 0.02
        assert slope == pytest.approx(float((gradient * way).sum()), abs=2e-3 * (1 + abs(slope)))


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_variants_together_score_and_learn_as_each_alone(prompt: str) -> None:
    backbone = HuggingFaceBackbone(tiny())
    bound = backbone.bind(parse(prompt), ROWS, Choices(WORDS, "vocabulary"))
    three = some_rows(backbone, 5, 3)
    asked = three.clone().requires_grad_()
    together = bound.score([3, 0, 4], {"d": asked})
    (gradient,) = torch.autograd.grad(together.sum(), asked)
    assert (together[0] - together[1]).abs().max() > 1e-3
    for k in range(3):
        one = three[k : k + 1].clone().requires_grad_()
        alone = bound.score([3, 0, 4], {"d": one})
        torch.testing.assert_close(together[k : k + 1], alone, atol=1e-4, rtol=0)
        torch.testing.assert_close(gradient[k : k + 1], torch.autograd.grad(alone.sum(), one)[0], atol=1e-4, rtol=1e-3)


def test_words_to_choose_behind_it_and_vectors_filled_before_it() -> None:
    backbone = HuggingFaceBackbone(tiny())
    vectors = 0.3 * torch.randn(3, 64, generator=torch.Generator().manual_seed(2))
    prompt = parse(f"[soft s 3] {{text}}[deep d {P}] Is [hard h] [answer]").fill(s=vectors.numpy())
    words = [backbone.encode(" why"), backbone.encode(" and how")]
    rows = some_rows(backbone)
    both = backbone.bind(prompt, ROWS, Choices(WORDS)).score([0, 3], {"d": rows, "h": words})
    for k, said in enumerate(("why", "and how")):
        one = prompt.fill(d=rows[0].numpy(), h=said)
        torch.testing.assert_close(backbone.bind(one, ROWS, Choices(WORDS)).score([0, 3])[0], both[k], atol=1e-4, rtol=0)


def test_what_stands_before_it_may_not_be_live() -> None:
    backbone = HuggingFaceBackbone(tiny())
    bound = backbone.bind(parse(f"[soft s 3] {{text}}[deep d {P}] So: [answer]"), ROWS, Choices(WORDS))
    live = {"d": some_rows(backbone), "s": torch.zeros(1, 3, 64)}
    with pytest.raises(PromptError, match=r"the slot 's' to be learned or tried before the deep slot 'd'\n  expected"):
        bound.score([0], live)
    with pytest.raises(PromptError, match="slot 's' is open"):
        bound.score([0], {"d": live["d"]})
    with pytest.raises(PromptError, match="slot 'd' is open"):
        backbone.bind(parse(PROMPTS["after the text"]), ROWS, Choices(WORDS)).score([0])


@pytest.mark.parametrize("tail", ["[answer]", " [answer]", "[hard h][answer]", "{more}[answer]"])
def test_something_is_read_after_it(tail: str) -> None:
    with pytest.raises(PromptError, match=r"nothing between \[deep d 5\] and the answer\n  expected"):
        HuggingFaceBackbone(tiny()).bind(parse(f"{{text}}[deep d 5]{tail}"), ROWS, Choices(WORDS))


def test_filled_words_are_something_to_read(tiny_backbone: HuggingFaceBackbone) -> None:
    filled = {"d": some_rows(tiny_backbone)[0].numpy()}
    words, slot = parse(f"Say {{text}}[deep d {P}] so[answer]"), parse(f'Say {{text}}[deep d {P}][hard h=" so"][answer]')
    found = [tiny_backbone.bind(one.fill(**filled), ROWS, Choices(WORDS)).score([0, 3]) for one in (words, slot)]
    torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=0)
    with pytest.raises(PromptError, match="nothing between"):
        tiny_backbone.bind(slot.fill(**filled), ROWS, Choices(WORDS)).score([0], {"h": [()]})


def test_a_field_that_is_cut_to_nothing_behind_it_is_told(tiny_backbone: HuggingFaceBackbone) -> None:
    length = tiny_backbone.context
    slot = np.zeros((length, tiny_backbone.deep_width), np.float32)
    prompt = parse(f"{{text}}[deep d {length}] {{more}}[answer]").fill(d=slot)
    rows = Rows(({"text": "", "more": "one"},), None, (0,), "here")
    for ask in (
        lambda: tiny_backbone.bind(prompt, rows, Choices(("y", "n"))).score([0]),
        lambda: tiny_backbone.standing(prompt, ("y", "n")).ask(rows),
    ):
        with pytest.raises(PromptError, match="nothing between"):
            ask()


def test_an_input_slot_may_not_stand_before_it(tiny_backbone: HuggingFaceBackbone) -> None:
    prompt = parse(f"[input s 3]{{text}}[deep d {P}] So: [answer]")
    filled = prompt.fill(d=some_rows(tiny_backbone)[0].numpy(), s=np.zeros((3, 64), np.float32))
    for ask in (
        lambda: tiny_backbone.bind(filled, ROWS, Choices(WORDS)),
        lambda: tiny_backbone.standing(filled, WORDS),
    ):
        with pytest.raises(PromptError, match=r"the input slot 's' before the deep slot 'd'\n  expected"):
            ask()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_gradient_reaches_ends_of_different_lengths_in_fans_and_without(
    family: str, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What each row alone gives, with its own copy of all that it looks back on."""
    monkeypatch.setenv(VARIABLE, str(int(fused)))
    engine = HuggingFaceBackbone(tiny_family(family))._engine
    chance = torch.Generator().manual_seed(7)
    embeds = engine.model.get_input_embeddings()(torch.randint(3, 200, (4, 3), generator=chance)).detach()
    with torch.no_grad():
        texts = [engine.extend([()], embeds[:1, :length], [length])[0] for length in (3, 2)]
        given = [engine.extend([()], embeds[row : row + 1, :length], [length])[0] for row, length in ((1, 2), (2, 3))]
    weights = torch.randn(4, 3, embeds.shape[-1], generator=chance)

    def gradients(run: Callable[[list[Head]], torch.Tensor]) -> list[torch.Tensor]:
        sides = [side.clone().requires_grad_() for end in given for side in (end.keys, end.values)]
        ends = [KeysValues(*sides[:2]), KeysValues(*sides[2:])]
        heads = [(text, end) for text, end in zip(texts, ends, strict=True)]
        return list(torch.autograd.grad((run(heads) * weights).sum(), sides))

    expected = gradients(lambda heads: torch.cat([engine.hidden([heads[n // 2]], embeds[n : n + 1], [3]) for n in range(4)]))
    together = gradients(lambda heads: engine.hidden([heads[n // 2] for n in range(4)], embeds, [3] * 4))
    fan = gradients(lambda heads: engine.fan(heads, embeds, [3] * 4, 2))
    apart = gradients(lambda heads: torch.cat([_copied(engine, heads[n // 2], embeds[n : n + 1]) for n in range(4)]))
    for one, two, three, four in zip(expected, together, fan, apart, strict=True):
        assert one.abs().max() > 1e-3
        for other in (two, three, four):
            torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-3)


def _copied(engine: Engine, head: Head, embeds: torch.Tensor) -> torch.Tensor:
    """A row whose whole past asks for a gradient, so that nothing is left out on the way back."""
    text, end = head
    whole = KeysValues(torch.cat([text.keys, end.keys], dim=2), torch.cat([text.values, end.values], dim=2))
    return engine.hidden(
        [(KeysValues(whole.keys[:, :, :1], whole.values[:, :, :1]), KeysValues(whole.keys[:, :, 1:], whole.values[:, :, 1:]))],
        embeds,
        [3],
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_such_and_other_prompts_share_passes(family: str) -> None:
    backbone = HuggingFaceBackbone(tiny_family(family))
    prompts: list[Prompt] = [
        *(parse(prompt).fill(d=some_rows(backbone, seed)[0].numpy()) for seed, prompt in enumerate(list(PROMPTS.values())[:4])),
        parse("[deep e 4]{text}[answer]").fill(e=some_rows(backbone)[0, :4].numpy()),
        parse("Sort. {text} Is it? [answer]"),
    ]
    long = Rows.from_texts([*TEXTS, "on and on " * (CHUNK // 9)])
    together = score_together([(backbone.standing(prompt, WORDS), long) for prompt in prompts])
    for prompt, found in zip(prompts, together, strict=True):
        alone = HuggingFaceBackbone(tiny_family(family)).bind(prompt, long, Choices(WORDS)).score(range(len(long)))[0]
        torch.testing.assert_close(found, alone, atol=1e-4, rtol=0)


def test_words_of_one_sentence_branch_off_before_the_slot() -> None:
    backbone = HuggingFaceBackbone(tiny())
    prompt = parse(f"Say: {{text}} the word {{word}}[deep d {P}] is [answer]").fill(d=some_rows(backbone)[0].numpy())
    fields: list[Mapping[str, str]] = [{"text": "a fine day", "word": word} for word in ("a", "fine", "day")]
    rows = Rows(tuple(fields), None, tuple(range(3)), "here")
    standing = backbone.standing(prompt, ("y", "n"))
    passages = [passage for asked in standing.ask(rows) for passage in asked.passages]
    stem = stem_of(passages)
    assert stem is not None
    length = len(stem.codes)
    while not stem.done:
        advance(backbone._engine, [stem])
    branch_off(stem, length, passages)
    while left := [one for one in passages if not one.done]:
        advance(backbone._engine, left)
    found = torch.stack([standing.read([passage]) for passage in passages])
    torch.testing.assert_close(found, backbone.bind(prompt, rows, Choices(("y", "n"))).score(range(3))[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral"])
def test_what_is_written_after_it_follows_from_it(family: str) -> None:
    backbone = HuggingFaceBackbone(tiny_family(family))
    texts = []
    for seed in (1, 2):
        rows = some_rows(backbone, seed)[0]
        prompt = parse(PROMPTS["after the text"]).fill(d=3 * rows.numpy())
        texts.append(backbone.generate(prompt, ROWS, max_tokens=6))
        first = backbone.bind(prompt, ROWS, Choices(WORDS)).next_words(range(len(ROWS))).argmax(-1)
        tokenizer = backbone.loaded.tokenizer
        wanted = [tokenizer.decode([token], skip_special_tokens=True) for token in first.tolist()]
        assert backbone.generate(prompt, ROWS, max_tokens=1) == wanted
    assert texts[0] != texts[1]


def test_a_texts_reading_does_not_depend_on_the_slot_and_is_done_once() -> None:
    backbone = HuggingFaceBackbone(tiny())
    bound = backbone.bind(parse(PROMPTS["after the text"]), ROWS, Choices(("y", "n")))
    spent, three = [], some_rows(backbone, 3, 3)
    for some in three:
        before = backbone.spent.forward
        bound.score(range(len(ROWS)), {"d": some[None]})
        spent.append(backbone.spent.forward - before)
    tail = len(backbone.encode(" Is it? ")) * len(ROWS)
    assert spent[1:] == [tail, tail]
    assert spent[0] > tail


@pytest.mark.parametrize(("family", "passes"), [("llama", 1), ("gemma2", 2)])
def test_what_is_not_kept_is_read_in_one_pass_where_no_window_is_in_the_way(
    family: str, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = HuggingFaceBackbone(tiny_family(family))
    filled = parse(PROMPTS["after the text"]).fill(d=some_rows(backbone)[0].numpy())
    bound = backbone.bind(filled, Rows.from_texts(["one day", "two ox!!"]), Choices(("y", "n")))
    bound.score([0])  # what is proved once, and the prompt's beginning
    through, seen = Engine._through, []

    def counted(engine: Engine, *given: Any) -> Any:
        seen.append(given)
        return through(engine, *given)

    monkeypatch.setattr(Engine, "_through", counted)
    bound.score([0, 1])
    assert len(seen) == passes
    same = backbone.bind(filled, Rows.from_texts(["one day"] * 8), Choices(("y", "n")))
    before = backbone.spent.forward
    same.score(range(8))
    assert backbone.spent.forward - before <= len(backbone.encode(" one day")) + 8 * len(backbone.encode(" Is it? "))


def test_a_single_request_keeps_no_text() -> None:
    backbone = HuggingFaceBackbone(tiny())
    prompt = parse(PROMPTS["after the text"]).fill(d=some_rows(backbone)[0].numpy())
    spent, held = [], []
    for text in ("one day", "one day", "two ox!!"):
        before = backbone.spent.forward
        backbone.bind(prompt, Rows.from_texts([text]), Choices(("y", "n"))).score([0])
        spent.append(backbone.spent.forward - before)
        held.append(backbone.store.held)
    assert spent[1:] == [len(backbone.encode(f" {text} Is it? ")) for text in ("one day", "two ox!!")]
    assert held == [held[0]] * 3  # the prompt's beginning, and no more with many rows either
    backbone.bind(prompt, ROWS, Choices(("y", "n"))).score(range(len(ROWS)))
    assert backbone.store.held < 3 * held[0]


def test_its_positions_count_towards_the_context() -> None:
    backbone = HuggingFaceBackbone(tiny())
    prompt = parse(f"{{text}}[deep d {P}]?[answer]").fill(d=some_rows(backbone)[0].numpy())
    assert backbone.context_lengths(prompt, ROWS.take([0])) == [10 + P + 1]
    long = Rows.from_texts(["x" * 3000])
    assert backbone.bind(prompt, long, Choices(("y", "n"))).cut_rows == (0,)
    assert backbone.context_lengths(prompt, long) == [backbone.context]


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_models_that_keep_no_positions_refuse_it(family: str) -> None:
    backbone = backbone_of(tiny_two_way(family))
    prompt = parse("{text}[deep d 2] So: [answer]")
    for ask in (
        lambda: backbone.bind(prompt.fill(d=np.zeros((2, 256), np.float32)), ROWS, Choices(WORDS)).score([0]),
        lambda: backbone.bind(prompt, ROWS, Choices(WORDS)).score([0], {"d": torch.zeros(1, 2, 256)}),
    ):
        with pytest.raises(BackboneError, match=r"a deep slot for .*\n  expected: a causal model"):
            ask()
