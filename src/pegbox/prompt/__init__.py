"""Prompts: segments, and the one-line notation."""

from pegbox.prompt.notation import format, parse
from pegbox.prompt.segments import (
    TURNS,
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
