"""What well-behaved clients notice of others: some that vanish amid a stream, send a byte a second, or send 50 MB.

    .venv/bin/python -m bench.faults [--model smollm2] [--rounds 5] [--seconds 20] [--kinds vanishing,dripping,flooding]

Each kind in turns with none, in windows of so many seconds at the same rate of requests (half of what 8 clients get at most),
so that a busy machine slows all alike. The figure is the p99 of all windows with them, over that of all windows without.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable

import numpy as np

from bench.loading import Lane, beside, closed, paced, serving

CLIENTS = 8
DISTURBING = 4
LARGE = 50_000_000


def vanishing(lane: Lane) -> Callable[[threading.Event], None]:
    """Asks for a long text, reads its beginning, and goes away; twice a second."""
    body = json.dumps({"model": "p0", "prompt": "a", "max_tokens": 500, "stream": True, "answer": "text"}).encode()

    def act(end: threading.Event) -> None:
        while not end.wait(0.5):
            with contextlib.suppress(OSError), _connected(lane) as client:
                client.sendall(_head("/v1/completions", len(body)) + body)
                client.recv(1000)

    return act


def dripping(lane: Lane) -> Callable[[threading.Event], None]:
    """Sends a body of which a byte comes each second, until the server gives up; then again."""

    def act(end: threading.Event) -> None:
        while not end.is_set():
            with _connected(lane) as client:
                client.sendall(_head("/v1/prompts/p0/predict", 1000))
                try:
                    while not end.wait(1.0):
                        client.sendall(b" ")
                except OSError:
                    continue

    return act


def flooding(lane: Lane) -> Callable[[threading.Event], None]:
    """Sends a body of 50 MB in pieces, without saying how long it will be; twice a second."""
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    lines = ["POST /v1/prompts/p0/predict HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked", "", ""]

    def act(end: threading.Event) -> None:
        while not end.wait(0.5):
            with _connected(lane) as client:
                try:
                    client.sendall("\r\n".join(lines).encode())
                    for _ in range(LARGE // 0x10000):
                        client.sendall(piece)
                except OSError:
                    continue  # refused, as it should be

    return act


KINDS = {"vanishing": vanishing, "dripping": dripping, "flooding": flooding}


def _connected(lane: Lane) -> socket.socket:
    return socket.create_connection((lane.host, lane.port), timeout=60)


def _head(path: str, length: int) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {length}", "", ""]
    return "\r\n".join(lines).encode()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--kinds", default=",".join(KINDS))
    given = parser.parse_args()
    with serving(given.model, given.dtype) as lane:
        closed(lane, CLIENTS, 2)  # every prompt's beginning is in the store
        rate = 0.5 * len(closed(lane, CLIENTS, 5)) / 5
        print(f"{rate:.1f} rows/s asked for, half of what {CLIENTS} clients get", flush=True)
        for kind in given.kinds.split(","):
            alone: list[float] = []
            beset: list[float] = []
            for _ in range(given.rounds):
                alone += paced(lane, CLIENTS, rate, given.seconds)
                with beside(KINDS[kind](lane), DISTURBING):
                    beset += paced(lane, CLIENTS, rate, given.seconds)
                time.sleep(0.5)
            ratio = _p99(beset) / _p99(alone)
            print(f"{kind}: {_told(alone)} alone, {_told(beset)} beside {DISTURBING}: p99 x {ratio:.2f}", flush=True)


def _p99(took: list[float]) -> float:
    return float(np.quantile(took, 0.99))


def _told(took: list[float]) -> str:
    return f"p50 {1000 * np.median(took):.0f} ms, p99 {1000 * _p99(took):.0f} ms of {len(took)}"


if __name__ == "__main__":
    main()
