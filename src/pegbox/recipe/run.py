"""One method on one split: from a name and a prompt to something that predicts, with what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pegbox.backbone.loaded_backbone import LoadedBackbone
from pegbox.data.rows import Rows
from pegbox.errors import BackboneError, SettingsError
from pegbox.evaluate.nearest_words import nearest_words
from pegbox.prompt import Prompt
from pegbox.recipe.ledger import Ledger, Spending
from pegbox.recipe.methods import for_task
from pegbox.recipe.settings import with_settings
from pegbox.task.classify import default_prompt
from pegbox.task.task import Task
from pegbox.tune.budget import Budget
from pegbox.tune.trail import Trail

__all__ = ["Job", "Outcome", "default_prompt", "run"]


@dataclass(frozen=True)
class Job:
    """What is to be tuned, and how.

    Settings:
        method: its name in the registry.
        prompt: the written prompt.
        task: what is asked of each row, and how it is scored.
        budget: what it may spend.
        seed: all of its chance.
        settings: changes to its settings, by dotted name.

    Raises: SettingsError for an unknown method, setting or value, and for a seed below 0.
    """

    method: str
    prompt: Prompt
    task: Task
    budget: Budget
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise SettingsError(f"seed {self.seed}", "a number from 0 up", "choose another")
        self.made()

    def made(self) -> Any:
        """The method with its settings."""
        return with_settings(for_task(self.method, self.task.name).make(), self.settings)


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Settings:
        predictor: what answers now: a `Predictor` of a classification, an `Answering` of any other task.
        dev_accuracy: its score on the rows it was chosen on: accuracy, or the task's main measure.
        spending: what it cost, earlier tries that were interrupted included.
        notes: what was noticed.
        trail: the run's events.
    """

    predictor: Any
    dev_accuracy: float
    spending: Spending
    notes: tuple[str, ...]
    trail: tuple[Mapping[str, Any], ...]

    @property
    def nearest(self) -> Mapping[str, tuple[tuple[str, float, float], ...]]:
        """The soft slots' nearest words; empty for words alone."""
        found = self.predictor
        return nearest_words(found.prompt, found.backbone) if self.kept else {}

    @property
    def kept(self) -> bool:
        """Whether it is a tuned prompt, which an artifact can keep."""
        return hasattr(self.predictor, "state")


def run(job: Job, backbone: LoadedBackbone, train: Rows, dev: Rows, trail: Trail) -> Outcome:
    """Does the job. The test rows are nowhere in sight.

    Raises: BackboneError if the method moved the frozen weights.
    """
    maker = job.made()
    backbone.forget()  # what an earlier job had read would make this one cheaper than it is
    _same_room(backbone, trail)
    rng = np.random.default_rng([job.seed, 7])
    weights = backbone.weights_digest()
    spend = {"budget": job.budget, "rng": rng, "trail": trail}
    known, say = for_task(job.method, job.task.name), lambda text: trail.write("note", text=text)
    with Ledger(backbone, trail.folder) as ledger:
        task, rows, judges = (job.task, train, dev) if known.whole else job.task.tuned_as(train, dev)
        if known.predictor:
            fitted = maker.fit(job.prompt, task, backbone, rows, judges, **spend)
            predictor = fitted if known.whole else job.task.around(fitted, backbone, train)
        else:
            rows = task.taught(job.prompt, backbone, rows, say)
            prompt = maker.tune(job.prompt, task, backbone, rows, judges, **spend)
            predictor = job.task.predictor(prompt, backbone, train)
        predictor = job.task.settled(predictor, train, dev, say)
    if backbone.weights_digest() != weights:
        raise BackboneError(
            f"{job.method} changed the frozen model's weights", "a frozen model", "report this method; its figures are void"
        )
    dev_accuracy = job.task.dev_score(predictor, dev)
    notes = tuple(dict.fromkeys(str(event["text"]) for event in trail.of("note")))
    return Outcome(predictor, dev_accuracy, ledger.total, notes, tuple(trail.events))


def _same_room(backbone: LoadedBackbone, trail: Trail) -> None:
    """Gives a second try as many bytes for what it keeps as the first one had, whatever memory is free now.

    Rows without room are read together with others than rows with room, which differs in the last bits.
    """
    kept = trail.kept("cache bytes")
    if kept is None:
        trail.keep("cache bytes", backbone.store.budget)
    else:
        backbone.store.budget = int(kept)
