"""Far too long rows are left out of a search, and counted."""

from pegbox.data.rows import Rows
from pegbox.tune.trail import Trail
from pegbox.tune.usual_rows import usual_rows


def test_rows_of_the_usual_length_stay_as_they_are() -> None:
    rows, trail = Rows.from_texts(["a" * 10, "b" * 800]), Trail()
    assert usual_rows(rows, ("text",), trail, "training") is rows  # a short median counts as 100 characters
    assert trail.events == []


def test_far_too_long_rows_are_left_out_and_told() -> None:
    rows, trail = Rows.from_texts(["a" * 200, "b" * 1600, "c" * 1601, "d" * 200, "e" * 200], list("xyxyx")), Trail()
    found = usual_rows(rows, ("text",), trail, "training")
    assert found.numbers == (1, 2, 4, 5)
    assert found.labels == ("x", "y", "y", "x")
    (note,) = trail.of("note")
    assert note["text"] == "1 of 5 training rows are over 8 times as long as most; the search leaves them out"


def test_only_the_fields_that_the_prompt_reads_count() -> None:
    rows, trail = Rows(({"text": "a", "page": "b" * 9999}, {"text": "c", "page": "d"})), Trail()
    assert usual_rows(rows, ("text",), trail, "dev") is rows
    assert len(usual_rows(rows, ("text", "page"), trail, "dev")) == 2  # the median of two is between them
