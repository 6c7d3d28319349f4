"""Answers told as the other address tells them, wherever the stream's pieces are cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pegbox.errors import DataError
from pegbox.serve import reshaped

CHAT, PLAIN = "/chat/completions", "/completions"


def event(content: Any) -> str:
    return f"data: {json.dumps(content)}\n\n"


def streamed(text: str, size: int, path: str) -> str:
    async def pieces() -> AsyncIterator[bytes]:
        raw = text.encode()
        for at in range(0, len(raw), size):
            yield raw[at : at + size]

    async def all_of_it() -> bytes:
        return b"".join([piece async for piece in reshaped.stream(pieces(), path)])

    return asyncio.run(all_of_it()).decode()


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_stream_is_told_event_by_event(size: int) -> None:
    usage = {"choices": [], "usage": {"total_tokens": 3}}
    error = {"error": {"message": "broken"}}
    given = ": ping\n\n" + event({"choices": [{"index": 0, "text": "é", "finish_reason": None}], "model": "m"})
    given += event(usage) + event(error) + "data: [DONE]\n\n"
    told = streamed(given, size, CHAT).split("\n\n")
    assert told[0] == ": ping"
    choice = {"index": 0, "finish_reason": None, "logprobs": None, "delta": {"role": "assistant", "content": "é"}}
    assert json.loads(told[1][6:]) == {"choices": [choice], "model": "m", "object": "chat.completion.chunk"}
    assert json.loads(told[2][6:]) == {**usage, "object": "chat.completion.chunk"}
    assert json.loads(told[3][6:]) == error
    assert told[4:] == ["data: [DONE]", ""]


def test_a_chats_deltas_become_texts() -> None:
    first = {"choices": [{"index": 0, "delta": {"role": "assistant"}}]}
    last = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}
    told = [json.loads(line[6:]) for line in streamed(event(first) + event(last), 5, PLAIN).split("\n\n") if line]
    assert [(one["choices"][0]["text"], one["choices"][0]["finish_reason"]) for one in told] == [("", None), ("a", "stop")]
    assert {one["object"] for one in told} == {"text_completion"}


def test_what_is_no_answer_stays_as_it_is() -> None:
    for body in (b"", b"<html>", b"[]", b'{"choices": 3}', b'{"choices": [{}]}'):
        assert reshaped.whole(body, CHAT) == body


def test_settings_are_named_as_the_other_address_names_them() -> None:
    given = {"max_completion_tokens": 3, "temperature": 0, "logprobs": False, "stream": True}
    assert reshaped.settings(given, PLAIN) == {"max_tokens": 3, "temperature": 0, "stream": True}
    with pytest.raises(DataError, match="logprobs at the other address"):
        reshaped.settings({"logprobs": 2}, CHAT)
