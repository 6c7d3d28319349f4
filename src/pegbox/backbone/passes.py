"""The rows of a pass, and which of them are run together when no gradient is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pegbox.backbone.engine import Head
from pegbox.backbone.layout import Ids

TOKENS = 4096
"""New positions in one pass when no gradient is asked for."""
SLACK = 48
"""Positions of padding in a pass that cost no more than another pass; beside these, an eighth of the real ones is borne."""
KEPT = 16384
"""Positions looked back on in one pass when no gradient is asked for: their keys and values are copied side by side."""


@dataclass(frozen=True, eq=False)
class Row:
    """One row of a pass: what it looks back on, its new codes, how many of them come before the answer, and whose it is."""

    head: Head
    codes: Ids
    read: int
    variant: int
    at: int

    @property
    def past(self) -> int:
        return sum(run.length for run in self.head)


def batches(rows: Sequence[Row]) -> list[list[int]]:
    """Positions of rows of near length, together at most TOKENS new and KEPT earlier positions, of which few are padding."""
    found: list[list[int]] = [[]]
    most = real = 0
    for at in sorted(range(len(rows)), key=lambda at: (len(rows[at].codes), rows[at].past)):
        width = len(rows[at].codes)
        most, real, count = max(most, rows[at].past), real + width, len(found[-1]) + 1
        if found[-1] and (count * width > TOKENS or count * most > KEPT or count * width - real > SLACK + real // 8):
            found.append([])
            most, real = rows[at].past, width
        found[-1].append(at)
    return found
