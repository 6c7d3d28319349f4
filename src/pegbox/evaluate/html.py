"""The report as one page: what the template is given, and the template filled."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from pegbox.evaluate import plots, wording
from pegbox.evaluate.columns import columns, names, shown, title
from pegbox.evaluate.confused import ConfusedRow, costliest, most_confused
from pegbox.evaluate.curves import curves
from pegbox.evaluate.lines import Line, MethodLine, Summary
from pegbox.evaluate.measured import run_score
from pegbox.evaluate.record import Cell, Comparison
from pegbox.evaluate.record_json import plain
from pegbox.evaluate.slices import FEW
from pegbox.evaluate.standing import ZERO_SHOT, by_method
from pegbox.evaluate.terms import Terms
from pegbox.metrics.classification import BINS
from pegbox.metrics.ranking import APART, WIN

if TYPE_CHECKING:
    from jinja2 import Environment

    from pegbox.evaluate.report import Report

LARGEST_MATRIX = 15
"""With more classes than this the page lists the commonest confusions instead of drawing matrices."""

_MARK = re.compile(r'\[(?:hard|soft|answer|system|user|assistant)(?:[^\]"\\]|\\.|"(?:[^"\\]|\\.)*")*\]|\{[^{}\\]+\}')


def page(report: Report) -> str:
    """The whole page. It loads nothing, and everything that a user wrote is escaped."""
    template = _environment().get_template("report.html.j2")
    return template.render(**_content(report))


def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    def load(name: str) -> str:
        return files("pegbox.evaluate").joinpath(name).read_text(encoding="utf-8")

    found = Environment(
        loader=FunctionLoader(load), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    found.filters.update(
        {
            "pct": lambda value: f"{100 * value:.1f}",
            "ends": lambda e: f"{100 * e.low:.1f} to {100 * e.high:.1f}",
            "title_of": title,
            "shown": lambda e, name: shown(name, e),
            "gap": lambda value: _minus(wording.signed(value)),
            "gap_ends": lambda e: _minus(wording.signed_range(e)),
            "p": wording.p_phrase,
            "ms": wording.milliseconds,
            "duration": wording.duration,
            "size": wording.size,
            "amount": wording.amount,
            "counted": wording.counted,
            "show": wording.visible,
            "printable": wording.printable,
            "short": lambda text, limit=280: wording.shortened(wording.visible(text), limit),
            "quoted": lambda word: word.replace(" ", "\N{OPEN BOX}") if word.isprintable() else json.dumps(word)[1:-1],
            "said": lambda text: _minus(wording.visible(text)),
        }
    )
    return found


def _minus(text: str) -> str:
    """True minus signs before numbers."""
    return re.sub(r"(?<![\w.)-])-(?=\d)", "\N{MINUS SIGN}", text)


def _content(report: Report) -> dict[str, Any]:
    from markupsafe import Markup

    comparison, summary, terms = report.comparison, report.summary, Terms.of(report.summary)
    drawn = {
        "forest": plots.forest(summary, comparison),
        "costs": plots.costs(summary),
        "learning": plots.learning(curves(comparison), summary.title if terms.accurate else "score"),
    }
    return {
        "report": report,
        "comparison": comparison,
        "summary": summary,
        "advice": report.advice,
        "pictures": {name: None if text is None else Markup(text) for name, text in drawn.items()},  # our own SVG
        "model": str(comparison.settings.get("model") or ""),
        "zero_shot": summary.find(ZERO_SHOT),
        "kinds": [kind for kind in plots.MARKS if any(line.kind == kind for line in summary.methods)],
        "seed_count": max(len(line.seeds) for line in summary.methods),
        "terms": terms,
        "columns": columns(summary),
        "few": FEW,
        **(_measured(comparison, summary) if comparison.measures else _classified(comparison, summary)),
        **_sliced(summary),
        "prompts": _prompts(comparison, summary),
        "settings": _settings(comparison.settings),
        "apart": APART,
        "win": WIN,
        "bins": BINS,
    }


def _classified(comparison: Comparison, summary: Summary) -> dict[str, Any]:
    """Where a classification goes wrong."""
    return {
        "matrices": _matrices(comparison, summary),
        "confusions": _commonest(comparison, summary.classified[0]),
        "wrong": _wrong(comparison, summary),
    }


def _measured(comparison: Comparison, summary: Summary) -> dict[str, Any]:
    """Where another task goes wrong."""
    costly = [(name, rows) for name in _best_two(summary) if (rows := costliest(comparison, name))]
    return {"costly": costly, "part_names": names(summary.measured[0].parts)}


def _sliced(summary: Summary) -> dict[str, Any]:
    slices = summary.best.slices
    return {"slice_names": names(slices), "slices_few": FEW if any((one.rows or 0) < FEW for one in slices) else None}


def _best_two(summary: Summary) -> list[str]:
    """The best method, and the best prompt where that is another."""
    return list(dict.fromkeys([summary.best.method, *[line.method for line in summary.methods if line.prompted][:1]]))


def _telling(summary: Summary, limit: int = 4) -> list[MethodLine]:
    """The methods that show most side by side: the best, the best prompt, the best readable prompt, and zero-shot."""
    prompted = [line for line in summary.classified if line.prompted]
    picked = [summary.classified[0], *prompted[:1], *[line for line in prompted if line.readable][:1]]
    base = [line for line in summary.classified if line.method == ZERO_SHOT]
    unique = {line.method: line for line in (*picked, *base)}
    return list(unique.values())[:limit]


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix to draw: (count, share of the gold class, on the diagonal) for each cell."""

    method: str
    rows: tuple[tuple[str, tuple[tuple[str, float, bool], ...]], ...]


def _matrices(comparison: Comparison, summary: Summary) -> list[Matrix]:
    if len(comparison.labels) > LARGEST_MATRIX:
        return []
    return [_matrix(comparison.labels, line) for line in _telling(summary)]


def _matrix(labels: tuple[str, ...], line: MethodLine) -> Matrix:
    rows = []
    for g, label in enumerate(labels):
        own, total = line.confusion[g], max(1.0, float(line.confusion[g].sum()))
        rows.append((label, tuple((f"{count:.0f}", round(float(count) / total, 3), g == c) for c, count in enumerate(own))))
    return Matrix(line.method, tuple(rows))


def _commonest(comparison: Comparison, line: MethodLine, limit: int = 15) -> list[tuple[str, str, float, float]]:
    """The commonest confusions of a method: gold, answer, mean count, share of the gold class."""
    counts = line.confusion.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:limit]
    totals = line.confusion.sum(1)
    pairs = [divmod(int(place), len(counts)) for place in order]
    return [
        (comparison.labels[g], comparison.labels[c], float(counts[g, c]), float(counts[g, c] / totals[g]))
        for g, c in pairs
        if counts[g, c] > 0
    ]


def _wrong(comparison: Comparison, summary: Summary) -> list[tuple[str, list[ConfusedRow]]]:
    """The most confused rows of the best method, and of the best prompt where that is another."""
    return [(name, rows) for name in _best_two(summary) if (rows := most_confused(comparison, name))]


@dataclass(frozen=True)
class Shown:
    """One prompt to show: the seeds that found it, its `pieces`, and its slots' nearest words."""

    seeds: tuple[int, ...]
    score: float
    pieces: tuple[tuple[str, str], ...]
    nearest: tuple[tuple[str, tuple[tuple[str, float, float], ...]], ...]


def _prompts(comparison: Comparison, summary: Summary) -> list[tuple[Line, list[Shown]]]:
    """Each method's prompts in the order of seeds (not of test scores: nobody should pick one by those), equal ones once."""
    cells, found = by_method(comparison), []
    for line in summary.methods:
        own = [cell for cell in cells[line.method] if cell.prompt]
        if own:
            found.append((line, _shown(own, comparison)))
    return found


def _shown(cells: list[Cell], comparison: Comparison) -> list[Shown]:
    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(json.dumps([cell.prompt, plain(cell.nearest)]), []).append(cell)
    return [
        Shown(
            seeds=tuple(cell.seed for cell in own if cell.seed >= 0),
            score=float(np.mean([run_score(comparison, cell) for cell in own])),
            pieces=tuple(pieces(own[0].prompt)),
            nearest=tuple((slot, tuple(words)) for slot, words in sorted(own[0].nearest.items())),
        )
        for own in alike.values()
    ]


def pieces(prompt: str) -> list[tuple[str, str]]:
    """A prompt's notation cut up for colouring: (text, ``hard``, ``soft``, ``mark`` for other marks, or nothing for words)."""
    found: list[tuple[str, str]] = []
    start = 0
    for match in _MARK.finditer(prompt):
        escaped = (len(prompt[: match.start()]) - len(prompt[: match.start()].rstrip("\\"))) % 2 == 1
        if escaped:
            continue
        kind = next((kind for kind in ("hard", "soft") if match[0].startswith(f"[{kind} ")), "mark")
        found += [(prompt[start : match.start()], ""), (match[0], kind)]
        start = match.end()
    return [(text, kind) for text, kind in [*found, (prompt[start:], "")] if text]


def _settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Settings as rows of text; nested ones with dotted names."""
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += [(f"{name}.{inner}", said) for inner, said in _settings(value)]
        else:
            rows.append((str(name), value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)))
    return rows
