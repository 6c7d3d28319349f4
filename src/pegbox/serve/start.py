"""Starts a server and ends it in order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from pegbox.backbone.opening import backbone_of, causal
from pegbox.backbone.weights import load
from pegbox.errors import SettingsError
from pegbox.serve.folder import found_in
from pegbox.serve.keys import Keys, read_keys
from pegbox.serve.settings import LOOPBACK, Limits

DRAIN_S = 30
CONNECTIONS = 512


@dataclass(frozen=True)
class Serving:
    """What to serve, and where.

    Settings:
        folder: the artifacts.
        model, dtype, device: the frozen model.
        host, port: where to listen; port 0 takes a free one.
        keys: a file that `pegbox key` wrote.
        cache_bytes: for kept keys and values; by default a quarter of the free memory.
    """

    folder: Path
    model: str = "smollm2"
    dtype: str = "auto"
    device: str = "auto"
    host: str = "127.0.0.1"
    port: int = 8000
    keys: Path | None = None
    cache_bytes: int | None = None

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
    from pegbox.serve.house import House
    from pegbox.serve.http import make_app
    from pegbox.serve.log import log_to_stderr

    opened = backbone_of(load(serving.model, serving.dtype, serving.device), serving.cache_bytes)
    backbone = causal(opened, "serving", "serve a causal model, or use `pegbox predict` with this one")
    log_to_stderr()
    app = make_app(House.build(serving.folder, backbone, limits, keys, serving.local))
    uvicorn.run(
        app,
        host=serving.host,
        port=serving.port,
        log_config=None,
        access_log=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=DRAIN_S,
    )


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
