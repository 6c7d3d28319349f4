"""Interrupted runs, started again with the same folder, end as uninterrupted ones: the same vectors to the bit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt, parse
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget
from pegbox.tune.few_shot import FewShot
from pegbox.tune.residual import Residual
from pegbox.tune.schedule import Schedule
from pegbox.tune.search import Search
from pegbox.tune.soft import Soft
from pegbox.tune.then import Then
from pegbox.tune.trail import Trail

Moods = Callable[[int, int], Rows]
TOKENS = Budget(tokens=12_000)
SHORT = Schedule(learning_rates=(0.03, 0.3), batch=8, evaluations=4, dev_rows=12, loss="labels")
AFTER = Soft(length=3, place="after", schedule=SHORT)
FEW = FewShot(shots=(2, 3), draws=2, dev_rows=6)
METHODS: dict[str, Any] = {
    "soft after": AFTER,
    "soft first": Soft(length=3, place="first", schedule=SHORT),
    "residual": Residual(length=3, place="after", width=8, schedule=SHORT),
    "words then vectors": Then(FEW, AFTER),
    "vectors from words": Then(FEW, Soft(place="instead", schedule=SHORT), share=0.6),
    "a search, then vectors": Then(Search(shortest=1, children=2, population=2, patience=1, words=2), AFTER),
    "vectors then vectors": Then(AFTER, Residual(length=3, place="after", width=8, schedule=SHORT)),
}


def run(
    method: Any, moods: Moods, folder: Path | None, budget: Budget = TOKENS, stop_at: int | None = None, **changes: Any
) -> tuple[Prompt, Trail]:
    """A run in a process of its own, as it were: nothing in memory of an earlier one. Ctrl-C comes at an event's number."""
    count = 0

    def listen(_: Any) -> None:
        nonlocal count
        count += 1
        if count == stop_at:
            raise KeyboardInterrupt

    trail = Trail(folder, listen)
    given: dict[str, Any] = {
        "prompt": parse(r"Sort.\nDay: {text}\nMood: [answer]"),
        "task": Classification(("bad", "good")),
        "backbone": HuggingFaceBackbone(tiny()),
        "train": moods(30, 1),
        "dev": moods(15, 2),
        "budget": budget,
        "rng": np.random.default_rng(5),
        "trail": trail,
        **changes,
    }
    return method.tune(**given), trail


def told(trail: Trail) -> list[Any]:
    return [{key: value for key, value in event.items() if key != "seconds"} for event in trail.events]


@pytest.mark.parametrize("name", METHODS)
def test_ctrl_c_and_again_with_a_budget_in_tokens(name: str, moods: Moods, tmp_path: Path) -> None:
    expected, whole = run(METHODS[name], moods, None)
    events = len(whole.events)
    assert events > 6
    for number in sorted({2, events // 2, events - 1}):
        folder = tmp_path / str(number)
        with pytest.raises(KeyboardInterrupt):
            run(METHODS[name], moods, folder, stop_at=number)
        found, again = run(METHODS[name], moods, folder)
        assert found == expected
        assert found.digest() == expected.digest()
        assert told(again) == told(whole)


def test_interrupted_again_and_again(moods: Moods, tmp_path: Path) -> None:
    method = METHODS["words then vectors"]
    expected, whole = run(method, moods, None)
    for number in (3, 9, 14, 20):
        with pytest.raises(KeyboardInterrupt):
            run(method, moods, tmp_path / "run", stop_at=number)
    found, again = run(method, moods, tmp_path / "run")
    assert found == expected
    assert told(again) == told(whole)


@pytest.mark.parametrize("name", ["soft after", "words then vectors"])
def test_ctrl_c_and_again_with_a_budget_in_seconds_once_its_plan_is_kept(name: str, moods: Moods, tmp_path: Path) -> None:
    budget = Budget(seconds=0.5)
    with pytest.raises(KeyboardInterrupt):
        run(METHODS[name], moods, tmp_path / "cut", budget, stop_at=14)
    for path in (tmp_path / "cut").rglob("kept.jsonl"):
        planned = tmp_path / "planned" / path.relative_to(tmp_path / "cut")
        planned.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, planned)
    assert any('"plan"' in path.read_text() for path in (tmp_path / "planned").rglob("kept.jsonl"))
    found, again = run(METHODS[name], moods, tmp_path / "cut", budget)
    if name == "words then vectors":  # the second part's plan was made on the second try
        shutil.rmtree(tmp_path / "planned" / "second", ignore_errors=True)
        (tmp_path / "planned" / "second").mkdir()
        kept = (tmp_path / "cut" / "second" / "kept.jsonl").read_bytes()
        (tmp_path / "planned" / "second" / "kept.jsonl").write_bytes(kept)
    expected, whole = run(METHODS[name], moods, tmp_path / "planned", budget)
    assert found == expected
    assert told(again) == told(whole)


def test_costs_that_were_kept_without_the_allowance_give_the_same_run(moods: Moods, tmp_path: Path) -> None:
    """The kill came between the first two lines; those after them hold the comparison with the written prompt."""
    method, budget = METHODS["soft after"], Budget(seconds=0.5)
    expected, whole = run(method, moods, tmp_path / "whole", budget)
    lines = (tmp_path / "whole" / "kept.jsonl").read_text().splitlines(keepends=True)
    assert [line.startswith('{"key": "plan"') for line in lines] == [False, True, False, False]
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "kept.jsonl").write_text(lines[0] + lines[1][:20])
    found, again = run(method, moods, tmp_path / "cut", budget)
    assert found == expected
    assert told(again) == told(whole)


def test_cut_off_lines_everywhere(moods: Moods, tmp_path: Path) -> None:
    method = METHODS["words then vectors"]
    expected, whole = run(method, moods, None)
    with pytest.raises(KeyboardInterrupt):
        run(method, moods, tmp_path, stop_at=len(whole.events) * 3 // 4)
    for path in [*tmp_path.rglob("*.jsonl")]:
        path.write_bytes(path.read_bytes()[:-7])
    found, _ = run(method, moods, tmp_path)
    assert found == expected


@pytest.mark.parametrize("case", ["stopped early", "all diverged", "spent between looks"])
def test_a_run_that_had_come_to_its_end_ends_there_again(case: str, moods: Moods, tmp_path: Path) -> None:
    """Its folder is there still, because what came after it was interrupted: it must not step on."""
    changes: dict[str, Any] = {}
    schedule = Schedule(learning_rates=(0.3,), batch=8, steps=24, evaluations=12, patience=2, dev_rows=12)
    if case == "stopped early":
        rng = np.random.default_rng(0)
        changes["train"] = Rows.from_texts(
            [f"day {n}" for n in range(30)], [("bad", "good")[n] for n in rng.integers(0, 2, 30)]
        )
    elif case == "all diverged":
        schedule = Schedule(learning_rates=(1e39,), batch=8, steps=24, evaluations=2, dev_rows=12)
    else:
        ragged = [("fine " if n % 2 else "dull ") * (1 + 120 * (n % 9 == 0)) + str(n) for n in range(30)]
        changes["train"] = Rows.from_texts(ragged, [("bad", "good")[n % 2] for n in range(30)])
        schedule = Schedule(learning_rates=(0.1,), batch=2, evaluations=1, dev_rows=12)
    method = Soft(length=3, place="first" if case == "spent between looks" else "after", schedule=schedule)
    expected, whole = run(method, moods, tmp_path, **changes)
    said = {
        "stopped early": "stopped early",
        "all diverged": "every variant",
        "spent between looks": "the budget was spent after",
    }
    assert any(event["text"].startswith(said[case]) for event in whole.of("note"))
    found, again = run(method, moods, tmp_path, **changes)
    assert found == expected
    assert told(again) == told(whole)


def test_a_second_try_does_not_pay_again_for_what_it_reads_again(moods: Moods, tmp_path: Path) -> None:
    """Its tokens are those of an uninterrupted run, so the budget ends it at the same step."""
    _, whole = run(METHODS["soft after"], moods, None)
    with pytest.raises(KeyboardInterrupt):
        run(METHODS["soft after"], moods, tmp_path, stop_at=len(whole.events) // 2)
    _, again = run(METHODS["soft after"], moods, tmp_path)
    assert [event["tokens"] for event in again.of("step")] == [event["tokens"] for event in whole.of("step")]
