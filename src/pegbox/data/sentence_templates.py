"""Sentences drawn from templates such as ``turn on [the] (lamp|light) in {area}``, as voice assistants write them.

``[x]`` may be left out, ``(x|y)`` is one of them, ``(x;y)`` all of them in any order. ``<rule>`` stands for another template,
``{list}`` or ``{list:name}`` for one of a list's values, which are templates too: a slot of the sentence, called as its list is
or by its own name.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pegbox.errors import DataError

_MARKS = re.compile(r"[\[\](){}<>|;]")
_ENDS = {"[": "]", "(": ")", "{": "}", "<": ">"}
_BEGINS, _IS, _STOPS = "\ue000\ue001\ue002"  # a slot on its way: its name stands after the first, its value after the second
_SLOT = re.compile(f"{_BEGINS}([^{_IS}]*){_IS}([^{_STOPS}]*){_STOPS}")


@dataclass(frozen=True)
class Drawn:
    """A sentence and its slots: where each begins and ends, text[start:end], and its name."""

    text: str
    slots: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True)
class Templates:
    """One language's rules and lists.

    Settings:
        rules: templates by name.
        lists: each list's values by name.
    """

    rules: Mapping[str, str]
    lists: Mapping[str, Sequence[str]]

    def draw(self, template: str, chance: random.Random) -> Drawn:
        """One of the template's sentences, each choice in it by chance. Raises DataError for a template that is broken."""
        text, *found = _SLOT.split(self._marked(template, chance))
        slots = []
        for name, value, after in zip(found[::3], found[1::3], found[2::3], strict=True):
            slots.append((len(text), len(text) + len(value), name))
            text += value + after
        return Drawn(text, tuple(slots))

    def _marked(self, template: str, chance: random.Random) -> str:
        words, end = self._run(template, 0, "", chance)
        if end < len(template):
            raise _broken(template)
        return " ".join(words.split())

    def _run(self, text: str, at: int, closing: str, chance: random.Random) -> tuple[str, int]:
        """What is drawn from a place on up to the mark that closes it, and where that ends."""
        parts, between = [""], ""
        while at < len(text):
            mark = _MARKS.search(text, at)
            if mark is None:
                parts[-1] += text[at:]
                at = len(text)
                break
            parts[-1] += text[at : mark.start()]
            at = mark.end()
            if mark[0] == closing:
                return self._chosen(parts, between, closing, chance), at
            if mark[0] in "|;":
                between = mark[0]
                parts.append("")
            elif mark[0] in "[(":
                inner, at = self._run(text, at, _ENDS[mark[0]], chance)
                parts[-1] += inner
            else:
                inner, at = self._named(text, at, mark[0], chance)
                parts[-1] += inner
        if closing:
            raise _broken(text)
        return self._chosen(parts, between, closing, chance), at

    @staticmethod
    def _chosen(parts: Sequence[str], between: str, closing: str, chance: random.Random) -> str:
        if closing == "]" and chance.random() < 0.5:
            return ""
        if between == ";":
            return " ".join(chance.sample(list(parts), len(parts)))
        return parts[chance.randrange(len(parts))]

    def _named(self, text: str, at: int, opening: str, chance: random.Random) -> tuple[str, int]:
        """What stands for a rule or a list."""
        end = text.find(_ENDS.get(opening, " "), at)
        name, _, slot = text[at:end].partition(":")
        known = self.rules if opening == "<" else self.lists
        if opening not in "<{" or end < 0 or name not in known:
            raise _broken(text)
        if opening == "<":
            return self._marked(self.rules[name], chance), end + 1
        values = self.lists[name]
        value = self.draw(values[chance.randrange(len(values))], chance).text
        return f"{_BEGINS}{slot or name}{_IS}{value}{_STOPS}" if value else "", end + 1


def _broken(template: str) -> DataError:
    return DataError(
        f"the template {template!r}", "brackets in pairs, and rules and lists that are known", "report this sample's package"
    )
