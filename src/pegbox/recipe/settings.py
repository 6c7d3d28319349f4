"""A method's settings by name: ``length=8``, ``schedule.batch=32``. The dataclasses' fields are the only list of them."""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np

from pegbox.errors import SettingsError

_PLAIN = (bool, int, float, str, type(None))


def with_settings(method: Any, changes: Mapping[str, Any]) -> Any:
    """The method with some settings changed.

    Settings:
        changes: values, or texts to be read as values, by dotted name.

    Raises: SettingsError for an unknown name (naming the nearest known one) or a value of the wrong kind.
    """
    whole = method
    for name, value in changes.items():
        method = _changed(method, name.split("."), name, value, whole)
    return method


def settings_of(method: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """All settings of a method with their values, by dotted name."""
    for name, kind in _kinds(method).items():
        value = getattr(method, name)
        if dataclasses.is_dataclass(value):
            yield from settings_of(value, f"{before}{name}.")
        elif _settable(kind):
            yield before + name, value


def identity(method: Any) -> Any:
    """What the method is and does, as plain JSON values that are the same in every process."""
    if dataclasses.is_dataclass(method):
        fields = {field.name: identity(getattr(method, field.name)) for field in dataclasses.fields(method)}
        return [type(method).__qualname__, fields]
    if callable(method):
        return f"{method.__module__}.{method.__qualname__}"
    return repr(method)


def _changed(method: Any, path: Sequence[str], name: str, value: Any, whole: Any) -> Any:
    kinds, first = _kinds(method), path[0]
    if first not in kinds:
        raise _unknown(whole, name)
    old = getattr(method, first)
    if dataclasses.is_dataclass(old):
        if len(path) == 1:
            own = [f"{name}.{key}" for key, _ in settings_of(old)]
            raise SettingsError(f"{name}={value}", f"one of its own settings: {', '.join(own)}", "say which one")
        return dataclasses.replace(method, **{first: _changed(old, path[1:], name, value, whole)})
    if len(path) > 1 or not _settable(kinds[first]):
        raise _unknown(whole, name)
    new = _read(value, kinds[first], name) if isinstance(value, str) else _checked(value, kinds[first], name)
    return dataclasses.replace(method, **{first: new})


def _unknown(method: Any, name: str) -> SettingsError:
    every = [key for key, _ in settings_of(method)]
    near = [key for key in every if key.endswith(f".{name}")] or difflib.get_close_matches(name, every, 1)
    return SettingsError(
        f"{type(method).__name__} has no setting {name!r}",
        f"one of {', '.join(every)}" if every else "nothing: it has no settings",
        f"did you mean {near[0]!r}?" if near else "see `pegbox methods --settings`",
    )


def _kinds(method: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(type(method))
    return {field.name: hints[field.name] for field in dataclasses.fields(method)}


def _arms(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _settable(kind: Any) -> bool:
    """Whether a value of this annotated type can be written as a text."""
    return all(arm in _PLAIN or get_origin(arm) in (Literal, tuple) for arm in _arms(kind))


def _wrong(name: str, value: Any, kind: Any) -> SettingsError:
    return SettingsError(f"{name}={value}", _called(kind), "correct the value")


def _called(kind: Any) -> str:
    """An annotated type in words."""
    words: dict[Any, str] = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
        type(None): "none",
    }
    parts = []
    for arm in _arms(kind):
        if get_origin(arm) is Literal:
            parts.append(f"one of {', '.join(map(str, get_args(arm)))}")
        elif get_origin(arm) is tuple:
            parts.append(f"a list with commas, each {_called(get_args(arm)[0])}")
        else:
            parts.append(words.get(arm, str(arm)))
    return " or ".join(parts)


def _read(text: str, kind: Any, name: str) -> Any:
    """A text as a value of an annotated type."""
    arms = _arms(kind)
    if type(None) in arms and text.lower() == "none":
        return None
    arms = tuple(arm for arm in arms if arm is not type(None))
    arm = next((a for a in arms if get_origin(a) is tuple), arms[0]) if "," in text else arms[0]
    if get_origin(arm) is Literal and text in get_args(arm):
        return text
    if get_origin(arm) is tuple:
        return tuple(_read(part.strip(), get_args(arm)[0], name) for part in text.split(",") if part.strip())
    if arm is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if arm is str:
        return text
    if arm in (int, float):
        try:
            value = arm(text)
        except ValueError as error:
            raise _wrong(name, text, kind) from error
        if not math.isnan(value):
            return value
    raise _wrong(name, text, kind)


def _checked(value: Any, kind: Any, name: str) -> Any:
    """A value that is no text, as a value of an annotated type."""
    for arm in _arms(kind):
        if value is None and arm is type(None):
            return None
        if get_origin(arm) is tuple and isinstance(value, list | tuple | np.ndarray):
            inner = get_args(arm)[0]
            return tuple(_read(v, inner, name) if isinstance(v, str) else _checked(v, inner, name) for v in value)
        if arm is bool and isinstance(value, bool | np.bool_):
            return bool(value)
        if isinstance(value, bool | np.bool_):
            continue
        if arm is int and isinstance(value, numbers.Integral):
            return int(value)
        if arm is float and isinstance(value, numbers.Real) and not math.isnan(value):
            return float(value)
    raise _wrong(name, value, kind)
