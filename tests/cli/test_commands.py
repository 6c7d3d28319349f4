"""Every command: what it prints where, how it ends, and how it says what went wrong."""

from __future__ import annotations

import csv
import gc
import io
import json
import os
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pegbox
from pegbox.backbone import fused
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.cli import main
from pegbox.data.rows import Rows
from pegbox.recipe.methods import METHODS

Moods = Callable[[int, int], Rows]
QUICK = ("--model", "tiny", "--budget", "5ktokens")


class Told:
    """What a command printed, and its exit status."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


Run = Callable[..., Told]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder; says what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def command(*arguments: object, status: int = 0) -> Told:
        capsys.readouterr()
        found = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            found = int(end.code or 0)
        told = Told(found, *capsys.readouterr())
        assert told.status == status, told.err
        assert "Traceback" not in told.err
        return told

    return command


@pytest.fixture
def prompt(tmp_path: Path, moods: Moods, tiny_backbone: HuggingFaceBackbone) -> Path:
    """A tuned prompt on disk."""
    rows = moods(60, 1)
    tuned = pegbox.tune(rows, method="soft", model=tiny_backbone, budget="5ktokens", settings={"length": 2, "place": "after"})
    return tuned.save(tmp_path / "prompt")


def three_parts(told: Told) -> list[str]:
    """The parts of an error; there is nothing else on the screen."""
    assert told.status == 2
    assert told.out == ""
    found = re.fullmatch(r"pegbox: (.+)\n  expected: (.+)\n  what to do: (.+)\n", told.err, re.DOTALL)
    assert found is not None, told.err
    return list(found.groups())


# --- tune ---------------------------------------------------------------------------------------------------------------


def test_tune_prints_the_prompt_and_saves_it(run: Run, mood_file: Path, tmp_path: Path) -> None:
    told = run(
        "tune",
        mood_file,
        *QUICK,
        "--text",
        "text",
        "--label",
        "label",
        "--method",
        "soft",
        "--set",
        "length=3",
        "--set",
        "place=after",
        "--out",
        "my",
    )
    assert r"Text: {text}[soft after 3]\nLabel: [answer]" in told.out
    assert told.out.endswith("% on the dev rows. Saved in my; try `pegbox evaluate my TEST.csv`.\n")
    assert told.err == ""
    tuned = pegbox.load(tmp_path / "my")
    assert tuned.record["settings"]["length"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["moods.csv", "my"]  # the run's folder is gone


def test_tune_as_json(run: Run, mood_file: Path) -> None:
    told = run("tune", mood_file, *QUICK, "--method", "zero-shot", "--out", "my", "--json")
    assert told.json["out"] == "my"
    assert 0 <= told.json["dev_accuracy"] <= 1
    assert told.json["tokens_backward"] == 0
    assert told.err == f"note: {mood_file}: took 'text' as the text (--text) and 'label' as the label (--label).\n"


def test_tune_reads_all_its_options(run: Run, mood_file: Path, tmp_path: Path, moods: Moods) -> None:
    dev = tmp_path / "dev.tsv"
    dev.write_text(
        "text\tlabel\n"
        + "".join(f"{t}\t{label}\n" for t, label in zip(moods(9, 4).column(), moods(9, 4).answers(), strict=True))
    )
    options = (
        *("--dev", dev, "--seed", "3", "--shots", "7", "--prompt", r"Day: {text}\nMood: [answer]", "--calibration", "none"),
        *("--words", "bad=awful|poor", "--words", "good=fine", "--text", "text", "--label", "label"),
        *("--dtype", "float32", "--device", "cpu"),
    )
    told = run("tune", mood_file, *QUICK, "--method", "zero-shot", "--out", "my", "--json", *options)
    assert told.json["prompt"] == r"Day: {text}\nMood: [answer]"
    tuned = pegbox.load(tmp_path / "my")
    assert tuned.predictor.task.words == {"bad": ("awful", "poor"), "good": ("fine",)}
    assert tuned.predictor.calibration.method == "none"
    assert (tuned.record["data"]["train_rows"], tuned.record["data"]["dev_rows"], tuned.record["seed"]) == (14, 9, 3)


def test_columns_that_a_prompt_names_are_read_without_being_asked_for(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "both.csv"
    path.write_text("title,body,mark\n" + "".join(f"t{n},some text {n},{'x' if n % 2 else 'y'}\n" for n in range(30)))
    named = ("--text", "body", "--label", "mark", *QUICK)
    run("tune", path, *named, "--prompt", "{title}: {text} [answer]", "--method", "zero-shot", "--out", "my")
    told = run("predict", "my", path, "--text", "body")
    rows = list(csv.DictReader(io.StringIO(told.out)))
    assert list(rows[0]) == ["title", "body", "mark", "predicted", "probability"]
    tuned = pegbox.load("my")
    frame = [{"title": row["title"], "text": row["body"]} for row in rows]
    assert tuned.predict(frame) == [row["predicted"] for row in rows]
    assert run("evaluate", "my", path, "--text", "body", "--label", "mark", "--json").json["rows"] == 30
    told = run("compare", path, *named, "--prompt", "{title}: {text} [answer]", "--methods", "zero-shot,soft", "--json")
    assert {line["method"] for line in told.json["table"]} == {"zero-shot", "soft"}
    for command in (["tune", "--out", "o", "--method", "soft"], ["compare"]):
        bad = run(command[0], path, *command[1:], *named, "--prompt", "{titel}: {text} [answer]", status=2)
        assert three_parts(bad)[0].endswith("has no column 'titel'")
        assert "did you mean 'title'?" in three_parts(bad)[2]


def test_tune_over_an_older_result_replaces_it(run: Run, mood_file: Path, tmp_path: Path) -> None:
    for seed in ("0", "1"):
        run("tune", mood_file, *QUICK, "--method", "zero-shot", "--out", "my", "--seed", seed)
    assert pegbox.load(tmp_path / "my").record["seed"] == 1


def test_tune_checks_its_rows_as_compare_does(run: Run, mood_file: Path) -> None:
    named = (*QUICK, "--method", "zero-shot", "--text", "text", "--label", "label", "--out", "my")
    lines = mood_file.read_text(encoding="utf-8").splitlines()
    came = three_parts(run("tune", mood_file, *named, "--dev", mood_file, status=2))[0]
    assert "the first is row 1 of " in came
    Path("dev.csv").write_text("\n".join([lines[0], lines[7], "x,never seen,good", "y,nor this,bad"]) + "\n")
    assert "row 7" in three_parts(run("tune", mood_file, *named, "--dev", "dev.csv", status=2))[0]
    told = run("tune", mood_file, *named, "--dev", "dev.csv", "--on-problem", "drop")
    assert re.search(r"left out 1 row.*\(row 7", told.err)
    data = pegbox.load("my").record["data"]
    assert (data["train_rows"], data["dev_rows"]) == (59, 3)
    again = [lines[1], lines[1].rsplit(",", 1)[0] + ",odd"]
    mood_file.write_text("\n".join([*lines, *again]) + "\n", encoding="utf-8")
    told = run("tune", mood_file, *named)
    assert "1 row repeats the text and label of an earlier row (row 61); kept." in told.err
    assert "1 text with more than one label (rows 1, 61, 62)" in told.err
    assert "1 label seen only once: 'odd' (row 62)" in told.err


# --- evaluate, predict, show --------------------------------------------------------------------------------------------


def test_evaluate_prints_scores_and_counts_openings(run: Run, prompt: Path, tmp_path: Path, moods: Moods) -> None:
    rows = moods(24, 8)
    test = tmp_path / "test.csv"
    test.write_text("text,label\n" + "".join(f"{t},{label}\n" for t, label in zip(rows.column(), rows.answers(), strict=True)))
    told = run("evaluate", prompt, test, "--text", "text", "--label", "label")
    right = np.mean([a == b for a, b in zip(pegbox.load(prompt).predict(rows), rows.answers(), strict=True)])
    assert told.out.startswith(f"24 rows of {test}\n")
    assert re.search(rf"accuracy\s+│ {right:.3f} │\s+[01]\.\d+ to [01]\.\d+", told.out)
    assert re.search(r"bad\s+│\s+8 │", told.out)
    assert told.err == ""
    again = run("evaluate", prompt, test, "--text", "text", "--label", "label", "--json")
    assert again.err == ""
    assert again.json["accuracy"]["value"] == pytest.approx(right)
    assert again.json["opening"] == 2
    assert again.json["notes"] == ["these rows have now been opened 2 times with this prompt; choose nothing by their scores"]
    assert [e["opening"] for e in json.loads((prompt / "manifest.json").read_text())["evaluations"]] == [1, 2]


def test_rows_seen_in_tuning_are_noticed(run: Run, prompt: Path, mood_file: Path) -> None:
    told = run("evaluate", prompt, mood_file, "--text", "text", "--label", "label")
    assert told.err == (
        "note: 60 of these rows were there in tuning (rows 1, 2, 3, 4, 5 and 55 more): the scores flatter the prompt\n"
    )


def test_predict_keeps_the_users_columns(run: Run, prompt: Path, mood_file: Path) -> None:
    told = run("predict", prompt, mood_file, "--text", "text")
    rows = list(csv.DictReader(io.StringIO(told.out)))
    assert list(rows[0]) == ["id", "text", "label", "predicted", "probability"]
    assert [row["id"] for row in rows] == [str(n) for n in range(1, 61)]
    tuned = pegbox.load(prompt)
    assert [row["predicted"] for row in rows] == tuned.predict([row["text"] for row in rows])
    assert told.err == ""
    every = run("predict", prompt, mood_file, "--text", "text", "--proba", "--json").out.splitlines()
    first = json.loads(every[0])
    assert first["probability bad"] + first["probability good"] == pytest.approx(1, abs=1e-5)
    assert len(every) == 60


def test_predict_opens_the_model_in_the_quicker_way_for_few_rows(
    run: Run, prompt: Path, mood_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(fused, "_loops", lambda: bool(asked.append(gc.isenabled())))
    many = run("predict", prompt, mood_file, "--text", "text").out.splitlines()
    assert len(asked) == 1
    (tmp_path / "few.csv").write_text("".join(mood_file.read_text().splitlines(keepends=True)[:17]))
    assert run("predict", prompt, "few.csv", "--text", "text").out.splitlines() == many[:17]
    assert asked == [False]  # nothing is looked through for garbage while the model is opened
    assert gc.isenabled()


def test_predict_may_leave_out_bad_rows(run: Run, prompt: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("text\nfine\n\n \ndull\n")
    assert "--on-problem drop" in three_parts(run("predict", prompt, "new.csv", "--text", "text", status=2))[2]
    told = run("predict", prompt, "new.csv", "--text", "text", "--on-problem", "drop")
    assert len(told.out.splitlines()) == 3
    assert "left out 1 row without a text" in told.err


def test_show_prints_the_prompt_and_how_little_its_nearest_words_prove(run: Run, prompt: Path) -> None:
    told = run("show", prompt)
    assert told.out.splitlines()[0] == r"Classify the text as bad or good.\nText: {text}[soft after 2]\nLabel: [answer]"
    assert "soft slot after: nearest words" in told.out
    assert "Nearest words say little" in told.out
    assert "model: tiny (" in told.out
    assert "length=2, place=after, schedule.learning_rates=" in told.out
    assert told.err == ""
    found = run("show", prompt, "--json").json
    assert [len(words) for words in found["nearest"].values()] == [2]
    assert set(found["nearest"]["after"][0]) == {"word", "cosine", "norm_ratio"}
    assert found["method"] == "soft"


def test_show_of_words_alone(run: Run, mood_file: Path) -> None:
    run("tune", mood_file, *QUICK, "--method", "zero-shot", "--out", "my")
    told = run("show", "my")
    assert "nearest" not in told.out
    assert run("show", "my", "--json").json["nearest"] == {}


# --- compare ------------------------------------------------------------------------------------------------------------


def test_compare_prints_the_answer_and_where_the_report_lies(run: Run, mood_file: Path, tmp_path: Path) -> None:
    arguments = ("compare", mood_file, *QUICK, "--text", "text", "--label", "label", "--methods", "majority,zero-shot,soft")
    told = run(*arguments, "--set", "soft.length=2", "--set", "soft.place=after")
    folder = Path("pegbox-runs/moods")
    assert told.out.endswith(f"Report: {folder}/report.html   Prompts: {folder}/cells\n")
    assert told.err == f"note: {mood_file}: 12 of 60 rows are split off as test rows (stratified, seed 0) and sealed.\n"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "")
    again = run(*arguments, "--set", "soft.length=2", "--set", "soft.place=after", "--json")
    assert set(again.json) == {"report", "page", "best", "winner", "recommendation", "table"}
    assert {line["method"] for line in again.json["table"]} == {"majority", "zero-shot", "soft"}
    assert json.loads(Path(again.json["report"]).read_text())["format"]
    assert len(list((folder / "cells").iterdir())) == 3


def test_compare_reads_all_its_options(run: Run, mood_file: Path, tmp_path: Path, moods: Moods) -> None:
    for name, seed in (("test", 6), ("dev", 7)):
        rows = moods(18, seed)
        content = "".join(f"{t},{label}\n" for t, label in zip(rows.column(), rows.answers(), strict=True))
        (tmp_path / f"{name}.csv").write_text("text,label\n" + content)
    told = run(
        "compare", "--data", mood_file, *QUICK, "--text", "text", "--label", "label", "--test", "test.csv", "--dev", "dev.csv",
        "--train-rows", "30", "--test-rows", "9", "--methods", "zero-shot, tfidf", "--seeds", "2", "--tuning-seeds", "1",
        "--prompt", "{text} [answer]", "--words", "bad=poor", "--words", "good=fine", "--calibration", "contextual",
        "--out", "here", "--json", "--shots", "5",
    )  # fmt: skip
    settings = json.loads((tmp_path / "here" / "report.json").read_text())["comparison"]["settings"]
    assert (settings["train_rows"], settings["dev_rows"], settings["test_rows"], settings["seeds"]) == (10, 18, 9, 2)
    assert settings["prompt"] == "{text} [answer]"
    assert settings["calibration"] == "contextual"
    assert "note: 30 of 60 training rows are used, as asked" in told.err
    assert "note: 9 of 18 test rows are scored, as asked" in told.err


def test_a_number_or_a_share_of_test_rows(run: Run, mood_file: Path) -> None:
    for size, rows in (("0.5", 30), ("6", 6)):
        told = run(
            "compare", mood_file, *QUICK, "--methods", "majority,tfidf", "--test-size", size, "--json", "--out", f"s{size}"
        )
        assert f"{rows} of 60 rows are split off as test rows" in told.err
    assert three_parts(run("compare", mood_file, *QUICK, "--test-size", "6.5", status=2))[0] == "a part of size 6.5 of 60 rows"


# --- lists --------------------------------------------------------------------------------------------------------------


def test_methods_are_listed_with_their_settings(run: Run) -> None:
    plain = run("methods").out.splitlines()
    assert [line.split()[0] for line in plain] == list(METHODS)
    told = run("methods", "--settings").out
    assert "    schedule.learning_rates=" in told
    assert "    schedule.steps=none\n" in told
    found = {method["name"]: method for method in run("methods", "--settings", "--json").json}
    assert found["few-shot"]["settings"]["shots"] == [4, 8, 16]
    assert found["hybrid"]["kind"] == "hybrid"


def test_samples_are_listed_with_licence_and_source(run: Run) -> None:
    told = run("samples").out
    assert told.count("sample:") == told.count("licence: ") == told.count("source: ") == 10
    names = {"questions", "questions-fine", "sms", "tweets", "intents", "clauses", "entities", "headlines", "films"}
    listed = run("samples", "--json").json
    assert {sample["name"] for sample in listed} == names
    assert {sample["task"] for sample in listed if sample["name"] == "intents"} == {"classify", "tag"}


def test_the_version(run: Run) -> None:
    assert run("--version").out == f"pegbox {pegbox.__version__}\n"


# --- errors -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "came", "remedy"),
    [
        (["tune", "DATA", "--out", "o", "--method", "sotf"], "no method 'sotf'", "did you mean 'soft'?"),
        (["tune", "DATA", "--out", "o", "--method", "lora"], "tuning with 'lora'", "use it in pegbox.compare, as a reference"),
        (
            ["tune", "DATA", "--out", "o", "--set", "lenth=3", "--method", "soft"],
            "Soft has no setting 'lenth'",
            "did you mean 'length'?",
        ),
        (
            ["tune", "DATA", "--out", "o", "--set", "length", "--method", "soft"],
            "--set length",
            "write it so, e.g. --set length=8",
        ),
        (["tune", "DATA", "--out", "o", "--budget", "fast"], "a budget of 'fast'", "write it so"),
        (
            ["tune", "DATA", "--out", "o", "--prompt", "{text} [anser]"],
            "'[' at position 7 of the prompt",
            r"write \[ for the character itself",
        ),
        (["tune", "DATA", "--out", "DATA"], "is there already and is no artifact", "choose another name"),
        (["tune", "nowhere.csv", "--out", "o"], "nowhere.csv", ""),
        (["tune", "DATA", "--out", "o", "--text", "txt"], "has no column 'txt'", "did you mean 'text'?"),
        (["tune", "DATA", "--out", "o", "--on-problem", "ignore"], "on_problem='ignore'", ""),
        (["tune", "DATA", "--out", "o", "--model", "./none"], "the model './none'", "check the spelling and the path"),
        (["tune", "DATA", "--out", "o", "--model", "tiny", "--dtype", "int3"], "int3", ""),
        (["compare"], "no data", "say `pegbox compare FILE`"),
        (["compare", "DATA", "--data", "DATA"], "two sources of data", ""),
        (["compare", "DATA", "--methods", "soft,sofd"], "no method 'sofd'", "did you mean 'soft'?"),
        (["compare", "DATA", "--set", "length=3"], "--set length=3", "say whose setting, e.g. --set soft.length=3"),
        (["compare", "DATA", "--seeds", "0"], "0 seeds", "say --seeds 3"),
        (["compare", "sample:questons"], "there is no sample 'questons'", "did you mean sample:questions?"),
        (["evaluate", "DATA", "DATA"], "has no manifest.json", "check the path"),
        (["predict", "nowhere", "DATA"], "nowhere has no manifest.json", "check the path"),
        (["show", "."], ". has no manifest.json", "check the path"),
    ],
)
def test_errors_come_in_three_parts_and_end_with_2(
    run: Run, mood_file: Path, arguments: Sequence[str], came: str, remedy: str
) -> None:
    told = run(*[str(mood_file) if argument == "DATA" else argument for argument in arguments], status=2)
    told.err = re.sub(r"^(note: .+\n)+", "", told.err)
    parts = three_parts(told)
    assert came in parts[0]
    assert remedy in parts[2]
    assert not Path("o").exists()
    assert not Path("o.run").exists() or "nowhere" in parts[0]


def test_a_bad_file_is_told_before_the_model_is_loaded(run: Run, prompt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pegbox.artifact

    monkeypatch.setattr(pegbox.artifact, "load", lambda *_: pytest.fail("the model was loaded"))
    for command in ("predict", "evaluate"):
        assert "nowhere.csv" in three_parts(run(command, prompt, "nowhere.csv", status=2))[0]


def test_usage_errors_are_short(run: Run) -> None:
    told = run("tune", "x.csv", status=2)
    assert "Missing option '--out'" in told.err
    assert "No such option: --lenght" in run("tune", "x.csv", "--lenght", "3", status=2).err
    assert "No such command 'tun'" in run("tun", status=2).err


def test_a_folder_that_cannot_be_written_is_told(run: Run, mood_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    parts = three_parts(
        run("tune", mood_file, *QUICK, "--text", "text", "--label", "label", "--method", "zero-shot", "--out", "my", status=2)
    )
    assert parts[0].endswith("my.run: Permission denied")
    assert parts[2] == "check path, rights and free space"


# --- pipes --------------------------------------------------------------------------------------------------------------


def test_a_reader_who_has_heard_enough_is_no_error(lab: Any, prompt: Path) -> None:
    """`pegbox predict ... | head -1`"""
    with (lab.folder / "many.csv").open("w") as file:
        file.write("text\n" + "".join(f"row {n} {'fine ' * 20}\n" for n in range(2500)))  # more than a pipe holds
    os.mkfifo(lab.folder / "pipe")
    heard = []

    def head() -> None:
        with (lab.folder / "pipe").open(encoding="utf-8") as pipe:
            heard.append(pipe.readline())

    reader = threading.Thread(target=head)
    reader.start()
    process = lab.start("predict", prompt, "many.csv", "--text", "text", out=lab.folder / "pipe")
    status = process.wait()
    reader.join()
    assert heard == ["text,predicted,probability\n"]
    assert status == 1
    assert process.warned == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_only_a_terminal_without_the_right_letters_gets_others(
    mood_file: Path, prompt: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    import sys

    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(plain, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdout", plain)
    path = mood_file.with_name("new.csv")
    path.write_text("text,note\nGrüße,你好\n", encoding="utf-8")
    main(["predict", str(prompt), str(path), "--text", "text", "--fields", "note"])
    plain.flush()
    expected = "Gr\\xfc\\xdfe,\\u4f60\\u597d," if terminal else "Grüße,你好,"
    assert plain.buffer.getvalue().decode().splitlines()[1].startswith(expected)  # type: ignore[attr-defined]


# --- nothing from below -------------------------------------------------------------------------------------------------


def test_processes_of_their_own_print_nothing_but_what_is_meant(lab: Any, mood_file: Path) -> None:
    """Libraries warn once in a process, and not where a test would see it."""
    named = ("--text", "text", "--label", "label")
    for method in ("soft", "hybrid"):
        tuned = lab.run("tune", mood_file, *named, *QUICK, "--method", method, "--out", method)
        assert tuned.warned == ""
    shown = lab.run("predict", "soft", mood_file, "--text", "text")
    assert (shown.warned, len(shown.told.splitlines())) == ("", 61)
    able = [name for name, one in METHODS.items() if "classify" in one.tasks]
    every = ",".join(name for name in able if name not in ("hybrid-after", "soft-after"))
    compared = lab.run("compare", mood_file, *named, *QUICK, "--budget", "3ktokens", "--methods", every, "--json")
    assert compared.warned == f"note: {mood_file}: 12 of 60 rows are split off as test rows (stratified, seed 0) and sealed.\n"
    assert len(json.loads(compared.told)["table"]) == len(able) - 2
