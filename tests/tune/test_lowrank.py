"""Low rank: it starts at the words, moves in few directions only, and learns."""

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
from pegbox.tune.lowrank import LowRank
from pegbox.tune.schedule import Schedule
from pegbox.tune.soft import Soft
from pegbox.tune.trail import Trail

Moods = Callable[[int, int], Rows]


def tuned(method: Any, backbone: HuggingFaceBackbone, moods: Moods, prompt: str = r"Sort.\nDay: {text}\nMood: [answer]") -> Any:
    trail = Trail()
    backbone.forget()
    task = Classification(("bad", "good"))
    spend = {"budget": Budget(tokens=10**9), "rng": np.random.default_rng(0), "trail": trail}
    return method.tune(parse(prompt), task, backbone, moods(48, 1), moods(24, 2), **spend), trail


def moved(prompt: Any, words: str, backbone: HuggingFaceBackbone) -> np.ndarray[Any, np.dtype[np.float32]]:
    slot = prompt.slots["words"]
    assert isinstance(slot, SoftSlot)
    assert slot.vectors is not None
    return slot.vectors - backbone.embed(backbone.encode(words)).numpy()


def test_it_starts_from_the_same_words_as_plain_prompt_tuning(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    schedule = Schedule(learning_rates=(0.1,), steps=1)
    losses = [
        tuned(kind(length=4, schedule=schedule), tiny_backbone, moods)[1].of("dev")[0]["loss"] for kind in (LowRank, Soft)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_it_learns_and_what_it_learned_is_of_the_rank(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    """The shift adds one direction to those of the projection; the words' embeddings have all of them."""
    prompt, trail = tuned(LowRank(rank=7, schedule=Schedule(learning_rates=(0.1,), steps=40)), tiny_backbone, moods)
    assert trail.of("dev")[-1]["loss"] < 0.5 * trail.of("dev")[0]["loss"]
    sizes = np.linalg.svd(moved(prompt, "Sort.\nDay:", tiny_backbone), compute_uv=False)
    assert sizes[7] > 1e-3 * sizes[0]
    assert sizes[8] < 1e-5 * sizes[0]
    full, _ = tuned(Soft(schedule=Schedule(learning_rates=(0.1,), steps=5)), tiny_backbone, moods)
    assert np.linalg.svd(moved(full, "Sort.\nDay:", tiny_backbone), compute_uv=False)[8] > 1e-3


def test_a_step_in_few_numbers_goes_about_as_far_as_a_step_in_all(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    """So one range of learning rates serves both. Adam's first step moves each learned number by the learning rate."""
    schedule = Schedule(learning_rates=(0.01,), steps=1, warmup=0.0)
    sizes = []
    for method in (LowRank(rank=16, schedule=schedule), Soft(schedule=schedule)):
        prompt, _ = tuned(method, tiny_backbone, moods)
        sizes.append(float(np.sqrt((moved(prompt, "Sort.\nDay:", tiny_backbone) ** 2).mean())))
    assert sizes[0] == pytest.approx(2**0.5 * sizes[1], rel=0.3)  # the projection's part and the shift's, at right angles


def test_further_starts_lie_apart(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    schedule = Schedule(learning_rates=(0.1,), starts=2, steps=1)
    _, trail = tuned(LowRank(rank=4, schedule=schedule), tiny_backbone, moods)
    first, second = trail.of("dev")[:2]
    assert first["loss"] != second["loss"]


def test_settings_are_checked() -> None:
    with pytest.raises(SettingsError, match="rank=0"):
        LowRank(rank=0)
    with pytest.raises(SettingsError, match="length=0"):
        LowRank(length=0)
