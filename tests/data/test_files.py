"""Files: what is read, and the line or byte that errors name."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pegbox.data.check import Problem
from pegbox.data.files import open_file
from pegbox.data.stream import Reading, Record, Stream
from pegbox.data.table import read_table
from pegbox.errors import DataError, SettingsError


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows(path: Path, **settings: Any) -> list[Any]:
    return [item.values if isinstance(item, Record) else item for item in open_file(path, Reading(**settings)).items]


def used(path: Path, **settings: Any) -> Stream:
    stream = open_file(path, Reading(**settings))
    stream.items = iter(list(stream.items))
    return stream


def test_csv_with_quotes_and_line_breaks_numbers_rows_and_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'text,label\n"two\nlines, ""quoted""",x\n plain ,y\n')
    items = list(open_file(path, Reading()).items)
    assert items == [
        Record(1, {"text": 'two\nlines, "quoted"', "label": "x"}, 2),
        Record(2, {"text": " plain ", "label": "y"}, 4),
    ]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_csv_line_endings(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path, "a.csv", ending.join(["text,label", "a,x", "b,y", ""]))
    assert rows(path) == [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]


def test_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", b"\xef\xbb\xbftext,label\n\xc3\xa9,x\n")
    assert rows(path) == [{"text": "é", "label": "x"}]


@pytest.mark.parametrize(
    "text", ["<|im_end|>", "{text} [soft x]", 'say "hi"', "tab\there", "a\r\nb", "\u2028\x85\x0b", "  ", "'", "\\n"]
)
def test_text_comes_through_csv_and_jsonl_untouched(tmp_path: Path, text: str) -> None:
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text", "label"], [text, "x"]])
    write(tmp_path, "a.jsonl", json.dumps({"text": text, "label": "x"}, ensure_ascii=False) + "\n")
    assert rows(tmp_path / "a.csv") == rows(tmp_path / "a.jsonl") == [{"text": text, "label": "x"}]


def test_ragged_lines_are_told_with_row_and_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'text,label\n"a\nb",x\none, two, three\nlonely\n')
    assert rows(path)[1:] == [
        Problem("cells", 2, 4, "3 cells, the header has 2"),
        Problem("cells", 3, 5, "1 cell, the header has 2"),
    ]


def test_an_open_quote_is_an_error_that_names_where_its_row_starts(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'text,label\na,x\n"b,y\nc,x\n')
    with pytest.raises(DataError, match=r"a\.csv, row 2 \(line 3\) cannot be divided .*: unexpected end of data") as caught:
        rows(path)
    assert "--no-quotes" in caught.value.remedy
    assert rows(path, quotes=False)[1] == {"text": '"b', "label": "y"}


def test_letters_after_a_closing_quote_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 1 \(line 2\) cannot be divided into cells"):
        rows(write(tmp_path, "a.csv", 'text,label\n"a"b,x\n'))


def test_empty_lines_are_skipped_and_noted_but_for_those_at_the_end(tmp_path: Path) -> None:
    stream = used(write(tmp_path, "a.csv", "text,label\n\na,x\n\n\nb,y\n\n\n"))
    assert [item.number for item in stream.items] == [1, 2]
    assert stream.notes == [f"{tmp_path / 'a.csv'}: skipped 3 empty lines (lines 2, 4, 5)."]


def test_tsv_and_other_delimiters(tmp_path: Path) -> None:
    expected = [{"text": "a, b", "label": "x"}]
    assert rows(write(tmp_path, "a.tsv", "text\tlabel\na, b\tx\n")) == expected
    stream = used(write(tmp_path, "b.csv", "text;label\na, b;x\n"))
    assert [item.values for item in stream.items if isinstance(item, Record)] == expected
    assert stream.notes == [f"{tmp_path / 'b.csv'}: its header has no comma, so its cells are taken as divided by semicolons."]


def test_one_column_is_no_sign_of_another_delimiter(tmp_path: Path) -> None:
    stream = used(write(tmp_path, "a.csv", "text\na;b\n"))
    assert stream.notes == []
    assert next(stream.items) == Record(1, {"text": "a;b"}, 2)


def test_header_names_twice_or_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="more than one column named 'a'"):
        rows(write(tmp_path, "a.csv", "a,b,a\n1,2,3\n"))
    assert rows(write(tmp_path, "b.csv", ",text\n0,a\n")) == [{"": "0", "text": "a"}]
    assert rows(write(tmp_path, "c.csv", "text,,\na,b,c\n")) == [{"text": "a", "column 2": "b", "column 3": "c"}]


@pytest.mark.parametrize("content", ["", "text,label\n", "\n\n"])
def test_no_rows_is_no_items(tmp_path: Path, content: str) -> None:
    assert rows(write(tmp_path, "a.csv", content)) == []


def test_wrong_encoding_names_byte_offset_and_line(tmp_path: Path) -> None:
    content = b"text,label\nfine,x\ncaf\xe9,y\n"
    path = write(tmp_path, "a.csv", content)
    with pytest.raises(DataError) as caught:
        rows(path)
    assert caught.value.came == f"{path} is not UTF-8: byte 0xe9 at offset {content.index(0xE9)}, line 3"
    assert "--encoding latin-1" in caught.value.remedy
    assert rows(path, encoding="latin-1")[1] == {"text": "café", "label": "y"}


def test_wrong_encoding_far_into_a_file_with_a_mark(tmp_path: Path) -> None:
    # 3 bytes of mark, 7 of header, 300,000 lines of 4 bytes: beyond the first block of 1 MiB
    content = b"\xef\xbb\xbftext,b\n" + b"a,b\n" * 300_000 + b"\xc3\xa9,\xc3(\n"
    with pytest.raises(DataError, match=r"byte 0xc3 at offset 1,200,013, line 300,002"):
        rows(write(tmp_path, "a.csv", content))


def test_utf16_is_recognised_by_its_mark(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "text,label\na,x\n".encode("utf-16"))
    with pytest.raises(DataError, match="--encoding utf-16"):
        rows(path)
    assert rows(path, encoding="utf-16") == [{"text": "a", "label": "x"}]


def test_utf16_asked_for_where_it_is_not(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not utf-16: UTF-16 stream does not start with BOM"):
        rows(write(tmp_path, "a.csv", "text,label\na,x\n"), encoding="utf-16")


def test_unknown_encoding(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="encoding 'latin-99'"):
        rows(write(tmp_path, "a.csv", "text\na\n"), encoding="latin-99")


def test_a_cell_beyond_the_limit_in_csv(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    path = write(tmp_path, "a.csv", "text,label\n" + "a" * (limit + 10) + ",x\n")
    with pytest.raises(DataError, match=r"row 1 \(line 2\) holds a cell longer than the limit(.|\n)*--field-limit"):
        rows(path, field_limit=limit)
    assert len(rows(path, field_limit=limit + 10)[0]["text"]) == limit + 10


def test_a_row_with_a_cell_beyond_the_limit_is_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", f'text,label\na,x\n"{"b" * 10_000_000}",x\nc,y\n')
    stream = used(path, on_problem="drop")
    assert list(stream.items) == [
        Record(1, {"text": "a", "label": "x"}, 2),
        Problem("long", 2, 3, "10,000,000 characters, the limit is 1,000,000"),
        Record(3, {"text": "c", "label": "y"}, 4),
    ]
    found = read_table(path, reading=Reading(on_problem="drop"))
    assert found.rows.numbers == (1, 3)
    assert any("left out 1 row with a cell longer than the limit (row 2 (line 3)" in note for note in found.notes)


def test_jsonl_keys_may_differ_and_bad_lines_are_told(tmp_path: Path) -> None:
    content = '{"text": "a", "label": 1}\n\n{"text": "b", "extra": null}\n{"text": }\n[1]\n' + "[" * 100_000 + "\n"
    stream = used(write(tmp_path, "a.jsonl", content))
    items = list(stream.items)
    assert items[:2] == [Record(1, {"text": "a", "label": 1}, 1), Record(2, {"text": "b", "extra": None}, 3)]
    assert items[2] == Problem("json", 3, 4, "Expecting value at column 10")
    assert items[3] == Problem("json", 4, 5, "a list instead of an object")
    assert isinstance(items[4], Problem)
    assert (items[4].number, items[4].line) == (5, 6)
    assert stream.columns == ["text", "label", "extra"]


def test_json_list_and_json_lines_in_a_json_file(tmp_path: Path) -> None:
    assert rows(write(tmp_path, "a.json", ' [{"text": "a"},\n {"text": "b"}]')) == [{"text": "a"}, {"text": "b"}]
    assert rows(write(tmp_path, "b.json", '{"text": "a"}\n{"text": "b"}\n')) == [{"text": "a"}, {"text": "b"}]
    assert rows(write(tmp_path, "c.json", "[1]")) == [Problem("json", 1, None, "a int instead of an object")]
    assert rows(write(tmp_path, "f.json", b'\xef\xbb\xbf[{"text": "a"}]')) == [{"text": "a"}]
    with pytest.raises(DataError, match=r"d\.json cannot be read as JSON"):
        rows(write(tmp_path, "d.json", '[{"text": "a"}'))
    with pytest.raises(DataError, match="byte 0xe9 at offset 11, line 1"):
        rows(write(tmp_path, "e.json", b'[{"text": "\xe9"}]'))


def test_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", None], "label": [1, 0]}), tmp_path / "a.parquet")
    assert rows(tmp_path / "a.parquet") == [{"text": "a", "label": 1}, {"text": None, "label": 0}]
    with pytest.raises(DataError, match=r"b\.parquet cannot be read as Parquet"):
        rows(write(tmp_path, "b.parquet", "text,label\n"))


def test_no_such_file_names_a_near_one(tmp_path: Path) -> None:
    write(tmp_path, "reviews.csv", "text\na\n")
    with pytest.raises(DataError, match=r"there is no file .*review\.csv(.|\n)*did you mean .*reviews\.csv\?"):
        rows(tmp_path / "review.csv")
    with pytest.raises(DataError, match="there is no file"):
        rows(tmp_path / "nowhere" / "review.csv")
    with pytest.raises(DataError, match="is a folder"):
        rows(tmp_path)


def test_unknown_ending_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ends in '\.xlsx'\n  expected: a file that ends in \.csv, \.tsv"):
        rows(write(tmp_path, "a.xlsx", ""))


def test_a_file_half_read_is_closed(tmp_path: Path) -> None:
    stream = open_file(write(tmp_path, "a.csv", "text\na\nb\n"), Reading())
    assert next(stream.items) == Record(1, {"text": "a"}, 2)
    del stream  # an open file here would be a ResourceWarning, which fails the test
