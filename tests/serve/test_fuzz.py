"""Bodies by chance: whatever comes, the server says what is wrong and goes on."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from pegbox.serve.settings import Limits

WORDS = [
    "rows",
    "text",
    "model",
    "prompt",
    "messages",
    "role",
    "content",
    "user",
    "soft",
    "stop",
    "seconds",
    "n",
    "stream",
    "answer",
]
PLAIN = [None, True, 0, -1, 1e308, 10**30, float("nan"), "", "soft", "text", "\x00", "\ud800", "é" * 9, "<|im_end|>", "{text}"]
PATHS = ["/v1/prompts/soft/predict", "/v1/completions", "/v1/chat/completions"]
GOOD: list[dict[str, Any]] = [
    {"rows": ["a", {"text": "b"}], "seconds": 5},
    {"model": "soft", "prompt": "a", "answer": "text", "max_tokens": 3, "stop": ["x"], "stream": False},
    {"model": "soft", "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}], "temperature": 0.5},
]


def anything(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.random()
    if depth > 3 or kind < 0.5:
        return chance.choice(PLAIN)
    if kind < 0.75:
        return [anything(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {chance.choice(WORDS): anything(chance, depth + 1) for _ in range(chance.randrange(4))}


def body(chance: random.Random, good: Any) -> bytes:
    """A good body with something in it changed, or with some bytes of it changed."""
    made = json.loads(json.dumps(good))
    made[chance.choice([*made, *WORDS])] = anything(chance)
    raw = bytearray(json.dumps(made).encode())
    while chance.random() < 0.3:
        raw[chance.randrange(len(raw))] = chance.randrange(256)
    return bytes(raw)


def test_no_body_breaks_the_server(start: Callable[..., Any]) -> None:
    served = start("soft", limits=Limits(rows=8, text_characters=200, written_tokens=4))
    chance = random.Random(0)
    seen = set()
    for _ in range(300):
        which = chance.randrange(3)
        content = body(chance, GOOD[which])
        found = served.http.post(PATHS[which], content=content, headers={"content-type": "application/json"})
        assert found.status_code < 500, (content, found.text)
        if found.status_code != 200:
            assert found.json()["error"]["remedy"]
        seen.add(found.status_code)
    assert {200, 400, 422} <= seen
    assert served.predict("soft", "a").status_code == 200
