"""Texts that a decoder writes over readings: its keys and values, and those of the readings, are held from token to token."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
import torch
from transformers import DynamicCache, EncoderDecoderCache

from pegbox.backbone.encoder_decoder_engine import EncoderDecoderEngine
from pegbox.backbone.engine import Head
from pegbox.backbone.huggingface import until
from pegbox.backbone.layout import Ids, Speller
from pegbox.errors import SettingsError


@dataclass(frozen=True)
class Decoding:
    """How texts are written; see `pegbox.backbone.seam.Backbone.generate`. Each row has its own stream of chance.

    Raises: SettingsError for what makes no sense.
    """

    max_tokens: int
    stop: tuple[str, ...]
    temperature: float
    seed: int

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.temperature < 0 or "" in self.stop:
            raise SettingsError(
                f"max_tokens={self.max_tokens}, temperature={self.temperature}, stop={list(self.stop)}",
                "at least one token, a temperature of 0 or more, and stop strings with something in them",
                "correct the one that is not so",
            )

    def stream(self, row: int) -> torch.Generator:
        """A row's stream of chance."""
        state = np.random.SeedSequence([self.seed, row]).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(state) >> 1)

    def pick(self, logits: torch.Tensor, stream: torch.Generator) -> int:
        """The likeliest token, or one drawn. Shape: logits [V]."""
        if self.temperature == 0:
            return int(logits.argmax())
        return int(torch.multinomial((logits.double().cpu() / self.temperature).softmax(-1), 1, generator=stream))


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
    streams = [decoding.stream(row) for row in rows]
    texts, living = [""] * len(rows), list(range(len(rows)))
    ids: list[list[int]] = [[] for _ in rows]
    while living:
        going = []
        for at, (text, logits) in enumerate(zip(living, engine.logits(running.states), strict=True)):
            token = decoding.pick(logits, streams[text])
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
