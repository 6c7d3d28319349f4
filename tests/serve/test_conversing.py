"""Prompts after which texts are written, on the server: what it writes is what the prompt itself writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from tests.serve.conftest import running

from pegbox.artifact import Tuned
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.errors import PegboxError
from pegbox.prompt import parse
from pegbox.prompt.names import Name
from pegbox.serve.house import House
from pegbox.serve.http import make_app
from pegbox.serve.served import open_served
from pegbox.task.chat import Chat
from pegbox.task.generation import Generation, TextPredictor

TALK = [
    {"role": "user", "content": "Hi there"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "And <|im_end|> now?"},
]


def soft(notation: str, backbone: HuggingFaceBackbone) -> Any:
    rng = np.random.default_rng(3)
    return parse(notation).fill(s=rng.normal(0, 0.3, (4, backbone.width)).astype(np.float32))


@pytest.fixture(scope="module")
def prompts() -> dict[str, Tuned]:
    backbone = HuggingFaceBackbone(tiny())
    talk = soft("[system] Be [soft s 4] kind. [turns] {turns} [assistant] [answer]", backbone)
    line = soft(r"Say: {text}[soft s 4]\nNow:[answer]\n", backbone)
    return {
        "talk": Tuned(TextPredictor(talk, Chat(), backbone, 9)),
        "line": Tuned(TextPredictor(line, Generation(), backbone, 7)),
    }


@pytest.fixture
def http(tmp_path: Path, prompts: dict[str, Tuned]) -> Iterator[httpx2.Client]:
    for name, tuned in prompts.items():
        tuned.save(tmp_path / name)
    with (
        running(make_app(House.build(tmp_path, HuggingFaceBackbone(tiny())))) as url,
        httpx2.Client(base_url=url, timeout=30) as client,
    ):
        yield client


def test_a_conversation_is_answered_as_the_prompt_answers_it(http: httpx2.Client, prompts: dict[str, Tuned]) -> None:
    said = http.post("/v1/chat/completions", json={"model": "talk", "messages": TALK})
    assert said.status_code == 200
    content = said.json()["choices"][0]["message"]["content"]
    assert content.strip() == prompts["talk"].predict([TALK])[0]
    assert said.json()["usage"]["completion_tokens"] <= 9
    one = http.post("/v1/chat/completions", json={"model": "talk", "messages": TALK[:1], "max_tokens": 3})
    assert one.json()["usage"]["completion_tokens"] <= 3


def test_a_text_is_written_as_the_prompt_writes_it(http: httpx2.Client, prompts: dict[str, Tuned]) -> None:
    said = http.post("/v1/completions", json={"model": "line", "prompt": "one two"})
    assert said.json()["choices"][0]["text"].strip() == prompts["line"].predict(["one two"])[0]
    listed = {one["name"]: one for one in http.get("/v1/prompts").json()["prompts"]}
    assert (listed["talk"]["task"], listed["talk"]["labels"], listed["talk"]["fields"]) == ("chat", [], ["turns"])


@pytest.mark.parametrize(
    ("messages", "came"),
    [
        ([{"role": "system", "content": "x"}, *TALK], "messages of system, user, assistant, user"),
        (TALK[:2], "messages of user, assistant"),
        ([{"role": "user", "content": " "}], "message 1 is empty"),
    ],
)
def test_messages_that_are_no_conversation_are_refused(http: httpx2.Client, messages: list[Any], came: str) -> None:
    said = http.post("/v1/chat/completions", json={"model": "talk", "messages": messages})
    assert 400 <= said.status_code < 500
    assert came in said.text


def test_forms_are_not_served(prompts: dict[str, Tuned], tmp_path: Path) -> None:
    tuned = prompts["line"]
    formed = TextPredictor(tuned.prompt, Generation(regex="a+"), tuned.backbone, 5)  # type: ignore[arg-type]
    Tuned(formed).save(tmp_path / "formed")
    with pytest.raises(PegboxError, match="keeps to a regular expression"):
        open_served(Name("formed", 1), tmp_path / "formed", HuggingFaceBackbone(tiny()))
