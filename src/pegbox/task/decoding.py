"""From what each word is likely to be to one valid BIO sequence for its sentence."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pegbox.metrics.entities import OTHER, entity_sums
from pegbox.metrics.measures import f1

SCALES = (0.5, 0.7, 1.0, 1.4, 2.0, 3.0)
OTHERS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0)
"""What `Grammar.fitted` tries."""


@dataclass(frozen=True)
class Grammar:
    """Which tags may follow which, and how likely each is after the one before.

    Settings:
        types: the types of words, in the order of their log-probabilities; one of them is O.
        first: log-probabilities of the tags at the beginning of a sentence.
        after: log-probabilities of the tags after each tag, in rows; -inf where a tag cannot follow.
        scale: how much the words count beside what usually follows what.
        other: what is added to the log-probability of O, before that.

    Shape: first [S]; after [S, S], with S tags: O, and B- and I- of every other type.
    """

    types: tuple[str, ...]
    first: tuple[float, ...]
    after: tuple[tuple[float, ...], ...]
    scale: float = 1.0
    other: float = 0.0

    @property
    def tags(self) -> tuple[str, ...]:
        return tags_of_types(self.types)

    @classmethod
    def counted(cls, types: Sequence[str], sentences: Sequence[Sequence[str]]) -> Grammar:
        """From the tags of training sentences, each possible step counted once more than it was seen (add-one smoothing).

        What a word's own type says is in its log-probability already, so each step is divided by how often its type comes: a
        step counts by how much likelier it makes the tag.

        Source: the scaled likelihoods of Bourlard and Morgan 1994 (Connectionist Speech Recognition), section 7.
        """
        tags = tags_of_types(types)
        number = {tag: at for at, tag in enumerate(tags)}
        possible = np.array([[_may_follow(one, other) for other in tags] for one in (None, *tags)])
        counts = possible.astype(np.float64)
        kinds = np.ones(len(types))
        kind = kinds_of(types)
        for sentence in sentences:
            before = 0
            for tag in sentence:
                if tag not in number:  # a type of the test part alone
                    before = 0
                    continue
                counts[before, number[tag]] += 1
                kinds[kind[number[tag]]] += 1
                before = number[tag] + 1
        shares = np.log(kinds / kinds.sum())[kind]
        with np.errstate(divide="ignore"):
            steps = np.log(counts / counts.sum(axis=1, keepdims=True)) - shares
        return cls(tuple(types), tuple(map(float, steps[0])), tuple(tuple(map(float, row)) for row in steps[1:]))

    def fitted(self, scores: Sequence[NDArray[np.floating]], gold: Sequence[Sequence[str]]) -> Grammar:
        """The grammar with the scale, and the weight of O, that find the entities of these sentences best, by F1.

        Between equals those nearest to 1 and 0 are taken, as calibrated words ask for.

        Settings:
            scores: for each sentence log-probabilities of its words' types. Shape: [words, types].
        """
        pairs = sorted(itertools.product(SCALES, OTHERS), key=lambda pair: abs(np.log(pair[0])) + abs(pair[1]))
        ways = [replace(self, scale=scale, other=other) for scale, other in pairs]
        found = [float(f1(entity_sums([way.best(some) for some in scores], gold).sum(0))) for way in ways]
        return ways[int(np.argmax(found))]

    def best(self, scores: NDArray[np.floating]) -> list[str]:
        """The likeliest valid tags of a sentence (Viterbi).

        Settings:
            scores: log-probabilities of each word's types. Shape: [words, types].
        """
        kinds = np.asarray(scores, dtype=np.float64) + self.other * np.array([kind == OTHER for kind in self.types])
        words = self.scale * kinds[:, kinds_of(self.types)]
        after = np.array(self.after)
        total = np.array(self.first) + words[0]
        came: list[NDArray[np.int64]] = []
        for word in words[1:]:
            ways = total[:, None] + after
            came.append(ways.argmax(axis=0))
            total = ways.max(axis=0) + word
        at = int(total.argmax())
        path = [at]
        for back in reversed(came):
            at = int(back[at])
            path.append(at)
        return [self.tags[at] for at in reversed(path)]

    def fits(self, types: Sequence[str]) -> bool:
        """Whether it is one of these types, with a number for every step."""
        size, numbers = len(self.tags), [*self.first, *itertools.chain(*self.after), self.scale, self.other]
        sizes = {len(self.first), len(self.after), *map(len, self.after)}
        return self.types == tuple(types) and sizes == {size} and all(number < np.inf for number in numbers)

    def to_json(self) -> dict[str, Any]:
        """In JSON's own types, where what cannot follow is null."""
        plain = [[None if np.isinf(step) else step for step in row] for row in (self.first, *self.after)]
        return {"types": list(self.types), "steps": plain, "scale": self.scale, "other": self.other}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Grammar:
        """What `to_json` wrote."""
        first, *after = (tuple(-np.inf if step is None else float(step) for step in row) for row in content["steps"])
        return cls(tuple(content["types"]), first, tuple(after), float(content["scale"]), float(content["other"]))


def tags_of_types(types: Sequence[str]) -> tuple[str, ...]:
    """The tags that words of these types may have: O, B- and I-."""
    return tuple(tag for kind in types for tag in ([OTHER] if kind == OTHER else [f"B-{kind}", f"I-{kind}"]))


def kinds_of(types: Sequence[str]) -> NDArray[np.int64]:
    """For each tag the number of its type. Shape: [S]."""
    return np.array([at for at, kind in enumerate(types) for _ in range(1 if kind == OTHER else 2)], dtype=np.int64)


def _may_follow(before: str | None, tag: str) -> bool:
    """Whether a tag may stand after another one, or at the beginning of a sentence."""
    mark, _, kind = tag.partition("-")
    return mark != "I" or before in (f"B-{kind}", f"I-{kind}")
