"""Predictions written beside the user's own columns, batch by batch."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from typing import TextIO

from pegbox.artifact import Tuned
from pegbox.data.table import Table

LABEL, SURE = "predicted", "probability"


def write_predictions(tuned: Tuned, tables: Iterable[Table], out: TextIO, *, as_json: bool = False, proba: bool = False) -> list[str]:
    """Writes CSV (or a JSON object for each row) with the user's columns, the label and its probability; returns notes.

    Settings:
        proba: add the probability of every label.
    """
    notes: dict[str, None] = {}
    writer = None
    for table in tables:
        notes.update(dict.fromkeys(table.notes))
        chances = tuned.predict_proba(table.rows)
        if cut := [table.rows.numbers[at] for at in tuned.predictor.cut_rows(table.rows)]:
            notes[f"rows {', '.join(map(str, cut[:5]))}{' and more' if len(cut) > 5 else ''} were cut to the model's context"] = None
        columns = list(table.columns)
        label, sure = _free(LABEL, columns), _free(SURE, columns)
        each = [_free(f"{SURE} {name}", columns) for name in tuned.labels] if proba else []
        for record, row in zip(table.records, chances, strict=True):
            made = {label: tuned.labels[int(row.argmax())], sure: round(float(row.max()), 6)}
            made |= {name: round(float(p), 6) for name, p in zip(each, row, strict=False)}
            if as_json:
                out.write(json.dumps({**record, **made}, ensure_ascii=False, default=str) + "\n")
                continue
            if writer is None:
                writer = csv.writer(out, lineterminator="\n")
                writer.writerow([*columns, *made])
            writer.writerow([*(record.get(name, "") for name in columns), *made.values()])
    return list(notes)


def _free(name: str, taken: list[str]) -> str:
    while name in taken:
        name += "_"
    return name
