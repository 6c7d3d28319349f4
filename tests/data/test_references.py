"""Rows with reference texts: from files, lists and frames, with errors that name the line."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from pegbox.data.references import apart, read, read_rows, references
from pegbox.data.rows import Rows
from pegbox.errors import DataError


def jsonl(folder: Path, *rows: object) -> Path:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_csv_column_and_equal_rows_put_together(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        'mr,ref,x\nname[A],A is here.,1\nname[B],B.,2\nname[A],"Here, A.",3\nname[A],A is here.,4\n', encoding="utf-8"
    )
    rows, notes = read_rows(path, "mr")
    assert rows.fields == ({"text": "name[A]"}, {"text": "name[B]"})
    assert references(rows) == [("A is here.", "Here, A."), ("B.",)]
    assert rows.numbers == (1, 2)
    assert notes == (
        f"{path}: took 'ref' as the reference texts (--label).",
        f"{path}: 2 rows with the fields of an earlier row gave that one more references (rows 3, 4).",
    )
    learned = apart(rows)
    assert learned.answers() == ("A is here.", "Here, A.", "B.")
    assert [row["text"] for row in learned] == ["name[A]", "name[A]", "name[B]"]


def test_lists_of_references_in_jsonl_frames_and_pairs(tmp_path: Path) -> None:
    items = [{"text": "a", "outs": ["x", "y", "x"]}, {"text": "b", "outs": "z"}]
    for source in (jsonl(tmp_path, *items), pd.DataFrame(items), items):
        rows, _ = read_rows(source, "text", "outs")
        assert references(rows) == [("x", "y"), ("z",)]
    rows, notes = read_rows([("a", "x"), ("b", "y")])
    assert references(rows) == [("x",), ("y",)]
    assert notes == ()
    assert read_rows(["a", "b"], labelled=False)[0].gold is None


def test_parts_are_split_by_fields_and_sealed(tmp_path: Path) -> None:
    data = read(jsonl(tmp_path, *({"text": f"t{n // 2}", "target": f"r{n}"} for n in range(20))), test_size=0.2)
    assert data.test is not None
    assert (len(data.train), len(data.test)) == (8, 2)
    assert all(len(texts) == 2 for texts in references(data.train))
    test = data.test.open("look")
    assert not set(test.column()) & set(data.train.column())


@pytest.mark.parametrize(
    ("row", "came"),
    [
        ({"text": "b"}, "1 row without a reference text (row 2 (line 3): column 'target' is blank)"),
        ({"text": "b", "target": []}, "1 row without a reference text (row 2 (line 3): column 'target' is an empty list)"),
        (
            {"text": "b", "target": ["x", " "]},
            "1 row without a reference text (row 2 (line 3): column 'target' has a blank text (number 2))",
        ),
        (
            {"text": "b", "target": {"a": 1}},
            "1 row with a cell that is neither a text nor a number (row 2 (line 3): column 'target' holds a dict)",
        ),
        ({"text": " ", "target": "x"}, "1 row without a text (row 2 (line 3): column 'text' is blank)"),
    ],
)
def test_bad_rows_are_named_with_file_and_line(tmp_path: Path, row: dict[str, object], came: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "a", "target": "x"}) + "\n\n" + json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_rows(path)
    assert error.value.came == f"{path} has {came}"


def test_columns_that_are_not_there_or_not_clear(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"text": "a", "summary": "x", "headline": "y"})
    with pytest.raises(DataError, match="more than one may hold the references: 'summary', 'headline'"):
        read_rows(path)
    with pytest.raises(DataError, match="no column 'headlin'"):
        read_rows(path, label="headlin")
    with pytest.raises(DataError, match="has no reference texts"):
        references(Rows.from_texts(["a"]))
