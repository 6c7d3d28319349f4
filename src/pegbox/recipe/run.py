"""One method on one split: from a name and a prompt to something that predicts, with what it cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.data.rows import Rows
from pegbox.errors import BackboneError
from pegbox.evaluate.nearest_words import nearest_words
from pegbox.prompt import Field, Prompt, Text
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
        settings: changes to its settings, by dotted name.
        prompt: the written prompt.
        task: labels, words, calibration.
        budget: what it may spend.
        seed: all of its chance.
    """

    method: str
    prompt: Prompt
    task: Classification
    budget: Budget
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of a job."""

    predictor: Predictor
    dev_accuracy: float
    tokens_forward: int
    tokens_backward: int
    seconds: float
    peak_memory: int
    notes: tuple[str, ...]
    trail: tuple[Mapping[str, Any], ...]

    @property
    def nearest(self) -> Mapping[str, tuple[tuple[str, float, float], ...]]:
        """The soft slots' nearest words; empty for words alone."""
        found = self.predictor
        return nearest_words(found.prompt, found.backbone) if isinstance(found, PromptPredictor) else {}


def run(job: Job, backbone: HuggingFaceBackbone, train: Rows, dev: Rows, trail: Trail) -> Outcome:
    """Does the job. The test rows are nowhere in sight.

    Raises: BackboneError if the method moved the frozen weights.
    """
    chosen = method(job.method)
    maker = with_settings(chosen.make(), job.settings)
    rng = np.random.default_rng([job.seed, 7])
    weights, before, began = backbone.weights_digest(), _copy(backbone), time.monotonic()
    spend = {"budget": job.budget, "rng": rng, "trail": trail}
    with _Peak() as peak:
        if chosen.predictor:
            predictor: Predictor = maker.fit(job.prompt, job.task, backbone, train, dev, **spend)
        else:
            prompt = maker.tune(job.prompt, job.task, backbone, train, dev, **spend)
            predictor = PromptPredictor(prompt, job.task, backbone, job.task.calibrate(prompt, backbone, train))
    seconds = time.monotonic() - began
    spent = _copy(backbone) - before
    if backbone.weights_digest() != weights:
        raise BackboneError(f"{job.method} changed the frozen model's weights", "a frozen model", "report this method; its figures are void")
    dev_accuracy = float((predictor.predict_proba(dev).argmax(axis=1) == job.task.gold(dev)).mean())
    notes = tuple(dict.fromkeys(str(event["text"]) for event in trail.of("note")))
    return Outcome(predictor, dev_accuracy, spent.forward, spent.backward, seconds, peak.bytes, notes, tuple(trail.events))


def default_prompt(task: Classification, instruction: str | None = None, text: str = "Text", label: str = "Label") -> Prompt:
    """The written prompt for those who bring none: what to do, the text, and where the label goes.

    Settings:
        instruction: what to do; by default to classify the text as one of the label words.
        text, label: what stands before the text and before the label.
    """
    words = [words[0] for words in task.words.values()]
    asked = instruction or f"Classify the text as {', '.join(words[:-1])} or {words[-1]}."
    from pegbox.prompt import Answer

    return Prompt.of(Text(f"{asked}\n{text}: "), Field("text"), Text(f"\n{label}: "), Answer())


def _copy(backbone: HuggingFaceBackbone) -> Any:
    from dataclasses import replace

    return replace(backbone.spent)


class _Peak:
    """The largest resident size of this process while a block runs, looked at twenty times a second."""

    def __enter__(self) -> _Peak:
        self.bytes = 0
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def _watch(self) -> None:
        process = psutil.Process()
        while True:
            self.bytes = max(self.bytes, int(process.memory_info().rss))
            if self._done.wait(0.05):
                return

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watcher.join()
