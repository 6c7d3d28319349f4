"""A server whose model is elsewhere: named prompts are put into requests to an upstream, whose answers are passed on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI

from pegbox.serve import passing
from pegbox.serve.carried import Carried, Terms, open_carried
from pegbox.serve.http import ERRORS, bare_app, surrounded
from pegbox.serve.keys import Keys
from pegbox.serve.measures import Measures
from pegbox.serve.settings import Limits
from pegbox.serve.shelf import Shelf, Watcher
from pegbox.serve.upstream import Line, Upstream


@dataclass(frozen=True)
class Gateway:
    """The prompts on the shelf, and the line to the server that answers with them.

    Settings:
        local: only this machine's own names are taken as the host of a request.
    """

    folder: Path
    limits: Limits
    keys: Keys
    shelf: Shelf[Carried]
    watcher: Watcher
    measures: Measures
    line: Line
    local: bool = True
    alive: bool = True

    @classmethod
    def build(
        cls,
        folder: Path,
        upstream: Upstream,
        terms: Terms,
        limits: Limits | None = None,
        keys: Keys | None = None,
        local: bool = True,
        look_every: float = 1.0,
    ) -> Gateway:
        """Puts one together; nothing runs yet."""
        some = limits or Limits()
        shelf = Shelf(folder, lambda name, path: open_carried(name, path, terms), some)
        return cls(folder, some, keys or Keys(), shelf, Watcher(shelf, look_every), Measures(), Line(upstream), local)

    def open(self) -> None:
        """Reads the prompts, and begins to look for changes."""
        self.shelf.sweep()
        self.shelf.refresh()
        self.watcher.start()

    def close(self) -> None:
        """Stops looking."""
        self.watcher.stop()


def make_gateway(gateway: Gateway) -> FastAPI:
    """The gateway as an ASGI application; it starts and ends it."""
    app = bare_app(gateway)
    app.include_router(passing.router, responses=ERRORS)
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(one: FastAPI) -> AsyncIterator[None]:
        async with inner(one):
            yield
        await gateway.line.close()

    app.router.lifespan_context = lifespan
    return surrounded(app, gateway)
