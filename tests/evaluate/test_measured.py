"""Comparisons of a task that is seen through measures, with every sum chosen by hand."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pegbox.errors import DataError
from pegbox.evaluate.confused import costliest
from pegbox.evaluate.recommend import recommend
from pegbox.evaluate.record import Cell, Comparison, Cost
from pegbox.evaluate.report import Report
from pegbox.evaluate.summary import summarise
from pegbox.metrics.intervals import Estimate
from pegbox.metrics.measures import Measure, add, f1, precision, ratio

add(
    Measure("hand_f1", "span F1", f1),
    Measure("hand_precision", "span precision", precision),
    Measure("hand_length", "spans a row", lambda sums: ratio(sums[..., 0], sums[..., 1]), higher=False, percent=False),
)
MEASURES = ("hand_f1", "hand_precision", "hand_length")
ROWS = 60


def cell(method: str, right: Sequence[int], seed: int = -1, kind: str = "reference", **more: Any) -> Cell:
    """Each row has two spans and two are said, of which so many are right."""
    sums = np.array([[count, 2, 2] for count in right], dtype=float)
    sizes = np.array([[2, 1] for _ in right], dtype=float)
    statistics = {"hand_f1": sums, "hand_precision": sums, "hand_length": sizes}
    breakdown = {"city": {"hand_f1": sums}, "person": {"hand_f1": np.zeros_like(sums)}}
    outputs = tuple(f"said {count} of them <b>" for count in right)
    blank = np.zeros((len(right), 0), np.float32)
    return Cell(method, kind, seed, blank, statistics=statistics, breakdown=breakdown, outputs=outputs, **more)  # type: ignore[arg-type]


def comparison(*cells: Cell, groups: tuple[str, ...] = ()) -> Comparison:
    texts = tuple(f"row {i} <script>" for i in range(ROWS))
    return Comparison(
        labels=(), texts=texts, gold=np.zeros(0, np.int64), numbers=tuple(range(1, ROWS + 1)), cells=cells,
        settings={"model": "tiny", "train_rows": 50, "group": "language"} if groups else {"model": "tiny", "train_rows": 50},
        measures=MEASURES, answers=tuple(f"gold {i}" for i in range(ROWS)), groups=groups,
    )  # fmt: skip


def first(full: int, half: int = 0) -> list[int]:
    """Both spans right on so many rows, one on so many more."""
    return [2] * full + [1] * half + [0] * (ROWS - full - half)


@pytest.fixture(scope="module")
def report() -> Report:
    groups = tuple("de" if i % 4 == 0 else "en" for i in range(ROWS))
    cells = [
        cell("zero-shot", first(10), spends=False, prompt="{text} [answer]", readable=True, cost=Cost(predict_ms_1=9.0)),
        cell("tfidf", first(20, 4), spends=False, cost=Cost(predict_ms_1=0.4)),
        *(
            cell("soft", first(40 + seed, 6), seed, "soft", prompt="{text} [soft s 2] [answer]", dev_accuracy=0.9)
            for seed in (0, 1, 2)
        ),
    ]
    return Report.of(comparison(*cells, groups=groups), 500, 200)


def test_the_main_measure_takes_accuracys_place(report: Report) -> None:
    # Of 120 spans 86, 88 and 90 are right under the three seeds, as many as are said and as are there.
    best = report.summary.best
    assert [line.method for line in report.summary.methods] == ["soft", "tfidf", "zero-shot"]
    assert best.main.value == pytest.approx(88 / 120)
    assert best.main.low < 88 / 120 < best.main.high
    assert best.seed_sd == pytest.approx(2 / 120)
    assert best.dev_gap == pytest.approx(0.9 - 88 / 120)
    assert best.gain is not None
    assert best.gain.value == pytest.approx((88 - 20) / 120)
    assert report.summary.winner == "soft"
    assert report.summary.detectable is not None
    length = report.summary.measured[0].scores["hand_length"]
    assert length == Estimate(2.0, 2.0, 2.0)


def test_every_figure_is_in_the_tables(report: Report) -> None:
    row = report.table()[0]
    assert row["hand_f1"] == row["hand_precision"] == pytest.approx(88 / 120)
    assert row["hand_f1_low"] < row["hand_f1"] < row["hand_f1_high"]
    assert (row["winner"], row["recommended"], row["method"]) == (True, True, "soft")
    assert "accuracy" not in row
    parts = {(one["method"], one["label"]): one["hand_f1"] for one in report.class_table()}
    assert parts["soft", "city"] == pytest.approx(88 / 120)
    assert parts["tfidf", "person"] == 0


def test_slices_by_hand(report: Report) -> None:
    # Rows 0, 4, ... 56 are German: 15 of them, few. Of the first 10 rows, which zero-shot has right, 0, 4 and 8 are.
    found = {(one["method"], one["slice"]): one for one in report.slice_table()}
    german = found["zero-shot", "de"]
    assert (german["rows"], german["few"], found["zero-shot", "en"]["few"]) == (15, True, False)
    assert german["hand_f1"] == pytest.approx(3 / 15)
    assert found["zero-shot", "en"]["hand_f1"] == pytest.approx(7 / 45)
    assert german["hand_f1_low"] < 3 / 15 < german["hand_f1_high"]
    assert {"hand_precision", "hand_length"} <= set(german)


def test_the_words_name_the_measure_and_never_say_right(report: Report) -> None:
    said = str(report.advice)
    assert report.advice.verdict == "soft wins: span F1 73.3 on 60 test rows."
    assert " right" not in said
    assert "accura" not in said
    assert "%" not in said.replace("95%", "")
    even = Report.of(comparison(cell("a", first(30)), cell("b", first(31))), 300, 100)
    assert even.advice.verdict == "Nothing wins: b and a cannot be told apart on 60 test rows (span F1 50.0 to 51.7)."
    same = Report.of(comparison(cell("a", first(30)), cell("b", first(30))), 300, 100)
    assert same.advice.verdict == "No difference: a and b did equally well on every row (span F1 50.0 on 60 test rows)."
    alone = Report.of(comparison(cell("a", first(30))), 300, 100)
    assert alone.advice.verdict.startswith("Only a was run: span F1 50.0 on 60 test rows.")


def test_the_screen_shows_measures_and_slices(report: Report) -> None:
    out = io.StringIO()
    report.print(Console(file=out, width=130))
    text = out.getvalue()
    for told in ("span F1", "span precision", "spans a row", "73.3", "soft by language", "15 (few)", "zero-shot by language"):
        assert told in text
    assert "accuracy" not in text
    narrow = io.StringIO()
    report.print(Console(file=narrow, width=80))
    assert "spans a row" not in narrow.getvalue().split("soft by language")[0]


def test_the_page_shows_them_too_and_loads_nothing(report: Report, tmp_path: Path) -> None:
    text = report.to_html(tmp_path / "report.html").read_text(encoding="utf-8")
    for told in ("By language", "few rows", "By type: soft", "city", "span precision", "The costliest rows: soft", "gold 46"):
        assert told in text
    assert "accuracy" not in text.split("<body>")[1].lower()
    assert "<script>" not in text
    assert "said 0 of them &lt;b&gt;" in text
    assert not re.search(r"\bnan\b", text.split("<body>")[1])


def test_a_report_comes_back_from_its_file_as_it_was(report: Report, tmp_path: Path) -> None:
    again = Report.from_json(report.to_json(tmp_path / "report.json"))
    assert again.table() == report.table()
    assert again.slice_table() == report.slice_table()
    assert again.class_table() == report.class_table()
    assert str(again.advice) == str(report.advice)
    assert again.comparison.answers == report.comparison.answers


def test_the_costliest_rows_are_the_wrong_ones_the_worst_first() -> None:
    found = costliest(comparison(cell("a", [2, 0, 1, 2] + [2] * 56)), "a")
    assert [row.number for row in found] == [2, 3]
    assert (found[0].gold, found[0].output) == ("gold 1", "said 0 of them <b>")
    assert found[0].lost > found[1].lost > 0


def test_a_type_that_only_some_runs_know_counts_as_nothing_in_the_others() -> None:
    one, other = cell("a", first(30), 0), cell("a", first(30), 1)
    found = summarise(comparison(one, replace(other, breakdown={"city": other.breakdown["city"]})), 50, 50)
    assert [part.name for part in found.measured[0].parts] == ["city", "person"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"statistics": {}}, "no statistics for hand_f1 from 'a'"),
        ({"statistics": {name: np.ones((5, 3)) for name in MEASURES}}, r"statistics of shape \(5, 3\)"),
    ],
)
def test_results_that_do_not_fit_are_refused(changes: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        summarise(comparison(replace(cell("a", first(3)), **changes)), 50, 50)


def test_a_measure_that_is_no_share_cannot_be_the_main_one() -> None:
    odd = replace(comparison(cell("a", first(3))), measures=("hand_length", "hand_f1"))
    with pytest.raises(DataError, match="spans a row as the main measure"):
        summarise(odd, 50, 50)


def test_the_table_of_words_is_called_what_it_is() -> None:
    found = comparison(
        *(replace(cell(name, first(20)), statistics={"entity_f1": np.ones((ROWS, 3))}) for name in ("majority", "probe"))
    )
    warning = recommend(summarise(replace(found, measures=("entity_f1",)), 500, 200), found.settings).warnings[0]
    assert "surely better than always giving each word the type that it mostly has: look at the labels" in warning
