"""A prompt whose model answers elsewhere: what to send for a row."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from pegbox.artifact import read_folder, read_prompt
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.layout import Slot, Speller, fill_frame, frame, sizes, slot_ids
from pegbox.data.rows import Rows
from pegbox.errors import ArtifactError, PromptError
from pegbox.export.parts import (
    Message,
    Vectors,
    Words,
    chat_of,
    check_soft,
    checked_row,
    checked_text,
    vectors_of_part,
    words_of,
)
from pegbox.export.text import to_text
from pegbox.prompt import Answer, Prompt, format
from pegbox.prompt.names import Name
from pegbox.serve.errors import TooLargeError
from pegbox.slot_files import vectors_of

ANSWERED_ONCE = ("classify", "generate", "chat")
"""Tasks whose answer a model writes in one go."""


class Way(Protocol):
    """How a prompt's rows are sent.

    Settings:
        path: the upstream's address for them, and this server's.
    """

    path: str

    def body(self, row: Mapping[str, str]) -> dict[str, Any]:
        """What is sent for a row. Raises DataError for one that cannot be sent."""


@dataclass(frozen=True)
class Carried:
    """A prompt under its name.

    Settings:
        name: with its version.
        task: classify, generate or chat.
        prompt: as it was tuned.
        words: what the model is to answer, by label.
        model: the model that it was tuned on.
        way: how its rows are sent.
        usual: how its answers are written where a request does not say.
    """

    name: Name
    task: str
    prompt: Prompt
    words: Mapping[str, tuple[str, ...]]
    model: str
    way: Way
    usual: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fields(self) -> tuple[str, ...]:
        """What every row must have."""
        return self.prompt.field_names

    def described(self) -> dict[str, Any]:
        """What clients may know of it."""
        return {
            "name": self.name.base,
            "version": self.name.version,
            "task": self.task,
            "prompt": format(self.prompt),
            "fields": list(self.fields),
            "labels": list(self.words),
            "words": {label: list(words) for label, words in self.words.items()},
            "vectors": sum(len(vectors) for vectors in vectors_of(self.prompt).values()),
            "model": self.model,
            "endpoint": f"/v1{self.way.path}",
        }


@dataclass(frozen=True)
class Terms:
    """What a gateway carries, and how.

    Settings:
        model: the model that prompts must have been tuned on, by the name in their artifacts.
        content_format: how the upstream joins parts: string or openai; see `pegbox.export.parts`.
        dtype: the number type in which vectors are sent.
        drop_calibration: carry prompts without their calibration, which only this machine could do.
        embedding: the model, for its tokenizer and its words' vectors: whole texts then go as vectors, and any prompt can.
    """

    model: str
    content_format: str = "string"
    dtype: str = "bfloat16"
    drop_calibration: bool = False
    embedding: HuggingFaceBackbone | None = None


class ChatWay:
    """A chat: words as text parts, vectors as ``prompt_embeds`` parts."""

    path = "/chat/completions"

    def __init__(self, prompt: Prompt, terms: Terms) -> None:
        self._chat, self._fields = chat_of(prompt, terms.content_format), prompt.field_names
        vectors = vectors_of(prompt)
        self._data = {
            part.slots: encoded(torch.tensor(vectors_of_part(part, vectors)), terms.dtype)
            for message in self._chat
            for part in message.parts
            if isinstance(part, Vectors)
        }

    def body(self, row: Mapping[str, str]) -> dict[str, Any]:
        checked_row(row, self._fields)
        return {"messages": [{"role": message.role, "content": self._content(message, row)} for message in self._chat]}

    def _content(self, message: Message, row: Mapping[str, str]) -> str | list[dict[str, str]]:
        if all(isinstance(part, Words) for part in message.parts):
            return "".join(part.text(row) for part in message.parts if isinstance(part, Words))
        return [
            {"type": "prompt_embeds", "data": self._data[part.slots]}
            if isinstance(part, Vectors)
            else {"type": "text", "text": checked_text(part, row)}
            for part in message.parts
        ]


class PlainWay:
    """A plain prompt of words: the text itself, to be completed."""

    path = "/completions"

    def __init__(self, prompt: Prompt) -> None:
        self._words, self._fields = words_of(prompt), prompt.field_names

    def body(self, row: Mapping[str, str]) -> dict[str, Any]:
        return {"prompt": self._words.text(checked_row(row, self._fields))}


class EmbeddedWay:
    """A whole text as vectors, its words' among them: it is read as our own model would read it, mark for mark."""

    path = "/completions"

    def __init__(self, prompt: Prompt, terms: Terms, backbone: HuggingFaceBackbone) -> None:
        self._backbone, self._dtype = backbone, terms.dtype
        self._speller = Speller(backbone.loaded.tokenizer)
        self._framed = frame(prompt, self._speller)
        own = {name: backbone.embed(ids).cpu() for name, ids in slot_ids(self._framed, prompt, self._speller).items()}
        self._slots = {**own, **{name: torch.tensor(some) for name, some in vectors_of(prompt).items()}}

    def body(self, row: Mapping[str, str]) -> dict[str, Any]:
        layout = fill_frame(self._framed, Rows((row,)), self._speller)[0]
        taken = sum(sizes(layout, {name: len(some) for name, some in self._slots.items()}))
        if taken >= self._backbone.context:
            raise TooLargeError(
                f"a text of {taken} positions with its prompt", f"fewer than {self._backbone.context}", "send a shorter text"
            )
        pieces = [self._slots[one.name] if isinstance(one, Slot) else self._backbone.embed(one).cpu() for one in layout]
        return {"prompt_embeds": encoded(torch.cat(pieces), self._dtype)}


def encoded(vectors: torch.Tensor, dtype: str) -> str:
    """Vectors as vLLM reads them: a tensor as torch saves it, in base64. Shape: vectors [P, H]."""
    file = io.BytesIO()
    torch.save(vectors.to(getattr(torch, dtype)), file)
    return base64.b64encode(file.getvalue()).decode()


def open_carried(name: Name, path: Path, terms: Terms) -> Carried:
    """An artifact, checked for what an upstream can hold.

    Raises: ArtifactError for a damaged one, or one of another model; PromptError for a prompt that cannot be carried.
    """
    prompt = read_prompt(path)
    manifest, content = read_folder(path)
    try:
        model, task, channel = manifest["model"]["name"], content.get("task", "classify"), content.get("channel", False)
        calibrated = any(content.get("calibration", {}).get("offsets", ()))
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path} is damaged: {error}", "a folder as `pegbox tune` wrote it", "tune it again") from error
    if terms.embedding is not None and manifest["model"].get("digest") != terms.embedding.digest:
        raise ArtifactError(f"{path} was tuned on another {model}", "the very model", "tune it on the one that answers")
    if model != terms.model:
        raise ArtifactError(f"{path} was tuned on {model}", f"a prompt for {terms.model}", "say --model, or tune another")
    if task not in ANSWERED_ONCE:
        raise PromptError(f"{path} is for {task}", f"one of {', '.join(ANSWERED_ONCE)}", "serve it with its model here")
    if channel:
        raise PromptError(f"{path} scores texts given labels", "a prompt that the model answers", "tune it without --channel")
    if calibrated and not terms.drop_calibration:
        raise PromptError(
            f"{path} corrects its answers by calibration, which an upstream that writes them cannot do",
            "a prompt without calibration",
            "say --drop-calibration to carry it without (score that first), or tune it with --calibration none",
        )
    usual = _usual(path, task, content)
    return Carried(name, task, prompt, to_text(path).words, str(model), _way(path, prompt, terms), usual)


def _usual(path: Path, task: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """How the artifact's answers are written: as its own model would write them here.

    Raises: PromptError for what only this machine does: forms that answers keep to, texts read in pieces.
    """
    said, state = content.get("settings", {}), content.get("state", {})
    if said.get("regex") is not None or said.get("json_schema") is not None or content.get("long"):
        raise PromptError(f"{path} keeps to a form, or parts long texts", "a prompt without that", "use it with its model here")
    usual = {"temperature": said.get("temperature", 0.0)}
    if task != "classify":
        usual |= {"top_p": said["top_p"], "max_tokens": state["max_tokens"]}
        usual |= {"stop": list(said["stop"])} if said["stop"] else {}
    return usual


def _way(path: Path, prompt: Prompt, terms: Terms) -> Way:
    check_soft(prompt)
    opened = prompt.is_chat and not isinstance(prompt.turns[-1].segments[0], Answer)
    if terms.embedding is not None and (opened or not prompt.readable):
        return EmbeddedWay(prompt, terms, terms.embedding)
    if prompt.is_chat:
        return ChatWay(prompt, terms)
    if prompt.readable:
        return PlainWay(prompt)
    raise PromptError(
        f"{path} has vectors in a plain text: {format(prompt)}",
        "vectors inside a chat's turns: a plain text goes to vLLM as words alone",
        r"say --embed-here, or tune one such as '[user] [soft s 16]\n{text} [assistant] [answer]'",
    )
