"""Tables: cells checked, rows kept beside the user's columns, files read in batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pegbox.data.rows import Rows
from pegbox.data.stream import Reading
from pegbox.data.table import read_rows, read_table, stream_rows
from pegbox.errors import DataError, SettingsError

DROP = Reading(on_problem="drop")


def write(folder: Path, content: str, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_rows_beside_the_users_columns(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "id,review,stars\n7,good,5\n8,bad,1\n"), "review", "stars")
    assert table.rows.fields == ({"text": "good"}, {"text": "bad"})
    assert table.rows.labels == ("5", "1")
    assert table.records == ({"id": "7", "review": "good", "stars": "5"}, {"id": "8", "review": "bad", "stars": "1"})
    assert table.columns == ("id", "review", "stars")
    assert table.notes == ()


def test_frame_labels_become_text() -> None:
    frame = pd.DataFrame({"t": ["a", "b", "c"], "y": [1.0, 0.0, 0.5]})
    assert read_rows(frame, "t", "y").labels == ("1", "0", "0.5")
    assert read_rows(pd.DataFrame([["a", 1], ["b", 2]]), 0, 1).labels == ("1", "2")  # type: ignore[arg-type]
    assert read_rows(frame.assign(y=["x", pd.NA, "y"]).dropna().astype("category"), "t", "y").labels == ("x", "y")
    assert read_rows(frame.assign(y=[True, False, True]), "t", "y").labels == ("True", "False", "True")


def test_blank_text_and_missing_label_are_errors_with_rows(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label\na,x\n  ,x\nb,\n,\n")
    with pytest.raises(DataError) as caught:
        read_table(path, "text", "label")
    assert caught.value.came == (
        f"{path} has 2 rows without a text (rows 2 (line 3), 4 (line 5): column 'text' is blank); "
        "and 2 rows without a label (rows 3 (line 4), 4 (line 5): column 'label' is blank)"
    )


def test_drop_leaves_them_out_and_keeps_the_others_numbers(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "text,label\na,x\n  ,x\nb,\nc,y,z\nd,y\n"), "text", "label", reading=DROP)
    assert table.rows.column() == ["a", "d"]
    assert table.rows.numbers == (1, 5)
    assert [record["text"] for record in table.records] == ["a", "d"]
    assert len(table.notes) == 3
    assert all("left out 1 row" in note for note in table.notes)


def test_nothing_left_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no rows that can be used .*left out 1 row without a text"):
        read_table(write(tmp_path, "text,label\n ,x\n"), "text", "label", reading=DROP)


@pytest.mark.parametrize("content", ["", "text,label\n"])
def test_no_rows(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"a\.csv has no rows"):
        read_table(write(tmp_path, content), "text", "label")


@pytest.mark.parametrize("source", [[], pd.DataFrame({"text": [], "label": []}), Rows(())])
def test_no_rows_in_memory(source: Any) -> None:
    with pytest.raises(DataError, match="has no rows"):
        read_table(source)


def test_extra_fields_may_be_blank_but_texts_may_not(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b,c\none,two,\nthree,,x\n")
    assert read_rows(path, "a", fields=["c"]).fields == ({"text": "one", "c": ""}, {"text": "three", "c": "x"})
    with pytest.raises(DataError, match=r"1 row without a text \(row 2 \(line 3\): column 'b' is blank\)"):
        read_rows(path, ["a", "b"])


def test_nul_long_half_and_odd_cells() -> None:
    rows = [("a\0b", "x"), ("a" * 11, "x"), ("\ud800", "x"), (["a"], "x"), ("fine", "x")]
    with pytest.raises(DataError) as caught:
        read_table(rows, reading=Reading(field_limit=10))
    for said in (
        "1 row with a NUL character (row 1: column 'text', at character 2)",
        "1 row with a cell longer than the limit (row 2: column 'text', 11 characters, the limit is 10)",
        "1 row with half a character (a lone surrogate) (row 3: column 'text', at character 1)",
        "1 row with a cell that is neither a text nor a number (row 4: column 'text' holds a list)",
    ):
        assert said in caught.value.came
    assert "field_limit=N" in caught.value.remedy
    assert read_rows(rows, reading=Reading(field_limit=10, on_problem="drop")).numbers == (5,)


def test_ten_megabytes_in_one_cell(tmp_path: Path) -> None:
    path = write(tmp_path, '{"text": "' + "a" * 10_000_000 + '"}\n', "a.jsonl")
    with pytest.raises(DataError, match=r"row 1 \(line 1\): column 'text', 10,000,000 characters, the limit is 1,000,000"):
        read_rows(path)


def test_an_unused_column_may_hold_anything() -> None:
    rows = [{"text": "a", "more": ["x"]}, {"text": "b\n", "more": "\0"}]
    assert read_rows(rows, "text").column() == ["a", "b\n"]


def test_a_key_that_only_some_rows_have(tmp_path: Path) -> None:
    path = write(tmp_path, '{"text": "a", "label": "x"}\n{"text": "b"}\n', "a.jsonl")
    with pytest.raises(DataError, match=r"1 row without a label \(row 2 \(line 2\)"):
        read_rows(path, "text", "label")


def test_sources_without_names_do_not_ask_for_them() -> None:
    assert read_rows(["a", "b"], "review").labels is None
    assert read_rows([("a", "x")], "review", "stars").labels == ("x",)
    assert read_rows([("a", "x")], labelled=False).labels is None
    rows = Rows(({"text": "a", "title": "t"},), ("x",), (9,), "made.csv")
    assert read_rows(rows) == rows
    with pytest.raises(DataError, match="the list has no labels"):
        read_rows(["a", "b"], labelled=True)


def test_predict_files_need_no_label_and_are_not_made_to_have_one(tmp_path: Path) -> None:
    path = write(tmp_path, "text,channel\na b,web\nc d,web\ne f,app\ng h,app\n")
    assert read_rows(path).labels is None


def test_stream_gives_batches_with_all_the_users_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "id,text\n" + "".join(f"{n},row {n}\n" for n in range(1, 8)))
    tables = list(stream_rows(path, "text", 3))
    assert [table.rows.column() for table in tables] == [["row 1", "row 2", "row 3"], ["row 4", "row 5", "row 6"], ["row 7"]]
    assert [table.rows.numbers for table in tables] == [(1, 2, 3), (4, 5, 6), (7,)]
    assert tables[2].records == ({"id": "7", "text": "row 7"},)
    assert all(table.rows.labels is None and table.columns == ("id", "text") for table in tables)


def test_stream_and_table_agree(tmp_path: Path) -> None:
    path = write(tmp_path, "text\n" + "".join(f"row {n}\n" for n in range(100)))
    whole = read_table(path, labelled=False)
    parts = list(stream_rows(path, batch=7))
    assert [record for part in parts for record in part.records] == list(whole.records)
    assert [text for part in parts for text in part.rows.column()] == whole.rows.column()
    assert [note for part in parts for note in part.notes] == list(whole.notes)


def test_stream_names_the_row_of_an_error_in_a_later_batch(tmp_path: Path) -> None:
    path = write(tmp_path, "text,n\na,1\nb,2\nc,3\nd,4\n ,5\n")
    got = []
    with pytest.raises(DataError, match=r"1 row without a text \(row 5 \(line 6\)"):
        got.extend(table.rows.numbers for table in stream_rows(path, "text", 2))
    assert got == [(1, 2)]


def test_stream_drops_with_a_note_and_hands_out_no_empty_batch(tmp_path: Path) -> None:
    path = write(tmp_path, "text,n\n ,1\n ,2\nc,3\nd,4\n ,5\n\n ,6\n")
    tables = list(stream_rows(path, "text", 2, reading=DROP))
    assert [table.rows.numbers for table in tables] == [(3, 4)]
    assert [note.partition(": ")[2] for note in tables[0].notes] == [
        "left out 2 rows without a text (rows 1 (line 2), 2 (line 3): column 'text' is blank).",
        "left out 2 rows without a text (rows 5 (line 6), 6 (line 8): column 'text' is blank).",
        "skipped 1 empty line (line 7).",
    ]


def test_stream_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv has no rows\n"):
        list(stream_rows(write(tmp_path, "text\n")))
    with pytest.raises(DataError, match="has no rows that can be used"):
        list(stream_rows(write(tmp_path, "text,n\n ,1\n"), "text", reading=DROP))
    with pytest.raises(SettingsError, match="batches of 0 rows"):
        list(stream_rows(write(tmp_path, "text\na\n"), batch=0))


def test_stream_holds_no_more_than_two_batches(tmp_path: Path) -> None:
    path = write(tmp_path, "text\n" + "one more row\n" * 20_000)
    import tracemalloc

    tracemalloc.start()
    total = sum(len(table.rows) for table in stream_rows(path, batch=100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 20_000
    assert peak < 2_000_000  # all rows at once take several times that
