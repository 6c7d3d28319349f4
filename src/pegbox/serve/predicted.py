"""Rows labelled, with their answers in the log, and those of shadows after them.

The log's lines, which `pegbox compare --from-log` reads; none holds a text, unless the server was told to log texts:

    {"message": "predicted", "request": ID, "asked": "mood", "prompt": "mood@1", "shadow": false, "answers": ["good", ...]}
    {"message": "feedback", "request": ID, "labels": ["good", null, ...]}
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from pegbox.data.rows import Rows
from pegbox.errors import PegboxError
from pegbox.serve import asking
from pegbox.serve.served import Served

_log = logging.getLogger("pegbox.serve.answers")
_under_way: set[asyncio.Task[None]] = set()
"""Shadows that are answering; a task that nobody holds may be forgotten."""


async def predicted(request: Request, name: str, served: Served, rows: Rows, seconds: float) -> list[dict[str, Any]]:
    """Each row's label with its probabilities. Shadows of the name answer after it, into the log alone."""
    made = await _labelled(request, served, rows, seconds)
    _note(request, name, served, rows, made, shadow=False)
    for shadow in asking.house_of(request).shelf.shadows(name):
        task = asyncio.create_task(_follow(request, name, shadow, rows, seconds))
        _under_way.add(task)
        task.add_done_callback(_under_way.discard)
    return made


async def _labelled(request: Request, served: Served, rows: Rows, seconds: float) -> list[dict[str, Any]]:
    chances, cut = await asking.score(request, served, rows, seconds)
    return asking.labelled(served, chances, cut)


async def _follow(request: Request, name: str, shadow: Served, rows: Rows, seconds: float) -> None:
    """A shadow's answer. It has no say in the request's: whatever goes wrong is logged, and that is all."""
    try:
        asking.check_rows(rows, shadow, asking.house_of(request).limits)
        chances, cut = await asking.score(request, shadow, rows, seconds, watched=False)
        _note(request, name, shadow, rows, asking.labelled(shadow, chances, cut), shadow=True)
    except PegboxError as error:
        about = {"request": request.state.request, "prompt": str(shadow.name), "why": str(error)}
        _log.warning("shadow left out", extra=about)
    except Exception:  # noqa: BLE001  # the request is answered already
        _log.exception("a shadow failed")


def _note(request: Request, name: str, served: Served, rows: Rows, made: Sequence[dict[str, Any]], *, shadow: bool) -> None:
    about: dict[str, Any] = {"request": request.state.request, "asked": name, "prompt": str(served.name), "shadow": shadow}
    if asking.house_of(request).log_texts and not shadow:
        about["rows"] = [dict(row) for row in rows.fields]
    _log.info("predicted", extra={**about, "answers": [row["label"] for row in made]})


def note_feedback(request_id: str, labels: Sequence[str | None]) -> None:
    """Writes down what the right labels of a request's rows were."""
    _log.info("feedback", extra={"request": request_id, "labels": list(labels)})
