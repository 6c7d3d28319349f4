"""Cells: how one value of the user's table becomes a text or a label."""

from __future__ import annotations

import math
from typing import Any


class NotTextError(TypeError):
    """A cell that holds something which has no one obvious spelling, such as a list."""


def plain(value: Any) -> Any:
    """The same value as Python writes it: numpy scalars become int, float, bool or str."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    return value


def as_text(value: Any) -> str | None:
    """The cell as text, untouched where it is text already; None where it is missing.

    A whole number is written without a decimal point (1.0 becomes "1"), because pandas turns a column of whole numbers into
    floats as soon as one is missing. NaN, NaT, NA and None are missing.

    Raises: NotTextError for lists, dicts, bytes and other things without one spelling.
    """
    if type(value) is str:
        return value
    value = plain(value)
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, (bool, int)) or hasattr(value, "isoformat") or type(value).__name__ == "Decimal":
        return str(value)
    raise NotTextError(type(value).__name__)


def _number(value: float) -> str | None:
    if math.isnan(value):
        return None
    return str(int(value)) if value.is_integer() else repr(value)
