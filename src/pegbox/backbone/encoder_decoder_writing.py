"""Texts that a decoder writes over readings: its keys and values, and those of the readings, are held from token to token."""

from __future__ import annotations

from collections.abc import Sequence, Set

import torch
from transformers import DynamicCache, EncoderDecoderCache

from pegbox.backbone.decoding import Decoding, chance, pick, until
from pegbox.backbone.encoder_decoder_engine import EncoderDecoderEngine
from pegbox.backbone.engine import Head
from pegbox.backbone.layout import Ids, Speller


class Running:
    """Texts under way.

    Settings:
        readings: what each is written over.
        begin: the tokens with which the decoder begins.
    """

    def __init__(self, engine: EncoderDecoderEngine, readings: Sequence[Head], begin: Ids) -> None:
        self._engine, self._given = engine, engine.together(readings)
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        self.states = self._run([list(begin)] * len(readings))

    def keep(self, going: Sequence[int]) -> None:
        """Drops all texts but these."""
        at = torch.tensor(list(going), device=self._engine.device)
        self._cache.batch_select_indices(at)
        self._given = self._engine.selected(self._given, at)

    def step(self, tokens: Sequence[int]) -> None:
        """Adds a token to each text."""
        self.states = self._run([[token] for token in tokens])

    def _run(self, ids: list[list[int]]) -> torch.Tensor:
        """What the output matrix is given after these tokens. Shape: [N, H]."""
        return self._engine.go_on(self._given, torch.tensor(ids, device=self._engine.device), self._cache)[:, -1]


def write(
    running: Running, engine: EncoderDecoderEngine, speller: Speller, decoding: Decoding, ends: Set[int], rows: Sequence[int]
) -> list[str]:
    """One text for each row under way.

    Settings:
        ends: tokens that end a text.
        rows: their numbers, for their streams of chance.
    """
    streams = [chance(decoding.seed, row) for row in rows]
    texts, living = [""] * len(rows), list(range(len(rows)))
    ids: list[list[int]] = [[] for _ in rows]
    while living:
        going = []
        for at, (text, logits) in enumerate(zip(living, engine.logits(running.states), strict=True)):
            token = pick(logits, decoding.temperature, decoding.top_p, streams[text])
            if token in ends:
                continue
            ids[text].append(token)
            whole = speller.words(ids[text])
            texts[text] = until(whole, decoding.stop)
            if texts[text] == whole and len(ids[text]) < decoding.max_tokens:
                going.append(at)
        living = [living[at] for at in going]
        if living:
            running.keep(going)
            running.step([ids[text][-1] for text in living])
    return texts
