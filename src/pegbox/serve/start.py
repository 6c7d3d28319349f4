"""Starts a server and ends it in order."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pegbox.errors import SettingsError
from pegbox.serve.folder import found_in
from pegbox.serve.keys import Keys, read_keys
from pegbox.serve.settings import LOOPBACK, Limits

if TYPE_CHECKING:
    from pegbox.backbone.huggingface import HuggingFaceBackbone

DRAIN_S = 30
CONNECTIONS = 512


@dataclass(frozen=True)
class Behind:
    """Another server that answers.

    Settings:
        url: its address.
        model: its name for the model; by default its only one.
        key_variable: the environment variable that holds its key.
        content_format: how it joins the parts of a message: string or openai; see `pegbox.export.parts`.
        drop_calibration: carry prompts without their calibration.
        embed_here: load the model here for its tokenizer and its words' vectors, and send whole texts as vectors.
    """

    url: str
    model: str | None = None
    key_variable: str = "PEGBOX_UPSTREAM_KEY"
    content_format: str = "string"
    drop_calibration: bool = False
    embed_here: bool = False


@dataclass(frozen=True)
class Serving:
    """What to serve, and where.

    Settings:
        folder: the artifacts.
        model, dtype, device: the frozen model.
        host, port: where to listen; port 0 takes a free one.
        keys: a file that `pegbox key` wrote.
        cache_bytes: for kept keys and values; by default a quarter of the free memory.
        upstream: another server that answers, in place of a model here.
        log: a file to write the log into, in place of stderr.
        log_texts: write the rows' texts into it.
    """

    folder: Path
    model: str = "smollm2"
    dtype: str = "auto"
    device: str = "auto"
    host: str = "127.0.0.1"
    port: int = 8000
    keys: Path | None = None
    cache_bytes: int | None = None
    upstream: Behind | None = None
    log: Path | None = None
    log_texts: bool = False

    @property
    def local(self) -> bool:
        return self.host in LOOPBACK


def serve(serving: Serving, limits: Limits) -> None:
    """Serves until it is told to stop: then it takes no more requests and ends those that are there.

    Raises: SettingsError where strangers could reach a server without keys.
    """
    keys = Keys() if serving.keys is None else read_keys(serving.keys)
    if not serving.local and not keys.keys:
        raise SettingsError(
            f"--host {serving.host} without keys",
            "keys wherever others can reach the server",
            "make some with `pegbox key FILE` and say --keys FILE, or listen on 127.0.0.1",
        )
    found_in(serving.folder)  # complains of a missing folder before the model is loaded
    uvicorn = _uvicorn()
    from pegbox.serve.log import start_log

    make = _housed if serving.upstream is None else _gated
    app = make(serving, limits, keys)
    start_log(serving.log)
    uvicorn.run(
        app,
        host=serving.host,
        port=serving.port,
        log_config=None,
        access_log=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=DRAIN_S,
    )


def _housed(serving: Serving, limits: Limits, keys: Keys) -> Any:
    """The server with its model here."""
    from pegbox.serve.house import House
    from pegbox.serve.http import make_app

    return make_app(House.build(serving.folder, _backbone(serving), limits, keys, serving.local, log_texts=serving.log_texts))


def _backbone(serving: Serving) -> HuggingFaceBackbone:
    from pegbox.backbone.opening import backbone_of, causal
    from pegbox.backbone.weights import load

    opened = backbone_of(load(serving.model, serving.dtype, serving.device), serving.cache_bytes)
    return causal(opened, "serving", "serve a causal model, or use `pegbox predict` with this one")


def _gated(serving: Serving, limits: Limits, keys: Keys) -> Any:
    """The server with its model elsewhere."""
    from pegbox.serve.carried import Terms
    from pegbox.serve.gateway import Gateway, make_gateway
    from pegbox.serve.upstream import Upstream

    behind = serving.upstream
    assert behind is not None
    dtype = "bfloat16" if serving.dtype == "auto" else serving.dtype
    key = os.environ.get(behind.key_variable, "")
    upstream = Upstream.find(behind.url, behind.model, key, limits.seconds)  # complains before the model is loaded
    embedding = _backbone(serving) if behind.embed_here else None
    terms = Terms(serving.model, behind.content_format, dtype, behind.drop_calibration, embedding)
    return make_gateway(Gateway.build(serving.folder, upstream, terms, limits, keys, serving.local))


def _uvicorn() -> ModuleType:
    try:
        import fastapi  # noqa: F401  # is it there?
        import prometheus_client  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise SettingsError(
            f"`pegbox serve` without {error.name}", "the extra `serve`", "pip install 'pegbox[serve]'"
        ) from error
    return uvicorn
