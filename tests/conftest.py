"""What several rooms' tests share."""

from __future__ import annotations

import os

# Before torch is imported: on tiny models a second thread gains nothing, and on a busy machine the threads wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from pegbox.backbone.huggingface import HuggingFaceBackbone
    from pegbox.backbone.loaded import Loaded
    from pegbox.data.rows import Rows


@pytest.fixture(scope="session")
def smollm2() -> Loaded:
    """The real weights, loaded once, in float32 on the CPU. Ask for it only in tests marked `weights`."""
    from pegbox.backbone.weights import load

    return load("smollm2", dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def tiny_backbone() -> HuggingFaceBackbone:
    """A tiny backbone for tests that do not count what it keeps or spends."""
    from pegbox.backbone.huggingface import HuggingFaceBackbone
    from pegbox.backbone.tiny import tiny

    return HuggingFaceBackbone(tiny())


@pytest.fixture(scope="session")
def moods() -> Callable[[int, int], Rows]:
    """So many texts by a seed; two of each one's words tell its label, good or bad, in a proportion of two to one."""
    from pegbox.data.rows import Rows

    words = {"good": ("fine", "lovely", "bright", "sweet"), "bad": ("dull", "awful", "grey", "sour")}

    def rows(count: int, seed: int) -> Rows:
        rng = np.random.default_rng(seed)
        labels = ["bad" if number % 3 == 2 else "good" for number in range(count)]
        told = [rng.choice(words[label], size=2) for label in labels]
        return Rows.from_texts([f"{a} day {seed}.{n} {b}" for n, (a, b) in enumerate(told)], labels)

    return rows


@pytest.fixture
def mood_file(tmp_path: Path, moods: Callable[[int, int], Rows]) -> Path:
    """Sixty such texts as a CSV with the columns id, text and label."""
    path, rows = tmp_path / "moods.csv", moods(60, 1)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label"])
        writer.writerows(zip(rows.numbers, rows.column(), rows.answers(), strict=True))
    return path
