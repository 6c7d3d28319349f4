"""Scores and prompts in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pegbox.evaluate.scores import Evaluation

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


def print_evaluation(found: Evaluation, console: Console) -> None:
    """The scores with their intervals, then each class."""
    table = Table(title=f"{found.rows} rows of {found.source}", title_justify="left")
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
    console.print(Text(found["prompt"], style="bold"))
    console.print()
    for label, words in found["words"].items():
        console.print(Text(f"  {label}: {', '.join(words)}"))
    for name, words in found["nearest"].items():
        table = Table(title=f"soft slot {name}: nearest words", title_justify="left")
        for column in ("vector", "nearest word", "cosine", "length / word's"):
            table.add_column(column, justify="left" if column == "nearest word" else "right")
        for at, word in enumerate(words, 1):
            table.add_row(str(at), Text(repr(word["word"])), f"{word['cosine']:.2f}", f"{word['norm_ratio']:.2f}")
        console.print(table)
    if found["nearest_note"]:
        console.print(Text(found["nearest_note"], style="dim"))
    model = found["model"]
    _line(console, "model", f"{model['name']} ({model['digest'][:12]}), {model['dtype']}")
    _line(console, "calibration", found["calibration"]["method"])
    for key in ("method", "seed", "budget", "start"):
        if key in found:
            _line(console, key, str(found[key]))
    if "settings" in found:
        _line(console, "settings", ", ".join(f"{key}={value}" for key, value in found["settings"].items()))
    if "data" in found and found["data"]:
        _line(console, "data", f"{found['data']['source']}: {found['data']['train_rows']} to learn from, {found['data']['dev_rows']} to choose on")
    if "scores" in found:
        _line(console, "dev accuracy", f"{100 * found['scores']['dev_accuracy']:.1f} % (chosen on these rows: no fair score)")
    for opening in found.get("evaluations", ()):
        score = f", accuracy {100 * opening['accuracy']:.1f} %" if "accuracy" in opening else ""
        _line(console, "test rows opened", f"{opening['source']}: {opening['rows']} rows{score} (opening {opening['opening']})")
    for note in found.get("notes", ()):
        _line(console, "note", note)


def _line(console: Console, name: str, value: str) -> None:
    console.print(Text.assemble((f"{name}: ", "dim"), value), soft_wrap=True)
