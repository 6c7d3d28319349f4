"""Gradient-guided word swaps: the words of a hard slot, changed one at a time to lower the task's loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.errors import DataError, PromptError, SettingsError
from pegbox.prompt import Prompt, VectorSlot
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget, Meter
from pegbox.tune.hard_place import with_hard_slot
from pegbox.tune.memo import Memo
from pegbox.tune.orders import drawn
from pegbox.tune.swapping import Swapping, SwapPlan, first_words
from pegbox.tune.trail import Trail
from pegbox.tune.usual_rows import usual_rows

_OVERHEAD = 0.9  # share of the time that goes into the model


@dataclass(frozen=True)
class Tokens:
    """Hard prompt tuning by word swaps.

    At each step the gradient of the mean loss with respect to the slot's embeddings says which swaps should help. Some of these
    are scored exactly on half of the step's rows, the better ones on the other half too, and the best one is taken over if it
    also helps on the next step's rows. The loss is the calibrated one: otherwise the first swaps would only mend the model's
    leaning to some label, which calibration does for nothing. Dev rows are looked at a few times, and the best look is kept.

    Settings:
        length: tokens in a slot that pegbox puts in itself, or that is open.
        place: where it goes: "after" the text (whose keys and values are then kept), or "first".
        start: words that an open slot begins with; by default the instruction or the label words, whichever does better.
        rows: rows in a step.
        candidates: swaps that are scored in a step.
        finalists: of these, how many are scored on all of the step's rows.
        top: tokens considered in each place.
        steps: how many; None: as many as the budget allows, up to `most_steps`.
        most_steps: no more than these, whatever the budget.
        looks: how often the dev rows are looked at.
        dev_rows: how many of them.
        patience: looks without a better dev loss before it stops.

    Source: Shin et al. 2020, "AutoPrompt" (arXiv 2010.15980); Zou et al. 2023, "GCG" (arXiv 2307.15043). We differ in the
        calibrated loss, in halving the candidates, in the second opinion on other rows, and in starting from words.
    Raises: SettingsError for impossible settings; PromptError for an open soft slot.
    """

    length: int = 6
    place: str = "after"
    start: str | None = None
    rows: int = 32
    candidates: int = 16
    finalists: int = 4
    top: int = 32
    steps: int | None = None
    most_steps: int = 500
    looks: int = 5
    dev_rows: int = 200
    patience: int = 3

    def __post_init__(self) -> None:
        counts = (
            self.length,
            self.rows - 1,
            self.candidates,
            self.finalists,
            self.top,
            self.most_steps,
            self.dev_rows,
            self.patience,
        )
        if (
            self.place not in ("after", "first")
            or min(counts) < 1
            or self.looks < 1
            or (self.steps is not None and self.steps < 1)
        ):
            raise SettingsError(f"token settings {self}", "counts from 1, place after or first", "correct the setting")

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
        """See `pegbox.tune.tuner.Tuner.tune`."""
        if task.channel:
            raise SettingsError("channel scoring with word swaps", "direct scoring", "switch channel off, or use search")
        if len(train) < 2 or not len(dev):
            raise DataError(f"{len(train)} training and {len(dev)} dev rows", "at least 2 and 1", "give more rows")
        soft = [slot.name for slot in prompt.slots.values() if isinstance(slot, VectorSlot) and slot.vectors is None]
        if soft:
            raise PromptError(f"the open soft slot {soft[0]!r}", "hard slots only, or filled soft ones", "swap words first")
        seed = int(rng.integers(2**31))
        # All rows as they are, not `task.strata`: the losses of swaps are calibrated by the labels' shares among them.
        train = usual_rows(train, prompt.field_names, trail, "training")
        dev = usual_rows(dev, prompt.field_names, trail, "dev")
        placed = with_hard_slot(prompt, self.place)
        swapping = Swapping(
            SwapPlan(
                self.rows, self.candidates, self.finalists, self.top, self.steps, self.most_steps, self.looks, self.patience
            ),
            prompt,
            placed,
            task,
            backbone,
            train.take(drawn(train, seed, 0)),
            dev.take(drawn(dev, seed, 1)[: self.dev_rows]),
            torch.from_numpy(task.prior(train)).float(),
            Memo(Meter(budget, backbone, trail), trail),
            seed,
        )
        return swapping.run(first_words(placed, prompt, task, backbone, self.length, self.start), _OVERHEAD)
