"""Examples chosen for each row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.data.rows import Rows
from pegbox.errors import DataError, SettingsError
from pegbox.prompt import parse
from pegbox.recipe.comparison import extra_tokens
from pegbox.reference.lora import LoraPredictor
from pegbox.reference.nearest import NearestExamples, diverse
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget
from pegbox.tune.trail import Trail

DIRECTIONS = np.array([[1.0, 0.0], [0.98, 0.199], [0.6, 0.8], [0.0, 1.0]])


def test_mmr_takes_the_nearest_then_what_is_unlike_it() -> None:
    nearness = np.array([0.9, 0.89, 0.7, 0.08])
    # first 0 (0.45 is the most that half of the nearness comes to). Then, with half of the likeness to 0 taken off:
    # 1: 0.445 - 0.49 = -0.045; 2: 0.35 - 0.3 = 0.05; 3: 0.04 - 0 = 0.04
    assert diverse(nearness, DIRECTIONS, [0, 1, 2, 3], 2, 0.5) == [0, 2]
    assert diverse(nearness, DIRECTIONS, [0, 1, 2, 3], 3, 0.0) == [0, 1, 2]


def test_each_row_gets_its_nearest_example_last(setting: dict[str, Any]) -> None:
    found = NearestExamples(shots=(2,)).fit(**setting)
    assert found.prompt == parse(
        r"Sort.\nDay: {text of example 1}\nMood: {answer of example 1}\n\n"
        r"Day: {text of example 2}\nMood: {answer of example 2}\n\nDay: {text}\nMood: [answer]"
    )
    known = found.stock.rows.fields[7]
    fields = found._placed(known, found.stock.directions[7], -1)
    assert fields["text of example 2"] == fields["text"] == known["text"]  # no text is nearer to it than itself
    assert fields["answer of example 2"] == found.stock.words[7]
    assert known["text"] not in {
        text for name, text in found._placed(known, found.stock.directions[7], 7).items() if name != "text"
    }


def test_a_request_counts_with_its_examples(setting: dict[str, Any], backbone: HuggingFaceBackbone, test_rows: Rows) -> None:
    found = NearestExamples(shots=(2,)).fit(**setting)
    some = test_rows.take(range(5))
    _, sent = found.request(some)
    texts = [
        "Sort.\n"
        + "".join(f"Day: {row[f'text of example {n}']}\nMood: {row[f'answer of example {n}']}\n\n" for n in (1, 2))
        + f"Day: {row['text']}\nMood: "
        for row in sent
    ]
    template = np.mean([len(text) - len(row["text"]) for text, row in zip(texts, some, strict=True)])  # tokens are bytes
    assert extra_tokens(found, backbone, some) == pytest.approx(template, abs=3)  # spaces belong to texts and answers
    written = len("Sort.\nDay: " + "\nMood: ")
    adapted = LoraPredictor(setting["prompt"], setting["task"], backbone, 0)
    assert extra_tokens(adapted, backbone, some) == pytest.approx(written, abs=3)


@pytest.mark.parametrize("choose", ["nearest", "mmr"])
def test_a_rows_answer_does_not_depend_on_its_company(setting: dict[str, Any], test_rows: Rows, choose: Any) -> None:
    found = NearestExamples(choose=choose, shots=(2,)).fit(**setting)
    some = test_rows.take(range(6))
    together = found.predict_proba(some)
    alone = np.concatenate([found.predict_proba(some.take([at])) for at in range(6)])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("calibration", ["none", "contextual", "batch"])
def test_calibration_is_the_tasks(setting: dict[str, Any], calibration: Any) -> None:
    setting["task"] = Classification(("bad", "good"), calibration=calibration)
    found = NearestExamples(shots=(1, 2), dev_rows=8, calibration_rows=16).fit(**setting)
    assert found.calibration.method == calibration
    assert [line["settings"] for line in setting["trail"].of("candidate")] == ["1 examples", "2 examples"]
    if (
        calibration == "batch"
    ):  # the mean answer to the rows it was fitted on is the labels' shares, up to the last normalisation
        own = list(range(16))
        scores = found._asked(found.stock.rows.take(own), found.stock.directions[own], own)
        prior = setting["task"].prior(setting["train"])
        shifted = np.exp(scores + np.array(found.calibration.offsets)).mean(axis=0)
        np.testing.assert_allclose(shifted, prior, rtol=1e-4)


def test_repeated_texts_are_one_example(setting: dict[str, Any]) -> None:
    setting["train"] = Rows.from_texts(["fine", "fine", "dull", "dull"], ["good", "good", "bad", "bad"])
    found = NearestExamples(shots=(4,)).fit(**setting)
    assert sorted(row["text"] for row in found.stock.rows.fields) == ["dull", "fine"]
    assert found.prompt.field_names == ("text of example 1", "answer of example 1", "text")  # a row is no example of its own
    assert found.nbytes == 4 + 4 + 4 + 3 + 4 * 3 * 64  # texts, answers, two directions and a mean of 64 numbers


def test_a_small_budget_is_kept_and_said(setting: dict[str, Any]) -> None:
    setting["budget"] = Budget(tokens=6_000)
    NearestExamples(shots=(1, 8), dev_rows=30).fit(**setting)
    notes = [line["text"] for line in setting["trail"].of("note")]
    assert notes == ["the budget was spent before 8 examples were tried"]


def test_an_interrupted_run_reads_its_scores_from_the_trail(setting: dict[str, Any], tmp_path: Path) -> None:
    method = NearestExamples(shots=(1, 2), dev_rows=8)
    first = method.fit(**{**setting, "trail": Trail(tmp_path), "rng": np.random.default_rng(5)})
    lines = (tmp_path / "kept.jsonl").read_text().splitlines()
    again = Trail(tmp_path)
    second = method.fit(**{**setting, "trail": again, "rng": np.random.default_rng(5)})
    assert (tmp_path / "kept.jsonl").read_text().splitlines() == lines
    assert second.shots == first.shots
    assert second.calibration == first.calibration


def test_messages(setting: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="examples chosen by 'chance'"):
        NearestExamples(choose="chance")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="a diversity of 2"):
        NearestExamples(diversity=2)
    with pytest.raises(SettingsError, match="numbers of 1 or more"):
        NearestExamples(shots=())
    setting["train"] = Rows.from_texts(["same", "same"], ["good", "bad"])
    with pytest.raises(DataError, match="1 different texts to take examples from"):
        NearestExamples().fit(**setting)
