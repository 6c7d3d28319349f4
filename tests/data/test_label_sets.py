"""Texts with any number of labels: how they are read, parted and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pegbox.data.label_sets import by_rarest_label, label_set_rows, labels_of, read_label_sets, read_sets
from pegbox.data.rows import Rows
from pegbox.data.split import dev_split, few_shot
from pegbox.errors import DataError


def jsonl(folder: Path, rows: list[dict[str, object]], name: str = "a.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_lists_in_jsonl(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path, [{"text": "x", "topics": ["b", "a", "b"]}, {"text": "y", "topics": []}, {"text": "z", "topics": "a"}]
    )
    found = read_sets(path)
    assert found.rows.gold == (["b", "a"], [], ["a"])
    assert found.rows.labels is None
    assert labels_of(found.rows) == ("a", "b")
    assert f"{path}: took 'topics' as the labels (--label)." in found.notes
    assert f"{path}: 1 row without any label." in found.notes


def test_a_separator_is_guessed_and_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\nx,a; b\ny,\nz,b\nw,a;c\n", encoding="utf-8")
    found = read_sets(path)
    assert found.rows.gold == (["a", "b"], [], ["b"], ["a", "c"])
    assert f"{path}: the labels in 'label' are taken as divided by ';'." in found.notes
    path.write_text('text,label\nx,"a|b, or c"\ny,"b, or c"\nz,a\n', encoding="utf-8")
    assert read_sets(path).rows.gold == (["a", "b, or c"], ["b, or c"], ["a"])


def test_cells_with_one_label_each_are_one_label_each(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\nx,"lost, or stolen"\ny,late\nz,late\n', encoding="utf-8")
    assert read_sets(path).rows.gold == (["lost, or stolen"], ["late"], ["late"])


def test_a_row_without_the_column_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = jsonl(tmp_path, [{"text": "x", "labels": ["a"]}, {"text": "y"}, {"text": "z", "labels": [["a"]]}])
    with pytest.raises(DataError, match=r"1 row without a label \(row 2 \(line 2\)(.|\n)*neither a text nor a number \(row 3"):
        read_sets(path)


def test_a_part_is_split_off_by_the_rarest_label() -> None:
    rows = Rows(
        tuple({"text": f"t{n}"} for n in range(40)),
        gold=tuple(["often", "seldom"] if n % 10 == 0 else ["often"] if n % 2 else [] for n in range(40)),
    )
    rest, drawn = by_rarest_label(rows, 0.25, 0)
    assert (len(rest), len(drawn)) == (30, 10)
    assert sum("seldom" in own for own in drawn.gold or ()) == 1  # a quarter of 4
    assert sum(not own for own in drawn.gold or ()) == 4  # of the 16 without a label
    assert sorted((*rest.numbers, *drawn.numbers)) == list(range(1, 41))


def test_dev_rows_and_shots_are_drawn_by_the_rarest_label_too(tmp_path: Path) -> None:
    labels = [["often", "seldom"] if n % 20 == 0 else ["often"] if n % 4 == 1 else [] for n in range(80)]
    rows = [{"text": f"t{n}", "labels": own} for n, own in enumerate(labels)]
    found = read_label_sets(jsonl(tmp_path, rows), test_size=0)
    train, dev = dev_split(found.train)
    for part, size in ((train, 64), (dev, 16)):  # 4, 20 and 56 rows, of which a fifth is drawn
        sets = [tuple(own) for own in part.gold or ()]
        assert (sets.count(("often", "seldom")), sets.count(("often",)), sets.count(())) == (
            (3, 16, 45) if size == 64 else (1, 4, 11)
        )
    assert sorted(few_shot(found.train, 3).strata or ()) == ["no label"] * 3 + ["often"] * 3 + ["seldom"] * 3
    assert found.train.labels is None  # a stratum is no answer
    with pytest.raises(DataError, match="5 shots were asked for, but 'seldom' has 4"):
        few_shot(found.train, 5)


def test_test_rows_are_sealed_and_said(tmp_path: Path) -> None:
    path = jsonl(tmp_path, [{"text": f"t{n}", "labels": [["a"], ["a", "b"], []][n % 3]} for n in range(30)])
    found = read_label_sets(path, test_size=6)
    assert found.test is not None
    assert (len(found.train), len(found.test)) == (24, 6)
    assert any("6 of 30 rows are split off as test rows (by each row's rarest label, seed 0)" in note for note in found.notes)


def test_labels_that_training_lacks_stop_the_reading_or_are_left_out(tmp_path: Path) -> None:
    train = jsonl(tmp_path, [{"text": "x", "labels": ["a"]}, {"text": "y", "labels": ["b"]}])
    test = jsonl(tmp_path, [{"text": "z", "labels": ["a", "c"]}, {"text": "w", "labels": ["b"]}], "test.jsonl")
    with pytest.raises(
        DataError, match=r"1 row whose label no training row has \(row 1: the first is 'c', known are 'a', 'b'\)"
    ):
        read_label_sets(train, test=test)
    found = read_label_sets(train, test=test, on_problem="drop")
    assert found.test is not None
    assert len(found.test) == 1


def test_no_label_anywhere_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no row of .* has a label"):
        read_label_sets(jsonl(tmp_path, [{"text": "x", "labels": []}, {"text": "y", "labels": []}]), test_size=0)


def test_rows_to_be_answered_need_no_labels(tmp_path: Path) -> None:
    rows, notes = label_set_rows(jsonl(tmp_path, [{"text": "x y"}, {"text": "z w"}]), None, None, False)
    assert rows.column() == ["x y", "z w"]
    assert rows.gold is None
    assert notes != ()


def test_rows_in_memory() -> None:
    found = read_label_sets([("x", ["a"]), ("y", ["b", "a"]), ("z", [])], test_size=0)
    assert found.train.gold == (["a"], ["b", "a"], [])
    rows = Rows(({"text": "x"}, {"text": "y"}), gold=(["a"], ["b"]))
    assert read_label_sets(rows, test_size=0).train.gold == (["a"], ["b"])


def test_a_list_that_is_written_into_a_cell_is_a_list() -> None:
    found = read_sets([{"text": "x", "labels": '["a", "b"]'}, {"text": "y", "labels": "a"}], label="labels").rows
    assert found.gold == (["a", "b"], ["a"])


def test_the_mark_between_labels_is_found_in_few_test_rows_by_the_training_rows_labels() -> None:
    train = [
        {"text": f"t{n}", "labels": cell} for n, cell in enumerate(["fees|law", "law", "fees", "fees|law|data", "data"] * 4)
    ]
    found = read_label_sets(train, label="labels", test=[{"text": "x", "labels": "fees|data"}])
    assert found.test is not None
    assert found.test.open("look").gold == (["fees", "data"],)
