"""Tagged sentences written with the spans of their entities, beside the user's own columns."""

from __future__ import annotations

import csv
import json
from typing import Any, Protocol, TextIO

from pegbox.data.rows import Rows
from pegbox.data.sentences import Sentences

COLUMN = "predicted"
_AT_ONCE = 256


class Tagging(Protocol):
    """A tuned prompt that tags sentences."""

    def answers(self, rows: Rows, /) -> Any: ...
    def cut_rows(self, rows: Rows, /) -> tuple[int, ...]: ...


def write_spans(tagger: Tagging, found: Sentences, out: TextIO, *, as_json: bool = False) -> list[str]:
    """Writes CSV (or a JSON object for each row) with the user's columns and one of spans; returns notes.

    Each span is ``{"start": 0, "end": 5, "label": "PER", "text": "Peter"}``, in characters of the text; CSV holds them as JSON.
    """
    column = COLUMN
    while column in found.columns:
        column += "_"
    names = [name for name in found.columns if any(name in record for record in found.records)]
    writer = None if as_json else csv.writer(out, lineterminator="\n")
    if writer is not None:
        writer.writerow([*names, column])
    cut: list[int] = []
    for first in range(0, len(found.rows), _AT_ONCE):
        index = range(first, min(first + _AT_ONCE, len(found.rows)))
        some = found.rows.take(index)
        for at, answer in zip(index, tagger.answers(some), strict=True):
            record, spans = found.records[at], answer.spans()
            if writer is None:
                out.write(json.dumps({**record, column: spans}, ensure_ascii=False, default=str) + "\n")
            else:
                cells = [_cell(record.get(name, "")) for name in names]
                writer.writerow([*cells, json.dumps(spans, ensure_ascii=False)])
        cut.extend(some.numbers[at] for at in tagger.cut_rows(some))
    if not cut:
        return list(found.notes)
    more = " and more" if len(cut) > 5 else ""
    return [*found.notes, f"rows {', '.join(map(str, cut[:5]))}{more} were cut to the model's context"]


def _cell(value: Any) -> Any:
    """A value for a cell of CSV: lists and objects as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value
