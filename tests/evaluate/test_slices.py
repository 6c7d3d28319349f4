"""Slices of a classification, worked out by hand."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pegbox.data.rows import Data, Rows, Sealed
from pegbox.errors import DataError
from pegbox.evaluate.report import Report
from pegbox.evaluate.slices import classified_slices, positions
from pegbox.metrics.intervals import Scored


def test_positions_of_each_group() -> None:
    assert {name: list(index) for name, index in positions(["b", "a", "b"]).items()} == {"a": [1], "b": [0, 2]}
    assert positions(()) == {}


def test_accuracy_and_macro_f1_of_each_group_by_hand() -> None:
    # Group x: gold 0 0 1 1, said 0 1 1 1: accuracy 3/4, F1 2/3 and 4/5. Group y: gold 0 0, said 0 0: both 1.
    gold, said = np.array([0, 0, 1, 1, 0, 0]), np.array([0, 1, 1, 1, 0, 0])
    scored = Scored(np.eye(2)[said][None].astype(np.float32), (0,))
    x, y = classified_slices(gold, ["x", "x", "x", "x", "y", "y"], [scored], 100, 0)[0]
    assert (x.name, x.rows, y.rows) == ("x", 4, 2)
    assert x.scores["accuracy"].value == 3 / 4
    assert x.scores["macro_f1"].value == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert (y.scores["accuracy"].value, y.scores["macro_f1"].value) == (1, 1)
    assert x.scores["accuracy"].low < 3 / 4 < x.scores["accuracy"].high


def test_a_comparison_tells_its_slices_everywhere(rich_comparison: Any, tmp_path: Path) -> None:
    groups = tuple("odd" if i < 20 else "usual" for i in range(200))
    plain = Report.of(rich_comparison, 200, 100)
    sliced = Report.of(
        replace(rich_comparison, groups=groups, settings={**rich_comparison.settings, "group": "kind"}), 200, 100
    )
    assert sliced.table() == plain.table()  # the figures of all rows are what they were
    assert plain.slice_table() == []
    rows = {(one["method"], one["slice"]): one for one in sliced.slice_table()}
    assert rows["hybrid", "odd"]["accuracy"] == 1.0
    assert rows["zero-shot", "usual"]["accuracy"] == pytest.approx(90 / 180)
    assert (rows["hybrid", "odd"]["few"], rows["hybrid", "usual"]["few"]) == (True, False)
    page = sliced.to_html(tmp_path / "r.html").read_text(encoding="utf-8")
    assert "By kind" in page
    assert "few rows" in page
    out = io.StringIO()
    sliced.print(Console(file=out, width=120))
    assert "hybrid by kind" in out.getvalue()
    again = Report.from_json(sliced.to_json(tmp_path / "r.json"))
    assert again.slice_table() == sliced.slice_table()


def test_rows_in_groups_keep_their_digest_and_lose_the_field() -> None:
    bare = Rows.from_texts(["a", "b"], ["x", "y"])
    told = Rows(({"text": "a", "lang": "de"}, {"text": "b", "lang": " "}), ("x", "y"))
    found = told.grouped("lang")
    assert (found.groups, found.digest()) == (("de", "(blank)"), bare.digest())
    assert found.take([1]).groups == ("(blank)",)
    assert told.grouped("lang", kept=("text", "lang")).digest() == told.digest()
    with pytest.raises(DataError, match="has no field 'region'"):
        told.grouped("region")


def test_grouping_opens_no_seal() -> None:
    told = Rows(({"text": "a", "lang": "de"}, {"text": "b", "lang": "en"}), ("x", "y"))
    data = Data(told, Sealed(told), told).grouped("lang")
    assert data.test is not None
    assert data.test.openings == []
    assert data.test.open("scores").groups == ("de", "en")
    assert (data.train.groups, data.dev.groups if data.dev else None) == (("de", "en"), ("de", "en"))
