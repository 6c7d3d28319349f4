"""A task for tests that is seen through measures: which moods a text has, of which it may have none, one or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from pegbox.backbone.seam import Backbone
from pegbox.data.read import read
from pegbox.data.rows import Rows
from pegbox.metrics.measures import Measure, add, f1, precision, ratio
from pegbox.prompt import Prompt
from pegbox.task.calibration import Calibration
from pegbox.task.classification import Classification
from pegbox.task.classify import default_prompt
from pegbox.task.classify import rows as read_rows
from pegbox.task.entry import Asked, Entry
from pegbox.task.predictor import PromptPredictor
from pegbox.task.task import Statistics, Task

add(
    Measure("spot_f1", "spotting F1", f1),
    Measure("spot_precision", "spotting precision", precision),
    Measure("spot_length", "moods a text", lambda sums: ratio(sums[..., 0], sums[..., 1]), higher=False, percent=False),
)


@dataclass(frozen=True)
class Spotting(Task):
    """Every mood whose probability reaches a threshold.

    Settings:
        labels: the moods.
        threshold: the probability from which on a mood is spotted.
    """

    name: ClassVar[str] = "multilabel"
    measures: ClassVar[tuple[str, ...]] = ("spot_f1", "spot_precision", "spot_length")

    labels: tuple[str, ...]
    threshold: float = 0.5

    @property
    def single(self) -> Classification:
        return Classification(self.labels)

    def statistics(self, outputs: Sequence[Any], rows: Rows) -> Statistics:
        sums = self._sums(outputs, rows, self.labels)
        sizes = np.array([[len(output), 1] for output in outputs], dtype=float)
        return {"spot_f1": sums, "spot_precision": sums, "spot_length": sizes}

    def breakdown(self, outputs: Sequence[Any], rows: Rows) -> Mapping[str, Statistics]:
        return {label: {"spot_f1": self._sums(outputs, rows, (label,))} for label in self.labels}

    def _sums(self, outputs: Sequence[Any], rows: Rows, among: Sequence[str]) -> Any:
        found = [(set(o) & set(among), {label} & set(among)) for o, label in zip(outputs, rows.answers(), strict=True)]
        return np.array([[len(mine & theirs), len(mine), len(theirs)] for mine, theirs in found], dtype=float)

    def show(self, output: Any) -> str:
        return " + ".join(sorted(output)) or "none"

    def plain(self, output: Any) -> Any:
        return sorted(output)

    def gold_texts(self, rows: Rows) -> list[str]:
        return [self.labels[at] for at in self.single.gold(rows)]

    def tuned_as(self, train: Rows, dev: Rows) -> tuple[Classification, Rows, Rows]:
        return self.single, train, dev

    def predictor(self, prompt: Prompt, backbone: Backbone, train: Rows) -> Spotter:
        return Spotter(self.single.predictor(prompt, backbone, train), self)

    def around(self, fitted: Any, backbone: Backbone, train: Rows) -> Spotter:
        return Spotter(fitted, self)

    def to_json(self) -> Mapping[str, Any]:
        return {"labels": list(self.labels), "threshold": self.threshold}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        return cls(tuple(content["labels"]), content["threshold"])

    def restored(self, prompt: Prompt, backbone: Backbone, state: Mapping[str, Any]) -> Spotter:
        found = state["calibration"]
        calibration = Calibration(found["method"], tuple(found["offsets"]))
        return Spotter(PromptPredictor(prompt, self.single, backbone, calibration), self)


class Spotter:
    """What answers, around a predictor of single moods; one without a prompt has nothing to keep."""

    def __init__(self, of_one: Any, task: Spotting) -> None:
        self.of_one, self.task = of_one, task
        if isinstance(of_one, PromptPredictor):
            self.state, self.request, self.cut_rows = of_one.state, of_one.request, of_one.cut_rows
            self.backbone = of_one.backbone

    def __getattr__(self, name: str) -> Any:
        if name in ("prompt", "parameters", "nbytes"):
            return getattr(self.of_one, name)
        raise AttributeError(name)

    def answers(self, rows: Rows) -> list[frozenset[str]]:
        chances = self.of_one.predict_proba(rows)
        return [
            frozenset(label for label, p in zip(self.task.labels, row, strict=True) if p >= self.task.threshold)
            for row in chances
        ]


def make(train: Rows, asked: Asked) -> tuple[Spotting, Prompt]:
    task = Spotting(train.label_set())
    return task, asked.prompt or default_prompt(task.single)


ENTRY = Entry(Spotting, read, read_rows, make)
