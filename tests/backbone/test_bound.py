"""A prompt bound to rows: which rows are meant, what is cut, what is kept, and what it costs."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from pegbox.backbone import laid, passes
from pegbox.backbone.bound import HuggingFaceBound
from pegbox.backbone.engine import Engine
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.seam import Choices, Targets
from pegbox.backbone.tiny import tiny, tiny_family
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.prompt import parse

YES_NO = Choices(("yes", "no"))
ROWS = Rows.from_texts(["one", "two words", "x", "a longer text than these", ""])
PROMPT = parse("Say: {text} [soft s 2] Is it? [answer]")
VECTORS = 0.3 * torch.randn(1, 2, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def backbone() -> HuggingFaceBackbone:
    return HuggingFaceBackbone(tiny(), cache_bytes=10_000_000)


def scores(bound: HuggingFaceBound, index: Sequence[int]) -> torch.Tensor:
    return bound.score(index, {"s": VECTORS} if bound.prompt.open_slots else None)[0]


# which rows


@pytest.mark.parametrize("prompt", [PROMPT, PROMPT.fill(s=VECTORS[0].numpy())])
def test_an_index_may_be_of_any_kind_of_whole_numbers(backbone: HuggingFaceBackbone, prompt: object) -> None:
    bound = backbone.bind(prompt, ROWS, YES_NO)  # type: ignore[arg-type]
    want = scores(bound, [3, 1])
    assert torch.equal(scores(bound, np.array([3, 1])), want)  # type: ignore[arg-type]
    assert torch.equal(scores(bound, torch.tensor([3, 1])), want)  # type: ignore[arg-type]
    assert torch.allclose(scores(bound, range(1, 4))[[2, 0]], want, atol=1e-5)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([-1], "row -1 of 5 bound rows\n  expected: 0 to 4"),
        ([0, 5], "row 5 of 5 bound rows"),
        ([], "no rows to score"),
    ],
)
def test_rows_that_are_not_there_are_refused(backbone: HuggingFaceBackbone, index: list[int], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        scores(backbone.bind(PROMPT, ROWS, YES_NO), index)


def test_nothing_to_bind_or_to_choose_is_refused(backbone: HuggingFaceBackbone) -> None:
    with pytest.raises(PromptError, match="no rows to bind"):
        backbone.bind(PROMPT, ROWS.take([]), YES_NO)
    with pytest.raises(PromptError, match="1 answers to choose from"):
        backbone.bind(PROMPT, ROWS, Choices(("yes",)))
    with pytest.raises(PromptError, match="2 targets for 5 rows"):
        backbone.bind(PROMPT, ROWS, Targets(("a", "b")))
    unspaced = parse("Say: {text}[answer]")
    rows = Rows(ROWS.fields, source="my.csv").take([3, 2])
    with pytest.raises(PromptError, match=r"an empty target for row 3 of my.csv"):
        backbone.bind(unspaced, rows, Targets(("a", "")))


def test_probabilities_of_choices_add_up_to_1(backbone: HuggingFaceBackbone) -> None:
    words = ("yes", "yes, quite", "no", "not at all", "n")
    found = scores(backbone.bind(PROMPT, ROWS, Choices(words)), range(5))
    assert found.shape == (5, 5)
    assert torch.allclose(found.exp().sum(-1), torch.ones(5), atol=1e-5)


def test_over_the_vocabulary_a_word_has_its_own_probability_and_the_rest_is_missing(backbone: HuggingFaceBackbone) -> None:
    words = ("ya", "na")  # they part at their first token
    prompt = parse("Say: {text} [soft s 2] Is it?[answer]")
    whole = scores(backbone.bind(prompt, ROWS, Choices(words, "vocabulary")), range(5))
    chosen = scores(backbone.bind(prompt, ROWS, Choices(words)), range(5))
    assert torch.allclose(whole.log_softmax(-1), chosen, atol=1e-5)
    assert whole.exp().sum(-1).max() < 0.5
    single = [scores(backbone.bind(prompt, ROWS, Targets((word[0],) * 5)), range(5))[:, 0] for word in words]
    assert torch.allclose(whole, torch.stack(single, dim=-1), atol=1e-5)


def test_an_empty_text_alone_in_a_prompt_is_read_after_the_end_of_another_text(backbone: HuggingFaceBackbone) -> None:
    bound = backbone.bind(parse("{text}[answer]"), ROWS, Choices(("ya", "na")))
    assert bound.contexts([4]) == [(258,)]
    logits = tiny().model(input_ids=torch.tensor([[258]])).logits[0, -1][[ord("y"), ord("n")]]
    assert torch.allclose(bound.score(range(5))[0, 4], logits.log_softmax(-1), atol=1e-5)
    target = backbone.bind(parse("{text}[answer]"), ROWS, Targets(("y",) * 5)).score([4])
    whole = tiny().model(input_ids=torch.tensor([[258]])).logits[0, -1].log_softmax(-1)[ord("y")]
    assert target.item() == pytest.approx(whole.item(), abs=1e-5)


# what is cut

CONTEXT = 128


@pytest.fixture
def brief() -> HuggingFaceBackbone:
    """A model that reads few positions."""
    loaded = tiny()
    loaded.model.config.max_position_embeddings = CONTEXT
    return HuggingFaceBackbone(loaded)


def test_over_long_texts_are_cut_and_named_and_the_rest_stays(brief: HuggingFaceBackbone) -> None:
    """Positions: ``Say:`` 4, the text with its space, 2 vectors, `` Is it?`` 7; the answers part after their space, 1."""
    room = CONTEXT - 4 - 2 - 7 - 1
    rows = Rows.from_texts(["a" * (room - 1), "b" * room, "short", "c" * 5000])
    bound = brief.bind(PROMPT, rows, YES_NO)
    assert bound.cut_rows == (1, 3)
    filled = brief.bind(PROMPT.fill(s=VECTORS[0].numpy()), rows, YES_NO)
    assert filled.cut_rows == (1, 3)
    contexts = filled.contexts(range(4))
    assert [len(context) for context in contexts] == [CONTEXT - 1, CONTEXT - 1, 4 + 6 + 2 + 7, CONTEXT - 1]
    for context, letter in zip(contexts, (b"a", b"b", None, b"c"), strict=True):
        if letter:
            assert bytes(c for c in context if c >= 0) == b"Say: " + letter * (room - 1) + b" Is it?"
    cut = brief.bind(PROMPT, Rows.from_texts(["c" * (room - 1)]), YES_NO)
    assert torch.allclose(scores(bound, [3]), scores(cut, [0]), atol=1e-5)


def test_structure_of_a_chat_is_never_cut(brief: HuggingFaceBackbone) -> None:
    prompt = parse("[system] Be brief. [user] {text} {more} [assistant] [answer]")
    rows = Rows(({"text": "a" * 4000, "more": "short"},))
    bound = brief.bind(prompt, rows, YES_NO)
    (context,) = bound.contexts([0])
    assert bound.cut_rows == (0,)
    assert [token for token in context if token > 255] == [257, 258, 257, 258, 257]
    text = bytes(token for token in context if token < 256)
    assert text.startswith(b"system\nBe brief.\nuser\na")
    assert text.endswith(b"a short\nassistant\n")


def test_every_cut_row_fits_even_with_an_open_hard_slot_and_long_words(brief: HuggingFaceBackbone) -> None:
    bound = brief.bind(parse("{text}\\n[hard h] [answer]"), Rows.from_texts(["a" * 5000]), YES_NO)
    assert bound.score([0], {"h": [[32] * 64]}).shape == (1, 1, 2)
    with pytest.raises(PromptError, match=f"row 1 of rows takes {CONTEXT + 1} positions\n  expected: at most {CONTEXT}"):
        bound.score([0], {"h": [[32] * 65]})


def test_a_gpt2_reads_up_to_its_last_position() -> None:
    backbone = HuggingFaceBackbone(tiny_family("gpt2"))
    bound = backbone.bind(PROMPT, Rows.from_texts(["a" * 5000]), YES_NO)
    assert torch.isfinite(scores(bound, [0])).all()


def test_a_prompt_that_is_too_long_by_itself_is_refused(brief: HuggingFaceBackbone) -> None:
    with pytest.raises(PromptError, match=r"the prompt without any text has 304 positions \(rows\)\n  expected: at most 128"):
        brief.bind(parse("x" * 300 + " {text}abcd[answer]"), ROWS, YES_NO)


def test_long_targets_are_cut_alike_whatever_the_fields_say(brief: HuggingFaceBackbone) -> None:
    prompt = parse("Label: {label}\\nText: [answer]")
    target = "a" * 5000
    left = CONTEXT - len("Label:") - len("\nText:")
    bounds = [brief.bind(prompt, Rows(({"label": label},)), Targets((target,))) for label in ("x", "a long label")]
    assert [bound.cut_rows for bound in bounds] == [(0,), (0,)]
    assert [len(bound.targets[0]) for bound in bounds if bound.targets] == [left // 2] * 2
    rows = Rows.from_texts(["b" * 3000, "b" * 3000])
    both = brief.bind(parse("Text: {text}\\n[answer]"), rows, Targets((target, "a" * 10)))
    assert both.cut_rows == (0, 1)
    assert [len(context) for context in both.contexts([0, 1])] == [CONTEXT - (CONTEXT - 6) // 2 + 1, CONTEXT - 10 + 1]
    assert torch.isfinite(both.score([0, 1])).all()


# what is kept


def test_two_prompts_whose_vectors_alone_differ_do_not_share_what_is_kept(backbone: HuggingFaceBackbone) -> None:
    prompt = parse("[soft a 2] Say: {text} [soft s 2] Is it? [answer]")
    cold = HuggingFaceBackbone(tiny(), cache_bytes=0)
    for fill in (VECTORS[0] + 0.1, VECTORS[0] - 0.2):
        filled = prompt.fill(a=fill.numpy())
        assert torch.allclose(
            scores(backbone.bind(filled, ROWS, YES_NO), range(5)), scores(cold.bind(filled, ROWS, YES_NO), range(5)), atol=1e-5
        )


def test_a_second_prompt_over_the_same_texts_reads_what_is_kept(backbone: HuggingFaceBackbone) -> None:
    scores(backbone.bind(PROMPT, ROWS, YES_NO), range(5))
    before = backbone.spent.forward
    other = backbone.bind(parse("Say: {text} [soft s 2] Well? [answer]"), ROWS, YES_NO)
    scores(other, range(5))
    tail = 2 + len(" Well?") + len(" ")  # the slot, the words after it, and the space that both answers begin with
    assert backbone.spent.forward - before == 5 * tail


def test_tokens_are_counted_without_padding(backbone: HuggingFaceBackbone) -> None:
    """``Say: `` is read once for all; of the texts each row's own part; then every row's tail."""
    bound = backbone.bind(PROMPT, ROWS, YES_NO)
    scores(bound, range(5))
    shared, texts, tail = len("Say: "), sum(len(text) for text in ROWS.column()), 2 + len(" Is it?") + 1
    assert backbone.spent.forward == shared + texts + 5 * tail
    assert backbone.spent.backward == 0
    vectors = VECTORS.clone().requires_grad_()
    bound.score([0, 1], {"s": vectors}).sum().backward()
    assert backbone.spent.forward == shared + texts + 7 * tail
    assert backbone.spent.backward == 2 * tail


def test_a_dead_bounds_room_is_free_again() -> None:
    backbone = HuggingFaceBackbone(tiny(), cache_bytes=60_000)
    first = backbone.bind(PROMPT, ROWS, YES_NO)
    scores(first, range(5))
    kept = backbone.store.held
    assert 0 < kept <= 60_000
    del first
    gc.collect()
    rows = Rows.from_texts([text + "!" for text in ROWS.column()])
    second = backbone.bind(PROMPT, rows, YES_NO)
    scores(second, range(5))
    before = backbone.spent.forward
    scores(second, range(5))
    assert backbone.spent.forward - before == 5 * (2 + len(" Is it?") + 1)  # all of it was kept
    assert backbone.store.held <= 60_000


def test_what_is_forgotten_is_computed_anew(backbone: HuggingFaceBackbone) -> None:
    bound = backbone.bind(PROMPT, ROWS, YES_NO)
    want = scores(bound, range(5))
    backbone.forget()
    assert backbone.store.held == 0
    assert torch.equal(scores(bound, range(5)), want)


@pytest.mark.parametrize("cache_bytes", [0, 40_000, 10_000_000])
def test_many_rows_are_scored_in_portions_that_change_nothing(monkeypatch: pytest.MonkeyPatch, cache_bytes: int) -> None:
    chance = np.random.default_rng(1)
    rows = Rows.from_texts(["".join(chance.choice(list("abc "), size=size)) for size in chance.integers(0, 30, size=90)])
    index = [int(at) for at in chance.permutation(90)] + [4, 4]
    backbone = HuggingFaceBackbone(tiny(), cache_bytes=cache_bytes)
    per_row = 0.2 * torch.randn(2, len(index), 2, 64, generator=torch.Generator().manual_seed(5))
    bound = backbone.bind(PROMPT, rows, YES_NO)
    filled = backbone.bind(PROMPT.fill(s=VECTORS[0].numpy()), rows, YES_NO)
    want = [bound.score(index, {"s": VECTORS}), bound.score(index, {"s": per_row}), filled.score(index)]
    monkeypatch.setattr(laid, "PORTION", 7)
    monkeypatch.setattr(passes, "at_once", lambda: 60)
    monkeypatch.setattr(passes, "KEPT", 50)
    found = [bound.score(index, {"s": VECTORS}), bound.score(index, {"s": per_row}), filled.score(index)]
    for one, other in zip(found, want, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, atol=1e-4)


def test_a_pass_is_bounded_in_new_and_in_kept_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "at_once", lambda: 12)
    monkeypatch.setattr(passes, "KEPT", 30)

    class Row:
        def __init__(self, new: int, past: int) -> None:
            self.codes, self.past, self.head = (0,) * new, past, (object(),)

    rows = [Row(3, 0), Row(3, 0), Row(4, 0), Row(4, 0), Row(20, 0), Row(1, 10), Row(1, 10), Row(1, 10), Row(1, 10), Row(1, 50)]
    found = passes.batches(rows)  # type: ignore[arg-type]
    assert found == [[5, 6, 7], [8], [9], [0, 1, 2], [3], [4]]


def test_a_pass_grows_with_the_threads_up_to_four(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    for threads in (1, 2, 64):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        sizes.append(passes.at_once())
    assert sizes == [2048, 4096, 8192]


def test_a_single_request_keeps_the_prompts_beginning_and_not_the_users_text(backbone: HuggingFaceBackbone) -> None:
    prompt = parse(r"A long instruction.\nSay: {text}\nIs it? [answer]")

    def spent() -> int:
        before = backbone.spent.forward
        backbone.bind(prompt, ROWS.take([3]), YES_NO).score([0])
        return backbone.spent.forward - before

    first, second, third = spent(), spent(), spent()
    assert second == third > len("a longer text than these")
    assert first - second == pytest.approx(len("A long instruction.\nSay:"), abs=2)


def test_the_stems_of_all_variants_are_run_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = HuggingFaceBackbone(tiny())
    bound = backbone.bind(parse("[hard say] {text} Is it? [answer]"), Rows.from_texts(["one", "two", "x"]), Choices(("a", "b")))
    candidates = [backbone.encode(words) for words in ("Sort it.", "Say what it is.", "")]
    alone = torch.cat([bound.score([0, 1, 2], {"say": [ids]}) for ids in candidates])
    sizes: list[int] = []
    whole = Engine.extend

    def counted(self: Engine, heads: Any, embeds: torch.Tensor, lengths: Any) -> Any:
        sizes.append(len(lengths))
        return whole(self, heads, embeds, lengths)

    monkeypatch.setattr(Engine, "extend", counted)
    together = bound.score([0, 1, 2], {"say": candidates})
    assert sizes == [3]  # without words they have the space before the texts in common
    assert torch.allclose(together, alone, atol=1e-5)


def test_what_rows_have_in_common_is_not_taken_from_other_words(backbone: HuggingFaceBackbone) -> None:
    """One text is the beginning of another: whether they go on alike depends on the words behind the field."""
    prompt, choices = parse("Say [hard a] {text}[hard b] is [answer]"), Choices(("a", "b"))
    bound = backbone.bind(prompt, Rows.from_texts(["a b", "a bc d"]), choices)
    a = [backbone.encode("it")]
    bound.score([0, 1], {"a": a, "b": [backbone.encode("c d")]})
    live = {"a": a, "b": [backbone.encode("q d")]}
    for row, text in enumerate(("a b", "a bc d")):
        alone = backbone.bind(prompt, Rows.from_texts([text]), choices).score([0], live)
        assert torch.allclose(bound.score([0, 1], live)[:, row], alone[:, 0], atol=1e-5)
