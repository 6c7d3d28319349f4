"""A cell in its folder: written when it is done, and read by every later call."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from pegbox.evaluate.record import Cell, Cost
from pegbox.evaluate.record_json import packed_all, unpacked_all
from pegbox.recipe.methods import METHODS

SUMS = "measured.json"
"""What a cell of a task that is seen through measures has in the place of probabilities."""


def write_cell(folder: Path, cell: Cell) -> None:
    """Writes a cell that is done."""
    content = asdict(replace(cell, probabilities=np.zeros((0, 0), np.float32), trail=(), statistics={}, breakdown={}))
    for name in ("probabilities", "statistics", "breakdown", "outputs"):
        content.pop(name)
    if cell.statistics:
        parts = {name: packed_all(part) for name, part in cell.breakdown.items()}
        sums = {"statistics": packed_all(cell.statistics), "breakdown": parts, "outputs": list(cell.outputs)}
        (folder / SUMS).write_text(json.dumps(sums), encoding="utf-8")
    else:
        np.save(folder / "probabilities.npy", cell.probabilities, allow_pickle=False)
    (folder / "events.json").write_text(json.dumps(list(cell.trail)), encoding="utf-8")
    made = folder / "cell.tmp"
    made.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    made.replace(folder / "cell.json")  # last, and in one go: a cell with this file is whole


def read_cell(folder: Path) -> Cell:
    """A cell that is done."""
    content = json.loads((folder / "cell.json").read_text(encoding="utf-8"))
    if (folder / SUMS).exists():
        sums = json.loads((folder / SUMS).read_text(encoding="utf-8"))
        content["probabilities"] = np.zeros((0, 0), np.float32)
        content["statistics"] = unpacked_all(sums["statistics"])
        content["breakdown"] = {name: unpacked_all(part) for name, part in sums["breakdown"].items()}
        content["outputs"] = tuple(sums["outputs"])
    else:
        content["probabilities"] = np.load(folder / "probabilities.npy", allow_pickle=False)
    content["trail"] = tuple(json.loads((folder / "events.json").read_text(encoding="utf-8")))
    content["cost"] = Cost(**content["cost"])
    content["nearest"] = {name: tuple(tuple(word) for word in words) for name, words in content["nearest"].items()}
    content["notes"] = tuple(content["notes"])
    content.setdefault("spends", METHODS[content["method"]].spends)  # cells of the first days lack it
    return Cell(**content)
