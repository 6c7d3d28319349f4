"""Settings by name: read from texts, checked as values, unknown ones told with the nearest."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import pegbox
from pegbox.errors import SettingsError
from pegbox.recipe.methods import METHODS, method
from pegbox.recipe.settings import identity, settings_of, with_settings


@dataclass(frozen=True)
class Inner:
    depth: int = 1
    rates: tuple[float, ...] = (0.1,)


@dataclass(frozen=True)
class Outer:
    count: int = 2
    size: float = 0.5
    bold: bool = False
    name: str = "x"
    kind: Literal["one", "two"] = "one"
    most: int | None = None
    layers: str | tuple[str, ...] = "all"
    sizes: tuple[int, ...] = (1, 2)
    inner: Inner = field(default_factory=Inner)
    change: Callable[[int], int] | None = None


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("count", "12", 12),
        ("count", "-3", -3),
        ("size", "1e-3", 0.001),
        ("size", "2", 2.0),
        ("bold", "True", True),
        ("bold", "false", False),
        ("name", "12", "12"),
        ("name", "a,b", "a,b"),
        ("kind", "two", "two"),
        ("most", "none", None),
        ("most", "7", 7),
        ("layers", "q", "q"),
        ("layers", "q, v", ("q", "v")),
        ("sizes", "4", (4,)),
        ("sizes", "4, 8,16", (4, 8, 16)),
        ("inner.depth", "9", 9),
        ("inner.rates", "0.1,0.3", (0.1, 0.3)),
    ],
)
def test_texts_are_read_as_what_the_field_is(name: str, text: str, expected: Any) -> None:
    found = dict(settings_of(with_settings(Outer(), {name: text})))
    assert found[name] == expected
    assert type(found[name]) is type(expected)
    others = {key: value for key, value in found.items() if key != name}
    assert others == {key: value for key, value in settings_of(Outer()) if key != name}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("count", np.int64(4), 4),
        ("size", 3, 3.0),
        ("bold", np.bool_(True), True),
        ("most", None, None),
        ("sizes", [3, 4], (3, 4)),
        ("sizes", np.array([3, 4]), (3, 4)),
        ("layers", ["q", "v"], ("q", "v")),
        ("inner.rates", (1, 2.5), (1.0, 2.5)),
    ],
)
def test_values_may_be_given_as_they_are(name: str, value: Any, expected: Any) -> None:
    found = dict(settings_of(with_settings(Outer(), {name: value})))[name]
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("count", "8.5", "a whole number"),
        ("count", 8.5, "a whole number"),
        ("count", True, "a whole number"),
        ("count", None, "a whole number"),
        ("size", "nan", "a number"),
        ("size", "big", "a number"),
        ("bold", "yes", "true or false"),
        ("bold", 1, "true or false"),
        ("kind", "three", "one of one, two"),
        ("kind", 1, "one of one, two"),
        ("most", "few", "a whole number or none"),
        ("sizes", "1,x", "a whole number"),
        ("sizes", [1.5], "a whole number"),
        ("sizes", 3, "a list with commas, each a whole number"),
        ("name", 3, "a text"),
        ("inner.depth", "deep", "a whole number"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_right(name: str, value: Any, expected: str) -> None:
    with pytest.raises(SettingsError) as raised:
        with_settings(Outer(), {name: value})
    assert raised.value.came.startswith(f"{name}=")
    assert raised.value.expected == expected


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("cuont", "did you mean 'count'?"),
        ("inner.rate", "did you mean 'inner.rates'?"),
        ("depth", "did you mean 'inner.depth'?"),  # its group was left out
        ("rates", "did you mean 'inner.rates'?"),
        ("count.x", "did you mean 'count'?"),
        ("zzz", "see `pegbox methods --settings`"),
        ("change", "see `pegbox methods --settings`"),  # a function is no setting
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(name: str, remedy: str) -> None:
    with pytest.raises(SettingsError) as raised:
        with_settings(Outer(), {name: "1"})
    assert raised.value.came == f"Outer has no setting {name!r}"
    assert raised.value.remedy == remedy
    assert "inner.rates" in raised.value.expected


def test_a_group_of_settings_cannot_be_set_to_one_value() -> None:
    with pytest.raises(SettingsError) as raised:
        with_settings(Outer(), {"inner": "3"})
    assert raised.value.expected == "one of its own settings: inner.depth, inner.rates"


def test_a_method_without_settings_says_so() -> None:
    with pytest.raises(SettingsError, match="nothing: it has no settings"):
        with_settings(method("zero-shot").make(), {"length": "8"})


def test_the_methods_own_checks_are_asked() -> None:
    with pytest.raises(SettingsError, match="length=0"):
        with_settings(method("soft").make(), {"length": 0})
    with pytest.raises(SettingsError, match=r"learning_rates=\(\)"):
        with_settings(method("soft").make(), {"schedule.learning_rates": ""})


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_of_every_method_is_read_as_it_is_written(name: str) -> None:
    from pegbox.cli.printing import written

    made = method(name).make()
    for key, value in settings_of(made):
        assert with_settings(made, {key: value}) == made
        if value != "":
            assert with_settings(made, {key: written(value)}) == made
    assert json.loads(json.dumps(dict(settings_of(made)))) is not None


def test_a_method_is_known_by_what_it_does_in_every_process() -> None:
    """A run goes on only if its method is the same; a function's address would differ each time."""
    made = [identity(method(name).make()) for name in METHODS]
    assert len({json.dumps(some) for some in made}) == len(METHODS)
    assert "0x" not in json.dumps(made)
    code = (
        f"import sys, json; sys.path.insert(0, {str(Path(pegbox.__file__).parents[1])!r})\n"
        "from pegbox.recipe.methods import method; from pegbox.recipe.settings import identity\n"
        "print(json.dumps(identity(method('hybrid-after').make())))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(told) == identity(method("hybrid-after").make())
    assert identity(method("soft").make()) != identity(with_settings(method("soft").make(), {"length": 3}))
