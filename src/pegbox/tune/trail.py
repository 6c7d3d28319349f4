"""The trail: the append-only record of a run, which progress bars, plots, resume and reports read.

A run's folder holds `trail.jsonl` (events in order), `kept.jsonl` (answers to costly questions, by key), and
`state.safetensors` (where a gradient run stands). An interrupted run goes on in either of two ways: it loads its state and the
trail is rewound to the moment when that was saved; or it starts anew and finds the costly answers already there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Event = Mapping[str, Any]


class Trail:
    """Writes and remembers a run's events.

    Settings:
        folder: where to write; None keeps everything in memory.
        listen: called with each event as it is written, for progress bars.
    """

    def __init__(self, folder: Path | None = None, listen: Callable[[Event], None] | None = None) -> None:
        self.folder = folder
        self.events: list[dict[str, Any]] = []
        self._listen = listen
        self._started = time.monotonic()
        self._kept: dict[str, Any] = {}
        self._old: list[dict[str, Any]] = []
        self._fresh = True
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            kept = _read_lines(folder / "kept.jsonl")
            _rewrite(folder / "kept.jsonl", kept)  # a line that a kill cut off must not swallow the next one
            self._kept = {line["key"]: line["value"] for line in kept}
            self._old = _read_lines(folder / "trail.jsonl")

    def write(self, event: str, **values: Any) -> None:
        """Appends an event. Values are plain numbers, strings, lists; `seconds` since the start is added."""
        line = {"event": event, "seconds": round(time.monotonic() - self._started, 3), **values}
        if self.folder is not None:
            if self._fresh:  # a run that starts anew, not one that goes on: see `load`
                (self.folder / "trail.jsonl").unlink(missing_ok=True)
                self._fresh = False
            _append(self.folder / "trail.jsonl", line)
        self.events.append(line)
        self._tell(line)

    def stage(self, name: str) -> Trail:
        """A trail of its own for one stage of a composed method; its events are told here too, marked with the stage."""
        folder = None if self.folder is None else self.folder / name
        return Trail(folder, lambda line: self._told(name, line))

    def _told(self, stage: str, line: Event) -> None:
        self.events.append({**line, "stage": stage})
        self._tell(self.events[-1])

    def _tell(self, line: Event) -> None:
        if self._listen is not None:
            self._listen(line)

    def of(self, event: str) -> list[dict[str, Any]]:
        """All events of one kind, in order."""
        return [line for line in self.events if line["event"] == event]

    def kept(self, key: str) -> Any:
        """The answer kept under a key, or None."""
        return self._kept.get(key)

    def keep(self, key: str, value: Any) -> None:
        """Keeps the answer to a costly question (plain JSON), for a second try of the same run."""
        self._kept[key] = value
        if self.folder is not None:
            _append(self.folder / "kept.jsonl", {"key": key, "value": value})

    def save(self, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> None:
        """Saves where the run stands, whole or not at all."""
        if self.folder is None:
            return
        from safetensors.numpy import save

        state = {"values": dict(values), "events": len(self.events), "seconds": time.monotonic() - self._started}
        made = self.folder / "state.tmp"
        content = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        made.write_bytes(save(content, {"state": json.dumps(state)}))
        made.replace(self.folder / "state.safetensors")

    def load(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """Where an interrupted run stood; the trail goes on from there. None for a new run."""
        if self.folder is None or not (self.folder / "state.safetensors").exists():
            return None
        from safetensors import safe_open

        with safe_open(self.folder / "state.safetensors", framework="numpy") as saved:
            arrays = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118  # not a dict
            state = json.loads(saved.metadata()["state"])
        self._started = time.monotonic() - state["seconds"]
        self.events = self._old[: state["events"]]
        self._fresh = False
        _rewrite(self.folder / "trail.jsonl", self.events)
        for line in self.events:
            self._tell(line)
        return arrays, state["values"]


def _encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _append(path: Path, line: Mapping[str, Any]) -> None:
    with path.open("ab") as file:
        file.write(_encoded(line))


def _rewrite(path: Path, lines: list[dict[str, Any]]) -> None:
    made = path.with_suffix(".tmp")
    made.write_bytes(b"".join(_encoded(line) for line in lines))
    made.replace(path)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file; a last line that a kill cut off, perhaps within a character, is dropped."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_bytes().split(b"\n"):
        try:
            lines.append(json.loads(line.decode("utf-8", "surrogatepass")))
        except (json.JSONDecodeError, UnicodeDecodeError):
            break
    return lines
