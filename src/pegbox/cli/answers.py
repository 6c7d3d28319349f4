"""Answers of other tasks than classification, written beside the rows they belong to."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from typing import TextIO

from pegbox.artifact import Tuned
from pegbox.data.rows import Rows

ANSWER, AT_ONCE = "predicted", 256


def write_answers(tuned: Tuned, rows: Rows, out: TextIO, as_json: bool = False) -> list[str]:
    """Writes CSV with the rows' numbers and fields and the answer as a person reads it, or JSON with all there is of it.

    Returns: notes.
    """
    task, names = tuned.task, list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.writer(out, lineterminator="\n")
    if not as_json:
        writer.writerow(["row", *names, _free(names)])
    for first in range(0, len(rows), AT_ONCE):
        some = rows.take(range(first, min(first + AT_ONCE, len(rows))))
        for number, row, output in zip(some.numbers, some, tuned.predictor.answers(some), strict=True):
            if as_json:
                made = {"row": number, **row, _free(names): task.plain(output)}
                out.write(json.dumps(made, ensure_ascii=False, default=str) + "\n")
            else:
                writer.writerow([number, *(row.get(name, "") for name in names), task.show(output)])
    cut = [rows.numbers[at] for at in tuned.cut_rows(rows)]
    more = " and more" if len(cut) > 5 else ""
    return [f"rows {', '.join(map(str, cut[:5]))}{more} were cut to the model's context"] if cut else []


def _free(names: Sequence[str]) -> str:
    """The answer's column, under a name that no field has."""
    found = ANSWER
    while found in names:
        found += "_"
    return found
