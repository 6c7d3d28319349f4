"""A comparison as JSON and back: plain values, and arrays as base64 of their floats, so that nothing is rounded."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pegbox.errors import DataError
from pegbox.evaluate.record import Cell, Comparison, Cost

_ARRAYS = ("probabilities", "statistics", "breakdown", "outputs")

FORMAT = "pegbox report"
VERSION = 1


def plain(value: Any) -> Any:
    """The value in JSON's own types; numbers that are not finite become null, tuples become lists."""
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _packed(values: NDArray[np.floating], kind: str = "float32") -> dict[str, Any]:
    raw = np.ascontiguousarray(values, dtype=np.dtype(kind).newbyteorder("<"))
    return {"shape": list(raw.shape), kind: base64.b64encode(raw.tobytes()).decode("ascii")}


def _unpacked(packed: Mapping[str, Any], kind: str = "float32") -> NDArray[Any]:
    raw = np.frombuffer(base64.b64decode(packed[kind], validate=True), dtype=np.dtype(kind).newbyteorder("<"))
    return raw.reshape(packed["shape"]).astype(kind)


def packed_all(statistics: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Sums by measure in JSON's own types, unrounded."""
    return {name: _packed(values, "float64") for name, values in statistics.items()}


def unpacked_all(packed: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """The sums that `packed_all` wrote."""
    return {name: _unpacked(values, "float64") for name, values in packed.items()}


def encode(comparison: Comparison) -> dict[str, Any]:
    """The comparison in JSON's own types."""
    measured = {"measures": list(comparison.measures), "answers": list(comparison.answers)} if comparison.measures else {}
    sliced = {"groups": list(comparison.groups)} if comparison.groups else {}
    return {
        "labels": list(comparison.labels),
        "texts": list(comparison.texts),
        "gold": plain(comparison.gold),
        "numbers": list(comparison.numbers),
        "settings": plain(comparison.settings),
        "notes": list(comparison.notes),
        **measured,
        **sliced,
        "cells": [_encode_cell(cell) for cell in comparison.cells],
    }


def _encode_cell(cell: Cell) -> dict[str, Any]:
    rest = {field.name: plain(getattr(cell, field.name)) for field in fields(Cell) if field.name not in _ARRAYS}
    if not cell.statistics:
        return {**rest, "probabilities": _packed(cell.probabilities)}
    parts = {name: packed_all(statistics) for name, statistics in cell.breakdown.items()}
    return {**rest, "statistics": packed_all(cell.statistics), "breakdown": parts, "outputs": list(cell.outputs)}


def decode(found: Mapping[str, Any], where: str) -> Comparison:
    """The comparison that `encode` wrote.

    Settings:
        where: what is being read, for messages.
    Raises:
        DataError: something is missing or of the wrong shape.
    """
    try:
        return Comparison(
            labels=tuple(found["labels"]),
            texts=tuple(found["texts"]),
            gold=np.asarray(found["gold"], dtype=np.int64),
            numbers=tuple(found["numbers"]),
            cells=tuple(_decode_cell(cell) for cell in found["cells"]),
            settings=found["settings"],
            notes=tuple(found["notes"]),
            measures=tuple(found.get("measures", ())),
            answers=tuple(found.get("answers", ())),
            groups=tuple(found.get("groups", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise DataError(
            f"{where}: a part of the report is missing or damaged ({type(error).__name__}: {error})",
            "a report.json as pegbox wrote it",
            "write the report again from its run folder",
        ) from error


def _decode_cell(found: Mapping[str, Any]) -> Cell:
    nearest = {
        slot: tuple((word, float(cosine), float(ratio)) for word, cosine, ratio in words)
        for slot, words in found["nearest"].items()
    }
    return Cell(
        method=found["method"],
        kind=found["kind"],
        seed=found["seed"],
        probabilities=_unpacked(found["probabilities"]) if "probabilities" in found else np.zeros((0, 0), np.float32),
        dev_accuracy=found["dev_accuracy"],
        cost=Cost(**found["cost"]),
        prompt=found["prompt"],
        readable=found["readable"],
        nearest=nearest,
        trail=tuple(found["trail"]),
        notes=tuple(found["notes"]),
        spends=found["spends"],
        statistics=unpacked_all(found.get("statistics", {})),
        breakdown={name: unpacked_all(part) for name, part in found.get("breakdown", {}).items()},
        outputs=tuple(found.get("outputs", ())),
    )
