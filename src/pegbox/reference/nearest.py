"""Examples chosen for each row: the training rows nearest to it, as the backbone's own features see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.errors import DataError, SettingsError
from pegbox.prompt import Prompt
from pegbox.reference.texts import features_within, row_texts, text_features
from pegbox.task.calibration import CONTENT_FREE, Calibration, fit_calibration
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget, Meter
from pegbox.tune.dev_score import DevScore, remembered, score_of
from pegbox.tune.examples import placed, shortened, with_places
from pegbox.tune.trail import Trail

Choice = Literal["nearest", "mmr"]

LAYERS = (0.5, 0.75, 1.0)
"""Depths among which the view of nearness is chosen."""
_SHORT_LIST = 64  # the nearest rows among which MMR looks for different ones
_ASKED = 5  # neighbours asked for their label when views are compared
_COMPARED = 2000  # rows on which they are compared
_FEWEST = 16  # rows for batch calibration, however little is left


@dataclass(frozen=True)
class NearestExamples:
    """In-context examples that differ from row to row; the nearest stands last, next to the text.

    Nearness is the cosine between the backbone's features of the texts alone, less their mean over the training rows (without
    that all texts look alike). Depth and pooling are those whose neighbours agree best in their labels.

    Settings:
        choose: "nearest", or "mmr": near to the row but unlike each other.
        shots: numbers of examples to try on dev.
        diversity: what MMR gives for being unlike the examples already chosen (0: nothing, 1: everything).
        dev_rows: how many dev rows each number of examples is scored on.
        calibration_rows: how many training rows batch calibration looks at.
        room: tokens that the texts of all examples together may take, at most half of the model's context.

    Source: Liu et al. 2022 (arXiv 2101.06804), nearest; Carbonell and Goldstein 1998, MMR, as Ye et al. 2023 (arXiv 2211.13892)
        use it. We differ in taking the features from the model that answers.
    """

    choose: Choice = "nearest"
    shots: tuple[int, ...] = (2, 4, 8)
    diversity: float = 0.5
    dev_rows: int = 64
    calibration_rows: int = 64
    room: int = 1024

    def __post_init__(self) -> None:
        if self.choose not in ("nearest", "mmr"):
            raise SettingsError(f"examples chosen by {self.choose!r}", "nearest or mmr", "choose one of them")
        if not self.shots or min(*self.shots, self.dev_rows, self.calibration_rows, self.room) < 1:
            raise SettingsError(f"settings {self}", "numbers of 1 or more", "give at least one shot, row and token")
        if not 0 <= self.diversity <= 1:
            raise SettingsError(f"a diversity of {self.diversity}", "a number from 0 to 1", "take 0.5")

    def fit(
        self,
        prompt: Prompt,
        task: Classification,
        backbone: Backbone,
        train: Rows,
        dev: Rows,
        *,
        budget: Budget,
        rng: np.random.Generator,
        trail: Trail,
    ) -> NearestPredictor:
        """See `pegbox.reference.protocol.Reference.fit`. Training rows beyond half of the budget are left out, by chance."""
        meter = Meter(budget, backbone, trail)
        different = _different(train.take([int(at) for at in rng.permutation(len(train))]), prompt)
        features = features_within(meter, 0.5, different, prompt, backbone, LAYERS)
        if len(features) < len(different):
            trail.write("note", text=f"the budget allows examples from {len(features)} of {len(different)} training rows")
        stock = _stocked(different.take(range(len(features))), features, prompt, task)
        trail.write("view", depth=stock.layer, pool=("mean", "last")[stock.pool], agreement=stock.agreement)
        judges = dev.take([int(at) for at in rng.permutation(len(dev))[: self.dev_rows]])
        prior = tuple(task.prior(train))
        best: tuple[DevScore, NearestPredictor] | None = None
        per_shot = 0.0
        for shots in sorted(set(self.shots)):
            if best is not None and not meter.allows(per_shot * shots):
                trail.write("note", text=f"the budget was spent before {shots} examples were tried")
                break
            before = meter.tokens
            candidate = NearestPredictor(self, prompt, task, backbone, stock, shots)
            score = remembered(f"{shots} {self.choose} examples", partial(candidate.judged, judges, prior), meter, trail)
            per_shot = (meter.tokens - before) / shots
            kept = best is None or score > best[0]
            trail.write(
                "candidate", settings=f"{shots} examples", score=score.accuracy, fit=score.fit, rows=len(judges), kept=kept
            )
            best = (score, candidate) if kept else best
        assert best is not None
        per_row = per_shot * best[1].shots / len(judges)
        affordable = self.calibration_rows if meter.tokens_left is None else int(meter.tokens_left / max(1.0, per_row))
        return best[1].calibrated(min(self.calibration_rows, max(_FEWEST, affordable)), prior)


@dataclass(frozen=True, eq=False)
class _Stock:
    """The rows that examples are taken from.

    Settings:
        rows: no text twice.
        words: each row's answer.
        layer, pool: the view of nearness: a depth, and 0 for the mean over the text or 1 for its last token.
        mean: the rows' mean feature. Shape: [H].
        directions: the rows' features less their mean, as unit vectors. Shape: [N, H].
        agreement: how often a neighbour in this view has a row's own label.
    """

    rows: Rows
    words: tuple[str, ...]
    layer: float
    pool: int
    mean: NDArray[np.float64]
    directions: NDArray[np.float64]
    agreement: float


@dataclass(frozen=True, eq=False)
class NearestPredictor:
    """The prompt with examples of each row's own.

    Settings:
        settings: how examples are chosen.
        template: the written prompt.
        shots: how many examples.
    """

    settings: NearestExamples
    template: Prompt
    task: Classification
    backbone: Backbone
    stock: _Stock
    shots: int
    calibration: Calibration = Calibration()  # noqa: RUF009  # immutable

    @property
    def prompt(self) -> Prompt:
        """The prompt with a field for each part of each example."""
        return with_places(self.template, self._count)

    @property
    def parameters(self) -> int:
        return 0

    @property
    def nbytes(self) -> int:
        """The rows' texts and answers, and a float32 for each number of their features."""
        texts = (text for row in self.stock.rows.fields for text in row.values())
        written = sum(len(text.encode("utf-8", "surrogatepass")) for text in (*texts, *self.stock.words))
        return written + 4 * (self.stock.directions.size + self.stock.mean.size)

    def predict_proba(self, rows: Rows) -> NDArray[np.float32]:
        """See `pegbox.task.predictor.Predictor.predict_proba`."""
        return self.calibration.probabilities(self._scores(rows))

    def judged(self, rows: Rows, prior: Sequence[float]) -> DevScore:
        """The score on rows with labels, which stand in for training rows in batch calibration: that needs no labels."""
        scores = self._scores(rows)
        basis = scores if self.task.calibration == "batch" else self._scores(self._content_free())
        return score_of(fit_calibration(self.task.calibration, basis, prior).apply(scores), self.task.gold(rows))

    def calibrated(self, count: int, prior: Sequence[float]) -> NearestPredictor:
        """The same, calibrated on so many rows of the stock, none of which may be its own example."""
        if self.task.calibration == "none":
            return self
        if self.task.calibration == "contextual":
            scores = self._scores(self._content_free())
        else:
            own = list(range(min(count, len(self.stock.rows))))
            scores = self._asked(self.stock.rows.take(own), self.stock.directions[own], own)
        return replace(self, calibration=fit_calibration(self.task.calibration, scores, prior))

    @property
    def _count(self) -> int:
        """How many examples each row gets: a row of the stock can be no example of its own."""
        return min(self.shots, len(self.stock.rows) - 1)

    def _content_free(self) -> Rows:
        texts = [dict.fromkeys(self.template.field_names, text) for text in CONTENT_FREE]
        return Rows(tuple(texts), source="content-free texts")

    def _scores(self, rows: Rows) -> NDArray[np.float32]:
        """Label log-probabilities before calibration. Shape: [B, C]."""
        prompt, sent = self.request(rows)
        found: NDArray[np.float32] = self.task.bind(prompt, self.backbone, sent).log_probabilities()[0]
        return found

    def request(self, rows: Rows) -> tuple[Prompt, Rows]:
        """See `pegbox.task.predictor.Requesting.request`."""
        features = text_features(rows, self.template, self.backbone, (self.stock.layer,))[:, 0, self.stock.pool]
        return self.prompt, self._with_examples(rows, _directions(features, self.stock.mean), [-1] * len(rows))

    def _asked(self, rows: Rows, directions: NDArray[np.float64], own: Sequence[int]) -> NDArray[np.float32]:
        bound = self.task.bind(self.prompt, self.backbone, self._with_examples(rows, directions, own))
        found: NDArray[np.float32] = bound.log_probabilities()[0]
        return found

    def _with_examples(self, rows: Rows, directions: NDArray[np.float64], own: Sequence[int]) -> Rows:
        fields = [self._placed(row, *asked) for row, *asked in zip(rows, directions, own, strict=True)]
        return replace(rows, fields=tuple(fields))

    def _placed(self, row: Mapping[str, str], direction: NDArray[np.float64], own: int) -> dict[str, str]:
        picked = self._picked(direction, own)[::-1]
        share = max(1, min(self.settings.room, self.backbone.context // 2) // self._count)
        texts = [self.stock.rows.fields[at] for at in picked]
        examples = [{n: shortened(text[n], share, self.backbone) for n in self.template.field_names} for text in texts]
        return placed(row, examples, [self.stock.words[at] for at in picked])

    def _picked(self, direction: NDArray[np.float64], own: int) -> list[int]:
        """Positions in the stock, the first choice first; `own`: a position that may not be chosen. Shape: direction [H]."""
        nearness = self.stock.directions @ direction
        if own >= 0:
            nearness[own] = -np.inf
        order = [int(at) for at in np.argsort(-nearness, kind="stable")]
        if self.settings.choose == "nearest":
            return order[: self._count]
        return diverse(
            nearness, self.stock.directions, order[: max(_SHORT_LIST, self._count)], self._count, self.settings.diversity
        )


def diverse(
    nearness: NDArray[np.float64], directions: NDArray[np.float64], among: Sequence[int], count: int, diversity: float
) -> list[int]:
    """Positions chosen one after the other by maximal marginal relevance.

    Settings:
        nearness: to the row asked about. Shape: [N].
        directions: unit vectors. Shape: [N, H].
        among: the positions to choose from.
    """
    left, picked = list(among), list[int]()
    alike = np.full(len(nearness), 0.0)  # nearness to the most similar of those picked
    while left and len(picked) < count:
        worth = [(1 - diversity) * nearness[at] - diversity * alike[at] for at in left]
        at = left.pop(int(np.argmax(worth)))
        near = directions @ directions[at]
        alike = near if not picked else np.maximum(alike, near)
        picked.append(at)
    return picked


def _different(rows: Rows, prompt: Prompt) -> Rows:
    """The rows without repeated texts, so that no example comes twice."""
    first: dict[str, int] = {}
    for at, text in enumerate(row_texts(rows, prompt)):
        first.setdefault(text, at)
    return rows.take(list(first.values()))


def _stocked(rows: Rows, features: NDArray[np.float32], prompt: Prompt, task: Classification) -> _Stock:
    """The rows in the view whose neighbours agree best in their labels. Shape: features [N, layers, 2, H]."""
    if len(rows) < 2:
        raise DataError(f"{len(rows)} different texts to take examples from", "at least two", "give more training rows")
    verbalizer = task.words_in(prompt)
    words = tuple(verbalizer[label][0] for label in rows.answers())
    best: _Stock | None = None
    for at, layer in enumerate(LAYERS):
        for pool in range(features.shape[2]):
            seen = features[:, at, pool].astype(np.float64)
            directions = _directions(seen, seen.mean(axis=0))
            share = _agreement(directions[:_COMPARED], task.gold(rows)[:_COMPARED])
            if best is None or share > best.agreement:
                best = _Stock(rows, words, layer, pool, seen.mean(axis=0), directions, share)
    assert best is not None
    return best


def _directions(features: NDArray[np.floating], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    moved = features - mean
    found: NDArray[np.float64] = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
    return found


def _agreement(directions: NDArray[np.float64], gold: NDArray[np.int64]) -> float:
    nearness = directions @ directions.T
    np.fill_diagonal(nearness, -np.inf)
    near = np.argsort(-nearness, axis=1, kind="stable")[:, : min(_ASKED, len(gold) - 1)]
    return float((gold[near] == gold[:, None]).mean())
