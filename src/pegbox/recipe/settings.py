"""A method's settings by name: ``length=8``, ``schedule.batch=32``. The dataclasses' fields are the only list of them."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pegbox.errors import SettingsError


def with_settings(method: Any, changes: Mapping[str, Any]) -> Any:
    """The method with some settings changed.

    Settings:
        changes: values, or texts to be read as values, by dotted name.

    Raises: SettingsError for an unknown name (naming the nearest known one) or a value of the wrong kind.
    """
    for name, value in changes.items():
        method = _changed(method, name, value, name)
    return method


def settings_of(method: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """All settings of a method with their values, by dotted name."""
    for field in dataclasses.fields(method):
        value = getattr(method, field.name)
        if dataclasses.is_dataclass(value):
            yield from settings_of(value, f"{before}{field.name}.")
        elif not callable(value):
            yield before + field.name, value


def _changed(method: Any, name: str, value: Any, whole: str) -> Any:
    first, _, rest = name.partition(".")
    hints = typing.get_type_hints(type(method))
    known = [field.name for field in dataclasses.fields(method)]
    if first not in known:
        every = [key for key, _ in settings_of(method)]
        near = difflib.get_close_matches(name, every, 1)
        raise SettingsError(
            f"{type(method).__name__} has no setting {whole!r}",
            f"one of {', '.join(every) or 'none: it has no settings'}",
            f"did you mean {near[0]!r}?" if near else "see `pegbox methods --settings`",
        )
    old = getattr(method, first)
    if rest:
        return dataclasses.replace(method, **{first: _changed(old, rest, value, whole)})
    new = _read(value, hints[first], whole) if isinstance(value, str) else value
    return dataclasses.replace(method, **{first: new})


def _read(text: str, kind: Any, name: str) -> Any:
    """A text as a value of an annotated type."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if text.lower() == "none" and type(None) in inner:
            return None
        return _read(text, next(part for part in inner if part is not type(None)), name)
    if origin is Literal:
        if text not in inner:
            raise SettingsError(f"{name}={text}", f"one of {', '.join(map(str, inner))}", "choose one of them")
        return text
    if origin is tuple:
        return tuple(_read(part.strip(), inner[0], name) for part in text.split(",") if part.strip())
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise SettingsError(f"{name}={text}", "true or false", "write one of them")
        return text.lower() == "true"
    try:
        return kind(text)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{name}={text}", f"a value of type {getattr(kind, '__name__', kind)}", "correct the value") from error
