"""Names that stand for several prompts: each with its share of the requests, or as a shadow of the others.

    PROMPTS/splits.json      {"mood": {"mood@1": 0.9, "mood@2": 0.1, "mood@3": "shadow"}}

The name without a version is then answered by one of those with shares, drawn for each request; the answer says which. A shadow
answers every request too, after it, and its answers are only written into the log.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pegbox.errors import SettingsError
from pegbox.prompt.names import Name

FILE = "splits.json"
MOST = 1_000_000
"""Bytes that are read of it."""
SHADOW = "shadow"


@dataclass(frozen=True)
class Split:
    """What one name stands for.

    Settings:
        shares: who answers, and how often.
        shadows: who answers too, into the log alone.
    """

    shares: Mapping[Name, float]
    shadows: tuple[Name, ...] = ()

    def as_dict(self) -> dict[str, float | str]:
        """As the file says it."""
        return {**{str(name): share for name, share in self.shares.items()}, **{str(name): SHADOW for name in self.shadows}}


Splits = Mapping[str, Split]


def read_splits(folder: Path) -> Splits:
    """What the folder's file says; nothing where there is none.

    Raises: SettingsError for a file that cannot be read so.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        if path.is_symlink() or path.stat().st_size > MOST:
            raise ValueError("a link, or too large")
        return {_base(name): _split(some) for name, some in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise SettingsError(
            f"{path}: {error.came if isinstance(error, SettingsError) else error}",
            '{"mood": {"mood@1": 0.9, "mood@2": 0.1}}: names with versions, and shares above 0 or "shadow"',
            "correct it; until then each name stands for its newest version",
        ) from error


def _base(text: str) -> str:
    name = Name.read(text)
    if name.version is not None:
        raise ValueError(f"{text}, which has a version")
    return name.base


def _split(some: Mapping[str, Any]) -> Split:
    named = {Name.read(text): share for text, share in some.items()}
    shares = {name: float(share) for name, share in named.items() if share != SHADOW}
    if len(named) < 2 or any(name.version is None for name in named):
        raise ValueError("fewer than two prompts, or one without a version")
    if not shares or not all(math.isfinite(share) and share > 0 for share in shares.values()):
        raise ValueError("no share, or one that is not above 0")
    return Split(shares, tuple(name for name in named if name not in shares))


def drawn(split: Split | None, there: Container[Name], chance: random.Random) -> Name | None:
    """One of the prompts that are there, by its share; None where none is."""
    left = {name: share for name, share in split.shares.items() if name in there} if split else {}
    return chance.choices(list(left), list(left.values()))[0] if left else None
