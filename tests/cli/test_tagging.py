from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Lab

NAMES = (("Ann", "Lee"), ("Bo", "Ray"), ("Eve", "Fox"), ("Tom", "Orr"))
PLACES = ("Paris", "Rome", "Oslo", "Bonn")


def write(path: Path, count: int, seed: int) -> Path:
    """Sentences of CoNLL with three columns; each holds a person of two words or a place."""
    lines = ["-DOCSTART- -X- O", ""]
    for number in range(count):
        lines += ["we PRP O", f"met{seed}{number} VB O"]
        first, last = NAMES[(number + seed) % 4]
        place = PLACES[(number + seed) % 4]
        lines += [f"{first} NNP B-PER", f"{last} NNP I-PER"] if number % 2 else [f"{place} NNP B-LOC"]
        lines += [". . O", ""]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def tuned(lab: Lab) -> Path:
    train = write(lab.folder / "train.conll", 40, 0)
    run = lab.run(
        "tune", train, "--task", "tag", "--model", "tiny", "--method", "soft", "--budget", "30ktokens", "--out", "prompt"
    )
    assert "entity F1" in run.told
    return lab.folder / "prompt"


def test_a_conll_file_is_tuned_on_scored_and_tagged(lab: Lab, tuned: Path) -> None:
    test = write(lab.folder / "test.conll", 10, 1)
    found = json.loads(lab.run("evaluate", tuned, test, "--json").told)
    assert found["rows"] == 10
    assert found["invalid_tags"]["value"] == 0
    assert 0 <= found["entity_f1"]["interval"][0] <= found["entity_f1"]["value"] <= found["entity_f1"]["interval"][1] <= 1
    assert "entity F1" in lab.run("show", tuned).told
    texts = lab.folder / "texts.jsonl"
    texts.write_text(
        json.dumps({"id": 7, "text": "  Ann Lee met\tus, in Rome."}) + "\n" + json.dumps({"id": 8, "text": "no"}) + "\n"
    )
    lines = [json.loads(line) for line in lab.run("predict", tuned, texts, "--json").told.splitlines()]
    assert [line["id"] for line in lines] == [7, 8]
    for line in lines:
        for span in line["predicted"]:
            assert line["text"][span["start"] : span["end"]] == span["text"]
    rows = list(csv.DictReader(lab.run("predict", tuned, texts).told.splitlines()))
    assert [json.loads(row["predicted"]) for row in rows] == [line["predicted"] for line in lines]
    assert rows[0]["text"] == lines[0]["text"]
    words = lab.folder / "words.txt"
    words.write_text("Ann\nLee\n\nRome\n")
    tagged = [json.loads(line) for line in lab.run("predict", tuned, words, "--json").told.splitlines()]
    assert [line["text"] for line in tagged] == ["Ann Lee", "Rome"]


def test_a_comparison_ranks_by_entities(lab: Lab) -> None:
    train, test = write(lab.folder / "train.conll", 30, 0), write(lab.folder / "test.conll", 20, 2)
    methods = "majority,zero-shot,few-shot,probe,crf"
    lab.run(
        "compare", train, "--test", test, "--task", "tag", "--model", "tiny", "--methods", methods,
        "--budget", "10ktokens", "--out", "run",
    )  # fmt: skip
    report = json.loads((lab.folder / "run" / "report.json").read_text(encoding="utf-8"))
    lines = {line["method"]: line for line in report["summary"]["methods"]}
    assert set(lines) == set(methods.split(","))
    # every name of the test file is one of the training file: the table of words finds them all
    assert lines["majority"]["scores"]["entity_f1"]["value"] > 0.9


def test_a_bad_line_is_told_with_its_file_and_number(lab: Lab) -> None:
    bad = lab.folder / "bad.conll"
    bad.write_text("Ann B-PER\nmet\n", encoding="utf-8")
    run = lab.run("tune", bad, "--task", "tag", "--model", "tiny", "--out", "x", status=2)
    assert "bad.conll has 1 row with a word that has no tag (row 1 (line 2): 'met')" in run.warned
    assert "expected: " in run.warned
    assert "what to do: " in run.warned


def test_a_method_that_cannot_tag_is_refused(lab: Lab) -> None:
    train = write(lab.folder / "train.conll", 20, 0)
    run = lab.run("compare", train, "--task", "tag", "--model", "tiny", "--methods", "tfidf", "--out", "x", status=2)
    assert "tfidf for --task tag" in run.warned
