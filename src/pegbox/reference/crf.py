"""CRF: a conditional random field over the letters of words and of their neighbours, without the model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.data.words import spans_in, texts_of
from pegbox.errors import SettingsError
from pegbox.metrics.entities import entities, tags_of
from pegbox.prompt import Prompt
from pegbox.task.tagging import Tagged, Tagging, gold_tags, tagged
from pegbox.tune.budget import Budget
from pegbox.tune.trail import Trail


@dataclass(frozen=True)
class Crf:
    """What tagging was before language models: L-BFGS on sparse features, through CRFsuite.

    Settings:
        l1, l2: penalties on the weights.
        iterations: of L-BFGS, at most.
        window: how many neighbours on each side are looked at.

    Source: Lafferty, McCallum and Pereira 2001; the features are those usual for names (word, shape, beginnings and endings).
    """

    l1: float = 0.1
    l2: float = 0.01
    iterations: int = 100
    window: int = 2

    def fit(
        self,
        prompt: Prompt,  # noqa: ARG002  # the protocol's arguments, of which this method needs one
        task: Tagging,  # noqa: ARG002
        backbone: Backbone,  # noqa: ARG002
        train: Rows,
        dev: Rows,  # noqa: ARG002
        *,
        budget: Budget,  # noqa: ARG002
        rng: np.random.Generator,  # noqa: ARG002
        trail: Trail,  # noqa: ARG002
    ) -> CrfTagger:
        """See `pegbox.reference.protocol.Reference.fit`. Raises SettingsError without the package python-crfsuite."""
        try:
            import pycrfsuite
        except ImportError as error:
            raise SettingsError(
                "crf without the package python-crfsuite", "python-crfsuite 0.9.12 or later", "pip install 'pegbox[tag]'"
            ) from error
        trainer = pycrfsuite.Trainer(verbose=False)
        trainer.set_params({"c1": self.l1, "c2": self.l2, "max_iterations": self.iterations})
        for words, tags in zip(words_of(train), gold_tags(train), strict=True):
            trainer.append([features_at(words, at, self.window) for at in range(len(words))], tags)
        with tempfile.TemporaryDirectory(prefix="pegbox-") as folder:
            place = Path(folder) / "model.crfsuite"
            trainer.train(str(place))
            return CrfTagger(place.read_bytes(), self.window)


@dataclass(frozen=True)
class CrfTagger:
    """A fitted field.

    Settings:
        model: as CRFsuite writes it.
    """

    model: bytes
    window: int
    prompt: Prompt | None = None

    @property
    def parameters(self) -> int:
        found = self._tagger().info()
        return len(found.state_features) + len(found.transitions)

    @property
    def nbytes(self) -> int:
        return len(self.model)

    def answers(self, rows: Rows) -> list[Tagged]:
        """Each sentence's tags; an I- that nothing led to begins an entity."""
        tagger = self._tagger()
        found = []
        for words in words_of(rows):
            tags = tagger.tag([features_at(words, at, self.window) for at in range(len(words))])
            found.append(tags_of(entities(tags), len(words)))
        return tagged(rows, found)

    def _tagger(self) -> Any:
        import pycrfsuite

        tagger = pycrfsuite.Tagger()
        tagger.open_inmemory(self.model)
        return tagger


def words_of(rows: Rows) -> list[list[str]]:
    """The words of each sentence."""
    return [texts_of(row["text"], spans_in(gold)) for row, gold in zip(rows.fields, rows.gold or (), strict=True)]


def features_at(words: Sequence[str], at: int, window: int) -> list[str]:
    """What is seen at a word: itself, its shape, its beginnings and endings, and the words around it with their shapes."""
    word = words[at]
    found = ["always", f"shape={shape(word)}"]
    found += [f"begins={word[:size].lower()}" for size in range(1, 5)]
    found += [f"ends={word[-size:].lower()}" for size in range(1, 5)]
    for step in range(-window, window + 1):
        place = at + step
        inside = 0 <= place < len(words)
        found.append(f"{step}:word={words[place].lower() if inside else '|'}")
        if inside and step:
            found.append(f"{step}:shape={shape(words[place])}")
    return found


def shape(word: str) -> str:
    """A word's letters as X, x and 0, runs of them once: "McDonald" is XxXx."""
    marks = ["X" if c.isupper() else "x" if c.isalpha() else "0" if c.isdigit() else c for c in word]
    return "".join(mark for mark, before in zip(marks, ["", *marks], strict=False) if mark != before)
