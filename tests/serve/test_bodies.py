"""Bodies with many wrong values: the first one is told, and no more is made of the others."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from pegbox.serve import openai, passing
from pegbox.serve.bodies import Feedback, Predict

MANY = 50_000
WRONG = {f"n{at}": 1 for at in range(MANY)}
ID = "0" * 32


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        (Predict, {"rows": [1] * MANY}, "0 is no text"),
        (Predict, {"rows": ["a", None]}, "1 is no text"),
        (Predict, {"rows": ["a", {"a": "b", "tokens": ["c", *[1] * MANY]}]}, "1.tokens.1 is no text"),
        (Predict, {"rows": [{"a": [1] * MANY}]}, "0.a.0 is no text"),
        (Predict, {"rows": [{"a": [[]] * MANY}]}, "0.a.0 is no text"),
        (Predict, {"rows": [{"a": {}}]}, "0.a is no text"),
        (Predict, {"rows": [WRONG]}, "0.n0 is no text"),
        (Predict, {"rows": [{"x" * MANY: 1}]}, f"0.{'x' * 80} is no text"),
        (Predict, {"rows": [["a"] * MANY]}, "0.0 is no text"),
        (Predict, {"rows": [[WRONG]]}, "0.0.n0 is no text"),
        (Predict, {"rows": [[{"content": [1] * MANY}]]}, "0.0.content.0 is no text"),
        (Predict, {"rows": [[{"content": [WRONG]}]]}, "0.0.content.0.n0 is no text"),
        (Predict, {"rows": ["a"], **WRONG}, "n0 is no key"),
        (Feedback, {"request": ID, "labels": [1] * 10_000}, "0 is no label"),
        (Feedback, {"request": ID, "labels": [["a", *[1] * 999]] * 50}, "0.1 is no label"),
        (Feedback, {"request": ID, "labels": [None, ["a"] * 1001]}, "1 is no label"),
        (Feedback, {"request": ID, "labels": [[], "a" * 201]}, "1 is no label"),
        (Feedback, {"request": ID, "labels": [None], **WRONG}, "n0 is no key"),
        (openai.Chat, {"model": "a", "messages": [1] * MANY}, "valid dictionary"),
        (openai.Chat, {"model": "a", "messages": [{"role": "user", "content": [1] * MANY}]}, "valid string"),
        (openai.Completion, {"model": "a", "prompt": "b", "fields": WRONG}, "n0 is no text"),
        (openai.Completion, {"model": "a", "prompt": "b", "stop": [1] * MANY}, "valid string"),
        (openai.Completion, {"model": "a", "prompt": [1] * MANY}, "valid string"),
        (passing.Chat, {"model": "a", "messages": [1] * MANY}, "valid dictionary"),
        (passing.Completion, {"model": "a", "prompt": "b", "fields": WRONG}, "n0 is no text"),
    ],
)
def test_the_first_wrong_value_is_told_and_no_more(kind: type[BaseModel], body: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as error:
        kind.model_validate(body)
    assert error.value.error_count() <= 6  # at most a few for the kinds that one value may be of
    assert told in error.value.errors()[0]["msg"]


def test_rows_and_labels_of_every_kind_are_taken() -> None:
    turns = [{"role": "user", "content": [{"type": "text", "text": "a"}]}, {"role": "assistant", "content": "b"}]
    rows = ["a", {"text": "b"}, {"tokens": ["c", "d"]}, {"tokens": []}, {"messages": turns}, turns, []]
    assert Predict.model_validate({"rows": rows}).rows == rows
    labels = [None, "", "a", [], ["a", "b"]]
    assert Feedback.model_validate({"request": ID, "labels": labels}).labels == labels
