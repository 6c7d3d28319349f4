"""The report in a terminal: the answer first, then the table, then the advice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pegbox.evaluate.columns import columns, names, shown, title
from pegbox.evaluate.lines import Line, PartLine, Summary
from pegbox.evaluate.slices import FEW
from pegbox.evaluate.standing import ZERO_SHOT
from pegbox.evaluate.wording import NONE, counted, listed, milliseconds, p_value, points, signed, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pegbox.evaluate.report import Report

LESS_NEEDED = ("per row", "seed sd", "macro-F1", "p ", "vs zero")
"""What a narrow terminal does without, in this order. Other tasks have their lesser measures in the place of macro-F1."""

SEEDS = "Intervals: 95%, test rows and seeds resampled together. p: rows and seeds both counted as chance, Holm-corrected."
ROWS = "No method has several seeds: intervals (95%) and p (Holm-corrected) speak of rows only."
GROUPS = "Methods in group 1 cannot be told apart from the best."


def show(report: Report, console: Console | None = None) -> None:
    """Print the report; a narrow terminal gets fewer columns."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    out = console or Console()
    answer = Text(visible(report.advice.verdict), style="bold")
    out.print(answer)
    for line in (report.advice.evidence, report.advice.choice):
        if line:
            out.print(Text(visible(line)))
    for warning in report.advice.warnings:
        out.print(Text(f"! {visible(warning)}", style="yellow"))
    out.print()
    out.print(_fitting(report, out))
    out.print(Text(_foot(report), style="dim"))
    out.print()
    if report.summary.group:
        for one in _sliced(report.summary):
            out.print(Text(f"{visible(one.method)} by {visible(report.summary.group)}", style="bold"))
            out.print(parts_table(one.slices, report.summary.group))
    for advice in report.advice.advice:
        out.print(Text(visible(advice.topic), style="bold"))
        out.print(Padding(Text(visible(advice.text)), (0, 0, 0, 2)))
    for note in report.comparison.notes:
        out.print(Text(f"Note: {visible(note)}", style="dim"))


def _sliced(summary: Summary) -> list[Line]:
    """The methods whose slices are worth a place on the screen: the best, the best prompt, and zero-shot."""
    prompted = [line for line in summary.methods if line.prompted][:1]
    picked = [summary.best, *prompted, *(line for line in summary.methods if line.method == ZERO_SHOT)]
    return list({line.method: line for line in picked}.values())


def parts_table(parts: Sequence[PartLine], heading: str) -> Table:
    """Groups of rows, classes or types with their scores and intervals."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table, counted_rows = Table(box=SIMPLE_HEAD, padding=(0, 1)), any(one.rows is not None for one in parts)
    table.add_column(Text(visible(heading)))
    for name in (*(["rows"] if counted_rows else []), *(title(name) for name in names(parts))):
        table.add_column(Text(visible(name)), justify="right")
    for one in parts:
        rows = [] if one.rows is None else [f"{one.rows}{' (few)' if one.rows < FEW else ''}"]
        scores = ["{} ({})".format(*shown(name, found)) for name, found in one.scores.items()]
        table.add_row(Text(visible(one.name)), *rows, *scores)
    return table


def _foot(report: Report) -> str:
    found, several = report.summary.detectable, any(len(line.seeds) > 1 for line in report.summary.methods)
    said = SEEDS if several else ROWS
    if several and (once := [visible(line.method) for line in report.summary.once]):
        said += f" Not counted, as one seed does not show it: how {listed(once)} would vary over seeds."
    small = "" if found is None else " Any true difference would usually go unnoticed here."
    if found is not None and found <= 1:
        small = f" A true difference below about {points(found)} would usually go unnoticed here."
    return f"{counted(report.summary.rows, 'test row')}. {said} {GROUPS}{small}"


def _fitting(report: Report, out: Console) -> Table:
    """The table with as many of its less needed columns as the terminal has room for."""
    from rich.measure import Measurement

    unbounded = out.options.update(max_width=10_000)
    left_out: tuple[str, ...] = ()
    lesser = _lesser(report.summary)
    less = LESS_NEEDED if lesser == ["macro-F1"] else ("per row", "seed sd", *reversed(lesser), "p ", "vs zero")
    while True:
        table = _table(report, left_out)
        if len(left_out) == len(less) or Measurement.get(out, unbounded, table).maximum <= out.width:
            return table
        left_out = less[: len(left_out) + 1]


def _lesser(summary: Summary) -> list[str]:
    """Titles of the scores besides the main one that have a column here."""
    return [column.title for column in columns(summary)[1:]][: 1 if summary.classified else None]


def _table(report: Report, left_out: tuple[str, ...]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False)
    lines = [_cells(line, report) for line in report.summary.methods]
    for name in lines[0]:
        if name not in left_out:
            justify: Literal["left", "right"] = "left" if name == "method" else "right"
            table.add_column(name.strip(), justify=justify, no_wrap=True)
    for line, cells in zip(report.summary.methods, lines, strict=True):
        table.add_row(*(_styled(cell, line, report) for name, cell in cells.items() if name not in left_out))
    return table


def _styled(cell: str, line: Line, report: Report) -> Text:
    from rich.text import Text

    bold = report.winner is not None and (line.method == report.winner or report.winner in line.same_as)
    return Text(visible(cell), style="bold green" if bold else "dim" if line.group > 1 and line.kind == "reference" else "")


def _cells(line: Line, report: Report) -> dict[str, str]:
    """One row by column; the second p is that of the column before it."""
    lesser = _lesser(report.summary)
    others = {column.title: column.of(line)[0] for column in columns(report.summary) if column.title in lesser}
    cells = {
        "group": str(line.group),
        "method": line.method,
        report.summary.title: f"{100 * line.main.value:.1f}",
        "95% interval": f"{100 * line.main.low:.1f} - {100 * line.main.high:.1f}",
        **others,
        "seed sd": NONE if line.seed_sd is None else f"{100 * line.seed_sd:.1f}",
        "vs best": NONE if line.behind is None else signed(line.behind.value),
        "p": p_value(line.p_best),
    }
    if report.summary.find(ZERO_SHOT) is not None:
        cells["vs zero"] = NONE if line.gain is None else signed(line.gain.value)
        cells["p "] = p_value(line.p_zero_shot)
    return {**cells, "per row": milliseconds(line.cost.predict_ms_1)}
