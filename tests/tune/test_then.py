"""One method after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.data.rows import Rows
from pegbox.errors import SettingsError
from pegbox.prompt import Prompt, Text, format, parse
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget
from pegbox.tune.few_shot import FewShot
from pegbox.tune.schedule import Schedule
from pegbox.tune.search import Search
from pegbox.tune.soft import Soft
from pegbox.tune.then import Then
from pegbox.tune.trail import Trail

PROMPT = parse(r"Sort.\nDay: {text}\nMood: [answer]")


@dataclass(frozen=True)
class Spy:
    """Writes down what it is given, and puts a word before the prompt."""

    word: str
    seen: list[Any] = field(default_factory=list)
    used: float | None = None

    def tune(self, prompt: Prompt, *given: Any, budget: Budget, rng: np.random.Generator, trail: Trail) -> Prompt:
        self.seen.append((prompt, *given, budget, rng.random()))
        trail.write("candidate", score=1.0)
        if self.used is not None:
            trail.keep("used", {"share": self.used})
        return Prompt.of(Text(self.word), *prompt)


def run(
    method: Then,
    backbone: HuggingFaceBackbone,
    moods: Callable[[int, int], Rows],
    tokens: int = 10_000,
    prompt: Prompt = PROMPT,
) -> tuple[Prompt, Trail]:
    trail = Trail()
    found = method.tune(
        prompt,
        Classification(("bad", "good")),
        backbone,
        moods(30, 1),
        moods(12, 2),
        budget=Budget(tokens=tokens),
        rng=np.random.default_rng(3),
        trail=trail,
    )
    return found, trail


def test_the_second_goes_on_from_what_the_first_found(tiny_backbone: HuggingFaceBackbone, moods: Any) -> None:
    first, second = Spy("A"), Spy("B")
    found, trail = run(Then(first, second, share=0.3), tiny_backbone, moods)
    assert format(found).startswith("BASort.")
    assert first.seen[0][0] == PROMPT
    assert second.seen[0][0] == Prompt.of(Text("A"), *PROMPT)
    assert first.seen[0][1:5] == second.seen[0][1:5]  # task, backbone and rows
    assert [spy.seen[0][5] for spy in (first, second)] == [Budget(tokens=3000), Budget(tokens=7000)]
    assert first.seen[0][6] != second.seen[0][6]  # chance of its own for each
    assert [(e["event"], e.get("name"), e.get("stage")) for e in trail.events] == [
        ("stage", "first", None),
        ("candidate", None, "first"),
        ("stage", "second", None),
        ("candidate", None, "second"),
    ]


def test_what_the_first_leaves_is_the_seconds(tiny_backbone: HuggingFaceBackbone, moods: Any) -> None:
    first, second = Spy("A", used=0.5), Spy("B")
    run(Then(first, second, share=0.4), tiny_backbone, moods)
    assert [spy.seen[0][5] for spy in (first, second)] == [Budget(tokens=4000), Budget(tokens=8000)]


def test_a_share_of_everything_or_nothing_is_an_error() -> None:
    for share in (0.0, 1.0, 1.5):
        with pytest.raises(SettingsError, match=f"a share of {share}"):
            Then(Spy("A"), Spy("B"), share=share)


def test_words_then_vectors(tiny_backbone: HuggingFaceBackbone, moods: Any) -> None:
    schedule = Schedule(learning_rates=(0.1,), most_steps=8)
    method = Then(FewShot(shots=(2,), draws=2), Soft(length=3, place="first", schedule=schedule))
    found, trail = run(method, tiny_backbone, moods, tokens=60_000)
    assert format(found).count("Mood:") == 3
    assert "[soft first 3]" in format(found)
    assert not found.open_slots
    assert {event.get("stage") for event in trail.of("candidate")} == {"first"}
    assert {event.get("stage") for event in trail.of("dev")} == {"second"}


def test_a_prompt_with_both_kinds_of_slots_gets_both_filled(tiny_backbone: HuggingFaceBackbone, moods: Any) -> None:
    schedule = Schedule(learning_rates=(0.1,), most_steps=8)
    search = Search(shortest=1, children=3, population=2, patience=2, shots=(), words=1)
    open_ = parse("[hard say] Day: {text} [soft steer 3] Mood: [answer]")
    first, second = Spy("A"), Spy("B")
    run(Then(first, second), tiny_backbone, moods, prompt=open_)
    steer = first.seen[0][0].slots["steer"]
    start = tiny_backbone.embed(
        tiny_backbone.encode("Cla")
    ).numpy()  # tokens are bytes; the start is "Classify the text as ..."
    np.testing.assert_array_equal(steer.vectors, start)
    assert first.seen[0][0].open_slots == ("say",)
    found, _ = run(Then(search, Soft(schedule=schedule)), tiny_backbone, moods, tokens=60_000, prompt=open_)
    assert found.open_slots == ()
    assert list(found.slots) == ["say", "steer"]
    assert found.slots["steer"].length == 3
