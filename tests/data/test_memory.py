"""Sources in memory: every kind gives the same rows."""

from __future__ import annotations

from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest

from pegbox.data.memory import open_table
from pegbox.data.rows import Rows
from pegbox.data.stream import Record
from pegbox.errors import DataError

EXPECTED = [{"text": "good", "label": "pos"}, {"text": "bad", "label": "neg"}]


def values(source: Any) -> list[Any]:
    return [item.values for item in open_table(source).items if isinstance(item, Record)]


@pytest.mark.parametrize(
    "source",
    [
        [("good", "pos"), ("bad", "neg")],
        [["good", "pos"], ["bad", "neg"]],
        EXPECTED,
        (["good", "bad"], ["pos", "neg"]),
        (np.array(["good", "bad"]), pd.Series(["pos", "neg"], index=[7, 7])),
        pd.DataFrame(EXPECTED, index=[5, 5]),
        datasets.Dataset.from_list(EXPECTED),
        Rows.from_texts(["good", "bad"], ["pos", "neg"]),
    ],
    ids=["pairs", "lists", "dicts", "columns", "arrays", "frame", "dataset", "rows"],
)
def test_every_kind_gives_the_same_rows(source: Any) -> None:
    assert values(source) == EXPECTED
    assert open_table(source).columns == ["text", "label"]


@pytest.mark.parametrize(
    "source", [["good", "bad"], np.array(["good", "bad"]), np.array(["good", "bad"], dtype=object), pd.Series(["good", "bad"])]
)
def test_texts_alone(source: Any) -> None:
    assert values(source) == [{"text": "good"}, {"text": "bad"}]


def test_missing_texts_stay_in_their_place() -> None:
    assert values([None, "a"]) == [{"text": None}, {"text": "a"}]
    assert values(pd.Series(["a", None, "b"]))[2] == {"text": "b"}


def test_rows_keep_their_numbers() -> None:
    items = open_table(Rows.from_texts(["a", "b", "c"], ["x", "y", "x"]).take([2, 0])).items
    assert [item.number for item in items] == [3, 1]


def test_rows_with_a_field_called_label() -> None:
    with pytest.raises(DataError, match="also a field named 'label'"):
        open_table(Rows(({"text": "a", "label": "b"},), ("x",)))


def test_class_labels_become_their_names_and_minus_one_is_missing() -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    source = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    assert [row["label"] for row in values(source)] == ["pos", "neg", None]
    assert [row["label"] for row in values(source.with_format("numpy"))] == ["pos", "neg", None]


def test_frame_columns_become_text_and_must_differ() -> None:
    assert values(pd.DataFrame({0: ["a"], 1: ["x"]})) == [{"0": "a", "1": "x"}]
    with pytest.raises(DataError, match="more than one column named 'a'"):
        open_table(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_items_of_two_kinds() -> None:
    with pytest.raises(DataError, match=r"row 2 of the list is a tuple, row 1 is a \(text, label\) pair"):
        open_table([("a", "x"), ("b", "y", "z")])
    with pytest.raises(DataError, match="row 2 of the list is a str, row 1 is a dict"):
        open_table([{"text": "a"}, "b"])


def test_columns_of_different_length() -> None:
    with pytest.raises(DataError, match="2 texts and 1 labels"):
        open_table((["a", "b"], ["x"]))


@pytest.mark.parametrize("source", [3, {"text": ["a"]}, (("a", "x"), ("b", "y")), None, object()])
def test_unknown_kinds_are_told_what_there_is(source: Any) -> None:
    with pytest.raises(DataError, match=f"data of type {type(source).__name__}(.|\n)*a DataFrame"):
        open_table(source)


def test_lists_of_other_things() -> None:
    with pytest.raises(DataError, match="a list that begins with a tuple of 3"):
        open_table([("a", "b", "c")])
    with pytest.raises(DataError, match="a list that begins with a int"):
        open_table([1, 2])
