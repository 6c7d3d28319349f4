"""Majority for tagging: the type that a word mostly has among the training rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.data.words import spans_in, texts_of, type_of
from pegbox.metrics.entities import OTHER
from pegbox.prompt import Prompt
from pegbox.task.decoding import Grammar
from pegbox.task.tagging import Tagged, Tagging, gold_tags, tagged
from pegbox.tune.budget import Budget
from pegbox.tune.trail import Trail


@dataclass(frozen=True)
class WordMajority:
    """Looks each word up, whatever stands around it; a word that no training row has is of no type.

    Source: the baseline of the CoNLL-2003 shared task (Tjong Kim Sang and De Meulder 2003), which looks whole entities up.
    """

    def fit(
        self,
        prompt: Prompt,  # noqa: ARG002  # the protocol's arguments, of which this method needs two
        task: Tagging,
        backbone: Backbone,  # noqa: ARG002
        train: Rows,
        dev: Rows,  # noqa: ARG002
        *,
        budget: Budget,  # noqa: ARG002
        rng: np.random.Generator,  # noqa: ARG002
        trail: Trail,  # noqa: ARG002
    ) -> WordMajorityTagger:
        """See `pegbox.reference.protocol.Reference.fit`."""
        tags = gold_tags(train)
        seen: dict[str, Counter[str]] = defaultdict(Counter)
        for row, gold, some in zip(train.fields, train.gold or (), tags, strict=True):
            for word, tag in zip(texts_of(row["text"], spans_in(gold)), some, strict=True):
                seen[word][type_of(tag)] += 1
        known = {word: max(counts, key=lambda kind: (counts[kind], kind)) for word, counts in seen.items()}
        return WordMajorityTagger(known, Grammar.counted(task.types, tags))


@dataclass(frozen=True)
class WordMajorityTagger:
    """A table of words.

    Settings:
        known: each word's type.
    """

    known: Mapping[str, str]
    grammar: Grammar
    prompt: Prompt | None = None

    @property
    def parameters(self) -> int:
        return len(self.known)

    @property
    def nbytes(self) -> int:
        return sum(len(word.encode("utf-8", "surrogatepass")) + 1 for word in self.known)

    def answers(self, rows: Rows) -> list[Tagged]:
        """Each sentence's tags."""
        found = []
        for row, gold in zip(rows.fields, rows.gold or (), strict=True):
            kinds = [self.known.get(word, OTHER) for word in texts_of(row["text"], spans_in(gold))]
            scores = np.array([[0.0 if kind == own else -50.0 for kind in self.grammar.types] for own in kinds])
            found.append(self.grammar.best(scores))
        return tagged(rows, found)
