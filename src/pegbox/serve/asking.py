"""From an HTTP request to work for the model's thread, and back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from pegbox.data.rows import Rows
from pegbox.errors import DataError
from pegbox.serve.errors import LateError, TooLargeError
from pegbox.serve.house import House, Premises
from pegbox.serve.keys import Role
from pegbox.serve.served import Served
from pegbox.serve.settings import Limits
from pegbox.serve.shelf import Kept
from pegbox.serve.work import Errand, Scoring, Seated

Result = TypeVar("Result")
APART = 8
"""Rows at a time of a prompt that is scored by itself, so that others have their turns in between."""


def house_of(request: Request) -> House:
    """The server that a request came to."""
    house: House = request.app.state.house
    return house


def premises_of(request: Request) -> Premises:
    """The same, where it does not matter who answers."""
    found: Premises = request.app.state.house
    return found


def let_in(request: Request, role: Role = "use") -> None:
    """Raises ForbiddenError for a request whose key does not allow this."""
    request.state.key = premises_of(request).keys.check(request.headers.get("authorization"), role)


def found(request: Request, name: str) -> Served:
    """The prompt of that name, noted for the log. Raises NotServedError."""
    served = house_of(request).shelf.find(name)
    request.state.prompt = str(served.name)
    return served


def kept(request: Request, name: str) -> Kept:
    """The same, where it does not matter who answers."""
    one: Kept = premises_of(request).shelf.find(name)
    request.state.prompt = str(one.name)
    return one


def rows_of(request: Request, given: Sequence[str | Mapping[str, str]], served: Kept) -> Rows:
    """The rows of a request, checked.

    Raises: TooLargeError beyond the limits; DataError for a row without the prompt's fields.
    """
    limits = premises_of(request).limits
    if len(given) > limits.rows:
        raise TooLargeError(f"{len(given)} rows", f"at most {limits.rows} in one request", "send them in several requests")
    rows = tuple({"text": row} if isinstance(row, str) else dict(row) for row in given)
    request.state.rows = len(rows)
    made = Rows(rows, source="the request")
    check_rows(made, served, limits)
    return made


def check_rows(rows: Rows, served: Kept, limits: Limits) -> None:
    """Raises DataError for a row without the prompt's fields, TooLargeError for a text beyond the limits."""
    for number, row in enumerate(rows.fields, 1):
        _check_row(number, row, served.fields, limits)


def _check_row(number: int, row: Mapping[str, str], fields: Sequence[str], limits: Limits) -> None:
    if missing := [name for name in fields if name not in row]:
        raise DataError(
            f"row {number} has no field {missing[0]!r}",
            f"the fields {', '.join(fields)}",
            'send {"rows": [{"' + missing[0] + '": "..."}]}',
        )
    if any("\ud800" <= character <= "\udfff" for name in fields for character in row[name]):
        raise DataError(f"row {number} has half a character (a lone surrogate)", "text that UTF-8 can hold", "correct it")
    longest = max((len(row[name]) for name in fields), default=0)
    if longest > limits.text_characters:
        raise TooLargeError(
            f"row {number} has a text of {longest} characters", f"at most {limits.text_characters}", "send shorter texts"
        )


def seconds_of(request: Request, asked: float | None) -> float:
    """How long a request may take."""
    most = premises_of(request).limits.seconds
    return most if asked is None else min(asked, most)


async def score(
    request: Request, served: Served, rows: Rows, seconds: float, watched: bool = True
) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """Probabilities [B, C], and the positions of rows whose texts were cut.

    Settings:
        watched: give up when the client goes away.
    """
    wait = answered if watched else _awaited
    if not served.alone:
        return await wait(request, Scoring(served, rows, seconds))
    made, cut, end = [], list[int](), time.monotonic() + seconds
    for at in range(0, len(rows), APART):
        part = rows.take(range(at, min(at + APART, len(rows))))
        if (left := end - time.monotonic()) <= 0:
            raise LateError(seconds)
        found, lost = await wait(request, Errand(partial(_apart, served, part), len(part), left))
        made.append(found)
        cut.extend(at + one for one in lost)
    return np.concatenate(made), tuple(cut)


def _apart(served: Served, rows: Rows) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """What `score` gives for rows that are scored by themselves, on the model's own thread."""
    return served.by_itself(rows), () if served.channel else tuple(served.tuned.cut_rows(rows))


async def _awaited(request: Request, work: Seated[Result] | Errand[Result]) -> Result:
    try:
        return await asyncio.wrap_future(house_of(request).scheduler.submit(work))
    finally:
        work.leave()


async def answered(request: Request, work: Seated[Result] | Errand[Result]) -> Result:
    """The work's result; when the client goes away its places are freed."""
    house_of(request).scheduler.submit(work)
    result = asyncio.wrap_future(work.future)
    gone = asyncio.create_task(client_gone(request))
    either: set[asyncio.Future[Any]] = {result, gone}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not result.done():
            work.leave()
        return await result
    finally:
        gone.cancel()
        work.leave()


async def client_gone(request: Request) -> None:
    """Ends when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def labelled(served: Served, chances: NDArray[np.float32], cut: Sequence[int]) -> list[dict[str, Any]]:
    """Each row's label, its probability, and those of all labels; where a text may have several, these too."""
    rows = []
    for at, row in enumerate(chances):
        shares = {label: round(float(share), 6) for label, share in zip(served.labels, row, strict=True)}
        label = served.labels[int(row.argmax())]
        several = {} if (given := served.given(row)) is None else {"labels": given}
        rows.append({"label": label, **several, "probability": shares[label], "probabilities": shares, "cut": at in cut})
    return rows
