"""The command line: its commands, and how it ends."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import pegbox
from pegbox.errors import PegboxError

ABOUT = "Tunes prompts of frozen language models (words, learned vectors, both), compares them honestly, predicts with them."
COMMANDS = {
    "compare": "tuning",
    "tune": "tuning",
    "evaluate": "using",
    "predict": "using",
    "show": "using",
    "serve": "serving",
    "key": "serving",
    "export": "carrying",
    "import": "carrying",
    "push": "sharing",
    "pull": "sharing",
    "methods": "listing",
    "samples": "listing",
    "demo": "tuning",
}
"""Each command, and the module here that has it, as a function of its name (`import_` for import)."""


def _print_version(asked: bool) -> None:
    if asked:
        print(f"pegbox {pegbox.__version__}")
        raise typer.Exit


def common(
    version: Annotated[  # the callback below answers it
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """What all commands share."""


def application(arguments: Sequence[str]) -> tuple[typer.Typer, list[str], str]:
    """What is asked for, with its arguments and its name: one command by itself, or all of them under one roof.

    All of them take their time to put together, and to pass through a roof takes typer a tenth of a second of imports.
    """
    settings = {"help_option_names": ["-h", "--help"]}
    app = typer.Typer(
        no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, context_settings=settings, help=ABOUT
    )
    alone = arguments[0] if arguments and arguments[0] in COMMANDS else None
    if alone is None:
        app.callback()(common)
    for name in COMMANDS if alone is None else [alone]:
        module = importlib.import_module(f"pegbox.cli.{COMMANDS[name]}")
        app.command(name, context_settings=settings)(getattr(module, "import_" if name == "import" else name))
    return (app, list(arguments), "pegbox") if alone is None else (app, list(arguments[1:]), f"pegbox {alone}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point.

    Errors of ours and of the disk are told in three parts and end with status 2, an interruption ends with 130, and a reader
    who has heard enough (`| head`) with 1 and no word.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character is no reason to stop
    atexit.register(gc.freeze)  # at its end Python looks through all there is for garbage, which takes half a second
    try:
        app, given, name = application(sys.argv[1:] if arguments is None else arguments)
        status = app(args=given, prog_name=name, standalone_mode=False)
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
