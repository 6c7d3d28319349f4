"""Rows of the usual length: one text a hundred times as long as the others would eat a search's budget."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pegbox.data.rows import Rows
from pegbox.tune.trail import Trail

TIMES = 8
"""A text is too long for a search when it has more than this many times the characters of the median one."""
SHORT = 100
"""Characters below which a median is taken to be this: among very short texts a sentence is nothing unusual."""


def usual_rows(rows: Rows, fields: Sequence[str], trail: Trail, name: str) -> Rows:
    """The rows without the far too long ones, which are counted aloud; all of them where nothing else would be left.

    Settings:
        fields: those that a prompt reads.
        name: what the rows are, for the note.
    """
    lengths = np.array([sum(len(row.get(field, "")) for field in fields) for row in rows])
    usual = np.flatnonzero(lengths <= TIMES * max(float(np.median(lengths)), SHORT))
    left_out = len(rows) - len(usual)
    if not left_out:
        return rows
    text = f"{left_out} of {len(rows)} {name} rows are over {TIMES} times as long as most; the search leaves them out"
    trail.write("note", text=text)
    return rows.take([int(at) for at in usual])
