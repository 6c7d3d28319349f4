"""Schemes of tags: read in any of the usual ones, kept in BIO.

BIO    B- begins every entity, I- goes on with it
IOB1   I- begins an entity too; B- only where another entity of the same type stands right before it
BIOES  E- ends an entity of several words, S- is one of a single word (BILOU's L- and U- are the same)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pegbox.errors import SettingsError

Scheme = Literal["auto", "bio", "iob1", "bioes"]
OTHER = "O"
_PLAIN = {"L": "E", "U": "S"}


@dataclass(frozen=True)
class Fault:
    """A tag that cannot be read.

    Settings:
        kind: as in `pegbox.data.check.KINDS`.
        at: the word's place in its sentence (0 based).
        detail: what is wrong with it.
    """

    kind: str
    at: int
    detail: str


def check_scheme(scheme: str) -> None:
    """Raises SettingsError unless it is a scheme."""
    if scheme not in get_args(Scheme):
        raise SettingsError(
            f"scheme={scheme!r}", f"one of {', '.join(get_args(Scheme))}", "say auto, or the scheme of your tags"
        )


def mark_of(tag: str) -> tuple[str, str]:
    """A tag's letter and its type; BILOU's letters as those of BIOES. ("O", "") for no entity, ("", "") for no known tag."""
    if tag == OTHER:
        return OTHER, ""
    mark, dash, kind = tag.partition("-")
    mark = _PLAIN.get(mark, mark)
    return (mark, kind) if dash and kind and mark in ("B", "I", "E", "S") else ("", "")


def unknown(tags: Sequence[str]) -> Fault | None:
    """The first tag of no scheme."""
    return next((Fault("scheme", at, f"{tag!r}") for at, tag in enumerate(tags) if not mark_of(tag)[0]), None)


def scheme_of(sentences: Iterable[Sequence[str]]) -> Scheme:
    """The scheme of these sentences' tags, all of which are known.

    It is IOB1 where some entity begins with I- and every B- stands right behind an entity of its type; an I- too many in what
    else looks like BIO is left to be told as a mistake.
    """
    loose, apart = False, False
    for tags in sentences:
        before = (OTHER, "")
        for mark, kind in map(mark_of, tags):
            if mark in ("E", "S"):
                return "bioes"
            loose |= mark == "I" and before[1] != kind
            apart |= mark == "B" and before[1] != kind
            before = (mark, kind)
    return "iob1" if loose and not apart else "bio"


def to_bio(tags: Sequence[str], scheme: Scheme) -> tuple[list[str], Fault | None]:
    """The tags in BIO, and the first one that cannot stand where it does."""
    found: list[str] = []
    before = (OTHER, "")
    for at, (mark, kind) in enumerate(map(mark_of, tags)):
        if why := _misplaced(mark, kind, before, scheme):
            return [], Fault("order", at, f"{tags[at]!r} {why}")
        begins = mark in ("B", "S") or (mark == "I" and before[1] != kind)
        found.append(OTHER if mark == OTHER else f"{'B' if begins else 'I'}-{kind}")
        before = (mark, kind)
    if scheme == "bioes" and before[0] in ("B", "I"):
        return [], Fault("order", len(tags) - 1, f"{tags[-1]!r} at the end of its sentence")
    return found, None


def _misplaced(mark: str, kind: str, before: tuple[str, str], scheme: Scheme) -> str:
    """Why a tag cannot follow the one before; empty where it can."""
    after = "-".join(part for part in before if part)
    if scheme == "iob1":
        return f"after {after!r}" if mark in ("E", "S") or (mark == "B" and before[1] != kind) else ""
    if scheme == "bio":
        return f"after {after!r}" if mark in ("E", "S") or (mark == "I" and before[1] != kind) else ""
    within = before[0] in ("B", "I")
    goes_on = mark in ("I", "E") and before[1] == kind
    return f"after {after!r}" if within != goes_on or (mark in ("I", "E") and not within) else ""
