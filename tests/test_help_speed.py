"""`--help` of every command: good enough to work from, and there in a blink."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pegbox
from pegbox.cli import main

SOURCE = Path(pegbox.__file__).parents[1]
COMMANDS = (
    *("compare", "tune", "evaluate", "predict", "show", "serve", "key"),
    *("export", "import", "push", "pull", "methods", "samples", "demo"),
)
HEAVY = (
    "torch",
    "transformers",
    "pandas",
    "sklearn",
    "scipy",
    "numpy",
    "matplotlib",
    "datasets",
    "pyarrow",
    "fastapi",
    "uvicorn",
)


def helped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setenv("COLUMNS", "120")
    main([*arguments, "--help"])
    told = capsys.readouterr()
    assert told.err == ""
    return told.out


def test_the_commands_are_listed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    told = helped(capsys, monkeypatch)
    listed = re.findall(r"^│ (\w+) ", told.split("Commands")[1], re.MULTILINE)
    assert listed == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does_and_what_each_option_means(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    told = helped(capsys, monkeypatch, command)
    assert "Usage: " in told
    options = re.findall(r"^│ \*?\s*(--[\w-]+)\s+(?:-h\s+)?(?:<[^>]+>)\s+(.*)│$", told, re.MULTILINE)
    assert options[-1][0] == "--help"
    assert all(len(meaning.strip()) > 5 for _, meaning in options)


def test_the_help_shows_notation_as_it_is_written(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    told = helped(capsys, monkeypatch, "compare")
    assert r"{text}\nMood: [answer]" in re.sub(r"\s*│\n│\s*", " ", told)
    assert "90s, 5m, 1h, 200ktokens, 2Mtokens" in told


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"]])
def test_help_is_there_in_half_a_second_and_loads_no_heavy_library(arguments: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}

    def seconds(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, check=True)
        return time.perf_counter() - began

    bare = statistics.median(seconds("") for _ in range(5))  # what a loaded machine takes to start Python at all
    took = statistics.median(seconds("from pegbox.cli import main; main()") for _ in range(5))
    assert took < max(0.5, 8 * bare)
    code = f"import sys, json; from pegbox.cli import main; main(); print(json.dumps([n for n in {HEAVY} if n in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=True)
    assert "Usage: " in done.stdout
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert done.stderr == ""
