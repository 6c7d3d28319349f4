"""What a job has cost over all its tries: tokens, seconds, and the largest resident size of the process."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from pegbox.backbone.seam import Backbone

_LOOK_S = 0.05
_WRITE_S = 1.0
FILE = "spent.json"


@dataclass(frozen=True)
class Spending:
    """What was spent.

    Settings:
        forward, backward: tokens through the backbone.
        seconds: wall clock.
        peak: largest resident size, in bytes.
    """

    forward: int = 0
    backward: int = 0
    seconds: float = 0.0
    peak: int = 0


class Ledger:
    """Counts while a block runs, on top of what an interrupted try had spent.

    Settings:
        backbone: whose tokens are counted.
        folder: where the figures are kept for another try, once a second; None: nowhere.
    """

    def __init__(self, backbone: Backbone, folder: Path | None) -> None:
        self._backbone = backbone
        self._file = None if folder is None else folder / FILE
        self._earlier = Spending()
        if self._file is not None and self._file.exists():
            self._earlier = Spending(**json.loads(self._file.read_text(encoding="utf-8")))
        self._peak = self._earlier.peak
        self._done = threading.Event()

    def __enter__(self) -> Ledger:
        self._before, self._began = replace(self._backbone.spent), time.monotonic()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watcher.join()
        self.total = self._now()
        self._write(self.total)

    def _now(self) -> Spending:
        spent, earlier = self._backbone.spent - self._before, self._earlier
        seconds = earlier.seconds + time.monotonic() - self._began
        return Spending(earlier.forward + spent.forward, earlier.backward + spent.backward, seconds, self._peak)

    def _watch(self) -> None:
        process, written = psutil.Process(), time.monotonic()
        while True:
            self._peak = max(self._peak, int(process.memory_info().rss))
            if self._done.wait(_LOOK_S):
                return
            if time.monotonic() - written > _WRITE_S:
                written = time.monotonic()
                self._write(self._now())

    def _write(self, spending: Spending) -> None:
        if self._file is not None:
            made = self._file.with_suffix(".tmp")
            made.write_text(json.dumps(asdict(spending)), encoding="utf-8")
            made.replace(self._file)
