"""Where an export goes: a new folder, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pegbox.errors import ArtifactError


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """A hidden folder to write into, which takes its name when the block ends well, else disappears.

    Raises: ArtifactError where something is there already.
    """
    target = Path(folder).expanduser().resolve()
    if target.exists():
        raise ArtifactError(f"{folder} is there already", "a new folder", "choose another name")
    draft = target.with_name(f".{target.name}.{os.getpid()}.new")
    draft.mkdir(parents=True)
    try:
        yield draft
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def written_labels(words: dict[str, tuple[str, ...]]) -> str:
    """The labels' words as lines of a page."""
    return "".join(f"- `{label}`: {', '.join(repr(word) for word in some)}\n" for label, some in words.items())
