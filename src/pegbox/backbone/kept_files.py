"""Kept keys and values on disk: one memory-mapped file for each block, for another method, another run, or want of memory.

A file's name is a digest of the model, the number type and all that the block was computed from, so it is never stale. The
folder has a byte budget; the files least lately read go first.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Hashable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pegbox.backbone.storage import Packed, bytes_asked, packed_bytes
from pegbox.data.download import home

MOST = 4_000_000_000
"""Bytes on disk, where nobody says how many; and never more than a quarter of what is free there."""


def default_disk_budget(folder: Path) -> int:
    """The environment's PEGBOX_CACHE_DISK_BYTES, else MOST or a quarter of the free disk, whichever is less."""
    given = bytes_asked("PEGBOX_CACHE_DISK_BYTES", "set it to, say, 2000000000, to 0 for no files, or unset it")
    if given is not None:
        return given
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return min(MOST, shutil.disk_usage(there).free // 4)


class KeptFiles:
    """Packed blocks by what they were computed from.

    Settings:
        identity: the model, its number type and the storage; part of every file's name.
        budget: bytes that the folder may hold, those of other models included.
        folder: where; by default `keys-values` in pegbox's cache folder.
    """

    def __init__(self, identity: str, budget: int | None = None, folder: Path | None = None) -> None:
        self.folder = folder or home() / "keys-values"
        self.identity = identity
        self.budget = default_disk_budget(self.folder) if budget is None else budget

    def read(self, key: Hashable) -> Packed | None:
        """The block, mapped into memory; None where there is none, or only a damaged one."""
        place = self._place(key)
        try:
            with safe_open(str(place), framework="pt") as opened:
                found = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # no iterator of its own
            os.utime(place)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError):
            place.unlink(missing_ok=True)
            return None
        return found

    def write(self, key: Hashable, packed: Packed) -> bool:
        """Keeps the block, older ones giving way; False where there is no room, or the disk refuses."""
        place = self._place(key)
        if place.exists():
            return True
        size = packed_bytes(packed) + 1024  # and the names and shapes
        if size > self.budget:
            return False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(size)
            handle, draft = tempfile.mkstemp(dir=self.folder, suffix=".draft")
            os.close(handle)
            save_file({name: tensor.contiguous() for name, tensor in packed.items()}, draft)
            Path(draft).replace(place)  # whole, or not there
        except (OSError, SafetensorError):
            return False
        return True

    def _place(self, key: Hashable) -> Path:
        name = hashlib.sha256(repr((self.identity, key)).encode()).hexdigest()
        return self.folder / f"{name}.safetensors"

    def _make_room(self, size: int) -> None:
        """Removes the files least lately read until so many more bytes fit; drafts of runs that were killed go too."""
        known = []
        for place in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process may be making room too
                seen = place.stat()
                known.append((seen.st_mtime_ns, seen.st_size, place))
        held = sum(bytes_ for _, bytes_, _ in known)
        for _, freed, place in sorted(known):
            if held + size <= self.budget:
                return
            place.unlink(missing_ok=True)
            held -= freed
