"""The trail: what is written survives a kill, and a second try goes on from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pegbox.tune.trail import Trail


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def plain(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in event.items() if key != "seconds"} for event in events]


def test_events_are_written_remembered_and_told(tmp_path: Path) -> None:
    told: list[Any] = []
    trail = Trail(tmp_path, told.append)
    trail.write("step", loss=0.5, step=1)
    trail.write("note", text="Grüße [soft x] \ud800")
    assert plain(trail.events) == [
        {"event": "step", "loss": 0.5, "step": 1},
        {"event": "note", "text": "Grüße [soft x] \ud800"},
    ]
    assert told == trail.events
    assert trail.of("step") == trail.events[:1]
    assert trail.events[0]["seconds"] >= 0
    assert [
        json.loads(line.decode("utf-8", "surrogatepass")) for line in (tmp_path / "trail.jsonl").read_bytes().splitlines()
    ] == told


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trail = Trail()
    trail.write("note", text="x")
    trail.keep("a", 1)
    trail.save({"v": np.zeros(2)}, {})
    assert trail.kept("a") == 1
    assert trail.load() is None
    assert list(tmp_path.iterdir()) == []


def test_what_is_kept_is_there_on_a_second_try(tmp_path: Path) -> None:
    trail = Trail(tmp_path)
    trail.keep("a", {"score": [0.1, 2]})
    trail.keep("b", "é")
    trail.keep("a", 3)  # the later answer counts
    again = Trail(tmp_path)
    assert (again.kept("a"), again.kept("b"), again.kept("c")) == (3, "é", None)


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5, 12])
def test_a_last_line_that_was_cut_off_is_dropped_and_does_not_swallow_the_next(tmp_path: Path, cut: int) -> None:
    Trail(tmp_path).keep("whole", 1)
    second = Trail(tmp_path)
    second.keep("cut", "ééé")  # cut within a character, within the string, within the key
    path = tmp_path / "kept.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    third = Trail(tmp_path)
    assert third.kept("whole") == 1
    if cut > 1:  # without its line's end alone it is whole still
        assert third.kept("cut") is None
    third.keep("next", 2)
    assert Trail(tmp_path).kept("next") == 2
    assert Trail(tmp_path).kept("whole") == 1


def test_a_run_that_starts_anew_replaces_the_old_events(tmp_path: Path) -> None:
    Trail(tmp_path).write("step", step=1)
    again = Trail(tmp_path)
    again.write("step", step=2)
    again.write("step", step=3)
    assert plain(lines(tmp_path / "trail.jsonl")) == [{"event": "step", "step": 2}, {"event": "step", "step": 3}]


def test_a_run_that_goes_on_is_rewound_to_where_it_was_saved(tmp_path: Path) -> None:
    trail = Trail(tmp_path)
    trail.write("step", step=1)
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    trail.save({"vectors": vectors.T}, {"step": 1, "best": float("inf")})
    trail.write("step", step=2)  # lost: it came after the save
    with (tmp_path / "trail.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"event": "st')

    told: list[Any] = []
    again = Trail(tmp_path, told.append)
    loaded = again.load()
    assert loaded is not None
    np.testing.assert_array_equal(loaded[0]["vectors"], vectors.T)
    assert loaded[1] == {"step": 1, "best": float("inf")}
    again.write("step", step=2)
    assert plain(again.events) == [{"event": "step", "step": 1}, {"event": "step", "step": 2}]
    assert plain(told) == plain(again.events)
    assert lines(tmp_path / "trail.jsonl") == again.events


def test_a_state_that_was_being_written_when_the_kill_came_does_not_count(tmp_path: Path) -> None:
    trail = Trail(tmp_path)
    trail.save({"v": np.ones(1)}, {"step": 1})
    (tmp_path / "state.tmp").write_bytes(b"half")
    loaded = Trail(tmp_path).load()
    assert loaded is not None
    assert loaded[1] == {"step": 1}


def test_seconds_go_on_where_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pegbox.tune import trail as module

    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    trail = Trail(tmp_path)
    now[0] = 107.5
    trail.save({"v": np.ones(1)}, {})
    now[0] = 3.0  # another process, another clock
    again = Trail(tmp_path)
    again.load()
    now[0] = 4.0
    again.write("step")
    assert again.events[-1]["seconds"] == 8.5


def test_a_stage_has_a_folder_of_its_own_and_tells_its_parent(tmp_path: Path) -> None:
    told: list[Any] = []
    parent = Trail(tmp_path, told.append)
    parent.write("stage", name="first")
    stage = parent.stage("first")
    stage.write("step", step=1)
    stage.keep("plan", 5)
    stage.save({"v": np.ones(1)}, {})
    assert plain(parent.events) == [{"event": "stage", "name": "first"}, {"event": "step", "step": 1, "stage": "first"}]
    assert told == parent.events
    assert plain(lines(tmp_path / "first" / "trail.jsonl")) == [{"event": "step", "step": 1}]
    assert parent.kept("plan") is None

    again = Trail(tmp_path)
    again.write("stage", name="first")
    resumed = again.stage("first")
    assert resumed.kept("plan") == 5
    assert resumed.load() is not None
    assert plain(again.events) == plain(parent.events)
