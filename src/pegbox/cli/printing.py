"""Scores and prompts on the screen, as text and as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from pegbox.evaluate.scores import Evaluation, MeasuredEvaluation

_TITLES = {
    "accuracy": "accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "mcc": "Matthews correlation",
    "ece": "calibration error (ECE)",
    "brier": "Brier score",
    "log_loss": "log loss",
}


def aloud(notes: Sequence[str]) -> None:
    """What a person should know, beside the result: on stderr."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def print_json(value: Any) -> None:
    """The result as JSON that any program reads: what is not a number there becomes null."""
    from pegbox.evaluate.record_json import plain

    print(json.dumps(plain(value), ensure_ascii=False, indent=1, allow_nan=False))


def written(value: Any) -> str:
    """A setting's value as `--set` reads it."""
    if isinstance(value, list | tuple):
        return ",".join(written(item) for item in value)
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def dev_said(scores: Mapping[str, float]) -> str:
    """The score on the dev rows, from an artifact's record: 84.1 %, or entity F1 84.1."""
    name, value = next((key.removeprefix("dev_"), found) for key, found in scores.items() if key.startswith("dev_"))
    return f"{100 * value:.1f} %" if name == "accuracy" else _measured(name, value)


def _measured(name: str, value: float) -> str:
    from pegbox.metrics.measures import measure

    return f"{measure(name).title} {100 * value:.1f}"


def print_evaluation(found: Evaluation | MeasuredEvaluation, console: Console) -> None:
    """The scores with their intervals, then each class and each group of rows."""
    from pegbox.evaluate.scores import Evaluation
    from pegbox.evaluate.terminal import parts_table

    if isinstance(found, Evaluation):
        _print_classified(found, console)
        if found.levels:
            console.print(parts_table(found.levels, "level"))
    else:
        _print_measured(found, console)
    if found.slices:
        console.print(parts_table(found.slices, "group"))


def _print_measured(found: MeasuredEvaluation, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from pegbox.evaluate.columns import shown, title
    from pegbox.evaluate.terminal import parts_table

    console.print(Text(f"{found.rows} rows of {found.source}"), soft_wrap=True)
    table = Table()
    for name in ("score", "value", "95 % interval"):
        table.add_column(name, justify="left" if name == "score" else "right")
    for name, one in found.scores.items():
        table.add_row(Text(title(name)), *shown(name, one))
    console.print(table)
    if found.parts:
        console.print(parts_table(found.parts, "type"))


def _print_classified(found: Evaluation, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(Text(f"{found.rows} rows of {found.source}"), soft_wrap=True)
    table = Table()
    for name in ("score", "value", "95 % interval"):
        table.add_column(name, justify="left" if name == "score" else "right")
    for name, (low, high) in found.intervals.items():
        table.add_row(_TITLES.get(name, name), f"{getattr(found.scores, name):.3f}", f"{low:.3f} to {high:.3f}")
    console.print(table)
    classes = Table()
    for name in ("class", "rows", "precision", "recall", "F1"):
        classes.add_column(name, justify="left" if name == "class" else "right")
    for label, scores in zip(found.labels, found.scores.classes, strict=True):
        values = (f"{value:.3f}" for value in (scores.precision, scores.recall, scores.f1))
        classes.add_row(Text(label), str(scores.support), *values)
    console.print(classes)


def print_artifact(found: Mapping[str, Any], console: Console) -> None:
    """What `shown` gathered, for a person."""
    from rich.text import Text

    console.print(Text(found["prompt"], style="bold"), soft_wrap=True)
    console.print()
    for label, words in found.get("words", {}).items():
        console.print(Text(f"  {label}: {', '.join(words)}"), soft_wrap=True)
    for name, words in found["nearest"].items():
        _print_nearest(name, words, console)
    if found["nearest_note"]:
        console.print(Text(found["nearest_note"], style="dim"))
    model = found["model"]
    _line(console, "model", f"{model['name']} ({model['digest'][:12]}), {model['dtype']}")
    if "calibration" in found:
        _line(console, "calibration", found["calibration"]["method"])
    if "task" in found:
        _line(console, "task", found["task"]["name"])
    _print_origin(found, console)
    for opening in found["evaluations"]:
        score = f", accuracy {100 * opening['accuracy']:.1f} %" if "accuracy" in opening else ""
        score = f", {_measured(opening['measure'], opening['score'])}" if "measure" in opening else score
        where = f"{opening['source']}: {opening['rows']} rows{score} (opening {opening['opening']})"
        _line(console, "test rows opened", where)
    for note in found.get("notes", ()):
        _line(console, "note", note)


def _print_nearest(name: str, words: Sequence[Mapping[str, Any]], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"soft slot {name}: nearest words", title_justify="left")
    for column in ("vector", "nearest word", "cosine", "length / word's"):
        table.add_column(column, justify="left" if column == "nearest word" else "right")
    for at, word in enumerate(words, 1):
        table.add_row(str(at), Text(repr(word["word"])), f"{word['cosine']:.2f}", f"{word['norm_ratio']:.2f}")
    console.print(table)


def _print_origin(found: Mapping[str, Any], console: Console) -> None:
    """Method, settings, data and scores, as far as they are known."""
    for key in ("method", "seed", "budget", "start"):
        if key in found:
            _line(console, key, str(found[key]))
    if settings := found.get("settings"):
        _line(console, "settings", ", ".join(f"{key}={written(value)}" for key, value in settings.items()))
    if data := found.get("data"):
        _line(console, "data", f"{data['source']}: {data['train_rows']} to learn from, {data['dev_rows']} to choose on")
    if scores := found.get("scores"):
        name = "dev accuracy" if "dev_accuracy" in scores else "dev score"
        _line(console, name, f"{dev_said(scores)} (chosen on these rows: no fair score)")


def _line(console: Console, name: str, value: str) -> None:
    from rich.text import Text

    console.print(Text.assemble((f"{name}: ", "dim"), value), soft_wrap=True)
