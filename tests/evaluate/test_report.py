"""The report: its file, its table, its terminal face."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pegbox.errors import DataError
from pegbox.evaluate.record import Comparison
from pegbox.evaluate.record_json import plain
from pegbox.evaluate.report import Report


def small(comparison: Comparison) -> Report:
    return Report.of(comparison, accuracy_resamples=400, score_resamples=100)


def test_best_winner_and_table(rich_comparison: Comparison) -> None:
    report = small(rich_comparison)
    assert (report.best, report.winner) == ("hybrid", "hybrid")
    rows = report.table()
    assert [row["method"] for row in rows] == ["hybrid", "search", "tfidf", "zero-shot", "majority"]
    assert rows[0]["accuracy"] == pytest.approx(0.93)
    assert rows[0]["winner"] is rows[0]["recommended"] is True
    assert rows[0]["accuracy_low"] < 0.93 < rows[0]["accuracy_high"]
    assert rows[1]["trained_parameters"] == 1152
    assert rows[1]["dev_gap"] == pytest.approx(0.75 - 0.705)
    assert report.class_table()[0]["label"] == "no"
    assert len(report.class_table()) == 10
    assert report.recommendation.startswith("hybrid wins")
    assert "5 methods on 200 test rows" in repr(report)


def test_json_round_trip_is_exact(rich_comparison: Comparison, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    odd = generator.dirichlet([0.3, 0.3], 200).astype(np.float32)
    trail = ({"event": "step", "loss": float("nan"), "step": np.int64(3)}, {"event": "note", "text": "é \ud800 \x00"})
    cell = replace(rich_comparison.cells[-1], method="odd", probabilities=odd, trail=trail)
    comparison = replace(rich_comparison, cells=(*rich_comparison.cells, cell))
    before = small(comparison)
    path = before.to_json(tmp_path / "report.json")
    after = Report.from_json(path)
    assert after.advice == before.advice
    assert after.table() == before.table()
    for mine, theirs in zip(before.comparison.cells, after.comparison.cells, strict=True):
        assert mine.probabilities.tobytes() == theirs.probabilities.tobytes()
        assert theirs.probabilities.dtype == np.float32
        left, right = (replace(c, probabilities=np.zeros(0), trail=()) for c in (mine, theirs))
        assert repr(left) == repr(right)
    assert after.comparison.cells[-1].trail == (
        {"event": "step", "loss": None, "step": 3},
        {"event": "note", "text": "é \ud800 \x00"},
    )
    assert after.comparison.texts == comparison.texts
    assert after.comparison.numbers == comparison.numbers
    assert (after.comparison.gold == comparison.gold).all()
    assert after.to_json(tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_the_file_is_strict_json_with_readable_numbers(rich_comparison: Comparison, tmp_path: Path) -> None:
    path = small(rich_comparison).to_json(tmp_path / "report.json")

    def refuse(name: str) -> None:
        raise AssertionError(name)

    content = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert content["format"] == "pegbox report"
    assert content["summary"]["winner"] == "hybrid"
    assert content["summary"]["methods"][0]["accuracy"]["value"] == pytest.approx(0.93)
    assert content["recommendation"]["use"] == "hybrid"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "is no JSON"),
        ("[1]", "is JSON, but no report"),
        ('{"format": "pegbox report", "version": 99}', "a report of version 99"),
        ('{"format": "pegbox report", "version": 1}', "missing or damaged \\(KeyError: 'labels'\\)"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        Report.from_json(path)


@pytest.mark.parametrize("damage", ["!!!!", "AAAA"])
def test_damaged_probabilities_are_refused(rich_comparison: Comparison, tmp_path: Path, damage: str) -> None:
    path = small(rich_comparison).to_json(tmp_path / "report.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["comparison"]["cells"][0]["probabilities"]["float32"] = damage
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match="missing or damaged"):
        Report.from_json(path)


def test_plain_values() -> None:
    given = {1: (np.float32(0.5), float("inf")), "s": {"b", "a"}, "p": Path("x"), "a": np.arange(2), "n": None, "t": True}
    assert plain(given) == {"1": [0.5, None], "s": ["a", "b"], "p": "x", "a": [0, 1], "n": None, "t": True}


def printed(report: Report, width: int) -> str:
    out = io.StringIO()
    report.print(Console(file=out, width=width, force_terminal=False, color_system=None))
    return out.getvalue()


def test_a_terminal_of_100_columns_holds_everything(rich_comparison: Comparison) -> None:
    text = printed(small(rich_comparison), 100)
    assert text.startswith("hybrid wins: 93.0% of 200 test rows right.\n")
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 100
    head = next(line for line in text.splitlines() if "95% interval" in line and "group" in line)
    assert " ".join(head.split()) == "group method accuracy 95% interval macro-F1 seed sd vs best p vs zero p per row"
    assert "If latency rules" in text
    assert "Note: A note & more." in text
    assert "…" not in text


def test_the_footnote_says_what_chance_was_counted(
    rich_comparison: Comparison, make_cell: Any, make_comparison: Any, first: Any
) -> None:
    tuned = [make_cell("soft", first(190, 200), 0, "soft"), make_cell("search", first(150, 200), 0, "hard")]
    quick = [make_cell("tfidf", first(100 + seed, 200), seed, spends=False) for seed in (0, 1, 2)]

    def said(comparison: Comparison) -> str:
        return " ".join(printed(small(comparison), 100).split())

    both, rows = "p: rows and seeds both counted as chance", "No method has several seeds: intervals (95%) and p"
    left_out = "Not counted, as one seed does not show it: how soft and search would vary over seeds."
    for text, expected in (
        (said(rich_comparison), (True, False, False)),
        (said(make_comparison(*tuned, *quick)), (True, True, False)),
        (said(make_comparison(*tuned)), (False, False, True)),
    ):
        assert (both in text, left_out in text, rows in text) == expected


@pytest.mark.parametrize("width", [80, 60, 54])
def test_a_narrow_terminal_gets_fewer_columns_not_cut_ones(rich_comparison: Comparison, width: int) -> None:
    text = printed(small(rich_comparison), width)
    table = [line for line in text.splitlines() if line.lstrip().startswith(("group", "1 hybrid", "2 search"))]
    assert len(table) >= 2
    assert all("…" not in line and len(line.rstrip()) <= width for line in table)


def test_names_that_look_like_markup_are_shown_as_they_are(make_cell: Any, make_comparison: Any, first: Any) -> None:
    cells = [make_cell("[bold]a[/bold]", first(5, 10)), make_cell("b\x1b[31m", first(5, 10))]
    text = printed(small(make_comparison(*cells, notes=("[red]note[/red] \x07",))), 100)
    assert "[bold]a[/bold]" in text
    assert "[red]note[/red]" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_reports_load_without_torch() -> None:
    code = (
        "import sys, pegbox.evaluate.report, pegbox.metrics.ranking\n"
        "heavy = {'torch', 'transformers', 'pandas', 'sklearn', 'scipy', 'matplotlib', 'jinja2', 'rich'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": _src()})
    assert found.stdout.strip() == "[]"


def _src() -> str:
    import pegbox

    return str(Path(pegbox.__file__).parents[1])
