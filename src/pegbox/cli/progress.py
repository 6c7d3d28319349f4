"""What a person sees while something is being tuned: what runs, the best so far, what is left. Silent without a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pegbox.tune.budget import Budget

Event = Mapping[str, Any]


class Watcher:
    """Shows events as they come: one line for each finished cell, and a moving line for the one that runs.

    Settings:
        console: where to show them; nothing is shown unless it is a terminal.
        budget: what each cell may spend, to say what is left.
        cells: how many cells there will be.
    """

    def __init__(self, console: Console, budget: Budget, cells: int = 1) -> None:
        self._console, self._budget, self._cells = console, budget, cells
        self._done = 0
        self._tokens: dict[str, int] = {}
        self._began = time.monotonic()
        self._name = ""
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[best]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bar = self._progress.add_task("starting", total=None, best="", left="")

    def __enter__(self) -> Watcher:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def cell(self, method: str, seed: int, event: Event) -> None:
        """An event of one cell of a comparison."""
        kind = event["event"]
        name = f"{method} (seed {seed})"
        if kind == "begin":
            self._start(name)
        elif kind == "read":
            self._finish(f"{name}: done before")
        elif kind == "test":
            self._progress.update(self._bar, description=f"{self._counted()} {name}: {event['rows']} test rows", total=None)
        elif kind == "end":
            took = time.monotonic() - self._began
            self._finish(f"{name}: {_said(event)} on test, {took:.0f} s")
        else:
            self.event(event)

    def run(self, name: str) -> None:
        """A single run begins."""
        self._start(name)

    def event(self, event: Event) -> None:
        """An event of the run that is on."""
        kind = event["event"]
        if kind in ("step", "candidate"):
            self._tokens[event.get("stage", "")] = int(event.get("tokens", 0))
        if kind == "step":
            self._progress.update(self._bar, total=event.get("of"), completed=event["step"])
        elif kind == "dev" and event.get("accuracy") is None and event.get("loss") is not None:
            self._show_best(f"dev loss {event['loss']:.3f}")
        elif kind == "dev" and event.get("accuracy") is not None:
            loss = "" if event.get("loss") is None else f", loss {event['loss']:.3f}"
            self._show_best(f"dev {100 * event['accuracy']:.1f} %{loss}")
        elif kind == "candidate" and event.get("kept"):
            self._show_best(f"best candidate {event['score']:.3f} on {event.get('rows', '?')} rows")
        elif kind == "stage":
            self._progress.update(self._bar, description=f"{self._counted()} {self._name}: {event['method']}", total=None)
        elif kind == "note":
            self._say(f"  {event['text']}")
        self._progress.update(self._bar, left=self._left())

    def _start(self, name: str) -> None:
        self._began, self._name, self._tokens = time.monotonic(), name, {}
        self._progress.reset(self._bar, total=None, description=f"{self._counted()} {name}", best="", left=self._left())

    def _finish(self, line: str) -> None:
        self._done += 1
        self._say(f"[{self._done}/{self._cells}] {line}")

    def _show_best(self, text: str) -> None:
        self._progress.update(self._bar, best=text)

    def _counted(self) -> str:
        return f"[{self._done + 1}/{self._cells}]".replace("[", r"\[") if self._cells > 1 else ""

    def _left(self) -> str:
        if self._budget.tokens is not None:
            return f"{max(0, self._budget.tokens - sum(self._tokens.values())):,} tokens left"
        assert self._budget.seconds is not None
        return f"{max(0.0, self._budget.seconds - (time.monotonic() - self._began)):.0f} s left"

    def _say(self, line: str) -> None:
        if self._console.is_terminal:
            self._progress.console.print(line, markup=False, highlight=False)


def _said(event: Event) -> str:
    """The score of a cell that is done."""
    if "measure" in event:
        return f"{event['measure']} {100 * event['score']:.1f}"
    return f"{100 * event['accuracy']:.1f} %"
