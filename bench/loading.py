"""A `pegbox serve` in a process of its own with prompts by chance, and clients that load it and check every label."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

LABELS = ("person", "place", "number", "thing", "reason", "other")
TEXTS = [f"What is the name of the {n} th river that flows through the town of {n * 7}?" for n in range(8)]
PROMPTS = 8
READY_S = 120


@dataclass(frozen=True)
class Lane:
    """Where the server is, and the label that each prompt gives each text."""

    host: str
    port: int
    expected: list[list[str]]

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=60)

    def ask(self, connection: http.client.HTTPConnection, number: int) -> None:
        """One row; its label must be the one that was found without a server."""
        which, text = number % PROMPTS, number // PROMPTS % len(TEXTS)
        body = json.dumps({"rows": [TEXTS[text]]})
        connection.request("POST", f"/v1/prompts/p{which}/predict", body, {"Content-Type": "application/json"})
        told = json.load(connection.getresponse())
        assert told["predictions"][0]["label"] == self.expected[which][text], told


@contextmanager
def serving(model: str, dtype: str) -> Iterator[Lane]:
    """The server while a block lasts."""
    with TemporaryDirectory() as raw:
        folder = Path(raw) / "prompts"
        expected = _write(folder, model, dtype)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "pegbox.cli", "serve", str(folder), "--model", model, "--dtype", dtype]
        log = (Path(raw) / "log").open("w")
        process = subprocess.Popen([*command, "--port", str(port)], stderr=log, env=os.environ)
        try:
            lane = Lane("127.0.0.1", port, expected)
            _wait(lane, process)
            yield lane
        finally:
            process.terminate()
            process.wait(60)
            log.close()


def _write(folder: Path, model: str, dtype: str) -> list[list[str]]:
    """Prompts with 20 vectors by chance, and the labels that they give."""
    from pegbox.artifact import Tuned
    from pegbox.backbone.huggingface import HuggingFaceBackbone
    from pegbox.backbone.weights import load
    from pegbox.prompt import parse
    from pegbox.task.classification import Classification
    from pegbox.task.predictor import PromptPredictor

    backbone = HuggingFaceBackbone(load(model, dtype))
    task, expected = Classification(LABELS, calibration="none"), []
    for number in range(PROMPTS):
        vectors = (0.05 * np.random.default_rng(number).normal(size=(20, backbone.width))).astype(np.float32)
        prompt = parse(r"[soft a 20]Question: {text}\nType: [answer]").fill(a=vectors)
        tuned = Tuned(PromptPredictor(prompt, task, backbone))
        tuned.save(folder / f"p{number}")
        expected.append(tuned.predict(TEXTS))
    return expected


def _wait(lane: Lane, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        assert process.poll() is None, "the server ended"
        try:
            connection = lane.connect()
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server did not come up")


def closed(lane: Lane, clients: int, seconds: float) -> list[float]:
    """Seconds that each request took, with so many clients that ask again as soon as they are answered."""
    return _together(clients, lambda at: _closed(lane, at, clients, time.perf_counter() + seconds))


def _closed(lane: Lane, at: int, clients: int, end: float) -> list[float]:
    connection, took, number = lane.connect(), [], at
    while (began := time.perf_counter()) < end:
        lane.ask(connection, number)
        took.append(time.perf_counter() - began)
        number += clients
    return took


def paced(lane: Lane, clients: int, rate: float, seconds: float, stop: Callable[[], bool] = lambda: False) -> list[float]:
    """The same, where the clients ask `rate` times a second together, whether answers come in time or not.

    A request's time counts from when it was due, so that one that waits for a slow one before it is seen to wait.
    """
    start = time.perf_counter() + 0.1
    return _together(clients, lambda at: _paced(lane, at, clients, rate, start, seconds, stop))


def _paced(
    lane: Lane, at: int, clients: int, rate: float, start: float, seconds: float, stop: Callable[[], bool]
) -> list[float]:
    connection, took, number = lane.connect(), [], at
    while (due := start + number / rate) < start + seconds and not stop():
        time.sleep(max(0.0, due - time.perf_counter()))
        lane.ask(connection, number)
        took.append(time.perf_counter() - due)
        number += clients
    return took


def _together(clients: int, act: Callable[[int], list[float]]) -> list[float]:
    with ThreadPoolExecutor(clients) as pool:
        return [took for some in pool.map(act, range(clients)) for took in some]


@contextmanager
def beside(act: Callable[[threading.Event], None], count: int) -> Iterator[None]:
    """So many threads that do something until the block ends."""
    end = threading.Event()
    threads = [threading.Thread(target=act, args=(end,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join()
