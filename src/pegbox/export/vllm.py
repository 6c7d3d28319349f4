"""To a vLLM server: the vectors, and a client that sends them as ``prompt_embeds`` parts of a chat.

vLLM writes the model's chat template around the parts, so a prompt goes there if it is a chat whose answer is all that the
assistant says. What comes back is what the model writes; calibration stays behind.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from safetensors.numpy import save

from pegbox.artifact import read_folder, read_prompt, write_json
from pegbox.errors import PromptError
from pegbox.export.place import new_folder
from pegbox.prompt import Answer, Field, HardSlot, Prompt, Segment, SoftSlot, Text, VectorSlot, format
from pegbox.slot_files import vectors_of


def to_vllm(artifact: str | Path, folder: str | Path) -> Path:
    """Writes vectors.safetensors, messages.json and client.py, which needs neither pegbox nor the model.

    Raises: PromptError for a prompt that vLLM's chat cannot hold.
    """
    prompt = read_prompt(Path(artifact).expanduser())
    manifest, _ = read_folder(Path(artifact).expanduser())
    messages = _messages(prompt)
    with new_folder(folder) as draft:
        (draft / "vectors.safetensors").write_bytes(save(vectors_of(prompt)))
        content = {"model": manifest["model"]["name"], "width": manifest["model"]["width"], "messages": messages}
        write_json(draft / "messages.json", content)
        shutil.copyfile(Path(__file__).with_name("vllm_client.txt"), draft / "client.py")
    return Path(folder)


def _messages(prompt: Prompt) -> list[dict[str, Any]]:
    """The turns before the answer as messages of parts: text, the name of a field, the name of a slot of vectors."""
    other = [slot for slot in prompt.slots.values() if isinstance(slot, VectorSlot) and not isinstance(slot, SoftSlot)]
    if other:
        raise PromptError(
            f"the {other[0].kind} slot {other[0].name!r}",
            "soft slots only: vLLM takes vectors among a chat's words, and nothing else",
            "serve it with `pegbox serve`, or tune one with the method `soft`",
        )
    last = prompt.turns[-1].segments
    if not prompt.is_chat or not isinstance(last[0], Answer):
        raise PromptError(
            f"the prompt {format(prompt)!r}",
            "a chat whose last turn begins with the answer: vLLM writes the chat template around its parts",
            "tune one such as '[user] [soft s 16] {text} [assistant] [answer]'",
        )
    return [{"role": turn.role, "parts": [_part(segment) for segment in turn.segments]} for turn in prompt.turns[:-1]]


def _part(segment: Segment) -> dict[str, str]:
    match segment:
        case Text(text):
            return {"text": text}
        case Field(name):
            return {"field": name}
        case HardSlot(_, words):
            return {"text": words or ""}
        case SoftSlot(name):
            return {"vectors": name}
        case VectorSlot() | Answer():
            raise AssertionError("the answer is in the last turn, and other slots are refused")
