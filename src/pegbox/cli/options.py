"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from pegbox.errors import SettingsError
from pegbox.recipe.methods import METHODS, able

TASK = "What is asked of a text: classify, tag, generate, chat or multilabel."
Task = Annotated[str, typer.Option("--task", help=TASK)]
TaskSettings = Annotated[
    list[str] | None, typer.Option("--task-set", help="A setting of the task, as its page names them: 'name=value'. Repeat.")
]
LongTexts = Annotated[
    str | None,
    typer.Option(
        "--long", help="What is read of too long texts: head, tail, or chunks, whose scores are pooled. Default: head."
    ),
]
Group = Annotated[
    str | None, typer.Option(help="A column, such as language: every score is told for each of its values as well.")
]
DATA = "A CSV, TSV, JSONL or Parquet file, or sample:NAME (see `pegbox samples`)."
Text = Annotated[str | None, typer.Option(help="The text column. Guessed, and said aloud, where there is no doubt.")]
Label = Annotated[str | None, typer.Option(help="The label column. Guessed, and said aloud, where there is no doubt.")]
Fields = Annotated[
    str | None,
    typer.Option(help="Further columns that the prompt reads as {name}, comma-separated. Default: those that it names."),
]
Model = Annotated[str, typer.Option(help="smollm2, tiny, a Transformers folder, a .gguf file, or a hub id.")]
Moved = Annotated[str | None, typer.Option("--model", help="Where the model is now, if it has moved.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16; auto is what the machine does well.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
PromptOption = Annotated[
    str | None, typer.Option("--prompt", help=r"The written prompt, e.g. 'Review: {text}\nMood: \[answer]'.")
]
Words = Annotated[list[str] | None, typer.Option("--words", help="A label's words: 'neg=bad|awful'. Repeat for each label.")]
BudgetOption = Annotated[str, typer.Option("--budget", help="What each run may spend: 90s, 5m, 1h, 200ktokens, 2Mtokens.")]
Shots = Annotated[int | None, typer.Option(help="Use only so many training rows of each label.")]
Calibration = Annotated[str, typer.Option(help="batch, contextual or none; the same for all prompt methods.")]
Channel = Annotated[bool, typer.Option("--channel", help="Noisy-channel scoring: how likely is the text, given the label.")]
Encoding = Annotated[str | None, typer.Option(help="The file's encoding where it is not UTF-8, e.g. latin-1.")]
OnProblem = Annotated[str, typer.Option(help="error or drop: what to do with rows that have an empty text or no label.")]
FieldLimit = Annotated[int, typer.Option(help="The most characters that one cell may have.")]
NoQuotes = Annotated[bool, typer.Option("--no-quotes", help="Quotes in a CSV or TSV are plain characters.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Folder = Annotated[str, typer.Argument(help="A tuned prompt's folder.", show_default=False, metavar="PROMPT")]
FIELD_LIMIT = 1_000_000


def listed(text: str | None) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def method_names(text: str | None, task: str = "classify") -> tuple[str, ...] | None:
    """Methods by their names, or all that can do the task; None where nothing is said.

    Raises: SettingsError for a list without a name.
    """
    if text is None:
        return None
    if not (names := listed(text)):
        raise SettingsError(
            f"--methods {text!r}", "names with commas between them, or all", "leave --methods out for the usual ones"
        )
    return tuple(able(task)) if names == ("all",) else names


def unable(text: str | None, task: str) -> tuple[str, ...]:
    """A note on the methods that "all" leaves out, as they cannot do the task."""
    names = [name for name in METHODS if name not in able(task)]
    told = f"left out, as they cannot do --task {task}: {', '.join(names)}"
    return (told,) if names and text is not None and text.strip() == "all" else ()


def pairs(items: Sequence[str] | None) -> dict[str, str]:
    """Settings as ``name=value``. Raises SettingsError for an item without ``=``."""
    found = {}
    for item in items or ():
        name, equals, value = item.partition("=")
        if not equals:
            raise SettingsError(f"--set {item}", "name=value", "write it so, e.g. --set length=8")
        found[name.strip()] = value.strip()
    return found


def pairs_by_method(items: Sequence[str] | None) -> dict[str, dict[str, str]]:
    """Settings as ``method.name=value``."""
    found: dict[str, dict[str, str]] = {}
    for name, value in pairs(items).items():
        method, dot, setting = name.partition(".")
        if not dot:
            raise SettingsError(
                f"--set {name}={value}", "method.setting=value", f"say whose setting, e.g. --set soft.{name}={value}"
            )
        found.setdefault(method, {})[setting] = value
    return found


def task_pairs(items: Sequence[str] | None, long: str | None) -> dict[str, str]:
    """The task's settings as ``name=value``, and what `--long` says beside them."""
    return pairs(items) | ({} if long is None else {"long.way": long})


def label_words(items: Sequence[str] | None) -> dict[str, tuple[str, ...]] | None:
    """Label words as ``label=word|word``; None where none are given."""
    found = {}
    for item in items or ():
        label, equals, words = item.partition("=")
        if not equals:
            raise SettingsError(f"--words {item}", "label=word|word", "write it so")
        found[label.strip()] = tuple(word.strip() for word in words.split("|") if word.strip())
    return found or None


def further_fields(fields: str | None, prompt: str | None) -> tuple[str, ...]:
    """The columns besides the text: those that are named, or those that the written prompt reads."""
    from pegbox.prompt import parse

    if fields is not None or prompt is None:
        return listed(fields)
    return tuple(name for name in parse(prompt).field_names if name != "text")
