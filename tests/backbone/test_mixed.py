"""Rows of different prompts in one pass: each scores as it does alone, through the seam."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pegbox.backbone import mixed
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.mixed import score_together
from pegbox.backbone.seam import Choices
from pegbox.backbone.tiny import FAMILIES, tiny, tiny_family
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.prompt import Prompt, parse

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
