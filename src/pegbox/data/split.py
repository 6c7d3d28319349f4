"""Splits: stratified, by seed, and never with one text on both sides.

Which rows are drawn depends on the seed and on the texts alone: not on their order in the file, the machine or Python's hashes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence

from pegbox.data.check import count
from pegbox.data.repeats import Key, key, same_texts
from pegbox.data.rows import Rows
from pegbox.errors import DataError, SettingsError

DEV_SHARE = 0.2
DEV_MOST = 500


def split(rows: Rows, size: float, seed: int = 0) -> tuple[Rows, Rows]:
    """Two parts: the rest and the part drawn, each in the rows' own order.

    Every label that has two different texts is on both sides, even if the part grows beyond the size for it; a label with
    one text stays in the rest. Equal texts stay together, so the part may be a few rows smaller than asked for.
    Where one text has several labels, it counts for the rarest of them.

    Settings:
        size: a fraction between 0 and 1 (a float), or a number of rows (an int).
        seed: another seed draws other rows.
    Raises: SettingsError for an impossible size; DataError where no label has two different texts.
    """
    wanted = _wanted(size, len(rows))
    strata = {label: groups for label, groups in _strata(rows).items() if len(groups) > 1}
    if not strata:
        raise DataError(
            f"{rows.source} cannot be split: no label has two different texts among its {count(len(rows), 'row')}",
            "a label with at least two different texts",
            "give more rows, or the second part as a file of its own",
        )
    quotas = _quotas(list(strata.values()), wanted)
    drawn = {at for groups, quota in zip(strata.values(), quotas, strict=True) for at in _draw(groups, quota, seed)}
    return rows.take([at for at in range(len(rows)) if at not in drawn]), rows.take(sorted(drawn))


def dev_split(train: Rows, seed: int = 0) -> tuple[Rows, Rows]:
    """Train and dev: 20 % of the rows, at most 500, and at least one of each label that can be on both sides."""
    return split(train, max(1, min(DEV_MOST, round(DEV_SHARE * len(train)))), seed)


def few_shot(rows: Rows, shots: int, seed: int = 0) -> Rows:
    """So many rows of each label, no text twice. Fewer shots by the same seed are among the more.

    Raises: DataError where a label has too few different texts; it names every such label.
    """
    if shots < 1:
        raise SettingsError(f"{shots} shots", "at least 1 row of each label", "say for example shots=16 (--shots 16)")
    labels = rows.strata or rows.labels
    if labels is None:
        raise DataError(
            f"{shots} shots of {rows.source}, whose right answers are no labels",
            "labels, of each of which so many rows are taken",
            "say --train-rows where you compare, or give a file of fewer rows",
        )
    groups: dict[str, dict[Key, int]] = {label: {} for label in sorted(set(labels))}
    for row_key, positions in same_texts(rows).items():
        for at in positions:
            groups[labels[at]].setdefault(row_key, at)
    short = {label: len(found) for label, found in groups.items() if len(found) < shots}
    if short:
        told = ", ".join(f"{label!r} has {number}" for label, number in list(short.items())[:5])
        raise DataError(
            f"{shots} shots were asked for, but {told}{f' and {len(short) - 5} labels more too few' if len(short) > 5 else ''}",
            f"at least {shots} different texts for each label of {rows.source}",
            f"say shots={min(short.values())} (--shots {min(short.values())}) or less, or gather more rows of these labels",
        )
    drawn = [found[row_key] for found in groups.values() for row_key in _shuffled(found, seed)[:shots]]
    return rows.take(sorted(drawn))


def _wanted(size: float, rows: int) -> int:
    """The number of rows that a fraction or a count asks for."""
    whole = isinstance(size, int) or (size > 1 and size.is_integer())  # a command line gives 100 as 100.0
    if isinstance(size, bool) or not (1 <= size < rows if whole else 0 < size < 1):
        raise SettingsError(
            f"a part of size {size!r} of {count(rows, 'row')}",
            "a fraction between 0 and 1, or a number of rows from 1 to one less than there are",
            "say for example 0.2, or 100",
        )
    return int(size) if whole else max(1, round(size * rows))


def _place(row_key: Key, seed: int) -> bytes:
    """Where a text stands in the order that a seed gives."""
    return hashlib.sha256(json.dumps([seed, row_key]).encode()).digest()


def _strata(rows: Rows) -> dict[str, dict[Key, list[int]]]:
    """For each label, sorted, the positions of each of its texts."""
    groups = same_texts(rows)
    own = rows.strata or rows.labels
    if own is None:
        return {"": _whole(rows, groups)}
    labels = {row_key: {own[at] for at in group} for row_key, group in groups.items()}
    texts: dict[str, int] = dict.fromkeys(sorted(set(own)), 0)
    for found in labels.values():
        for label in found:
            texts[label] += 1
    strata: dict[str, dict[Key, list[int]]] = {label: {} for label in texts}
    for row_key, group in groups.items():
        strata[min(labels[row_key], key=lambda label: (texts[label], label))][row_key] = group
    return strata


def _whole(rows: Rows, groups: dict[Key, list[int]]) -> dict[Key, list[int]]:
    """The positions of equal texts; where several rows come from one row of the source, as the turns of a conversation do,
    the positions of each of these, under its first text."""
    if len(set(rows.numbers)) == len(rows):
        return groups
    of: dict[int, list[int]] = {}
    for at, number in enumerate(rows.numbers):
        of.setdefault(number, []).append(at)
    found: dict[Key, list[int]] = {}
    for positions in of.values():
        found.setdefault(key(rows.fields[positions[0]]), []).extend(positions)
    return found


def _shuffled(texts: Iterable[Key], seed: int) -> list[Key]:
    return sorted(texts, key=lambda row_key: _place(row_key, seed))


def _quotas(strata: Sequence[dict[Key, list[int]]], wanted: int) -> list[int]:
    """How many rows of each stratum: in proportion, rounded so that they add up to `wanted`, within what each can give."""
    sizes = [sum(map(len, groups.values())) for groups in strata]
    low = [min(map(len, groups.values())) for groups in strata]
    high = [size - least for size, least in zip(sizes, low, strict=True)]
    ideal = [wanted * size / sum(sizes) for size in sizes]
    quotas = [min(max(math.floor(share), bottom), top) for share, bottom, top in zip(ideal, low, high, strict=True)]
    step = 1 if sum(quotas) < wanted else -1
    bound = high if step == 1 else low
    while sum(quotas) != wanted:
        open_ = [at for at in range(len(quotas)) if quotas[at] != bound[at]]
        if not open_:
            break
        quotas[max(open_, key=lambda at: step * (ideal[at] - quotas[at]))] += step
    return quotas


def _draw(groups: dict[Key, list[int]], quota: int, seed: int) -> list[int]:
    """Positions, text by text, all rows of a text together if they still fit."""
    drawn: list[int] = []
    for row_key in _shuffled(groups, seed):
        if len(drawn) + len(groups[row_key]) <= quota:
            drawn.extend(groups[row_key])
    return drawn
