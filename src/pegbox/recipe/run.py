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
from pegbox.prompt import Answer, Field, Prompt, Text
from pegbox.recipe.ledger import Ledger, Spending
from pegbox.recipe.methods import method
from pegbox.recipe.settings import with_settings
from pegbox.task.classification import Classification
from pegbox.task.predictor import Predictor, PromptPredictor
from pegbox.tune.budget import Budget
from pegbox.tune.trail import Trail


@dataclass(frozen=True)
class Job:
    """What is to be tuned, and how.

    Settings:
        method: its name in the registry.
        prompt: the written prompt.
        task: labels, words, calibration.
        budget: what it may spend.
        seed: all of its chance.
        settings: changes to its settings, by dotted name.

    Raises: SettingsError for an unknown method, setting or value, and for a seed below 0.
    """

    method: str
    prompt: Prompt
    task: Classification
    budget: Budget
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise SettingsError(f"seed {self.seed}", "a number from 0 up", "choose another")
        self.made()

    def made(self) -> Any:
        """The method with its settings."""
        return with_settings(method(self.method).make(), self.settings)


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Settings:
        predictor: what answers now.
        dev_accuracy: its accuracy on the rows it was chosen on.
        spending: what it cost, earlier tries that were interrupted included.
        notes: what was noticed.
        trail: the run's events.
    """

    predictor: Predictor
    dev_accuracy: float
    spending: Spending
    notes: tuple[str, ...]
    trail: tuple[Mapping[str, Any], ...]

    @property
    def nearest(self) -> Mapping[str, tuple[tuple[str, float, float], ...]]:
        """The soft slots' nearest words; empty for words alone."""
        found = self.predictor
        return nearest_words(found.prompt, found.backbone) if isinstance(found, PromptPredictor) else {}


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
    with Ledger(backbone, trail.folder) as ledger:
        if method(job.method).predictor:
            predictor: Predictor = maker.fit(job.prompt, job.task, backbone, train, dev, **spend)
        else:
            prompt = maker.tune(job.prompt, job.task, backbone, train, dev, **spend)
            predictor = PromptPredictor(prompt, job.task, backbone, job.task.calibrate(prompt, backbone, train))
    if backbone.weights_digest() != weights:
        raise BackboneError(
            f"{job.method} changed the frozen model's weights", "a frozen model", "report this method; its figures are void"
        )
    dev_accuracy = float((predictor.predict_proba(dev).argmax(axis=1) == job.task.gold(dev)).mean())
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


def default_prompt(task: Classification, instruction: str | None = None, text: str = "Text", label: str = "Label") -> Prompt:
    """The written prompt for those who bring none: what to do, the text, and where the label goes.

    Settings:
        instruction: what to do; by default to classify the text as one of the label words.
        text, label: what stands before the text and before the label.
    """
    words = [words[0] for words in task.words.values()]
    asked = instruction or f"Classify the text as {', '.join(words[:-1])} or {words[-1]}."
    return Prompt.of(Text(f"{asked}\n{text}: "), Field("text"), Text(f"\n{label}: "), Answer())
