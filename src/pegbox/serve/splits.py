"""Names that stand for several prompts, each with its share of the requests.

    PROMPTS/splits.json      {"mood": {"mood@1": 0.9, "mood@2": 0.1}}

The name without a version is then answered by one of them, drawn for each request; the answer says which.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from pegbox.errors import SettingsError
from pegbox.serve.names import Name

FILE = "splits.json"
MOST = 1_000_000
"""Bytes that are read of it."""
Splits = Mapping[str, Mapping[Name, float]]


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
        return {_base(name): _shares(some) for name, some in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise SettingsError(
            f"{path}: {error.came if isinstance(error, SettingsError) else error}",
            '{"mood": {"mood@1": 0.9, "mood@2": 0.1}}: names with versions, and shares above 0',
            "correct it; until then each name stands for its newest version",
        ) from error


def _base(text: str) -> str:
    name = Name.read(text)
    if name.version is not None:
        raise ValueError(f"{text}, which has a version")
    return name.base


def _shares(some: Mapping[str, Any]) -> dict[Name, float]:
    shares = {Name.read(text): float(share) for text, share in some.items()}
    if len(shares) < 2 or any(name.version is None for name in shares):
        raise ValueError("fewer than two prompts, or one without a version")
    if not all(math.isfinite(share) and share > 0 for share in shares.values()):
        raise ValueError("a share that is not above 0")
    return shares


def drawn(shares: Mapping[Name, float], there: Container[Name], chance: random.Random) -> Name | None:
    """One of the prompts that are there, by its share; None where none is."""
    left = {name: share for name, share in shares.items() if name in there}
    return chance.choices(list(left), list(left.values()))[0] if left else None
