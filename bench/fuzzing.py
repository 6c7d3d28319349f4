"""Requests by chance against a server over `tiny`: whatever comes, it says what is wrong and goes on.

    .venv/bin/python -m bench.fuzzing [--requests 10000] [--seed 0]

Good requests with something changed in them: values, names, types, bytes; uploads are archives of an artifact with the same
done to them. It ends with status 1 where an answer was a 5xx or none at all, or where the server answers wrongly afterwards.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NAMES = (
    "soft",
    "names",
    "line",
    "talk",
    "soft@1",
    "soft@9",
    "none",
    "a",
    "%2e%2e",
    "a@0",
    "é",
    "x" * 90,
    "splits.json",
    "..%2fsoft",
)
WORDS = (
    "rows", "text", "model", "prompt", "messages", "role", "content", "user", "soft", "stop", "seconds", "n", "stream",
    "answer", "fields", "request", "labels", "max_tokens", "temperature", "top_p", "seed", "stream_options", "names", "line",
    "talk", "tokens", "words", "first",
)  # fmt: skip
PLAIN = [None, True, 0, -1, 3, 0.5, 1e308, 10**30, float("nan"), float("inf"), "", "soft", "text", "\x00", "\ud800", "é" * 9,
         "<|im_end|>", "{text}", "label", "a" * 300]  # fmt: skip
GOOD: dict[str, dict[str, Any]] = {
    "/v1/prompts/soft/predict": {"rows": ["a", {"text": "b"}], "seconds": 5},
    "/v1/prompts/names/predict": {"rows": ["Ann saw Rome.", {"text": "b"}, {"tokens": ["Ann", "'s"]}], "seconds": 5},
    "/v1/prompts/line/predict": {"rows": ["a", {"text": "b"}], "first": 1, "seconds": 5},
    "/v1/prompts/talk/predict": {"rows": [[{"role": "user", "content": "Hi"}], {"messages": []}], "seconds": 5},
    "/v1/completions": {"model": "soft", "prompt": "a", "answer": "text", "max_tokens": 3, "stop": ["x"], "stream": False},
    "/v1/chat/completions": {
        "model": "soft",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
        "temperature": 0.5,
        "answer": "text",
        "max_tokens": 3,
    },
    "/v1/feedback": {"request": "0" * 32, "labels": ["good", None]},
}
KEPT = ("soft", "soft@1", "names", "line", "talk")
"""Prompts that have to stay."""
ADMIN = "an-admin-key"


@dataclass(frozen=True)
class Call:
    """A request: what, where, with which body."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]


def calls(seed: int, artifact: Path) -> Iterator[Call]:
    """Requests without end."""
    chance, files = random.Random(seed), {path.name: path.read_bytes() for path in artifact.iterdir()}
    key = {"authorization": f"Bearer {ADMIN}"}
    while True:
        kind = chance.random()
        if kind < 0.1:
            yield Call("PUT", f"/v1/prompts/{chance.choice(NAMES)}", _damaged(_archive(files, chance), chance, 0.5), key)
        elif kind < 0.13:
            name = chance.choice([name for name in NAMES if name.rpartition("/")[2] not in KEPT])
            yield Call("DELETE", f"/v1/prompts/{name}", b"", key)
        elif kind < 0.16:
            yield Call("GET", chance.choice(("/v1/prompts/", "/v1/models/", "/")) + chance.choice(NAMES), b"", key)
        else:
            path = chance.choice(list(GOOD))
            where = path if chance.random() < 0.8 else path.replace("soft", chance.choice(NAMES))
            kind_of = "application/json" if chance.random() < 0.95 else chance.choice(("text/plain", "application/x-www-form"))
            yield Call("POST", where, _damaged(_json(GOOD[path], chance), chance, 0.3), {**key, "content-type": kind_of})


def anything(chance: random.Random, depth: int = 0) -> Any:
    """A value of JSON."""
    kind = chance.random()
    if depth > 3 or kind < 0.5:
        return chance.choice(PLAIN)
    if kind < 0.75:
        return [anything(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {chance.choice(WORDS): anything(chance, depth + 1) for _ in range(chance.randrange(4))}


def _json(good: dict[str, Any], chance: random.Random) -> bytes:
    """A good body with something in it changed."""
    made = json.loads(json.dumps(good))
    made[chance.choice([*made, *WORDS])] = anything(chance)
    if chance.random() < 0.02:
        return b"[" * 50_000
    return json.dumps(made).encode()


def _damaged(body: bytes, chance: random.Random, often: float) -> bytes:
    """Some bytes changed, added or cut away."""
    raw = bytearray(body)
    while raw and chance.random() < often:
        at = chance.randrange(len(raw))
        if chance.random() < 0.8:
            raw[at] = chance.randrange(256)
        else:
            del raw[at : at + chance.randrange(1, 40)]
    return bytes(raw)


def _archive(files: dict[str, bytes], chance: random.Random) -> bytes:
    """An artifact's files as an archive, some of them with something in them changed."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            if chance.random() < 0.9:
                archive.writestr(name, _damaged(content, chance, 0.2))
        if chance.random() < 0.1:
            archive.writestr(chance.choice(("../x", "/x", "a/b", "manifest.json/", "run.py")), b"x")
    return packed.getvalue()


def prompts(backbone: Any) -> dict[str, Any]:
    """One prompt for each kind of answer: a label, entities, a text, a reply."""
    import numpy as np

    from pegbox.artifact import Tuned
    from pegbox.prompt import parse
    from pegbox.task.chat import Chat
    from pegbox.task.classification import Classification
    from pegbox.task.decoding import Grammar
    from pegbox.task.generation import Generation, TextPredictor
    from pegbox.task.predictor import PromptPredictor
    from pegbox.task.scaling import Scaling
    from pegbox.task.tagging import Tagging, TagPredictor

    vectors = np.random.default_rng(0).normal(0, 0.3, (5, backbone.width)).astype(np.float32)
    tagging = Tagging(("O", "LOC", "PER"), calibration="none")
    grammar = Grammar.counted(tagging.types, [["O", "B-PER", "I-PER", "O", "B-LOC"]])

    def filled(notation: str) -> Any:
        return parse(notation).fill(a=vectors)

    words = PromptPredictor(filled("[soft a 5]{text} {word} [answer]"), tagging.of_words, backbone)
    mood = PromptPredictor(
        filled("[soft a 5]Review: {text} Mood: [answer]"), Classification(("bad", "good"), calibration="none"), backbone
    )
    talk = filled("[system] Be [soft a 5] kind. [turns] {turns} [assistant] [answer]")
    return {
        "soft": Tuned(mood),
        "names": Tuned(TagPredictor(words, tagging, grammar, Scaling())),
        "line": Tuned(TextPredictor(filled(r"Say: {text}[soft a 5]\nNow:[answer]\n"), Generation(), backbone, 4)),
        "talk": Tuned(TextPredictor(talk, Chat(), backbone, 4)),
    }


def house_in(folder: Path) -> Any:
    """A server over `tiny` with a prompt of each kind, whose folder keeps what is uploaded."""
    from pegbox.backbone.huggingface import HuggingFaceBackbone
    from pegbox.backbone.tiny import tiny
    from pegbox.serve.house import House
    from pegbox.serve.keys import Key, Keys
    from pegbox.serve.settings import Limits

    backbone = HuggingFaceBackbone(tiny())
    for name, tuned in prompts(backbone).items():
        tuned.save(folder / name)
    keys = Keys((Key("bench", "admin", sha256(ADMIN.encode()).hexdigest()),))
    limits = Limits(rows=8, text_characters=200, written_tokens=4, prompts=20, body_bytes=200_000)
    return House.build(folder, backbone, limits, keys)


def fuzz(
    http: Any, seed: int, count: int, artifact: Path, told: Callable[[str], None] = print
) -> tuple[Counter[int], list[str]]:
    """Sends so many requests; returns the answers' statuses, and what was wrong with them."""
    seen: Counter[int] = Counter()
    wrong: list[str] = []
    for number, call in zip(range(count), calls(seed, artifact), strict=False):
        answer = http.request(call.method, call.path, content=call.body, headers=call.headers)
        seen[answer.status_code] += 1
        if answer.status_code >= 500:
            wrong.append(f"request {number}: {answer.status_code} to {call.method} {call.path} {call.body[:200]!r}")
        elif answer.status_code >= 400 and not answer.json()["error"]["remedy"]:
            wrong.append(f"request {number}: {answer.status_code} without a word on what to do")
        if (number + 1) % 1000 == 0:
            told(f"{number + 1} requests: {dict(sorted(seen.items()))}")
    return seen, wrong


def answers(http: Any) -> list[Any]:
    """What each prompt's first version says to a plain request."""
    key, found = {"authorization": f"Bearer {ADMIN}"}, []
    for name in ("soft", "names", "line", "talk"):
        row = [{"role": "user", "content": "Hi"}] if name == "talk" else "a fine day"
        found.append(http.post(f"/v1/prompts/{name}@1/predict", json={"rows": [row]}, headers=key).json()["predictions"])
    return found


def main() -> None:
    """Sends them, and says what came of it."""
    import httpx2
    import uvicorn

    from pegbox.serve.http import make_app
    from pegbox.serve.log import start_log

    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with TemporaryDirectory() as raw:
        folder = Path(raw)
        start_log(folder / ".log")  # what is logged may break it too
        config = uvicorn.Config(make_app(house_in(folder)), port=0, log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        began = time.monotonic()
        with httpx2.Client(base_url=url, timeout=60) as http:
            before = answers(http)
            seen, wrong = fuzz(http, given.seed, given.requests, folder / "soft", lambda line: print(line, flush=True))
            if answers(http) != before:
                wrong.append("the server answers otherwise than before")
        server.should_exit = True
        thread.join()
    print(f"{given.requests} requests in {time.monotonic() - began:.0f} s: {dict(sorted(seen.items()))}; {len(wrong)} wrong")
    print("\n".join(wrong[:20]))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
