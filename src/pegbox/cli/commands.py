"""The command line: reads arguments, calls, prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from pegbox.errors import PegboxError, SettingsError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Tunes prompts of frozen language models (words, learned vectors, both), compares them honestly, and predicts with them.",
)

DATA = "A CSV, TSV, JSONL or Parquet file, or sample:NAME (see `pegbox samples`)."
Text = Annotated[str | None, typer.Option(help="The text column. Guessed, and said aloud, where there is no doubt.")]
Label = Annotated[str | None, typer.Option(help="The label column. Guessed, and said aloud, where there is no doubt.")]
Fields = Annotated[str | None, typer.Option(help="Further columns that the prompt reads as {name}, comma-separated.")]
Model = Annotated[str, typer.Option(help="smollm2, tiny, a Transformers folder, a .gguf file, or a hub id.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16; auto is what the machine does well.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
PromptOption = Annotated[str | None, typer.Option("--prompt", help=r"The written prompt, e.g. 'Review: {text}\nMood: \[answer]'.")]
Words = Annotated[list[str] | None, typer.Option("--words", help="A label's words: 'neg=bad|awful'. Repeat for each label.")]
BudgetOption = Annotated[str, typer.Option("--budget", help="What each run may spend: 90s, 5m, 1h, 200ktokens, 2Mtokens.")]
Shots = Annotated[int | None, typer.Option(help="Use only so many training rows of each label.")]
Calibration = Annotated[str, typer.Option(help="batch, contextual or none; the same for all prompt methods.")]
Channel = Annotated[bool, typer.Option("--channel", help="Noisy-channel scoring: how likely is the text, given the label.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="A method's setting: 'length=8' (compare: 'soft.length=8'). Repeat.")]
Encoding = Annotated[str | None, typer.Option(help="The file's encoding where it is not UTF-8, e.g. latin-1.")]
OnProblem = Annotated[str, typer.Option(help="error or drop: what to do with rows that have an empty text or no label.")]
FieldLimit = Annotated[int, typer.Option(help="The most characters that one cell may have.")]
NoQuotes = Annotated[bool, typer.Option("--no-quotes", help="Quotes in a CSV or TSV are plain characters.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command()
def compare(
    data: Annotated[str | None, typer.Argument(help=DATA, show_default=False)] = None,
    data_option: Annotated[str | None, typer.Option("--data", help="The same as the argument.")] = None,
    text: Text = None,
    label: Label = None,
    fields: Fields = None,
    test: Annotated[str | None, typer.Option(help="A file of test rows. Without it a part of the data is split off and sealed.")] = None,
    dev: Annotated[str | None, typer.Option(help="A file of rows to choose on. Without it each seed splits them off.")] = None,
    test_size: Annotated[float, typer.Option(help="The test part: a share, or (from 1) a number of rows.")] = 0.2,
    train_rows: Annotated[int | None, typer.Option(help="Use at most so many training rows.")] = None,
    test_rows: Annotated[int | None, typer.Option(help="Score at most so many test rows.")] = None,
    methods: Annotated[str | None, typer.Option(help="Comma-separated names from `pegbox methods`.")] = None,
    model: Model = "smollm2",
    prompt: PromptOption = None,
    words: Words = None,
    budget: BudgetOption = "5m",
    seeds: Annotated[int, typer.Option(help="How many seeds each method gets.")] = 1,
    tuning_seeds: Annotated[int | None, typer.Option(help="How many of them for methods that use up their budget.")] = None,
    shots: Shots = None,
    calibration: Calibration = "batch",
    channel: Channel = False,
    settings: Settings = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder: cells, prompts, report. Default: pegbox-runs/<data>.")] = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    encoding: Encoding = None,
    on_problem: OnProblem = "error",
    field_limit: FieldLimit = 1_000_000,
    no_quotes: NoQuotes = False,
    as_json: Json = False,
) -> None:
    """Compare methods on your data: equal rows, splits, seeds and budgets, then once on sealed test rows. Ends with a report.

    Interrupted, the same command goes on where it was.
    """
    from pegbox.data.read import read
    from pegbox.data.limit import limited

    source = data or data_option
    if source is None:
        raise SettingsError("no data", "a file or sample:NAME", "say `pegbox compare reviews.csv`")
    found = read(
        source, text, label, fields=_listed(fields), test=test, dev=dev, test_size=test_size if test_size < 1 else int(test_size),
        encoding=encoding, on_problem=on_problem, field_limit=field_limit, quotes=not no_quotes,
    )  # fmt: skip
    found = limited(found, train_rows, test_rows)
    _aloud(found.notes)
    folder = out or Path("pegbox-runs") / Path(source.replace(":", "-")).stem
    report = _compared(
        found, folder, as_json, methods=_listed(methods) or None, model=model, prompt=prompt, words=_words(words), budget=budget,
        seeds=seeds, tuning_seeds=tuning_seeds, shots=shots, calibration=calibration, channel=channel,
        settings=_by_method(settings), dtype=dtype, device=device,
    )  # fmt: skip
    if as_json:
        _json({"report": str(folder / "report.json"), "best": report.best, "winner": report.winner, "recommendation": report.recommendation, "table": report.table()})


def _compared(found: Any, folder: Path, quiet: bool, **chosen: Any) -> Any:
    from rich.console import Console

    from pegbox import api
    from pegbox.cli.progress import Watcher
    from pegbox.recipe.comparison import Plan
    from pegbox.tune.budget import Budget

    methods = tuple(chosen["methods"] or api.DEFAULT_METHODS)
    task, start = api.task_and_prompt(found.train, chosen["prompt"], chosen["words"], chosen["calibration"], chosen["channel"])
    known = Budget.parse(chosen["budget"])
    plan = Plan(methods, start, task, known, chosen["seeds"], chosen["tuning_seeds"], chosen["settings"])
    with _interruptible(), Watcher(Console(stderr=True), known.seconds, len(plan.cells())) as watcher:
        report = api.compare(found, folder=folder, watch=watcher.cell, **chosen)
    report.to_json(folder / "report.json")
    report.to_html(folder / "report.html")
    if not quiet:
        report.print(Console())
        Console().print(f"Report: {folder / 'report.html'}   Prompts: {folder / 'cells'}", highlight=False)
    return report


@app.command()
def tune(
    data: Annotated[str, typer.Argument(help=DATA, show_default=False)],
    out: Annotated[Path, typer.Option(help="Where the tuned prompt goes: a small folder.")],
    method: Annotated[str, typer.Option(help="A name from `pegbox methods` that makes a prompt.")] = "hybrid",
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
    settings: Settings = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    encoding: Encoding = None,
    on_problem: OnProblem = "error",
    field_limit: FieldLimit = 1_000_000,
    no_quotes: NoQuotes = False,
    as_json: Json = False,
) -> None:
    """Tune one prompt on your data and save it. Interrupted, the same command goes on where it was."""
    from rich.console import Console

    from pegbox import api
    from pegbox.data.table import Reading, read_table
    from pegbox.cli.progress import Watcher
    from pegbox.tune.budget import Budget

    reading = Reading(encoding, not no_quotes, field_limit, on_problem)
    table = read_table(data, text, label, labelled=True, fields=_listed(fields), reading=reading)
    judged = None if dev is None else read_table(dev, text, label, labelled=True, fields=_listed(fields), reading=reading)
    _aloud((*table.notes, *(judged.notes if judged else ())))
    with _interruptible(), Watcher(Console(stderr=True), Budget.parse(budget).seconds) as watcher:
        watcher.run(method)
        tuned = api.tune(
            table.rows, method=method, model=model, dev=None if judged is None else judged.rows, prompt=prompt, words=_words(words),
            budget=budget, seed=seed, shots=shots, calibration=calibration, channel=channel,  # type: ignore[arg-type]
            settings=_pairs(settings), dtype=dtype, device=device, folder=out.with_name(out.name + ".run"), watch=watcher.event,
        )  # fmt: skip
    tuned.save(out)
    scores = tuned.record["scores"]
    if as_json:
        _json({"out": str(out), "prompt": api.format(tuned.prompt), **scores, **tuned.record["cost"]})
    else:
        for note in tuned.record["notes"]:
            print(f"note: {note}")
        print(f"{api.format(tuned.prompt)}\n{100 * scores['dev_accuracy']:.1f} % on the dev rows. Saved in {out}; try `pegbox evaluate {out} TEST.csv`.")


@app.command()
def evaluate(
    prompt: Annotated[Path, typer.Argument(help="A tuned prompt's folder.", show_default=False)],
    data: Annotated[str, typer.Argument(help=DATA, show_default=False)],
    text: Text = None,
    label: Label = None,
    fields: Fields = None,
    model: Annotated[str | None, typer.Option(help="Where the model is now, if it has moved.")] = None,
    device: Device = "auto",
    encoding: Encoding = None,
    on_problem: OnProblem = "error",
    as_json: Json = False,
) -> None:
    """Score a tuned prompt on labelled rows, with 95 % intervals. The opening of these rows is written into the artifact."""
    from rich.console import Console

    from pegbox import api
    from pegbox.artifact import add_evaluation, load, seen_rows
    from pegbox.data.table import Reading, read_table
    from pegbox.cli.printing import print_evaluation

    reading = Reading(encoding=encoding, on_problem=on_problem)
    table = read_table(data, text, label, labelled=True, fields=_listed(fields), reading=reading)
    tuned = load(prompt, model, device)
    found = api.evaluate(tuned, table.rows)
    opening = add_evaluation(prompt, {"rows_digest": found.rows_digest, "rows": found.rows, "source": data, "accuracy": found.scores.accuracy})
    notes = list(table.notes)
    if opening > 1:
        notes.append(f"these rows have now been opened {opening} times with this prompt; choose nothing by their scores")
    if cut := tuned.predictor.cut_rows(table.rows):
        notes.append(f"{len(cut)} of {found.rows} texts were cut to the model's context")
    if seen := seen_rows(tuned, table.rows):
        notes.append(f"{seen} of these rows were there in tuning: the scores flatter the prompt")
    if as_json:
        _json({"prompt": str(prompt), "opening": opening, "notes": notes, **found.as_dict()})
        return
    _aloud(notes)
    print_evaluation(found, Console())


@app.command()
def predict(
    prompt: Annotated[Path, typer.Argument(help="A tuned prompt's folder.", show_default=False)],
    data: Annotated[str, typer.Argument(help="A file with texts; its columns come back with the predictions beside them.")],
    text: Text = None,
    fields: Fields = None,
    model: Annotated[str | None, typer.Option(help="Where the model is now, if it has moved.")] = None,
    device: Device = "auto",
    encoding: Encoding = None,
    proba: Annotated[bool, typer.Option("--proba", help="Add a column of probability for each label.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each row instead of CSV.")] = False,
) -> None:
    """Predict labels for a file of texts, which may be larger than memory. Prints CSV."""
    from pegbox.artifact import load
    from pegbox.data.table import Reading, stream_rows
    from pegbox.cli.predictions import write_predictions

    tuned = load(prompt, model, device)
    tables = stream_rows(data, text, fields=_listed(fields), reading=Reading(encoding=encoding))
    notes = write_predictions(tuned, tables, sys.stdout, as_json=as_json, proba=proba)
    _aloud(notes)


@app.command()
def show(
    prompt: Annotated[Path, typer.Argument(help="A tuned prompt's folder.", show_default=False)],
    model: Annotated[str | None, typer.Option(help="Where the model is now, if it has moved.")] = None,
    as_json: Json = False,
) -> None:
    """Show a tuned prompt: its words, its vectors' nearest words, its settings and scores."""
    from rich.console import Console

    from pegbox.artifact import load
    from pegbox.cli.printing import print_artifact
    from pegbox.cli.shown import shown

    found = shown(load(prompt, model, "cpu"))
    if as_json:
        _json(found)
    else:
        print_artifact(found, Console())


@app.command()
def methods(
    settings: Annotated[bool, typer.Option("--settings", help="Each method's settings and their defaults.")] = False, as_json: Json = False
) -> None:
    """List the methods."""
    from pegbox.recipe.methods import METHODS
    from pegbox.recipe.settings import settings_of

    known = {name: dict(settings_of(m.make())) if settings else {} for name, m in METHODS.items()}
    if as_json:
        _json([{"name": m.name, "kind": m.kind, "summary": m.summary, "settings": known[m.name]} for m in METHODS.values()])
        return
    for m in METHODS.values():
        print(f"{m.name:18} {m.kind:10} {m.summary}")
        for key, value in known[m.name].items():
            print(f"    {key} = {value}")


@app.command()
def samples(as_json: Json = False) -> None:
    """List the sample data sets that can be fetched, with licence and source."""
    from pegbox.data.samples import SAMPLES

    if as_json:
        _json([{"name": s.name, "rows": s.rows, "labels": s.labels, "licence": s.licence, "source": s.source} for s in SAMPLES.values()])
        return
    for s in SAMPLES.values():
        print(f"sample:{s.name}: {s.description}; {s.rows} rows, labels {', '.join(s.labels)}\n    source: {s.source}\n    licence: {s.licence}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The run's folder.")] = Path("pegbox-runs/demo"),
    budget: BudgetOption = "60s",
) -> None:
    """Compare methods on sample data (question types): what `make demo` runs."""
    from pegbox.data.read import read
    from pegbox.data.limit import limited

    print("Sorting questions by what they ask for (6 types), with SmolLM2-135M frozen.")
    found = limited(read("sample:questions", test_size=0.2), 1000, 1000)
    _aloud(found.notes)
    _compared(
        found, out, False, methods=DEMO, model="smollm2", prompt=None, words=None, budget=budget, seeds=3, tuning_seeds=1, shots=None,
        calibration="batch", channel=False, settings={}, dtype="auto", device="auto",
    )  # fmt: skip


DEMO = ("majority", "tfidf", "zero-shot", "few-shot", "probe", "search", "soft", "hybrid", "lora")


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: errors of ours are told in three parts and end with status 2, an interruption with 130."""
    try:
        app(args=None if arguments is None else list(arguments), standalone_mode=False)
    except PegboxError as error:
        print(f"pegbox: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except typer.Abort:
        sys.exit(130)
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # click's own: usage errors
            error.show()
            sys.exit(error.exit_code)
        raise


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        raise


def _aloud(notes: Sequence[str]) -> None:
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def _json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=1))


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _pairs(items: Sequence[str] | None) -> dict[str, str]:
    pairs = {}
    for item in items or ():
        name, equals, value = item.partition("=")
        if not equals:
            raise SettingsError(f"--set {item}", "name=value", "write it so, e.g. --set length=8")
        pairs[name.strip()] = value.strip()
    return pairs


def _by_method(items: Sequence[str] | None) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, value in _pairs(items).items():
        method, dot, setting = name.partition(".")
        if not dot:
            raise SettingsError(f"--set {name}={value}", "method.setting=value", f"say whose setting, e.g. --set soft.{name}={value}")
        found.setdefault(method, {})[setting] = value
    return found


def _words(items: Sequence[str] | None) -> dict[str, tuple[str, ...]] | None:
    if not items:
        return None
    found = {}
    for item in items:
        label, equals, words = item.partition("=")
        if not equals:
            raise SettingsError(f"--words {item}", "label=word|word", "write it so")
        found[label] = tuple(words.split("|"))
    return found


if __name__ == "__main__":
    main()
