"""Around every request: limits on its body, a line in the log, and what is measured."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers

from pegbox.errors import PegboxError
from pegbox.serve.errors import ForbiddenError, ServeError, TooLargeError
from pegbox.serve.house import Premises

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
UNSAID = 1_000_000
"""Bytes of a body that does not say how many it has: what is too large is then seen only while it is read, at others' cost."""
KEYED = "/v1/"
"""Addresses that begin so need a key, where the server has some."""
_log = logging.getLogger("pegbox.serve.requests")


class SlowError(ServeError):
    """A body that takes too long to arrive."""

    status, code = 408, "slow_body"


def as_json(error: PegboxError) -> dict[str, Any]:
    """An error as clients of OpenAI's interface read it, with its three parts beside."""
    code = error.code if isinstance(error, ServeError) else "bad_request"
    status = error.status if isinstance(error, ServeError) else 400
    kind = "server_error" if status >= 500 else "invalid_request_error"
    parts = {"came": error.came, "expected": error.expected, "remedy": error.remedy}
    return {"error": {"message": _plain(str(error)), "type": kind, "param": None, "code": code, **_all_plain(parts)}}


def _plain(text: str) -> str:
    """Without halves of characters, which no answer can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _all_plain(parts: dict[str, str]) -> dict[str, str]:
    return {name: _plain(text) for name, text in parts.items()}


class Guard:
    """Reads a request's body before the rest sees it: no more than so many bytes, and no longer than so many seconds.

    Nothing is read of those who have no key where one is needed.
    """

    def __init__(self, app: App, house: Premises) -> None:
        self._app, self._limits, self._keys = app, house.limits, house.keys

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            if scope["path"].startswith(KEYED):
                self._keys.check(Headers(scope=scope).get("authorization"), "use")
            async with asyncio.timeout(self._limits.body_seconds):
                body = await self._body(scope, receive)
        except TimeoutError:
            some = f"{self._limits.body_seconds:g} s"
            await _refuse(send, SlowError(f"a body that was not there after {some}", "a faster one", "send it again"))
        except (ForbiddenError, TooLargeError) as error:
            await _refuse(send, error)
        else:
            if body is not None:
                await self._app(scope, _again(body, receive), send)

    async def _body(self, scope: Message, receive: Receive) -> bytes | None:
        """The whole body; None where the client went away."""
        said = dict(scope["headers"]).get(b"content-length", b"")
        most = self._limits.body_bytes if said.isdigit() else min(self._limits.body_bytes, UNSAID)
        _check(int(said) if said.isdigit() else 0, most)
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            _check(size, most)
            if not message.get("more_body"):
                return b"".join(parts)


def _check(size: int, most: int) -> None:
    if size > most:
        remedy = "send fewer rows at a time, and say the body's length (Content-Length)"
        raise TooLargeError(f"a body of {size} bytes or more", f"at most {most}", remedy)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body as one message, then what comes after it: that the client goes away."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_one() -> Message:
        return left.pop() if left else await receive()

    return next_one


async def _refuse(send: Send, error: ServeError) -> None:
    content = json.dumps(as_json(error)).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    headers += [(b"www-authenticate", b"Bearer")] if error.status == 401 else []
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


class Journal:
    """Writes down each request: who, what, how long, how it ended; never a text."""

    def __init__(self, app: App, house: Premises) -> None:
        self._app, self._house = app, house

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 0
        request_id = uuid.uuid4().hex
        state = scope.setdefault("state", {})
        state["request"] = request_id

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            self._note(scope, state, status or 499, time.monotonic() - began, request_id)

    def _note(self, scope: Message, state: dict[str, Any], status: int, seconds: float, request_id: str) -> None:
        route = getattr(scope.get("route"), "path", "other")
        prompt, rows = state.get("prompt", ""), state.get("rows", 0)
        self._house.measures.request(route, prompt, status, seconds, rows)
        told = {"request": request_id, "method": scope["method"], "route": route, "prompt": prompt, "rows": rows}
        _log.info("answered", extra={**told, "status": status, "seconds": round(seconds, 4), "key": state.get("key", "")})
