"""A chat prompt as the content parts that vLLM reads, so placed that its chat template puts everything where the prompt says.

vLLM joins a message's parts in one of two ways (``--chat-template-content-format``; it logs which one it found):

    string   the template takes a message as one text, as those of most language models do: parts stand on lines of their own
    openai   the template takes the parts themselves: they stand side by side

So under ``string`` there must be a new line in the prompt wherever words meet vectors; it is left out of the words, as vLLM
writes it. Neighbouring words go into one part, neighbouring vectors too: nothing is put between them then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby, takewhile

import numpy as np
from numpy.typing import NDArray

from pegbox.errors import DataError, PromptError, SettingsError
from pegbox.prompt import Answer, Field, HardSlot, Prompt, Segment, SoftSlot, Text, VectorSlot, format
from pegbox.prompt.segments import Turn

FORMATS = ("string", "openai")
MARKS = re.compile(
    r"<\|[^<>|\s]{1,40}\|>|<｜[^<>\s]{1,40}｜>|<prompt_embeds>|</?s>|<(?:bos|eos|pad|unk)>|<(?:start|end)_of_(?:turn|image)>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|THINK)\]|\[\|[A-Za-z_]{1,40}\|\]"
)
"""What the usual tokenizers hold for marks of turns and ends, and vLLM for vectors. Which ones a model has, only it knows."""


@dataclass(frozen=True)
class Words:
    """A part of words: texts as they are, and fields of the row."""

    pieces: tuple[str | Field, ...]

    def text(self, row: Mapping[str, str]) -> str:
        """The part for one row."""
        return "".join(row[piece.name] if isinstance(piece, Field) else piece for piece in self.pieces)


@dataclass(frozen=True)
class Vectors:
    """A part of vectors: those of one slot, or of several that stand side by side."""

    slots: tuple[str, ...]


Part = Words | Vectors


@dataclass(frozen=True)
class Message:
    """A turn of the chat."""

    role: str
    parts: tuple[Part, ...]


def chat_of(prompt: Prompt, content_format: str = "string") -> tuple[Message, ...]:
    """The turns before the answer.

    Settings:
        content_format: string or openai; see above.

    Raises: PromptError for a prompt that vLLM's chat cannot hold; SettingsError for an unknown format.
    """
    if content_format not in FORMATS:
        raise SettingsError(f"the content format {content_format!r}", " or ".join(FORMATS), "say what vLLM was started with")
    check_soft(prompt)
    if not prompt.is_chat or not isinstance(prompt.turns[-1].segments[0], Answer):
        raise PromptError(
            f"the prompt {format(prompt)!r}",
            "a chat whose last turn begins with the answer: vLLM writes the chat template around its parts",
            r"tune one such as '[user] [soft s 16]\n{text} [assistant] [answer]'",
        )
    return tuple(Message(turn.role, _parts(turn, prompt, content_format)) for turn in prompt.turns[:-1])


def check_soft(prompt: Prompt) -> None:
    """Raises PromptError for slots that hold something else than vectors among words, and for a row's own turns."""
    check_turns(prompt)
    for slot in prompt.slots.values():
        if isinstance(slot, VectorSlot) and not isinstance(slot, SoftSlot):
            raise PromptError(
                f"the {slot.kind} slot {slot.name!r}",
                "soft slots only: vLLM takes vectors among a chat's words, and nothing else",
                "serve it with its model here, or tune one with the method `soft`",
            )


def check_turns(prompt: Prompt) -> None:
    """Raises PromptError for a prompt in which a row's own turns stand."""
    if prompt.is_conversation:
        raise PromptError(
            f"the prompt {format(prompt)!r}, in which a row's own turns stand",
            "turns that are written in the prompt",
            "serve it with its model here: the request's messages are its turns",
        )


def words_of(prompt: Prompt) -> Words:
    """A plain prompt of words, up to where the answer stands; the space before the answer belongs to the answer."""
    pieces = _pieces(takewhile(lambda segment: not isinstance(segment, Answer), prompt))
    return Words(_cut_end(pieces, " ") or pieces)


def vectors_of_part(part: Vectors, vectors: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """What stands in a part of vectors. Shape: [P, H]."""
    return np.concatenate([vectors[name] for name in part.slots])


def checked_row(row: Mapping[str, str], fields: Iterable[str]) -> Mapping[str, str]:
    """The row, whose texts an upstream will read as texts: its tokenizer takes marks in them for its own.

    Raises: DataError for a text with what looks like a mark.
    """
    texts = {name: row[name] for name in fields}
    # together too: halves of a mark in two fields side by side would make one
    for name, text in (*texts.items(), (" and ".join(texts), "".join(texts.values()))):
        if found := MARKS.search(text):
            raise DataError(
                f"the mark {found[0]} in a row's {name}",
                "a text: the upstream's tokenizer would take it for the end of a turn or the like",
                "take it out; a gateway with --embed-here sends prompts with vectors so that it stays a text",
            )
    return row


def checked_text(words: Words, row: Mapping[str, str]) -> str:
    """A part's words for one row. Raises DataError for no words, which vLLM would drop with their line."""
    text = words.text(row)
    if not text:
        raise DataError(
            "a row whose text is empty, beside vectors", "some text: vLLM drops an empty part", "leave such rows out"
        )
    return text


def _parts(turn: Turn, prompt: Prompt, content_format: str) -> tuple[Part, ...]:
    groups = [(soft, list(some)) for soft, some in groupby(turn.segments, lambda segment: isinstance(segment, SoftSlot))]
    last = len(groups) - 1
    parts: list[Part] = []
    for at, (soft, some) in enumerate(groups):
        if soft:
            parts.append(Vectors(tuple(slot.name for slot in some if isinstance(slot, SoftSlot))))
            continue
        pieces = _pieces(some)
        if at < last:
            pieces = _cut_end(pieces, " ") or pieces  # the space before a slot belongs to words in it, and vectors are none
        if content_format == "string" and len(groups) > 1:
            pieces = _without_lines(pieces, at > 0, at < last, prompt)
        if pieces:
            parts.append(Words(pieces))
    return tuple(parts)


def _pieces(segments: Iterable[Segment]) -> tuple[str | Field, ...]:
    """Words in order, neighbouring texts as one."""
    pieces: list[str | Field] = []
    for segment in segments:
        if isinstance(segment, Field):
            pieces.append(segment)
            continue
        text = segment.text if isinstance(segment, Text) else (segment.words or "") if isinstance(segment, HardSlot) else ""
        if pieces and isinstance(pieces[-1], str):
            pieces[-1] += text
        elif text:
            pieces.append(text)
    return tuple(pieces)


def _without_lines(pieces: tuple[str | Field, ...], before: bool, after: bool, prompt: Prompt) -> tuple[str | Field, ...]:
    """Words without the new lines that vLLM writes where they meet vectors before and after them.

    Raises: PromptError where there is none, or nothing is left: vLLM drops an empty part with its line.
    """
    if before and after and pieces == ("\n",):
        return ()  # the two parts of vectors then stand on two lines
    left = _cut_start(pieces) if before else pieces
    if left is not None and after:
        left = _cut_end(left, "\n")
    if not left:
        raise PromptError(
            f"the prompt {format(prompt)!r}, with words that meet vectors on one line",
            "a new line between them: vLLM writes one there, as its chat template takes a message as one text",
            r"tune one such as '[user] [soft s 16]\n{text} [assistant] [answer]', or start vLLM with a template that takes"
            " parts and say --content-format openai; a gateway can also --embed-here",
        )
    return left


def _cut_start(pieces: tuple[str | Field, ...]) -> tuple[str | Field, ...] | None:
    """The pieces without the new line at their start; None where there is none."""
    first = pieces[0] if pieces else ""
    if not isinstance(first, str) or not first.startswith("\n"):
        return None
    return tuple(piece for piece in (first[1:], *pieces[1:]) if piece != "")


def _cut_end(pieces: tuple[str | Field, ...], end: str) -> tuple[str | Field, ...] | None:
    """The pieces without a space or new line at their end; None where there is none."""
    last = pieces[-1] if pieces else ""
    if not isinstance(last, str) or not last.endswith(end):
        return None
    return tuple(piece for piece in (*pieces[:-1], last[: -len(end)]) if piece != "")
