"""What a linear reference is fitted to: one label for each text, or each label by itself where texts have several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pegbox.data.rows import Rows
from pegbox.metrics.label_sets import as_sets, set_statistics, thresholds
from pegbox.metrics.measures import measure, overall
from pegbox.reference.linear import Linear, fit_linear
from pegbox.task.classification import Classification
from pegbox.task.many_labels import LabelChoice
from pegbox.tune.dev_score import DevScore, score_of

_SURE = 1e-6


class Aim(Protocol):
    """What is fitted, and how well that fits the dev rows."""

    def learned(self, features: Any, strength: float) -> Linear | OneVsRest:
        """A regression on the training rows' features. Shape: [B, features], dense or sparse."""

    def score(self, probabilities: NDArray[np.float32]) -> DevScore:
        """How good its probabilities of the dev rows are. Shape: [B, C]."""


def whole_texts(task: Classification, *parts: Rows) -> tuple[Rows, ...]:
    """The rows, each text once where a multi-label task has parted it into one row for each label."""
    if not isinstance(task, LabelChoice):
        return parts
    return tuple(rows.take([at for at in range(len(rows)) if at == 0 or _another(rows, at)]) for rows in parts)


def _another(rows: Rows, at: int) -> bool:
    """Whether a row is of another text than the row before it."""
    return rows.numbers[at - 1] != rows.numbers[at]


def aim_of(task: Classification, train: Rows, dev: Rows) -> Aim:
    """What these rows ask for; see `whole_texts`."""
    if isinstance(task, LabelChoice):
        sets = [as_sets(rows.gold or (), task.sets) for rows in (train, dev)]
        return EachLabel(sets[0], sets[1], len(task.labels))
    return OneLabel(task.gold(train), task.gold(dev), len(task.labels))


@dataclass(frozen=True, eq=False)
class OneLabel:
    """Multinomial regression. Shape: gold [B]; dev [B]."""

    gold: NDArray[np.int64]
    dev: NDArray[np.int64]
    labels: int

    def learned(self, features: Any, strength: float) -> Linear:
        return fit_linear(features, self.gold, self.labels, strength)

    def score(self, probabilities: NDArray[np.float32]) -> DevScore:
        return score_of(np.log(probabilities), self.dev)


@dataclass(frozen=True, eq=False)
class EachLabel:
    """A regression for each label against all texts without it, scored by macro-F1 under thresholds of its own.

    Shape: gold [B, sets]; dev [B, sets].
    """

    gold: NDArray[np.bool_]
    dev: NDArray[np.bool_]
    labels: int

    def learned(self, features: Any, strength: float) -> OneVsRest:
        return OneVsRest(tuple(_of_label(features, own, strength) for own in self.gold.T), self.labels)

    def score(self, probabilities: NDArray[np.float32]) -> DevScore:
        shares = probabilities[:, : self.dev.shape[1]]
        main = measure("macro_f1")
        found = set_statistics(shares >= thresholds(shares, self.dev), self.dev)[main.name]
        likely = np.clip(np.where(self.dev, shares, 1 - shares), _SURE, 1)
        return DevScore(overall(found, main), float(np.log(likely).mean()))


def _of_label(features: Any, own: NDArray[np.bool_], strength: float) -> Linear | float:
    """The label's regression; its share where all training rows are alike."""
    return fit_linear(features, own.astype(np.int64), 2, strength) if 0 < own.sum() < len(own) else float(own.mean())


@dataclass(frozen=True, eq=False)
class OneVsRest:
    """Fitted regressions, one for each label, or a constant share.

    Settings:
        labels: how many shares are given; one more than there are regressions where one stands for no label at all.
    """

    models: tuple[Linear | float, ...]
    labels: int

    def probabilities(self, features: Any) -> NDArray[np.float32]:
        """Each label's own probability, and that of none of them. Shape: [B, features] to [B, labels]."""
        rows = features.shape[0]
        columns = [
            np.full(rows, one, np.float32) if isinstance(one, float) else one.probabilities(features)[:, 1]
            for one in self.models
        ]
        found = np.stack(columns, axis=1)
        none = np.prod(1 - found, axis=1, keepdims=True)
        return np.concatenate([found, none], axis=1)[:, : self.labels].astype(np.float32)

    @property
    def parameters(self) -> int:
        return sum(1 if isinstance(one, float) else one.parameters for one in self.models)

    @property
    def nbytes(self) -> int:
        return sum(8 if isinstance(one, float) else one.nbytes for one in self.models)
