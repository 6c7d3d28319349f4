"""Tune the words and vectors of a prompt while the language model stays frozen.

The public names are loaded when they are first asked for, so that `import pegbox` takes a blink.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Client": "pegbox.client",
    "PromptClassifier": "pegbox.sklearn",
    "Report": "pegbox.api",
    "Tuned": "pegbox.api",
    "compare": "pegbox.api",
    "evaluate": "pegbox.api",
    "load": "pegbox.api",
    "read": "pegbox.data.read",
    "tune": "pegbox.api",
}

_ROOMS = ("sklearn",)  # not among the names that `from pegbox import *` takes, for it takes its time

__all__ = ["Client", "PromptClassifier", "Report", "Tuned", "compare", "errors", "evaluate", "load", "read", "tune"]


class _Verb(ModuleType):
    """A room of the house whose name is a public verb too: `pegbox.tune` holds the methods, `pegbox.tune(...)` tunes."""

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]  # of the verb, for `help`
        found: str | None = self.__wrapped__.__doc__
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    @property
    def __wrapped__(self) -> Any:
        """The verb itself; also where `inspect.signature` looks."""
        return _from_home(self.__name__.removeprefix("pegbox."))


class _Package(ModuleType):
    """This package. When Python hangs a room in it under a public name, the room becomes callable."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _HOMES and isinstance(value, ModuleType):
            value.__class__ = _Verb
        super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if name not in (*__all__, *_ROOMS):
        raise AttributeError(f"module 'pegbox' has no attribute {name!r}")
    if importlib.util.find_spec(f"pegbox.{name}") is not None:
        return importlib.import_module(f"pegbox.{name}")  # a room, made callable on its way in where it is a verb
    return _from_home(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})


def _from_home(name: str) -> Any:
    return getattr(importlib.import_module(_HOMES[name]), name)


sys.modules[__name__].__class__ = _Package
