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
from pegbox.export.parts import Part, Vectors, chat_of
from pegbox.export.place import new_folder
from pegbox.prompt import Field
from pegbox.slot_files import vectors_of


def to_vllm(artifact: str | Path, folder: str | Path, content_format: str = "string") -> Path:
    """Writes vectors.safetensors, messages.json and client.py, which needs neither pegbox nor the model.

    Settings:
        content_format: how vLLM joins the parts of a message: string or openai; see `pegbox.export.parts`.

    Raises: PromptError for a prompt that vLLM's chat cannot hold.
    """
    prompt = read_prompt(Path(artifact).expanduser())
    manifest, _ = read_folder(Path(artifact).expanduser())
    chat = chat_of(prompt, content_format)
    messages = [{"role": message.role, "parts": [_written(part) for part in message.parts]} for message in chat]
    with new_folder(folder) as draft:
        (draft / "vectors.safetensors").write_bytes(save(vectors_of(prompt)))
        content = {"model": manifest["model"]["name"], "width": manifest["model"]["width"], "messages": messages}
        write_json(draft / "messages.json", content)
        shutil.copyfile(Path(__file__).with_name("vllm_client.txt"), draft / "client.py")
    return Path(folder)


def _written(part: Part) -> dict[str, Any]:
    if isinstance(part, Vectors):
        return {"vectors": list(part.slots)}
    return {"words": [{"field": piece.name} if isinstance(piece, Field) else piece for piece in part.pieces]}
