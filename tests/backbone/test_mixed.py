"""Rows of different prompts in one pass: each scores as it does alone, through the seam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pegbox.backbone import mixed
from pegbox.backbone.engine import Engine, Head
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.mixed import score_together
from pegbox.backbone.seam import Choices
from pegbox.backbone.tiny import FAMILIES, tiny, tiny_family
from pegbox.data.rows import Rows
from pegbox.data.sentences import read_sentences
from pegbox.data.words import WordRows, word_rows
from pegbox.errors import PromptError
from pegbox.prompt import Prompt, SoftSlot, parse

LONG = "so long a day it was " * 40
TEXTS = ["a fine day", "", "so dull [answer] {text}", LONG, "Grüße <|im_end|>"]
NOTATIONS = [
    "[soft a 5]Review: {text} Mood: [answer]",
    "Sort the review. {text} [soft b 3] Mood: [answer]",
    'Say [hard c="what it is"]: {text}\\n[answer]',
    "[soft d 2]{text}[answer]",
    "[system] Sort. [user] [soft e 4]{text} [assistant] [answer]",
]
WORDS = ("good", "good enough", "bad", "a b")


def prompts(width: int) -> list[Prompt]:
    rng = np.random.default_rng(0)
    made = []
    for notation in NOTATIONS:
        prompt = parse(notation)
        soft = {name: slot.length for name, slot in prompt.slots.items() if name != "c"}
        made.append(prompt.fill(**{name: rng.normal(0, 0.3, (n, width)).astype(np.float32) for name, n in soft.items()}))
    return made


@pytest.mark.parametrize("family", [*FAMILIES])
def test_a_row_scores_in_a_mixed_batch_as_it_does_alone(family: str) -> None:
    backbone = HuggingFaceBackbone(tiny_family(family))
    rows = Rows.from_texts(TEXTS)
    some = prompts(backbone.width)
    together = score_together([(backbone.standing(prompt, WORDS), rows) for prompt in some])
    for prompt, found in zip(some, together, strict=True):
        alone = HuggingFaceBackbone(tiny_family(family)).bind(prompt, rows, Choices(WORDS))
        for at in range(len(rows)):
            np.testing.assert_allclose(found[at], alone.score([at])[0, 0], atol=1e-4, rtol=0)


def test_rows_of_one_prompt_hold_its_beginning_once(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, rows = HuggingFaceBackbone(tiny()), Rows.from_texts(TEXTS)
    prompt, fan, fans = prompts(backbone.width)[0], Engine.fan, []

    def counted(engine: Engine, heads: Sequence[Head], *given: Any) -> torch.Tensor:
        fans.append(len(heads))
        return fan(engine, heads, *given)

    monkeypatch.setattr(Engine, "fan", counted)
    together = score_together([(backbone.standing(prompt, ("good", "bad")), rows)])[0]
    assert fans
    assert set(fans) == {1}
    alone = HuggingFaceBackbone(tiny()).bind(prompt, rows, Choices(("good", "bad")))
    for at in range(len(rows)):
        np.testing.assert_allclose(together[at], alone.score([at])[0, 0], atol=1e-4, rtol=0)


SENTENCES = ["Ann saw Ann in Rome", "no", "Grüße <|im_end|> {word}"]
ASKING = ["[soft a 5]Text: {text} Word: {word} [answer]", "{before}<{bare}>{after}: [answer]"]


def asked(backbone: HuggingFaceBackbone, notation: str, sentence: str) -> tuple[Prompt, WordRows]:
    prompt = parse(notation)
    rng = np.random.default_rng(1)
    shapes = {name: (slot.length, backbone.width) for name, slot in prompt.slots.items() if isinstance(slot, SoftSlot)}
    filled = prompt.fill(**{name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()})
    return filled, replace(word_rows(read_sentences([sentence]).rows), labels=None)


@pytest.mark.parametrize("family", [*FAMILIES])
@pytest.mark.parametrize("notation", ASKING)
def test_words_that_branch_off_from_their_sentence_score_as_alone(family: str, notation: str) -> None:
    """All sentences at once, beside a row of another prompt; where a family cannot fold, its words go as rows of their own."""
    backbone = HuggingFaceBackbone(tiny_family(family))
    other = backbone.standing(prompts(backbone.width)[0], WORDS).ask(Rows.from_texts(["a fine day"]))[0].passages
    families = []
    for sentence in SENTENCES:
        prompt, rows = asked(backbone, notation, sentence)
        families.append((prompt, rows, backbone.standing(prompt, WORDS).ask(rows)))
    stems = [
        (mixed.stem_of(every), every) for _, _, made in families if len(every := [p for one in made for p in one.passages]) > 1
    ]
    lengths = [0 if stem is None else len(stem.codes) for stem, _ in stems]
    backbone.advance([*(stem for stem, _ in stems if stem is not None), *other])
    for length, (stem, every) in zip(lengths, stems, strict=True):
        if stem is not None:
            mixed.branch_off(stem, length, every)
    backbone.advance([passage for _, _, made in families for one in made for passage in one.passages])
    for prompt, rows, made in families:
        alone = HuggingFaceBackbone(tiny_family(family)).bind(prompt, rows, Choices(WORDS)).score(range(len(rows)))[0]
        for at, one in enumerate(made):
            found = one.passages[0].standing.read(one.passages)
            np.testing.assert_allclose(found, alone[at], atol=1e-4, rtol=0)


def test_what_differs_in_its_slots_has_no_stem() -> None:
    backbone = HuggingFaceBackbone(tiny())
    first, other = (backbone.standing(prompt, ("good", "bad")) for prompt in prompts(64)[:2])
    rows = Rows.from_texts(["a fine day", "a fine dog"])
    passages = [one.passages[0] for one in first.ask(rows)]
    stem = mixed.stem_of(passages)
    assert stem is not None
    assert len(stem.codes) == len(" a fine d")  # a token is a byte; the prompt's own beginning is kept already
    assert mixed.stem_of([passages[0], other.ask(rows)[0].passages[0]]) is None
    bare = backbone.standing(prompts(64)[3], ("good", "bad"))
    assert mixed.stem_of([one.passages[0] for one in bare.ask(Rows.from_texts(["ab", "cd"]))]) is None
    vectors = np.random.default_rng(0).normal(0, 0.3, (2 + 3, 64)).astype(np.float32)  # one look, made from each row's text
    made = backbone.standing(parse("[input s 2]{text} Mood: [answer]").fill(s=vectors), ("good", "bad"))
    assert mixed.stem_of([one.passages[0] for one in made.ask(rows)]) is None


def test_long_texts_are_read_in_chunks_and_short_ones_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed, "CHUNK", 100)
    backbone = HuggingFaceBackbone(tiny())
    standing = backbone.standing(prompts(64)[0], WORDS)
    short, long = standing.ask(Rows.from_texts(["fine", LONG]))
    backbone.advance([*short.passages, *long.passages])
    assert all(passage.done for passage in short.passages)
    turns = 1
    while not all(passage.done for passage in long.passages):
        backbone.advance(long.passages)
        turns += 1
    assert turns == -(-len("Review: " + LONG + " Mood:") // 100)  # a token is a byte, and " Mood:" is not asked for alone
    alone = backbone.bind(prompts(64)[0], Rows.from_texts([LONG]), Choices(WORDS)).score([0])[0, 0]
    np.testing.assert_allclose(standing.read(long.passages), alone, atol=1e-4, rtol=0)


def test_a_prompts_beginning_is_computed_once_and_the_users_text_is_not_kept() -> None:
    backbone = HuggingFaceBackbone(tiny())
    standing = backbone.standing(prompts(64)[0], ("good", "bad"))
    score_together([(standing, Rows.from_texts(["a fine day"]))])
    held, before = backbone.store.held, backbone.spent.forward
    assert held == 2 * 2 * 2 * 12 * 16 * 4  # keys and values, layers, shared heads; 5 vectors and 7 bytes, the space is lent
    score_together([(standing, Rows.from_texts(["a dull day"]))])
    assert backbone.store.held == held
    assert backbone.spent.forward - before == len(" a dull day Mood: ")  # up to where " good" and " bad" part


def test_without_room_the_beginning_is_computed_anew() -> None:
    backbone = HuggingFaceBackbone(tiny(), cache_bytes=0)
    standing, rows = backbone.standing(prompts(64)[0], ("good", "bad")), Rows.from_texts(["a fine day"])
    first, again = (score_together([(standing, rows)])[0] for _ in range(2))
    assert backbone.store.held == 0
    torch.testing.assert_close(first, again, rtol=0, atol=0)


def test_texts_are_cut_to_the_context_and_it_is_said() -> None:
    backbone = HuggingFaceBackbone(tiny())
    standing = backbone.standing(prompts(64)[1], ("good", "bad"))
    rows = Rows.from_texts(["x" * 5000, "short"])
    assert [asked.cut for asked in standing.ask(rows)] == [True, False]
    found = score_together([(standing, rows)])[0]
    bound = backbone.bind(prompts(64)[1], rows, Choices(("good", "bad")))
    np.testing.assert_allclose(found, bound.score([0, 1])[0], atol=1e-4, rtol=0)


def test_what_is_written_token_by_token_is_what_the_model_writes_alone() -> None:
    backbone = HuggingFaceBackbone(tiny())
    rows = Rows.from_texts(["a fine day", "Grüße"])
    some = prompts(64)[:2]
    asked = [backbone.standing(prompt).write(rows.take([at]), 12)[0] for at, prompt in enumerate(some)]
    passages = [one.passages[0] for one in asked]
    written: list[list[int]] = [[], []]
    for _ in range(12):
        backbone.advance(passages)
        for passage, ids in zip(passages, written, strict=True):
            ids.append(int(passage.standing.next_logits(passage).argmax()))
            passage.go_on(ids[-1])
    for at, prompt in enumerate(some):
        ids = written[at]
        end = next((n for n, token in enumerate(ids) if token in passages[at].standing.ends), len(ids))
        expected = backbone.generate(prompt, rows.take([at]), max_tokens=12)[0]
        assert passages[at].standing.text(ids[:end]) == expected


def test_an_open_slot_and_too_long_a_prompt_are_refused() -> None:
    backbone = HuggingFaceBackbone(tiny())
    with pytest.raises(PromptError, match="slot 'a' is open"):
        backbone.standing(parse("[soft a 5]{text}[answer]"))
    with pytest.raises(PromptError, match="2100 positions"):
        backbone.standing(parse("x" * 2100 + "{text}[answer]"))
