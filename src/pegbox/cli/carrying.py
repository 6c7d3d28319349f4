"""The commands that carry prompts elsewhere and back: export and import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pegbox.cli.options import Folder, Moved, PromptOption

Out = Annotated[Path | None, typer.Option(help="The folder to write.")]


def export(
    prompt: Folder,
    to: Annotated[str, typer.Option(help="peft, vllm or text.")],
    out: Out = None,
    model: Moved = None,
) -> None:
    """Carry a tuned prompt to PEFT, to a vLLM server, or to plain text."""
    from pegbox.errors import SettingsError

    if to == "text":
        _print_text(prompt)
        return
    if out is None:
        raise SettingsError(f"--to {to} without --out", "a folder to write", "name one with --out")
    if to == "peft":
        from pegbox.export.peft import to_peft

        to_peft(prompt, out, model)
    elif to == "vllm":
        from pegbox.export.vllm import to_vllm

        to_vllm(prompt, out)
    else:
        raise SettingsError(f"--to {to}", "peft, vllm or text", "choose one of them")
    print(out)


def _print_text(prompt: str) -> None:
    from pegbox.cli.printing import aloud
    from pegbox.export.text import to_text

    found = to_text(prompt)
    print(found.text)
    aloud([f"the answer for {label}: {' or '.join(words)}" for label, words in found.words.items()])
    if found.dropped:
        aloud([f"{found.dropped} learned vectors were left out: score the words alone before you rely on them"])


def import_(
    folder: Annotated[Path, typer.Argument(help="A folder of PEFT's prompt tuning or p-tuning.", show_default=False)],
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
