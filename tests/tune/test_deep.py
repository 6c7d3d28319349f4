"""Deep prompts: they start as the written prompt, leave the sink alone, and learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.data.rows import Rows
from pegbox.errors import PromptError, SettingsError
from pegbox.prompt import DeepSlot, Prompt, Text, format, parse
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget
from pegbox.tune.deep import Deep
from pegbox.tune.place import deep_slot, with_soft_slots
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


def rows_of(prompt: Prompt, name: str = "prefix") -> np.ndarray[Any, np.dtype[np.float32]]:
    slot = prompt.slots[name]
    assert isinstance(slot, DeepSlot)
    assert slot.vectors is not None
    return slot.vectors


def test_it_starts_as_the_written_prompt(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    schedule = Schedule(learning_rates=(0.1,), steps=1)
    losses = [tuned(kind(schedule=schedule), tiny_backbone, moods)[1].of("dev")[0]["loss"] for kind in (Deep, Soft)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_it_learns_and_leaves_the_sink_alone(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    schedule = Schedule(learning_rates=(0.1,), steps=30)
    prompt, trail = tuned(Deep(schedule=schedule), tiny_backbone, moods)
    assert trail.of("dev")[-1]["loss"] < 0.5 * trail.of("dev")[0]["loss"]
    assert format(prompt) == r"[deep prefix 10] {text}\nMood: [answer]"
    begun = tiny_backbone.keys_values(tiny_backbone.encode("Sort.\nDay:")).numpy()
    np.testing.assert_array_equal(rows_of(prompt)[0], begun[0])
    assert np.abs(rows_of(prompt)[1:] - begun[1:]).max() > 0.1
    loose, _ = tuned(Deep(sink=False, schedule=schedule), tiny_backbone, moods)
    assert np.abs(rows_of(loose)[0] - begun[0]).max() > 0.01


def test_a_step_goes_so_far_for_each_number_as_it_is_large(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    """Adam's first step moves each learned number by the learning rate, up or down."""
    schedule = Schedule(learning_rates=(0.01,), steps=1, warmup=0.0)
    prompt, _ = tuned(Deep(schedule=schedule), tiny_backbone, moods)
    begun = tiny_backbone.keys_values(tiny_backbone.encode("Sort.\nDay:")).numpy()
    moved = np.abs(rows_of(prompt) - begun)[1:]
    size = np.sqrt((begun[1:] ** 2).mean(axis=0))
    np.testing.assert_allclose(np.median(moved / size, axis=0), 0.01, rtol=0.02)


@pytest.mark.parametrize(
    ("written", "placed"),
    [
        (WRITTEN, r"[deep prefix 10] {text}\nMood: [answer]"),
        ("{text} is [answer]", r"[deep prefix 6]\n{text} is [answer]"),
        (
            "[hard prefix] and so, dear model: {text}[answer]",
            r"[deep prefix_ 6]\n[hard prefix] and so, dear model: {text}[answer]",
        ),
        ("[system] Now sort these. [user] {text} [assistant] [answer]", None),
        ("[deep mine 3] Now sort these: {text}[answer]", "[deep mine 3] Now sort these: {text}[answer]"),
    ],
)
def test_where_it_goes(written: str, placed: str | None, tiny_backbone: HuggingFaceBackbone) -> None:
    length = None if written == WRITTEN else 6
    found = deep_slot(parse(written), "instead", length, tiny_backbone)
    assert format(found) == (placed or f"[deep prefix 6] {written}")


@pytest.mark.parametrize(
    ("written", "placed"),
    [
        (WRITTEN, r"Sort.\nDay: {text}[deep infix 6]\nMood: [answer]"),
        (r"{text}[answer]", r"{text}[deep infix 6]\n[answer]"),
        ("{text} [answer]", r"{text}[deep infix 6]\n[answer]"),
        ("[hard infix] {text} is [answer]", "[hard infix] {text}[deep infix_ 6] is [answer]"),
        (r"{text}\nThe word {word} is [answer]", r"{text}[deep infix 6]\nThe word {word} is [answer]"),
        ("[user] {text} [assistant] [answer]", "[user] {text}[deep infix 6] [assistant] [answer]"),
        ("[turns] {turns} [assistant] [answer]", r"[turns] {turns} [assistant] [deep infix 6]\n[answer]"),
        ("{text}[deep mine 3] so [answer]", "{text}[deep mine 3] so [answer]"),
        ('{text}[hard h="so"][answer]', r'{text}[deep infix 6]\n[hard h="so"][answer]'),
    ],
)
def test_where_it_goes_after_the_text(written: str, placed: str, tiny_backbone: HuggingFaceBackbone) -> None:
    assert format(deep_slot(parse(written), "after", 6, tiny_backbone)) == placed


def test_after_the_text_it_learns_from_a_text_read_once(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    schedule = Schedule(learning_rates=(0.05, 0.1), steps=30, patience=9)
    prompt, trail = tuned(Deep(place="after", schedule=schedule), tiny_backbone, moods)
    assert trail.of("dev")[-1]["loss"] < 0.5 * trail.of("dev")[0]["loss"]
    assert format(prompt) == r"Sort.\nDay: {text}[deep infix 20]\nMood: [answer]"
    tail = len(tiny_backbone.encode("\nMood: "))
    steps = [event["tokens"] for event in trail.of("step") if event["step"] in (26, 27)]
    assert steps[1] - steps[0] == 8 * 2 * tail  # forward and back; the text is not among them
    again, _ = tuned(Deep(place="after", schedule=schedule), tiny_backbone, moods)
    assert again == prompt


@pytest.mark.parametrize("written", [WRITTEN, "[user] {text} [assistant] Mood: [answer]"])
def test_after_the_text_it_is_tuned_on(written: str, tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    method = Deep(place="after", length=8, schedule=Schedule(learning_rates=(0.3,), steps=16))
    first, trail = tuned(method, tiny_backbone, moods, written)
    best = min(event["loss"] for event in trail.of("dev"))
    assert best < trail.of("dev")[0]["loss"]
    _, trail = tuned(method, tiny_backbone, moods, first)
    assert trail.of("dev")[0]["loss"] == pytest.approx(best, abs=1e-4)
    assert trail.of("dev")[-1]["loss"] != trail.of("dev")[0]["loss"]


def test_so_many_positions_as_are_asked_for(tiny_backbone: HuggingFaceBackbone) -> None:
    prompt = deep_slot(parse(WRITTEN), "instead", 14, tiny_backbone)
    expected = tiny_backbone.keys_values(tiny_backbone.encode("Sort.\nDay:Sort"))
    np.testing.assert_allclose(rows_of(prompt), expected[:14].numpy(), atol=1e-6)


def test_a_tuned_one_is_tuned_on_and_beside_a_filled_soft_slot(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    begun = tiny_backbone.keys_values(tiny_backbone.encode("Hm, so:")).numpy()
    prompt = parse("[deep d 7][soft s 2] {text} Mood: [answer]").fill(d=begun, s=np.full((2, 64), 0.1, np.float32))
    found, trail = tuned(Deep(schedule=Schedule(learning_rates=(0.1,), steps=10)), tiny_backbone, moods, prompt)
    assert trail.of("dev")[-1]["loss"] < trail.of("dev")[0]["loss"]
    assert found.slots["s"] == prompt.slots["s"]
    np.testing.assert_array_equal(rows_of(found, "d")[0], begun[0])
    assert np.abs(rows_of(found, "d")[1:] - begun[1:]).max() > 0.01


def test_a_noisy_channel_learns_it_too(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    prompt, trail = tuned(
        Deep(schedule=Schedule(learning_rates=(0.1,), steps=3)),
        tiny_backbone,
        moods,
        r"Sort these days.\nDay: {text}\nMood: [answer]",
        channel=True,
    )
    assert len(trail.of("step")) == 3
    assert Text(r"Day: ") not in prompt


def test_a_method_says_of_which_kind_its_slots_are(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    with pytest.raises(PromptError, match="the open soft slot 's'\n  expected: deep slots"):
        tuned(Deep(), tiny_backbone, moods, "[soft s 2]{text}[answer]")
    with pytest.raises(PromptError, match="the open deep slot 'd'\n  expected: soft slots"):
        tuned(Soft(), tiny_backbone, moods, "[deep d 2]{text}[answer]")


def test_soft_slots_go_behind_a_filled_deep_one(tiny_backbone: HuggingFaceBackbone) -> None:
    prompt = parse("[deep d 3]{text} Mood: [answer]").fill(d=tiny_backbone.keys_values(tiny_backbone.encode("Hm:")).numpy())
    found = with_soft_slots(prompt, "both", 2)
    assert format(found) == r"[deep d 3][soft first 2]\n{text}[soft after 2] Mood: [answer]"
    assert found.slots["d"] == prompt.slots["d"]


def test_soft_slots_leave_a_deep_one_further_on_where_it_is() -> None:
    prompt = parse(r"Text: {text}[deep d 3]\nMood: [answer]")
    assert format(with_soft_slots(prompt, "first", 2)) == r"[soft first 2]\nText: {text}[deep d 3]\nMood: [answer]"
    assert format(with_soft_slots(prompt, "after", 2)) == r"Text: {text}[deep d 3][soft after 2]\nMood: [answer]"


def test_vectors_after_a_tuned_one_are_learned(tiny_backbone: HuggingFaceBackbone, moods: Moods) -> None:
    method = Deep(place="after", length=4, schedule=Schedule(learning_rates=(0.1,), steps=10))
    first, _ = tuned(method, tiny_backbone, moods)
    second, _ = tuned(
        Soft(place="after", length=2, schedule=Schedule(learning_rates=(0.1,), steps=10)), tiny_backbone, moods, first
    )
    assert second.infix == first.infix
    with pytest.raises(PromptError, match="the slot 'words' to be learned or tried before the deep slot 'infix'"):
        tuned(Soft(schedule=Schedule(steps=2)), tiny_backbone, moods, first)


def test_settings_are_checked() -> None:
    with pytest.raises(SettingsError, match="length=1"):
        Deep(length=1)
    with pytest.raises(SettingsError, match="place='both'"):
        Deep(place="both")  # type: ignore[arg-type]
