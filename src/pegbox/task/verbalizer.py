"""Verbalizers: the words that stand for labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pegbox.errors import SettingsError

Words = Mapping[str, tuple[str, ...]]


def own_words(labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Each label's own name as its word: ``card_arrival`` becomes "card arrival", ``HassTurnOn`` "Hass Turn On"."""
    return {label: (_spaced(label) or label,) for label in labels}


def _spaced(label: str) -> str:
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", label)
    return " ".join(re.sub(r"[_\-/]+", " ", parted).split())


def check_words(words: Words, labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The words in the order of the labels.

    Raises: SettingsError when a label has no word, a word stands for two labels, or a label is unknown.
    """
    if unknown := sorted(set(words) - set(labels)):
        raise SettingsError(
            f"words for {unknown[0]!r}", f"words for the labels {', '.join(labels)}", "check the label's spelling"
        )
    owners: dict[str, str] = {}
    for label in labels:
        if not any(word.strip() for word in words.get(label, ())):
            raise SettingsError(f"no words for label {label!r}", "at least one word for each label", f'write "{label}=word"')
        for word in words[label]:
            if owners.setdefault(word, label) != label:
                raise SettingsError(
                    f"the word {word!r} for {owners[word]!r} and {label!r}", "different words", "change one of them"
                )
    return {label: tuple(words[label]) for label in labels}
