"""Fewer rows, where a person wants an answer sooner."""

from __future__ import annotations

from dataclasses import replace

from pegbox.data.rows import Data, Sealed
from pegbox.data.split import split


def limited(data: Data, train: int | None = None, test: int | None = None, seed: int = 0) -> Data:
    """The data with at most so many training and test rows, drawn in the labels' proportions and said aloud in the notes."""
    rows, sealed, notes = data.train, data.test, list(data.notes)
    if train is not None and train < len(rows):
        notes.append(f"{train} of {len(rows)} training rows are used, as asked")
        rows = split(rows, train, seed)[1]
    if test is not None and sealed is not None and test < len(sealed):
        notes.append(f"{test} of {len(sealed)} test rows are scored, as asked")
        sealed = Sealed(split(sealed.open("drawing fewer test rows, unseen"), test, seed)[1])
    return replace(data, train=rows, test=sealed, notes=tuple(notes))
