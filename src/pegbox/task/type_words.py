"""Plain words for the types that tagged data usually have."""

from __future__ import annotations

from collections.abc import Sequence

from pegbox.metrics.entities import OTHER
from pegbox.task.verbalizer import own_words

_USUAL = {
    OTHER: "none",
    "PER": "person",
    "PERSON": "person",
    "LOC": "location",
    "LOCATION": "location",
    "ORG": "organization",
    "ORGANIZATION": "organization",
    "MISC": "other",
    "GPE": "country",
    "NORP": "nationality",
    "FAC": "building",
    "WORK_OF_ART": "title",
    "geo-loc": "location",
}
"""Of CoNLL-2003, OntoNotes and WNUT."""


def type_words(types: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Each type's own name in plain words: PER becomes "person", ``album_name`` "album name", and O "none"."""
    own = own_words([kind.lower() if kind.isupper() and kind != OTHER else kind for kind in types])
    found = {kind: _USUAL.get(kind, words[0]) for kind, words in zip(types, own.values(), strict=True)}
    words = list(found.values())
    return {kind: (word if words.count(word) == 1 else kind,) for kind, word in found.items()}
