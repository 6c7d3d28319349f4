"""Rows that are read on token by token, their keys and values side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import DynamicCache

from pegbox.backbone.engine import Engine, Head, side_by_side


class Running:
    """Rows that go on from what they look back on; each step appends one token to every row.

    Settings:
        heads: what each row looks back on; at least one position.
    """

    def __init__(self, engine: Engine, heads: Sequence[Head]) -> None:
        self._engine = engine
        past = [sum(run.length for run in head) for head in heads]
        self._places = torch.tensor(past, device=engine.device)
        before = max(past)
        self._seen = torch.arange(before, device=engine.device)[None] >= before - self._places[:, None]
        self._cache = DynamicCache(side_by_side(heads, before))

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Reads one more token of every row. Shape: [N, H], the last hidden states."""
        ids = torch.tensor(tokens, device=self._engine.device)[:, None]
        embeds = self._engine.model.get_input_embeddings()(ids)
        self._seen = torch.cat([self._seen, self._seen.new_ones(len(tokens), 1)], dim=1)
        hidden = self._engine.go_on(self._cache, embeds, self._seen, self._places[:, None])
        self._places = self._places + 1
        return hidden[:, -1]

    def keep(self, index: Sequence[int]) -> None:
        """Goes on with the rows at these places, in this order; a row may come more than once."""
        if list(index) == list(range(len(self._places))):
            return
        at = torch.tensor(list(index), device=self._engine.device)
        self._cache.batch_select_indices(at)
        self._places, self._seen = self._places[at], self._seen[at]
