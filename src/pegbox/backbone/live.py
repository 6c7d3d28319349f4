"""What stands in the slots for one call: K variants of words and vectors, and the embeddings they give."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from pegbox.backbone.core import Core
from pegbox.backbone.input_made import made
from pegbox.backbone.layout import Ids
from pegbox.backbone.seam import Live, Words
from pegbox.backbone.storage import KeysValues
from pegbox.errors import PromptError
from pegbox.prompt import DeepSlot, HardSlot, InputSlot, Prompt, SoftSlot, VectorSlot

_STRIDE = 1 << 32  # longer than any slot


def codes(slot: int, length: int) -> Ids:
    """A negative number for each position of a slot of vectors, beside token ids."""
    return tuple(-(1 + slot * _STRIDE + position) for position in range(length))


def given_run(rows: torch.Tensor, engine: Core) -> KeysValues:
    """A deep slot's numbers [P, W] as the model keeps positions."""
    return engine.kept.run(rows.to(engine.device, engine.dtype))


@dataclass(frozen=True)
class Variants:
    """K variants of what is live, checked and in one form.

    Settings:
        count: K.
        words: for each slot of words K runs of ids.
        vectors: for each soft slot a tensor [K or 1, B or 1, P, H].
        deep: for the deep slot, where it is live, a tensor [K or 1, P, W].
        filled: vectors of the filled slots that are not live, [1, 1, P, H].
        numbers: the slots' numbers, by name.
    """

    count: int
    words: Mapping[str, tuple[Ids, ...]]
    vectors: Mapping[str, torch.Tensor]
    filled: Mapping[str, torch.Tensor]
    numbers: Mapping[str, int]
    engine: Core
    deep: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        return {*self.words, *self.vectors, *self.deep}

    @property
    def per_row(self) -> bool:
        """Whether some slot has its own vectors for each row."""
        return any(vectors.shape[1] > 1 for vectors in self.vectors.values())

    @property
    def needs_gradient(self) -> bool:
        return any(vectors.requires_grad for vectors in (*self.vectors.values(), *self.deep.values()))

    @cached_property
    def heads(self) -> tuple[tuple[KeysValues, ...], ...]:
        """For each variant the keys and values of the live deep slot; nothing where none is live."""
        for rows in self.deep.values():
            made = [(given_run(some, self.engine),) for some in rows]
            return tuple(made * self.count if len(made) == 1 else made)
        return ()

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
        rows = {b: at for at, b in enumerate(dict.fromkeys(row))}
        for name, vectors in {**self.filled, **self.vectors}.items():
            own = vectors[:, list(rows)] if vectors.shape[1] > 1 else vectors
            starts[self.numbers[name]] = (size, own.shape)
            table.append(own.to(self.engine.device, dtype).reshape(-1, own.shape[-1]))
            size += len(table[-1])
        index = []
        for run, k, b in zip(codes, variant, row, strict=True):
            places = [tokens[c] if c >= 0 else _place(c, k, rows[b], starts) for c in run]
            index.append(places + [0] * (width - len(places)))
        at = torch.tensor(index, device=self.engine.device)
        return torch.cat(table)[at]


def _place(c: int, k: int, b: int, starts: Mapping[int, tuple[int, torch.Size]]) -> int:
    slot, position = divmod(-c - 1, _STRIDE)
    start, (variants, rows, length, _) = starts[slot]
    return start + ((k if variants > 1 else 0) * rows + (b if rows > 1 else 0)) * length + position


def variants(
    live: Live, prompt: Prompt, numbers: Mapping[str, int], rows: int, engine: Core, read: torch.Tensor | None = None
) -> Variants:
    """Live values, checked.

    Settings:
        read: what is made of the rows for input slots, which are live wherever this is known. Shape: [B, H].

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
            vectors[name] = _checked(value, slot, name, rows, engine)
        elif isinstance(slot, HardSlot):
            words[name] = _runs(value, name, engine.embedding.shape[0])
        else:
            raise PromptError(f"token ids for {slot.kind} slot {name!r}", "vectors [K, P, H]", "embed the words first")
    counts = {len(runs) for runs in words.values()} | {v.shape[0] for v in vectors.values()}
    counts -= {1}
    if len(counts) > 1 or 0 in counts:
        raise PromptError(f"slots with {sorted(counts)} variants in one call", "one number K, or 1", "give each slot K values")
    count = counts.pop() if counts else 1
    words = {name: runs * count if len(runs) == 1 else runs for name, runs in words.items()}
    filled = _filled(prompt, vectors, engine)
    deep = {name: vectors.pop(name)[:, 0] for name in _named(prompt, DeepSlot) if name in vectors}
    for name, slot in _named(prompt, InputSlot).items():
        table = vectors.pop(name, filled.get(name))
        if table is not None and read is not None:
            vectors[name] = made(table[:, 0].to(read.device), read, slot.length)
    soft = {name: filled[name] for name in _named(prompt, SoftSlot) if name in filled}
    return Variants(count, words, vectors, soft, numbers, engine, deep)


def _named(prompt: Prompt, kind: type[VectorSlot]) -> dict[str, VectorSlot]:
    return {name: slot for name, slot in prompt.slots.items() if isinstance(slot, kind)}


def _filled(prompt: Prompt, live: Container[str], engine: Core) -> dict[str, torch.Tensor]:
    """What the filled slots hold that are not live, checked. Shape: [1, 1, ...] for each."""
    found = {}
    for name, slot in _named(prompt, VectorSlot).items():
        if slot.vectors is not None and name not in live:
            found[name] = _checked(torch.tensor(slot.vectors)[None, None], slot, name, 1, engine)
    return found


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


def _checked(value: torch.Tensor, slot: HardSlot | VectorSlot, name: str, rows: int, engine: Core) -> torch.Tensor:
    width = engine.kept.width if isinstance(slot, DeepSlot) else engine.embedding.shape[1]
    rows = 1 if isinstance(slot, DeepSlot | InputSlot) else rows
    full = value[:, None] if value.ndim == 3 else value
    fits = full.ndim == 4 and (not isinstance(slot, VectorSlot) or slot.holds(full.shape[2]))
    if not fits or full.shape[1] not in (1, rows) or full.shape[3] != width:
        length = slot.rows if isinstance(slot, VectorSlot) else "P"
        raise PromptError(
            f"vectors of shape {tuple(value.shape)} for slot {name!r}",
            f"[K, {length}, {width}] or [K or 1, {rows} or 1, {length}, {width}]",
            "check the slot's length and the backbone's width",
        )
    return full
