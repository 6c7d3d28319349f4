"""The commands that tune: compare, tune and demo."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from pegbox.cli.options import (
    DATA,
    FIELD_LIMIT,
    BudgetOption,
    Calibration,
    Channel,
    Device,
    Dtype,
    Encoding,
    FieldLimit,
    Fields,
    Group,
    Json,
    Label,
    LongTexts,
    Model,
    NoQuotes,
    OnProblem,
    PromptOption,
    Shots,
    Task,
    TaskSettings,
    Text,
    Words,
    further_fields,
    label_words,
    method_names,
    pairs,
    pairs_by_method,
    task_pairs,
    unable,
)
from pegbox.cli.printing import aloud, dev_said, print_json
from pegbox.cli.recipe import Recipe, write_recipe
from pegbox.errors import SettingsError
from pegbox.recipe.methods import DEFAULTS, defaults


def compare(
    context: typer.Context,
    data: Annotated[str | None, typer.Argument(help=DATA, show_default=False, metavar="DATA")] = None,
    data_option: Annotated[str | None, typer.Option("--data", help="The same as the argument.")] = None,
    task: Task = "classify",
    text: Text = None,
    label: Label = None,
    fields: Fields = None,
    test: Annotated[
        str | None, typer.Option(help="A file of test rows. Without it a part of the data is split off and sealed.")
    ] = None,
    dev: Annotated[str | None, typer.Option(help="A file of rows to choose on. Without it each seed splits them off.")] = None,
    test_size: Annotated[float, typer.Option(help="The test part: a share, or (from 1) a number of rows.")] = 0.2,
    train_rows: Annotated[int | None, typer.Option(help="Use at most so many training rows.")] = None,
    test_rows: Annotated[int | None, typer.Option(help="Score at most so many test rows.")] = None,
    methods: Annotated[
        str | None, typer.Option(help=f"Comma-separated names from `pegbox methods`, or all. Default: {', '.join(DEFAULTS)}.")
    ] = None,
    model: Model = "smollm2",
    prompt: PromptOption = None,
    words: Words = None,
    budget: BudgetOption = "5m",
    seeds: Annotated[int, typer.Option(help="How many seeds each method gets.")] = 1,
    tuning_seeds: Annotated[int | None, typer.Option(help="How many of them for methods that use up their budget.")] = None,
    shots: Shots = None,
    calibration: Calibration = "batch",
    channel: Channel = False,
    settings: Annotated[list[str] | None, typer.Option("--set", help="A method's setting: 'soft.length=8'. Repeat.")] = None,
    long: LongTexts = None,
    task_settings: TaskSettings = None,
    group: Group = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder: cells, prompts, report. Default: pegbox-runs/NAME-OF-DATA.")
    ] = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    encoding: Encoding = None,
    on_problem: OnProblem = "error",
    field_limit: FieldLimit = FIELD_LIMIT,
    no_quotes: NoQuotes = False,
    from_log: Annotated[
        list[Path] | None, typer.Option(help="Score the versions in this log of `pegbox serve` instead. Repeat for several.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="With --from-log: a table of request, label (and row), as they became known.")
    ] = None,
    recipe: Recipe = None,  # noqa: ARG001  # its callback reads it
    as_json: Json = False,
) -> None:
    """Compare methods on your data: equal rows, splits, seeds and budgets, then once on sealed test rows. Ends with a report.

    Interrupted, the same command goes on where it was.
    """
    from pegbox.data.limit import limited
    from pegbox.data.stream import Reading
    from pegbox.task.groups import in_groups
    from pegbox.task.registry import entry

    if from_log:
        from pegbox.cli.served import compare_log

        compare_log(from_log, labels, as_json)
        return
    if labels is not None:
        raise SettingsError("--labels without --from-log", "the log that they are for", "name it with --from-log")
    source, chosen = data or data_option, method_names(methods, task)
    if source is None or (data and data_option):
        raise SettingsError(
            "two sources of data" if source else "no data", "one file or sample:NAME", "say `pegbox compare FILE`"
        )
    more = further_fields(fields, prompt)
    found = entry(task).read(
        source, text, label, fields=more, test=test, dev=dev,
        test_size=int(test_size) if test_size >= 1 and test_size.is_integer() else test_size, encoding=encoding,
        on_problem=on_problem, field_limit=field_limit, quotes=not no_quotes,
    )  # fmt: skip
    if group is not None:
        reading = Reading(encoding, not no_quotes, field_limit, on_problem)  # type: ignore[arg-type]  # it is checked there
        found = in_groups(found, group, task, source, test, text, label, fields=more, reading=reading)
    found = limited(found, train_rows, test_rows, sets=task == "multilabel")
    aloud((*found.notes, *unable(methods, task)))
    folder = out or Path("pegbox-runs") / Path(source.replace(":", "-")).stem
    report = _compared(
        found, folder, as_json, methods=chosen, model=model, prompt=prompt, words=label_words(words),
        budget=budget, seeds=seeds, tuning_seeds=tuning_seeds, shots=shots, calibration=calibration, channel=channel,
        settings=pairs_by_method(settings), dtype=dtype, device=device, task=task, group=group,
        task_settings=task_pairs(task_settings, long),
    )  # fmt: skip
    write_recipe(context, folder / "recipe.toml", data=source)
    if as_json:
        said = {"best": report.best, "winner": report.winner, "recommendation": report.recommendation, "table": report.table()}
        print_json({"report": str(folder / "report.json"), "page": str(folder / "report.html"), **said})


def tune(
    data: Annotated[str, typer.Argument(help=DATA, show_default=False, metavar="DATA")],
    out: Annotated[Path, typer.Option(help="Where the tuned prompt goes: a small folder.")],
    method: Annotated[str, typer.Option(help="A name from `pegbox methods` that makes a prompt.")] = "hybrid",
    task: Task = "classify",
    text: Text = None,
    label: Label = None,
    fields: Fields = None,
    dev: Annotated[str | None, typer.Option(help="A file of rows to choose on. Without it they are split off.")] = None,
    model: Model = "smollm2",
    prompt: PromptOption = None,
    words: Words = None,
    budget: BudgetOption = "5m",
    seed: Annotated[int, typer.Option(help="All chance in tuning.")] = 0,
    shots: Shots = None,
    calibration: Calibration = "batch",
    channel: Channel = False,
    settings: Annotated[list[str] | None, typer.Option("--set", help="A setting of the method: 'length=8'. Repeat.")] = None,
    long: LongTexts = None,
    task_settings: TaskSettings = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    encoding: Encoding = None,
    on_problem: OnProblem = "error",
    field_limit: FieldLimit = FIELD_LIMIT,
    no_quotes: NoQuotes = False,
    recipe: Recipe = None,  # noqa: ARG001  # its callback reads it
    as_json: Json = False,
) -> None:
    """Tune one prompt on your data and save it. Interrupted, the same command goes on where it was."""
    from rich.console import Console

    from pegbox import api
    from pegbox.artifact import free_place
    from pegbox.cli.progress import Watcher
    from pegbox.prompt import format
    from pegbox.task.registry import entry
    from pegbox.tune.budget import Budget

    place = free_place(out)  # complains now, not after an hour
    folder = place.with_name(place.name + ".run")
    found = entry(task).read(
        data, text, label, fields=further_fields(fields, prompt), dev=dev, test_size=0, encoding=encoding,
        on_problem=on_problem, field_limit=field_limit, quotes=not no_quotes,
    )  # fmt: skip
    aloud(found.notes)
    with _interruptible(), Watcher(Console(stderr=True), Budget.parse(budget)) as watcher:
        watcher.run(method)
        tuned = api.tune(
            replace(found, notes=()),  # the notes are said already
            task=task, task_settings=task_pairs(task_settings, long), method=method, model=model, prompt=prompt,
            words=label_words(words), budget=budget, seed=seed, shots=shots,
            calibration=calibration, channel=channel,  # type: ignore[arg-type]  # it is checked there
            settings=pairs(settings), dtype=dtype, device=device, folder=folder, watch=watcher.event,
        )  # fmt: skip
    tuned.save(out)
    _discard(folder)
    scores = tuned.record["scores"]
    if as_json:
        print_json(
            {"out": str(out), "prompt": format(tuned.prompt), **scores, **tuned.record["cost"], "notes": tuned.record["notes"]}
        )
        return
    for note in tuned.record["notes"]:
        print(f"note: {note}")
    print(format(tuned.prompt))
    print(f"{dev_said(scores)} on the dev rows. Saved in {out}; try `pegbox evaluate {out} TEST.csv`.")


def demo(
    out: Annotated[Path, typer.Option(help="The run's folder.")] = Path("pegbox-runs/demo"),
    budget: BudgetOption = "60s",
) -> None:
    """Compare methods on sample data (question types): what `make demo` runs."""
    from pegbox.data.limit import limited
    from pegbox.data.read import read

    print("Sorting questions by what they ask for (6 types), with SmolLM2-135M frozen.")
    found = limited(read("sample:questions", test_size=0.2), 1000, 600)
    aloud(found.notes)
    _compared(
        found, out, False, methods=DEFAULTS, model="smollm2", prompt=None, words=None, budget=budget, seeds=3, tuning_seeds=1,
        shots=None, calibration="batch", channel=False, settings={}, dtype="auto", device="auto", task="classify",
        task_settings={}, group=None,
    )  # fmt: skip


def _compared(found: Any, folder: Path, quiet: bool, **chosen: Any) -> Any:
    """Runs the comparison with its progress on the screen, and writes the report."""
    from rich.console import Console

    from pegbox import api
    from pegbox.cli.progress import Watcher
    from pegbox.recipe.comparison import Plan
    from pegbox.tune.budget import Budget

    methods = tuple(chosen["methods"] or defaults(chosen["task"]))
    asked = (chosen[name] for name in ("prompt", "words", "calibration", "channel", "task", "task_settings"))
    task, start = api.task_and_prompt(found.train, *asked)
    known = Budget.parse(chosen["budget"])
    plan = Plan(methods, start, task, known, chosen["seeds"], chosen["tuning_seeds"], chosen["settings"])
    if not chosen["methods"]:
        chosen["model"] = api.open_backbone(chosen["model"], chosen["dtype"], chosen["device"])
        plan = replace(plan, methods=api.default_methods(chosen["task"], chosen["model"]))
    with _interruptible(), Watcher(Console(stderr=True), known, len(plan.cells())) as watcher:
        report = api.compare(found, folder=folder, watch=watcher.cell, **chosen)
    report.to_json(folder / "report.json")
    report.to_html(folder / "report.html")
    if not quiet:
        report.print(Console())
        Console(soft_wrap=True).print(f"Report: {folder / 'report.html'}   Prompts: {folder / 'cells'}", highlight=False)
    return report


def _discard(folder: Path) -> None:
    """Removes a run's folder: first out of the way, so that a kill never leaves half of it under its name."""
    away = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(away, ignore_errors=True)
    folder.rename(away)
    shutil.rmtree(away)


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        raise
