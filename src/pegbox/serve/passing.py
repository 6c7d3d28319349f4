"""The gateway's part of OpenAI's interface: a row goes into its prompt, the prompt to the upstream, the answer back as it is.

A prompt in chat turns goes on as a chat, a plain one as a completion; ``endpoint`` under `/v1/prompts/{name}` says which. There
the answer is passed on as it is; asked at the other address it is told as that address tells answers. The header
``x-pegbox-prompt`` says which version answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Annotated, Any, Literal, TypeVar, cast

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from pegbox.errors import DataError
from pegbox.serve import asking, reading, reshaped
from pegbox.serve.carried import Carried
from pegbox.serve.errors import GoneError, ServeError
from pegbox.serve.first_wrong import Fields
from pegbox.serve.openai import Message, add_models, user_text

router = APIRouter()
add_models(router)
Result = TypeVar("Result")
PASSED = frozenset(
    (
        "frequency_penalty", "ignore_eos", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "min_p",
        "min_tokens", "n", "presence_penalty", "repetition_penalty", "response_format", "seed", "stop", "stop_token_ids",
        "stream_options", "structured_outputs", "temperature", "top_k", "top_logprobs", "top_p", "user",
    )
)  # fmt: skip
"""Settings of a request that are passed on; others could change what stands around the prompt."""


class Asked(BaseModel):
    """What both kinds of request have in common; further settings are passed on, see `PASSED`."""

    model_config = ConfigDict(extra="allow")
    model: Annotated[str, Field(max_length=80)]
    stream: bool = False
    fields: Fields = {}
    answer: Literal["text"] = "text"

    def settings(self) -> dict[str, Any]:
        """What goes on to the upstream besides the prompt. Raises DataError for a setting that does not."""
        given = dict(self.model_extra or {})
        if strange := sorted(given.keys() - PASSED):
            raise DataError(
                f"the setting {strange[0][:80]!r}",
                f"one of {', '.join(sorted(PASSED))}",
                "leave it out: only these go upstream",
            )
        return {**given, "stream": self.stream}


class Chat(Asked):
    """A chat completion: the user's message is the row's text."""

    messages: Annotated[list[Message], Field(min_length=1, fail_fast=True)]


class Completion(Asked):
    """A completion: the prompt is the row's text."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]


@router.post("/v1/chat/completions")
async def chat(asked: Chat, request: Request) -> Response:
    """Answers the user's message."""
    return await _passed_on(asked, user_text(asked.messages), request, "/chat/completions")


@router.post("/v1/completions")
async def complete(asked: Completion, request: Request) -> Response:
    """Answers one text."""
    text = asked.prompt if isinstance(asked.prompt, str) else asked.prompt[0]
    return await _passed_on(asked, text, request, "/completions")


@router.post("/v1/prompts/{name}/predict")
async def predict(name: str, request: Request) -> Response:
    """Refused: here the model is elsewhere, and what it says comes through OpenAI's interface."""
    asking.let_in(request)
    carried = cast(Carried, asking.kept(request, name))
    raise ServeError(
        f"{name} to be predicted with by a gateway, which holds no model",
        f"a request to /v1{carried.way.path}, with {name!r} as its model",
        "ask there, or serve the prompt with its model: pegbox serve without --upstream",
    )


async def _passed_on(asked: Asked, text: str, request: Request, path: str) -> Response:
    asking.let_in(request)
    gateway = request.app.state.house
    carried = cast(Carried, asking.kept(request, asked.model))  # a gateway's shelf holds nothing else
    row = reading.rows_of(request, [{**asked.fields, "text": text}], carried).fields[0]
    own = carried.way.path
    settings = asked.settings() if own == path else reshaped.settings(asked.settings(), own)
    usual = dict(carried.usual)
    if "max_completion_tokens" in settings:
        usual.pop("max_tokens", None)
    body = await run_in_threadpool(carried.way.body, row)  # whole texts as vectors take a while to write
    answer = await _unless_gone(request, gateway.line.ask(own, {**usual, **settings, **body}))
    headers = {"x-pegbox-prompt": str(carried.name)}
    kind = answer.headers.get("content-type", "application/json")
    if asked.stream:
        change = None if own == path else partial(reshaped.stream, path=path)
        closing = BackgroundTask(answer.aclose)  # a stream that never began does not close its answer
        return StreamingResponse(gateway.line.pieces(answer, change), media_type=kind, headers=headers, background=closing)
    told = await _unless_gone(request, gateway.line.whole(answer))
    return Response(told if own == path else reshaped.whole(told, path), media_type=kind, headers=headers)


async def _unless_gone(request: Request, act: Coroutine[Any, Any, Result]) -> Result:
    """What comes of it; it is given up when the client goes away. Raises GoneError then."""
    doing, gone = asyncio.create_task(act), asyncio.create_task(asking.client_gone(request))
    either: set[asyncio.Task[Any]] = {doing, gone}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise GoneError
        return doing.result()
    finally:
        doing.cancel()
        gone.cancel()
