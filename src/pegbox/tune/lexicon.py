"""A lexicon: the words to which the model itself leans, where the answer stands, for one label more than for the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone

Columns = tuple[tuple[int, ...], ...]
"""For each label the columns of a reading that stand for it."""

_NOISE = 1e-3  # added to variances, so that a token that hardly moves is not called telling


@dataclass(frozen=True)
class Lexicon:
    """Words that may stand for labels.

    Settings:
        words: as they are written in a prompt.
        tokens: the first token of each; no two are equal.
        own: the columns of the labels' own words; empty where their first tokens do not decide between them.
    """

    words: tuple[str, ...]
    tokens: tuple[int, ...]
    own: Columns

    def written(self, columns: Columns, labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The words in columns, as a prompt's verbalizer."""
        return {label: tuple(self.words[at] for at in some) for label, some in zip(labels, columns, strict=True)}


def single_words(backbone: Backbone, spaced: bool, shortest: int) -> dict[int, str]:
    """The vocabulary's ordinary words: token to word. They hold only letters, and are encoded as they were decoded.

    Settings:
        spaced: answers follow a space, which then belongs to their token.
        shortest: bytes that a word has at least; parts of words are often short.
    """
    ordinary = backbone.vocabulary()[1]
    kept = backbone.decode(backbone.encode(" a")).startswith(" ")  # to BERT's and T5's tokenizers a space is no part of a word
    space = " " if spaced and kept else ""
    found: dict[int, str] = {}
    for token in np.flatnonzero(ordinary):
        text = backbone.decode([int(token)])
        word = text.removeprefix(space)
        if text == space + word and word.isalpha() and len(word.encode()) >= shortest:
            found[int(token)] = word
    return found


def telling(logs: NDArray[np.floating], gold: NDArray[np.int64], labels: int) -> NDArray[np.float64]:
    """For each label and token a t statistic: the lift of its log-probability in the label's rows over the other labels' mean.

    A label that no row has gets zeros. Shape: logs [N, V]; gold [N]; result [C, V].
    """
    values = logs.astype(np.float64)
    counts = np.bincount(gold, minlength=labels)
    present = np.flatnonzero(counts)
    means = np.stack([values[gold == label].mean(axis=0) for label in present])
    spread = sum(((values[gold == label] - means[at]) ** 2).sum(axis=0) for at, label in enumerate(present))
    variance = spread / max(1, len(values) - len(present)) + _NOISE
    found = np.zeros((labels, values.shape[1]))
    for at, label in enumerate(present):
        if len(present) > 1:
            others = (means.sum(axis=0) - means[at]) / (len(present) - 1)
            share = 1 / counts[label] + 1 / max(1, len(values) - counts[label])
            found[label] = (means[at] - others) / np.sqrt(variance * share)
    return found


def build_lexicon(
    logs: NDArray[np.floating],
    gold: NDArray[np.int64],
    own: Sequence[Sequence[str]],
    backbone: Backbone,
    spaced: bool,
    size: int,
    shortest: int,
) -> Lexicon:
    """The words most telling of each label, and the labels' own.

    Settings:
        logs: log-probabilities of the whole vocabulary where the answer begins.
        own: each label's own words.
        spaced, shortest: see `single_words`.
        size: words in all, beside the labels' own.

    Shape: logs [N, V]; gold [N].
    """
    space = " " if spaced else ""
    spelled = [[backbone.encode(space + word) for word in some] for some in own]
    firsts = [[ids[0] for ids in some] for some in spelled]
    flat = [token for some in firsts for token in some]
    words: dict[int, str] = {}
    # a masked model reads a word of two tokens at two masks: its first token at one says nothing of it
    decided = backbone.kind != "masked" or all(len(ids) == 1 for some in spelled for ids in some)
    if decided and len(set(flat)) == len(flat):
        words = dict(zip(flat, (word for some in own for word in some), strict=True))
    allowed = single_words(backbone, spaced, shortest)
    candidates = np.array(sorted(set(allowed) - set(flat)), dtype=np.int64)
    columns = _columns(firsts) if words else ()
    for row in telling(logs[:, candidates], gold, len(own)):
        best = [int(token) for token in candidates[np.argsort(-row, kind="stable")] if int(token) not in words]
        words.update({token: allowed[token] for token in best[: max(4, size // len(own))]})
    return Lexicon(tuple(words.values()), tuple(words), columns)


def _columns(firsts: Sequence[Sequence[int]]) -> Columns:
    """Numbers from 0 on in the shape of `firsts`."""
    numbers = iter(range(sum(map(len, firsts))))
    return tuple(tuple(next(numbers) for _ in some) for some in firsts)


def distinct(scores: NDArray[np.float64]) -> Columns:
    """For each label one column, the most telling one that is still free. Shape: scores [C, M]."""
    taken: list[int] = []
    for row in scores:
        taken.append(next(int(at) for at in np.argsort(-row, kind="stable") if int(at) not in taken))
    return tuple((at,) for at in taken)
