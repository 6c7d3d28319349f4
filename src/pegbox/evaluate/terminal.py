"""The report in a terminal: the answer first, then the table, then the advice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pegbox.evaluate.summary import ZERO_SHOT, MethodLine
from pegbox.evaluate.wording import NONE, counted, listed, milliseconds, p_value, points, signed, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pegbox.evaluate.report import Report

LESS_NEEDED = ("per row", "seed sd", "macro-F1", "p ", "vs zero")
"""What a narrow terminal does without, in this order."""

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
    for advice in report.advice.advice:
        out.print(Text(visible(advice.topic), style="bold"))
        out.print(Padding(Text(visible(advice.text)), (0, 0, 0, 2)))
    for note in report.comparison.notes:
        out.print(Text(f"Note: {visible(note)}", style="dim"))


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
    while True:
        table = _table(report, left_out)
        if len(left_out) == len(LESS_NEEDED) or Measurement.get(out, unbounded, table).maximum <= out.width:
            return table
        left_out = LESS_NEEDED[: len(left_out) + 1]


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


def _styled(cell: str, line: MethodLine, report: Report) -> Text:
    from rich.text import Text

    bold = report.winner is not None and (line.method == report.winner or report.winner in line.same_as)
    return Text(visible(cell), style="bold green" if bold else "dim" if line.group > 1 and line.kind == "reference" else "")


def _cells(line: MethodLine, report: Report) -> dict[str, str]:
    """One row by column; the second p is that of the column before it."""
    cells = {
        "group": str(line.group),
        "method": line.method,
        "accuracy": f"{100 * line.accuracy.value:.1f}",
        "95% interval": f"{100 * line.accuracy.low:.1f} - {100 * line.accuracy.high:.1f}",
        "macro-F1": f"{100 * line.macro_f1.value:.1f}",
        "seed sd": NONE if line.seed_sd is None else f"{100 * line.seed_sd:.1f}",
        "vs best": NONE if line.behind is None else signed(line.behind.value),
        "p": p_value(line.p_best),
    }
    if report.summary.find(ZERO_SHOT) is not None:
        cells["vs zero"] = NONE if line.gain is None else signed(line.gain.value)
        cells["p "] = p_value(line.p_zero_shot)
    return {**cells, "per row": milliseconds(line.cost.predict_ms_1)}
