"""Predictions beside the user's own columns, batch by batch."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pegbox.cli.predictions import write_predictions
from pegbox.data.rows import Rows
from pegbox.data.table import Table, stream_rows
from pegbox.errors import DataError


class Tuned:
    """Says "good" of texts with an even number of characters, with a probability of three in four."""

    labels = ("bad", "good")

    def __init__(self) -> None:
        self.batches: list[int] = []

    def cut_rows(self, rows: Rows) -> tuple[int, ...]:
        return tuple(at for at, text in enumerate(rows.column()) if len(text) > 30)

    def predict_proba(self, rows: Rows) -> Any:
        self.batches.append(len(rows))
        return np.array([[0.25, 0.75] if len(text) % 2 == 0 else [0.75, 0.25] for text in rows.column()], dtype=np.float32)


def written(path: Path, batch: int = 1024, **options: Any) -> tuple[str, list[str]]:
    out = io.StringIO()
    notes = write_predictions(Tuned(), stream_rows(path, "text", batch), out, **options)  # type: ignore[arg-type]
    return out.getvalue(), notes


def test_the_users_columns_come_back_with_predictions_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text('id,text,stars\n7,"a, ""b""",5\n8,odd,\n')
    found, notes = written(path)
    assert found == 'id,text,stars,predicted,probability\n7,"a, ""b""",5,good,0.75\n8,odd,,bad,0.75\n'
    assert notes == []


def test_probabilities_of_every_label(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("text\nodd\n")
    found, _ = written(path, proba=True)
    assert found == "text,predicted,probability,probability bad,probability good\nodd,bad,0.75,0.75,0.25\n"


def test_columns_of_these_names_are_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("predicted,text,probability\nx,odd,y\n")
    assert written(path)[0] == "predicted,text,probability,predicted_,probability_\nx,odd,y,bad,0.75\n"
    assert json.loads(written(path, as_json=True)[0]) == {
        "predicted": "x",
        "text": "odd",
        "probability": "y",
        "predicted_": "bad",
        "probability_": 0.75,
    }


def test_one_json_object_a_row(tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text('{"text": "Grüße", "n": 1.5}\n{"text": "even", "tags": ["a"], "n": null}\n', encoding="utf-8")
    lines = [json.loads(line) for line in written(path, as_json=True)[0].splitlines()]
    assert lines == [
        {"text": "Grüße", "n": 1.5, "predicted": "bad", "probability": 0.75},
        {"text": "even", "tags": ["a"], "n": None, "predicted": "good", "probability": 0.75},
    ]
    assert "Grüße" in written(path, as_json=True)[0]


@pytest.mark.parametrize("text", ["two\nlines", "a\rb", "a\r\nb", ' "quoted" ', "tab\tand; semicolon", "=1+1", "é\u2028x"])
def test_any_text_survives_the_way_through_csv(tmp_path: Path, text: str) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text(json.dumps({"text": text, "other": text}) + "\n")
    found, _ = written(path)
    rows = list(csv.reader(io.StringIO(found, newline="")))
    assert rows[1][:2] == [text, text]
    assert rows[1][2] in ("bad", "good")


def test_a_file_is_read_in_batches_under_one_header(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("text\n" + "".join(f"row {n}\n" for n in range(25)))
    tuned, out = Tuned(), io.StringIO()
    write_predictions(tuned, stream_rows(path, "text", 10), out)  # type: ignore[arg-type]
    assert tuned.batches == [10, 10, 5]
    lines = out.getvalue().splitlines()
    assert lines[0] == "text,predicted,probability"
    assert [line.split(",")[0] for line in lines[1:]] == [f"row {n}" for n in range(25)]


def test_what_is_written_is_written_before_the_next_batch_is_read(tmp_path: Path) -> None:
    out = io.StringIO()

    def tables() -> Iterator[Table]:
        for number in range(3):
            assert out.getvalue().count("\n") == (0 if number == 0 else number + 1)
            rows = Rows.from_texts([f"text {number}"])
            yield Table(rows, tuple(dict(row) for row in rows), ("text",), None)  # type: ignore[arg-type]

    write_predictions(Tuned(), tables(), out)  # type: ignore[arg-type]
    assert out.getvalue().count("\n") == 4


def test_a_column_that_comes_too_late_for_the_header_is_told(tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\n{"text": "c", "late": 1}\n')
    with pytest.raises(DataError) as raised:
        written(path, batch=2)
    assert raised.value.came == f"{path}, row 3 has the column 'late', which the rows before it lack"
    assert raised.value.remedy == "say --json: each row then has its own"
    assert json.loads(written(path, batch=2, as_json=True)[0].splitlines()[2])["late"] == 1
    assert "late" in written(path)[0].splitlines()[0]  # within the first batch there is room for it


def test_texts_that_are_cut_are_noted_by_row(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("text\n" + "".join(f"{'x' * (40 if n % 2 else 3)}\n" for n in range(16)))
    assert written(path)[1] == ["rows 2, 4, 6, 8, 10 and more were cut to the model's context"]
