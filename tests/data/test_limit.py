"""Fewer rows, where a person wants an answer sooner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from pegbox.data.limit import limited
from pegbox.data.rows import Data, Rows, Sealed
from pegbox.errors import SettingsError

Moods = Callable[[int, int], Rows]


@pytest.fixture
def data(moods: Moods) -> Data:
    return Data(moods(90, 1), Sealed(moods(60, 2)), moods(30, 3), ("said before",))


def test_without_limits_nothing_changes(data: Data) -> None:
    assert limited(data) == data
    assert limited(data, 90, 60).train == data.train
    assert limited(data, 1000, 1000).test is data.test


def test_rows_are_drawn_in_the_labels_proportions_and_said(data: Data) -> None:
    found = limited(data, 30, 15)
    assert Counter(found.train.answers()) == {"good": 20, "bad": 10}
    assert found.test is not None
    assert Counter(found.test.open("count").answers()) == {"good": 10, "bad": 5}
    assert set(found.train.column()) <= set(data.train.column())
    assert found.dev == data.dev
    assert found.notes == (
        "said before",
        "30 of 90 training rows are used, as asked",
        "15 of 60 test rows are scored, as asked",
    )


def test_the_same_rows_each_time_and_others_by_another_seed(data: Data) -> None:
    assert limited(data, 30).train == limited(data, 30).train
    assert limited(data, 30, seed=1).train != limited(data, 30).train
    assert data.train.numbers == tuple(range(1, 91))
    assert list(limited(data, 30).train.numbers) == sorted(limited(data, 30).train.numbers)


def test_openings_of_the_seal_are_remembered(data: Data) -> None:
    assert data.test is not None
    data.test.open("before")
    found = limited(data, None, 15)
    assert found.test is not None
    assert [opening.reason for opening in found.test.openings] == ["before", "drawing fewer test rows"]


def test_a_label_that_no_training_row_has_any_more_leaves_test_and_dev_too(moods: Moods) -> None:
    rows = moods(60, 1)
    assert rows.labels is not None
    rare = Rows.from_texts([*rows.column(), "odd one"], [*rows.labels, "odd"], "rows.csv")
    test = Rows.from_texts(["a fine one", "odd too"], ["good", "odd"], "test.csv")
    found = limited(Data(rare, Sealed(test), test), 30)
    assert found.train.label_set() == ("bad", "good")
    assert found.test is not None
    assert found.test.open("look").column() == ["a fine one"]
    assert found.dev is not None
    assert found.dev.column() == ["a fine one"]
    assert sum("left out 1 row whose label no training row has" in note for note in found.notes) == 2


def test_no_rows_at_all_are_refused(data: Data) -> None:
    with pytest.raises(SettingsError, match="a part of size 0"):
        limited(data, 0)


def test_rows_with_sets_of_labels_keep_every_label_that_can_be_kept() -> None:
    gold = tuple([label] for label in ("a", "b") for _ in range(20))
    train = Rows(tuple({"text": f"t{n}"} for n in range(40)), gold=gold)
    test = Rows(({"text": "x"}, {"text": "y"}), gold=(["a"], ["a", "z"]))
    found = limited(Data(train, Sealed(test)), 10, sets=True)
    assert Counter(label for own in found.train.gold or () for label in own) == {"a": 5, "b": 5}
    assert found.test is not None
    assert found.test.open("look").gold == (["a"],)  # no training row has z
