"""One method on one split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.errors import BackboneError, SettingsError
from pegbox.prompt import Prompt, format, parse
from pegbox.recipe import methods
from pegbox.recipe.methods import Method
from pegbox.recipe.record import record_of
from pegbox.recipe.run import Job, default_prompt, run
from pegbox.recipe.settings import settings_of
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget
from pegbox.tune.trail import Trail

Moods = Callable[[int, int], Rows]
TASK = Classification(("bad", "good"))

QUICK = {"length": 3, "place": "after"}


def job(method: str, **changes: Any) -> Job:
    return Job(method, default_prompt(TASK), TASK, Budget(tokens=9_000), **changes)


def test_the_default_prompt_names_the_label_words() -> None:
    words = Classification(("a", "b", "c"), {"a": ("abbreviation",), "b": ("big [x]",), "c": ("c", "d")})
    assert format(default_prompt(words)) == (
        r"Classify the text as abbreviation, big \[x\] or c.\nText: {text}\nLabel: [answer]"
    )
    assert format(default_prompt(words, "Sort it.", "Line", "Kind")) == r"Sort it.\nLine: {text}\nKind: [answer]"


def test_a_job_that_cannot_be_done_is_told_before_it_is_begun() -> None:
    with pytest.raises(SettingsError, match="no method 'sotf'"):
        job("sotf")
    with pytest.raises(SettingsError, match="no setting 'lenght'"):
        job("soft", settings={"lenght": 3})
    with pytest.raises(SettingsError, match="seed -1"):
        job("soft", seed=-1)


def test_a_run_says_what_it_cost_and_noticed(moods: Moods) -> None:
    backbone = HuggingFaceBackbone(tiny())
    before = backbone.spent.forward
    outcome = run(job("soft", settings={"length": 3, "place": "after"}), backbone, moods(40, 1), moods(20, 2), Trail())
    assert 0 < outcome.spending.forward <= backbone.spent.forward - before
    assert outcome.spending.backward > 0
    assert outcome.spending.seconds > 0
    assert outcome.notes == tuple(dict.fromkeys(e["text"] for e in outcome.trail if e["event"] == "note"))
    right = outcome.predictor.predict_proba(moods(20, 2)).argmax(1) == TASK.gold(moods(20, 2))
    assert outcome.dev_accuracy == right.mean()
    assert {name: len(words) for name, words in outcome.nearest.items()} == {"after": 3}


def test_the_same_job_twice_is_the_same_and_other_seeds_are_others(moods: Moods) -> None:
    backbone = HuggingFaceBackbone(tiny())
    given = backbone, moods(40, 1), moods(20, 2)
    first, again, other = (run(job("soft", seed=seed, settings=QUICK), *given, Trail()).predictor.prompt for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_calibration_is_fitted_on_training_rows(moods: Moods) -> None:
    backbone = HuggingFaceBackbone(tiny())
    train, dev = moods(40, 1), moods(20, 2)
    outcome = run(job("zero-shot"), backbone, train, dev, Trail())
    predictor: Any = outcome.predictor
    assert predictor.calibration == TASK.calibrate(default_prompt(TASK), backbone, train)
    assert outcome.nearest == {}


@dataclass(frozen=True)
class Meddler:
    """Changes a weight of the frozen model."""

    def tune(self, prompt: Prompt, task: Any, backbone: Any, train: Any, dev: Any, **_: Any) -> Prompt:
        backbone.loaded.model.model.norm.weight.data += 0.1
        return prompt


def test_a_method_that_moves_the_frozen_weights_is_found_out(moods: Moods, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(methods.METHODS, "meddler", Method("meddler", "soft", "meddles", Meddler))
    with pytest.raises(BackboneError, match="meddler changed the frozen model's weights"):
        run(job("meddler"), HuggingFaceBackbone(tiny()), moods(20, 1), moods(10, 2), Trail())


def test_an_interrupted_run_counts_what_both_tries_cost(moods: Moods, tmp_path: Path) -> None:
    rows = moods(40, 1), moods(20, 2)
    whole = run(job("soft", settings={"length": 3, "place": "after"}), HuggingFaceBackbone(tiny()), *rows, Trail())
    backbone = HuggingFaceBackbone(tiny())

    def stop(event: Any) -> None:
        if event["event"] == "step" and event["step"] == 3:
            raise KeyboardInterrupt

    spent = [backbone.spent.forward]
    with pytest.raises(KeyboardInterrupt):
        run(job("soft", settings={"length": 3, "place": "after"}), backbone, *rows, Trail(tmp_path, stop))
    spent.append(backbone.spent.forward)
    again = run(job("soft", settings={"length": 3, "place": "after"}), backbone, *rows, Trail(tmp_path))
    assert again.predictor.prompt == whole.predictor.prompt
    assert again.notes == whole.notes
    np.testing.assert_array_equal(again.predictor.predict_proba(rows[1]), whole.predictor.predict_proba(rows[1]))
    assert again.spending.forward > spent[1] - spent[0]
    assert again.spending.forward >= whole.spending.forward
    assert again.spending.seconds > 0


def test_a_second_try_keeps_as_much_as_the_first_one_had_room_for(
    moods: Moods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = moods(40, 1), moods(20, 2)
    whole = run(job("soft", settings={"length": 3, "place": "after"}), HuggingFaceBackbone(tiny()), *rows, Trail())

    def stop(event: Any) -> None:
        if event["event"] == "step" and event["step"] == 6:
            raise KeyboardInterrupt

    first = HuggingFaceBackbone(tiny())
    with pytest.raises(KeyboardInterrupt):
        run(job("soft", settings={"length": 3, "place": "after"}), first, *rows, Trail(tmp_path, stop))
    monkeypatch.setenv("PEGBOX_CACHE_BYTES", "60000")  # less memory is free now
    second = HuggingFaceBackbone(tiny())
    assert second.store.budget == 60_000
    again = run(job("soft", settings={"length": 3, "place": "after"}), second, *rows, Trail(tmp_path))
    assert second.store.budget == first.store.budget
    assert again.predictor.prompt == whole.predictor.prompt
    assert again.spending.forward < 3 * whole.spending.forward


def test_the_record_says_where_a_prompt_came_from(moods: Moods) -> None:
    backbone = HuggingFaceBackbone(tiny())
    train, dev = moods(40, 1), replace(moods(20, 2), source="dev.csv")
    made = job("soft", seed=4, settings={"length": "3"})
    outcome = run(made, backbone, train, dev, Trail())
    record = record_of(made, outcome, backbone, train, dev)
    assert (record["method"], record["seed"], record["budget"]) == ("soft", 4, "9000tokens")
    assert record["settings"]["length"] == 3
    assert set(record["settings"]) == {key for key, _ in settings_of(made.made())}
    assert parse(record["start"]) == default_prompt(TASK)
    assert record["data"]["train_digest"] == train.digest()
    assert (record["data"]["train_rows"], record["data"]["dev_rows"]) == (40, 20)
    assert record["scores"] == {"dev_accuracy": outcome.dev_accuracy}
    assert record["cost"]["tokens_backward"] == outcome.spending.backward
    assert {"pegbox", "python", "torch", "transformers"} <= set(record["versions"])
