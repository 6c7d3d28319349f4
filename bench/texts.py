"""Real texts: tweets of about 25 tokens, longer texts that join them, and candidate instructions of 12 tokens."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.data.rows import Rows
from pegbox.data.samples import load_sample

LOW, HIGH, LONG = 20, 30, 256
CANDIDATE = 12
"""Tokens of a candidate."""
OPENINGS = ("Decide whether", "Tell me if", "Judge with care whether", "Read the tweet and say whether")
ENDINGS = (
    "the sentiment of the tweet is negative or positive, whatever it is about.",
    "whoever wrote this was happy or unhappy about something when writing it.",
    "most readers would call the mood of these words good or bad, all in all.",
    "this text praises or complains, and answer with one of the two words only.",
)


def short_rows(backbone: HuggingFaceBackbone, count: int) -> Rows:
    """Tweets of 20 to 30 tokens, in an order by chance that is always the same."""
    return _drawn().take(_of_length(backbone, count))


def _drawn() -> Rows:
    rows = load_sample("tweets")
    return rows.take([int(at) for at in np.random.default_rng(5).permutation(len(rows))])


def _of_length(backbone: HuggingFaceBackbone, count: int) -> list[int]:
    lengths = (len(backbone.encode(text)) for text in _drawn().column())
    return [at for at, length in enumerate(lengths) if LOW <= length <= HIGH][:count]


def long_rows(backbone: HuggingFaceBackbone, count: int) -> Rows:
    """Texts of 256 tokens: tweets one after the other; the label is the first one's."""
    rows = _drawn()
    words, labels = iter(zip(rows.column(), rows.answers(), strict=True)), []
    texts = []
    for _ in range(count):
        ids, label = _joined(backbone, words)
        texts.append(backbone.decode(ids))
        labels.append(label)
    return Rows.from_texts(texts, labels, rows.source)


def _joined(backbone: HuggingFaceBackbone, words: Iterator[tuple[str, str]]) -> tuple[tuple[int, ...], str]:
    text, label = next(words)
    while len(ids := backbone.encode(text)) < LONG:
        text = f"{text} {next(words)[0]}"
    return ids[:LONG], label


def candidates(backbone: HuggingFaceBackbone, count: int) -> list[tuple[int, ...]]:
    """Token ids of so many instructions, at most 16, each cut to the same length."""
    found = [backbone.encode(f"{opening} {ending}")[:CANDIDATE] for ending in ENDINGS for opening in OPENINGS]
    assert all(len(ids) == CANDIDATE for ids in found)
    return found[:count]
