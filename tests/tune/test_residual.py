"""The residual network: it starts as nothing, and is gone afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.data.rows import Rows
from pegbox.errors import SettingsError
from pegbox.prompt import SoftSlot, parse
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget
from pegbox.tune.residual import Residual
from pegbox.tune.schedule import Schedule
from pegbox.tune.soft import Soft
from pegbox.tune.trail import Trail

Moods = Callable[[int, int], Rows]


def tuned(method: Any, backbone: HuggingFaceBackbone, moods: Moods) -> tuple[Any, Trail]:
    trail = Trail()
    backbone.forget()
    found = method.tune(
        parse(r"Sort.\nDay: {text}\nMood: [answer]"),
        Classification(("bad", "good")),
        backbone,
        moods(48, 1),
        moods(24, 2),
        budget=Budget(tokens=10**9),
        rng=np.random.default_rng(0),
        trail=trail,
    )
    return found, trail


def test_it_starts_from_the_same_words_as_plain_prompt_tuning(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    schedule = Schedule(learning_rates=(0.1,), steps=1)
    losses = [
        tuned(kind(length=4, schedule=schedule), tiny_backbone, moods)[1].of("dev")[0]["loss"] for kind in (Residual, Soft)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_it_learns_and_leaves_vectors_alone(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    schedule = Schedule(learning_rates=(0.03,), steps=30)
    prompt, trail = tuned(Residual(width=16, schedule=schedule), tiny_backbone, moods)
    assert trail.of("dev")[-1]["loss"] < 0.5 * trail.of("dev")[0]["loss"]
    assert set(prompt.slots) == {"words"}
    slot = prompt.slots["words"]
    assert isinstance(slot, SoftSlot)
    assert slot.vectors is not None
    assert slot.vectors.shape == (len(tiny_backbone.encode("Sort.\nDay:")), 64)


def test_the_network_takes_part_once_its_gate_opens(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    """The same chance and learning rate with another network end at other vectors."""
    schedule = Schedule(learning_rates=(0.03,), steps=6)
    ends = [tuned(Residual(length=4, width=width, schedule=schedule), tiny_backbone, moods)[0] for width in (16, 48)]
    assert ends[0] != ends[1]


def test_settings_are_checked() -> None:
    with pytest.raises(SettingsError, match="width=0"):
        Residual(width=0)
    with pytest.raises(SettingsError, match="length=0"):
        Residual(length=0)
    with pytest.raises(SettingsError, match="place='behind'"):
        Soft(place="behind")  # type: ignore[arg-type]
