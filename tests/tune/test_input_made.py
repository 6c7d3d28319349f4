"""Input-made prompts: they start as the words for every row, and come to differ from row to row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.data.rows import Rows
from pegbox.errors import PromptError, SettingsError
from pegbox.prompt import InputSlot, Prompt, format, parse
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget
from pegbox.tune.input_made import InputMade
from pegbox.tune.schedule import Schedule
from pegbox.tune.soft import Soft
from pegbox.tune.trail import Trail

Moods = Callable[[int, int], Rows]
WRITTEN = r"Sort.\nDay: {text}\nMood: [answer]"


def tuned(
    method: Any, backbone: HuggingFaceBackbone, moods: Moods, prompt: str | Prompt = WRITTEN, **task: Any
) -> tuple[Prompt, Trail]:
    trail = Trail()
    backbone.forget()
    found = method.tune(
        parse(prompt) if isinstance(prompt, str) else prompt,
        Classification(("bad", "good"), **task),
        backbone,
        moods(48, 1),
        moods(24, 2),
        budget=Budget(tokens=10**9),
        rng=np.random.default_rng(0),
        trail=trail,
    )
    return found, trail


def test_it_starts_as_the_written_prompt(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    schedule = Schedule(learning_rates=(0.1,), steps=1)
    losses = [tuned(kind(schedule=schedule), tiny_backbone, moods)[1].of("dev")[0]["loss"] for kind in (InputMade, Soft)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.parametrize("place", ["instead", "after"])
def test_it_learns_and_its_network_takes_part(place: Any, tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    method = InputMade(place=place, length=None if place == "instead" else 4, units=3)
    schedule = Schedule(learning_rates=(0.05,), steps=30)
    prompt, trail = tuned(InputMade(**{**vars(method), "schedule": schedule}), tiny_backbone, moods)
    assert trail.of("dev")[-1]["loss"] < 0.6 * trail.of("dev")[0]["loss"]
    (slot,) = prompt.slots.values()
    assert isinstance(slot, InputSlot)
    assert slot.vectors is not None
    assert slot.vectors.shape == (slot.length + 3 + 3 * slot.length, 64)
    assert np.abs(slot.vectors[slot.length + 3 :]).max() > 0.01
    if place == "instead":
        assert format(prompt) == r"[input words 10] {text}\nMood: [answer]"


def test_one_that_is_tuned_is_tuned_on(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    rng = np.random.default_rng(4)
    held = rng.normal(0, 0.2, (2 + 1 + 2, 64)).astype(np.float32)
    prompt = parse("[input s 2]{text} Mood: [answer]").fill(s=held)
    found, trail = tuned(InputMade(schedule=Schedule(learning_rates=(0.02,), steps=15)), tiny_backbone, moods, prompt)
    assert min(event["loss"] for event in trail.of("dev")) < trail.of("dev")[0]["loss"]
    slot = found.slots["s"]
    assert isinstance(slot, InputSlot)
    assert slot.vectors is not None
    assert slot.vectors.shape == held.shape  # its own network, with one unit


def test_a_noisy_channel_looks_at_the_label_word(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    schedule = Schedule(learning_rates=(0.05,), steps=2)
    _, trail = tuned(
        InputMade(schedule=schedule), tiny_backbone, moods, r"Sort days.\nDay: {text}\nMood: [answer]", channel=True
    )
    assert len(trail.of("step")) == 2


def test_settings_and_slots_are_checked(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    with pytest.raises(SettingsError, match="units=0"):
        InputMade(units=0)
    with pytest.raises(SettingsError, match="length=0"):
        InputMade(length=0)
    with pytest.raises(PromptError, match="the open soft slot 's'\n  expected: input slots"):
        tuned(InputMade(), tiny_backbone, moods, "[soft s 2]{text}[answer]")
