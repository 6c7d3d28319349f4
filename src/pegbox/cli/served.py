"""`pegbox compare --from-log`: versions of served prompts, scored from a server's log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pegbox.cli.printing import aloud, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from pegbox.evaluate.served_log import Pair, Standing, Version


def compare_log(logs: Sequence[Path], labels: Path | None, as_json: bool) -> None:
    """Prints each name's versions, and how surely they differ."""
    from rich.console import Console

    from pegbox.evaluate.served_log import read_labels, read_log, standings

    found = read_log(logs)
    known = {**found.labels, **(read_labels(labels, found) if labels is not None else {})}
    standing = standings(found, known)
    if found.other_lines:
        aloud([f"{found.other_lines} lines of the log tell no answers and were passed over"])
    if not known:
        aloud(["no labels yet: name a file with --labels, or post them to /v1/feedback; without them there is no accuracy"])
    if as_json:
        print_json([one.as_dict() for one in standing])
        return
    for one in standing:
        _print(one, Console())


def _print(one: Standing, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=one.name, title_justify="left")
    for name in ("version", "rows", "labelled", "accuracy", "95 % interval"):
        table.add_column(name, justify="left" if name == "version" else "right")
    for version in one.versions:
        table.add_row(Text(version.prompt + (" (shadow)" if version.shadow else "")), *_figures(version))
    console.print(table)
    for pair in one.pairs:
        console.print(Text(_sentence(pair)), soft_wrap=True)


def _figures(version: Version) -> tuple[str, str, str, str]:
    rows, found = (str(version.rows), str(version.labelled)), version.accuracy
    if found is None:
        return (*rows, "", "")
    return (*rows, f"{100 * found.value:.1f} %", f"{100 * found.low:.1f} to {100 * found.high:.1f} %")


def _sentence(pair: Pair) -> str:
    """What is known of two versions, in words."""
    same = "" if pair.same is None else f"; equal answers on {100 * pair.same:.1f} % of the rows in common"
    if pair.gap is None or pair.low is None or pair.high is None or pair.corrected is None:
        return f"{pair.first} and {pair.second}: no labelled rows to compare them on{same}"
    kind = f"on the same {pair.rows} rows (paired)" if pair.paired else f"on {pair.rows} rows, each its own (unpaired)"
    better, worse = (pair.first, pair.second) if pair.gap >= 0 else (pair.second, pair.first)
    low, high = (pair.low, pair.high) if pair.gap >= 0 else (-pair.high, -pair.low)
    verdict = "is better than" if pair.corrected < 0.05 else "cannot be told apart from"
    gap = f"{100 * abs(pair.gap):+.1f} points, {100 * low:+.1f} to {100 * high:+.1f}; p {pair.corrected:.3g}"
    return f"{better} {verdict} {worse} {kind}: {gap}{same}"
