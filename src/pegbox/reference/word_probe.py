"""Probe for tagging: a logistic regression on what the frozen backbone makes of each word in its sentence."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.loaded_backbone import LoadedBackbone
from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.data.words import spans_in, word_rows
from pegbox.errors import BackboneError
from pegbox.prompt import Prompt
from pegbox.reference.linear import Linear, Scale, fit_linear
from pegbox.task.decoding import Grammar
from pegbox.task.tagging import Tagged, Tagging, by_sentence, decoded, gold_tags
from pegbox.tune.budget import Budget, Meter
from pegbox.tune.trail import Trail

_AT_ONCE = 64


@dataclass(frozen=True)
class WordProbe:
    """Shows how much of the task the words' features hold, read from left to right without any prompt.

    Decoded to valid tags as the prompts' answers are. Depth, penalty and the grammar's weights are chosen by entity F1 on dev.

    Settings:
        layers: depths to read, as shares of the model's layers, tried in turn.
        strengths: how weak the penalty is (C of the logistic regression), tried in turn.

    Source: Alain and Bengio 2016 (arXiv 1610.01644), linear probes at several depths; Tenney et al. 2019 (arXiv 1905.06316)
        probe spans for entities, and we the mean of each word's tokens.
    """

    layers: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    strengths: tuple[float, ...] = (1e-3, 1e-2)

    def fit(
        self,
        prompt: Prompt,  # noqa: ARG002  # there is none
        task: Tagging,
        backbone: Backbone,
        train: Rows,
        dev: Rows,
        *,
        budget: Budget,
        rng: np.random.Generator,
        trail: Trail,
    ) -> WordProbeTagger:
        """See `pegbox.reference.protocol.Reference.fit`. Sentences beyond the budget are left out, by chance.

        Raises: BackboneError for a backbone whose states are out of reach.
        """
        if not isinstance(backbone, LoadedBackbone):
            raise BackboneError(f"words' features of a {type(backbone).__name__}", "a Transformers model", "leave probe out")
        judged, dev_features = word_rows(dev), features_of(backbone, dev, self.layers)
        train = train.take([int(at) for at in rng.permutation(len(train))])
        features, read = self._within(Meter(budget, backbone, trail), backbone, train)
        if read < len(train):
            trail.write("note", text=f"the budget was spent after {read} of {len(train)} training sentences")
        gold = task.of_words.gold(word_rows(train.take(range(read))))
        grammar = Grammar.counted(task.types, gold_tags(train))
        best: tuple[float, WordProbeTagger] | None = None
        for (at, layer), strength in itertools.product(enumerate(self.layers), self.strengths):
            seen = features[:, at]
            scale = Scale(seen.mean(axis=0), seen.std(axis=0) + 1e-6)
            linear = fit_linear(scale(seen), gold, len(task.types), strength)
            seen_dev = np.log(linear.probabilities(scale(dev_features[:, at])))
            fitted = grammar.fitted(by_sentence(seen_dev, judged), gold_tags(dev))
            made = WordProbeTagger(backbone, layer, scale, linear, fitted)
            score = task.dev_score(_Read(made.tagged(dev, dev_features[:, at])), dev)
            kept = best is None or score > best[0]
            settings = f"depth {layer:g}, strength {strength:g}"
            trail.write("candidate", settings=settings, score=score, rows=len(dev), kept=kept)
            best = (score, made) if kept else best
        assert best is not None
        return best[1]

    def _within(self, meter: Meter, backbone: LoadedBackbone, train: Rows) -> tuple[NDArray[np.float32], int]:
        """Features of the first sentences' words, as far as the budget goes, and how many sentences that is."""
        found: list[NDArray[np.float32]] = []
        dearest, read = 0, 0
        while read < len(train):
            left = meter.tokens_left
            if found and left is not None and dearest > left:
                break
            before = meter.tokens
            some = train.take(range(read, min(read + _AT_ONCE, len(train))))
            found.append(features_of(backbone, some, self.layers))
            meter.settle()
            dearest, read = max(dearest, meter.tokens - before), read + len(some)
        return np.concatenate(found), read


@dataclass(frozen=True)
class _Read:
    """Answers that are there already."""

    found: list[Tagged]
    prompt: Prompt | None = None
    parameters: int = 0
    nbytes: int | None = None

    def answers(self, rows: Rows) -> list[Tagged]:  # noqa: ARG002
        return self.found


def features_of(backbone: LoadedBackbone, rows: Rows, layers: tuple[float, ...]) -> NDArray[np.float32]:
    """The features of all words of these sentences. Shape: [words, layers, H]."""
    return backbone.word_features(rows.column("text"), [spans_in(gold) for gold in rows.gold or ()], layers)


@dataclass(frozen=True, eq=False)
class WordProbeTagger:
    """A regression on the backbone's features of words.

    Settings:
        layer: the depth that is read.
    """

    backbone: LoadedBackbone
    layer: float
    scale: Scale
    linear: Linear
    grammar: Grammar
    prompt: Prompt | None = None

    @property
    def parameters(self) -> int:
        return self.linear.parameters

    @property
    def nbytes(self) -> int:
        return self.linear.nbytes + self.scale.mean.nbytes + self.scale.spread.nbytes

    def answers(self, rows: Rows) -> list[Tagged]:
        """Each sentence's tags."""
        found: list[Tagged] = []
        for first in range(0, len(rows), _AT_ONCE):
            some = rows.take(range(first, min(first + _AT_ONCE, len(rows))))
            found.extend(self.tagged(some, features_of(self.backbone, some, (self.layer,))[:, 0]))
        return found

    def tagged(self, rows: Rows, features: NDArray[np.float32]) -> list[Tagged]:
        """The sentences' tags from their words' features. Shape: [words, H]."""
        scores = np.log(self.linear.probabilities(self.scale(features)))
        return decoded(self.grammar, scores, word_rows(rows), rows)
