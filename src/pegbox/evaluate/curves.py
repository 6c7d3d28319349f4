"""Learning curves, read from the trails of a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pegbox.evaluate.record import Cell, Comparison, Kind

Axis = Literal["steps", "candidates"]
Event = Mapping[str, Any]


@dataclass(frozen=True)
class Curve:
    """Dev accuracy over a run.

    Settings:
        method: whose run.
        kind: its kind.
        axis: what `x` counts: optimiser steps, or candidates tried.
        x: ascending.
        y: accuracy, from 0 to 1; for candidates the best one kept so far.
        chosen: whether it is the run's chosen variant; learning rates that lost are drawn faintly.
    """

    method: str
    kind: Kind
    axis: Axis
    x: tuple[float, ...]
    y: tuple[float, ...]
    chosen: bool


def curves(comparison: Comparison) -> list[Curve]:
    """Every curve of two points or more that the trails hold; events that lack a part are passed over."""
    found = []
    for cell in comparison.cells:
        found += [*_steps(cell), *_candidates(cell)]
    return [curve for curve in found if len(curve.x) > 1]


def _number(event: Event, key: str) -> float | None:
    value = event.get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _of(trail: Sequence[Event], name: str) -> list[Event]:
    return [event for event in trail if event.get("event") == name]


def _steps(cell: Cell) -> list[Curve]:
    """One curve for each variant (learning rate or start) that was judged on dev rows."""
    variants: dict[Any, list[tuple[float, float, float]]] = {}
    for event in _of(cell.trail, "dev"):
        step, accuracy, loss = (_number(event, key) for key in ("step", "accuracy", "loss"))
        if step is not None and accuracy is not None:
            variants.setdefault(event.get("variant", 0), []).append((step, accuracy, math.inf if loss is None else loss))
    said = [event["variant"] for event in _of(cell.trail, "best") if "variant" in event]
    best = said[-1] if said else min(variants, key=lambda v: min(loss for _, _, loss in variants[v]), default=None)
    return [
        Curve(cell.method, cell.kind, "steps", *_columns([(s, a) for s, a, _ in sorted(points)]), chosen=variant == best)
        for variant, points in variants.items()
    ]


def _candidates(cell: Cell) -> list[Curve]:
    """The score of the best candidate kept so far, by how many were tried."""
    points: list[tuple[float, float]] = []
    best: float | None = None
    for number, event in enumerate(_of(cell.trail, "candidate"), start=1):
        score = _number(event, "score")
        if score is not None and event.get("kept", best is None or score > best):
            best = score
        if best is not None:
            points.append((number, best))
    return [Curve(cell.method, cell.kind, "candidates", *_columns(points), chosen=True)] if points else []


def _columns(points: Sequence[tuple[float, float]], limit: int = 200) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """X and y apart; long runs are thinned evenly to about `limit` points, the last one kept."""
    thin = math.ceil(len(points) / limit)
    kept = [point for place, point in enumerate(points) if place % thin == 0 or place == len(points) - 1]
    return tuple(x for x, _ in kept), tuple(y for _, y in kept)
