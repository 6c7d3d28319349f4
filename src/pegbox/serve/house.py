"""Everything that one server is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.serve.keys import Keys
from pegbox.serve.measures import Measures
from pegbox.serve.scheduler import Scheduler
from pegbox.serve.settings import Limits
from pegbox.serve.shelf import Shelf, Watcher


@dataclass(frozen=True)
class House:
    """One model, its thread, the prompts on the shelf, who may use them, and what is measured.

    Settings:
        local: only this machine's own names are taken as the host of a request, so that no web page reaches in by another.
    """

    folder: Path
    limits: Limits
    keys: Keys
    scheduler: Scheduler
    shelf: Shelf
    watcher: Watcher
    measures: Measures
    local: bool = True

    @classmethod
    def build(
        cls,
        folder: Path,
        backbone: HuggingFaceBackbone,
        limits: Limits | None = None,
        keys: Keys | None = None,
        local: bool = True,
        look_every: float = 1.0,
    ) -> House:
        """Puts one together; nothing runs yet."""
        some, measures = limits or Limits(), Measures()
        scheduler = Scheduler(backbone, some, measures)
        shelf = Shelf(folder, scheduler, some)
        measures.watch("pegbox_queue_rows", "Rows that wait", lambda: scheduler.waiting)
        measures.watch("pegbox_cache_bytes", "Bytes of kept keys and values", lambda: backbone.store.held)
        return cls(folder, some, keys or Keys(), scheduler, shelf, Watcher(shelf, look_every), measures, local)

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
