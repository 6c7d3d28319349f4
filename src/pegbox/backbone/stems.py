"""Many ways on from one text: the text is read once, and all the ways look back on what is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from pegbox.backbone.layout import Ids
from pegbox.backbone.passes import Row, batches
from pegbox.backbone.storage import Block

SAVED = 32
"""Positions of a row that reading it once must save: fewer are not worth a pass of their own."""


def worth_it(rows: Sequence[Row], ways: int) -> bool:
    """Whether rows that are to be followed by so many ways on should be read before these, once."""
    return (ways - 1) * min(len(row.codes) for row in rows) >= SAVED


def stemmed(
    rows: Sequence[Row],
    ways: Sequence[Ids],
    keep: Callable[[Sequence[Row]], tuple[Sequence[torch.Tensor], Block]],
    run: Callable[[Sequence[Row]], Sequence[torch.Tensor]],
) -> list[torch.Tensor]:
    """Last hidden states from where the answer begins, for each row one for each way.

    Settings:
        rows: up to the answer.
        ways: what follows each row.
        keep: last hidden states of rows, from their `read`-th position on, and their keys and values.
        run: last hidden states alone.

    Shape: for each row and way [1 + its length, H].
    """
    found: list[torch.Tensor] = [torch.empty(0)] * (len(rows) * len(ways))
    together = [list(range(len(rows)))] if torch.is_grad_enabled() else batches(rows)
    for batch in together:  # what is kept of a batch is let go before the next one
        states, kept = keep([rows[at] for at in batch])
        on = [
            Row((*rows[at].head, own), way, 1, rows[at].variant, rows[at].at)
            for at, own in zip(batch, kept, strict=True)
            for way in ways
            if way
        ]
        read = iter(run(on))
        for at, state in zip(batch, states, strict=True):
            for number, way in enumerate(ways):
                found[at * len(ways) + number] = torch.cat([state[-1:], next(read)]) if way else state[-1:]
    return found
