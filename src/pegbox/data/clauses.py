"""Clauses of privacy policies, each with a question that it answers or does not."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pegbox.data.check import count

ANSWERS = {"True": "relevant", "False": "irrelevant"}


def parse_clauses(content: bytes) -> tuple[list[tuple[int, Mapping[str, str], str]], str]:
    """JSON lines with a clause (`context`), a question, and whether the one answers the other; each pair is kept once."""
    seen: dict[tuple[str, str], tuple[int, str]] = {}
    lines = content.decode("utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        row = json.loads(line)
        seen.setdefault((row["context"].strip(), " ".join(row["question"].split())), (number, ANSWERS[row["answer"]]))
    rows: list[tuple[int, Mapping[str, str], str]] = []
    for (text, asked), (number, label) in seen.items():
        rows.append((number, {"text": text, "question": asked}, label))
    again = len(lines) - len(rows)
    return rows, f"left out {count(again, 'line')} with the clause and question of an earlier one" if again else ""
