"""Keys and values of what does not change, kept under a byte budget."""

from __future__ import annotations

import os
import weakref
from collections import OrderedDict
from collections.abc import Hashable
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
    """Bytes for kept keys and values: the environment's PEGBOX_CACHE_BYTES, or a quarter of the memory that is free now."""
    given = os.environ.get("PEGBOX_CACHE_BYTES")
    if given is None:
        return int(psutil.virtual_memory().available) // 4
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
        self._reserved: dict[int, tuple[int, frozenset[Hashable]]] = {}

    def reserve(self, owner: object, wanted: list[tuple[Hashable, int]]) -> frozenset[Hashable]:
        """Promises room for the owner's blocks, in order, as far as the budget goes; returns the keys that were granted.

        Settings:
            wanted: pairs of a block's key and its bytes.
        """
        token = id(owner)
        free = self.budget - sum(size for size, _ in self._reserved.values())
        granted: set[Hashable] = set()
        taken = 0
        for key, size in wanted:
            if key not in granted and taken + size <= free:
                granted.add(key)
                taken += size
        held, keys = self._reserved.get(token, (0, frozenset()))
        if token not in self._reserved:
            weakref.finalize(owner, self._reserved.pop, token, None)
        self._reserved[token] = (held + taken, keys | granted)
        return frozenset(granted)

    def get(self, key: Hashable) -> Block | None:
        block = self._blocks.get(key)
        if block is not None:
            self._blocks.move_to_end(key)
        return block

    def put(self, key: Hashable, block: Block) -> None:
        """Keeps a block, throwing out unreserved ones as needed; keeps nothing where there is no room."""
        size = sum(part.nbytes for part in block)
        if key in self._blocks:
            return
        self._make_room(size)
        if self.held + size <= self.budget:
            self._blocks[key] = block
            self.held += size

    def _make_room(self, size: int) -> None:
        reserved = frozenset().union(*(keys for _, keys in self._reserved.values()))
        for key in [key for key in self._blocks if key not in reserved]:
            if self.held + size <= self.budget:
                return
            self.held -= sum(part.nbytes for part in self._blocks.pop(key))

    def clear(self) -> None:
        self._blocks.clear()
        self.held = 0
