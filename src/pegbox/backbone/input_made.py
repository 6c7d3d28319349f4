"""What an input slot gives each row: the vectors that all rows share, and what a small network adds after a look at the row.

The look is a cheap one: the mean of the embeddings of the row's own tokens. So it costs no pass through the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812  # the field's name for it

from pegbox.backbone.core import Core
from pegbox.backbone.layout import Ids


@torch.no_grad()
def readings(texts: Sequence[Ids], engine: Core) -> torch.Tensor:
    """Each row's mean embedding, less that of the vocabulary, as a vector of ones' size; nothing for a row without a token.

    Shape: [B, H], float32.
    """
    tokens = torch.tensor([token for ids in texts for token in ids] or [0], device=engine.device)
    lengths = torch.tensor([len(ids) for ids in texts], device=engine.device)
    row = torch.arange(len(texts), device=engine.device).repeat_interleave(lengths)
    apart = engine.model.get_input_embeddings()(tokens).float() - engine.mean_embedding
    found = apart.new_zeros(len(texts), apart.shape[1]).index_add_(0, row, apart[: len(row)])
    sized: torch.Tensor = F.normalize(found, dim=1) * apart.shape[1] ** 0.5
    return sized


def made(table: torch.Tensor, read: torch.Tensor, length: int) -> torch.Tensor:
    """The vectors of each row, differentiable in what the slot holds.

    Settings:
        table: what the slot holds; see `pegbox.prompt.InputSlot`.
        read: what `readings` gives.
        length: P.

    Shape: table [K, N, H]; read [B, H]; result [K, B, P, H].
    """
    units = (table.shape[1] - length) // (1 + length)
    shared, looks, adds = table.split([length, units, units * length], dim=1)
    said = torch.tanh(torch.einsum("bh,krh->kbr", read, looks))
    added = said @ adds.reshape(len(table), units, length * table.shape[2])  # [K, B, P * H]
    found: torch.Tensor = shared[:, None] + added.view(*said.shape[:2], length, -1)
    return found
