"""Marks of rows, by which rows that were there in tuning are known again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from pegbox.data.rows import Rows


def row_marks(rows: Rows, fields: Sequence[str]) -> list[str]:
    """A short digest of each row's texts, to notice rows that were seen in tuning without keeping their words.

    Settings:
        fields: those that the prompt reads: others may be there in tuning and not later.
    """
    names = sorted(set(fields))
    plain = (json.dumps({name: row[name] for name in names if name in row}, ensure_ascii=False) for row in rows)
    return [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12] for text in plain]
