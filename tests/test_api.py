"""The Python verbs, as the README has them: read, tune, predict, save, load, evaluate, compare."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pegbox
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Data, Rows, Sealed
from pegbox.errors import ArtifactError, DataError, PromptError, RunError, SettingsError
from pegbox.prompt import format, parse

Moods = Callable[[int, int], Rows]
SOFT: dict[str, Any] = {"method": "soft", "budget": "6ktokens", "settings": {"length": 2, "place": "after"}}


@pytest.fixture
def data(mood_file: Path) -> Data:
    found = pegbox.read(str(mood_file), text="text", label="label")
    assert isinstance(found, Data)
    return found


def test_the_readmes_snippet(data: Data, tmp_path: Path) -> None:
    tuned = pegbox.tune(data.train, **SOFT, model="tiny")
    predicted = tuned.predict(["Crust is not good."])
    assert predicted[0] in ("bad", "good")
    probabilities = tuned.predict_proba(["Crust is not good.", "Wow... Loved this place."])
    assert probabilities.shape == (2, 2)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    tuned.save(tmp_path / "my-prompt")
    again = pegbox.load(tmp_path / "my-prompt")
    np.testing.assert_array_equal(again.predict_proba(data.train), tuned.predict_proba(data.train))
    assert again.predict(["Crust is not good."]) == predicted
    with pytest.raises(ArtifactError, match="was tuned on tiny"):
        pegbox.load(tmp_path / "my-prompt", model=HuggingFaceBackbone(tiny(seed=3)))

    report = pegbox.compare(
        data, methods=["majority", "zero-shot", "soft"], model="tiny", budget="6ktokens", settings={"soft": {"length": 2}}
    )
    assert report.best in ("majority", "zero-shot", "soft")
    assert report.to_html(tmp_path / "report.html").read_text(encoding="utf-8").lstrip().startswith("<!doctype html>")
    assert {line["method"] for line in report.table()} == {"majority", "zero-shot", "soft"}


def test_the_estimators_room_is_there_without_an_import_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pegbox.sklearn", raising=False)
    monkeypatch.delattr(pegbox, "sklearn", raising=False)
    assert pegbox.sklearn.PromptClassifier.__name__ == "PromptClassifier"
    assert "sklearn" in dir(pegbox)


# --- data of every kind -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def expected(moods: Moods, tiny_backbone: HuggingFaceBackbone) -> Any:
    return pegbox.tune(moods(30, 1), **SOFT, model=tiny_backbone).prompt


@pytest.mark.parametrize("kind", ["pairs", "columns", "dicts", "frame", "dataset", "file", "parquet", "data"])
def test_training_rows_come_in_any_form(
    kind: str, moods: Moods, tiny_backbone: HuggingFaceBackbone, expected: Any, tmp_path: Path
) -> None:
    import pandas as pd

    rows = moods(30, 1)
    texts, labels = rows.column(), list(rows.answers())
    given: Any
    if kind == "pairs":
        given = list(zip(texts, labels, strict=True))
    elif kind == "columns":
        given = (texts, labels)
    elif kind == "dicts":
        given = [{"label": label, "text": text} for text, label in zip(texts, labels, strict=True)]
    elif kind == "frame":
        given = pd.DataFrame({"mood": labels, "text": texts})
    elif kind == "dataset":
        datasets = pytest.importorskip("datasets")
        features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["good", "bad"])})
        given = datasets.Dataset.from_dict({"text": texts, "label": labels}, features=features)
    elif kind in ("file", "parquet"):
        given = tmp_path / f"rows.{'csv' if kind == 'file' else kind}"
        frame = pd.DataFrame({"text": texts, "label": labels})
        frame.to_csv(given, index=False) if kind == "file" else frame.to_parquet(given)
    else:
        given = Data(rows, Sealed(moods(9, 3)))
    tuned = pegbox.tune(given, **SOFT, model=tiny_backbone)
    assert tuned.prompt == expected


def test_what_was_guessed_is_in_the_record(moods: Moods, tiny_backbone: HuggingFaceBackbone) -> None:
    import pandas as pd

    rows = moods(30, 1)
    frame = pd.DataFrame({"review": rows.column(), "mood": list(rows.answers())})
    tuned = pegbox.tune(frame, method="zero-shot", model=tiny_backbone, budget="1ktokens")
    assert "'review' as the text" in tuned.record["notes"][0]
    assert "'mood' as the label" in tuned.record["notes"][0]


def test_unlabelled_rows_cannot_be_learned_from(tiny_backbone: HuggingFaceBackbone) -> None:
    with pytest.raises(DataError, match="has no labels"):
        pegbox.tune(["a", "b"], **SOFT, model=tiny_backbone)


# --- settings -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"method": "hybird"}, SettingsError, "did you mean 'hybrid'"),
        ({"method": "tfidf"}, SettingsError, "a method that makes a prompt"),
        ({"settings": {"lenght": 3}}, SettingsError, "did you mean 'length'"),
        ({"settings": {"length": "long"}}, SettingsError, "a whole number"),
        ({"budget": "5 minutes"}, SettingsError, "a budget of '5 minutes'"),
        ({"seed": -1}, SettingsError, "seed -1"),
        ({"calibration": "yes"}, SettingsError, "one of none, contextual, batch"),
        ({"prompt": "{text} [anser]"}, PromptError, "before 'anser"),
        ({"prompt": "Good or bad? [answer]"}, PromptError, "a prompt that reads no text"),
        ({"words": {"god": "x"}}, SettingsError, "words for 'god'"),
        ({"shots": 99}, DataError, "99 shots were asked for"),
        ({"dev": [("x", "odd"), ("y", "bad")]}, DataError, "the first is 'odd', known are 'bad', 'good'"),
    ],
)
def test_what_cannot_be_done_is_told_before_the_model_is_opened(
    changes: dict[str, Any], error: type[Exception], message: str, moods: Moods
) -> None:
    with pytest.raises(error, match=message):
        pegbox.tune(moods(30, 1), **{**SOFT, **changes}, model="./no such model")


def test_words_prompt_seed_and_shots_are_heeded(moods: Moods, tiny_backbone: HuggingFaceBackbone) -> None:
    tuned = pegbox.tune(
        moods(60, 1),
        method="zero-shot",
        model=tiny_backbone,
        prompt="So: {text} [answer]",
        words={"bad": "awful", "good": ["lovely", "sweet"]},
        seed=5,
        shots=6,
        calibration="none",
        budget="1ktokens",
    )
    assert format(tuned.prompt) == "So: {text} [answer]"
    assert tuned.predictor.task.words == {"bad": ("awful",), "good": ("lovely", "sweet")}
    assert tuned.predictor.calibration.method == "none"
    assert tuned.record["data"]["train_rows"] + tuned.record["data"]["dev_rows"] == 12
    assert tuned.record["seed"] == 5
    other = parse("[soft mine 2] {text} [answer]")
    assert pegbox.tune(moods(30, 1), **SOFT, model=tiny_backbone, prompt=other).prompt.slots.keys() == {"mine"}


def test_further_columns_are_read_where_the_prompt_names_them(moods: Moods, tiny_backbone: HuggingFaceBackbone) -> None:
    import pandas as pd

    rows = moods(30, 1)
    frame = pd.DataFrame({"text": rows.column(), "label": list(rows.answers()), "place": "here", "stars": range(30)})
    quick: dict[str, Any] = {"method": "zero-shot", "model": tiny_backbone, "budget": "1ktokens"}
    tuned = pegbox.tune(frame, **quick, prompt="{place}, {stars}: {text} [answer]")
    assert len(tuned.predict(frame)) == 30
    assert pegbox.evaluate(tuned, frame).rows == 30
    with pytest.raises(DataError, match="has no field 'place'"):
        pegbox.tune(rows, **quick, prompt="{place}: {text} [answer]")
    with pytest.raises(DataError, match="has no column 'place'"):
        tuned.predict(frame[["text", "stars"]])
    with pytest.raises(PromptError, match=r"no field .place."):
        tuned.predict(["a text alone"])


def test_dev_rows_of_ones_own_are_chosen_on(moods: Moods, tiny_backbone: HuggingFaceBackbone) -> None:
    dev = moods(11, 7)
    pairs = list(zip(dev.column(), dev.answers(), strict=True))
    tuned = pegbox.tune(moods(30, 1), **SOFT, model=tiny_backbone, dev=pairs)
    assert (tuned.record["data"]["train_rows"], tuned.record["data"]["dev_rows"]) == (30, 11)
    within = pegbox.tune(Data(moods(30, 1), None, dev), **SOFT, model=tiny_backbone)
    assert within.prompt == tuned.prompt


@pytest.mark.parametrize("kind", ["rows", "pairs", "data"])
def test_rows_to_learn_from_are_none_to_choose_on(moods: Moods, kind: str) -> None:
    rows = moods(30, 1)
    pairs = list(zip(rows.column(), rows.answers(), strict=True))
    given: Any = {"rows": rows, "pairs": pairs, "data": Data(rows)}[kind]
    with pytest.raises(DataError, match="the first is row 5 of"):
        pegbox.tune(given, **SOFT, dev=rows.take(range(4, 30)), model="./no such model")


def test_repeats_and_contradictions_are_in_the_record(tiny_backbone: HuggingFaceBackbone) -> None:
    pairs = [(f"{word} {n}", word) for n in range(9) for word in ("bad", "good")]
    pairs += [("bad 0", "bad"), ("bad 0", "good")]
    notes = pegbox.tune(pairs, method="zero-shot", model=tiny_backbone, budget="1ktokens").record["notes"]
    assert any("1 row repeats the text and label of an earlier row (row 19)" in note for note in notes)
    assert any("1 text with more than one label" in note for note in notes)


def test_a_model_may_be_opened_once_and_used_often(moods: Moods, tiny_backbone: HuggingFaceBackbone) -> None:
    one, other = (pegbox.tune(moods(30, 1), **SOFT, model=tiny_backbone) for _ in range(2))
    assert one.prompt == other.prompt
    assert one.backbone is tiny_backbone


# --- a folder for the run -----------------------------------------------------------------------------------------------


def test_a_run_goes_on_in_its_folder(moods: Moods, tmp_path: Path, expected: Any) -> None:
    def stop(event: Any) -> None:
        if event["event"] == "step" and event["step"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pegbox.tune(moods(30, 1), **SOFT, model="tiny", folder=tmp_path / "run", watch=stop)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["method"] == "soft"
    again = pegbox.tune(moods(30, 1), **SOFT, model="tiny", folder=tmp_path / "run")
    assert again.prompt == expected
    once_more = pegbox.tune(moods(30, 1), **SOFT, model="tiny", folder=tmp_path / "run")
    assert once_more.prompt == expected


@pytest.mark.parametrize("what", ["seed", "length", "data", "prompt"])
def test_a_folder_of_another_run_is_refused(
    what: str, moods: Moods, tmp_path: Path, tiny_backbone: HuggingFaceBackbone
) -> None:
    start = parse("[soft mine 1] {text} [answer]")
    prompts = [start.fill(mine=np.full((1, 64), value, np.float32)) for value in (0.1, 0.2)]
    given: dict[str, Any] = {**SOFT, "method": "zero-shot", "settings": {}, "model": tiny_backbone, "prompt": prompts[0]}
    pegbox.tune(moods(30, 1), **given, folder=tmp_path / "run")
    changed = {
        "seed": {"seed": 1},
        "length": {"method": "soft", "settings": {"length": 3}},
        "data": {},
        "prompt": {"prompt": prompts[1]},  # another vector in the same notation
    }[what]
    rows = moods(31, 1) if what == "data" else moods(30, 1)
    with pytest.raises(RunError) as raised:
        pegbox.tune(rows, **{**given, **changed}, folder=tmp_path / "run")
    assert raised.value.came == f"{tmp_path / 'run'} holds a run with other settings or data"
    assert raised.value.remedy == "delete the folder, or choose another"


def test_a_folder_of_something_else_is_refused(moods: Moods, tmp_path: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    (tmp_path / "photo.jpg").write_text("x")
    with pytest.raises(RunError, match="is there already and is no run"):
        pegbox.tune(moods(30, 1), **SOFT, model=tiny_backbone, folder=tmp_path)
    with pytest.raises(RunError, match="is there already and is no run"):
        pegbox.tune(moods(30, 1), **SOFT, model=tiny_backbone, folder=tmp_path / "photo.jpg")


def test_a_kill_while_a_folder_was_being_taken_does_no_harm(moods: Moods, tmp_path: Path, expected: Any) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.tmp").write_text('{"dig')
    assert pegbox.tune(moods(30, 1), **SOFT, model="tiny", folder=tmp_path / "run").prompt == expected


# --- evaluate -----------------------------------------------------------------------------------------------------------


def test_scores_by_hand_and_openings_counted(data: Data, tiny_backbone: HuggingFaceBackbone, tmp_path: Path) -> None:
    tuned = pegbox.tune(data.train, **SOFT, model=tiny_backbone)
    assert data.test is not None
    found = pegbox.evaluate(tuned, data)
    assert data.test.openings[-1].reason == "evaluate"
    rows = data.test.open("by hand")
    right = [a == b for a, b in zip(tuned.predict(rows), rows.answers(), strict=True)]
    assert found.scores.accuracy == pytest.approx(sum(right) / len(right))
    low, high = found.intervals["accuracy"]
    assert low <= found.scores.accuracy <= high
    assert (found.opening, found.rows, found.notes) == (1, len(rows), ())

    again = pegbox.evaluate(tuned, rows)
    assert again.opening == 2
    assert again.notes == ("these rows have now been opened 2 times with this prompt; choose nothing by their scores",)
    loaded = pegbox.load(tuned.save(tmp_path / "prompt"), tiny_backbone)
    assert [e["opening"] for e in loaded.evaluations] == [1, 2]
    assert pegbox.evaluate(loaded, data.test).opening == 3


def test_a_path_is_a_file_of_rows(data: Data, mood_file: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    tuned = pegbox.tune(data.train, method="zero-shot", model=tiny_backbone, budget="1ktokens")
    found = pegbox.evaluate(tuned, mood_file, text="text", label="label")
    assert found.rows == 60
    known = set(data.train.column())
    seen = [number for number, text in enumerate(pegbox.read(mood_file, test_size=0).train.column(), start=1) if text in known]
    listed = f"rows {', '.join(map(str, seen[:5]))} and {len(seen) - 5} more"
    assert f"{len(seen)} of these rows were there in tuning ({listed}): the scores flatter the prompt" in found.notes


def test_rows_to_score_are_looked_over(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    import pandas as pd

    train = pd.DataFrame({"text": moods(30, 1).column(), "label": list(moods(30, 1).answers()), "place": "here"})
    rows = pegbox.read(train, fields=["place"], test_size=0).train
    tuned = pegbox.tune(rows, method="zero-shot", model=tiny_backbone, budget="1ktokens")  # its prompt reads no place
    pairs = [("new", "good"), ("odd", "bad"), ("new", "good"), ("odd", "good"), (rows.column()[7], "good")]
    assert pegbox.evaluate(tuned, pairs).notes == (
        "the list: 1 row repeats the text and label of an earlier row (row 3); kept.",
        "the list: 1 text with more than one label (rows 2, 4); kept, as nobody here knows which is right.",
        "the list: 1 label seen only once: 'bad' (row 2); too few to learn and to test.",
        "1 of these rows was there in tuning (row 5): the scores flatter the prompt",
    )


def test_texts_that_are_cut_are_said(tiny_backbone: HuggingFaceBackbone, data: Data) -> None:
    tuned = pegbox.tune(data.train, method="zero-shot", model=tiny_backbone, budget="1ktokens")
    found = pegbox.evaluate(tuned, [("x" * 3000, "bad"), ("fine", "good")])
    assert "1 of 2 texts were cut to the model's context" in found.notes


def test_what_cannot_be_scored_is_told(data: Data, tiny_backbone: HuggingFaceBackbone) -> None:
    tuned = pegbox.tune(data.train, method="zero-shot", model=tiny_backbone, budget="1ktokens")
    with pytest.raises(DataError, match="data without test rows"):
        pegbox.evaluate(tuned, replace(data, test=None))
    with pytest.raises(DataError, match="row 2 has the label 'odd'"):
        pegbox.evaluate(tuned, [("a", "bad"), ("b", "odd")])
    assert tuned.evaluations == []


# --- compare ------------------------------------------------------------------------------------------------------------


def test_compare_reads_files_itself(mood_file: Path, tiny_backbone: HuggingFaceBackbone, tmp_path: Path) -> None:
    told: list[Any] = []
    report = pegbox.compare(
        mood_file,
        text="text",
        label="label",
        methods=["majority", "zero-shot"],
        model=tiny_backbone,
        budget="1ktokens",
        folder=tmp_path / "run",
        watch=lambda *event: told.append(event),
    )
    assert report.comparison.settings["test_rows"] == 12
    assert [event for *_, event in told if event["event"] == "end"]
    assert len(list((tmp_path / "run" / "cells").iterdir())) == 2


def test_compare_needs_test_rows(data: Data, tiny_backbone: HuggingFaceBackbone) -> None:
    with pytest.raises(DataError, match="data without test rows"):
        pegbox.compare(replace(data, test=None), model=tiny_backbone)


def test_compare_tells_impossible_settings_before_the_model_is_opened(data: Data) -> None:
    with pytest.raises(SettingsError, match="did you mean 'soft'"):
        pegbox.compare(data, methods=["sofft"], model="./no such model")
    with pytest.raises(SettingsError, match="settings for 'hybrid'"):
        pegbox.compare(data, methods=["soft"], settings={"hybrid": {"share": 0.5}}, model="./no such model")
    with pytest.raises(SettingsError, match="a budget of '5min'"):
        pegbox.compare(data, budget="5min", model="./no such model")
