"""The commands that use a tuned prompt: evaluate, predict and show."""

from __future__ import annotations

import io
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pegbox.cli.options import (
    DATA,
    FIELD_LIMIT,
    Device,
    Encoding,
    FieldLimit,
    Fields,
    Folder,
    Json,
    Label,
    Moved,
    NoQuotes,
    OnProblem,
    Text,
    listed,
)
from pegbox.cli.printing import aloud, print_json

if TYPE_CHECKING:
    from pegbox.prompt import Prompt


def evaluate(
    prompt: Folder,
    data: Annotated[str, typer.Argument(help=DATA, show_default=False, metavar="DATA")],
    text: Text = None,
    label: Label = None,
    fields: Fields = None,
    model: Moved = None,
    device: Device = "auto",
    encoding: Encoding = None,
    on_problem: OnProblem = "error",
    field_limit: FieldLimit = FIELD_LIMIT,
    no_quotes: NoQuotes = False,
    as_json: Json = False,
) -> None:
    """Score a tuned prompt on labelled rows, with 95 % intervals. The opening of these rows is written into the artifact."""
    from rich.console import Console

    from pegbox import api
    from pegbox.artifact import add_evaluation, load, read_prompt
    from pegbox.cli.printing import print_evaluation
    from pegbox.data.stream import Reading
    from pegbox.data.table import read_table

    known = read_prompt(prompt)  # complains of a damaged artifact before anything is read
    reading = Reading(encoding, not no_quotes, field_limit, on_problem)  # type: ignore[arg-type]  # it is checked there
    table = read_table(data, text, label, labelled=True, fields=_further(fields, known), reading=reading)
    tuned = load(prompt, model, device)
    found = api.evaluate(tuned, table.rows)
    add_evaluation(prompt, tuned.evaluations[-1])
    if as_json:
        print_json({"prompt": str(prompt), **found.as_dict(), "notes": [*table.notes, *found.notes]})
        return
    aloud((*table.notes, *found.notes))
    print_evaluation(found, Console())


def predict(
    prompt: Folder,
    data: Annotated[
        str,
        typer.Argument(
            help="A file with texts; its columns come back with the predictions beside them.",
            show_default=False,
            metavar="DATA",
        ),
    ],
    text: Text = None,
    fields: Fields = None,
    model: Moved = None,
    device: Device = "auto",
    encoding: Encoding = None,
    on_problem: Annotated[str, typer.Option(help="error or drop: what to do with rows that have no text.")] = "error",
    field_limit: FieldLimit = FIELD_LIMIT,
    no_quotes: NoQuotes = False,
    proba: Annotated[bool, typer.Option("--proba", help="Add a column of probability for each label.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each row instead of CSV.")] = False,
) -> None:
    """Predict labels for a file of texts, which may be larger than memory. Prints CSV, in UTF-8 unless to a terminal."""
    from pegbox.artifact import load, read_prompt
    from pegbox.cli.predictions import write_predictions
    from pegbox.data.stream import Reading
    from pegbox.data.table import stream_rows

    known = read_prompt(prompt)  # complains of a damaged artifact, and of a bad file, before the model is loaded
    reading = Reading(encoding, not no_quotes, field_limit, on_problem)  # type: ignore[arg-type]  # it is checked there
    tables = stream_rows(data, text, fields=_further(fields, known), reading=reading)
    first = next(tables)
    tuned = load(prompt, model, device)
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # the user's own columns come back as they were
    aloud(write_predictions(tuned, itertools.chain([first], tables), sys.stdout, as_json=as_json, proba=proba))


def show(prompt: Folder, model: Moved = None, as_json: Json = False) -> None:
    """Show a tuned prompt: its words, its vectors' nearest words, its settings and scores."""
    from rich.console import Console

    from pegbox.artifact import load
    from pegbox.cli.printing import print_artifact
    from pegbox.cli.shown import shown

    found = shown(load(Path(prompt), model, "cpu"))
    if as_json:
        print_json(found)
    else:
        print_artifact(found, Console())


def _further(fields: str | None, prompt: Prompt) -> tuple[str, ...]:
    """The columns besides the text: those that are named, or those that the prompt reads."""
    return tuple(name for name in prompt.field_names if name != "text") if fields is None else listed(fields)
