"""Entities in tag sequences, and how well they were found: sums of right, predicted and gold ones for each sentence.

An entity counts as right only where its first word, its last word and its type are those of a gold one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pegbox.metrics.measures import Measure, add, f1, precision, recall, share

OTHER = "O"
"""The tag, and the type, of words outside all entities."""

Entity = tuple[int, int, str]
"""Its first word, the word after its last one, and its type."""


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of a BIO sequence, in order. An I- that follows nothing of its type begins one, as in conlleval."""
    found: list[Entity] = []
    first, kind = 0, ""
    for at, tag in enumerate([*tags, OTHER]):
        mark, _, of = tag.partition("-")
        if kind and (mark != "I" or of != kind):
            found.append((first, at, kind))
            kind = ""
        if mark != OTHER and not kind:
            first, kind = at, of
    return found


def tags_of(found: Iterable[Entity], words: int) -> list[str]:
    """The BIO tags of entities that do not overlap, over so many words."""
    tags = [OTHER] * words
    for first, end, kind in found:
        tags[first:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - first - 1)]
    return tags


def is_valid(tags: Sequence[str]) -> bool:
    """Whether a BIO sequence is well formed: O, B- and I- with types, each I- after a B- or I- of its type."""
    before = OTHER
    for tag in tags:
        mark, _, kind = tag.partition("-")
        if tag != OTHER and (mark not in ("B", "I") or not kind):
            return False
        if mark == "I" and before not in (f"B-{kind}", f"I-{kind}"):
            return False
        before = tag
    return True


def entity_sums(
    predicted: Sequence[Sequence[str]], gold: Sequence[Sequence[str]], kind: str | None = None
) -> NDArray[np.float64]:
    """For each sentence how many entities were right, predicted and there.

    Settings:
        kind: only entities of this type; None: of all.

    Shape: [N, 3].
    """
    sums = np.zeros((len(gold), 3))
    for at, (mine, theirs) in enumerate(zip(predicted, gold, strict=True)):
        found, known = ({one for one in entities(tags) if kind in (None, one[2])} for tags in (mine, theirs))
        sums[at] = len(found & known), len(found), len(known)
    return sums


def invalid_sums(predicted: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """For each sentence 1 where its tags are no valid sequence, and 1. Shape: [N, 2]."""
    return np.array([[not is_valid(tags), 1.0] for tags in predicted], dtype=np.float64).reshape(-1, 2)


add(
    Measure("entity_f1", "entity F1", f1),
    Measure("entity_precision", "entity precision", precision),
    Measure("entity_recall", "entity recall", recall),
    Measure("invalid_tags", "invalid tags", share, higher=False),
)
