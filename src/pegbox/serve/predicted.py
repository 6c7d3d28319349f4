"""Rows answered, as JSON; with their answers in the log, and those of shadows after them.

The log's lines, which `pegbox compare --from-log` reads; none holds a text, unless the server was told to log texts:

    {"message": "predicted", "request": ID, "asked": "mood", "prompt": "mood@1", "shadow": false, "answers": ["good", ...]}
    {"message": "feedback", "request": ID, "labels": ["good", null, ...]}

What is several things, labels or entities (``0-5:PER``), is a list of them. Written texts are logged as
``{"message": "written", ..., "texts": [...]}``, and only where texts are logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from pegbox.data.rows import Rows
from pegbox.errors import PegboxError, SettingsError
from pegbox.serve import asking
from pegbox.serve.reading import Given, read
from pegbox.serve.served import Served

_log = logging.getLogger("pegbox.serve.answers")
_under_way: set[asyncio.Task[None]] = set()
"""Shadows that are answering; a task that nobody holds may be forgotten."""


async def predicted(
    request: Request, name: str, served: Served, given: Sequence[Given], seconds: float, first: int = 0
) -> list[dict[str, Any]]:
    """Each row's answer. Shadows of the name answer after it, into the log alone.

    Settings:
        given: the rows as they were sent: each prompt reads them as its task does.
        first: how many rows were before these, where one set is sent in several requests.
    """
    rows = await read(request, given, served)
    made = await _answers(request, served, rows, seconds, first, watched=True)
    _note(request, name, served, rows, made, shadow=False)
    for shadow in asking.house_of(request).shelf.shadows(name):
        task = asyncio.create_task(_follow(request, name, shadow, given, seconds, first))
        _under_way.add(task)
        task.add_done_callback(_under_way.discard)
    return made


async def _answers(
    request: Request, served: Served, rows: Rows, seconds: float, first: int, *, watched: bool
) -> list[dict[str, Any]]:
    if served.writes:
        texts, cut = await asking.write(request, served, rows, seconds, first, watched)
        return [{"text": text, "cut": at in cut} for at, text in enumerate(texts)]
    if served.tags:
        found, cut = await asking.tag(request, served, rows, seconds, watched)
        return [{**served.tuned.task.plain(one), "cut": at in cut} for at, one in enumerate(found)]
    chances, cut = await asking.score(request, served, rows, seconds, watched)
    return labelled(served, chances, cut)


def labelled(served: Served, chances: NDArray[np.float32], cut: Sequence[int]) -> list[dict[str, Any]]:
    """Each row's label, its probability, and those of all labels; where a text may have several, these too."""
    rows = []
    for at, row in enumerate(chances):
        shares = {label: round(float(share), 6) for label, share in zip(served.labels, row, strict=True)}
        label = served.labels[int(row.argmax())]
        several = {} if (given := served.given(row)) is None else {"labels": given}
        rows.append({"label": label, **several, "probability": shares[label], "probabilities": shares, "cut": at in cut})
    return rows


async def _follow(request: Request, name: str, shadow: Served, given: Sequence[Given], seconds: float, first: int) -> None:
    """A shadow's answer. It has no say in the request's: whatever goes wrong is logged, and that is all."""
    try:
        if shadow.writes and not asking.house_of(request).log_texts:
            raise SettingsError("a shadow that writes texts, which are not logged", "a log of texts", "say --log-texts")
        rows = await read(request, given, shadow)
        made = await _answers(request, shadow, rows, seconds, first, watched=False)
        _note(request, name, shadow, rows, made, shadow=True)
    except PegboxError as error:
        about = {"request": request.state.request, "prompt": str(shadow.name), "why": str(error)}
        _log.warning("shadow left out", extra=about)
    except Exception:  # noqa: BLE001  # the request is answered already
        _log.exception("a shadow failed")


def _note(request: Request, name: str, served: Served, rows: Rows, made: Sequence[dict[str, Any]], *, shadow: bool) -> None:
    about: dict[str, Any] = {"request": request.state.request, "asked": name, "prompt": str(served.name), "shadow": shadow}
    texts = asking.house_of(request).log_texts
    if texts and not shadow:
        about["rows"] = [dict(row) for row in rows.fields]
    if not served.writes:
        _log.info("predicted", extra={**about, "answers": [_logged(row) for row in made]})
    elif texts:
        _log.info("written", extra={**about, "texts": [row["text"] for row in made]})


def _logged(made: dict[str, Any]) -> str | list[str]:
    """An answer without a word of the row's text."""
    if "spans" in made:
        return [f"{span['start']}-{span['end']}:{span['label']}" for span in made["spans"]]
    return list(made["labels"]) if "labels" in made else str(made["label"])


def note_feedback(request_id: str, labels: Sequence[str | list[str] | None]) -> None:
    """Writes down what the right labels of a request's rows were."""
    _log.info("feedback", extra={"request": request_id, "labels": list(labels)})
