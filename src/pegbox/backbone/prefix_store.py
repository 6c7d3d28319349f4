"""Keys and values of what does not change, kept in memory under a byte budget, and in files under another."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import psutil
import torch

from pegbox.backbone.kept_files import KeptFiles
from pegbox.backbone.storage import Block, KeysValues, Packed, Storage, bytes_asked, pack, packed_bytes, unpack


def default_budget() -> int:
    """Bytes for kept keys and values: the environment's PEGBOX_CACHE_BYTES, or a quarter of the free memory, at most 4 GB."""
    given = bytes_asked("PEGBOX_CACHE_BYTES", "set it to, say, 2000000000, or unset it")
    return min(int(psutil.virtual_memory().available) // 4, 4_000_000_000) if given is None else given


class PrefixStore:
    """Blocks of keys and values by what they were computed from; the least lately used go first.

    What a living owner has reserved is not thrown out for others. What does not fit in memory goes to files, where there are
    any; what fits nowhere is computed anew by whoever needs it. What is read from files counts as tokens spent, once, as if it
    had been computed: so a method costs what it would cost alone, whatever others have left behind.

    Settings:
        budget: bytes that may be kept in memory.
        storage: in which numbers.
        dtype: the model's numbers.
        files: where blocks are kept beyond memory and beyond this process; None: nowhere.
        reused: told how many positions came out of files instead of being computed.
    """

    def __init__(
        self,
        budget: int | None = None,
        storage: Storage = "exact",
        dtype: torch.dtype = torch.float32,
        files: KeptFiles | None = None,
        reused: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.budget = default_budget() if budget is None else budget
        self.storage, self.dtype, self.files = storage, dtype, files
        self.held = 0
        self._reused = reused
        self._blocks: OrderedDict[Hashable, Packed | Block] = OrderedDict()  # a block as it is where it is kept exactly
        self._reserved: Promises = {}  # in memory
        self._filed: Promises = {}  # in files
        self._counted: set[Hashable] = set()

    def bytes_each(self, run: KeysValues) -> int:
        """Bytes that one position takes up here."""
        return packed_bytes(pack((run,), self.storage)) // run.length

    def reserve(self, owner: object, wanted: Sequence[tuple[Hashable, int]]) -> frozenset[Hashable]:
        """Promises room for the owner's blocks, in order, as far as the budgets go; returns the keys that were granted.

        The promise ends with the owner's life. A block that several owners ask for takes room once.

        Settings:
            wanted: pairs of a block's key and its bytes.
        """
        token = id(owner)
        if token not in self._reserved:
            for kind in (self._reserved, self._filed):
                kind[token] = {}
                # called when the owner dies, before its id can be another's
                weakref.finalize(owner, kind.pop, token, None)
        memory = _grant(self._reserved, token, wanted, self.budget)
        left = [(key, size) for key, size in wanted if key not in memory]
        return memory | _grant(self._filed, token, left, self.files.budget if self.files else 0)

    def get(self, key: Hashable) -> Block | None:
        kept = self._blocks.get(key)
        if kept is None:
            return self._from_file(key)
        self._blocks.move_to_end(key)
        return unpack(kept, self.dtype) if isinstance(kept, dict) else kept

    def _from_file(self, key: Hashable) -> Block | None:
        packed = self.files.read(key) if self.files else None
        if packed is None:
            return None
        block = unpack(packed, self.dtype)
        filed = key in _promised(self._filed)
        if key not in self._counted or not filed:
            self._reused(sum(run.length for run in block))
            self._counted.add(key)
        if not filed:
            self._hold(key, block if self.storage == "exact" else packed)
        return block

    def put(self, key: Hashable, block: Block, lasting: bool = False) -> Block:
        """Keeps a block, throwing out unreserved ones as needed; keeps nothing where there is no room. Returns it as kept.

        Settings:
            lasting: in files too: it is dear to compute, and may be asked for again.
        """
        packed = pack(block, self.storage)
        self._hold(key, block if self.storage == "exact" else packed)
        if lasting and self.files is not None:
            self.files.write(key, packed)
            self._counted.add(key)
        return block if self.storage == "exact" else unpack(packed, self.dtype)

    def _hold(self, key: Hashable, kept: Packed | Block) -> None:
        size = _nbytes(kept)
        if key in self._blocks:
            return
        promised = _promised(self._reserved)
        loose = {other: _nbytes(held) for other, held in self._blocks.items() if other not in promised}
        if self.held - sum(loose.values()) + size > self.budget:
            return
        for other, freed in loose.items():  # the least lately used come first
            if self.held + size <= self.budget:
                break
            del self._blocks[other]
            self.held -= freed
        self._blocks[key] = kept
        self.held += size

    def clear(self) -> None:
        """Forgets what is in memory; what is in files will count as spent again."""
        self._blocks.clear()
        self._counted.clear()
        self.held = 0


Promises = dict[int, dict[Hashable, int]]
"""Bytes by key, for each owner."""


def _promised(promises: Promises) -> dict[Hashable, int]:
    return {key: size for sizes in promises.values() for key, size in sizes.items()}


def _grant(promises: Promises, token: int, wanted: Sequence[tuple[Hashable, int]], budget: int) -> frozenset[Hashable]:
    """Promises an owner what fits into a budget beside what is promised already; returns the keys that are."""
    promised = _promised(promises)
    free = budget - sum(promised.values())
    for key, size in wanted:
        if key not in promised and size <= free:
            promised[key] = size
            free -= size
        if key in promised:
            promises[token][key] = promised[key]
    return frozenset(key for key, _ in wanted if key in promised)


def _nbytes(kept: Packed | Block) -> int:
    return packed_bytes(kept) if isinstance(kept, dict) else sum(run.nbytes for run in kept)
