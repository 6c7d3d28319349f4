"""A completion's answer as a chat's and the other way round: for a prompt that is asked at the other address than its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from pegbox.errors import DataError

CHAT = "/chat/completions"
NEWEST, COMMON = "max_completion_tokens", "max_tokens"


def settings(given: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A request's settings as this address knows them.

    Raises: DataError for those that mean something else at the two addresses.
    """
    if strange := [name for name in ("logprobs", "top_logprobs") if given.get(name) not in (None, False)]:
        raise DataError(
            f"{strange[0]} at the other address than the prompt's own",
            f"/v1{path}, where they mean what the upstream means",
            "ask there, or leave it out",
        )
    kept = {name: value for name, value in given.items() if name not in (NEWEST, "logprobs", "top_logprobs")}
    return kept if given.get(NEWEST) is None else {**kept, COMMON: given[NEWEST]}


def whole(body: bytes, path: str) -> bytes:
    """An answer as it is told at this address; what is no answer stays as it is."""
    try:
        return json.dumps(_told(json.loads(body), path, streams=False), ensure_ascii=False).encode()
    except (ValueError, KeyError, TypeError, AttributeError):
        return body


async def stream(pieces: AsyncIterator[bytes], path: str) -> AsyncIterator[bytes]:
    """A stream as it is told at this address, event by event."""
    left = b""
    async for piece in pieces:
        *lines, left = (left + piece).split(b"\n")
        for line in lines:
            yield _line(line, path) + b"\n"
    if left:
        yield _line(left, path)


def _line(line: bytes, path: str) -> bytes:
    if not line.startswith(b"data:"):
        return line
    try:
        told = _told(json.loads(line[5:]), path, streams=True)
    except (ValueError, KeyError, TypeError, AttributeError):  # [DONE], or an error
        return line
    return b"data: " + json.dumps(told, ensure_ascii=False).encode()


def _told(answer: dict[str, Any], path: str, streams: bool) -> dict[str, Any]:
    choices = [_choice(choice, path, streams) for choice in answer["choices"]]
    kind = "text_completion" if path != CHAT else "chat.completion.chunk" if streams else "chat.completion"
    return {**answer, "object": kind, "choices": choices}


def _choice(choice: dict[str, Any], path: str, streams: bool) -> dict[str, Any]:
    common = {name: choice.get(name) for name in ("index", "finish_reason")} | {"logprobs": None}
    if path != CHAT:
        said = choice["delta" if streams else "message"]
        return {**common, "text": said.get("content") or ""}
    message = {"role": "assistant", "content": choice["text"]}
    return {**common, "delta" if streams else "message": message}
