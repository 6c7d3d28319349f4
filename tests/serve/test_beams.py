"""Texts written with beams on a server: bounded, in time, and with turns of others in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from tests.serve.kinds import predict

from pegbox.artifact import Tuned
from pegbox.serve.house import House
from pegbox.serve.settings import Limits
from pegbox.serve.work import Errand

StartAll = Callable[..., tuple[House, httpx2.Client]]
LONG = "/v1/prompts/long/predict"


@pytest.fixture
def start_long(start_all: StartAll, kinds: dict[str, Tuned], until: Any) -> StartAll:
    """Starts a server with a prompt besides that writes long texts with beams."""

    def start(**limits: Any) -> tuple[House, httpx2.Client]:
        house, http = start_all(limits=Limits(**limits))
        beams = kinds["beams"].predictor
        Tuned(replace(beams, max_tokens=900, task=replace(beams.task, max_tokens=900))).save(house.folder / "long")
        until(lambda: http.get("/v1/prompts/long").status_code == 200)
        return house, http

    return start


def test_beams_keep_to_the_most_tokens_of_a_text(start_long: StartAll) -> None:
    _, http = start_long(written_tokens=16)
    for name in ("line", "beams", "long"):
        texts = [one["text"] for one in predict(http, name, "hello", "some text")]
        assert all(len(text) <= 16 for text in texts), name  # a token is a byte


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Errand[Any]]:
    """Every step that is done between two turns, as it is done; each takes at least 2 ms."""
    done: list[Errand[Any]] = []
    run = Errand.run

    def slow(errand: Errand[Any]) -> bool:
        done.append(errand)
        time.sleep(0.002)
        return run(errand)

    monkeypatch.setattr(Errand, "run", slow)
    return done


def test_beams_keep_to_their_deadline_and_stop_where_the_client_left(start_long: StartAll, steps: list[Errand[Any]]) -> None:
    _, http = start_long()
    steps.clear()
    assert http.post(LONG, json={"rows": ["hello"], "seconds": 0.2}).status_code == 504
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(f"{str(http.base_url).rstrip('/')}{LONG}", json={"rows": ["hello"]}, timeout=0.2)
    time.sleep(0.3)
    written = len(steps)
    time.sleep(0.2)
    assert len(steps) == written < 450  # neither is written on; to its end one takes 900


def test_others_have_their_turns_beside_beams_and_what_waits_is_told_in_time(
    start_long: StartAll, steps: list[Errand[Any]], until: Any
) -> None:
    _, http = start_long()
    predict(http, "label", "a")
    steps.clear()
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(http.post, LONG, json={"rows": ["hello"]})
        until(lambda: steps)
        predict(http, "label", "a")
        assert http.post(LONG, json={"rows": ["b"], "seconds": 0.05}).status_code == 504
        assert not long.done()
        assert long.result().status_code == 200
