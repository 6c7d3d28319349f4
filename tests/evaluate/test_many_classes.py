"""A report on 150 labels: confusions as a list, each label's scores once, and a page that stays small."""

from __future__ import annotations

import numpy as np

from pegbox.evaluate.html import page
from pegbox.evaluate.record import Cell, Comparison
from pegbox.evaluate.report import Report

CLASSES, ROWS = 150, 600


def test_many_classes_are_listed_and_not_drawn() -> None:
    """The first method gives every fifth row the next label, and is right elsewhere; the other always gives the first."""
    labels = tuple(f"intent {n:03}" for n in range(CLASSES))
    gold = np.arange(ROWS) % CLASSES
    answers = np.where(np.arange(ROWS) % 5 == 0, (gold + 1) % CLASSES, gold)
    cells = tuple(
        Cell(name, "reference", -1, np.where(np.eye(CLASSES, dtype=bool)[own], 0.85, 0.15 / (CLASSES - 1)).astype(np.float32))
        for name, own in (("near", answers), ("one", np.zeros(ROWS, dtype=int)))
    )
    texts = tuple(f"text {n}" for n in range(ROWS))
    report = Report.of(Comparison(labels, texts, gold, tuple(range(1, ROWS + 1)), cells), 200, 50)
    made = page(report)
    assert "Commonest confusions of near" in made
    assert '<table class="matrix">' not in made
    assert made.count('<td class="l user">intent 149</td>') >= 1
    assert len(made) < 600_000
    near = report.summary.methods[0]
    assert round(near.main.value, 3) == 0.8
    assert near.classes[1].support == 4  # type: ignore[attr-defined]
