"""Fewer rows, where a person wants an answer sooner."""

from __future__ import annotations

from dataclasses import replace

from pegbox.data.label_sets import by_rarest_label, without_unseen_sets
from pegbox.data.review import without_unseen
from pegbox.data.rows import Data, Rows, Sealed
from pegbox.data.split import split

LOOKS = ("leaving out labels that training lacks", "drawing fewer test rows")
"""The reasons for which test rows are opened here; neither is a score."""


def limited(data: Data, train: int | None = None, test: int | None = None, seed: int = 0, sets: bool = False) -> Data:
    """The data with at most so many training and test rows, drawn in the labels' proportions and said aloud in the notes.

    Settings:
        sets: each row has a set of labels.

    A label that no training row has any more leaves the test and dev rows too.
    """
    rows, sealed, dev, notes = data.train, data.test, data.dev, list(data.notes)
    if train is not None and train < len(rows):
        whole, rows = len(rows), (by_rarest_label if sets else split)(rows, train, seed)[1]
        notes.append(f"{len(rows):,} of {whole:,} training rows are used, as asked")
        if dev is not None:
            dev = _known(dev, rows, notes, sets)
        if sealed is not None:
            sealed = _sealed_again(sealed, _known(sealed.open(LOOKS[0]), rows, notes, sets))
    if test is not None and sealed is not None and test < len(sealed):
        whole, some = len(sealed), split(sealed.open(LOOKS[1]), test, seed)[1]
        notes.append(f"{len(some):,} of {whole:,} test rows are scored, as asked")
        sealed = _sealed_again(sealed, some)
    return replace(data, train=rows, test=sealed, dev=dev, notes=tuple(notes))


def _known(rows: Rows, train: Rows, notes: list[str], sets: bool) -> Rows:
    """The rows whose labels the training rows have; all, where right answers are no labels."""
    if sets:
        return without_unseen_sets(rows, {label for own in train.gold or () for label in own}, "drop", notes)
    if rows.labels is None or rows.gold is not None:
        return rows
    kept, more = without_unseen(rows, train, "drop")
    notes.extend(more)
    return kept


def _sealed_again(before: Sealed, rows: Rows) -> Sealed:
    """Other test rows under the same seal, with its record of openings."""
    return Sealed(rows, before.openings)
