"""Rows, the seal and their digest."""

from __future__ import annotations

import pytest

from pegbox.data.rows import Rows, Sealed
from pegbox.errors import DataError, SealedError


def three() -> Rows:
    return Rows.from_texts(["good", "bad", "so so"], ["pos", "neg", "pos"], "three.csv")


def test_from_texts_numbers_rows_from_one() -> None:
    rows = three()
    assert len(rows) == 3
    assert list(rows) == [{"text": "good"}, {"text": "bad"}, {"text": "so so"}]
    assert rows.numbers == (1, 2, 3)
    assert rows.label_set() == ("neg", "pos")


def test_take_keeps_numbers_labels_and_source() -> None:
    taken = three().take([2, 0])
    assert taken.column() == ["so so", "good"]
    assert taken.answers() == ("pos", "pos")
    assert taken.numbers == (3, 1)
    assert taken.source == "three.csv"


def test_rows_without_labels_say_how_to_get_some() -> None:
    rows = Rows.from_texts(["good"], source="new.csv")
    assert rows.take([0]).labels is None
    with pytest.raises(DataError, match=r"new\.csv has no labels(.|\n)*--label"):
        rows.answers()


def test_labels_must_be_as_many_as_rows() -> None:
    with pytest.raises(DataError, match="1 labels for 2 rows of rows"):
        Rows.from_texts(["a", "b"], ["x"])
    with pytest.raises(DataError, match="3 numbers for 2 rows"):
        Rows(({"text": "a"}, {"text": "b"}), numbers=(1, 2, 3))


def test_missing_field_names_the_row_by_its_number() -> None:
    rows = Rows(({"text": "a", "title": "t"}, {"text": "b"}), numbers=(7, 9), source="f.csv")
    with pytest.raises(DataError, match=r"f\.csv, row 9 has no field 'title' \(it has text\)"):
        rows.column("title")


def test_digest_depends_on_content_and_order_only() -> None:
    rows = three()
    same = Rows(rows.fields, rows.labels, numbers=(5, 6, 7), source="elsewhere")
    assert rows.digest() == same.digest()
    assert rows.digest() != rows.take([1, 0, 2]).digest()
    assert rows.digest() != Rows(rows.fields).digest()
    assert Rows(({"a": "1", "b": "2"},)).digest() == Rows(({"b": "2", "a": "1"},)).digest()


def test_digest_is_the_sha256_of_the_json() -> None:
    # sha256 of the bytes [[{"text": "a"}], ["x"]], by sha256sum
    expected = "2bbeb0daca9812b81867003d4a76e9d350e430b21472e371a9b34ac0cefe5194"
    assert Rows.from_texts(["a"], ["x"]).digest() == expected


def test_sealed_rows_want_a_reason_and_count_openings() -> None:
    sealed = Sealed(three())
    assert len(sealed) == 3
    assert sealed.digest() == three().digest()
    assert sealed.openings == []
    with pytest.raises(SealedError, match="without a reason"):
        sealed.open("  ")
    assert sealed.open("final scores").column() == ["good", "bad", "so so"]
    sealed.open("again")
    assert [(opening.reason, opening.count) for opening in sealed.openings] == [("final scores", 1), ("again", 2)]
    assert repr(sealed) == "Sealed(3 rows, opened 2 times)"
    assert "good" not in repr(sealed)
