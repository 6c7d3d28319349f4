"""Another server that answers: a vLLM, or whatever speaks OpenAI's interface."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from pegbox.errors import PegboxError, ServerError, SettingsError
from pegbox.serve.errors import BusyError, LateError, ServeError

CONNECT_S = 5.0
CONNECTIONS = 512
OURS_TO_SOLVE = (401, 403, 404)
"""What an upstream says of our key and of its own address; clients cannot help it."""


Change = Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]]


class UpstreamError(ServeError):
    """The server behind this one did not answer as it should; with its own status where clients can do something about it."""

    status, code = 502, "upstream"

    def __init__(self, came: str, expected: str, remedy: str, status: int = 502) -> None:
        super().__init__(came, expected, remedy)
        self.status = status


class UpstreamBusyError(BusyError):
    """The server behind this one takes no more for now."""

    def __init__(self, said: str, after: int) -> None:
        ServeError.__init__(self, f"the upstream is busy: {said}", "an upstream with room", f"come again after {after} s")
        self.after = after


@dataclass(frozen=True)
class Upstream:
    """Where the other server is, and which of its models answers.

    Settings:
        url: its address, with /v1.
        model: its name for the model.
        key: for its ``Authorization`` header; "" where it wants none.
        seconds: how long it may take to answer, and between two pieces of a stream.
    """

    url: str
    model: str
    key: str = ""
    seconds: float = 120.0

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    @classmethod
    def find(cls, url: str, model: str | None, key: str, seconds: float) -> Upstream:
        """Asks it for its models, and takes the one that is named, or its only one.

        Raises: SettingsError for an address that is none; ServerError where it does not answer, or has no such model.
        """
        if not url.startswith(("http://", "https://")):
            raise SettingsError(f"the upstream {url!r}", "an address", "write it as http://127.0.0.1:8001")
        address = url.rstrip("/").removesuffix("/v1") + "/v1"
        known = _models(address, cls(address, "", key).headers)
        if model is None and len(known) != 1:
            raise ServerError(f"{address} has the models {', '.join(known)}", "one of them", "name it with --upstream-model")
        if model is not None and model not in known:
            raise ServerError(f"{address} has no model {model!r}", f"one of {', '.join(known)}", "correct --upstream-model")
        return cls(address, model or known[0], key, seconds)


def _models(address: str, headers: Mapping[str, str]) -> list[str]:
    try:
        answer = httpx2.get(f"{address}/models", headers=dict(headers), timeout=CONNECT_S)
        answer.raise_for_status()
        return [str(model["id"]) for model in answer.json()["data"]]
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
        raise ServerError(
            f"no models from {address}: {type(error).__name__}: {error}",
            "a running server with OpenAI's interface, such as `vllm serve MODEL --enable-prompt-embeds`",
            "check the address, that it is up, and its key in the environment",
        ) from error


class Line:
    """The connections to an upstream."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        limits = httpx2.Limits(max_connections=CONNECTIONS)
        timeout = httpx2.Timeout(upstream.seconds, connect=CONNECT_S)
        self._http = httpx2.AsyncClient(headers=upstream.headers, timeout=timeout, limits=limits)

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, path: str, body: Mapping[str, Any]) -> httpx2.Response:
        """Sends a request; its answer is open, to be read piece by piece, and to be closed.

        Raises: UpstreamError for whatever is no success, in three parts; LateError where it took too long.
        """
        content = json.dumps({**body, "model": self.upstream.model}, ensure_ascii=False).encode("utf-8", "replace")
        request = self._http.build_request(
            "POST", self.upstream.url + path, content=content, headers={"Content-Type": "application/json"}
        )
        try:
            async with asyncio.timeout(self.upstream.seconds):
                answer = await self._http.send(request, stream=True)
                if answer.status_code != 200:
                    raise await _refusal(answer)
                return answer
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise LateError(self.upstream.seconds) from error
        except httpx2.HTTPError as error:
            raise _lost(error) from error

    async def whole(self, answer: httpx2.Response) -> bytes:
        """All of an answer. Raises: as `ask`."""
        try:
            async with asyncio.timeout(self.upstream.seconds):
                return await answer.aread()
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise LateError(self.upstream.seconds) from error
        except httpx2.HTTPError as error:
            raise _lost(error) from error
        finally:
            await answer.aclose()

    async def pieces(self, answer: httpx2.Response, change: Change | None = None) -> AsyncIterator[bytes]:
        """An answer's bytes as they come; one that breaks off ends with an error in three parts.

        Settings:
            change: what is made of them on their way.
        """
        try:
            pieces = answer.aiter_bytes()
            async for piece in pieces if change is None else change(pieces):
                yield piece
        except (httpx2.TimeoutException, TimeoutError):
            yield _event(LateError(self.upstream.seconds))
        except httpx2.HTTPError as error:
            yield _event(_lost(error))
        finally:
            await answer.aclose()


def _event(error: PegboxError) -> bytes:
    """An error amid a stream."""
    from pegbox.serve.guard import as_json

    return f"\n\ndata: {json.dumps(as_json(error), ensure_ascii=False)}\n\ndata: [DONE]\n\n".encode()


def _lost(error: Exception) -> UpstreamError:
    return UpstreamError(
        f"the upstream did not answer: {type(error).__name__}",
        "an answer from the server behind this one",
        "try again; its keeper sees whether it is up",
    )


async def _refusal(answer: httpx2.Response) -> ServeError:
    """What an upstream said instead of answering, in three parts."""
    try:
        said = _said(await answer.aread())
    finally:
        await answer.aclose()
    status = answer.status_code
    if status == 429:
        wait = answer.headers.get("retry-after", "1")
        return UpstreamBusyError(said, int(wait) if wait.isdigit() else 1)
    if status in OURS_TO_SOLVE or status >= 500 or status < 400:
        remedy = "its keeper looks into its log, and checks the gateway's key, address and model"
        return UpstreamError(f"the upstream answered {status}: {said}", "an answer", remedy)
    return UpstreamError(f"the upstream refused ({status}): {said}", "a request that it takes", "change the request", status)


def _said(body: bytes) -> str:
    """The upstream's own words, cut short."""
    try:
        told = json.loads(body)
        error = told.get("error", told)
        text = error.get("message") if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        text = None
    return (str(text) if text else body.decode("utf-8", "replace"))[:300]
