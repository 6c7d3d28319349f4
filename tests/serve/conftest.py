"""A real server on a free port of this machine, in a thread, over the tiny model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import uvicorn
from tests.serve.kinds import made_prompts

from pegbox.artifact import Tuned
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.prompt import parse
from pegbox.serve.house import House
from pegbox.serve.http import make_app
from pegbox.task.calibration import Calibration
from pegbox.task.classification import Classification
from pegbox.task.predictor import PromptPredictor

NOTATIONS = {
    "soft": "[soft a 5]Review: {text} Mood: [answer]",
    "late": "Sort it. {text} [soft b 3] Mood: [answer]",
    "words": 'Say [hard c="what it is"]: {text}\\n[answer good="fine|lovely" bad="awful"]',
    "chat": "[system] Sort. [user] [soft e 4]{text} [assistant] [answer]",
    "pair": "{first} or {second}? [answer]",
}


def tuned_prompt(kind: str, backbone: HuggingFaceBackbone, seed: int = 0, channel: bool = False) -> Tuned:
    rng = np.random.default_rng(seed)
    prompt = parse(NOTATIONS[kind])
    soft = {name: slot.length for name, slot in prompt.slots.items() if name != "c"}
    prompt = prompt.fill(**{name: rng.normal(0, 0.3, (n, backbone.width)).astype(np.float32) for name, n in soft.items()})
    task = Classification(("bad", "good"), channel=channel)
    return Tuned(PromptPredictor(prompt, task, backbone, Calibration("batch", (0.25, -0.5))), {"method": "soft"})


class Served:
    """A running server, and what its folder holds."""

    def __init__(self, folder: Path, house: House, url: str, prompts: dict[str, Tuned]) -> None:
        self.folder, self.house, self.url, self.prompts = folder, house, url, prompts
        self.http = httpx2.Client(base_url=url, timeout=30)

    def predict(self, name: str, *rows: Any, **more: Any) -> httpx2.Response:
        return self.http.post(f"/v1/prompts/{name}/predict", json={"rows": list(rows), **more})


@contextmanager
def running(app: Any) -> Iterator[str]:
    """An application behind HTTP, and its address."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        _until(lambda: server.started or not thread.is_alive())
        assert server.started
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def _until(true: Callable[[], Any], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts a server with prompts of these kinds and settings of `House.build`."""
    with ExitStack() as stack:

        def made(*kinds: str, **settings: Any) -> Served:
            folder = tmp_path / "prompts"
            folder.mkdir()
            apart = HuggingFaceBackbone(tiny())
            prompts = {kind: tuned_prompt(kind, apart) for kind in kinds}
            for kind, one in prompts.items():
                one.save(folder / kind)
            house = House.build(folder, HuggingFaceBackbone(tiny()), look_every=0.05, **settings)
            served = Served(folder, house, stack.enter_context(running(make_app(house))), prompts)
            stack.callback(served.http.close)
            return served

        yield made


@pytest.fixture
def serving() -> Callable[..., Any]:
    """Runs an application while a block lasts."""
    return running


@pytest.fixture
def make_prompt() -> Callable[..., Tuned]:
    """Makes a prompt of a kind, by a seed."""
    return tuned_prompt


@pytest.fixture
def until() -> Callable[..., None]:
    """Waits until something is so."""
    return _until


@pytest.fixture(scope="session")
def kinds() -> dict[str, Tuned]:
    """A prompt of every kind, by name; see `tests.serve.kinds`."""
    return made_prompts()


@pytest.fixture
def start_all(tmp_path: Path, kinds: dict[str, Tuned]) -> Iterator[Callable[..., tuple[House, httpx2.Client]]]:
    """Starts a server with a prompt of every kind and settings of `House.build`."""
    with ExitStack() as stack:

        def made(**settings: Any) -> tuple[House, httpx2.Client]:
            for name, tuned in kinds.items():
                tuned.save(tmp_path / "prompts" / name)
            house = House.build(tmp_path / "prompts", HuggingFaceBackbone(tiny()), look_every=0.05, **settings)
            url = stack.enter_context(running(make_app(house)))
            return house, stack.enter_context(httpx2.Client(base_url=url, timeout=30))

        yield made
