"""Gradient-guided word swaps on a toy task with a tiny model."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.errors import PromptError, SettingsError
from pegbox.prompt import HardSlot, Prompt, notation, parse
from pegbox.task.calibration import Method, fit_calibration
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget
from pegbox.tune.hard_place import swapped_slots, with_hard_slot
from pegbox.tune.swap_loss import Loss
from pegbox.tune.swapping import Swapping
from pegbox.tune.swaps import State
from pegbox.tune.tokens import Tokens
from pegbox.tune.trail import Trail

START = parse(r"Sort it.\nText: {text}\nLabel:[answer]")
TASK = Classification(("p", "q"))
QUICK = Tokens(length=4, steps=8, looks=4)


@pytest.fixture(scope="module")
def backbone() -> HuggingFaceBackbone:
    return HuggingFaceBackbone(tiny())


def toy(count: int, seed: int) -> Rows:
    """Texts of the letters a and b are q, texts of x and y are p."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(2, size=count)
    texts = ["".join(rng.choice(list("ab" if kind else "xy"), size=5)) for kind in kinds]
    return Rows.from_texts(texts, ["pq"[kind] for kind in kinds])


def swap(
    backbone: HuggingFaceBackbone,
    trail: Trail,
    settings: Tokens = QUICK,
    prompt: Prompt = START,
    task: Classification = TASK,
    tokens: int = 200_000,
) -> Prompt:
    rng, budget = np.random.default_rng(0), Budget(tokens=tokens)
    return settings.tune(prompt, task, backbone, toy(160, 0), toy(80, 1), budget=budget, rng=rng, trail=trail)


def dev_loss(prompt: Prompt, task: Classification, backbone: HuggingFaceBackbone) -> float:
    """The calibrated dev loss of a finished prompt, bound anew."""
    dev = toy(80, 1)
    scores = task.bind(prompt, backbone, dev).log_probabilities()[0]
    prior = list(task.prior(toy(160, 0)))
    logs = fit_calibration("batch", scores, prior).apply(scores)
    return float(-logs[np.arange(80), task.gold(dev)].mean())


@pytest.mark.parametrize("prompt", [START, parse(r"Sort it. [hard go] Text: {text}\nLabel:[answer]")])
def test_swaps_lower_the_loss_and_leave_the_weights_alone(backbone: HuggingFaceBackbone, prompt: Prompt) -> None:
    before, trail = backbone.weights_digest(), Trail()
    found = swap(backbone, trail, prompt=prompt)
    looks = trail.of("dev")
    assert min(event["loss"] for event in looks) < looks[0]["loss"] - 0.05
    assert backbone.weights_digest() == before
    assert not found.open_slots
    assert parse(notation.format(found)) == found


def test_the_filled_prompt_scores_as_the_live_ids_did(backbone: HuggingFaceBackbone) -> None:
    trail = Trail()
    found = swap(backbone, trail)
    best = min(event["loss"] for event in trail.of("dev"))
    assert dev_loss(found, TASK, backbone) == pytest.approx(best, abs=1e-4)


def test_the_slot_goes_behind_the_text_or_first() -> None:
    assert notation.format(with_hard_slot(START, "after")) == r"Sort it.\nText: {text} [hard words]\nLabel:[answer]"
    assert notation.format(with_hard_slot(START, "first")) == r"[hard words] Sort it.\nText: {text}\nLabel:[answer]"
    chat = parse("[user] {one} and {two} [assistant] It is [answer]")
    assert notation.format(with_hard_slot(chat, "after")) == "[user] {one} and {two} [hard words] [assistant] It is [answer]"


def test_slots_of_ones_own_come_before_that() -> None:
    prompt = parse('[hard one="a"] {text} [hard two] [answer]')
    assert with_hard_slot(prompt, "after") == prompt
    assert list(swapped_slots(prompt)) == ["two"]
    assert list(swapped_slots(prompt.fill(two="b"))) == ["one", "two"]


def test_a_filled_slot_begins_with_its_own_words(backbone: HuggingFaceBackbone) -> None:
    prompt, trail = parse(r'Sort it. [hard go="by its letters"] Text: {text}\nLabel:[answer]'), Trail()
    found = swap(backbone, trail, Tokens(steps=1, looks=1), prompt)
    slot = found.slots["go"]
    assert isinstance(slot, HardSlot)
    assert slot.words is not None
    assert sum(one != other for one, other in zip(slot.words, "by its letters", strict=True)) <= 1


def test_a_prompt_without_a_slot_is_kept_when_no_words_help(
    backbone: HuggingFaceBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judged(run: object, states: Sequence[State]) -> list[tuple[float, float]]:
        """Words of any kind have a loss of 2, none of 1."""
        return [(2.0 if any(state.values()) else 1.0, 0.5) for state in states]

    monkeypatch.setattr(Swapping, "_judged", judged)
    trail = Trail()
    assert swap(backbone, trail) == START
    assert any("kept as it was written" in event["text"] for event in trail.of("note"))
    assert any("stopped early" in event["text"] for event in trail.of("note"))
    asked_for = parse(r"Sort it. [hard go] Text: {text}\nLabel:[answer]")
    assert not swap(backbone, Trail(), prompt=asked_for).open_slots


def test_a_killed_run_ends_as_an_uninterrupted_one(
    tmp_path: Path, backbone: HuggingFaceBackbone, killed_after: Callable[[Path, int], AbstractContextManager[Trail]]
) -> None:
    whole = Trail(tmp_path / "whole")
    expected = swap(backbone, whole)
    for events in (1, 5, len(whole.events) - 1):
        with killed_after(tmp_path / str(events), events) as trail:
            swap(backbone, trail)
        backbone.forget()
        again = Trail(tmp_path / str(events))
        assert swap(backbone, again) == expected
        assert [event["loss"] for event in again.of("dev")] == [event["loss"] for event in whole.of("dev")]


@pytest.mark.parametrize("tokens", [20_000, 60_000])
def test_the_budget_is_kept(backbone: HuggingFaceBackbone, tokens: int) -> None:
    backbone.forget()
    before = backbone.spent.forward + backbone.spent.backward
    swap(backbone, Trail(), Tokens(length=3, patience=50), tokens=tokens)
    spent = backbone.spent.forward + backbone.spent.backward - before
    assert 0.3 * tokens < spent < 1.1 * tokens


def test_a_small_budget_is_said(backbone: HuggingFaceBackbone) -> None:
    trail = Trail()
    swap(backbone, trail, Tokens(length=3), tokens=20_000)
    assert any("steps; expect little" in event["text"] for event in trail.of("note"))


@pytest.mark.parametrize("method", ["none", "contextual", "batch"])
def test_the_loss_is_the_calibrated_one(backbone: HuggingFaceBackbone, method: Method) -> None:
    task = Classification(("p", "q"), calibration=method)
    rows, prompt = toy(20, 3), parse(r"{text}[hard go]\nLabel:[answer]")
    prior = task.prior(rows)
    near = task.bind(prompt, backbone, Rows.from_texts(["N/A", "", "[MASK]"])) if method == "contextual" else None
    loss = Loss(task.bind(prompt, backbone, rows), near, method, torch.from_numpy(prior).float())
    state = {"go": backbone.encode("ab")}
    filled = prompt.fill(go="ab")
    scores = task.bind(filled, backbone, rows).log_probabilities()[0]
    logs = (task.calibrate(filled, backbone, rows) if method != "none" else fit_calibration("none", scores, [])).apply(scores)
    assert loss.of([state], range(20))[0] == pytest.approx(-logs[np.arange(20), task.gold(rows)], abs=1e-4)


def test_channel_scoring_is_refused(backbone: HuggingFaceBackbone) -> None:
    with pytest.raises(SettingsError, match="channel scoring with word swaps"):
        swap(backbone, Trail(), task=Classification(("p", "q"), channel=True))


def test_an_open_soft_slot_is_refused(backbone: HuggingFaceBackbone) -> None:
    with pytest.raises(PromptError, match="open soft slot 's'"):
        swap(backbone, Trail(), prompt=parse("[soft s 2] {text} [answer]"))


@pytest.mark.parametrize("wrong", [{"length": 0}, {"place": "last"}, {"rows": 1}, {"looks": 0}])
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="token settings"):
        Tokens(**wrong)  # type: ignore[arg-type]


def test_own_words_may_have_line_ends(backbone: HuggingFaceBackbone) -> None:
    prompt = parse(r'[hard go="Sort\nit."] Text: {text}\nLabel:[answer]')
    found = swap(backbone, Trail(), Tokens(steps=2, looks=1), prompt)
    slot = found.slots["go"]
    assert isinstance(slot, HardSlot)
    assert slot.words is not None
    assert sum(one != other for one, other in zip(slot.words, "Sort\nit.", strict=True)) <= 2
