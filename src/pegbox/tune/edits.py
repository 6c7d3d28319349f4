"""Phrase edits of an instruction: delete, swap, add, re-order. No language model writes them.

Source: Prasad et al. 2023, "GrIPS" (arXiv 2203.07281), section 3: delete, swap, paraphrase and add phrases. We have no writer
    for paraphrases; what we add is a phrase that was there before, or one of a few plain ones, and whole sentences re-ordered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

PHRASES = (
    "Answer with one word.",
    "Read it carefully.",
    "Choose the best label.",
    "Be precise.",
    "Think about its meaning.",
    "Look at the key words.",
    "Judge by the whole text.",
    "Give only the label.",
    "Here are some examples.",
    "You are an expert.",
)
"""Plain phrases that may be added."""

KINDS = ("delete", "swap", "add", "re-order")
_JOINTS = r"whether|whose|which|that|who|when|where|because|and|or|but|with|without|from|into|for|as|of|by|if|in|on|to"
_BREAK = re.compile(rf"(?<=[.,;:!?\n])\s+|\s+(?=(?:{_JOINTS})\b)")
_SENTENCE = re.compile(r"(?<=[.!?\n])\s+")


def phrases(instruction: str) -> list[str]:
    """The instruction cut before joining words and after punctuation."""
    return [part for part in _BREAK.split(instruction.strip()) if part]


def sentences(instruction: str) -> list[str]:
    """The instruction cut after each sentence."""
    return [part for part in _SENTENCE.split(instruction.strip()) if part]


def delete(parts: Sequence[str], at: int) -> str:
    """Without one phrase."""
    return " ".join([*parts[:at], *parts[at + 1 :]])


def swap(parts: Sequence[str], one: int, other: int) -> str:
    """With two phrases in each other's place."""
    changed = list(parts)
    changed[one], changed[other] = changed[other], changed[one]
    return " ".join(changed)


def add(parts: Sequence[str], at: int, phrase: str) -> str:
    """With a phrase more, before number `at`."""
    return " ".join([*parts[:at], phrase, *parts[at:]])


def edit(instruction: str, rng: np.random.Generator, removed: Sequence[str] = ()) -> tuple[str, str]:
    """A changed instruction, and which kind of change it was. The same instruction where nothing can be changed.

    Settings:
        removed: phrases deleted earlier, which may come back.
    """
    parts, whole = phrases(instruction), sentences(instruction)
    possible = ["add"]
    if len(parts) > 1:
        possible += ["delete", "swap"]
    if len(whole) > 1:
        possible.append("re-order")
    kind = possible[int(rng.integers(len(possible)))]
    if kind == "add":
        # between sentences, where a new phrase makes sense; a repeated one may go anywhere
        offered = [*PHRASES, *parts, *removed]
        return add(whole, int(rng.integers(len(whole) + 1)), offered[int(rng.integers(len(offered)))]), kind
    if kind == "delete":
        return delete(parts, int(rng.integers(len(parts)))), kind
    if kind == "swap":
        one, other = rng.choice(len(parts), size=2, replace=False)
        return swap(parts, int(one), int(other)), kind
    order = rng.permutation(len(whole))
    if list(order) == sorted(order):
        order = np.roll(order, 1)
    return " ".join(whole[int(at)] for at in order), kind
