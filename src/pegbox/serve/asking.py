"""From an HTTP request to work for the model's thread, and back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from pegbox.data.rows import Rows
from pegbox.data.words import word_rows
from pegbox.serve.errors import LateError
from pegbox.serve.house import House, Premises
from pegbox.serve.keys import Role
from pegbox.serve.served import Served
from pegbox.serve.shelf import Kept
from pegbox.serve.work import Errand, Scoring, Seated, WordScoring, single
from pegbox.serve.writing import Writing, own_wish
from pegbox.task.generation import Generation
from pegbox.task.tagging import Tagged, TagPredictor

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
    if not served.alone:
        return await done(request, Scoring(served, rows, seconds), watched)
    parts = await apart(request, lambda part: single(partial(_scored_apart, served, part)), rows, APART, seconds, watched)
    cut = (at * APART + one for at, (_, lost) in enumerate(parts) for one in lost)
    return np.concatenate([found for found, _ in parts]), tuple(cut)


async def tag(
    request: Request, served: Served, rows: Rows, seconds: float, watched: bool = True
) -> tuple[list[Tagged], tuple[int, ...]]:
    """Each sentence's tags, and the positions of sentences that were cut for some word."""
    tagger: TagPredictor = served.tuned.predictor
    words = await run_in_threadpool(word_rows, rows)
    shares, cut = await done(request, WordScoring(served, words, seconds, house_of(request).limits), watched)
    found = await run_in_threadpool(tagger.decided, shares, words, rows)
    return found, tuple(sorted({words.sentences[at] for at in cut}))


async def write(
    request: Request, served: Served, rows: Rows, seconds: float, first: int = 0, watched: bool = True
) -> tuple[list[str], tuple[int, ...]]:
    """Each row's text as the prompt's own settings write it, and the positions of rows whose texts were cut.

    Settings:
        first: how many rows were before these, where a set is sent in several requests: each row has its own stream of chance.
    """
    house = house_of(request)
    if not served.alone:
        wish = own_wish(served, house.limits.written_tokens, first)
        made = await done(request, Writing(served, rows, wish, seconds), watched)
        return [one.text.strip() for one in made], tuple(at for at, one in enumerate(made) if one.cut)
    parts = await apart(request, partial(_written_apart, house, served), rows, 1, seconds, watched)
    return [text for text, _ in parts], tuple(at for at, (_, cut) in enumerate(parts) if cut)


async def apart(
    request: Request,
    steps: Callable[[Rows], Generator[None, None, Result]],
    rows: Rows,
    size: int,
    seconds: float,
    watched: bool,
) -> list[Result]:
    """What comes of rows that are answered by themselves, so many at a time. Raises LateError."""
    made, end = [], time.monotonic() + seconds
    for at in range(0, len(rows), size):
        part = rows.take(range(at, min(at + size, len(rows))))
        if (left := end - time.monotonic()) <= 0:
            raise LateError(seconds)
        made.append(await done(request, Errand(steps(part), len(part), left), watched))
    return made


def _scored_apart(served: Served, rows: Rows) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """What `score` gives for rows that are scored by themselves, on the model's own thread."""
    return served.by_itself(rows), () if served.channel else tuple(served.tuned.cut_rows(rows))


def _written_apart(house: House, served: Served, rows: Rows) -> Generator[None, None, tuple[str, bool]]:
    """The text for a row that is written to with beams, and whether the row was cut, on the model's own thread."""
    backbone, task = house.scheduler.backbone, served.tuned.task
    assert isinstance(task, Generation)
    room = min(served.room, house.limits.written_tokens, backbone.context // 2)
    (text,) = yield from backbone.generate_by_steps(served.standing, rows, replace(task.decoding(room), max_tokens=room))
    return text.strip(), bool(backbone.cut_rows(served.tuned.prompt, rows, room))


async def done(request: Request, work: Seated[Result] | Errand[Result], watched: bool) -> Result:
    """The work's result.

    Settings:
        watched: give up when the client goes away.
    """
    return await (answered if watched else _awaited)(request, work)


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
