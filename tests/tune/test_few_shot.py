"""Zero-shot and few-shot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.errors import DataError, PromptError, SettingsError
from pegbox.prompt import Prompt, notation, parse
from pegbox.task.calibration import fit_calibration
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget
from pegbox.tune.dev_score import DevScore, dev_score, score_of
from pegbox.tune.few_shot import FewShot, stratified
from pegbox.tune.trail import Trail
from pegbox.tune.zero_shot import ZeroShot

LABELS = ["good", "bad", "bad", "odd"] * 6


@pytest.fixture(scope="module")
def backbone() -> HuggingFaceBackbone:
    return HuggingFaceBackbone(tiny())


def setting(backbone: HuggingFaceBackbone, **changes: Any) -> dict[str, Any]:
    return {
        "prompt": parse(r"Sort.\nDay: {text}\nMood: [answer]"),
        "task": Classification(("bad", "good", "odd")),
        "backbone": backbone,
        "train": Rows.from_texts([f"day {n}" for n in range(24)], LABELS),
        "dev": Rows.from_texts([f"night {n}" for n in range(12)], LABELS[:12]),
        "budget": Budget(tokens=1_000_000),
        "rng": np.random.default_rng(4),
        "trail": Trail(),
        **changes,
    }


def example_words(prompt: Prompt) -> list[str]:
    return [line.removeprefix("Mood: ") for line in notation.format(prompt).split(r"\n") if line.startswith("Mood: ")][:-1]


def test_zero_shot_is_the_written_prompt(backbone: HuggingFaceBackbone) -> None:
    spent = backbone.spent.forward
    given = setting(backbone)
    assert ZeroShot().tune(**given) == given["prompt"]
    assert backbone.spent.forward == spent
    with pytest.raises(PromptError, match="the open slot 'say' in a prompt for zero-shot"):
        ZeroShot().tune(**setting(backbone, prompt=parse("[hard say] {text} [answer]")))


@pytest.mark.parametrize(("count", "expected"), [(3, {1}), (6, {2}), (7, {2, 3})])
def test_no_label_has_two_examples_more_than_another(count: int, expected: set[int]) -> None:
    gold = np.repeat([0, 1, 2], [4, 9, 30])
    for seed in range(5):
        picked = stratified(gold, count, np.random.default_rng(seed))
        assert len(set(picked)) == count
        assert set(np.bincount(gold[picked]).tolist()) == expected


def test_a_label_that_runs_out_leaves_its_places_to_others() -> None:
    picked = stratified(np.array([0, 1, 1, 1]), 9, np.random.default_rng(0))
    assert sorted(picked) == [0, 1, 2, 3]


def test_the_best_draw_is_kept(backbone: HuggingFaceBackbone) -> None:
    given = setting(backbone)
    prompt = FewShot(shots=(3, 6), draws=3).tune(**given)
    tried = given["trail"].of("candidate")
    assert len(tried) == 6
    scores = [(line["score"], line["fit"]) for line in tried]
    assert notation.format(prompt) == tried[scores.index(max(scores))]["prompt"]
    assert len({line["prompt"] for line in tried}) == 6
    for line in tried:
        assert sorted(set(example_words(parse(line["prompt"])))) == ["bad", "good", "odd"]


def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    method = FewShot(shots=(3, 6), draws=6)
    budget = Budget(tokens=1_500)
    whole = setting(HuggingFaceBackbone(tiny()), trail=Trail(tmp_path / "whole"), budget=budget)
    expected = method.tune(**whole)
    assert 2 < len(whole["trail"].of("candidate")) < 12  # the budget decides where it ends
    (tmp_path / "cut").mkdir()
    kept = (tmp_path / "whole" / "kept.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "cut" / "kept.jsonl").write_text("".join(kept[:2]) + kept[2][:10])  # killed while it wrote
    fresh = HuggingFaceBackbone(tiny())  # a new process has nothing in its cache
    cut = setting(fresh, trail=Trail(tmp_path / "cut"), budget=budget)
    assert method.tune(**cut) == expected
    assert fresh.spent.forward < whole["backbone"].spent.forward  # two draws were not scored again
    ends = [[{**line, "seconds": 0} for line in run["trail"].events] for run in (whole, cut)]
    assert ends[0] == ends[1]
    assert "the budget was spent after" in cut["trail"].of("note")[0]["text"]


def test_without_dev_rows_some_training_rows_are_held_out(backbone: HuggingFaceBackbone) -> None:
    given = setting(backbone, dev=Rows((), ()))
    prompt = FewShot(shots=(18,), draws=1).tune(**given)
    assert given["trail"].of("candidate")[0]["rows"] == 6  # a quarter of 24
    assert len(example_words(prompt)) == 18
    with pytest.raises(DataError, match="1 training rows and no dev rows"):
        FewShot().tune(**setting(backbone, train=Rows.from_texts(["x"], ["bad"]), dev=Rows((), ())))


def test_long_examples_are_cut_to_their_share(backbone: HuggingFaceBackbone) -> None:
    train = Rows.from_texts(["é" * 500, "b" * 500], ["good", "bad"])
    prompt = FewShot(shots=(2,), draws=1, room=101).tune(**setting(backbone, train=train))
    written = notation.format(prompt)
    assert written.count("b" * 50) == 1
    assert "b" * 51 not in written
    assert written.count("é") == 25  # two bytes each
    prompt = FewShot(shots=(2,), draws=1, room=99).tune(**setting(backbone, train=train))
    assert notation.format(prompt).count("é") == 24  # half of a character is none
    assert "\ufffd" not in notation.format(prompt)


def test_settings_are_checked() -> None:
    with pytest.raises(SettingsError, match="numbers of 1 or more"):
        FewShot(shots=(0,))


def test_accuracy_counts_before_fit() -> None:
    certain, right = np.log(np.array([[0.9, 0.1], [0.9, 0.1]])), np.log(np.array([[0.4, 0.6], [0.6, 0.4]]))
    gold = np.array([1, 0])
    assert score_of(certain, gold) == DevScore(0.5, pytest.approx((np.log(0.1) + np.log(0.9)) / 2))
    assert score_of(right, gold).accuracy == 1.0
    assert score_of(right, gold) > score_of(certain, gold)
    with pytest.raises(DataError, match="no rows to choose on"):
        score_of(np.zeros((0, 2)), np.zeros(0, dtype=np.int64))


def test_the_dev_score_is_calibrated_as_the_task_says(backbone: HuggingFaceBackbone) -> None:
    given = setting(backbone)
    prompt, dev = given["prompt"], given["dev"]
    prior = [0.2, 0.3, 0.5]
    scores = given["task"].bind(prompt, backbone, dev).log_probabilities()[0]
    by_hand = fit_calibration("batch", scores, prior).apply(scores)
    assert dev_score(prompt, given["task"], backbone, dev, prior) == score_of(by_hand, given["task"].gold(dev))
    told = Classification(("bad", "good", "odd"), calibration="contextual")
    fitted = told.calibrate(prompt, backbone, dev, prior)  # the training rows' shares, not those of the dev rows
    assert dev_score(prompt, told, backbone, dev, prior) == score_of(fitted.apply(scores), told.gold(dev))
    assert fitted.offsets != told.calibrate(prompt, backbone, dev).offsets
    plain = Classification(("bad", "good", "odd"), calibration="none")
    uncalibrated = dev_score(prompt, plain, backbone, dev, prior)
    assert uncalibrated.fit == pytest.approx(score_of(scores, given["task"].gold(dev)).fit, abs=1e-5)
    assert uncalibrated.fit != pytest.approx(score_of(by_hand, given["task"].gold(dev)).fit, abs=1e-2)
