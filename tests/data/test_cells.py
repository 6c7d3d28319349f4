"""Cells: values of any table as text."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest

from pegbox.data.cells import NotTextError, as_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("  as it is \n", "  as it is \n"),
        (1, "1"),
        (1.0, "1"),
        (-3.0, "-3"),
        (0.5, "0.5"),
        (True, "True"),
        (np.int64(4), "4"),
        (np.float32(2.0), "2"),
        (np.bool_(False), "False"),
        (np.str_("word"), "word"),
        (decimal.Decimal("1.50"), "1.50"),
        (datetime.date(2024, 5, 1), "2024-05-01"),
        (float("inf"), "inf"),
    ],
)
def test_one_spelling(value: object, text: str) -> None:
    assert as_text(value) == text
    assert type(as_text(value)) is str


@pytest.mark.parametrize("value", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT])
def test_missing(value: object) -> None:
    assert as_text(value) is None


@pytest.mark.parametrize("value", [["a"], {"a": 1}, b"bytes", ("a",), np.array(["a", "b"]), object()])
def test_no_one_spelling(value: object) -> None:
    with pytest.raises(NotTextError):
        as_text(value)
