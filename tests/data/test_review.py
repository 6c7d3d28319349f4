"""What stands out in tables, and what two tables must not share."""

from __future__ import annotations

import pytest

from pegbox.data.review import review, two_labels, without_leaks, without_repeats, without_unseen
from pegbox.data.rows import Rows
from pegbox.errors import DataError


def test_a_clean_table_has_no_notes() -> None:
    assert review(Rows.from_texts(["a", "b", "c", "d"], ["x", "y", "x", "y"])) == ()


def test_repeats_and_contradictions_are_counted_with_rows() -> None:
    rows = Rows.from_texts(["a", "b", "a", "a", "b"], ["x", "y", "x", "x", "x"], "f.csv")
    assert review(rows) == (
        "f.csv: 2 rows repeat the text and label of an earlier row (rows 3, 4); kept.",
        "f.csv: 1 text with more than one label (rows 2, 5); kept, as nobody here knows which is right.",
        "f.csv: 1 label seen only once: 'y' (row 2); too few to learn and to test.",
    )


def test_texts_that_differ_in_any_field_are_no_repeats() -> None:
    rows = Rows(({"text": "a", "title": "1"}, {"text": "a", "title": "2"}), ("x", "x"))
    assert review(rows) == ()


def test_odd_labels() -> None:
    rows = Rows.from_texts(list("abcdef"), ["pos", "Pos", "pos", "Pos", "NaN", "NaN"], "f.csv")
    assert review(rows) == (
        "f.csv: labels that differ only in spaces or capitals: 'Pos', 'pos'; taken as different labels.",
        "f.csv: taken as a label like any other: 'NaN' (2 rows).",
    )


def test_rows_without_labels_are_reviewed_for_repeats() -> None:
    assert review(Rows.from_texts(["a", "a"])) == ("rows: 1 row repeats the text of an earlier row (row 2); kept.",)


def test_without_repeats_keeps_the_first_and_contradictions() -> None:
    rows = Rows.from_texts(["a", "b", "a", "b"], ["x", "y", "x", "x"], "f.csv")
    kept, notes = without_repeats(rows)
    assert kept.numbers == (1, 2, 4)
    assert notes == ("f.csv: left out 1 row with the text and label of an earlier row (row 3).",)
    assert without_repeats(kept) == (kept, ())


def test_two_labels() -> None:
    two_labels(Rows.from_texts(["a", "b"], ["x", "y"]))
    with pytest.raises(DataError, match=r"every row of f\.csv has the label 'x'"):
        two_labels(Rows.from_texts(["a", "b"], ["x", "x"], "f.csv"))


def test_leaks() -> None:
    train = Rows.from_texts(["a", "b", "c"], ["x", "y", "x"], "train.csv")
    test = Rows.from_texts(["z", "b"], ["x", "x"], "test.csv")
    with pytest.raises(DataError, match=r"train\.csv has 1 row whose .* \(row 2: the first is row 2 of test\.csv\)"):
        without_leaks(train, test)
    kept, notes = without_leaks(train, test, "drop")
    assert kept.numbers == (1, 3)
    assert len(notes) == 1
    assert without_leaks(kept, test) == (kept, ())


def test_unseen_labels() -> None:
    train = Rows.from_texts(["a", "b"], ["x", "y"], "train.csv")
    test = Rows.from_texts(["c", "d"], ["x", "z"], "test.csv")
    with pytest.raises(DataError, match=r"test\.csv has 1 row whose .* \(row 2: .* 'z', known are 'x', 'y'\)"):
        without_unseen(test, train)
    kept, notes = without_unseen(test, train, "drop")
    assert kept.numbers == (1,)
    assert len(notes) == 1
