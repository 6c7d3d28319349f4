"""What stands in the slots for one call: K variants of words and vectors, and the embeddings they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from pegbox.backbone.core import Core
from pegbox.backbone.layout import Ids
from pegbox.backbone.seam import Live, Words
from pegbox.errors import PromptError
from pegbox.prompt import HardSlot, Prompt, SoftSlot

_STRIDE = 1 << 32  # longer than any slot


def codes(slot: int, length: int) -> Ids:
    """A negative number for each position of a slot of vectors, beside token ids."""
    return tuple(-(1 + slot * _STRIDE + position) for position in range(length))


@dataclass(frozen=True)
class Variants:
    """K variants of what is live, checked and in one form.

    Settings:
        count: K.
        words: for each slot of words K runs of ids.
        vectors: for each slot of vectors a tensor [K or 1, B or 1, P, H].
        filled: vectors of the filled slots that are not live, [1, 1, P, H].
        numbers: the slots' numbers, by name.
    """

    count: int
    words: Mapping[str, tuple[Ids, ...]]
    vectors: Mapping[str, torch.Tensor]
    filled: Mapping[str, torch.Tensor]
    numbers: Mapping[str, int]
    engine: Core

    @property
    def names(self) -> set[str]:
        return {*self.words, *self.vectors}

    @property
    def per_row(self) -> bool:
        """Whether some slot has its own vectors for each row."""
        return any(vectors.shape[1] > 1 for vectors in self.vectors.values())

    @property
    def needs_gradient(self) -> bool:
        return any(vectors.requires_grad for vectors in self.vectors.values())

    def embeds(self, codes: Sequence[Ids], variant: Sequence[int], row: Sequence[int]) -> torch.Tensor:
        """Embeddings of runs of codes, padded on the right: one gather from a table, so that one gradient flows back.

        Shape: codes N runs, variant N, row N; result [N, T, H].
        """
        dtype = torch.float32 if self.needs_gradient else self.engine.dtype
        tokens: dict[int, int] = {}
        width = max(len(run) for run in codes)
        for run in codes:
            for c in run:
                if c >= 0:
                    tokens.setdefault(c, len(tokens))
        ids = torch.tensor(list(tokens) or [0], device=self.engine.device)
        table, starts = [self.engine.model.get_input_embeddings()(ids).to(dtype)], {}
        size = len(ids)
        for name, vectors in {**self.filled, **self.vectors}.items():
            starts[self.numbers[name]] = (size, vectors.shape)
            table.append(vectors.to(self.engine.device, dtype).reshape(-1, vectors.shape[-1]))
            size += len(table[-1])
        index = []
        for run, k, b in zip(codes, variant, row, strict=True):
            places = [tokens[c] if c >= 0 else _place(c, k, b, starts) for c in run]
            index.append(places + [0] * (width - len(places)))
        at = torch.tensor(index, device=self.engine.device)
        return torch.cat(table)[at]


def _place(c: int, k: int, b: int, starts: Mapping[int, tuple[int, torch.Size]]) -> int:
    slot, position = divmod(-c - 1, _STRIDE)
    start, (variants, rows, length, _) = starts[slot]
    return start + ((k if variants > 1 else 0) * rows + (b if rows > 1 else 0)) * length + position


def variants(live: Live, prompt: Prompt, numbers: Mapping[str, int], rows: int, engine: Core) -> Variants:
    """Live values, checked.

    Raises: PromptError for an unknown slot or token, shapes that do not fit, or different numbers of variants.
    """
    words: dict[str, tuple[Ids, ...]] = {}
    vectors: dict[str, torch.Tensor] = {}
    for name, value in live.items():
        slot = prompt.slots.get(name)
        if slot is None:
            raise PromptError(
                f"no slot {name!r} in this prompt", f"one of: {', '.join(prompt.slots) or 'none'}", "check its name"
            )
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            vectors[name] = _checked(value, slot, name, rows, engine.embedding.shape[1])
        elif isinstance(slot, HardSlot):
            words[name] = _runs(value, name, engine.embedding.shape[0])
        else:
            raise PromptError(f"token ids for soft slot {name!r}", "vectors [K, P, H]", "embed the words first")
    counts = {len(runs) for runs in words.values()} | {v.shape[0] for v in vectors.values()}
    counts -= {1}
    if len(counts) > 1 or 0 in counts:
        raise PromptError(f"slots with {sorted(counts)} variants in one call", "one number K, or 1", "give each slot K values")
    count = counts.pop() if counts else 1
    words = {name: runs * count if len(runs) == 1 else runs for name, runs in words.items()}
    filled = {
        name: torch.tensor(slot.vectors)[None, None]
        for name, slot in prompt.slots.items()
        if isinstance(slot, SoftSlot) and slot.vectors is not None and name not in vectors
    }
    for name, value in filled.items():
        _checked(value, prompt.slots[name], name, rows, engine.embedding.shape[1])
    return Variants(count, words, vectors, filled, numbers, engine)


def _runs(value: torch.Tensor | Words, name: str, vocabulary: int) -> tuple[Ids, ...]:
    if isinstance(value, torch.Tensor) and value.ndim != 2:
        raise PromptError(
            f"ids of shape {tuple(value.shape)} for slot {name!r}", "[K, P]", "give each variant its own run of ids"
        )
    runs = tuple(tuple(int(token) for token in run) for run in value)
    if wrong := next((token for run in runs for token in run if not 0 <= token < vocabulary), None):
        raise PromptError(
            f"the token id {wrong} for slot {name!r}", f"0 to {vocabulary - 1}", "take ids from the backbone's own encode"
        )
    return runs


def _checked(value: torch.Tensor, slot: HardSlot | SoftSlot, name: str, rows: int, width: int) -> torch.Tensor:
    full = value[:, None] if value.ndim == 3 else value
    length = slot.length if isinstance(slot, SoftSlot) else full.shape[2] if full.ndim == 4 else -1
    if full.ndim != 4 or full.shape[1] not in (1, rows) or tuple(full.shape[2:]) != (length, width):
        raise PromptError(
            f"vectors of shape {tuple(value.shape)} for slot {name!r}",
            f"[K, {length if length > 0 else 'P'}, {width}] or [K or 1, {rows} or 1, {length if length > 0 else 'P'}, {width}]",
            "check the slot's length and the backbone's width",
        )
    return full
