"""Orders of rows by chance, in which rows that are best read together stay together: the words of a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from pegbox.data.rows import Rows
from pegbox.data.words import WordRows


def together(rows: Rows) -> list[list[int]]:
    """Positions of the rows that stay together: of the words of each sentence, else of each row by itself."""
    if not isinstance(rows, WordRows):
        return [[at] for at in range(len(rows))]
    return [list(some) for _, some in groupby(range(len(rows)), key=lambda at: rows.sentences[at])]


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
