"""Prompts: segments, and the one-line notation."""

from pegbox.prompt.notation import format, parse
from pegbox.prompt.segments import TURNS, Answer, Field, HardSlot, Prompt, Segment, SoftSlot, Text, Turn

__all__ = ["TURNS", "Answer", "Field", "HardSlot", "Prompt", "Segment", "SoftSlot", "Text", "Turn", "format", "parse"]
