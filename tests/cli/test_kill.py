"""kill -9 and Ctrl-C at any moment: the same command again ends with the same prompt as an uninterrupted run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pegbox
from pegbox.artifact import read_prompt

SOFT = (
    "--method",
    "soft",
    "--budget",
    "12ktokens",
    "--set",
    "length=2",
    "--set",
    "place=after",
    "--set",
    "schedule.most_steps=60",
)
HYBRID = ("--method", "hybrid", "--budget", "25ktokens", "--set", "second.schedule.most_steps=30")


def tune(data: Path, out: str, *more: str) -> list[str]:
    return ["tune", str(data), "--text", "text", "--label", "label", "--model", "tiny", "--out", out, *more]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def events(path: Path, kind: str) -> int:
    return path.read_bytes().count(b'"event": "%s"' % kind.encode()) if path.exists() else 0


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "as the folder is taken": lambda run: run.exists(),
    "as the plan is kept": lambda run: lines(run / "kept.jsonl") >= 2,
    "in the first steps": lambda run: events(run / "trail.jsonl", "step") >= 2,
    "well on its way": lambda run: events(run / "trail.jsonl", "dev") >= 7,
    "at its end": lambda run: events(run / "trail.jsonl", "best") >= 1,
}


def same(one: Path, other: Path) -> None:
    """The same artifact, but for clocks and costs."""
    assert read_prompt(one).digest() == read_prompt(other).digest()
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in (one, other)]
    for key in ("digest", "settings", "scores", "notes", "data", "model"):
        assert manifests[0][key] == manifests[1][key]
    trails = [[json.loads(line) for line in (folder / "trail.jsonl").read_text().splitlines()] for folder in (one, other)]
    plain = [[{k: v for k, v in event.items() if k not in ("seconds",)} for event in trail] for trail in trails]
    assert plain[0] == plain[1]


@pytest.mark.parametrize("method", ["soft", "hybrid"])
def test_kill_9_of_tune_and_the_same_command_again(lab: Any, mood_file: Path, method: str) -> None:
    options = SOFT if method == "soft" else HYBRID
    lab.run(*tune(mood_file, "whole", *options))
    killed = 0
    moments = list(MOMENTS.values())
    for number, seen in enumerate(moments if method == "soft" else [MOMENTS["as the plan is kept"], *moments[2:4]]):
        run = lab.folder / f"out{number}.run"
        where = run if method == "soft" else run / ("second" if number else "first")
        process = lab.start(*tune(mood_file, f"out{number}", *options)).until(lambda at=where, seen=seen: seen(at))
        killed += process.kill() == -signal.SIGKILL
        lab.run(*tune(mood_file, f"out{number}", *options))
        same(lab.folder / "whole", lab.folder / f"out{number}")
        assert not run.exists()
    assert killed >= 2  # the last moments may come too late to be killed in


def test_killed_again_and_again(lab: Any, mood_file: Path) -> None:
    lab.run(*tune(mood_file, "whole", *SOFT))
    run = lab.folder / "out.run"
    for seen in (MOMENTS["as the plan is kept"], MOMENTS["in the first steps"], MOMENTS["well on its way"]):
        lab.start(*tune(mood_file, "out", *SOFT)).until(lambda seen=seen: seen(run)).kill()
    lab.run(*tune(mood_file, "out", *SOFT))
    same(lab.folder / "whole", lab.folder / "out")


def test_a_budget_in_seconds_once_its_plan_is_kept(lab: Any, mood_file: Path) -> None:
    options = ("--method", "soft", "--budget", "1s", "--set", "length=2", "--set", "place=after")
    cut, run = lab.start(*tune(mood_file, "cut", *options)), lab.folder / "cut.run"
    cut.until(lambda: events(run / "trail.jsonl", "dev") >= 6)
    assert cut.kill() == -signal.SIGKILL
    (lab.folder / "planned.run").mkdir()
    for name in ("run.json", "kept.jsonl"):
        shutil.copy(run / name, lab.folder / "planned.run" / name)
    lab.run(*tune(mood_file, "cut", *options))
    lab.run(*tune(mood_file, "planned", *options))
    same(lab.folder / "planned", lab.folder / "cut")


def test_ctrl_c_says_that_the_same_command_goes_on(lab: Any, mood_file: Path) -> None:
    lab.run(*tune(mood_file, "whole", *SOFT))
    run = lab.folder / "out.run"
    process = lab.start(*tune(mood_file, "out", *SOFT)).until(lambda: events(run / "trail.jsonl", "step") >= 6)
    assert process.kill(signal.SIGINT) == 130
    assert process.warned.endswith("\ninterrupted; the same command goes on from here\n")
    assert "Traceback" not in process.warned
    assert process.told == ""
    lab.run(*tune(mood_file, "out", *SOFT))
    same(lab.folder / "whole", lab.folder / "out")


def test_a_run_of_other_settings_in_the_way_is_told(lab: Any, mood_file: Path) -> None:
    run = lab.folder / "out.run"
    lab.start(*tune(mood_file, "out", *SOFT)).until((run / "run.json").exists).kill()
    process = lab.run(*tune(mood_file, "out", *SOFT, "--seed", "1"), status=2)
    assert process.warned.splitlines()[-3:] == [
        f"pegbox: {run} holds a run with other settings or data",
        "  expected: the same run, to go on with",
        "  what to do: delete the folder, or choose another",
    ]


COMPARE = ("--model", "tiny", "--methods", "zero-shot,few-shot,soft", "--seeds", "2", "--budget", "8ktokens", "--json")
MORE = ("--set", "soft.length=2", "--set", "soft.place=after", "--set", "few-shot.shots=2", "--set", "few-shot.draws=2")


def cells(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted((folder / "cells").iterdir()) if (path / "cell.json").exists()}


@pytest.mark.parametrize("when", ["within a cell", "while test rows are scored"])
def test_kill_9_of_compare_and_the_same_command_again(lab: Any, mood_file: Path, when: str) -> None:
    def seen() -> bool:
        folder = lab.folder / "cut" / "cells"
        if when == "within a cell":
            return any(events(path, "step") >= 9 for path in folder.glob("soft-1-*/trail.jsonl"))
        return any(folder.glob("soft-0-*/prompt"))

    arguments = ("compare", mood_file, "--text", "text", "--label", "label", *COMPARE, *MORE, "--out")
    whole = json.loads(lab.run(*arguments, "whole").told)
    assert lab.start(*arguments, "cut").until(seen).kill() == -signal.SIGKILL
    done = {name: (path / "cell.json").stat().st_mtime_ns for name, path in cells(lab.folder / "cut").items()}
    assert 3 <= len(done) < 6
    found = json.loads(lab.run(*arguments, "cut").told)
    assert cells(lab.folder / "cut").keys() == cells(lab.folder / "whole").keys()
    for name, path in cells(lab.folder / "cut").items():
        expected = cells(lab.folder / "whole")[name]
        if name in done:
            assert (path / "cell.json").stat().st_mtime_ns == done[name]  # it was read, not run
        np.testing.assert_array_equal(np.load(path / "probabilities.npy"), np.load(expected / "probabilities.npy"))
        same(path / "prompt", expected / "prompt")
    assert found["best"] == whole["best"]
    assert [line["accuracy"] for line in found["table"]] == [line["accuracy"] for line in whole["table"]]


def test_a_real_process_killed_and_started_again(mood_file: Path, lab: Any) -> None:
    """`python -m pegbox.cli`, from nothing, as a person would."""
    lab.run(*tune(mood_file, "whole", *SOFT))
    environment = {**os.environ, "PYTHONPATH": str(Path(pegbox.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pegbox.cli", *tune(mood_file, "out", *SOFT)]
    first = subprocess.Popen(command, cwd=lab.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while time.monotonic() < end and not (lab.folder / "out.run" / "state.safetensors").exists() and first.poll() is None:
        time.sleep(0.002)
    first.kill()
    assert first.wait() == -signal.SIGKILL
    second = subprocess.run(command, cwd=lab.folder, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 0
    guess = "note: moods.csv: took 'text' as the text (--text) and 'label' as the label (--label).\n"
    assert second.stderr in ("", guess)  # nothing from the libraries beneath
    assert second.stdout.endswith("try `pegbox evaluate out TEST.csv`.\n")
    same(lab.folder / "whole", lab.folder / "out")
