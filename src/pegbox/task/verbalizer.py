"""Verbalizers: the words that stand for labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from pegbox.errors import SettingsError

Words = Mapping[str, tuple[str, ...]]

NAMED = 20
"""The most labels that an instruction names one by one: a list of 150 takes some 500 tokens, of every request."""
_SOME = 3
"""Labels named as examples where there are more."""


def instruction(words: Sequence[str]) -> str:
    """What to do, for those who write no prompt: it names the labels' words, or where these are many some of them."""
    if len(words) <= NAMED:
        return f"Classify the text as {', '.join(words[:-1])} or {words[-1]}."
    *some, last = (words[at * (len(words) - 1) // (_SOME - 1)] for at in range(_SOME))
    return f"Give the text a label of a few words, such as {', '.join(some)} or {last}."


def own_words(labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Each label's own name as its word: ``card_arrival`` or ``card:arrival`` is "card arrival", ``HassTurnOn`` "Hass Turn On".

    Labels that would come out alike, such as ``a-b`` and ``a_b``, stay as they are.
    """
    spaced = {label: _spaced(label) for label in labels}
    seen = Counter(spaced.values())
    return {label: (word if word and seen[word] == 1 else label,) for label, word in spaced.items()}


def _spaced(label: str) -> str:
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", label)
    parted = re.sub(r"(?<=[^\W\d_])\s*[:>]+\s*(?=[^\W\d_])", " ", parted)  # 12:30 stays a time
    # only between letters or digits: -1 is not 1
    return " ".join(re.sub(r"(?<=[^\W_])[_\-/]+(?=[^\W_])", " ", parted).split())


def check_words(words: Words, labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The words in the order of the labels.

    Raises: SettingsError when a label has no word or a blank one, a word comes twice, or a label is unknown.
    """
    if unknown := sorted(set(words) - set(labels)):
        raise SettingsError(
            f"words for {unknown[0]!r}", f"words for the labels {', '.join(labels)}", "check the label's spelling"
        )
    owners: dict[str, str] = {}
    for label in labels:
        if not words.get(label):
            raise SettingsError(f"no words for label {label!r}", "at least one word for each label", f'write "{label}=word"')
        for word in words[label]:
            if not word.strip():
                raise SettingsError(f"a blank word for label {label!r}", "words with something in them", "leave it out")
            if words[label].count(word) > 1:
                raise SettingsError(f"the word {word!r} for {label!r} twice", "different words", "leave one of them out")
            if owners.setdefault(word, label) != label:
                raise SettingsError(
                    f"the word {word!r} for {owners[word]!r} and {label!r}", "different words", "change one of them"
                )
    return {label: tuple(words[label]) for label in labels}
