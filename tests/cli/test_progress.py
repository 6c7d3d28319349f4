"""What a person sees while something runs; nothing where there is no terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from pegbox.cli.progress import Watcher
from pegbox.tune.budget import Budget


def watched(events: list[tuple[str, Any]], budget: Budget, cells: int = 1, terminal: bool = True) -> tuple[str, Watcher]:
    out = io.StringIO()
    watcher = Watcher(Console(file=out, force_terminal=terminal, width=140, color_system=None), budget, cells)
    with watcher:
        for kind, event in events:
            if kind == "run":
                watcher.run(event)
            elif kind == "event":
                watcher.event(event)
            else:
                watcher.cell(kind, 0, event)
        watcher._progress.refresh()
    return out.getvalue(), watcher


STEP = {"event": "step", "step": 3, "of": 10, "loss": 0.5, "tokens": 400, "variant": 0}


@pytest.mark.parametrize("terminal", [True, False])
def test_what_runs_the_best_so_far_and_what_is_left(terminal: bool) -> None:
    events = [
        ("run", "soft [x]"),
        ("event", STEP),
        ("event", {"event": "dev", "step": 3, "accuracy": 0.875, "loss": 0.25, "variant": 0}),
        ("event", {"event": "note", "text": "texts were cut [soft y]"}),
    ]
    told, _ = watched(events, Budget(tokens=1000), terminal=terminal)
    if terminal:
        assert "dev 87.5 %, loss 0.250" in told
        assert "600 tokens left" in told
        assert "  texts were cut [soft y]" in told
    else:
        assert told == ""


def test_a_loss_that_is_no_number_is_left_out() -> None:
    told, _ = watched(
        [("run", "soft"), ("event", {"event": "dev", "accuracy": 0.5, "loss": None, "step": 1})], Budget(tokens=9)
    )
    assert "dev 50.0 %" in told
    assert "loss" not in told


def test_seconds_left_and_the_best_candidate() -> None:
    events = [
        ("run", "search"),
        ("event", {"event": "stage", "name": "first", "method": "Search"}),
        ("event", {"event": "candidate", "score": 0.75, "rows": 30, "kept": True, "tokens": 5}),
        ("event", {"event": "candidate", "score": 0.5, "rows": 30, "kept": False, "tokens": 9}),
    ]
    told, _ = watched(events, Budget(seconds=100))
    assert "best candidate 0.750 on 30 rows" in told
    assert "0.500" not in told
    assert " s left" in told


def test_what_two_stages_spend_adds_up() -> None:
    events = [
        ("run", "hybrid"),
        ("event", {"event": "candidate", "score": 0.75, "kept": True, "tokens": 300, "stage": "first"}),
        ("event", {**STEP, "tokens": 200, "stage": "second"}),
    ]
    told, _ = watched(events, Budget(tokens=1000))
    assert "500 tokens left" in told


def test_the_cells_of_a_comparison_are_counted() -> None:
    events: list[tuple[str, Any]] = [
        ("zero-shot", {"event": "read", "folder": "x"}),
        ("soft", {"event": "begin", "train": 3, "dev": 2}),
        ("soft", STEP),
        ("soft", {"event": "test", "rows": 12, "dev_accuracy": 0.5}),
        ("soft", {"event": "end", "accuracy": 0.625}),
    ]
    told, _ = watched(events, Budget(tokens=1000), cells=2)
    assert "[1/2] zero-shot (seed 0): done before" in told
    assert "[2/2] soft (seed 0): 62.5 % on test, 0 s" in told
