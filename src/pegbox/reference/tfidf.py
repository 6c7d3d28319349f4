"""TF-IDF: weighted counts of words and letters, and a logistic regression on them. It knows nothing but the training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.errors import DataError
from pegbox.prompt import Prompt
from pegbox.reference.aims import OneVsRest, aim_of, whole_texts
from pegbox.reference.linear import Linear
from pegbox.reference.texts import row_texts
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget, Meter
from pegbox.tune.dev_score import DevScore
from pegbox.tune.trail import Trail

Grams = Literal["words", "word pairs", "letters", "word pairs and letters"]

_WORD = r"(?u)\b\w+\b|[^\w\s]"  # one-letter words and punctuation count: "?" and "!" tell much


@dataclass(frozen=True)
class TfIdf:
    """The baseline that needs no language model, tuned with the same care as everything else.

    Settings:
        grams: what is counted, tried in turn: words, runs of one or two words, runs of two to five letters, or both of these.
        strengths: how weak the penalty is (C of the logistic regression), tried in turn.

    Source: Wang and Manning 2012, "Baselines and Bigrams" (the case for word pairs and a linear model). We choose on dev.
    """

    grams: tuple[Grams, ...] = ("words", "word pairs", "word pairs and letters")
    strengths: tuple[float, ...] = (1.0, 10.0, 100.0)

    def fit(
        self,
        prompt: Prompt,
        task: Classification,
        backbone: Backbone,
        train: Rows,
        dev: Rows,
        *,
        budget: Budget,
        rng: np.random.Generator,  # noqa: ARG002  # nothing here is chance
        trail: Trail,
    ) -> TfIdfPredictor:
        """See `pegbox.reference.protocol.Reference.fit`. The texts are those of the prompt's fields."""
        meter = Meter(budget, backbone, trail)
        train, dev = whole_texts(task, train, dev)
        texts, judged = row_texts(train, prompt), row_texts(dev, prompt)
        aim = aim_of(task, train, dev)
        best: tuple[DevScore, TfIdfPredictor] | None = None
        for grams in self.grams:
            vectorizer = _vectorizer(grams)
            counts = _counted(vectorizer, texts, train.source)
            dev_counts = vectorizer.transform(judged)
            for strength in self.strengths:
                if best is not None and meter.exhausted:
                    trail.write("note", text="the budget was spent before all settings of tfidf were tried")
                    return best[1]
                linear = aim.learned(counts, strength)
                score = aim.score(linear.probabilities(dev_counts))
                kept = best is None or score > best[0]
                settings = f"{grams}, strength {strength:g}"
                trail.write("candidate", settings=settings, score=score.accuracy, fit=score.fit, rows=len(dev), kept=kept)
                best = (score, TfIdfPredictor(vectorizer, linear, prompt)) if kept else best
        assert best is not None
        return best[1]


@dataclass(frozen=True, eq=False)
class TfIdfPredictor:
    """A fitted count of words and letters, and the regression on it.

    Settings:
        template: the prompt whose fields are read.
    """

    vectorizer: Any
    linear: Linear | OneVsRest
    template: Prompt
    prompt: Prompt | None = None

    @property
    def parameters(self) -> int:
        return self.linear.parameters

    @property
    def nbytes(self) -> int:
        """The regression's numbers, the counted runs as text, and a weight for each."""
        terms = self.vectorizer.get_feature_names_out()
        return self.linear.nbytes + sum(len(term.encode("utf-8", "surrogatepass")) + 8 for term in terms)

    def predict_proba(self, rows: Rows) -> NDArray[np.float32]:
        """See `pegbox.task.predictor.Predictor.predict_proba`."""
        return self.linear.probabilities(self.vectorizer.transform(row_texts(rows, self.template)))


def _vectorizer(grams: Grams) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import FeatureUnion

    def words(longest: int) -> Any:
        return TfidfVectorizer(token_pattern=_WORD, ngram_range=(1, longest), sublinear_tf=True)

    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    match grams:
        case "words":
            return words(1)
        case "word pairs":
            return words(2)
        case "letters":
            return letters
        case "word pairs and letters":
            return FeatureUnion([("words", words(2)), ("letters", letters)])


def _counted(vectorizer: Any, texts: list[str], source: str) -> Any:
    if not any(text.strip() for text in texts):
        raise DataError(f"{len(texts)} empty texts in {source}", "texts with words in them", "check the text column")
    return vectorizer.fit_transform(texts)
