"""Words of sentences in the running batch, read by chunks: each looks back on what it was read after, and on nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serve.kinds import tagger

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.sentences import read_sentences
from pegbox.data.words import word_rows
from pegbox.prompt.names import Name
from pegbox.serve.served import Served, open_served
from pegbox.serve.settings import Limits
from pegbox.serve.work import WordScoring

PROMPTS = {
    "the word, then the sentence": "{word} is in {text} [soft s 2] [answer]",
    "a deep slot after the sentence": r"Text: {text}[deep d 2]\nWord and type: {word} [answer]",
    "a deep slot after the word": "{word}[deep d 2] is in {text} [answer]",
}


@pytest.fixture(scope="module", params=PROMPTS.values(), ids=PROMPTS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Served:
    backbone: Any = HuggingFaceBackbone(tiny())
    tuned = tagger(request.param, backbone)
    return open_served(Name("x", 1), tuned.save(Path(tmp_path_factory.mktemp("words")) / "x"), backbone)


@pytest.mark.parametrize("size", [40, 60, 70, 300])
def test_words_that_begin_alike_before_a_long_sentence(served: Served, size: int) -> None:
    text = " ".join(f"a{letter * size}" for letter in "abcd")
    words = word_rows(read_sentences([text], None, None, False).rows)
    limits = Limits()
    work = WordScoring(served, words, 60.0, limits)
    while work.waiting:
        seat = work.seat()
        while True:
            read = served.tuned.backbone.advance([one for one in seat.passages if not one.done])
            assert read <= limits.turn_tokens
            if all(one.done for one in seat.passages) and seat.step():
                break
    np.testing.assert_allclose(work.future.result()[0], served.by_itself(words), atol=1e-4)
