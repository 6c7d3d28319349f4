"""A served prompt: an artifact over the one model, ready for rows."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pegbox.artifact import Tuned, load
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.mixed import Passage, Standing
from pegbox.data.rows import Rows
from pegbox.errors import ArtifactError, PromptError
from pegbox.prompt import VectorSlot, format
from pegbox.prompt.names import Name
from pegbox.task.classification import join_words
from pegbox.task.generation import Generation
from pegbox.task.many_labels import SetPredictor
from pegbox.task.predictor import PromptPredictor
from pegbox.task.tagging import TagPredictor

MOST_BRANCHES = 4
"""Ways on from a text that are read beside each other in the running batch, the text anew for each."""


@dataclass(frozen=True, eq=False)
class Served:
    """A prompt under its name.

    Settings:
        name: with its version.
        tuned: the artifact.
        standing: the prompt over the model; with the labels' words, but for a noisy channel, which is scored by itself.
    """

    name: Name
    tuned: Tuned
    standing: Standing

    @property
    def predictor(self) -> PromptPredictor:
        """What gives each label its share, or each type: the prompt itself, or that of one for several labels or for tags."""
        return classifier_of(self.tuned)

    @property
    def labels(self) -> tuple[str, ...]:
        """What a row's label may be; none where it answers with something else."""
        return () if self.writes or self.tags else self.predictor.task.labels

    @property
    def tags(self) -> bool:
        """Whether it answers with the entities of a text."""
        return isinstance(self.tuned.predictor, TagPredictor)

    @property
    def writes(self) -> bool:
        """Whether it answers with a text that the model writes, and not with a label."""
        return isinstance(self.tuned.task, Generation)

    @property
    def room(self) -> int:
        """Tokens that a text may have, where a client does not say."""
        return int(self.tuned.predictor.max_tokens) if self.writes else 64

    @property
    def stop(self) -> tuple[str, ...]:
        """Strings at which a text ends, where a client does not say."""
        return self.tuned.task.stop if isinstance(self.tuned.task, Generation) else ()

    @property
    def channel(self) -> bool:
        return self.predictor.task.channel

    def given(self, shares: NDArray[np.float32]) -> list[str] | None:
        """The labels that a text has, where it may have several. Shape: shares [C]."""
        if not isinstance(self.tuned.predictor, SetPredictor):
            return None
        return self.tuned.predictor.given(shares[None])[0]

    @property
    def alone(self) -> bool:
        """Whether its rows are answered by themselves.

        In a noisy channel, in pieces, with words that part in many places, or with beams. Words of a sentence never are:
        however many ways they go on, what is before is read once.
        """
        if isinstance(self.tuned.task, Generation):
            return self.tuned.task.beams > 1
        return not self.tags and self._scored_alone

    @property
    def _scored_alone(self) -> bool:
        return self.channel or not self.predictor.task.long.plain or self.standing.branches > MOST_BRANCHES

    @property
    def fields(self) -> tuple[str, ...]:
        """What every row must have."""
        return self.tuned.task.reads(self.tuned.prompt)

    @property
    def _calibrated(self) -> str:
        return str(getattr(self.tuned.task, "calibration", "none")) if self.tags else self.predictor.calibration.method

    @cached_property
    def _counts(self) -> list[int]:
        words = self.predictor.task.words_in(self.tuned.prompt)
        return [len(words[label]) for label in self.predictor.task.labels]

    def probabilities(self, passages: Sequence[Passage]) -> NDArray[np.float32]:
        """The labels' probabilities, from one row's passages read to their ends. Shape: [C]."""
        scores = join_words(self.standing.read(passages), self._counts).log_softmax(-1)
        return self.predictor.calibration.probabilities(scores.cpu().numpy())

    def by_itself(self, rows: Rows) -> NDArray[np.float32]:
        """The same without the running batch: for prompts that are scored in another way. Shape: [B, C]."""
        return self.predictor.predict_proba(rows)

    def described(self) -> dict[str, Any]:
        """What clients may know of it."""
        record = self.tuned.record
        return {
            "name": self.name.base,
            "version": self.name.version,
            "prompt": format(self.tuned.prompt),
            "fields": list(self.fields),
            "labels": list(self.labels),
            "method": record.get("method"),
            "task": self.tuned.task.name,
            "settings": dict(self.tuned.task.to_json()),
            "vectors": sum(slot.length for slot in self.tuned.prompt.slots.values() if isinstance(slot, VectorSlot)),
            "calibration": None if self.writes else self._calibrated,
            "model": self.tuned.backbone.name,
        }


def open_served(name: Name, path: Path, backbone: HuggingFaceBackbone) -> Served:
    """An artifact, loaded and checked. It must run on the thread that owns the model.

    Raises: PegboxError for one that cannot be served.
    """
    try:
        tuned = load(path, backbone)
    except RecursionError:
        raise ArtifactError(f"{path} is nested too deeply", "a folder as `pegbox tune` wrote it", "tune it again") from None
    _check_numbers(path, tuned)
    if isinstance(tuned.task, Generation):
        return _writing(name, path, tuned, backbone)
    predictor = classifier_of(tuned)
    offsets, labels = predictor.calibration.offsets, predictor.task.labels
    if len(offsets) not in (0, len(labels)) or not all(map(math.isfinite, offsets)):
        raise ArtifactError(
            f"{path} has {len(offsets)} calibration offsets, or some that are no numbers",
            f"one for each of {len(labels)} labels",
            "tune it again",
        )
    words = predictor.task.words_in(tuned.prompt)
    flat = tuple(word for label in labels for word in words[label])
    if predictor.task.channel and tuned.prompt.is_chat:
        raise PromptError(f"{path} is a chat with channel scoring", "a plain prompt", "tune it without channel scoring")
    return Served(name, tuned, backbone.standing(tuned.prompt, () if predictor.task.channel else flat))


def _check_numbers(path: Path, tuned: Tuned) -> None:
    """Raises ArtifactError for settings that JSON cannot tell, and for texts of no length."""
    try:
        json.dumps(tuned.task.to_json(), allow_nan=False)
    except ValueError as error:
        raise ArtifactError(f"{path} has settings that are no numbers", "finite numbers", "tune it again") from error
    if isinstance(tuned.task, Generation) and tuned.predictor.max_tokens < 1:
        raise ArtifactError(
            f"{path} writes texts of {tuned.predictor.max_tokens} tokens", "at least one token", "tune it again"
        )


def classifier_of(tuned: Tuned) -> PromptPredictor:
    """What gives labels or types their shares. Raises SettingsError for a prompt that does nothing of the kind."""
    if isinstance(tuned.predictor, TagPredictor):
        return tuned.predictor.of_words
    return tuned.predictor.inner if isinstance(tuned.predictor, SetPredictor) else tuned.classifier


def _writing(name: Name, path: Path, tuned: Tuned, backbone: HuggingFaceBackbone) -> Served:
    """A prompt after which texts are written: greedily or by chance, as clients ask."""
    task = tuned.task
    assert isinstance(task, Generation)
    if task.regex is not None or task.json_schema is not None:
        raise PromptError(
            f"{path} keeps to a regular expression or a JSON schema, which the server does not do",
            "a prompt whose texts are free",
            "use it with `pegbox predict`",
        )
    return Served(name, tuned, backbone.standing(tuned.prompt))
