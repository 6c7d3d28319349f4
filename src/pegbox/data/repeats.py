"""Repeats: rows whose texts are equal, letter by letter."""

from __future__ import annotations

from collections.abc import Mapping

from pegbox.data.rows import Rows

Key = tuple[tuple[str, str], ...]


def key(row: Mapping[str, str]) -> Key:
    """What two rows share when all their fields are equal."""
    return tuple(row.items()) if len(row) == 1 else tuple(sorted(row.items()))


def same_texts(rows: Rows) -> dict[Key, list[int]]:
    """The positions of the rows of each different text, in order of first appearance."""
    groups: dict[Key, list[int]] = {}
    for at, row in enumerate(rows):
        groups.setdefault(key(row), []).append(at)
    return groups
