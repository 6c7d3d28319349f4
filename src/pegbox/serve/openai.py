"""The part of OpenAI's interface that clients of prompts need: models, completions, chat completions.

`model` is a prompt's name and the text is its row. A prompt that sorts texts answers with a label; asked for
``"answer": "text"`` (`extra_body` in the client), the model goes on writing where the prompt's answer stands.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field
from starlette.background import BackgroundTask

from pegbox.errors import DataError, PegboxError
from pegbox.serve import asking, reading
from pegbox.serve.conversing import fields_of
from pegbox.serve.errors import FailedError
from pegbox.serve.first_wrong import Fields
from pegbox.serve.guard import as_json
from pegbox.serve.predicted import predicted
from pegbox.serve.served import Served
from pegbox.serve.writing import Wish, Writing, Written
from pegbox.task.tagging import shown

router = APIRouter()
Shape = Callable[[dict[str, Any]], dict[str, Any]]


class StreamOptions(BaseModel):
    """What a stream tells besides its text."""

    include_usage: bool = False


class Asked(BaseModel):
    """What both kinds of completion have in common. Settings that change nothing here are let through."""

    model: Annotated[str, Field(max_length=80)]
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    temperature: Annotated[float, Field(ge=0, le=5)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Annotated[int | None, Field(ge=0, lt=2**63)] = None
    stop: (
        Annotated[str, Field(min_length=1)] | Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=4)] | None
    ) = None
    n: Annotated[int, Field(ge=1, le=1, description="one answer; ask again for another")] = 1
    stream: bool = False
    stream_options: StreamOptions | None = None
    answer: Literal["label", "text"] = "label"
    fields: Fields = {}


class Completion(Asked):
    """A completion: the prompt is the row's text."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]


class Part(BaseModel):
    """A part of a message."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """A turn of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[Part], Field(fail_fast=True)]


class Chat(Asked):
    """A chat completion: the user's message is the row's text."""

    messages: Annotated[list[Message], Field(min_length=1, fail_fast=True)]
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None


@dataclass(frozen=True)
class Answer:
    """What is answered, whichever way it came about."""

    text: str
    reason: str
    read: int
    written: int
    more: dict[str, Any]

    @property
    def usage(self) -> dict[str, int]:
        return {"prompt_tokens": self.read, "completion_tokens": self.written, "total_tokens": self.read + self.written}


def add_models(to: APIRouter) -> None:
    """Adds the prompts, as models."""

    @to.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        """The prompts, as models."""
        asking.let_in(request)
        state = asking.premises_of(request).shelf.state
        names = sorted({*state.splits, *(name.base for name in state.served)}) + [str(name) for name in sorted(state.served)]
        return {"object": "list", "data": [_model(name) for name in names]}

    @to.get("/v1/models/{name}")
    async def model(name: str, request: Request) -> dict[str, Any]:
        """One prompt, as a model."""
        asking.let_in(request)
        asking.kept(request, name)
        return _model(name)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "pegbox"}


add_models(router)


@router.post("/v1/completions")
async def complete(asked: Completion, request: Request) -> Response:
    """Answers one text."""
    text = asked.prompt if isinstance(asked.prompt, str) else asked.prompt[0]

    def shape(choice: dict[str, Any]) -> dict[str, Any]:
        return {"object": "text_completion", **choice}

    return await _respond(asked, lambda served: fields_of([("user", text)], served), request, shape, chat=False)


@router.post("/v1/chat/completions")
async def chat(asked: Chat, request: Request) -> Response:
    """Answers the user's message."""
    turns = [(message.role, said(message)) for message in asked.messages]
    asked.max_tokens = asked.max_completion_tokens or asked.max_tokens

    def shape(choice: dict[str, Any]) -> dict[str, Any]:
        return {"object": "chat.completion.chunk" if asked.stream else "chat.completion", **choice}

    return await _respond(asked, lambda served: fields_of(turns, served), request, shape, chat=True)


def user_text(messages: Sequence[Message]) -> str:
    """The row's text in a chat, where the prompt is not at hand. Raises DataError for other messages than one of the user."""
    if [message.role for message in messages] != ["user"]:
        raise DataError(
            f"messages of {', '.join(message.role for message in messages)}",
            "one message of the user: the prompt brings its own instructions",
            "send the text alone",
        )
    return said(messages[0])


def said(message: Message) -> str:
    """A message's text, its parts joined."""
    return message.content if isinstance(message.content, str) else "".join(part.text for part in message.content)


async def _respond(
    asked: Asked, fields: Callable[[Served], dict[str, str]], request: Request, shape: Shape, chat: bool
) -> Response:
    asking.let_in(request)
    served = asking.found(request, asked.model)
    if served.writes:
        asked.answer = "text"
    row = {**asked.fields, **fields(served)}
    about = {"id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}", "created": int(time.time()), "model": asked.model}
    if asked.stream:
        pieces = await _pieces(asked, served, row, request)
        lines = _lines(pieces, asked, lambda choice: shape({**about, **choice}), chat)
        leave = BackgroundTask(getattr(request.state, "leave", lambda: None))  # a stream that never began leaves no seat
        return StreamingResponse(lines, media_type="text/event-stream", background=leave)
    answering = _labelled if asked.answer == "label" else _written
    answer = await answering(asked, served, row, request)
    said = {"message": {"role": "assistant", "content": answer.text}} if chat else {"text": answer.text}
    choice = {"index": 0, **said, "finish_reason": answer.reason, "logprobs": None}
    return JSONResponse(shape({**about, "choices": [choice], "usage": answer.usage, "pegbox": answer.more}))


async def _labelled(asked: Asked, served: Served, row: Mapping[str, str], request: Request) -> Answer:
    made = (await predicted(request, asked.model, served, [dict(row)], asking.seconds_of(request, None)))[0]
    about = {"request": request.state.request, "prompt": str(served.name)}
    return Answer(_said(served, made), "stop", 0, 0, {**about, **made})


def _said(served: Served, made: dict[str, Any]) -> str:
    """A row's answer as a person reads it: its label, its labels, its entities."""
    if served.tags:
        return shown(made["spans"])
    return served.tuned.task.show(made["labels"]) if "labels" in made else str(made["label"])


async def _written(asked: Asked, served: Served, row: Mapping[str, str], request: Request) -> Answer:
    return _as_answer(served, (await asking.answered(request, _writing(asked, served, row, request)))[0])


def _writing(
    asked: Asked, served: Served, row: Mapping[str, str], request: Request, say: Callable[[str], None] = lambda _: None
) -> Writing:
    """Raises DataError for a prompt that asks about words of a text, after which there is nothing to write."""
    if served.tags:
        raise DataError(
            f"an answer in text of {served.name}, which tags", 'the entities ("answer": "label")', "leave `answer` out"
        )
    rows = reading.rows_of(request, [row], served)
    return Writing(served, rows, _wish(asked, served, request), asking.seconds_of(request, None), say)


def _as_answer(served: Served, found: Written) -> Answer:
    return Answer(found.text, found.reason, found.read, found.tokens, {"prompt": str(served.name)})


def _wish(asked: Asked, served: Served, request: Request) -> Wish:
    most = asking.house_of(request).limits.written_tokens
    stop = () if asked.stop is None else (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop)
    stop = stop or served.stop
    return Wish(min(asked.max_tokens or served.room, most), asked.temperature, asked.top_p, asked.seed, stop)


async def _pieces(asked: Asked, served: Served, row: Mapping[str, str], request: Request) -> AsyncIterator[str | Answer]:
    """Pieces of text as they come, then the whole answer. A full queue is told before the first of them."""
    if asked.answer == "label":
        return _one_piece(await _labelled(asked, served, row, request))
    loop, told = asyncio.get_running_loop(), asyncio.Queue[str | None]()

    def say(piece: str | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(told.put_nowait, piece)

    work = _writing(asked, served, row, request, say)
    asking.house_of(request).scheduler.submit(work)
    request.state.leave = work.leave
    work.future.add_done_callback(lambda _: say(None))

    async def pieces() -> AsyncIterator[str | Answer]:
        try:
            while (piece := await told.get()) is not None:
                yield piece
            yield _as_answer(served, work.future.result()[0])
        finally:
            work.leave()

    return pieces()


async def _one_piece(answer: Answer) -> AsyncIterator[str | Answer]:
    yield answer.text
    yield answer


async def _lines(pieces: AsyncIterator[str | Answer], asked: Asked, shape: Shape, chat: bool) -> AsyncIterator[str]:
    """Server-sent events."""
    usage = asked.stream_options is not None and asked.stream_options.include_usage
    try:
        if chat:
            yield _event(
                shape({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]})
            )
        async for piece in pieces:
            if isinstance(piece, str):
                said: dict[str, Any] = {"delta": {"content": piece}} if chat else {"text": piece}
                yield _event(shape({"choices": [{"index": 0, **said, "finish_reason": None}]}))
                continue
            said = {"delta": {}} if chat else {"text": ""}
            yield _event(shape({"choices": [{"index": 0, **said, "finish_reason": piece.reason}], "pegbox": piece.more}))
            if usage:
                yield _event(shape({"choices": [], "usage": piece.usage}))
    except PegboxError as error:
        yield _event(as_json(error))
    except Exception:
        yield _event(as_json(FailedError()))
        raise
    yield "data: [DONE]\n\n"


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
