"""Predictions written beside the user's own columns, batch by batch."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from pegbox.data.rows import Rows
from pegbox.data.table import Table
from pegbox.errors import DataError

LABEL, SURE = "predicted", "probability"


class Predicting(Protocol):
    """A tuned prompt, here or on a server."""

    @property
    def labels(self) -> tuple[str, ...]: ...
    def predict_proba(self, texts: Any, /) -> NDArray[np.float32]: ...
    def cut_rows(self, rows: Rows, /) -> tuple[int, ...]: ...


def write_predictions(
    tuned: Predicting, tables: Iterable[Table], out: TextIO, *, as_json: bool = False, proba: bool = False
) -> list[str]:
    """Writes CSV (or a JSON object for each row) with the user's columns, the label and its probability; returns notes.

    Settings:
        proba: add the probability of every label.

    Raises: DataError where a later row of a JSONL file has a column that the CSV's header lacks.
    """
    notes: dict[str, None] = {}
    writer: _Csv | None = None
    for table in tables:
        notes.update(dict.fromkeys(table.notes))
        chances = tuned.predict_proba(table.rows)
        if cut := [table.rows.numbers[at] for at in tuned.cut_rows(table.rows)]:
            more = " and more" if len(cut) > 5 else ""
            notes[f"rows {', '.join(map(str, cut[:5]))}{more} were cut to the model's context"] = None
        label, sure = _free(LABEL, table.columns), _free(SURE, table.columns)
        each = [_free(f"{SURE} {name}", table.columns) for name in tuned.labels] if proba else []
        if not as_json and writer is None:
            writer = _Csv(out, table.columns, [label, sure, *each])
        for number, record, row in zip(table.rows.numbers, table.records, chances, strict=True):
            made = {label: tuned.labels[int(row.argmax())], sure: round(float(row.max()), 6)}
            made |= {name: round(float(p), 6) for name, p in zip(each, row, strict=False)}
            if writer is None:
                out.write(json.dumps({**record, **made}, ensure_ascii=False, default=str) + "\n")
            else:
                writer.row(record, list(made.values()), f"{table.rows.source}, row {number}")
    return list(notes)


class _Csv:
    """Rows under one header."""

    def __init__(self, out: TextIO, columns: Sequence[str], more: Sequence[str]) -> None:
        self._out, self._columns, self._known = out, list(columns), set(columns)
        self._writer = csv.writer(self, lineterminator="\r\n")  # with which it wraps cells that hold either character
        self._writer.writerow([*columns, *more])

    def write(self, line: str) -> None:
        """The writer's lines, ended as lines end here."""
        self._out.write(line.removesuffix("\r\n") + "\n")

    def row(self, record: Mapping[str, Any], made: Sequence[Any], where: str) -> None:
        if unknown := [name for name in record if name not in self._known]:
            raise DataError(
                f"{where} has the column {unknown[0]!r}, which the rows before it lack",
                "the same columns in every row, for CSV",
                "say --json: each row then has its own",
            )
        self._writer.writerow([*(record.get(name, "") for name in self._columns), *made])


def _free(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name += "_"
    return name
