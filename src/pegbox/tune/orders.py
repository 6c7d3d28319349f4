"""Orders of rows by chance, in which rows that are best read together stay together: the words of a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from pegbox.data.rows import Rows


def together(rows: Rows) -> list[list[int]]:
    """Positions of the rows that stay together: of the words of each sentence, else of each row by itself."""
    if not rows.kin:
        return [[at] for at in range(len(rows))]
    return [list(some) for _, some in groupby(range(len(rows)), key=lambda at: rows.kin[at])]


def drawn(rows: Rows, *key: int) -> list[int]:
    """All positions, in an order that the key gives."""
    return flat(drawn_groups(rows, *key))


def drawn_groups(rows: Rows, *key: int) -> list[list[int]]:
    """The same as groups of rows that stay together."""
    groups = together(rows)
    return [groups[int(at)] for at in np.random.default_rng(key).permutation(len(groups))]


def flat(groups: Sequence[Sequence[int]]) -> list[int]:
    """The positions in all of these groups."""
    return [at for group in groups for at in group]


def batch_rows(step: int, batch: int, rows: int, seed: int) -> list[int]:
    """The rows of one step, known from its number alone: each epoch goes once through all rows in an order of its own."""
    size = min(batch, rows)
    found: list[int] = []
    at = step * size
    while len(found) < size:
        epoch, place = divmod(at, rows)
        order = np.random.default_rng([seed, 3, epoch]).permutation(rows)
        found.extend(int(row) for row in order[place : place + size - len(found)])
        at = (epoch + 1) * rows
    return found
