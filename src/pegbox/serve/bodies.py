"""What is sent to `/v1/prompts/{name}/predict` and `/v1/feedback`, and what the first of them answers, for /openapi.json."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

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
Label = Annotated[str, Field(max_length=200)]


class Predict(BaseModel):
    """Rows to be labelled, tagged or written to."""

    model_config = ConfigDict(extra="forbid")
    rows: Annotated[list[Given], Field(min_length=1, description=ROWS)]
    seconds: Annotated[float | None, Field(gt=0, description="how long the answer may take", default=None)]
    first: Annotated[int, Field(ge=0, lt=2**31, description=FIRST, default=0)]


class Feedback(BaseModel):
    """What the right labels were."""

    model_config = ConfigDict(extra="forbid")
    request: Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="the request that answers told, or x-request-id")]
    labels: Annotated[
        list[Label | Annotated[list[Label], Field(max_length=1000)] | None],
        Field(min_length=1, max_length=10_000, description=RIGHT),
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
