"""Texts to be labelled, in whatever form they come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pegbox.data.rows import Rows
from pegbox.data.table import SAMPLE, read_rows
from pegbox.errors import DataError


def as_rows(texts: Any, fields: Sequence[str] = ()) -> Rows:
    """Texts in any form as Rows. A single string is the name of a file; one text goes in a list.

    Settings:
        fields: columns that are needed besides the text, of a source that has columns.
    """
    if isinstance(texts, Rows):
        return texts
    if isinstance(texts, str) and not texts.startswith(SAMPLE) and not Path(texts).exists():
        raise DataError(f"{texts!r}, which is no file", "a list of texts, or the name of a file", "put a single text in a list")
    if isinstance(texts, np.ndarray) or (isinstance(texts, Sequence) and not isinstance(texts, str)):
        plain = list(texts)
        if plain and all(isinstance(text, str) for text in plain):
            return Rows.from_texts([str(text) for text in plain])
    return read_rows(texts, labelled=False, fields=fields)
