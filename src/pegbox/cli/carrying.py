"""The commands that carry prompts elsewhere and back: export and import."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pegbox.cli.options import Device, Folder, Label, Moved, PromptOption, Text

if TYPE_CHECKING:
    from pegbox.export.cost import Cost

ContentFormat = Annotated[str, typer.Option(help="How vLLM joins a message's parts: string or openai; it logs it.")]
Out = Annotated[Path | None, typer.Option(help="The folder to write; for openai-json the file, else it is printed.")]
FORMS = ("peft", "vllm", "text", "openai-json")


def export(
    prompt: Folder,
    to: Annotated[str, typer.Option(help=f"{', '.join(FORMS)}.")],
    out: Out = None,
    model: Moved = None,
    content_format: ContentFormat = "string",
    drop_soft: Annotated[bool, typer.Option("--drop-soft", help="For openai-json: leave learned vectors out.")] = False,
    data: Annotated[
        str | None,
        typer.Option(help="Labelled rows, to measure what it costs to leave vectors and calibration behind."),
    ] = None,
    text: Text = None,
    label: Label = None,
    device: Device = "auto",
) -> None:
    """Carry a tuned prompt to PEFT, to a vLLM server, to plain text, or into a request of OpenAI's interface."""
    from pegbox.errors import SettingsError

    if to not in FORMS:
        raise SettingsError(f"--to {to}", f"one of {', '.join(FORMS)}", "choose one of them")
    if data is not None and to in ("peft", "vllm"):
        raise SettingsError(f"--data with --to {to}", "--to text or openai-json, which leave something behind", "leave it out")
    if to in ("peft", "vllm") and out is None:
        raise SettingsError(f"--to {to} without --out", "a folder to write", "name one with --out")
    if to == "openai-json" and drop_soft and data is None:
        raise SettingsError(
            "--drop-soft without --data", "labelled rows to measure its cost on", "name a file that tuning did not see"
        )
    cost = None if data is None else _measured(prompt, data, text, label, model, device)
    if to == "text":
        _text(prompt, out, cost)
    elif to == "openai-json":
        _openai_json(prompt, out, drop_soft, cost)
    elif out is not None:
        _folder(prompt, to, out, model, content_format)


def _folder(prompt: str, to: str, out: Path, model: str | None, content_format: str) -> None:
    if to == "peft":
        from pegbox.export.peft import to_peft

        to_peft(prompt, out, model)
    else:
        from pegbox.export.vllm import to_vllm

        to_vllm(prompt, out, content_format)
    print(out)


def _measured(prompt: str, data: str, text: str | None, label: str | None, model: str | None, device: str) -> Cost:
    """What leaving costs; the opening of the rows is written into the artifact, as `pegbox evaluate` does."""
    from pegbox import api
    from pegbox.artifact import add_evaluation, load
    from pegbox.cli.printing import aloud
    from pegbox.data.table import read_table
    from pegbox.export.cost import cost_of_words

    tuned = load(prompt, model, device)
    table = read_table(data, text, label, labelled=True, fields=tuned.further_fields)
    found = api.evaluate(tuned, table.rows)
    add_evaluation(prompt, tuned.evaluations[-1])
    cost = cost_of_words(tuned, table.rows)
    aloud([*table.notes, *found.notes, *cost.sentences()])
    return cost


def _text(prompt: str, out: Path | None, cost: Cost | None) -> None:
    from pegbox.cli.printing import aloud
    from pegbox.export.text import to_text, to_text_folder

    if out is not None:
        print(to_text_folder(prompt, out, cost))
        return
    found = to_text(prompt)
    print(found.text)
    aloud([f"the answer for {label}: {' or '.join(words)}" for label, words in found.words.items()])
    if found.dropped and cost is None:
        aloud([f"{found.dropped} learned vectors were left out: --data LABELLED.csv measures what that costs"])


def _openai_json(prompt: str, out: Path | None, drop_soft: bool, cost: Cost | None) -> None:
    from pegbox.errors import ArtifactError
    from pegbox.export.openai_json import to_openai_json

    if out is not None and out.exists():
        raise ArtifactError(f"{out} is there already", "a new file", "choose another name")
    made = json.dumps(to_openai_json(prompt, drop_soft, cost), ensure_ascii=False, indent=1)
    if out is None:
        print(made)
    else:
        out.write_text(made + "\n", encoding="utf-8")
        print(out)


def import_(
    folder: Annotated[Path, typer.Argument(help="A folder of PEFT's prompt, p- or prefix tuning.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The artifact to write.")],
    model: Annotated[str | None, typer.Option(help="The model that it was learned on.")] = None,
    prompt: PromptOption = None,
) -> None:
    """Make a tuned prompt of a PEFT folder. One that `pegbox export` wrote needs no more than --out."""
    from pegbox.api import open_backbone
    from pegbox.export.peft import from_peft

    backbone = None if prompt is None or model is None else open_backbone(model)
    from_peft(folder, out, backbone, prompt)
    print(out)
