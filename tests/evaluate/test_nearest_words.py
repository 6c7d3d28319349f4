"""The words near a soft slot's vectors."""

from __future__ import annotations

import numpy as np
import pytest

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.evaluate.nearest_words import NOTE, nearest_words
from pegbox.prompt import parse


def test_a_words_own_embedding_is_nearest_to_it_at_any_length(tiny_backbone: HuggingFaceBackbone) -> None:
    vectors = tiny_backbone.embed(tiny_backbone.encode("Go!")).numpy()
    prompt = parse("[soft s 3] {text} [answer]").fill(s=vectors * np.array([[1.0], [2.5], [0.5]], dtype=np.float32))
    found = nearest_words(prompt, tiny_backbone)
    assert [word for word, _, _ in found["s"]] == ["G", "o", "!"]
    assert [cosine for _, cosine, _ in found["s"]] == pytest.approx([1, 1, 1], abs=1e-5)
    assert [ratio for _, _, ratio in found["s"]] == pytest.approx([1, 2.5, 0.5], abs=1e-5)


def test_special_tokens_are_no_words(tiny_backbone: HuggingFaceBackbone) -> None:
    special = tiny_backbone.embed([256, 257]).numpy()  # end of text, start of a turn
    found = nearest_words(parse("[soft s 2] {text} [answer]").fill(s=special), tiny_backbone)
    assert all(len(word.encode()) == 1 and cosine < 0.99 for word, cosine, _ in found["s"])


def test_a_vector_of_nothing_has_no_length(tiny_backbone: HuggingFaceBackbone) -> None:
    found = nearest_words(parse("[soft s 1] {text} [answer]").fill(s=np.zeros((1, 64), np.float32)), tiny_backbone)
    assert found["s"][0][1:] == (0.0, 0.0)


def test_words_and_open_slots_have_none(tiny_backbone: HuggingFaceBackbone) -> None:
    assert nearest_words(parse("Sort. {text} [soft s 2] [answer]"), tiny_backbone) == {}
    assert "say little" in NOTE
