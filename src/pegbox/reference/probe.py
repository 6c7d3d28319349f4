"""Probe: a logistic regression on what the frozen backbone makes of the texts, without any prompt."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt
from pegbox.reference.aims import OneVsRest, aim_of, whole_texts
from pegbox.reference.linear import Linear, Scale
from pegbox.reference.texts import cut_texts, features_within, text_features
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget, Meter
from pegbox.tune.dev_score import DevScore
from pegbox.tune.trail import Trail

POOLS = ("mean", "last")
"""The two readings of `Backbone.features`, in its order."""


@dataclass(frozen=True)
class Probe:
    """Shows how much of the task the backbone's own features hold, with no words to bring it out.

    Settings:
        layers: depths to read, as shares of the model's layers, tried in turn; each as mean over the text and at its end.
        strengths: how weak the penalty is (C of the logistic regression), tried in turn.

    Source: Alain and Bengio 2016 (arXiv 1610.01644), linear probes at several depths; we choose the depth on dev.
    """

    layers: tuple[float, ...] = (0.5, 0.75, 1.0)
    strengths: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

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
    ) -> ProbePredictor:
        """See `pegbox.reference.protocol.Reference.fit`. Rows beyond the budget are left out, by chance."""
        meter = Meter(budget, backbone, trail)
        train, dev = whole_texts(task, train, dev)
        dev_features = text_features(dev, prompt, backbone, self.layers)
        train = train.take([int(at) for at in rng.permutation(len(train))])
        features = features_within(meter, 1.0, train, prompt, backbone, self.layers)
        if len(features) < len(train):
            trail.write("note", text=f"the budget was spent after {len(features)} of {len(train)} training rows")
        if cut := len(cut_texts(train.take(range(len(features))), prompt, backbone)):
            trail.write("note", text=f"{cut} of {len(features)} training texts were cut to the model's context")
        aim = aim_of(task, train.take(range(len(features))), dev)
        best: tuple[DevScore, ProbePredictor] | None = None
        for (at, layer), (pool, name) in itertools.product(enumerate(self.layers), enumerate(POOLS)):
            seen = features[:, at, pool]
            scale = Scale(seen.mean(axis=0), seen.std(axis=0) + 1e-6)
            for strength in self.strengths:
                linear = aim.learned(scale(seen), strength)
                score = aim.score(linear.probabilities(scale(dev_features[:, at, pool])))
                kept = best is None or score > best[0]
                settings = f"depth {layer:g}, {name}, strength {strength:g}"
                trail.write("candidate", settings=settings, score=score.accuracy, fit=score.fit, rows=len(dev), kept=kept)
                best = (score, ProbePredictor(backbone, prompt, layer, pool, scale, linear)) if kept else best
        assert best is not None
        return best[1]


@dataclass(frozen=True, eq=False)
class ProbePredictor:
    """A regression on the backbone's features.

    Settings:
        template: the prompt whose fields are read.
        layer: the depth that is read.
        pool: 0 for the mean over the text, 1 for its last token.
    """

    backbone: Backbone
    template: Prompt
    layer: float
    pool: int
    scale: Scale
    linear: Linear | OneVsRest
    prompt: Prompt | None = None

    @property
    def parameters(self) -> int:
        return self.linear.parameters

    @property
    def nbytes(self) -> int:
        return self.linear.nbytes + self.scale.mean.nbytes + self.scale.spread.nbytes

    def predict_proba(self, rows: Rows) -> NDArray[np.float32]:
        """See `pegbox.task.predictor.Predictor.predict_proba`."""
        features = text_features(rows, self.template, self.backbone, (self.layer,))
        return self.linear.probabilities(self.scale(features[:, 0, self.pool]))

    def cut_rows(self, rows: Rows) -> tuple[int, ...]:
        """Positions of the rows whose texts are cut to fit into the model's context."""
        return cut_texts(rows, self.template, self.backbone)
