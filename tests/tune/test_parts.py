"""Long batches in parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.data.rows import Rows
from pegbox.prompt import SoftSlot, parse
from pegbox.task.classification import BoundClassification, Classification
from pegbox.tune import parts as parts_module
from pegbox.tune.budget import Budget
from pegbox.tune.parts import live_lengths, parts
from pegbox.tune.schedule import Schedule
from pegbox.tune.soft import Soft
from pegbox.tune.trail import Trail


def test_rows_of_near_length_stand_together_and_none_is_lost() -> None:
    assert parts([0, 1, 2, 3], [600, 5, 1500, 700]) == [[1, 0], [3], [2]]  # 2 x 600 fit into 2048, 3 x 700 do not
    assert parts([0], [9000]) == [[0]]
    assert parts([2, 0], [600, 5, 600], variants=2) == [[2], [0]]


def test_only_what_stands_behind_a_live_slot_counts(tiny_backbone: HuggingFaceBackbone) -> None:
    rows = Rows.from_texts(["ab", "abcdef"])
    filled = {"s": np.zeros((3, 64), dtype=np.float32)}
    short, long = live_lengths(parse("Say [soft s 3] {text} It is [answer]").fill(**filled), tiny_backbone, rows)
    assert long - short == len("abcdef") - len("ab")
    assert live_lengths(parse("Say {text} [soft s 3] It is [answer]").fill(**filled), tiny_backbone, rows) == [1, 1]


@pytest.mark.parametrize("written", [r"Sort.\nDay: {text}\nMood: [answer]", r"[soft s 4]\nDay: {text}\nMood: [answer]"])
def test_a_step_in_parts_is_the_same_step(
    tiny_backbone: HuggingFaceBackbone, moods: Callable[[int, int], Rows], written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    whole = BoundClassification.losses

    def counted(self: BoundClassification, index: Sequence[int], live: Any = None) -> Any:
        taken.append(len(index))
        return whole(self, index, live)

    monkeypatch.setattr(BoundClassification, "losses", counted)
    found = []
    for most in (parts_module.PASS, 200):
        monkeypatch.setattr(parts_module, "PASS", most)
        taken.clear()
        prompt = Soft(schedule=Schedule(learning_rates=(0.03,), steps=3, batch=8)).tune(
            parse(written),
            Classification(("bad", "good")),
            tiny_backbone,
            moods(24, 1),
            moods(12, 2),
            budget=Budget(tokens=10**8),
            rng=np.random.default_rng(0),
            trail=Trail(),
        )
        slot = next(iter(prompt.slots.values()))
        assert isinstance(slot, SoftSlot)
        found.append((slot.vectors, list(taken)))
    assert set(found[0][1]) == {8}
    assert max(found[1][1]) < 8
    np.testing.assert_allclose(found[1][0], found[0][0], atol=1e-4)
