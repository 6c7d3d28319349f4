"""Prompts: segments, and the one-line notation."""

from pegbox.prompt.notation import format, parse
from pegbox.prompt.segments import (
    Answer,
    DeepSlot,
    Field,
    HardSlot,
    InputSlot,
    Prompt,
    Segment,
    SoftSlot,
    Text,
    Turn,
    VectorSlot,
)
from pegbox.prompt.turns import TURNS

__all__ = [
    "TURNS",
    "Answer",
    "DeepSlot",
    "Field",
    "HardSlot",
    "InputSlot",
    "Prompt",
    "Segment",
    "SoftSlot",
    "Text",
    "Turn",
    "VectorSlot",
    "format",
    "parse",
]
