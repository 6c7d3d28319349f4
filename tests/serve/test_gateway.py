"""Gateway mode against a stand-in for vLLM, which puts the parts together as vLLM does and is checked byte for byte."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
import torch
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

import pegbox
from pegbox.artifact import Tuned
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.layout import Slot, Speller, fill_frame, frame
from pegbox.backbone.seam import Choices
from pegbox.data.rows import Rows
from pegbox.errors import PegboxError, ServerError
from pegbox.export.parts import chat_of, checked_row
from pegbox.prompt import Prompt, parse
from pegbox.serve.carried import Terms
from pegbox.serve.errors import BusyError
from pegbox.serve.gateway import Gateway, make_gateway
from pegbox.serve.settings import Limits
from pegbox.serve.shelf import Shelf
from pegbox.serve.upstream import Upstream
from pegbox.task.calibration import Calibration
from pegbox.task.classification import Classification
from pegbox.task.decoding import Grammar
from pegbox.task.generation import Generation, TextPredictor
from pegbox.task.many_labels import MultiLabel, SetPredictor
from pegbox.task.predictor import PromptPredictor
from pegbox.task.tagging import Tagging, TagPredictor

KEY = "their-key"
TEXT = "a fine day"
MARK = "\ue000"  # stands for vectors in a rendered chat; no text here has it
NOTATIONS = {
    "soft": r"[system] Sort it. [user] [soft a 3]\n{text} [hard h=\"now\"] [assistant] [answer]".replace('\\"', '"'),
    "between": r"[user] Mind:\n[soft a 2]\n{text}\n[soft b 3][soft c 1] [assistant] [answer]",
    "words": '[user] Sort [hard h="it"]: {text} [assistant] [answer]',
    "plain": r"Review: {text}\nMood: [answer]",
    "side by side": "[user] Mind [soft a 2] this: {text}[soft b 3] [assistant] [answer]",
}


class StandIn:
    """What vLLM does with a request, up to where the model would read: its texts and vectors, in order."""

    def __init__(self, content_format: str = "string") -> None:
        self.content_format = content_format
        self.bodies: list[dict[str, Any]] = []
        self.answer: Callable[[], Response] | None = None
        self.left = asyncio.Event()
        self.app = FastAPI()
        self.app.get("/v1/models")(self.models)
        self.app.post("/v1/chat/completions")(self.complete)
        self.app.post("/v1/completions")(self.complete)

    async def models(self, request: Request) -> Any:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return JSONResponse({"error": {"message": "Unauthorized"}}, 401)
        return {"object": "list", "data": [{"id": "their-model"}]}

    async def complete(self, request: Request) -> Any:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        body = await request.json()
        self.bodies.append(body)
        if self.answer is not None:
            return self.answer()
        if body["stream"]:
            return StreamingResponse(self.stream(), media_type="text/event-stream")
        said = {"message": {"role": "assistant", "content": " good"}} if "messages" in body else {"text": " good"}
        choice = {"index": 0, **said, "finish_reason": "stop"}
        return {"id": "x", "object": "any", "created": 0, "model": body["model"], "choices": [choice]}

    async def stream(self) -> AsyncIterator[str]:
        for piece in (" go", "od"):
            chat = {"index": 0, "delta": {"content": piece}}
            choice = chat if "messages" in self.bodies[-1] else {"index": 0, "text": piece}
            yield f"data: {json.dumps({'id': 'x', 'choices': [choice]})}\n\n"
        yield "data: [DONE]\n\n"

    def read(self, backbone: HuggingFaceBackbone) -> list[int | torch.Tensor]:
        """The last chat as the model would get it: token ids, and vectors between them."""
        found: list[torch.Tensor] = []
        turns = [{"role": m["role"], "content": self.content(m["content"], found)} for m in self.bodies[-1]["messages"]]
        rendered = backbone.loaded.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        read: list[int | torch.Tensor] = []
        for number, text in enumerate(rendered.split(MARK)):
            read += ([found[number - 1]] if number else []) + list(Speller(backbone.loaded.tokenizer).structure(text))
        return read

    def content(self, content: Any, found: list[torch.Tensor]) -> str:
        if isinstance(content, str):
            return content
        texts = []
        for part in content:
            if part["type"] == "prompt_embeds":
                raw = base64.b64decode(part["data"], validate=True)
                found.append(torch.load(io.BytesIO(raw), weights_only=True))
                texts.append(MARK)
            elif part["text"]:  # vLLM drops empty parts
                texts.append(part["text"])
        return ("\n" if self.content_format == "string" else "").join(texts)


def here(prompt: Prompt, backbone: HuggingFaceBackbone, text: str) -> list[int | torch.Tensor]:
    """What our own model reads: token ids, and vectors between them, neighbouring ones together."""
    speller = Speller(backbone.loaded.tokenizer)
    layout = fill_frame(frame(prompt, speller), Rows.from_texts([text]), speller)[0]
    read: list[int | torch.Tensor] = []
    for piece in layout:
        slot = prompt.slots[piece.name] if isinstance(piece, Slot) else None
        if slot is None:
            assert not isinstance(piece, Slot)
            read += piece
        elif hasattr(slot, "words"):
            read += speller.plain([" " * piece.spaced + slot.words])[0]  # type: ignore[union-attr,operator]
        else:
            vectors = torch.tensor(slot.vectors).bfloat16()
            read.append(torch.cat([read.pop(), vectors]) if read and isinstance(read[-1], torch.Tensor) else vectors)
    return read


def saved(folder: Path, kind: str, backbone: HuggingFaceBackbone, offsets: tuple[float, ...] = (), **more: Any) -> Prompt:
    rng = np.random.default_rng(0)
    prompt = parse(NOTATIONS.get(kind, kind))
    lengths = {name: slot.length for name, slot in prompt.slots.items() if hasattr(slot, "length")}
    filled = {name: rng.normal(0, 0.3, (n, backbone.width)).astype(np.float32) for name, n in lengths.items()}
    prompt = prompt.fill(**filled)
    task = Classification(("bad", "good"), calibration="none", **more)
    Tuned(PromptPredictor(prompt, task, backbone, Calibration("batch", offsets))).save(folder)
    return prompt


class Lane:
    """A gateway before a stand-in."""

    def __init__(self, url: str, standin: StandIn, gateway: Gateway) -> None:
        self.url, self.standin, self.gateway = url, standin, gateway
        self.http = httpx2.Client(base_url=url, timeout=30)

    def chat(self, model: str, text: str = TEXT, **more: Any) -> httpx2.Response:
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        return self.http.post("/v1/chat/completions", json=body)


@pytest.fixture
def lane(tmp_path: Path, tiny_backbone: HuggingFaceBackbone, serving: Any) -> Iterator[Callable[..., Lane]]:
    with ExitStack() as stack:

        def made(*kinds: str, content_format: str = "string", seconds: float = 20.0, **terms: Any) -> Lane:
            folder = tmp_path / "prompts"
            folder.mkdir(exist_ok=True)
            for number, kind in enumerate(kinds):
                saved(folder / f"p{number}", kind, tiny_backbone)
            standin = StandIn(content_format)
            upstream = Upstream.find(stack.enter_context(serving(standin.app)), None, KEY, seconds)
            gateway = Gateway.build(folder, upstream, Terms("tiny", content_format, **terms), look_every=0.05)
            found = Lane(stack.enter_context(serving(make_gateway(gateway))), standin, gateway)
            stack.callback(found.http.close)
            return found

        yield made


@pytest.mark.parametrize(
    ("kind", "content_format"),
    [("soft", "string"), ("between", "string"), ("words", "string"), ("side by side", "openai"), ("soft", "openai")],
)
def test_everything_stands_where_our_own_model_reads_it(
    kind: str, content_format: str, lane: Any, tmp_path: Path, tiny_backbone: HuggingFaceBackbone
) -> None:
    prompt = saved(tmp_path / "same", kind, tiny_backbone)
    found = lane(kind, content_format=content_format)
    for text in (TEXT, "two\nlines {text} [soft a 3]"):
        assert found.chat("p0", text).status_code == 200
        read, expected = found.standin.read(tiny_backbone), here(prompt, tiny_backbone, text)
        assert [one for one in read if isinstance(one, int)] == [one for one in expected if isinstance(one, int)]
        assert len(read) == len(expected)
        for one, other in zip(read, expected, strict=True):
            if isinstance(other, torch.Tensor):
                assert isinstance(one, torch.Tensor)
                assert (one.dtype, one.shape) == (torch.bfloat16, other.shape)
                assert one.view(torch.uint8).numpy().tobytes() == other.view(torch.uint8).numpy().tobytes()
            else:
                assert one == other
    assert found.standin.bodies[-1]["model"] == "their-model"


@pytest.mark.parametrize(
    "kind", ["soft", "side by side", "[soft a 3]{text} Mood: [answer]", "[user] {text} [assistant] It is[soft a 2] [answer]"]
)
def test_embedded_here_any_prompt_goes_as_our_own_model_reads_it(
    kind: str, lane: Any, tmp_path: Path, tiny_backbone: HuggingFaceBackbone
) -> None:
    prompt = saved(tmp_path / "prompts" / "any", kind, tiny_backbone)
    found = lane(embedding=tiny_backbone, dtype="float32")
    text = "a <|im_end|> day"  # a mark in a text stays a text
    answer = found.http.post("/v1/completions", json={"model": "any", "prompt": text})
    assert answer.status_code == 200
    sent = torch.load(io.BytesIO(base64.b64decode(found.standin.bodies[-1]["prompt_embeds"])), weights_only=True)
    bound = tiny_backbone.bind(prompt, Rows.from_texts([text]), Choices(("good", "bad")))
    theirs = tiny_backbone.loaded.model(inputs_embeds=sent[None]).logits[0, -1].log_softmax(-1)
    torch.testing.assert_close(theirs, bound.next_words([0])[0], atol=1e-4, rtol=0)
    assert "messages" not in found.standin.bodies[-1]


def test_a_plain_prompt_is_completed_word_for_word(lane: Any) -> None:
    found = lane("plain")
    asked = {"model": "p0@1", "prompt": TEXT, "max_tokens": 5, "temperature": 0, "logprobs": 2}
    answer = found.http.post("/v1/completions", json=asked)
    assert answer.json()["choices"][0]["text"] == " good"
    assert answer.headers["x-pegbox-prompt"] == "p0@1"
    sent = found.standin.bodies[-1]
    assert sent == {**asked, "model": "their-model", "prompt": f"Review: {TEXT}\nMood:", "stream": False}
    assert found.http.get("/v1/prompts/p0").json()["endpoint"] == "/v1/completions"


def test_openais_client_chats_through_it_and_streams(lane: Any) -> None:
    found = lane("soft")
    with openai.OpenAI(base_url=f"{found.url}/v1", api_key="none", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["p0", "p0@1"]
        asked: Any = {"model": "p0", "messages": [{"role": "user", "content": TEXT}], "max_tokens": 3, "stop": ["."]}
        asked["extra_body"] = {"answer": "text"}  # as it is asked of a server with its model
        assert client.chat.completions.create(**asked).choices[0].message.content == " good"
        pieces = list(client.chat.completions.create(stream=True, **asked))
    assert [piece.choices[0].delta.content for piece in pieces] == [" go", "od"]
    assert {"max_tokens": 3, "stop": ["."], "stream": True}.items() <= found.standin.bodies[-1].items()


def test_asked_at_the_other_address_the_answer_is_told_as_there(lane: Any) -> None:
    found = lane("plain", "soft")
    with openai.OpenAI(base_url=f"{found.url}/v1", api_key="none", max_retries=0) as client:
        asked: Any = {"model": "p0", "messages": [{"role": "user", "content": TEXT}], "max_completion_tokens": 3}
        assert client.chat.completions.create(**asked).choices[0].message.content == " good"
        sent = found.standin.bodies[-1]
        assert (sent["prompt"], sent["max_tokens"]) == (f"Review: {TEXT}\nMood:", 3)
        assert "max_completion_tokens" not in sent
        pieces = list(client.chat.completions.create(stream=True, **asked))
        assert [piece.choices[0].delta.content for piece in pieces] == [" go", "od"]
        assert pieces[0].object == "chat.completion.chunk"
        plain = client.completions.create(model="p1", prompt=TEXT)
        assert (plain.choices[0].text, plain.choices[0].finish_reason) == (" good", "stop")
        assert [piece.choices[0].text for piece in client.completions.create(model="p1", prompt=TEXT, stream=True)] == [
            " go",
            "od",
        ]
        with pytest.raises(openai.BadRequestError, match="at the other address than the prompt's own"):
            client.chat.completions.create(logprobs=True, **asked)


def refusal(status: int, message: str, **headers: str) -> Callable[[], Response]:
    return lambda: JSONResponse({"error": {"message": message}}, status, headers)


@pytest.mark.parametrize(
    ("theirs", "status", "came"),
    [
        (refusal(400, "max_tokens is too large"), 400, "the upstream refused (400): max_tokens is too large"),
        (refusal(401, "wrong key"), 502, "the upstream answered 401: wrong key"),
        (refusal(429, "full", **{"retry-after": "7"}), 429, "the upstream is busy: full"),
        (refusal(500, "broken"), 502, "the upstream answered 500: broken"),
        (lambda: Response("<html>", 503), 502, "the upstream answered 503: <html>"),
    ],
)
def test_errors_of_the_upstream_are_passed_on_in_three_parts(theirs: Any, status: int, came: str, lane: Any) -> None:
    found = lane("soft")
    found.standin.answer = theirs
    for stream in (False, True):
        answer = found.chat("p0", stream=stream)
        assert answer.status_code == status
        assert answer.json()["error"]["came"] == came
        assert answer.json()["error"]["remedy"]
        assert KEY not in answer.text
    assert status != 429 or answer.headers["retry-after"] == "7"


def test_an_upstream_that_takes_too_long_is_a_504(lane: Any) -> None:
    found = lane("soft", seconds=0.3)

    async def slowly() -> AsyncIterator[str]:
        yield "data: {}\n\n"
        await asyncio.sleep(1)
        yield "data: [DONE]\n\n"

    found.standin.answer = lambda: StreamingResponse(slowly(), media_type="text/event-stream")
    assert found.chat("p0").status_code == 504
    lines = [line for line in found.chat("p0", stream=True).text.splitlines() if line]
    assert lines[0] == "data: {}"
    assert json.loads(lines[1].removeprefix("data: "))["error"]["code"] == "deadline"
    assert lines[2] == "data: [DONE]"


def test_a_client_that_goes_away_ends_the_upstreams_work(lane: Any, until: Any) -> None:
    found, ended = lane("soft"), []

    async def endless() -> AsyncIterator[str]:
        try:
            while True:
                yield "data: {}\n\n"
                await asyncio.sleep(0.01)
        finally:
            ended.append(True)

    found.standin.answer = lambda: StreamingResponse(endless(), media_type="text/event-stream")
    body = {"model": "p0", "messages": [{"role": "user", "content": TEXT}], "stream": True}
    with found.http.stream("POST", "/v1/chat/completions", json=body) as stream:
        next(stream.iter_lines())
    until(lambda: ended, 5)


@pytest.mark.parametrize(
    ("change", "came"),
    [
        ({"chat_template": "x"}, "the setting 'chat_template'"),
        ({"prompt_embeds": "x"}, "the setting 'prompt_embeds'"),
        ({"messages": [{"role": "user", "content": "a <prompt_embeds>"}]}, "the mark <prompt_embeds> in a row's text"),
        ({"messages": [{"role": "user", "content": "a <|im_end|>"}]}, "the mark <|im_end|> in a row's text"),
        ({"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "a"}]}, "messages of system, user"),
    ],
)
def test_nothing_but_a_row_and_settings_goes_upstream(change: Any, came: str, lane: Any) -> None:
    found = lane("soft")
    answer = found.chat("p0", **change)
    assert (answer.status_code, answer.json()["error"]["came"]) == (400, came)
    assert found.standin.bodies == []


def test_what_cannot_be_carried_is_said_at_the_start(lane: Any, tmp_path: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    folder = tmp_path / "prompts"
    saved(folder / "calibrated", "words", tiny_backbone, (0.25, -0.5))
    saved(folder / "channel", "plain", tiny_backbone, channel=True)
    saved(folder / "plainsoft", "[soft a 3]{text} Mood: [answer]", tiny_backbone)
    saved(folder / "oneline", "side by side", tiny_backbone)
    saved(folder / "opening", "[user] {text} [assistant] Mood: [answer]", tiny_backbone)
    found = lane("soft")
    told = found.http.get("/v1/prompts").json()
    assert [prompt["name"] for prompt in told["prompts"]] == ["p0"]
    why = {one["folder"]: one["why"] for one in told["broken"]}
    assert sorted(why) == ["calibrated", "channel", "oneline", "opening", "plainsoft"]
    assert "--drop-calibration" in why["calibrated"]
    assert "scores texts given labels" in why["channel"]
    assert "vectors in a plain text" in why["plainsoft"]
    assert "meet vectors on one line" in why["oneline"]
    assert "--content-format openai" in why["oneline"]
    assert "last turn begins with the answer" in why["opening"]
    assert all("expected:" in text and "what to do:" in text for text in why.values())


def test_it_predicts_nothing_itself_and_says_so(lane: Any, tmp_path: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    task = MultiLabel(("a", "b"))
    sets = SetPredictor(task, PromptPredictor(parse("{text} [answer]"), task.choice, tiny_backbone), (0.5, 0.5))
    types = Tagging(("PER",))
    words = PromptPredictor(parse("{text} {word} [answer]"), types.of_words, tiny_backbone)
    tags = TagPredictor(words, types, Grammar.counted(types.types, [["B-PER", "O"]]))
    Tuned(sets).save(tmp_path / "prompts" / "sets")
    Tuned(tags).save(tmp_path / "prompts" / "tags")
    text = TextPredictor(parse("[user] Say: {text} [assistant] [answer]"), Generation(), tiny_backbone, 5)
    Tuned(text).save(tmp_path / "prompts" / "line")
    found = lane("words")
    why = {one["folder"]: one["why"] for one in found.http.get("/v1/prompts").json()["broken"]}
    assert {name: text.split(" is for ")[1].split("\n")[0] for name, text in why.items()} == {
        "sets": "multilabel",
        "tags": "tag",
    }
    assert found.chat("line").status_code == 200  # its text is the upstream's
    for name, status in (("p0", 400), ("line", 400), ("tags", 404)):
        answer = found.http.post(f"/v1/prompts/{name}/predict", json={"rows": ["a"]})
        assert answer.status_code == status
        assert {"came", "expected", "remedy"} <= answer.json()["error"].keys()
    client = pegbox.Client(str(found.http.base_url))
    for name in ("p0", "line"):
        with pytest.raises(ServerError, match="a gateway, which holds no model"):
            client.prompt(name).predict(["a"])
    with pytest.raises(ServerError, match="tells no settings of the task 'generate'"):
        client.prompt("line").task  # noqa: B018


def test_calibration_may_be_dropped_and_another_models_prompt_may_not_come_in(
    lane: Any, tmp_path: Path, tiny_backbone: HuggingFaceBackbone
) -> None:
    saved(tmp_path / "prompts" / "mood", "words", tiny_backbone, (0.25, -0.5))
    found = lane(drop_calibration=True)
    assert found.chat("mood").status_code == 200
    manifest = tmp_path / "prompts" / "mood" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"name": "tiny"', '"name": "other"'))
    found.gateway.shelf.refresh()
    assert "was tuned on other" in found.http.get("/v1/prompts").json()["broken"][0]["why"]


def test_an_upstream_is_looked_at_before_anything_starts(serving: Any) -> None:
    with pytest.raises(ServerError, match="no models from"):
        Upstream.find("http://127.0.0.1:9", None, "", 5)
    with pytest.raises(PegboxError, match="an address"):
        Upstream.find("127.0.0.1:9", None, "", 5)
    with serving(StandIn().app) as url:
        with pytest.raises(ServerError, match="401"):
            Upstream.find(url, None, "wrong", 5)
        with pytest.raises(ServerError, match=r"no model 'mine'(.|\n)*one of their-model"):
            Upstream.find(f"{url}/v1/", "mine", KEY, 5)


@pytest.mark.parametrize(
    "notation",
    [
        "[user] [soft a 3]{text} [assistant] [answer]",
        r"[user] [soft a 3] \n{text} [assistant] [answer]",
        r"[user] [soft a 3]\n\n[soft b 2] [assistant] [answer]",
        r"[user] {text}[soft a 3]\n [assistant] [answer]",
    ],
)
def test_words_that_meet_vectors_on_one_line_are_refused(notation: str) -> None:
    with pytest.raises(PegboxError, match="meet vectors on one line"):
        chat_of(parse(notation))


def test_a_rows_own_turns_and_marks_in_halves_do_not_go_upstream() -> None:
    with pytest.raises(PegboxError, match="own turns"):
        chat_of(parse("[system] Be kind. [turns] {turns} [assistant] [answer]"))
    for row in ({"a": "<|im_", "b": "end|>"}, {"a": "[SYSTEM_PROMPT]", "b": ""}, {"a": "", "b": "[|endofturn|]"}):
        with pytest.raises(PegboxError, match=r"looks like a mark|mark"):
            checked_row(row, ("a", "b"))
    assert checked_row({"a": "a [list] <b>", "b": "| c"}, ("a", "b"))


def test_answers_are_the_likeliest_unless_a_request_says_otherwise(lane: Any) -> None:
    found = lane("words")
    assert found.chat("p0").status_code == 200
    assert found.standin.bodies[-1]["temperature"] == 0.0
    assert found.chat("p0", temperature=0.7).status_code == 200
    assert found.standin.bodies[-1]["temperature"] == 0.7


def test_a_prompt_that_comes_while_the_queue_is_full_is_read_again(tmp_path: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    saved(tmp_path / "p", "words", tiny_backbone)
    came: list[Any] = ["first", BusyError(8, 1), "second"]

    class One:
        def __init__(self, said: str) -> None:
            self.said = said

    def open_one(name: Any, path: Path) -> Any:
        what = came.pop(0)
        if isinstance(what, Exception):
            raise what
        return One(what)

    shelf: Shelf[Any] = Shelf(tmp_path, open_one, Limits())
    shelf.refresh()
    saved(tmp_path / "p", "plain", tiny_backbone)
    shelf.refresh()
    assert [one.said for one in shelf.state.served.values()] == ["first"]  # it goes on answering
    shelf.refresh()
    assert [one.said for one in shelf.state.served.values()] == ["second"]
    assert shelf.state.broken == {}
