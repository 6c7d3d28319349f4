"""What a frozen model makes of each word of a sentence, for probes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from pegbox.backbone.layout import Ids, Speller
from pegbox.backbone.passes import Row, batches

POSITIONS = 1024
"""Positions in one pass: every layer's are held until it is over."""

Words = Sequence[tuple[int, int]]


def word_features(
    speller: Speller,
    context: int,
    read: Callable[[Sequence[Ids]], torch.Tensor],
    texts: Sequence[str],
    words: Sequence[Words],
) -> NDArray[np.float32]:
    """The mean of each word's hidden states in its text, the texts' words one after the other.

    Each word is tokenised with the gap before it, on its own, so that every token belongs to one word. A text that is longer
    than the model's context is read in parts.

    Settings:
        context: how many positions the model can read.
        read: hidden states of some depths at every position of runs of token ids, padded on the right.
        words: where each text's words begin and end.

    Shape: read gives [B, layers, T, H]; result [words of all texts, layers, H].
    """
    start, after = speller.start, speller.after
    if not after:
        start = start or (speller.eos,)
    parts: list[list[Ids]] = []
    for text, some in zip(texts, words, strict=True):
        ends = [0, *(end for _, end in some)]
        pieces = speller.plain([text[before:end] for before, end in pairwise(ends)])
        parts.extend(_fitting(pieces, context - len(start) - len(after)))
    runs = [(*start, *(token for piece in part for token in piece), *after) for part in parts]
    found: list[NDArray[np.float32]] = [np.zeros((0, 0, 0), np.float32)] * len(parts)
    for batch in batches([Row((), run, len(run), 0, at) for at, run in enumerate(runs)], POSITIONS):
        for at, own in zip(batch, read([runs[at] for at in batch]).transpose(1, 2), strict=True):
            sizes = [len(piece) for piece in parts[at]]
            found[at] = _means(own[len(start) : len(start) + sum(sizes)], sizes)
    return np.concatenate(found)


def _fitting(pieces: Sequence[Ids], room: int) -> list[list[Ids]]:
    """The words in parts of at most so many tokens; a word longer than that is cut."""
    found: list[list[Ids]] = [[]]
    left = room
    for whole in pieces:
        piece = whole[:room]
        if len(piece) > left:
            found.append([])
            left = room
        found[-1].append(piece)
        left -= len(piece)
    return [part for part in found if part]


def _means(states: torch.Tensor, sizes: Sequence[int]) -> NDArray[np.float32]:
    """The mean of each run of so many positions. Shape: [T, layers, H] to [runs, layers, H]."""
    runs = states.split(list(sizes))
    # a tokenizer may leave nothing of a word
    return torch.stack([run.mean(0) if len(run) else run.new_zeros(run.shape[1:]) for run in runs]).cpu().numpy()
