"""Prompts: segments, and the one-line notation."""

from pegbox.prompt.notation import format, parse
from pegbox.prompt.segments import Answer, Field, HardSlot, Prompt, Segment, SoftSlot, Text, Turn

__all__ = ["Answer", "Field", "HardSlot", "Prompt", "Segment", "SoftSlot", "Text", "Turn", "format", "parse"]
