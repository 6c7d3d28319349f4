"""The folder of artifacts: which prompts lie in it, and which have changed.

    PROMPTS/mood/       version 1 of mood
    PROMPTS/mood@2/     version 2

Hidden folders are none of ours. Nothing is read through a symbolic link, and nothing that is too large.
"""

from __future__ import annotations

import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pegbox.artifact import FILES
from pegbox.errors import ArtifactError, PegboxError, SettingsError
from pegbox.prompt.names import Name

Stamp = tuple[tuple[str, int, int, int], ...]
"""Name, size, time of change and inode of each file: equal stamps, equal files."""


def found_in(folder: Path) -> dict[Name, Path]:
    """The folders that a server would serve, by name with version.

    Raises: SettingsError where there is no such folder.
    """
    if not folder.is_dir():
        raise SettingsError(f"the folder {folder}, which is not there", "a folder of tuned prompts", "make it, or name another")
    found: dict[Name, Path] = {}
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and (path.is_symlink() or path.is_dir()):
            name = _name_of(path)
            if name not in found:
                found[name] = path
    return found


def _name_of(path: Path) -> Name:
    """A folder's name and version; one that cannot be a name stands for itself, so that it can be reported."""
    try:
        name = Name.read(path.name)
    except SettingsError:
        return Name(path.name, 0)
    return Name(name.base, name.version or 1)


def stamp(path: Path) -> Stamp:
    """What tells whether an artifact has changed; it follows no links."""
    files = ((file.name, file.lstat()) for file in sorted(path.iterdir()))
    return tuple((name, status.st_size, status.st_mtime_ns, status.st_ino) for name, status in files)


def check_files(path: Path, most: int) -> None:
    """Raises ArtifactError for links, for what is no plain file, and for more than so many bytes."""
    if path.is_symlink():
        raise _refused(path, "is a symbolic link")
    there = {name: os.lstat(path / name) for name in FILES if os.path.lexists(path / name)}
    if odd := [name for name, status in there.items() if not stat.S_ISREG(status.st_mode)]:
        raise _refused(path, f"has a {odd[0]} that is a link or no file")
    size = sum(status.st_size for status in there.values())
    if size > most:
        raise _refused(path, f"has {size} bytes, more than {most}")


def _refused(path: Path, why: str) -> PegboxError:
    return ArtifactError(f"{path} {why}", "a plain folder as `pegbox tune` wrote it", "copy the files themselves")


@contextmanager
def drafted(folder: Path) -> Iterator[Path]:
    """A hidden folder to work in, beside the prompts; gone at the end, if it was not moved to its place."""
    draft = folder / f".draft-{uuid.uuid4().hex}"
    draft.mkdir()
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def discard(folder: Path, path: Path) -> None:
    """Deletes an artifact; it is gone at once for those who look, whole or not at all."""
    away = folder / f".gone-{uuid.uuid4().hex}"
    path.rename(away)
    shutil.rmtree(away, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Clears away what a killed server left half done."""
    for left in (*folder.glob(".draft-*"), *folder.glob(".gone-*")):
        shutil.rmtree(left, ignore_errors=True)
