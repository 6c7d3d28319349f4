"""HTTP: prompts by name, and what a machine's keeper asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

import pegbox
from pegbox.errors import PegboxError
from pegbox.serve import asking, openai
from pegbox.serve.bodies import ANSWERED, Feedback, Predict
from pegbox.serve.errors import BusyError, FailedError, ServeError
from pegbox.serve.folder import drafted
from pegbox.serve.guard import Guard, Journal, as_json
from pegbox.serve.house import House, Premises
from pegbox.serve.packed import unpack
from pegbox.serve.predicted import note_feedback, predicted
from pegbox.serve.settings import LOOPBACK
from pegbox.serve.shelf import Kept

PromptName = Annotated[str, Path(description="name, or name@version", max_length=80)]
ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"description": meaning, "content": {"application/json": {}}}
    for code, meaning in {
        400: "it cannot be done as asked",
        401: "no key, or an unknown one",
        403: "not with this key",
        404: "no such prompt",
        408: "the body was too slow",
        413: "too large",
        422: "no body or address as it is described here: the first thing that is wrong",
        429: "busy; come again after Retry-After seconds",
        503: "stopping",
        504: "out of time",
    }.items()
}


def make_app(house: House) -> FastAPI:
    """The server as an ASGI application; it starts and ends the house."""
    app = bare_app(house)
    _add_prediction(app)
    app.include_router(openai.router, responses=ERRORS)
    return surrounded(app, house)


def bare_app(house: Premises) -> FastAPI:
    """What every server has, whoever answers in it: its shelf, and what its keeper asks."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(house.open)
        yield
        await run_in_threadpool(house.close)

    app = FastAPI(title="pegbox", version=pegbox.__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.house = house
    _add_prompts(app)
    _add_keeping(app)
    _add_errors(app)
    return app


def surrounded(app: FastAPI, house: Premises) -> FastAPI:
    """The application with what stands around every request."""
    if house.local:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])
    app.add_middleware(Guard, house=house)
    app.add_middleware(Journal, house=house)
    return app


def _add_prediction(app: FastAPI) -> None:
    @app.post("/v1/prompts/{name}/predict", responses=ANSWERED | ERRORS)
    async def predict(name: PromptName, asked: Predict, request: Request) -> dict[str, Any]:
        """Labels and probabilities for rows; or their entities, or texts, as the prompt's task is."""
        asking.let_in(request)
        served = asking.found(request, name)
        seconds = asking.seconds_of(request, asked.seconds)
        predictions = await predicted(request, name, served, asked.rows, seconds, asked.first)
        about = {"request": request.state.request, "prompt": str(served.name), "task": served.tuned.task.name}
        return {**about, "labels": list(served.labels), "predictions": predictions}

    @app.post("/v1/feedback", responses=ERRORS)
    async def feedback(asked: Feedback, request: Request) -> dict[str, int]:
        """Writes into the log what the right labels of an earlier request's rows were."""
        asking.let_in(request)
        note_feedback(asked.request, asked.labels)
        return {"noted": sum(label is not None for label in asked.labels)}


def _add_prompts(app: FastAPI) -> None:
    @app.get("/v1/prompts", responses=ERRORS)
    async def prompts(request: Request) -> dict[str, Any]:
        """All prompts, and the artifacts that are left out, with why."""
        asking.let_in(request)
        state = asking.premises_of(request).shelf.state
        listed = [served.described() for _, served in sorted(state.served.items())]
        splits = {name: split.as_dict() for name, split in state.splits.items()}
        broken = [{"folder": name, "why": why} for name, why in sorted(state.broken.items())]
        return {"prompts": listed, "splits": splits, "broken": broken}

    @app.get("/v1/prompts/{name}", responses=ERRORS)
    async def prompt(name: PromptName, request: Request) -> dict[str, Any]:
        """One prompt, and which versions there are."""
        asking.let_in(request)
        one = asking.kept(request, name)
        versions = asking.premises_of(request).shelf.state.versions(one.name.base)
        return {**one.described(), "versions": [version.version for version in versions]}

    @app.put("/v1/prompts/{name}", responses=ERRORS, status_code=201, openapi_extra=_ZIP)
    async def upload(name: PromptName, request: Request) -> dict[str, Any]:
        """Adds an artifact, sent as a zip archive, as a new version; with the admin key."""
        asking.let_in(request, "admin")
        body = await request.body()
        return (await run_in_threadpool(_uploaded, asking.premises_of(request), name, body)).described()

    @app.delete("/v1/prompts/{name}", responses=ERRORS)
    async def delete(name: PromptName, request: Request) -> dict[str, Any]:
        """Deletes a version, or all versions of a name; with the admin key."""
        asking.let_in(request, "admin")
        return {"deleted": await run_in_threadpool(asking.premises_of(request).shelf.remove, name)}


_ZIP = {"requestBody": {"required": True, "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}}


def _uploaded(house: Premises, name: str, body: bytes) -> Kept:
    with drafted(house.folder) as draft:
        unpack(body, draft, house.limits.body_bytes)
        added: Kept = house.shelf.add(name, draft)
        return added


def _add_keeping(app: FastAPI) -> None:
    @app.get("/healthz")
    async def healthy() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/readyz", responses=ERRORS)
    async def ready(request: Request) -> Response:
        """The server takes work."""
        alive = asking.premises_of(request).alive
        return JSONResponse({"status": "ready" if alive else "stopping"}, 200 if alive else 503)

    @app.get("/metrics", responses=ERRORS)
    async def metrics(request: Request) -> Response:
        """Figures for Prometheus."""
        asking.let_in(request)
        house = asking.premises_of(request)
        house.measures.prompts(len(house.shelf.state.served), len(house.shelf.state.broken))
        return Response(house.measures.page(), media_type="text/plain; version=0.0.4")


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(PegboxError)
    async def told(_: Request, error: PegboxError) -> Response:
        status = error.status if isinstance(error, ServeError) else 400
        headers = {"Retry-After": str(error.after)} if isinstance(error, BusyError) else {}
        if status == 401:
            headers = {"WWW-Authenticate": "Bearer"}
        return JSONResponse(as_json(error), status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        told = PegboxError(f"{where}: {first['msg']}", "a body as /openapi.json describes it", "correct it")
        return JSONResponse(as_json(told), 422)

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> Response:
        told = PegboxError(str(error.detail), "a path and method of /openapi.json", "check the address")
        return JSONResponse(as_json(told), error.status_code, getattr(error, "headers", None))

    @app.exception_handler(Exception)
    async def broken(_: Request, __: Exception) -> Response:
        return JSONResponse(as_json(FailedError()), 500)
