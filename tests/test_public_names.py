"""The public names: one short sorted list, each of them there, and `import pegbox` fast."""

from __future__ import annotations

import importlib
import inspect
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pegbox

SOURCE = Path(pegbox.__file__).parents[1]
HEAVY = ["torch", "transformers", "pandas", "sklearn", "scipy", "numpy", "matplotlib"]
FIRST_FLOOR = ["pegbox.errors", "pegbox.prompt", "pegbox.data.rows", "pegbox.data.read", "pegbox.data.download"]


def fresh_python(code: str) -> str:
    """What a new interpreter prints that knows the package's folder and nothing of this process."""
    lines = f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n{code}"
    return subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True).stdout


def test_the_list_is_sorted_and_short() -> None:
    assert pegbox.__all__ == sorted(pegbox.__all__)
    assert len(pegbox.__all__) < 15


def test_errors_and_read_are_where_they_are_said_to_be() -> None:
    from pegbox import errors
    from pegbox.data.read import read

    assert pegbox.read is read
    assert pegbox.errors is errors


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'pegbox' has no attribute 'tuna'"):
        _ = pegbox.tuna


def test_public_names_are_offered_to_completion() -> None:
    assert set(pegbox.__all__) <= set(dir(pegbox))


def test_a_room_named_like_a_verb_stays_a_room_and_answers_as_the_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    def tune(rows: list[str], *, method: str = "soft") -> str:
        return f"{method} on {len(rows)}"

    monkeypatch.setattr(pegbox, "_from_home", {"tune": tune}.__getitem__)
    room = importlib.import_module("pegbox.tune")
    assert pegbox.tune is room
    assert importlib.import_module("pegbox.tune.trail") is pegbox.tune.trail
    assert pegbox.tune(["a", "b"], method="hybrid") == "hybrid on 2"
    assert str(inspect.signature(pegbox.tune)) == "(rows: 'list[str]', *, method: 'str' = 'soft') -> 'str'"


def test_importing_pegbox_loads_no_heavy_library() -> None:
    code = f"import json, pegbox; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    assert json.loads(fresh_python(code)) == []


@pytest.mark.parametrize("module", FIRST_FLOOR)
def test_the_first_floor_loads_no_heavy_library(module: str) -> None:
    code = f"import json, {module}; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    assert set(json.loads(fresh_python(code))) <= {"numpy"}


def test_importing_pegbox_takes_a_blink() -> None:
    def seconds(code: str) -> float:
        start = time.perf_counter()
        fresh_python(code)
        return time.perf_counter() - start

    bare = statistics.median(seconds("") for _ in range(5))
    ours = statistics.median(seconds("import pegbox") for _ in range(5))
    assert ours - bare < 0.25
