"""Columns: named, guessed, or asked for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pegbox.data.columns import Preview, choose
from pegbox.errors import DataError

LONG = ["the food was good", "we will not come back", "a fine evening", "cold soup again"]


def table(**columns: Sequence[object]) -> Preview:
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    return Preview("f.csv", list(columns), rows)


def test_named_columns_are_taken_and_nothing_is_said() -> None:
    choice, notes = choose(table(a=LONG, b=LONG, c=["x", "y", "x", "y"]), "b", "c", labelled=True)
    assert choice.fields == {"text": "b"}
    assert choice.label == "c"
    assert notes == ()


def test_several_texts_and_extra_fields() -> None:
    preview = table(premise=LONG, hypothesis=LONG, title=LONG, gold=["x", "y", "x", "y"])
    choice, _ = choose(preview, ["premise", "hypothesis"], "gold", ["title"], True)
    assert choice.fields == {"text": "premise", "hypothesis": "hypothesis", "title": "title"}
    assert choice.needed == {"premise", "hypothesis"}


def test_well_known_names() -> None:
    preview = table(id=[1, 2, 3, 4], Review=LONG, note=LONG, Sentiment=["p", "n", "p", "n"])
    choice, notes = choose(preview, None, None, labelled=True)
    assert choice.fields == {"text": "Review"}
    assert choice.label == "Sentiment"
    assert notes == ("f.csv: took 'Review' as the text (--text) and 'Sentiment' as the label (--label).",)


def test_the_one_wordy_column_beside_the_one_few_valued_column() -> None:
    preview = table(id=["1", "2", "3", "4"], said=LONG, verdict=["p", "n", "p", "n"])
    choice, notes = choose(preview, None, None, labelled=True)
    assert choice.fields == {"text": "said"}
    assert choice.label == "verdict"
    assert len(notes) == 1


def test_a_guess_beside_a_given_column_says_only_the_guess() -> None:
    _, notes = choose(table(said=LONG, verdict=["p", "n", "p", "n"]), "said", None, labelled=True)
    assert notes == ("f.csv: took 'verdict' as the label (--label).",)


def test_two_possible_texts_are_asked_about() -> None:
    preview = table(one=LONG, two=LONG[::-1], verdict=["p", "n", "p", "n"])
    with pytest.raises(DataError) as caught:
        choose(preview, None, "verdict", labelled=True)
    assert "the columns 'one', 'two', 'verdict'; more than one may hold the texts: 'one', 'two'" in caught.value.came
    assert "--text COLUMN" in caught.value.remedy


def test_two_well_known_labels_are_asked_about() -> None:
    preview = table(text=LONG, label=["p", "n", "p", "n"], category=["p", "n", "p", "n"])
    with pytest.raises(DataError, match="more than one may hold the labels: 'label', 'category'"):
        choose(preview, None, None, labelled=True)


def test_no_label_is_asked_about_only_where_labels_are_needed() -> None:
    preview = table(text=LONG, id=[1, 2, 3, 4])
    with pytest.raises(DataError, match="none is clearly the one with the labels"):
        choose(preview, None, None, labelled=True)
    assert choose(preview, None, None, labelled=None)[0].label is None
    assert choose(preview, None, None, labelled=False)[0].label is None


def test_without_need_a_label_is_guessed_by_name_only() -> None:
    few = ["web", "app", "web", "app"]
    assert choose(table(text=LONG, channel=few), "text", None)[0].label is None
    assert choose(table(text=LONG, label=few), "text", None)[0].label == "label"
    assert choose(table(text=LONG, label=few), "text", "label", labelled=False)[0].label is None


def test_a_wrong_name_is_an_error_even_where_a_guess_would_do() -> None:
    with pytest.raises(DataError, match="has no column 'labell'"):
        choose(table(text=LONG, label=["p", "n", "p", "n"]), None, "labell", labelled=True)
    with pytest.raises(DataError, match="has no column 'titel'"):
        choose(table(text=LONG, title=LONG), "text", None, ["titel"])


@pytest.mark.parametrize(
    ("text", "label", "fields"), [("a", "a", []), (["a", "a"], "c", []), (["a", "text"], "c", []), ("a", "c", ["c"])]
)
def test_a_column_used_twice(text: str, label: str, fields: list[str]) -> None:
    preview = table(a=LONG, text=LONG, c=["p", "n", "p", "n"])
    with pytest.raises(DataError, match="give one field twice"):
        choose(preview, text, label, fields, True)


def test_text_called_text_may_come_first_among_several() -> None:
    choice, _ = choose(table(text=LONG, other=LONG, c=["p", "n", "p", "n"]), ["text", "other"], "c", labelled=True)
    assert choice.fields == {"text": "text", "other": "other"}
