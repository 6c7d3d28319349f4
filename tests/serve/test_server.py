"""The server as a whole: slow, large and vanishing clients."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pegbox.errors import SettingsError
from pegbox.serve.keys import Key, Keys
from pegbox.serve.settings import Limits
from pegbox.serve.start import Serving, serve

Start = Callable[..., Any]
PATH = "/v1/prompts/soft/predict"


def connected(served: Any) -> socket.socket:
    host, port = served.url.removeprefix("http://").split(":")
    made = socket.create_connection((host, int(port)))
    made.settimeout(10)
    return made


def test_nothing_is_read_of_those_without_a_key(start: Start) -> None:
    """Neither is its body waited for, nor is it looked at: 400,000 wrong values stopped the server once."""
    served = start("soft", keys=Keys((Key("shop", "use", hashlib.sha256(b"the-key").hexdigest()),)))
    with connected(served) as client:
        client.sendall(head(900_000))
        answer = client.recv(1000)
        assert answer.startswith(b"HTTP/1.1 401")
        assert b"www-authenticate: Bearer" in answer
    for path in (PATH, "/v1/feedback", "/v1/chat/completions", "/v1/none"):
        assert served.http.post(path, json={"rows": [1]}).json()["error"]["came"] == "no key"
        assert served.http.post(path, json={}, headers={"authorization": "Bearer the-key"}).status_code in (404, 422)
    assert served.http.get("/healthz").status_code == 200


def head(length: int) -> bytes:
    lines = [f"POST {PATH} HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {length}", "", ""]
    return "\r\n".join(lines).encode()


def test_a_large_body_is_refused_before_it_is_read(start: Start) -> None:
    served = start("soft", limits=Limits(body_bytes=10_000))
    with connected(served) as client:
        client.sendall(head(50_000_000))
        assert client.recv(100).startswith(b"HTTP/1.1 413")

    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    with contextlib.suppress(httpx2.TransportError):  # the server may close the connection while we are still sending
        assert served.http.post(PATH, content=chunks()).status_code == 413
    assert served.predict("soft", "a").status_code == 200


def test_a_body_that_does_not_say_its_length_is_refused_early(start: Start) -> None:
    served = start("soft")
    content = json.dumps({"rows": ["a"], "seconds": 5}).encode()
    for length, status in ((900_000, 200), (1_100_000, 413)):
        padded = content + b" " * (length - len(content))
        headers = {"content-type": "application/json"}
        assert served.http.post(PATH, content=padded, headers=headers).status_code == 200  # it says its length
        with contextlib.suppress(httpx2.TransportError):
            assert served.http.post(PATH, content=iter([padded]), headers=headers).status_code == status


def test_a_body_that_drips_is_given_up(start: Start) -> None:
    served = start("soft", limits=Limits(body_seconds=0.2))
    with connected(served) as client:
        client.sendall(head(100) + b"{")
        assert client.recv(100).startswith(b"HTTP/1.1 408")


def test_a_client_that_goes_away_frees_its_place(start: Start, until: Any) -> None:
    served = start("soft", limits=Limits(batch_rows=1))
    body = json.dumps({"rows": [f"{'x' * 400}{n}" for n in range(1000)]}).encode()
    with connected(served) as client:
        client.sendall(head(len(body)) + body)
        until(lambda: served.house.scheduler.waiting > 0)
    until(lambda: served.house.scheduler.waiting == 0, 3)
    assert served.predict("soft", "a").status_code == 200


def test_a_client_that_goes_away_mid_stream_frees_its_place(start: Start, until: Any) -> None:
    served = start("soft")
    asked = {"model": "soft", "prompt": "a", "max_tokens": 1000, "stream": True, "answer": "text", "temperature": 2.0}
    with served.http.stream("POST", "/v1/completions", json=asked) as stream:
        next(stream.iter_lines())
    until(lambda: not served.house.scheduler._seats, 3)


def test_a_full_queue_is_429_with_retry_after(start: Start, until: Any) -> None:
    served = start("soft", limits=Limits(rows=2, queue_rows=2, seconds=20))
    release = threading.Event()
    served.house.scheduler.call(lambda: release.wait(20))
    until(lambda: not served.house.scheduler.waiting)
    with connected(served) as client:
        body = b'{"rows": ["a", "b"]}'
        client.sendall(head(len(body)) + body)
        until(lambda: served.house.scheduler.waiting == 2)
        found = served.predict("soft", "c")
        release.set()
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    assert found.status_code == 429
    assert int(found.headers["retry-after"]) >= 1


def test_a_deadline_is_504(start: Start, until: Any) -> None:
    served = start("soft")
    scheduler, release = served.house.scheduler, threading.Event()
    scheduler.call(lambda: release.wait(20))
    with ThreadPoolExecutor(1) as aside:
        late = aside.submit(served.predict, "soft", "a", seconds=0.05)
        until(lambda: scheduler._works and scheduler._works[0].ending)
        release.set()
        assert late.result(20).status_code == 504


def test_others_are_let_in_with_keys_only(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--host 0\.0\.0\.0 without keys"):
        serve(Serving(tmp_path, "tiny", host="0.0.0.0"), Limits())
