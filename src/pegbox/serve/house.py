"""Everything that one server is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.prompt.names import Name
from pegbox.serve.keys import Keys
from pegbox.serve.measures import Measures
from pegbox.serve.scheduler import Scheduler
from pegbox.serve.served import Served, open_served
from pegbox.serve.settings import Limits
from pegbox.serve.shelf import Shelf, Watcher


class Premises(Protocol):
    """What HTTP needs of a server, whoever answers in it: a model here, or another server."""

    @property
    def folder(self) -> Path: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def keys(self) -> Keys: ...
    @property
    def shelf(self) -> Shelf[Any]: ...
    @property
    def measures(self) -> Measures: ...
    @property
    def local(self) -> bool: ...
    @property
    def alive(self) -> bool:
        """Whether it takes work."""

    def open(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class House:
    """One model, its thread, the prompts on the shelf, who may use them, and what is measured.

    Settings:
        local: only this machine's own names are taken as the host of a request, so that no web page reaches in by another.
        log_texts: write the rows' texts into the log, beside their answers.
    """

    folder: Path
    limits: Limits
    keys: Keys
    scheduler: Scheduler
    shelf: Shelf[Served]
    watcher: Watcher
    measures: Measures
    local: bool = True
    log_texts: bool = False

    @classmethod
    def build(
        cls,
        folder: Path,
        backbone: HuggingFaceBackbone,
        limits: Limits | None = None,
        keys: Keys | None = None,
        local: bool = True,
        look_every: float = 1.0,
        log_texts: bool = False,
    ) -> House:
        """Puts one together; nothing runs yet."""
        some, measures = limits or Limits(), Measures()
        scheduler = Scheduler(backbone, some, measures)

        def prepared(name: Name, path: Path) -> Served:
            return scheduler.call(lambda: open_served(name, path, backbone)).result()

        shelf = Shelf(folder, prepared, some)
        measures.watch("pegbox_queue_rows", "Rows that wait", lambda: scheduler.waiting)
        measures.watch("pegbox_cache_bytes", "Bytes of kept keys and values", lambda: backbone.store.held)
        return cls(folder, some, keys or Keys(), scheduler, shelf, Watcher(shelf, look_every), measures, local, log_texts)

    @property
    def alive(self) -> bool:
        """Whether the model's thread takes work."""
        return self.scheduler.alive

    def open(self) -> None:
        """Starts the model's thread, loads the prompts, and begins to look for changes."""
        self.scheduler.start()
        self.shelf.sweep()
        self.shelf.refresh()
        self.watcher.start()

    def close(self) -> None:
        """Ends what is under way, then stops."""
        self.watcher.stop()
        self.scheduler.stop()
