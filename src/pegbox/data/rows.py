"""Rows: the examples that everything else reads, and the seal on the test rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pegbox.errors import DataError, SealedError

BLANK = "(blank)"
"""The group of rows that name none."""


@dataclass(frozen=True)
class Rows:
    """Examples in order. A value: taking some of them makes new Rows.

    Settings:
        fields: for each row its texts by field name; a single text column is always the field ``text``.
        labels: for each row its label, or None for unlabelled rows.
        numbers: for each row its number in the source (the first data row is 1), for messages and reports.
        source: where the rows came from, for messages.
        gold: for each row its right answer, where that is no single label: tags, references, turns; JSON's own types.
        groups: for each row the group that it is reported in, where scores are wanted by group.
        strata: for each row what parts are drawn in proportion to, where that is not its label.
    """

    fields: tuple[Mapping[str, str], ...]
    labels: tuple[str, ...] | None = None
    numbers: tuple[int, ...] = ()
    source: str = "rows"
    gold: tuple[Any, ...] | None = None
    groups: tuple[str, ...] | None = None
    strata: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.numbers:
            object.__setattr__(self, "numbers", tuple(range(1, len(self.fields) + 1)))
        for name in ("labels", "numbers", "gold", "groups", "strata"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self.fields):
                raise DataError(
                    f"{len(column)} {name} for {len(self.fields)} rows of {self.source}",
                    f"as many {name} as rows",
                    f"give one of the {name} for each row",
                )

    @classmethod
    def from_texts(cls, texts: Sequence[str], labels: Sequence[str] | None = None, source: str = "rows") -> Rows:
        """Rows with the one field ``text``."""
        return cls(tuple({"text": text} for text in texts), None if labels is None else tuple(labels), source=source)

    @property
    def kin(self) -> tuple[int, ...]:
        """For each row the number of those that it is best read together with; nothing where every row is by itself."""
        return ()

    def __repr__(self) -> str:
        return f"Rows({len(self.fields)} {'unlabelled ' if self.labels is None else ''}rows of {self.source})"

    def __len__(self) -> int:
        return len(self.fields)

    def __iter__(self) -> Iterator[Mapping[str, str]]:
        return iter(self.fields)

    def take(self, index: Sequence[int]) -> Rows:
        """The rows at these positions, in this order."""
        picked = [int(i) for i in index]
        columns = {name: getattr(self, name) for name in ("fields", "labels", "numbers", "gold", "groups", "strata")}
        some: dict[str, Any] = {
            name: None if column is None else tuple(column[i] for i in picked) for name, column in columns.items()
        }
        return replace(self, **some)

    def column(self, name: str = "text") -> list[str]:
        """One field of every row. Raises DataError where a row lacks it."""
        for number, row in zip(self.numbers, self.fields, strict=True):
            if name not in row:
                raise DataError(
                    f"{self.source}, row {number} has no field {name!r} (it has {', '.join(sorted(row))})",
                    f"a field {name!r} in every row",
                    "name the columns with --text and --fields, or change the prompt's fields",
                )
        return [row[name] for row in self.fields]

    def grouped(self, name: str, kept: Collection[str] = ()) -> Rows:
        """The rows with one field as their groups, and no longer as a field; blank ones are the group `BLANK`.

        Settings:
            kept: fields that stay fields, as those that a prompt reads.

        Raises: DataError where a row lacks the field.
        """
        groups = tuple(value.strip() or BLANK for value in self.column(name))
        if name in kept:
            return replace(self, groups=groups)
        fields = tuple({key: value for key, value in row.items() if key != name} for row in self.fields)
        return replace(self, fields=fields, groups=groups)

    def answers(self) -> tuple[str, ...]:
        """The labels. Raises DataError for unlabelled rows."""
        if self.labels is None:
            raise DataError(f"{self.source} has no labels", "a label for every row", "name the label column with --label")
        return self.labels

    def label_set(self) -> tuple[str, ...]:
        """The different labels, sorted."""
        return tuple(sorted(set(self.answers())))

    def digest(self) -> str:
        """SHA-256 of fields, labels and right answers, in hex: equal for equal content in equal order."""
        content: list[Any] = [[dict(sorted(row.items())) for row in self.fields], self.labels]
        if self.gold is not None:
            content.append(self.gold)
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Opening:
    """One reading of the sealed test rows: why it was read, and its how-manieth reading it was (from 1)."""

    reason: str
    count: int


@dataclass
class Sealed:
    """Test rows that are handed out only against a written reason, and that count their openings.

    Tuning code never receives one; see `Data.tuning`.
    """

    _rows: Rows
    openings: list[Opening] = field(default_factory=list)
    told: dict[str, int] = field(default_factory=dict, repr=False, compare=False)
    """How many of the openings are written in which file, by its path."""

    def __len__(self) -> int:
        return len(self._rows)

    def open(self, reason: str) -> Rows:
        """The test rows. Each call is remembered in `openings`. Raises SealedError without a reason."""
        if not reason.strip():
            raise SealedError(
                "the test rows were asked for without a reason", "a reason, for the record", 'say open("final scores")'
            )
        self.openings.append(Opening(reason, len(self.openings) + 1))
        return self._rows

    def digest(self) -> str:
        """SHA-256 of the rows; does not count as an opening."""
        return self._rows.digest()

    def grouped(self, name: str, kept: Collection[str] = ()) -> Sealed:
        """The same rows under the same seal, in groups; see `Rows.grouped`. Nobody sees them, so this is no opening."""
        return Sealed(self._rows.grouped(name, kept), self.openings, self.told)

    @property
    def in_groups(self) -> bool:
        """Whether scores can be told by group."""
        return self._rows.groups is not None

    def grouped_by(self, groups: Mapping[int, str]) -> Sealed:
        """The same rows under the same seal, in groups given by the rows' numbers. No opening, likewise."""
        names = tuple(groups.get(number, "").strip() or BLANK for number in self._rows.numbers)
        return Sealed(replace(self._rows, groups=names), self.openings, self.told)

    def __repr__(self) -> str:
        return f"Sealed({len(self._rows)} rows, opened {len(self.openings)} times)"


@dataclass(frozen=True)
class Data:
    """What a comparison works on.

    Settings:
        train: rows to tune on.
        test: rows for the final scores, sealed; None where the user has none.
        dev: rows to choose on; None means that each seed splits them off train.
        notes: what the reader guessed, dropped or noticed, in plain sentences to be said aloud.
    """

    train: Rows
    test: Sealed | None = None
    dev: Rows | None = None
    notes: tuple[str, ...] = ()

    def grouped(self, name: str, kept: Collection[str] = ()) -> Data:
        """The same with one field as the rows' groups; see `Rows.grouped`."""
        test = None if self.test is None else self.test.grouped(name, kept)
        dev = None if self.dev is None else self.dev.grouped(name, kept)
        return replace(self, train=self.train.grouped(name, kept), test=test, dev=dev)
