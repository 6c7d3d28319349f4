"""The command line: its commands, and how it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import pegbox
from pegbox.cli import carrying, serving, tuning, using
from pegbox.cli.options import Json
from pegbox.cli.printing import print_json, written
from pegbox.errors import PegboxError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Tunes prompts of frozen language models (words, learned vectors, both), compares them honestly, predicts with them.",
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"pegbox {pegbox.__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[  # the callback below answers it
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """What all commands share."""


for command in (tuning.compare, tuning.tune, using.evaluate, using.predict, using.show, serving.serve, serving.key):
    app.command()(command)
app.command()(carrying.export)
app.command("import")(carrying.import_)


@app.command()
def methods(
    settings: Annotated[bool, typer.Option("--settings", help="Each method's settings and their defaults.")] = False,
    as_json: Json = False,
) -> None:
    """List the methods."""
    from pegbox.recipe.methods import METHODS
    from pegbox.recipe.settings import settings_of

    known = {name: dict(settings_of(m.make())) if settings else {} for name, m in METHODS.items()}
    if as_json:
        print_json(
            [{"name": m.name, "kind": m.kind, "summary": m.summary, "settings": known[m.name]} for m in METHODS.values()]
        )
        return
    for m in METHODS.values():
        print(f"{m.name:18} {m.kind:10} {m.summary}")
        for key, value in known[m.name].items():
            print(f"    {key}={written(value)}")


@app.command()
def samples(as_json: Json = False) -> None:
    """List the sample data sets that can be fetched, with licence and source."""
    from pegbox.data.samples import SAMPLES

    if as_json:
        names = ("name", "description", "rows", "labels", "licence", "source")
        print_json([{name: getattr(s, name) for name in names} for s in SAMPLES.values()])
        return
    for s in SAMPLES.values():
        print(f"sample:{s.name}: {s.description}; {s.rows} rows, labels {', '.join(s.labels)}")
        print(f"    source: {s.source}\n    licence: {s.licence}")


app.command()(tuning.demo)


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point.

    Errors of ours and of the disk are told in three parts and end with status 2, an interruption ends with 130, and a reader
    who has heard enough (`| head`) with 1 and no word.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character is no reason to stop
    try:
        status = app(args=None if arguments is None else list(arguments), standalone_mode=False)
        sys.stdout.flush()
    except PegboxError as error:
        _fail(f"pegbox: {error}", 2)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer goes nowhere, quietly
        sys.exit(1)
    except OSError as error:
        came = f"{error.filename or 'a file'}: {error.strerror or error}"
        _fail(f"pegbox: {PegboxError(came, 'a file that can be read and written', 'check path, rights and free space')}", 2)
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # click's own: usage errors
            error.show()
            sys.exit(error.exit_code)
        raise
    if isinstance(status, int) and status:  # an exit within a command comes back as its number: 130 after Ctrl-C
        sys.exit(status)


def _fail(text: str, status: int) -> None:
    print(text, file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
