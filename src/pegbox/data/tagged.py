"""Reading tagged sentences: parts to tune on and sealed parts to test on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pegbox.data.check import FIELD_LIMIT, OnProblem, count, no_rows, which
from pegbox.data.read import parts_of
from pegbox.data.repeats import key, same_texts
from pegbox.data.rows import Data, Rows, Sealed
from pegbox.data.sentences import read_sentences
from pegbox.data.split import split
from pegbox.data.stream import Reading
from pegbox.data.table import SAMPLE
from pegbox.data.tagged_samples import TAGGED_SAMPLES
from pegbox.data.tags import OTHER, Scheme
from pegbox.data.words import OF_A_WORD, TAGS, type_of
from pegbox.errors import DataError

_TESTED = frozenset(f"{SAMPLE}{one.name}" for one in TAGGED_SAMPLES.values() if "test" in one.parts)


def read_tagged(
    source: Any,
    text: str | None = None,
    label: str | None = None,
    *,
    fields: Sequence[str] = (),
    test: Any = None,
    dev: Any = None,
    test_size: float = 0.2,
    seed: int = 0,
    encoding: str | None = None,
    on_problem: OnProblem = "error",
    field_limit: int = FIELD_LIMIT,
    quotes: bool = True,
    scheme: Scheme = "auto",
) -> Data:
    """Tagged sentences to tune on, and sealed ones to test on.

    Short sentences come again in any large text. Those of the training part that are also among those to be scored are left
    out of it, and told of; the test part stays as it is.

    Settings: as in `pegbox.data.read.read` and `pegbox.data.sentences.read_sentences`.
    Raises: DataError with the source, the sentences and what to do.
    """
    reading = Reading(encoding, quotes, field_limit, on_problem)
    source, test, dev = parts_of(source, test, dev)
    if isinstance(source, str) and source in _TESTED and test is None and test_size:
        test = f"{source}/test"
    notes: list[str] = []

    def rows_of(part: Any) -> Rows:
        more = [name for name in fields if name not in OF_A_WORD]
        found = read_sentences(part, text, label, True, fields=more, reading=reading, scheme=scheme)
        notes.extend(note for note in found.notes if note not in notes)
        return found.rows

    train = rows_of(source)
    tests, devs = (None if part is None else rows_of(part) for part in (test, dev))
    if tests is None and test_size:
        train, tests = split(train, test_size, seed)
        share = f"{len(tests):,} of {count(len(tests) + len(train), 'sentence')}"
        notes.append(f"{train.source}: {share} are split off as test rows (by their rarest type, seed {seed}) and sealed.")
    if tests is not None and devs is not None:
        devs = _apart(devs, tests, notes)
    for scored in (tests, devs):
        train = train if scored is None else _apart(train, scored, notes)
    _check_types(train, tests, notes)
    return Data(train, None if tests is None else Sealed(tests), devs, tuple(notes))


def types_of(rows: Rows) -> tuple[str, ...]:
    """The types of the entities in these sentences, sorted. Raises DataError for sentences without tags."""
    gold = [one[TAGS] for one in rows.gold or ()]
    if not gold or any(tags is None for tags in gold):
        raise DataError(f"{rows.source} has no tags", "a tag for every word", "name the column of the tags with --label")
    return tuple(sorted({type_of(tag) for tags in gold for tag in tags} - {OTHER}))


def _apart(train: Rows, scored: Rows, notes: list[str]) -> Rows:
    """The training sentences that are not among those to be scored."""
    there = same_texts(scored)
    shared = [at for at, row in enumerate(train) if key(row) in there]
    if not shared:
        return train
    numbers = which([train.numbers[at] for at in shared])
    what = f"{train.source}: left out {count(len(shared), 'sentence')} that {scored.source} has too ({numbers})."
    notes.append(what)
    if len(shared) == len(train):
        raise no_rows(train.source, f"has no rows that can be used ({what})")
    return train.take(sorted(set(range(len(train))) - set(shared)))


def _check_types(train: Rows, test: Rows | None, notes: list[str]) -> None:
    known = types_of(train)
    if not known:
        raise DataError(
            f"no word of {train.source} is part of an entity", "sentences with entities in them", "check the column of the tags"
        )
    if test is not None and (new := sorted(set(types_of(test)) - set(known))):
        notes.append(f"{test.source}: its entities of type {', '.join(new)} can only be missed: no training sentence has one.")
