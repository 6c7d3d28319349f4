"""The rows of a pass, and which of them are run together when no gradient is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pegbox.backbone.engine import Head
from pegbox.backbone.frozen import Front
from pegbox.backbone.layout import Ids
from pegbox.backbone.storage import KeysValues

TOKENS = 2048
"""New positions in one pass when no gradient is asked for, of each thread: enough for products, few enough for caches."""
_MOST_THREADS = 4
"""Threads for which a pass grows."""
SLACK = 48
"""Positions of padding in a pass that cost no more than another pass; beside these, an eighth of the real ones is borne."""
KEPT = 16384
"""Positions looked back on in one pass when no gradient is asked for: their keys and values are copied side by side."""


@dataclass(frozen=True, eq=False)
class Row:
    """One row of a pass: what it looks back on, its new codes, how many of them come before the answer, and whose it is.

    Settings:
        infix: what the codes after the first `before` look back on too; all rows of a pass have one, or none has.
    """

    head: Head
    codes: Ids
    read: int
    variant: int
    at: int
    infix: KeysValues | None = None
    before: int = 0

    @property
    def past(self) -> int:
        return sum(run.length for run in self.head) + (self.infix.length if self.infix else 0)


@dataclass(frozen=True)
class Plan:
    """One call: the rows asked about, the first live piece (`whole`: there is none), and what the tails look back on.

    Where there are `commons`, they are run in the same pass as the rows, which branch off from them.

    Settings:
        only: for each row asked about the one choice that is scored; None: all of them.
        at_once: what a row has of its own before a deep slot is not kept: it is run together with what follows.
    """

    asked: list[int]
    first: int
    whole: bool
    front: Front
    commons: list[Ids]
    stems: list[tuple[Head, int]]
    only: Sequence[int] | None = None
    at_once: bool = False


def at_once() -> int:
    """New positions in one pass when no gradient is asked for."""
    return TOKENS * min(_MOST_THREADS, torch.get_num_threads())


def batches(rows: Sequence[Row], tokens: int | None = None) -> list[list[int]]:
    """Positions of rows of near length, together at most so many new and KEPT earlier positions, of which few are padding.

    Rows that look back on the same stay together, where that is so for all: what they look back on is then held once.

    Settings:
        tokens: how many new positions at most; None: `at_once`.
    """
    limit = at_once() if tokens is None else tokens
    found: list[list[int]] = [[]]
    most = real = 0
    for some in sorted(_units(rows, limit), key=lambda some: (_width(rows, some), rows[some[0]].past)):
        width, past = _width(rows, some), rows[some[0]].past
        count = len(found[-1]) + len(some)
        most, real = max(most, past), real + sum(len(rows[at].codes) for at in some)
        full = count * width > limit or count // len(some) * most > KEPT or count * width - real > SLACK + real // 8
        if found[-1] and full:
            found.append([])
            most, real = past, sum(len(rows[at].codes) for at in some)
        found[-1].extend(some)
    return found


def fan(rows: Sequence[Row]) -> list[list[int]]:
    """The rows by what they look back on, where all these groups have as many, more than one, of near length; else nothing."""
    groups = _by_head(rows)
    width, real = max(len(row.codes) for row in rows), sum(len(row.codes) for row in rows)
    same = len({len(group) for group in groups}) == 1 and len(groups[0]) > 1 and bool(rows[0].head)
    return groups if same and len(rows) * width - real <= SLACK + real // 8 else []


def _by_head(rows: Sequence[Row]) -> list[list[int]]:
    groups: dict[Head, list[int]] = {}
    for at, row in enumerate(rows):
        groups.setdefault(row.head, []).append(at)
    return list(groups.values())


def _units(rows: Sequence[Row], tokens: int) -> list[list[int]]:
    """What is not parted: single rows, or groups that look back on the same."""
    groups = _by_head(rows)
    if len(groups) == 1 or len({len(group) for group in groups}) > 1:
        return [[at] for at in range(len(rows))]
    at_once = max(1, tokens // max(1, *(len(row.codes) for row in rows)))
    return [group[at : at + at_once] for group in groups for at in range(0, len(group), at_once)]


def _width(rows: Sequence[Row], some: Sequence[int]) -> int:
    return max(len(rows[at].codes) for at in some)


def portions(rows: Sequence[int], sizes: Sequence[int], kin: Sequence[object], most: int) -> list[list[int]]:
    """Places in `rows` in portions of at most so many, near ones in size together, and those of one kin.

    Settings:
        kin: what rows share that are best read together.
    """
    groups: dict[object, list[int]] = {}
    for at, of in enumerate(kin):
        groups.setdefault(of, []).append(at)
    order = sorted(groups.values(), key=lambda group: (max(sizes[at] for at in group), rows[group[0]]))
    found: list[list[int]] = [[]]
    for group in order:
        for part in (group[at : at + most] for at in range(0, len(group), most)):
            if found[-1] and len(found[-1]) + len(part) > most:
                found.append([])
            found[-1].extend(part)
    return found
