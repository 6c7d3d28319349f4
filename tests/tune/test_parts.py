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
from pegbox.tune.parts import Lengths, live_lengths, parts
from pegbox.tune.schedule import Schedule
from pegbox.tune.soft import Soft
from pegbox.tune.trail import Trail


def test_rows_of_near_length_stand_together_and_none_is_lost() -> None:
    assert parts([0, 1, 2, 3], Lengths([600, 5, 1500, 700])) == [[1, 0], [3], [2]]  # 2 x 600 fit into 2048, 3 x 700 do not
    assert parts([0], Lengths([9000])) == [[0]]
    assert parts([2, 0], Lengths([600, 5, 600]), variants=2) == [[2], [0]]


def test_what_rows_have_in_common_counts_once_in_a_part() -> None:
    assert parts(range(4), Lengths([100] * 4, common=1600)) == [[0, 1, 2, 3]]
    assert parts(range(4), Lengths([100] * 4, common=1700)) == [[0, 1, 2], [3]]


@pytest.mark.parametrize(
    ("written", "own", "common"),
    [
        ("Say [soft s 3] now {text} It is [answer]", len(" It is "), 3 + len(" now ")),
        ("Say {text} [soft s 3] It is [answer]", 3 + len(" It is "), 0),
        ("{text} [soft s 3] of {text} It is [answer]", 3 + len(" of ") + len(" It is "), 0),
        ("Say {text} It is [answer]", 0, 0),
    ],
)
def test_only_what_stands_behind_a_live_slot_counts(
    tiny_backbone: HuggingFaceBackbone, written: str, own: int, common: int
) -> None:
    texts, task = ["ab", "abcdef"], Classification(("bad", "good"))
    prompt = parse(written)
    filled = prompt.fill(s=np.zeros((3, 64), dtype=np.float32)) if prompt.slots else prompt
    found = live_lengths(filled, task, tiny_backbone, Rows.from_texts(texts))
    fields = written.partition("[soft")[2].count("{text}")  # tokens are bytes
    assert list(found.rows) == [own + fields * len(text) for text in texts]
    assert found.common == common


def test_a_channel_task_runs_every_labels_word(tiny_backbone: HuggingFaceBackbone) -> None:
    prompt = parse(r"Sort it well, [soft s 3]\nText: {text}\nLabel: [answer]").fill(s=np.zeros((3, 64), dtype=np.float32))
    rows = Rows.from_texts(["ab"])
    found = live_lengths(prompt, Classification(("bad", "good"), channel=True), tiny_backbone, rows)
    assert found == Lengths([2 * tiny_backbone.context_lengths(prompt, rows)[0]])


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
        trail = Trail()
        prompt = Soft(schedule=Schedule(learning_rates=(0.03,), steps=3, batch=8)).tune(
            parse(written),
            Classification(("bad", "good")),
            tiny_backbone,
            moods(24, 1),
            moods(12, 2),
            budget=Budget(tokens=10**8),
            rng=np.random.default_rng(0),
            trail=trail,
        )
        slot = next(iter(prompt.slots.values()))
        assert isinstance(slot, SoftSlot)
        found.append((slot.vectors, list(taken), [event["loss"] for event in trail.of("step")]))
    assert set(found[0][1]) == {8}
    assert max(found[1][1]) < 8
    np.testing.assert_allclose(found[1][0], found[0][0], atol=1e-4)
    assert found[1][2] == pytest.approx(found[0][2], abs=1e-4)
