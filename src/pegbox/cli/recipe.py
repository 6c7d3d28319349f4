"""A command's options in a TOML file: one file, one run. Its keys are the flags' names; flags given beside it come first."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pegbox.errors import SettingsError

_NOT_KEPT = ("recipe", "out", "as_json", "data_option")  # they say where and how a run is told, not what it is


def read_recipe(context: typer.Context, path: Path | None) -> Path | None:
    """Makes the file's values the defaults of the command's options.

    Raises: SettingsError for a file that is no TOML, a key that is no option (naming the nearest one), and a table where one
        value belongs.
    """
    if path is None:
        return None
    try:
        keys = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}", "a TOML file in UTF-8", "correct it; texts stand in quotes") from None
    known = _parameters(context)
    context.default_map = {}
    for key, value in keys.items():
        name = key.replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise SettingsError(
                f"{path}: {key!r}",
                f"one of {', '.join(sorted(known))}",
                f"did you mean {near[0]!r}?" if near else f"see `pegbox {context.command.name} --help`",
            )
        parameter = known[name]
        context.default_map[str(parameter.name)] = _value(parameter, value, f"{path}: {key}")
    return path


def write_recipe(context: typer.Context, path: Path, **as_said: str) -> None:
    """Writes down what was asked for, so that `--recipe` asks for it again; what was left at its default is left out.

    Settings:
        as_said: values to write for some parameters, in place of those on the command line.
    """
    import tomli_w

    kept: dict[str, Any] = dict(as_said)
    for flag, parameter in _parameters(context).items():
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name not in _NOT_KEPT and flag not in kept and source is not None and source.name != "DEFAULT":
            value = context.params[name]
            kept[flag] = str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
    kept = {flag: value for flag, value in kept.items() if value is not None}
    path.write_text(tomli_w.dumps(kept), encoding="utf-8")


def _parameters(context: typer.Context) -> dict[str, Any]:
    """The command's parameters by the names that they have on the command line."""
    found: dict[str, Any] = {}
    for parameter in context.command.params:
        flags = [flag[2:].replace("-", "_") for flag in parameter.opts if flag.startswith("--")] or [str(parameter.name)]
        for flag in flags:
            if parameter.name not in ("recipe", "help"):
                found.setdefault(flag, parameter)
    return found


def _value(parameter: Any, value: Any, at: str) -> Any:
    """A value as the command line would have given it."""
    if parameter.multiple:
        between = "|" if parameter.name == "words" else ","
        items = list(_pairs(value, between)) if isinstance(value, Mapping) else value
        if not isinstance(items, list):
            raise SettingsError(f"{at} = {value!r}", "a table, or a list of texts", "say for example set = ['soft.length=8']")
        return [str(item) for item in items]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    if isinstance(value, dict | list):
        raise SettingsError(f"{at} = {value!r}", "one value, or a list of names", "correct it")
    return value if isinstance(value, bool) else str(value)


def _pairs(table: Mapping[str, Any], between: str, before: str = "") -> Iterator[str]:
    """A table's entries as ``name=value``, those of tables within it by dotted names."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _pairs(value, between, f"{before}{key}.")
        else:
            yield f"{before}{key}={between.join(map(str, value)) if isinstance(value, list) else value}"


Recipe = Annotated[
    Path | None,
    typer.Option(
        "--recipe",
        help="A TOML file with these options by name (budget = '5m'); flags beside it come first.",
        is_eager=True,
        callback=read_recipe,
    ),
]
