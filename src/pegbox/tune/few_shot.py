"""Few-shot: in-context examples, drawn at random several times, the best draw kept."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.errors import DataError, SettingsError
from pegbox.prompt import Prompt, notation
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget, Meter
from pegbox.tune.dev_score import DevScore, dev_score, remembered
from pegbox.tune.examples import shortened, with_examples
from pegbox.tune.orders import drawn
from pegbox.tune.trail import Trail


@dataclass(frozen=True)
class FewShot:
    """In-context examples from the training rows, as many of each label as can be, in an order drawn with them.

    Settings:
        shots: numbers of examples to try.
        draws: how often examples are drawn for each of these numbers, as far as the budget goes.
        dev_rows: how many dev rows a draw is scored on.
        room: tokens that the texts of all examples together may take, at most half of the model's context; longer
            texts are cut to an equal share.

    Source: Brown et al. 2020 (arXiv 2005.14165), section 2. Draws and orders differ much (Lu et al. 2022, arXiv 2104.08786), so
        we choose among several on dev, as every other method chooses there.
    """

    shots: tuple[int, ...] = (4, 8, 16)
    draws: int = 16
    dev_rows: int = 200
    room: int = 1024

    def __post_init__(self) -> None:
        if not self.shots or min(self.shots) < 1 or min(self.draws, self.dev_rows, self.room) < 1:
            raise SettingsError(
                f"few-shot settings {self}", "numbers of 1 or more", "give at least one shot, draw, dev row and token"
            )

    def tune(
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
    ) -> Prompt:
        """See `pegbox.tune.tuner.Tuner.tune`. Without dev rows a quarter of the training rows takes their place."""
        seed = int(rng.integers(2**31))
        pool, judges = self._parted(train, dev, seed)
        prior = list(task.prior(train))
        meter = Meter(budget, backbone, trail)
        best: tuple[DevScore, Prompt] | None = None
        dearest = 0
        for draw, shots in itertools.product(range(self.draws), self.shots):
            if best is not None and not meter.allows(dearest):
                trail.write("note", text=f"the budget was spent after {len(trail.of('candidate'))} draws of examples")
                break
            candidate = self._candidate(prompt, task, backbone, pool, shots, draw, seed)
            before = meter.tokens
            judged = partial(dev_score, candidate, task, backbone, judges, prior)
            score = remembered(f"{shots} examples, draw {draw}", judged, meter, trail)
            meter.settle()
            dearest = max(dearest, meter.tokens - before)
            kept = best is None or score > best[0]
            _write(candidate, score, len(judges), kept, meter, trail)
            best = (score, candidate) if kept else best
        assert best is not None
        return best[1]

    def _parted(self, train: Rows, dev: Rows, seed: int) -> tuple[Rows, Rows]:
        """Rows to draw examples from, and rows to choose on."""
        if len(dev):
            return train, dev.take(drawn(dev, seed, 0)[: self.dev_rows])
        if len(train) < 2:
            raise DataError(
                f"{len(train)} training rows and no dev rows", "rows to draw from and rows to choose on", "give more rows"
            )
        order = drawn(train, seed, 0)
        held = min(self.dev_rows, max(1, len(train) // 4))
        return train.take(order[held:]), train.take(order[:held])

    def _candidate(
        self, prompt: Prompt, task: Classification, backbone: Backbone, pool: Rows, shots: int, draw: int, seed: int
    ) -> Prompt:
        picked = stratified(task.gold(pool), shots, np.random.default_rng([seed, 1, shots, draw]))
        share = max(1, min(self.room, backbone.context // 2) // max(1, len(picked)))
        words = task.words_in(prompt)

        def cut(text: str) -> str:
            return shortened(text, share, backbone)

        rows = [task.example(pool.fields[at], prompt.field_names, cut) for at in picked]
        spoken = [words[label][0] for label in task.labels]
        return with_examples(prompt, rows, task.shown(pool, picked, spoken, cut))


def stratified(gold: NDArray[np.int64], count: int, rng: np.random.Generator) -> list[int]:
    """Positions of `count` rows in an order drawn at random; no label has two more than another, unless it runs out of rows.

    Settings:
        gold: the rows' labels as numbers. Shape: [B].
    """
    queues = [list(rng.permutation(np.flatnonzero(gold == label))) for label in np.unique(gold)]
    picked: list[int] = []
    while len(picked) < count and any(queues):
        for at in rng.permutation(len(queues)):
            if queues[at] and len(picked) < count:
                picked.append(int(queues[at].pop()))
    return [picked[at] for at in rng.permutation(len(picked))]


def _write(prompt: Prompt, score: DevScore, rows: int, kept: bool, meter: Meter, trail: Trail) -> None:
    written = notation.format(prompt)
    trail.write("candidate", prompt=written, score=score.shown, fit=score.fit, rows=rows, kept=kept, tokens=meter.tokens)
