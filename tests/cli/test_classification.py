"""Several labels for a text, long texts and labels in levels, on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pegbox
from pegbox.cli import main

QUICK = ("--model", "tiny", "--budget", "8ktokens")
Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder; what it printed, and what it said beside that."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def command(*arguments: object, status: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        found: Any = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            found = end.code or 0
        out, err = capsys.readouterr()
        assert found == status, err
        return out, err

    return command


@pytest.fixture
def clauses(tmp_path: Path) -> Path:
    """Texts with the labels fee, law, both or none."""
    kinds = [([], "we greet you"), (["fee"], "you pay"), (["law"], "the court"), (["fee", "law"], "you pay the court")]
    rows = [{"text": f"{kinds[n % 4][1]} {n}", "labels": kinds[n % 4][0]} for n in range(60)]
    path = tmp_path / "clauses.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_several_labels_from_tuning_to_prediction(run: Run, clauses: Path, tmp_path: Path) -> None:
    out, err = run("tune", clauses, "--task", "multilabel", "--method", "few-shot", "--out", "made", *QUICK)
    assert "took 'labels' as the labels (--label)" in err
    assert "macro F1" in out
    out, _ = run("evaluate", "made", clauses, "--json")
    found = json.loads(out)
    assert set(found["parts"]) == {"fee", "law"}
    assert found["hamming_loss"]["value"] <= 1
    out, _ = run("evaluate", "made", clauses)
    assert "Hamming loss" in out
    few = tmp_path / "few.csv"
    few.write_text("text,labels\nyou pay the court 1,fee|law\nwe greet you,\nyou pay,fee\n", encoding="utf-8")
    out, err = run("evaluate", "made", few, "--json")
    assert (json.loads(out)["rows"], set(json.loads(out)["parts"])) == (3, {"fee", "law"})
    assert "divided by '|'" in " ".join(json.loads(out)["notes"])
    found = pegbox.evaluate(pegbox.load(tmp_path / "made"), [{"text": "you pay", "labels": "fee; law"}])
    assert found.rows == 1
    texts = tmp_path / "new.csv"
    texts.write_text("text\nyou pay 1\nwe greet you\n", encoding="utf-8")
    out, _ = run("predict", "made", texts, "--json")
    for line in out.splitlines():
        assert isinstance(json.loads(line), dict)
    out, _ = run("show", "made")
    assert "multilabel" in out


def test_a_comparison_of_several_labels_says_its_measure(run: Run, clauses: Path) -> None:
    out, _ = run("compare", clauses, "--task", "multilabel", "--methods", "majority,tfidf,zero-shot", "--out", "runs", *QUICK)
    assert "macro F1" in out
    assert "Hamming loss" in Path("runs/report.html").read_text(encoding="utf-8")


def test_long_texts_are_read_as_asked_and_that_is_kept_and_said(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "moods.csv"
    lines = [f"{'on and on ' * 6}{('dull', 'fine')[n % 2]} {n},{('bad', 'good')[n % 2]}" for n in range(40)]
    data.write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    long = ("--long", "chunks", "--task-set", "long.tokens=24", "--task-set", "long.overlap=4")
    out, _ = run("tune", data, "--method", "zero-shot", "--out", "made", *long, *QUICK)
    assert "note: pieces are pooled by " in out
    _, err = run("evaluate", "made", data)
    assert "40 of 40 texts were too long and read in " in err
    assert json.loads(Path("made/prompt.json").read_text(encoding="utf-8"))["long"]["tokens"] == 24
    tail = ("--long", "tail", "--task-set", "long.tokens=8")
    run("compare", data, "--methods", "zero-shot,tfidf", *tail, "--out", "r", *QUICK)
    page = Path("r/report.html").read_text(encoding="utf-8")
    assert "of 8 of 8 test texts the end was read, as they were too long" in page
    _, err = run("compare", data, "--long", "middle", status=2)
    assert "head, tail, chunks" in err


def test_labels_in_levels_are_scored_at_each(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "kinds.csv"
    names = ("card:lost", "card:late", "cash:late")
    data.write_text("text,label\n" + "".join(f"a text {n},{names[n % 3]}\n" for n in range(30)), encoding="utf-8")
    run("tune", data, "--method", "zero-shot", "--out", "made", *QUICK)
    out, _ = run("evaluate", "made", data)
    assert "2 labels before ':'" in out


def test_a_comparison_of_no_methods_is_an_error(run: Run, clauses: Path) -> None:
    _, err = run("compare", clauses, "--methods", "", status=2)
    assert "leave --methods out" in err
