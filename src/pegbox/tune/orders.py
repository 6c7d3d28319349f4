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


def shares(batch: int, strata: int) -> list[int]:
    """How many of a batch come from each of so many strata: as equal as can be."""
    return [batch // strata + (at < batch % strata) for at in range(strata)]


def grouped(strata: Sequence[Sequence[int]], groups: Sequence[Sequence[int]]) -> list[list[int]]:
    """Strata of rows as strata of groups: each group is where its first row is."""
    of = {row: at for at, stratum in enumerate(strata) for row in stratum}
    found: list[list[int]] = [[] for _ in strata]
    for at, group in enumerate(groups):
        found[of[group[0]]].append(at)
    return found


def first_groups(groups: Sequence[list[int]], strata: Sequence[Sequence[int]], steps: int, batch: int) -> list[list[int]]:
    """The first of these groups, in their order, as many of each stratum of rows as so many steps can read."""
    strata = _no_more(strata, batch)
    most = (steps * share for share in shares(batch, len(strata)))
    kept = flat([stratum[:some] for stratum, some in zip(grouped(strata, groups), most, strict=True)])
    return [groups[at] for at in sorted(kept)]


def even_batch(step: int, batch: int, strata: Sequence[Sequence[int]], seed: int) -> list[int]:
    """The positions of one step, an equal share of each stratum; those of few come again sooner. See `batch_rows`."""
    strata = _no_more(strata, batch)
    each = zip(strata, shares(batch, len(strata)), strict=True)
    return [stratum[at] for stratum, share in each for at in batch_rows(step, share, len(stratum), seed)]


def _no_more(strata: Sequence[Sequence[int]], batch: int) -> Sequence[Sequence[int]]:
    """All as one stratum, where a batch is too small to have some of each."""
    return strata if batch >= len(strata) else [sorted(flat(strata))]


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
