"""The commands that use a tuned prompt: evaluate, predict and show."""

from __future__ import annotations

import gc
import io
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from pegbox.cli.options import (
    DATA,
    FIELD_LIMIT,
    Device,
    Encoding,
    FieldLimit,
    Fields,
    Folder,
    Group,
    Json,
    Label,
    Moved,
    NoQuotes,
    OnProblem,
    Text,
    listed,
)
from pegbox.cli.printing import aloud, print_json

FEW = 16
"""Rows in a file for which the model is opened in the quicker way; more are predicted in the faster one."""


def evaluate(
    prompt: Folder,
    data: Annotated[str, typer.Argument(help=DATA, show_default=False, metavar="DATA")],
    text: Text = None,
    label: Label = None,
    fields: Fields = None,
    model: Moved = None,
    device: Device = "auto",
    group: Group = None,
    encoding: Encoding = None,
    on_problem: OnProblem = "error",
    field_limit: FieldLimit = FIELD_LIMIT,
    no_quotes: NoQuotes = False,
    as_json: Json = False,
) -> None:
    """Score a tuned prompt on labelled rows, with 95 % intervals. The opening of these rows is written into the artifact."""
    from rich.console import Console

    from pegbox import api
    from pegbox.artifact import add_evaluation, load, read_prompt, read_task
    from pegbox.cli.printing import print_evaluation
    from pegbox.data.stream import Reading
    from pegbox.task.registry import entry

    known, task = read_prompt(prompt), read_task(prompt)  # complain of a damaged artifact before anything is read
    labels = frozenset(getattr(task, "labels", ()))
    reading = Reading(encoding, not no_quotes, field_limit, on_problem, labels)  # type: ignore[arg-type]  # it is checked there
    more = _further(fields, task.reads(known))
    more = more if group is None or group in more else (*more, group)
    rows, notes = entry(task.name).rows(data, text, label, True, fields=more, reading=reading)
    tuned = load(prompt, model, device)
    found = api.evaluate(tuned, rows, group=group)
    add_evaluation(prompt, tuned.evaluations[-1])
    if as_json:
        print_json({"prompt": str(prompt), **found.as_dict(), "notes": [*notes, *found.notes]})
        return
    aloud((*notes, *found.notes))
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
    server: Annotated[str | None, typer.Option(help="Ask this `pegbox serve`; PROMPT is then a prompt's name there.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="A file that holds the key for the server.")] = None,
    proba: Annotated[bool, typer.Option("--proba", help="Add a column of probability for each label.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each row instead of CSV.")] = False,
) -> None:
    """Predict labels for a file of texts, which may be larger than memory. Prints CSV, in UTF-8 unless to a terminal.

    Of other tasks: what they answer with, for a file that fits into memory.
    """
    from pegbox.cli.predictions import write_predictions
    from pegbox.data.stream import Reading
    from pegbox.data.table import stream_rows

    reading = Reading(encoding, not no_quotes, field_limit, on_problem)  # type: ignore[arg-type]  # it is checked there
    with _starting():
        found = _here(prompt, model, device) if server is None else _there(prompt, server, key_file)
    if found.task != "classify":
        _answer(found, data, text, fields, reading, as_json)
        return
    further = found.further
    tables = stream_rows(data, text, fields=further if fields is None else listed(fields), reading=reading)
    first = next(tables)  # complains of a bad file before the model is loaded
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # the user's own columns come back as they were
    few = len(first.rows) <= FEW
    with _starting() if few else nullcontext():
        tuned = found.opened(few=few)
        aloud(write_predictions(tuned, itertools.chain([first], tables), sys.stdout, as_json=as_json, proba=proba))


@contextmanager
def _starting() -> Iterator[None]:
    """Within it nothing is looked through for garbage: modules and models are there to stay, and looking takes a second."""
    wanted = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if wanted:
            gc.enable()


@dataclass(frozen=True)
class _Found:
    """A prompt that was found, here or on a server.

    Settings:
        task: its task's name.
        further: the columns that it reads besides the text.
        opened: loads it: what `write_predictions`, `write_answers` or `write_spans` takes; told whether rows are so few that
            the model is better opened in the quicker way.
    """

    task: str
    further: tuple[str, ...]
    opened: Callable[..., Any]


def _here(prompt: str, model: str | None, device: str) -> _Found:
    """An artifact; complains of a damaged one at once."""
    from pegbox.artifact import load, read_prompt, read_task
    from pegbox.backbone.fused import left_plain

    known, task = read_prompt(prompt), read_task(prompt)

    def opened(few: bool = False) -> Any:
        with _starting(), left_plain(few):
            tuned = load(prompt, model, device)
        return tuned if task.name == "classify" else tuned.predictor

    return _Found(task.name, _further(None, task.reads(known)), opened)


def _there(prompt: str, server: str, key_file: Path | None) -> _Found:
    """A prompt on a server."""
    from pegbox.client import Client

    key = None if key_file is None else key_file.read_text(encoding="utf-8").strip()
    served = Client(server, key).prompt(prompt)
    return _Found(served.kind, served.further_fields, lambda **_: served)


def _answer(found: _Found, data: str, text: str | None, fields: str | None, reading: Any, as_json: bool) -> None:
    """Prints what a prompt of another task than classification answers with."""
    from pegbox.cli.answers import write_answers
    from pegbox.task.registry import entry

    more = found.further if fields is None else listed(fields)
    if found.task == "tag":
        _tag(data, text, more, reading, as_json, found.opened)
        return
    rows, notes = entry(found.task).rows(data, text, None, False, fields=more, reading=reading)
    aloud((*notes, *write_answers(found.opened(), rows, sys.stdout, as_json)))


def _tag(data: str, text: str | None, fields: Sequence[str], reading: Any, as_json: bool, opened: Callable[[], Any]) -> None:
    """Prints the spans of the entities in a file's texts, in these texts' own characters, beside the user's own columns."""
    from pegbox.cli.spans import write_spans
    from pegbox.data.sentences import read_sentences

    found = read_sentences(data, text, None, False, fields=fields, reading=reading)  # complains before the model is loaded
    tagger = opened()
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    aloud(write_spans(tagger, found, sys.stdout, as_json=as_json))


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


def _further(fields: str | None, read: Sequence[str]) -> tuple[str, ...]:
    """The columns besides the text: those that are named, or those that the prompt reads."""
    return tuple(name for name in read if name != "text") if fields is None else listed(fields)
