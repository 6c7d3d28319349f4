"""Answers of other tasks than classification, written beside the rows they belong to."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from typing import Any, Protocol, TextIO

from pegbox.data.rows import Rows
from pegbox.task.task import Task

ANSWER, AT_ONCE = "predicted", 256


class Predictor(Protocol):
    """A tuned prompt, here or on a server."""

    @property
    def task(self) -> Task: ...
    def answers(self, rows: Rows, /) -> Sequence[Any]: ...
    def cut_rows(self, rows: Rows, /) -> tuple[int, ...]: ...


def write_answers(prompt: Predictor, rows: Rows, out: TextIO, as_json: bool = False) -> list[str]:
    """Writes CSV with the rows' numbers and fields and the answer as a person reads it, or JSON with all there is of it.

    Returns: notes.
    """
    cut: list[int] = []
    task, names = prompt.task, list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.writer(out, lineterminator="\n")
    if not as_json:
        writer.writerow(["row", *names, _free(names)])
    for first in range(0, len(rows), AT_ONCE):
        some = rows.take(range(first, min(first + AT_ONCE, len(rows))))
        for number, row, output in zip(some.numbers, some, prompt.answers(some), strict=True):
            if as_json:
                made = {"row": number, **row, _free(names): task.plain(output)}
                out.write(json.dumps(made, ensure_ascii=False, default=str) + "\n")
            else:
                writer.writerow([number, *(row.get(name, "") for name in names), task.show(output)])
        cut.extend(some.numbers[at] for at in prompt.cut_rows(some))
    more = " and more" if len(cut) > 5 else ""
    return [f"rows {', '.join(map(str, cut[:5]))}{more} were cut to the model's context"] if cut else []


def _free(names: Sequence[str]) -> str:
    """The answer's column, under a name that no field has."""
    found = ANSWER
    while found in names:
        found += "_"
    return found
