"""Tagging: which words of a sentence name what; each word is asked about over its sentence, which is read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.data.tagged import types_of
from pegbox.data.words import OF_A_WORD, TAGS, WordRows, spans_in, thinned, word_rows
from pegbox.errors import DataError
from pegbox.metrics.entities import OTHER, entities, entity_sums, invalid_sums
from pegbox.prompt import Prompt
from pegbox.task.calibration import METHODS, Method
from pegbox.task.classification import Classification
from pegbox.task.decoding import Grammar
from pegbox.task.predictor import Predictor, PromptPredictor
from pegbox.task.scaling import Scaling, fit_scaling
from pegbox.task.task import Answering, Statistics, Task
from pegbox.task.type_words import type_words

FITTED = 128
"""Training sentences, at most, that scaling and the grammar's weights are fitted on: about two thousand words."""
_LEAST = 1e-9
"""The least probability, so that its logarithm is a number."""
_AT_ONCE = 64
"""Sentences whose words are scored together."""


@dataclass(frozen=True)
class Tagged:
    """One answer: a sentence's tags in BIO, over its words.

    Settings:
        text: the sentence.
        words: where its words begin and end, in characters.
    """

    text: str
    words: tuple[tuple[int, int], ...]
    tags: tuple[str, ...]

    def spans(self) -> list[dict[str, Any]]:
        """The entities as spans in the text: text[start:end] is the entity."""
        found = []
        for first, end, kind in entities(self.tags):
            start, stop = self.words[first][0], self.words[end - 1][1]
            found.append({"start": start, "end": stop, "label": kind, "text": self.text[start:stop]})
        return found


@dataclass(frozen=True)
class Tagging(Task):
    """Entities of some types in sentences.

    Methods tune a classification of words into types, of which O is one: every word of a sentence is a row, whose fields are
    the sentence ({text}) and how the word is asked about ({word}). In tuning there are as many words of no type as words of
    types, drawn from all; afterwards matrix scaling, on whole sentences, puts the true shares back.

    Settings:
        types: the types, O among them.
        words: for each type the words that stand for it; by default its own name in plain words.
        calibration: "batch": matrix scaling fitted on whole training sentences, in place of the mean of a batch alone;
            or "none".
    """

    name: ClassVar[str] = "tag"
    measures: ClassVar[tuple[str, ...]] = ("entity_f1", "entity_precision", "entity_recall", "invalid_tags")

    types: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    calibration: Method = "batch"

    def __post_init__(self) -> None:
        if OTHER not in self.types:
            object.__setattr__(self, "types", (OTHER, *self.types))
        if self.calibration not in METHODS or self.calibration == "contextual":
            raise DataError(f"calibration {self.calibration!r} for tagging", "batch or none", "choose one of them")
        given = {kind: some for kind, some in self.words.items() if kind in self.types}
        if unknown := sorted(set(self.words) - set(self.types)):
            raise DataError(f"words for {unknown[0]!r}", f"words for {', '.join(self.types)}", "check the type's spelling")
        object.__setattr__(self, "words", {**type_words(self.types), **given})
        _ = self.of_words  # complains of words that cannot stand side by side

    @property
    def of_words(self) -> Classification:
        """The classification of words that methods tune."""
        return Classification(self.types, self.words, self.calibration)

    def tuned_as(self, train: Rows, dev: Rows) -> tuple[Classification, Rows, Rows]:
        judged = word_rows(dev)
        known = judged.take([at for at, kind in enumerate(judged.answers()) if kind in self.types])
        return self.of_words, thinned(word_rows(train))[0], thinned(known)[0]

    def statistics(self, outputs: Sequence[Any], rows: Rows) -> Statistics:
        predicted, gold = [output.tags for output in outputs], gold_tags(rows)
        sums = entity_sums(predicted, gold)
        return {**dict.fromkeys(self.measures[:3], sums), "invalid_tags": invalid_sums(predicted)}

    def breakdown(self, outputs: Sequence[Any], rows: Rows) -> Mapping[str, Statistics]:
        predicted, gold = [output.tags for output in outputs], gold_tags(rows)
        kinds = sorted({*self.types, *types_of(rows)} - {OTHER})
        return {kind: dict.fromkeys(self.measures[:3], entity_sums(predicted, gold, kind)) for kind in kinds}

    def show(self, output: Any) -> str:
        return shown(output.spans())

    def plain(self, output: Any) -> Any:
        return {"spans": output.spans(), "tags": list(output.tags)}

    def gold_texts(self, rows: Rows) -> list[str]:
        return [shown(one.spans()) for one in tagged(rows, gold_tags(rows))]

    def reads(self, prompt: Prompt) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("text", *(name for name in prompt.field_names if name not in OF_A_WORD))))

    def inputs(self, prompt: Prompt, rows: Rows) -> list[str]:  # noqa: ARG002  # a sentence is read whole
        return rows.column("text")

    def predictor(self, prompt: Prompt, backbone: Backbone, train: Rows) -> TagPredictor:
        """See `pegbox.task.task.Task.predictor`: the scaling and the grammar are fitted on training sentences."""
        of_words = PromptPredictor(prompt, self.of_words, backbone)
        return TagPredictor(of_words, self, *self._fitted(of_words, train))

    def around(self, fitted: Any, backbone: Backbone, train: Rows) -> Answering:  # noqa: ARG002
        """See `pegbox.task.task.Task.around`: a reference that gives words' types, with what prompts have beside them too."""
        return WordTagger(fitted, self, *self._fitted(fitted, train))

    def _fitted(self, of_words: Predictor, train: Rows) -> tuple[Grammar, Scaling]:
        """Steps from all training sentences; the scaling and the grammar's weights from some, each scored as if left out."""
        some = train.take(sorted(np.random.default_rng(0).permutation(len(train))[:FITTED]))
        grammar = Grammar.counted(self.types, gold_tags(train))
        words, scores = WordTagger(of_words, self, grammar).scores(some)
        scaling = Scaling()
        if self.calibration != "none":
            scaling, scores = fit_scaling(scores, self.of_words.gold(words), words.sentences)
        return grammar.fitted(by_sentence(scores, words), gold_tags(some)), scaling

    def to_json(self) -> Mapping[str, Any]:
        words = {kind: list(some) for kind, some in self.words.items()}
        return {"types": list(self.types), "words": words, "calibration": self.calibration}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        words = {kind: tuple(some) for kind, some in content["words"].items()}
        return cls(tuple(content["types"]), words, content["calibration"])

    def restored(self, prompt: Prompt, backbone: Backbone, state: Mapping[str, Any]) -> TagPredictor:
        of_words = PromptPredictor(prompt, self.of_words, backbone)
        grammar, scaling = Grammar.from_json(state["grammar"]), Scaling.from_json(state["scaling"])
        if not grammar.fits(self.types) or not scaling.fits(len(self.types)):
            raise ValueError("steps or a scaling of other types")
        return TagPredictor(of_words, self, grammar, scaling)


@dataclass(frozen=True)
class WordTagger:
    """Tags of sentences, from something that gives each word's types.

    Settings:
        of_words: gives types' probabilities for `WordRows`.
    """

    of_words: Predictor
    task: Tagging
    grammar: Grammar
    scaling: Scaling = Scaling()  # noqa: RUF009  # immutable

    @property
    def prompt(self) -> Prompt | None:
        return self.of_words.prompt

    @property
    def parameters(self) -> int:
        return self.of_words.parameters

    @property
    def nbytes(self) -> int | None:
        return self.of_words.nbytes

    def answers(self, rows: Rows) -> list[Tagged]:
        """Each sentence's tags."""
        found: list[Tagged] = []
        for first in range(0, len(rows), _AT_ONCE):
            some = rows.take(range(first, min(first + _AT_ONCE, len(rows))))
            words, scores = self.scores(some)
            found.extend(decoded(self.grammar, scores, words, some))
        return found

    def scores(self, rows: Rows) -> tuple[WordRows, NDArray[np.floating]]:
        """The sentences' words, and log-probabilities of their types. Shape: [words, types]."""
        words = word_rows(rows)
        shares = self.of_words.predict_proba(replace(words, labels=None))  # a type that training lacks is missed, no error
        return words, self._scaled(shares)

    def decided(self, shares: NDArray[np.float32], words: WordRows, rows: Rows) -> list[Tagged]:
        """Each sentence's tags, from its words' probabilities before scaling. Shape: shares [words, types]."""
        return decoded(self.grammar, self._scaled(shares), words, rows)

    def _scaled(self, shares: NDArray[np.float32]) -> NDArray[np.floating]:
        return self.scaling.apply(np.log(np.maximum(shares, _LEAST)))


@dataclass(frozen=True)
class TagPredictor(WordTagger):
    """A tuned prompt that tags sentences."""

    of_words: PromptPredictor

    @property
    def prompt(self) -> Prompt:
        return self.of_words.prompt

    @property
    def backbone(self) -> Backbone:
        return self.of_words.backbone

    def request(self, rows: Rows) -> tuple[Prompt, Rows]:
        """See `pegbox.task.task.Prompted.request`: one row for each word."""
        return self.prompt, word_rows(rows)

    def state(self) -> Mapping[str, Any]:
        """See `pegbox.task.task.Prompted.state`."""
        return {"grammar": self.grammar.to_json(), "scaling": self.scaling.to_json()}

    def cut_rows(self, rows: Rows) -> tuple[int, ...]:
        """See `pegbox.task.task.Prompted.cut_rows`."""
        words = replace(word_rows(rows), labels=None)
        return tuple(sorted({words.sentences[at] for at in self.of_words.cut_rows(words)}))


def decoded(grammar: Grammar, scores: NDArray[np.floating], words: WordRows, rows: Rows) -> list[Tagged]:
    """The likeliest valid tags of each sentence. Shape: scores [words, types]."""
    return tagged(rows, [grammar.best(some) for some in by_sentence(scores, words)])


def by_sentence(scores: NDArray[np.floating], words: WordRows) -> list[NDArray[np.floating]]:
    """The words' scores, sentence by sentence. Shape: [words, types] to [words of one, types]."""
    groups = groupby(range(len(words)), key=lambda at: words.sentences[at])
    return [scores[list(group)] for _, group in groups]


def tagged(rows: Rows, tags: Sequence[Sequence[str]]) -> list[Tagged]:
    """Sentences with these tags."""
    gold = rows.gold or ()
    return [
        Tagged(row["text"], tuple(spans_in(one)), tuple(some)) for row, one, some in zip(rows.fields, gold, tags, strict=True)
    ]


def gold_tags(rows: Rows) -> list[list[str]]:
    """The right tags. Raises DataError for sentences without tags."""
    types_of(rows)
    return [list(one[TAGS]) for one in rows.gold or ()]


def shown(spans: Sequence[Mapping[str, Any]]) -> str:
    """Entities as a person reads them, each with its type."""
    return "; ".join(f"{span['text']} ({span['label']})" for span in spans) or "nothing"
