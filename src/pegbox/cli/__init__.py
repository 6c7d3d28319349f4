"""The command line."""

from pegbox.cli.commands import main

__all__ = ["main"]
