"""What a comparison's folder remembers of its test rows: each opening, before the rows are handed out."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pegbox.data.limit import LOOKS as DRAWN
from pegbox.data.rows import Rows, Sealed

LABELS = "a look at their labels alone, to see that all are known"
REPORT = "the report's texts and labels"
LOOKS = (*DRAWN, LABELS, REPORT)
"""Reasons that are no scores."""


class Openings:
    """The openings of one set of test rows that a folder knows of, those of earlier processes and other settings too."""

    def __init__(self, folder: Path, test: Sealed) -> None:
        self._path, self._test = folder / "openings.jsonl", test
        self._digest = test.digest()

    def open(self, reason: str, cell: str = "") -> Rows:
        """The test rows, once it is written down that they were opened, for what and for which cell."""
        rows = self._test.open(reason)
        key = str(self._path.resolve())
        new = self._test.openings[self._test.told.get(key, 0) :]  # with those from before the comparison
        cells = [*[""] * (len(new) - 1), cell]
        lines = [{"rows_digest": self._digest, "reason": one.reason, "cell": of} for one, of in zip(new, cells, strict=True)]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        whole = not self._path.exists() or self._path.read_bytes()[-1:] in (b"", b"\n")
        with self._path.open("ab") as file:
            file.write(("" if whole else "\n").encode() + text.encode("utf-8", "surrogatepass"))
        self._test.told[key] = len(self._test.openings)
        return rows

    def all(self) -> list[dict[str, Any]]:
        """Every opening of these rows: reason, cell, and the how-manieth it was."""
        if not self._path.exists():
            return []
        found: list[dict[str, Any]] = []
        for line in self._path.read_bytes().split(b"\n"):
            try:
                known = json.loads(line.decode("utf-8", "surrogatepass"))
            except (json.JSONDecodeError, UnicodeDecodeError):
                continue  # a kill cut it off before the rows were handed out
            if known["rows_digest"] == self._digest:
                found.append({"reason": known["reason"], "cell": known["cell"], "count": len(found) + 1})
        return found

    def note(self, cells: Collection[str]) -> tuple[str, ...]:
        """A remark where the rows were opened for scores other than those of these cells."""
        other = [one for one in self.all() if one["cell"] not in cells and one["reason"] not in LOOKS]
        if not other:
            return ()
        times = "once" if len(other) == 1 else f"{len(other)} times"
        return (
            f"the test rows were opened {times} for scores outside this comparison ({other[-1]['reason']}"
            f"{' and others' if len(other) > 1 else ''}): what was chosen by those scores makes these too good",
        )
