"""What is sent to `/v1/prompts/{name}/predict` and `/v1/feedback`, and what the first of them answers, for /openapi.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field, SkipValidation

from pegbox.serve.first_wrong import Place, Strict, checked, wrong_texts
from pegbox.serve.reading import Given

ROWS = (
    "texts; or objects with the prompt's fields; of a prompt that tags also objects with a list of words (tokens); "
    "of a conversation its turns: a list, or an object with messages"
)
FIRST = "how many rows came before, in other requests: where a prompt draws texts, each row has its own stream of chance"
RIGHT = (
    "for each of its rows in order; null where it is not known; "
    "a list where a row may have several: labels, or entities as start-end:TYPE in characters"
)
LABEL, SEVERAL = 200, 1000
"""The most characters of a label, and the most labels of a row."""
Label = Annotated[str, Field(max_length=LABEL)]


def _wrong_rows(rows: Sequence[Any]) -> Iterable[Place]:
    """Where rows are not as `Given` says."""
    return ((at, *place) for at, row in enumerate(rows) for place in _wrong_row(row))


def _wrong_row(row: Any) -> Iterable[Place]:
    if isinstance(row, list):
        return _wrong_turns(row)
    if not isinstance(row, dict):
        return () if isinstance(row, str) else [()]
    return ((name, *place) for name, value in row.items() for place in _wrong_field(value))


def _wrong_field(value: Any) -> Iterable[Place]:
    """In a text, a list of words, or a list of turns."""
    if not isinstance(value, list):
        return () if isinstance(value, str) else [()]
    if value and isinstance(value[0], str):
        return ((at,) for at, word in enumerate(value) if not isinstance(word, str))
    return _wrong_turns(value)


def _wrong_turns(turns: Sequence[Any]) -> Iterator[Place]:
    for at, turn in enumerate(turns):
        if not isinstance(turn, dict):
            yield (at,)
            continue
        for name, value in turn.items():
            if isinstance(value, list):
                yield from ((at, name, *place) for place in _wrong_parts(value))
            elif not isinstance(value, str):
                yield (at, name)


def _wrong_parts(parts: Sequence[Any]) -> Iterator[Place]:
    for at, part in enumerate(parts):
        yield from ((at, *place) for place in wrong_texts(part)) if isinstance(part, dict) else [(at,)]


def _wrong_labels(labels: Sequence[Any]) -> Iterator[Place]:
    """Where something else stands than a label, a list of labels, or null."""
    for at, label in enumerate(labels):
        if isinstance(label, list) and len(label) <= SEVERAL:
            yield from ((at, number) for number, one in enumerate(label) if not _is_label(one))
        elif label is not None and not _is_label(label):
            yield (at,)


def _is_label(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LABEL


class Predict(Strict):
    """Rows to be labelled, tagged or written to."""

    rows: Annotated[
        list[SkipValidation[Given]],
        Field(min_length=1, description=ROWS),
        checked(_wrong_rows, "is no text, and nothing else that a row has there"),
    ]
    seconds: Annotated[float | None, Field(gt=0, description="how long the answer may take", default=None)]
    first: Annotated[int, Field(ge=0, lt=2**31, description=FIRST, default=0)]


class Feedback(Strict):
    """What the right labels were."""

    request: Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="the request that answers told, or x-request-id")]
    labels: Annotated[
        list[SkipValidation[Label | Annotated[list[Label], Field(max_length=SEVERAL)] | None]],
        Field(min_length=1, max_length=10_000, description=RIGHT),
        checked(_wrong_labels, f"is no label of at most {LABEL} characters, no list of at most {SEVERAL} of these, no null"),
    ]


def _example(prompt: str, task: str, labels: list[str], prediction: dict[str, Any]) -> dict[str, Any]:
    about = {"request": "0" * 32, "prompt": prompt, "task": task, "labels": labels}
    return {"value": {**about, "predictions": [{**prediction, "cut": False}]}}


_LABELS = ["sport", "news"]
_LIKELY = {"label": "sport", "probability": 0.7, "probabilities": {"sport": 0.7, "news": 0.3}}
_SPANS = {"spans": [{"start": 0, "end": 3, "label": "PER", "text": "Ann"}], "tags": ["B-PER", "O"]}
_EXAMPLES = {
    "a label": _example("topic@1", "classify", _LABELS, _LIKELY),
    "several labels": _example("topics@1", "multilabel", _LABELS, {**_LIKELY, "labels": _LABELS}),
    "entities": _example("names@1", "tag", [], _SPANS),
    "a text": _example("headlines@1", "generate", [], {"text": "Rain ends"}),
}
ANSWERED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "for each row its label with all probabilities, its entities, or its text; "
        "`cut` says whether the row was too long for the model",
        "content": {"application/json": {"examples": _EXAMPLES}},
    }
}
