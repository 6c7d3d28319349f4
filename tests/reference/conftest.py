"""Rows that a reference can learn, and a small backbone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.prompt import parse
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget
from pegbox.tune.trail import Trail

GOOD, BAD = ("fine", "lovely", "bright", "sweet"), ("dull", "awful", "grey", "sour")


def mood_rows(count: int, seed: int) -> Rows:
    """Texts of four words; two of them tell the label, in a proportion of two to one."""
    rng = np.random.default_rng(seed)
    labels = ["good" if rng.random() < 2 / 3 else "bad" for _ in range(count)]
    texts = []
    for number, label in enumerate(labels):
        telling = rng.choice(GOOD if label == "good" else BAD, size=2)
        texts.append(f"{telling[0]} day {number} {telling[1]}")
    return Rows.from_texts(texts, labels)


@pytest.fixture(scope="session")
def backbone() -> HuggingFaceBackbone:
    return HuggingFaceBackbone(tiny())


@pytest.fixture
def setting(backbone: HuggingFaceBackbone) -> dict[str, Any]:
    """What every reference's `fit` is given."""
    return {
        "prompt": parse(r"Sort.\nDay: {text}\nMood: [answer]"),
        "task": Classification(("bad", "good")),
        "backbone": backbone,
        "train": mood_rows(60, 1),
        "dev": mood_rows(30, 2),
        "budget": Budget(tokens=1_000_000),
        "rng": np.random.default_rng(0),
        "trail": Trail(),
    }


@pytest.fixture(scope="session")
def test_rows() -> Rows:
    return mood_rows(40, 3)
