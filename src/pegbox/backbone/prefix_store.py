"""Keys and values of what does not change, kept under a byte budget."""

from __future__ import annotations

import os
import weakref
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import psutil
import torch

from pegbox.errors import SettingsError


@dataclass(frozen=True, eq=False)
class KeysValues:
    """The keys and values of a run of positions in every layer.

    Shape: keys [L, heads, T, D]; values [L, heads, T, D'].
    """

    keys: torch.Tensor
    values: torch.Tensor

    @property
    def length(self) -> int:
        return self.keys.shape[2]

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes


Block = tuple[KeysValues, ...]


def default_budget() -> int:
    """Bytes for kept keys and values: the environment's PEGBOX_CACHE_BYTES, or a quarter of the free memory, at most 4 GB."""
    given = os.environ.get("PEGBOX_CACHE_BYTES")
    if given is None:
        return min(int(psutil.virtual_memory().available) // 4, 4_000_000_000)
    if not given.isdigit():
        raise SettingsError(
            f"PEGBOX_CACHE_BYTES={given!r}", "a whole number of bytes", "set it to, say, 2000000000, or unset it"
        )
    return int(given)


class PrefixStore:
    """Blocks of keys and values by what they were computed from; the least lately used go first.

    What a living owner has reserved is not thrown out for others. What does not fit is computed anew by whoever needs it.

    Settings:
        budget: bytes that may be kept.
    """

    def __init__(self, budget: int | None = None) -> None:
        self.budget = default_budget() if budget is None else budget
        self.held = 0
        self._blocks: OrderedDict[Hashable, Block] = OrderedDict()
        self._reserved: dict[int, dict[Hashable, int]] = {}

    def reserve(self, owner: object, wanted: Sequence[tuple[Hashable, int]]) -> frozenset[Hashable]:
        """Promises room for the owner's blocks, in order, as far as the budget goes; returns the keys that were granted.

        The promise ends with the owner's life. A block that several owners ask for takes room once.

        Settings:
            wanted: pairs of a block's key and its bytes.
        """
        token = id(owner)
        if token not in self._reserved:
            self._reserved[token] = {}
            # called when the owner dies, before its id can be another's
            weakref.finalize(owner, self._reserved.pop, token, None)
        promised = self._promised()
        free = self.budget - sum(promised.values())
        for key, size in wanted:
            if key not in promised and size <= free:
                promised[key] = size
                free -= size
            if key in promised:
                self._reserved[token][key] = promised[key]
        return frozenset(key for key, _ in wanted if key in promised)

    def _promised(self) -> dict[Hashable, int]:
        return {key: size for sizes in self._reserved.values() for key, size in sizes.items()}

    def get(self, key: Hashable) -> Block | None:
        block = self._blocks.get(key)
        if block is not None:
            self._blocks.move_to_end(key)
        return block

    def put(self, key: Hashable, block: Block) -> None:
        """Keeps a block, throwing out unreserved ones as needed; keeps nothing where there is no room."""
        size = _nbytes(block)
        if key in self._blocks:
            return
        promised = self._promised()
        loose = {other: _nbytes(kept) for other, kept in self._blocks.items() if other not in promised}
        if self.held - sum(loose.values()) + size > self.budget:
            return
        for other, freed in loose.items():  # the least lately used come first
            if self.held + size <= self.budget:
                break
            del self._blocks[other]
            self.held -= freed
        self._blocks[key] = block
        self.held += size

    def clear(self) -> None:
        self._blocks.clear()
        self.held = 0


def _nbytes(block: Block) -> int:
    return sum(part.nbytes for part in block)
