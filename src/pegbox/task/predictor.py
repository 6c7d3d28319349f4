"""Predictors: what a tuned prompt or a fitted reference is to those who only want its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt
from pegbox.task.calibration import Calibration

if TYPE_CHECKING:
    from pegbox.task.classification import Classification


class Predictor(Protocol):
    """Anything that gives label probabilities.

    Settings:
        prompt: the prompt behind it, in case there is one.
        parameters: numbers that tuning set.
        nbytes: bytes that must be kept besides the backbone; None where it was not worked out.
    """

    @property
    def prompt(self) -> Prompt | None: ...
    @property
    def parameters(self) -> int: ...
    @property
    def nbytes(self) -> int | None: ...
    def predict_proba(self, rows: Rows) -> NDArray[np.float32]:
        """Probabilities of the task's labels. Shape: [B, C]."""


@runtime_checkable
class Requesting(Protocol):
    """A predictor that sends a prompt to a backbone, and calibrates what comes back."""

    @property
    def task(self) -> Classification: ...
    @property
    def backbone(self) -> Backbone: ...
    @property
    def calibration(self) -> Calibration: ...
    def request(self, rows: Rows) -> tuple[Prompt, Rows]:
        """The prompt and the rows as they are sent, with what a predictor puts beside the rows' own texts."""


@runtime_checkable
class Cutting(Protocol):
    """A predictor whose model reads no more than its context."""

    def cut_rows(self, rows: Rows) -> tuple[int, ...]:
        """Positions of the rows whose texts are cut to fit into the model's context."""


def told_of(predictor: Any, rows: Rows, what: str) -> tuple[str, ...]:
    """What is to be said of those of these texts that were too long for a predictor.

    Settings:
        what: which texts, such as "test texts".
    """
    if isinstance(predictor, Telling):
        return predictor.told(rows, what)
    cut = len(predictor.cut_rows(rows)) if isinstance(predictor, Cutting) else 0
    return (f"{cut} of {len(rows)} {what} were cut to the model's context",) if cut else ()


@runtime_checkable
class Telling(Protocol):
    """A predictor that has its own words for what became of long texts."""

    def told(self, rows: Rows, what: str) -> tuple[str, ...]:
        """See `told_of`."""


@dataclass(frozen=True)
class PromptPredictor:
    """A filled prompt over a frozen backbone, calibrated."""

    prompt: Prompt
    task: Classification
    backbone: Backbone
    calibration: Calibration = Calibration()  # noqa: RUF009  # immutable

    @property
    def parameters(self) -> int:
        return self.prompt.parameters

    @property
    def nbytes(self) -> int | None:
        return None  # known once it is saved

    def request(self, rows: Rows) -> tuple[Prompt, Rows]:
        """See `Requesting.request`."""
        return self.prompt, rows

    def predict_proba(self, rows: Rows) -> NDArray[np.float32]:
        """Probabilities of the task's labels. Shape: [B, C]."""
        return self.task.predict_proba(self.prompt, self.backbone, rows, self.calibration)

    def answers(self, rows: Rows) -> Sequence[NDArray[np.float32]]:
        """Each row's probabilities of the labels, as `Classification` takes them."""
        return list(self.predict_proba(rows))

    def state(self) -> Mapping[str, Any]:
        """The calibration, as `Classification.restored` reads it."""
        return {"calibration": {"method": self.calibration.method, "offsets": list(self.calibration.offsets)}}

    def cut_rows(self, rows: Rows) -> tuple[int, ...]:
        """Positions of the rows whose texts are cut to fit into the model's context."""
        return self.task.bind(self.prompt, self.backbone, rows).cut_rows

    def told(self, rows: Rows, what: str) -> tuple[str, ...]:
        """What is to be said of those of these texts that are too long, as `BoundClassification.told`."""
        return self.task.bind(self.prompt, self.backbone, rows).told(what)
