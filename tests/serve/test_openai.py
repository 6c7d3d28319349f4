"""OpenAI's own client against the server, unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.serve.settings import Limits

Start = Callable[..., Any]
TEXT = "a fine day"


@pytest.fixture
def served(start: Start) -> Any:
    return start("soft", "chat", "pair", limits=Limits(text_characters=1000))


@pytest.fixture
def client(served: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_models_are_the_prompts(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["chat", "pair", "soft", "chat@1", "pair@1", "soft@1"]
    assert client.models.retrieve("soft@1").owned_by == "pegbox"
    with pytest.raises(openai.NotFoundError, match="no prompt 'none' is served here"):
        client.models.retrieve("none")


def test_a_prompt_answers_with_its_label(client: openai.OpenAI, served: Any) -> None:
    label = served.prompts["soft"].predict([TEXT])[0]
    answer = client.chat.completions.create(model="soft", messages=user(TEXT), temperature=1, user="me")
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (label, "stop")
    parts: Any = [{"role": "user", "content": [{"type": "text", "text": TEXT[:4]}, {"type": "text", "text": TEXT[4:]}]}]
    assert client.chat.completions.create(model="soft@1", messages=parts).choices[0].message.content == label
    plain = client.completions.create(model="soft", prompt=TEXT)
    assert plain.choices[0].text == label
    assert plain.model_extra is not None
    assert plain.model_extra["pegbox"]["prompt"] == "soft@1"
    assert plain.model_extra["pegbox"]["label"] == label


def test_a_label_streams_too(client: openai.OpenAI, served: Any) -> None:
    pieces = list(client.chat.completions.create(model="chat", messages=user(TEXT), stream=True))
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == served.prompts["chat"].predict([TEXT])[0]
    assert [piece.choices[0].finish_reason for piece in pieces] == [None, None, "stop"]


def test_asked_for_text_the_model_writes_on_from_the_prompt(client: openai.OpenAI, served: Any) -> None:
    backbone, row = HuggingFaceBackbone(tiny()), Rows.from_texts([TEXT])
    alone = backbone.generate(served.prompts["soft"].prompt, row, max_tokens=12)[0]
    asked: Any = {"model": "soft", "extra_body": {"answer": "text"}}
    whole = client.completions.create(prompt=TEXT, max_tokens=12, **asked)
    assert whole.choices[0].text == alone
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == 5 + len(f"Review: {TEXT} Mood:")
    pieces = list(client.completions.create(prompt=TEXT, max_tokens=12, stream=True, **asked))
    assert "".join(piece.choices[0].text for piece in pieces) == alone
    said = client.chat.completions.create(
        messages=user(TEXT), max_completion_tokens=12, stream=True, stream_options={"include_usage": True}, **asked
    )
    chunks = list(said)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == alone
    assert chunks[-1].usage == whole.usage
    assert len(chunks) > 4  # it came in pieces


def test_drawing_and_stopping_are_heeded(client: openai.OpenAI) -> None:
    asked: Any = {"model": "soft", "prompt": TEXT, "extra_body": {"answer": "text"}, "max_tokens": 20, "temperature": 1.5}
    first = client.completions.create(seed=1, **asked).choices[0].text
    assert client.completions.create(seed=1, **asked).choices[0].text == first
    mark = first[4:6]
    assert client.completions.create(seed=1, stop=[mark], **asked).choices[0].text == first[: first.index(mark)]


def test_further_fields_come_in_the_body(client: openai.OpenAI, served: Any) -> None:
    extra = {"fields": {"first": "a", "second": "b"}}
    expected = served.prompts["pair"].predict(Rows((extra["fields"],)))[0]
    assert client.completions.create(model="pair", prompt="", extra_body=extra).choices[0].text == expected


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "a"}]}, openai.BadRequestError),
        ({"model": "none"}, openai.NotFoundError),
        ({"n": 2}, openai.UnprocessableEntityError),
        ({"messages": user("a" * 1001)}, openai.APIStatusError),
        ({"temperature": -1}, openai.UnprocessableEntityError),
    ],
)
def test_what_cannot_be_done_is_told_in_their_own_terms(client: openai.OpenAI, change: Any, error: Any) -> None:
    for stream in (False, True):
        with pytest.raises(error) as told:
            client.chat.completions.create(**{"model": "soft", "messages": user("a"), "stream": stream, **change})
        assert told.value.body["remedy"]
