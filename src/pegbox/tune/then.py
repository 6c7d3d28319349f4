"""One method after another: what the first returns, the second goes on from. This is all that a hybrid needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.errors import SettingsError
from pegbox.prompt import Prompt
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget
from pegbox.tune.start import filled_at_start
from pegbox.tune.trail import Trail
from pegbox.tune.tuner import Tuner


@dataclass(frozen=True)
class Then:
    """Tunes with one method, then with another, on one budget.

    Open soft slots in the prompt are read at their start by the first, and are the second's to learn.

    Settings:
        first: for example a search for words.
        second: for example soft slots around the words that were found.
        share: the first method's share of the budget; what a word search leaves of this is the second's.
    """

    first: Tuner
    second: Tuner
    share: float = 0.4

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise SettingsError(f"a share of {self.share}", "between 0 and 1", "give both methods some of the budget")

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
        chances = [np.random.default_rng(int(rng.integers(2**31))) for _ in range(2)]
        trail.write("stage", name="first", method=type(self.first).__name__)
        stage, share = trail.stage("first"), budget.share(self.share)
        given = filled_at_start(prompt, backbone, task)
        found = self.first.tune(given, task, backbone, train, dev, budget=share, rng=chances[0], trail=stage)
        used = (stage.kept("used") or {"share": 1.0})["share"]
        backbone.forget()  # a second try, which reads the first method's answers from its trail, has nothing kept either
        trail.write("stage", name="second", method=type(self.second).__name__)
        rest = budget.share(1 - self.share * used)
        return self.second.tune(found, task, backbone, train, dev, budget=rest, rng=chances[1], trail=trail.stage("second"))
