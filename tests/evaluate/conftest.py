"""Comparisons whose every right and wrong answer is chosen by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from pegbox.evaluate.record import Cell, Comparison

LABELS = ("no", "yes")
MakeCell = Callable[..., Cell]
MakeComparison = Callable[..., Comparison]


def gold_of(rows: int) -> np.ndarray:
    return np.arange(rows) % 2


@pytest.fixture
def make_cell() -> MakeCell:
    def make(method: str, right: Sequence[bool] | np.ndarray, seed: int = -1, kind: str = "reference", **more: Any) -> Cell:
        """A cell that gives the right answer 0.8 where `right` holds, and the wrong one elsewhere."""
        mask = np.asarray(right, dtype=bool)
        answers = np.where(mask, gold_of(len(mask)), 1 - gold_of(len(mask)))
        chances = np.where(np.eye(2, dtype=bool)[answers], 0.8, 0.2).astype(np.float32)
        return Cell(method, kind, seed, chances, **more)  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_comparison() -> MakeComparison:
    def make(*cells: Cell, texts: Sequence[str] | None = None, **more: Any) -> Comparison:
        rows = len(cells[0].probabilities)
        said = tuple(texts) if texts is not None else tuple(f"text {i}" for i in range(rows))
        return Comparison(LABELS, said, gold_of(rows), tuple(range(2, rows + 2)), cells, **more)

    return make


@pytest.fixture
def first() -> Callable[[int, int], np.ndarray]:
    """`first(k, n)`: right on the first k of n rows."""
    return lambda count, rows: np.arange(rows) < count


@pytest.fixture
def rich_comparison(make_cell: MakeCell, make_comparison: MakeComparison, first: Any) -> Comparison:
    """Something of everything: kinds, seeds, trails, prompts, nearest words, costs, notes, and text that looks like markup."""
    from pegbox.evaluate.record import Cost

    rows = 200
    steps = tuple(
        {
            "event": "dev",
            "step": step,
            "loss": 1.0 / (1 + step),
            "accuracy": 0.5 + step / 100 - 0.1 * variant,
            "variant": variant,
        }
        for step in (0, 10, 20)
        for variant in (0, 1)
    )
    tried = tuple(
        {"event": "candidate", "score": s, "kept": k, "prompt": "p"} for s, k in ((0.5, True), (0.4, False), (0.7, True))
    )
    cells = [
        make_cell("majority", gold_of(rows) == 0, spends=False, cost=Cost(predict_ms_1=0.001)),
        make_cell(
            "zero-shot", first(110, rows), spends=False, prompt="{text} [answer]", readable=True, cost=Cost(predict_ms_1=9.0)
        ),
        make_cell("tfidf", first(125, rows), spends=False, cost=Cost(predict_ms_1=0.4, tune_seconds=0.2)),
    ]
    for seed in (0, 1, 2):
        cost = Cost(1152, 5000, 10_000, 8_000, 30.0 + seed, 12.0, 3.0, 16.0, 900_000_000)
        cells += [
            make_cell(
                "search",
                first(140 + seed, rows),
                seed,
                "hard",
                dev_accuracy=0.75,
                prompt='[hard say="Is it <b>good</b>?"] {text} [answer]',
                readable=True,
                trail=tried,
                cost=cost,
            ),
            make_cell(
                "hybrid",
                first(185 + seed, rows),
                seed,
                "hybrid",
                dev_accuracy=0.95,
                prompt="{text} [soft steer 2] [answer]",
                nearest={"steer": ((" good", 0.91, 1.25), ("<script>", 0.5, float(seed)))},
                trail=(*steps, {"event": "best", "step": 20, "loss": 0.05, "variant": 0}),
                notes=("3 texts were cut",),
                cost=cost,
            ),
        ]
    texts = [f"row {i} <script>alert('x')</script> {{text}} [soft x]" for i in range(rows)]
    texts[190] = "a very long text " * 100
    return make_comparison(
        *cells,
        texts=texts,
        settings={"model": "tiny", "train_rows": 50, "versions": {"pegbox": "0.1"}},
        notes=("A note & more.",),
    )
