"""One TOML file, one run: its keys are the flags, flags beside it come first, and a comparison writes one down."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from pegbox.cli import main

Rows = Callable[[int, int], object]
RECIPE = """
data = "moods.csv"
methods = ["zero-shot", "soft"]
model = "tiny"
budget = "2ktokens"
test-size = 0.5
no_quotes = true
[set.soft]
place = "after"
length = 3
schedule = {batch = 4, learning_rates = [0.1, 0.2]}
[words]
good = ["fine", "great"]
bad = "poor"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    lines = [f"the {thing} was {mood},{label}" for thing in ("soup", "room", "film", "seat", "wine", "view", "bed", "song",
             "walk", "talk") for mood, label in (("lovely", "good"), ("awful", "bad"))]  # fmt: skip
    (tmp_path / "moods.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    (tmp_path / "run.toml").write_text(RECIPE)
    return tmp_path


def test_a_recipe_stands_for_the_flags(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", "--recipe", "run.toml", "--out", "here", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert {row["method"] for row in said["table"]} == {"zero-shot", "soft"}
    (cell,) = (folder / "here/cells").glob("soft-*")
    manifest = json.loads((cell / "prompt/manifest.json").read_text())
    settings = dict(manifest["settings"])
    assert settings["length"] == 3
    assert settings["schedule.batch"] == 4
    assert settings["schedule.learning_rates"] == [0.1, 0.2]
    assert manifest["budget"] == "2000tokens"
    assert manifest["evaluations"][0]["rows"] == 10


def test_flags_come_before_the_recipe(folder: Path) -> None:
    main(["compare", "--recipe", "run.toml", "--out", "here", "--json", "--methods", "soft", "--test-size", "4"])
    kept = tomllib.loads((folder / "here/recipe.toml").read_text())
    assert kept["methods"] == "soft"
    assert kept["test_size"] == 4


def test_what_a_comparison_writes_down_repeats_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", "--recipe", "run.toml", "--out", "here", "--json", "--methods", "soft"])
    first = json.loads(capsys.readouterr().out)
    assert tomllib.loads((folder / "here/recipe.toml").read_text()) == {
        "data": "moods.csv", "methods": "soft", "model": "tiny", "budget": "2ktokens", "test_size": 0.5,
        "no_quotes": True, "words": ["good=fine|great", "bad=poor"],
        "set": ["soft.place=after", "soft.length=3", "soft.schedule.batch=4", "soft.schedule.learning_rates=0.1,0.2"],
    }  # fmt: skip
    main(["compare", "--recipe", "here/recipe.toml", "--out", "there", "--json"])
    again = json.loads(capsys.readouterr().out)
    assert [row["accuracy"] for row in again["table"]] == [row["accuracy"] for row in first["table"]]


def test_tune_takes_a_recipe_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "tune.toml").write_text(
        'data = "moods.csv"\nout = "mine"\nmethod = "zero-shot"\nmodel = "tiny"\nprompt = "{text} It was [answer]"\n'
    )
    main(["tune", "--recipe", "tune.toml"])
    assert "It was" in capsys.readouterr().out
    assert (folder / "mine/manifest.json").exists()


@pytest.mark.parametrize(
    ("text", "came", "remedy"),
    [
        ('budgett = "5m"', "wrong.toml: 'budgett'", "did you mean 'budget'?"),
        ("budget = ", "wrong.toml: ", "correct it"),
        ("budget = {a = 1}", "wrong.toml: budget = {'a': 1}", "correct it"),
        ("set = 5", "wrong.toml: set = 5", "say for example"),
        ('recipe = "other.toml"', "wrong.toml: 'recipe'", "see `pegbox compare --help`"),
    ],
)
def test_what_cannot_be_meant_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, came: str, remedy: str
) -> None:
    (folder / "wrong.toml").write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["compare", "--recipe", "wrong.toml"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(f"pegbox: {came}")
    assert remedy in told


def test_a_missing_recipe_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", "--recipe", "none.toml"])
    assert ended.value.code == 2
    assert "none.toml" in capsys.readouterr().err
