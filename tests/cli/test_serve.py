"""`pegbox serve` as a process: it ends in order, comes back after a kill, and keeps texts out of its log."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pegbox.artifact import Tuned
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.cli import main
from pegbox.prompt import parse
from pegbox.task.classification import Classification
from pegbox.task.predictor import PromptPredictor


@pytest.fixture
def folder(tmp_path: Path, tiny_backbone: HuggingFaceBackbone) -> Path:
    prompt = parse("Review: {text} Mood: [answer]")
    task = Classification(("bad", "good"), calibration="none")
    Tuned(PromptPredictor(prompt, task, tiny_backbone)).save(tmp_path / "prompts" / "mood")
    return tmp_path / "prompts"


def started(lab: Any, folder: Path) -> tuple[Any, str]:
    """A server of its own, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process, url = lab.start("serve", folder, "--model", "tiny", "--port", port), f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            return httpx2.get(f"{url}/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    process.until(ready)
    assert ready(), process.warned
    return process, url


def test_told_to_stop_it_ends_what_is_under_way_and_no_text_is_in_its_log(lab: Any, folder: Path) -> None:
    process, url = started(lab, folder)
    asked = {"model": "mood", "prompt": "a secret", "max_tokens": 300, "stream": True, "answer": "text"}
    with httpx2.stream("POST", f"{url}/v1/completions", json=asked, timeout=30) as stream:
        lines = stream.iter_lines()
        next(lines)
        assert process.kill(signal.SIGTERM) in (0, 143, -signal.SIGTERM)
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    told = [json.loads(line) for line in process.warned.splitlines()]
    one = next(line for line in told if line["message"] == "answered" and line["route"] == "/v1/completions")
    assert (one["status"], one["prompt"], one["rows"]) == (200, "mood@1", 1)
    assert "secret" not in process.warned


def test_killed_under_load_it_serves_again_at_once(lab: Any, folder: Path) -> None:
    process, url = started(lab, folder)
    with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as client:
        body = json.dumps({"rows": ["x" * 300] * 900}).encode()
        client.sendall(
            f"POST /v1/prompts/mood/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        client.sendall(body)
        time.sleep(0.1)
        process.kill()
    began = time.monotonic()
    process, url = started(lab, folder)
    assert httpx2.post(f"{url}/v1/prompts/mood/predict", json={"rows": ["a"]}).status_code == 200
    assert time.monotonic() - began < 20
    process.kill(signal.SIGTERM)


def test_a_key_is_printed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["key", str(tmp_path / "keys.json"), "--role", "admin"])
    key = capsys.readouterr().out.strip()
    assert key.startswith("pb-")
    assert key not in (tmp_path / "keys.json").read_text()
