"""The report of a comparison: one value, read as a table, a page, a file or a sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pegbox.errors import DataError
from pegbox.evaluate.recommend import Recommendation, recommend
from pegbox.evaluate.record import Comparison
from pegbox.evaluate.record_json import FORMAT, VERSION, decode, encode, plain
from pegbox.evaluate.slices import FEW
from pegbox.evaluate.summary import Line, Summary, summarise
from pegbox.metrics.intervals import Estimate

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, eq=False)
class Report:
    """A comparison with what it says. Make one with `Report.of`.

    Settings:
        comparison: everything that was measured.
        summary: the numbers.
        advice: what to use, and why.
    """

    comparison: Comparison
    summary: Summary
    advice: Recommendation

    @classmethod
    def of(cls, comparison: Comparison, accuracy_resamples: int = 10_000, score_resamples: int = 2_000) -> Report:
        """The report of a comparison; the same comparison always gives the same report.

        Settings:
            accuracy_resamples: bootstrap resamples for the intervals of accuracy (or the task's main measure) and of its
                differences.
            score_resamples: bootstrap resamples for the other scores.
        Raises:
            DataError: no results, no test rows, or results that do not fit together.
        """
        summary = summarise(comparison, accuracy_resamples, score_resamples)
        return cls(comparison, summary, recommend(summary, comparison.settings))

    @property
    def best(self) -> str:
        """The method with the best mean score; `winner` says whether that is sure."""
        return self.summary.best.method

    @property
    def winner(self) -> str | None:
        """The method that beats all others beyond doubt, or None."""
        return self.summary.winner

    @property
    def recommendation(self) -> str:
        """What to use and why, in plain words."""
        return str(self.advice)

    def table(self) -> list[dict[str, Any]]:
        """One flat row for each method, best first: scores, ends of their intervals (``_low``, ``_high``), tests and costs."""
        return [self._row(line) for line in self.summary.methods]

    def _row(self, line: Line) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for name, value in vars(line).items():
            if name == "scores":
                row.update(_all_flat(value))
            elif name not in ("classes", "confusion", "cost", "slices", "parts"):
                row.update(_flat(name, value))
        return {**row, **asdict(line.cost), "winner": line.method == self.winner, "recommended": line.method == self.advice.use}

    def class_table(self) -> list[dict[str, Any]]:
        """One flat row for each method and class: support, and precision, recall and F1 with their intervals.

        Of other tasks: one for each method and class or type, with the measures that the task breaks down; none where it has
        no classes.
        """
        rows = []
        for line in self.summary.classified:
            for one in line.classes:
                row: dict[str, Any] = {"method": line.method}
                for name, value in vars(one).items():
                    row.update(_flat(name, value))
                rows.append(row)
        for measured in self.summary.measured:
            rows += [{"method": measured.method, "label": one.name, **_all_flat(one.scores)} for one in measured.parts]
        return rows

    def slice_table(self) -> list[dict[str, Any]]:
        """One flat row for each method and group of rows: how many rows, whether these are few, and scores with intervals."""
        return [
            {"method": line.method, "slice": one.name, "rows": one.rows, "few": (one.rows or 0) < FEW, **_all_flat(one.scores)}
            for line in self.summary.methods
            for one in line.slices
        ]

    def to_json(self, path: str | Path) -> Path:
        """Write everything to one JSON file, from which `from_json` makes the same report again."""
        summary = plain(self.summary)
        content = {
            "format": FORMAT,
            "version": VERSION,
            "recommendation": plain(self.advice),
            "summary": summary,
            "comparison": encode(self.comparison),
        }
        target = Path(path)
        target.write_text(json.dumps(content, allow_nan=False, indent=1), encoding="utf-8")
        return target

    @classmethod
    def from_json(cls, path: str | Path) -> Report:
        """Read what `to_json` wrote. Scores are worked out again from what the file holds unrounded: probabilities, or sums.

        Raises:
            DataError: the file is no report, is damaged, or was written by a newer pegbox.
        """
        source = Path(path)
        try:
            content = json.loads(source.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise _no_report(f"{source} is no JSON ({error})") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise _no_report(f"{source} is JSON, but no report")
        if content.get("version") != VERSION:
            raise DataError(
                f"{source} is a report of version {content.get('version')!r}",
                f"version {VERSION}",
                "read it with the pegbox that wrote it, or run the comparison again",
            )
        said = content.get("summary") or {}
        comparison = decode(content.get("comparison") or {}, str(source))
        return cls.of(comparison, said.get("accuracy_resamples", 10_000), said.get("score_resamples", 2_000))

    def to_html(self, path: str | Path) -> Path:
        """Write the report as one page that needs nothing else: no network, no other file."""
        from pegbox.evaluate.html import page

        target = Path(path)
        target.write_text(page(self), encoding="utf-8")
        return target

    def print(self, console: Console | None = None) -> None:
        """Print the answer, the table and the advice, for a terminal of 80 columns or more."""
        from pegbox.evaluate.terminal import show

        show(self, console)

    def __repr__(self) -> str:
        methods = len(self.summary.methods)
        return f"Report({methods} methods on {self.summary.rows} test rows; {self.advice.verdict})"


def _flat(name: str, value: Any) -> dict[str, Any]:
    """An estimate as three entries, everything else as one."""
    if isinstance(value, Estimate):
        return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
    return {name: value}


def _all_flat(scores: Mapping[str, Estimate]) -> dict[str, Any]:
    return {key: value for name, one in scores.items() for key, value in _flat(name, one).items()}


def _no_report(came: str) -> DataError:
    return DataError(came, "a report.json as pegbox wrote it", "name the report.json in the comparison's folder")
