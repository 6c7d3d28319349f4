"""Generation and dialogue through every door: compare, tune, keep, load, predict, evaluate, show, and the commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pegbox
from pegbox import api
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.cli import main
from pegbox.cli.options import method_names, unable
from pegbox.data import dialogues, references
from pegbox.errors import DataError, SettingsError
from pegbox.evaluate.scores import MeasuredEvaluation
from pegbox.export.peft import to_peft
from pegbox.export.text import to_text
from pegbox.prompt import Text, format
from pegbox.recipe.methods import METHODS
from pegbox.task.generation import Generation

NAMES = ("ada", "bo", "cy", "di", "ed", "fay")
ROWS = [{"text": f"{name} {n}", "references": [f"{n} {name}", f"{name}!"]} for n, name in enumerate(NAMES * 5)]
TALKS = [
    {
        "messages": [
            part
            for n in range(2)
            for part in ({"role": "user", "content": f"{name} {n} {k}"}, {"role": "assistant", "content": f"{name}."})
        ]
    }
    for k, name in enumerate(NAMES * 3)
]
PLAIN = r"Turn it round, please, as you were told before.\nIn: {text}\nOut: [answer]\n"
QUICK = {"soft": {"length": 2}, "search": {"children": 2, "population": 2, "block": 4}, "few-shot": {"draws": 1, "shots": (2,)}}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {"generate": tmp_path / "rows.jsonl", "chat": tmp_path / "talks.jsonl"}
    for path, rows in zip(found.values(), (ROWS, TALKS), strict=True):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return found


@pytest.mark.parametrize("task", ["generate", "chat"])
def test_a_comparison_of_methods_that_write(task: str, files: dict[str, Path], tiny_backbone: HuggingFaceBackbone) -> None:
    methods = ("zero-shot", "few-shot", "search", "soft", "deep", "lowrank", "input", "hybrid", "lora")
    chosen = {name: QUICK[name] for name in methods if name in QUICK}
    report = api.compare(
        str(files[task]),
        task=task,
        methods=methods,
        model=tiny_backbone,
        prompt=PLAIN if task == "generate" else None,
        budget="6ktokens",
        settings=chosen,
        task_settings={"max_tokens": "6", "main": "token_f1"},
    )
    cells = {cell.method: cell for cell in report.comparison.cells}
    assert set(cells) == set(methods)
    for cell in cells.values():
        assert cell.statistics["rouge_l"].shape[1] == 2
        assert cell.statistics["perplexity"][:, 1].min() > 0
        assert len(cell.outputs) == len(report.comparison.texts)
    assert cells["lora"].prompt == ""
    assert cells["soft"].prompt
    assert any("tok:13a" in note for note in report.comparison.notes)
    assert report.comparison.measures[0] == "token_f1"


def test_vectors_learn_what_is_to_be_written(tiny_backbone: HuggingFaceBackbone) -> None:
    """The references are always the same word: after some steps it is far likelier than before."""
    rows = [{"text": f"{name} {n}", "references": ["yes"]} for n, name in enumerate(NAMES * 4)]
    tuned = api.tune(rows, task="generate", method="soft", model=tiny_backbone, prompt=PLAIN, budget="60ktokens")
    losses = [event["loss"] for event in tuned.trail if event["event"] == "dev"]
    assert min(losses) < 0.5 * losses[0]
    assert all(event["accuracy"] is None for event in tuned.trail if event["event"] == "dev")
    found = api.evaluate(tuned, rows)
    assert isinstance(found, MeasuredEvaluation)
    assert found.scores["perplexity"].value == pytest.approx(np.exp(min(losses)), rel=0.2)


def test_a_prompt_is_kept_and_writes_the_same_again(tiny_backbone: HuggingFaceBackbone, tmp_path: Path) -> None:
    tuned = api.tune(
        TALKS, task="chat", method="soft", model=tiny_backbone, budget="4ktokens", task_settings={"stop": "x,y", "beams": "2"}
    )
    talk = [[{"role": "user", "content": "ada 0 9"}], [{"role": "user", "content": "bo"}]]
    written = tuned.predict(talk)
    tuned.save(tmp_path / "kept")
    kept = pegbox.load(tmp_path / "kept", tiny_backbone)
    assert kept.predict(talk) == written
    assert kept.task == tuned.task
    assert kept.task.to_json()["stop"] == ("x", "y")
    assert format(kept.prompt) == format(tuned.prompt)
    assert all(isinstance(text, str) for text in written)


def test_examples_are_turns_or_lines_that_end_as_answers_do(tiny_backbone: HuggingFaceBackbone) -> None:
    tuned = api.tune(
        ROWS,
        task="generate",
        method="few-shot",
        model=tiny_backbone,
        prompt=PLAIN,
        budget="9ktokens",
        settings={"shots": (2,), "draws": 2},
    )
    words = "".join(segment.text for segment in tuned.prompt if isinstance(segment, Text))
    assert words.startswith("Turn it round, please, as you were told before.\nIn: ")
    shown = [line for line in words.split("\n") if line.startswith("Out: ")]
    given = {text for row in ROWS for text in row["references"]}
    assert len(shown) == 3
    assert {line.removeprefix("Out: ") for line in shown[:2]} <= given
    talk = api.tune(
        TALKS, task="chat", method="few-shot", model=tiny_backbone, budget="9ktokens", settings={"shots": (2,), "draws": 2}
    )
    assert [turn.role for turn in talk.prompt.turns] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
        "turns",
        "assistant",
    ]


def test_methods_that_need_labels_say_so() -> None:
    for name in ("tfidf", "probe", "tokens", "majority", "few-shot-nearest"):
        assert "generate" not in METHODS[name].tasks
        with pytest.raises(SettingsError, match=f"{name} for --task generate"):
            api.compare(ROWS, task="generate", methods=[name], model="tiny")


def test_the_commands(files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(tmp_path / "made")
    quick = ["--model", "tiny", "--budget", "3ktokens", "--task-set", "max_tokens=5"]
    main(
        [
            "tune",
            str(files["generate"]),
            "--task",
            "generate",
            "--method",
            "soft",
            "--out",
            place,
            "--prompt",
            PLAIN,
            "--json",
            *quick,
        ]
    )
    made = json.loads(capsys.readouterr().out)
    assert "dev_rouge_l" in made
    main(["evaluate", place, str(files["generate"]), "--json"])
    scored = json.loads(capsys.readouterr().out)
    assert set(Generation().measures) <= set(scored)
    assert any("tok:13a" in note for note in scored["notes"])
    unlabelled = tmp_path / "new.csv"
    unlabelled.write_text("text\nada 1\nbo 2\n", encoding="utf-8")
    main(["predict", place, str(unlabelled)])
    assert len(capsys.readouterr().out.strip("\n").splitlines()) >= 3
    main(["show", place])
    assert "generate" in capsys.readouterr().out
    main(
        ["compare", str(files["chat"]), "--task", "chat", "--methods", "zero-shot,soft", "--out", str(tmp_path / "run"), *quick]
    )
    assert "chrF" in capsys.readouterr().out
    assert (tmp_path / "run" / "report.html").exists()


def test_readers_are_there_for_the_tasks() -> None:
    assert len(references.read(ROWS).train) + len(references.read(ROWS).test or ()) == 30
    talks: Any = dialogues.read(TALKS)
    assert len(talks.train) + len(talks.test) == 36


def test_all_methods_are_those_that_can() -> None:
    names = method_names("all", "generate")
    assert names is not None
    assert {"zero-shot", "soft", "lora"} <= set(names)
    assert "tfidf" not in names
    assert "tfidf" in unable("all", "generate")[0]
    assert unable("soft", "generate") == ()
    with pytest.raises(DataError, match="8 shots"):
        api.tune(ROWS, task="generate", method="soft", model="tiny", shots=8)


def test_prompts_that_write_leave_for_peft_and_plain_text(tiny_backbone: HuggingFaceBackbone, tmp_path: Path) -> None:
    tuned = api.tune(
        ROWS, task="generate", method="soft", model=tiny_backbone, prompt="[soft s 2]{text}: [answer]", budget="3ktokens"
    )
    tuned.save(tmp_path / "kept")
    to_peft(tmp_path / "kept", tmp_path / "peft")
    assert (
        "Offsets to add to the labels' log-probabilities, which PEFT does not do: none."
        in (tmp_path / "peft" / "README.md").read_text()
    )
    assert to_text(tmp_path / "kept").text == "{text}:"
    assert to_text(tmp_path / "kept").words == {}
