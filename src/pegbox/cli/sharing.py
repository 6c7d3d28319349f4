"""The commands that keep prompts for others and bring them back: push and pull."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pegbox.cli.options import Folder

PLACE = "A folder, or hub:OWNER/REPOSITORY for a repository of the Hugging Face hub."


def push(
    prompt: Folder,
    target: Annotated[str, typer.Argument(help=PLACE, show_default=False, metavar="TARGET")],
    name: Annotated[str | None, typer.Option(help="What it is called there. Default: its folder's name.")] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Send along the marks of the rows seen in tuning, and the run's record.")
    ] = False,
) -> None:
    """Keep a tuned prompt for others, with a card: the next version of its name. A new repository is private."""
    from pegbox.cli.printing import aloud
    from pegbox.export.shared import push as keep

    made, new = keep(prompt, target, name, record)
    if not new:
        aloud([f"{made} is this very prompt already: nothing was pushed"])
    print(made)


def pull(
    source: Annotated[str, typer.Argument(help=PLACE, show_default=False, metavar="SOURCE")],
    name: Annotated[
        str | None, typer.Argument(help="A prompt there, or a version: mood, mood@2.", show_default=False, metavar="NAME")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The folder to write. Default: the prompt's name.")] = None,
) -> None:
    """Bring back a prompt that was pushed; without a version the newest."""
    from pegbox.export.shared import pull as bring

    print(bring(source, name, out))
