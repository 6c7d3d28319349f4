"""The first wrong value of a body, and no more: pydantic by itself gathers every one, and a small body can hold millions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, SkipValidation, model_validator
from pydantic_core import PydanticCustomError

Place = tuple[Any, ...]
"""Names and numbers, from the outermost."""
SHOWN = 80
"""The most characters of a name that are told."""


class Strict(BaseModel):
    """A body that has no keys but its own."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            strange = ((name,) for name in given if name not in cls.model_fields)
            refuse(strange, "is no key that is known here")
        return given


def refuse(wrong: Iterable[Place], why: str) -> None:
    """Raises what pydantic makes an error of, for the first of these places; the others are not looked at."""
    if (place := next(iter(wrong), None)) is not None:
        where = ".".join(str(part)[:SHOWN] for part in place)
        raise PydanticCustomError("first_wrong", "{where} {why}", {"where": where, "why": why})


def checked(wrong: Callable[[Any], Iterable[Place]], why: str) -> AfterValidator:
    """A check for a field whose values pydantic skips.

    Settings:
        wrong: the places of a value's wrong parts, one by one.
        why: what is wrong there.
    """

    def check(value: Any) -> Any:
        refuse(wrong(value), why)
        return value

    return AfterValidator(check)


def wrong_texts(named: Mapping[str, Any]) -> Iterable[Place]:
    """Where something else than a text stands."""
    return ((name,) for name, value in named.items() if not isinstance(value, str))


Fields = Annotated[dict[str, SkipValidation[str]], checked(wrong_texts, "is no text")]
"""Texts by name."""
