"""Where soft slots start: label words, the prompt's own words, common tokens; never at random."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.data.rows import Rows
from pegbox.prompt import parse
from pegbox.task.classification import Classification
from pegbox.tune.start import start_vectors, start_words

TASK = Classification(("bad", "ok"))
TRAIN = Rows.from_texts(["zzz", "zz z"], ["bad", "ok"])


def words(backbone: HuggingFaceBackbone, written: str, count: int, seed: int = 0) -> str:
    ids = start_words(parse(written), backbone, TASK, TRAIN, count, np.random.default_rng(seed))
    return backbone.decode(ids)


def test_label_words_come_first_in_an_order_by_chance(tiny_backbone: HuggingFaceBackbone) -> None:
    found = {words(tiny_backbone, "Sort. {text} [answer]", 7, seed) for seed in range(8)}
    assert found == {" bad ok", " ok bad"}


def test_then_the_prompts_own_words_then_the_commonest_tokens(tiny_backbone: HuggingFaceBackbone) -> None:
    assert words(tiny_backbone, "Hey {text} so [answer]", 14)[7:] == "Heysozz"[:5] + "z "
    assert words(tiny_backbone, "Hey {text} so [answer]", 14)[7:12] == "Heyso"


def test_what_is_too_short_begins_again(tiny_backbone: HuggingFaceBackbone) -> None:
    found = words(tiny_backbone, "{text}[answer]", 20)
    assert len(found) == 20
    assert set(found) <= set(" badokz")


def test_all_variants_start_alike_and_filled_slots_at_their_own_vectors(tiny_backbone: HuggingFaceBackbone) -> None:
    own = np.arange(2 * 64, dtype=np.float32).reshape(2, 64)
    prompt = parse("[soft mine 2] {text} [soft new 7] [answer]").fill(mine=own)
    found = start_vectors(prompt, tiny_backbone, TASK, TRAIN, 3, np.random.default_rng(1))
    assert {name: tuple(v.shape) for name, v in found.items()} == {"mine": (3, 2, 64), "new": (3, 7, 64)}
    assert torch.equal(found["mine"], torch.tensor(own).expand(3, -1, -1))
    label_words = tiny_backbone.embed(start_words(prompt, tiny_backbone, TASK, TRAIN, 7, np.random.default_rng(1)))
    assert torch.equal(found["new"][2], label_words)


@pytest.mark.parametrize("text", ["", " "])
def test_prompts_of_hardly_any_words_have_a_start_too(tiny_backbone: HuggingFaceBackbone, text: str) -> None:
    assert len(words(tiny_backbone, text + "{text}[answer]", 3)) == 3
