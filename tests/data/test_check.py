"""Problems of rows: how they are told, and when they stop us."""

from __future__ import annotations

import pytest

from pegbox.data.check import Problem, bad_cell, check_policy, count, listing, no_column, settle, which
from pegbox.errors import DataError, SettingsError


def test_which_lists_five_and_counts_the_others() -> None:
    assert which([4]) == "row 4"
    assert which([1, 2, 3, 4, 5]) == "rows 1, 2, 3, 4, 5"
    assert which(list(range(10, 1010))) == "rows 10, 11, 12, 13, 14 and 995 more"
    assert count(1, "row") == "1 row"
    assert count(12345, "row") == "12,345 rows"


def test_nothing_wrong_is_nothing_said() -> None:
    assert settle([], "f.csv", "error") == ()
    assert settle([], "f.csv", "drop") == ()


def test_error_names_every_kind_with_count_rows_and_lines() -> None:
    problems = [Problem("text", 3, 4), Problem("label", 3, 4), Problem("text", 9, 12)]
    with pytest.raises(DataError) as caught:
        settle(problems, "f.csv", "error")
    assert caught.value.came == (
        "f.csv has 2 rows without a text (rows 3 (line 4), 9 (line 12)); and 1 row without a label (row 3 (line 4))"
    )
    assert caught.value.expected == "a text in every row; a label in every row"
    assert "on_problem='drop' (--on-problem drop)" in caught.value.remedy


def test_drop_says_what_was_left_out() -> None:
    notes = settle([Problem("cells", 2, 3, "3 cells, the header has 2")], "f.csv", "drop")
    assert notes == ("f.csv: left out 1 row with too few or too many cells (row 2 (line 3): 3 cells, the header has 2).",)


def test_only_two_policies() -> None:
    check_policy("drop")
    with pytest.raises(SettingsError, match="on_problem='ignore'"):
        check_policy("ignore")


def test_bad_cells() -> None:
    assert bad_cell("all is well\r\n\u2028 <|im_end|> {text} 😀", 100) is None
    assert bad_cell("abc", 3) is None
    assert bad_cell("abcd", 3) == ("long", "4 characters, the limit is 3")
    assert bad_cell("ab\0c", 100) == ("nul", "at character 3")
    assert bad_cell("a\ud800", 100) == ("half", "at character 2")


def test_missing_column_names_the_nearest() -> None:
    error = no_column("f.csv", "Reviw", ["id", "review", "label"], "text")
    assert error.came == "f.csv has no column 'Reviw'"
    assert error.expected == "one of its columns: 'id', 'review', 'label'"
    assert error.remedy.startswith("did you mean 'review'? ")
    assert "--text" in error.remedy
    assert "did you mean" not in no_column("f.csv", "zzz", ["review"], "text").remedy


def test_listing_cuts_long_names_and_long_lists() -> None:
    assert listing(["a" * 50]) == repr("a" * 39 + "…")
    assert listing([str(n) for n in range(23)]).endswith("'19' and 3 more")
