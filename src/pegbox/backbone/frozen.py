"""What is frozen in a call: everything before the first slot that is live, computed once where the store has room.

What all rows have in common there is run once for all (`shared`); the rest of it once for each row (`own`), in fixed blocks of
rows of near length, so that a kept number never depends on which rows were asked for before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from pegbox.backbone.deep import joined
from pegbox.backbone.encoder_decoder_engine import EncoderDecoderEngine
from pegbox.backbone.engine import Engine, Head
from pegbox.backbone.layout import Ids
from pegbox.backbone.live import Variants, given_run, variants
from pegbox.backbone.prefix_store import PrefixStore
from pegbox.backbone.storage import Block
from pegbox.prompt import DeepSlot, Prompt

BLOCK = 32
"""Rows whose frozen parts are computed together."""
_MANY = 0.75
"""The share of the rows' frozen parts that are different, up to which the same ones are computed once."""


@dataclass(frozen=True)
class Front:
    """What is frozen when the pieces from some piece on may change.

    Settings:
        shared: codes common to all rows.
        own: for each row the codes between `shared` and the first live piece.
        blocks: the rows by length of `own`, in fixed groups.
        keys: the blocks' keys in the store.
        granted: keys of the blocks that the store has room for.
        same: for each row the first one with the same `own`, which is in a block for all of them.
    """

    shared: Ids
    own: tuple[Ids, ...]
    blocks: tuple[tuple[int, ...], ...] = ()
    keys: tuple[Hashable, ...] = ()
    block_of: Mapping[int, int] = field(default_factory=dict)
    granted: frozenset[Hashable] = frozenset()
    same: tuple[int, ...] = ()


class Frozen:
    """Keys and values of one prompt's frozen parts, or an encoder's readings, kept in the backbone's store as there is room."""

    def __init__(
        self, prompt: Prompt, numbers: Mapping[str, int], engine: Engine | EncoderDecoderEngine, store: PrefixStore
    ) -> None:
        self._prompt, self._numbers, self._engine, self._store = prompt, numbers, engine, store

    @cached_property
    def _filled(self) -> Variants:
        return variants({}, self._prompt, self._numbers, 1, self._engine)

    def front(self, shared: Ids, own: tuple[Ids, ...], keep: bool) -> Front:
        """These codes, parted into blocks, with room for them reserved where they are to be kept."""
        same = _firsts(own)
        order = sorted((at for at in set(same) if own[at]), key=lambda at: (len(own[at]), at))
        if not order:
            return Front(shared, own, same=tuple(same))
        blocks = tuple(tuple(order[at : at + BLOCK]) for at in range(0, len(order), BLOCK))
        keys = tuple(("own", self._content(shared, *(own[row] for row in block))) for block in blocks)
        block_of = {row: number for number, block in enumerate(blocks) for row in block}
        block_of |= {row: block_of[first] for row, first in enumerate(same) if first in block_of}
        if not keep:
            return Front(shared, own, blocks, keys, block_of, same=tuple(same))
        probe, *_ = self.shared(shared) or self._run([own[order[0]][:1]])
        size = self._store.bytes_each(probe)
        common = len(shared) + sum(run.length for run in self.given)
        wanted: list[tuple[Hashable, int]] = [(self._shared_key(shared), common * size)] if shared else []
        wanted += [(key, sum(len(own[row]) for row in block) * size) for key, block in zip(keys, blocks, strict=True)]
        return Front(shared, own, blocks, keys, block_of, self._store.reserve(self, wanted), tuple(same))

    def shared(self, codes: Ids) -> Head:
        """Keys and values of what all rows have in common, the filled deep slot's included; nothing where there is nothing."""
        if not codes:
            return self.given
        key = self._shared_key(codes)
        kept = self._store.get(key)
        if kept is None:
            kept = self._store.put(key, (joined(*self.given, *self._run([codes])),))
        return kept

    @cached_property
    def given(self) -> Head:
        """The deep slot's keys and values, where the prompt begins with one that is filled."""
        return self._deep if self._prompt.infix is None else ()

    @cached_property
    def infix(self) -> Head:
        """The deep slot's keys and values, where one that is filled stands further on."""
        return () if self._prompt.infix is None else self._deep

    @property
    def _deep(self) -> Head:
        slots = [slot for slot in self._prompt.slots.values() if isinstance(slot, DeepSlot) and slot.vectors is not None]
        return tuple(given_run(torch.tensor(slot.vectors), self._engine) for slot in slots)

    def own(self, front: Front, index: Sequence[int]) -> list[Head]:
        """Each row's own frozen keys and values; kept blocks are read, blocks without room are computed as needed."""
        asked = {front.same[row] for row in index}
        found: dict[int, Head] = {}
        for number in sorted({front.block_of[row] for row in asked if front.own[row]}):
            block, key = front.blocks[number], front.keys[number]
            kept = self._store.get(key)
            if kept is None and key in front.granted:
                kept = self._store.put(key, self._run([front.own[row] for row in block], front.shared), lasting=True)
            elif kept is None:
                block = tuple(row for row in block if row in asked)
                kept = self._run([front.own[row] for row in block], front.shared)
            found.update((row, (run,)) for row, run in zip(block, kept, strict=True))
        return [found.get(front.same[row], ()) for row in index]

    def _run(self, codes: Sequence[Ids], shared: Ids = ()) -> Block:
        with torch.set_grad_enabled(self._engine.training):
            embeds = self._filled.embeds(codes, [0] * len(codes), [0] * len(codes))
            return self._engine.extend([self.shared(shared)] * len(codes), embeds, [len(run) for run in codes])

    def _shared_key(self, codes: Ids) -> Hashable:
        return ("shared", self._content(codes))

    def _content(self, *runs: Ids) -> str:
        """A digest of what stands at these codes: ids, and the vectors of filled slots."""
        found = hashlib.sha256(repr(runs).encode())
        if self.given or any(c < 0 for codes in runs for c in codes):
            found.update(self._digest.encode())
        return found.hexdigest()

    @cached_property
    def _digest(self) -> str:
        return self._prompt.digest()


def _firsts(own: Sequence[Ids]) -> list[int]:
    """For each row the first one with the same codes, where many are the same, as those of a sentence's words are; else itself.

    A text that comes twice is read twice, so that all rows of a pass look back on as many others: see `passes.fan`.
    """
    firsts: dict[Ids, int] = {}
    same = [firsts.setdefault(codes, at) for at, codes in enumerate(own)]
    return same if len(firsts) <= _MANY * len(own) else list(range(len(own)))
