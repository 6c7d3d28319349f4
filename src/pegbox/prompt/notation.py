r"""The one-line notation of prompts, and back.

    Classify the review. [hard say] Review: {text} [soft steer 16] Sentiment: [answer]
    [system] [soft style 8] [user] {text} [assistant] Label: [answer pos="good|great" neg="bad"]

``{name}`` is a field; ``[hard name]`` and ``[hard name="words"]`` are an open and a filled hard slot; ``[soft name 16]`` is a
soft slot of 16 vectors (vectors themselves are not written); ``[input name 16]`` is one whose vectors are made from each row's
own texts; ``[deep name 16]`` is one of keys and values at every layer for 16 positions, which what follows it looks back on (in
a chat it stands before the first turn, or in a turn after something else); ``[answer]`` is where the model answers, if need be
with the words for each label, parted by bars (a bar in a word is ``\|``); ``[system]``, ``[user]`` and ``[assistant]`` begin a
chat turn, and ``[turns] {turns}`` stands for a row's own turns. White space around a turn's mark does not count. A literal
``[ ] { } \`` is written with a backslash before it, a new line as ``\n``, a tab as ``\t``, and a space at a turn's edge as
``\s``.
"""

from __future__ import annotations

import re

from pegbox.errors import PromptError
from pegbox.prompt.segments import (
    ROLES,
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

_KINDS: dict[str, type[VectorSlot]] = {kind.kind: kind for kind in (SoftSlot, DeepSlot, InputSlot)}
_ESCAPES = {"n": "\n", "t": "\t", "s": " ", "r": "\r"}
_NAME = r"[A-Za-z_][\w.-]*"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PIECE = re.compile(
    rf"""(?P<escape>\\.)
       | \{{(?P<field>[^{{}}\[\]\\\n]+)\}}
       | \[(?P<role>system|user|assistant|turns)\]
       | \[hard\ (?P<hard>{_NAME})(?:=(?P<words>{_QUOTED}))?\]
       | \[(?P<kind>{"|".join(_KINDS)})\ (?P<name>{_NAME})\ (?P<length>\d+)\]
       | \[answer(?P<verbalizer>(?:\ (?:{_QUOTED}|[^\s="\[\]]+)={_QUOTED})*)\]
       | (?P<stray>[\[\]{{}}\\])
       | (?P<text>[^\[\]{{}}\\]+)""",
    re.VERBOSE | re.DOTALL,
)
_LABEL = re.compile(rf' ({_QUOTED}|[^\s="\[\]]+)=({_QUOTED})')


def parse(notation: str) -> Prompt:
    """The prompt that a line of notation describes.

    Raises: PromptError that shows the place where the notation stops making sense.
    """
    turns: list[tuple[str, list[Segment | _Space]]] = [("", [])]
    for match in _PIECE.finditer(notation):
        if match["role"]:
            turns.append((match["role"], []))
        else:
            turns[-1][1].append(_segment(match, notation))
    if len(turns) == 1:
        return Prompt((Turn("", tuple(_plain(turns[0][1]))),))
    first = [piece for piece in turns.pop(0)[1] if not (isinstance(piece, Text) and piece.text.isspace())]
    if any(not isinstance(piece, DeepSlot) for piece in first):
        raise PromptError(
            f"words before the first turn in {notation!r}", "every word in a turn", f"begin with one of [{'], ['.join(ROLES)}]"
        )
    turns[0][1][:] = [*first, *_trim(turns[0][1])]
    return Prompt(tuple(Turn(role, tuple(_plain(_trim(pieces)))) for role, pieces in turns))


def format(prompt: Prompt) -> str:  # the inverse of parse deserves its plain name
    """The prompt in notation. `parse` of it is the same prompt, but for soft slots, which come back open."""
    if not prompt.is_chat:
        return "".join(_written(segment) for segment in prompt)
    first = next(iter(prompt))
    before = [_written(first)] if isinstance(first, DeepSlot) else []
    return " ".join([*before, *(_turn(turn, first) for turn in prompt.turns)])


def _turn(turn: Turn, first: Segment) -> str:
    content = "".join(_written(segment) for segment in turn.segments if segment is not first or not isinstance(first, DeepSlot))
    return f"[{turn.role}] {_edged(content)}".rstrip(" ")


class _Space(str):
    """A character that was written as an escape, so that trimming leaves it."""


def _segment(match: re.Match[str], notation: str) -> Segment | _Space:
    if match["escape"]:
        return _Space(_ESCAPES.get(match["escape"][1], match["escape"][1]))
    if match["field"]:
        return Field(match["field"])
    if match["hard"]:
        return HardSlot(match["hard"], None if match["words"] is None else _unquoted(match["words"]))
    if match["kind"]:
        return _KINDS[match["kind"]](match["name"], int(match["length"]))
    if match["stray"]:
        at = match.start()
        raise PromptError(
            f"{match['stray']!r} at position {at} of the prompt, before {notation[at + 1 : at + 25]!r}",
            '{field}, [hard name], [hard name="words"], [soft name 16] or its like, [answer], or a turn such as [user]',
            f"write \\{match['stray']} for the character itself",
        )
    if match["text"] is not None:
        return Text(match["text"])
    labels = [(_unquoted(label), _split(words)) for label, words in _LABEL.findall(match["verbalizer"])]
    return Answer(tuple(labels))


def _trim(pieces: list[Segment | _Space]) -> list[Segment | _Space]:
    """Without the white space beside the turn's marks."""
    trimmed = list(pieces)
    if trimmed and isinstance(trimmed[0], Text):
        trimmed[0] = Text(trimmed[0].text.lstrip())
    if trimmed and isinstance(trimmed[-1], Text):
        trimmed[-1] = Text(trimmed[-1].text.rstrip())
    return trimmed


def _plain(pieces: list[Segment | _Space]) -> list[Segment]:
    return [Text(str(piece)) if isinstance(piece, _Space) else piece for piece in pieces]


def _written(segment: Segment) -> str:
    match segment:
        case Text(text):
            return re.sub(r"[\[\]{}\\]", r"\\\g<0>", text).replace("\n", r"\n").replace("\t", r"\t").replace("\r", r"\r")
        case Field(name):
            return f"{{{name}}}"
        case HardSlot(name, words):
            return f"[hard {name}]" if words is None else f"[hard {name}={_quoted(words)}]"
        case VectorSlot(name, length):
            return f"[{segment.kind} {name} {length}]"
        case Answer(words):
            return f"[answer{''.join(f' {_quoted(label)}={_joined(some)}' for label, some in words)}]"


def _edged(text: str) -> str:
    """A turn's content with white space at its edges written as escapes, which trimming leaves alone."""
    left = len(text) - len(text.lstrip())
    if left == len(text):
        return "".join(_edge(character) for character in text)
    right = len(text.rstrip())
    return "".join(map(_edge, text[:left])) + text[left:right] + "".join(map(_edge, text[right:]))


def _edge(character: str) -> str:
    return r"\s" if character == " " else f"\\{character}"


def _quoted(text: str) -> str:
    return f'"{_inner(text)}"'


def _joined(words: tuple[str, ...]) -> str:
    """The words of one label in quotation marks; see `_split`."""
    parted = "|".join(_inner(word).replace("|", r"\|") for word in words)
    return f'"{parted}"'


def _inner(text: str) -> str:
    """A text as it stands between quotation marks."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return escaped.replace("\n", r"\n").replace("\t", r"\t").replace("\r", r"\r")


def _unquoted(text: str) -> str:
    return _read(text[1:-1]) if text.startswith('"') else text


def _read(inner: str) -> str:
    breaks = {"n": "\n", "t": "\t", "r": "\r"}
    return re.sub(r"\\(.)", lambda match: breaks.get(match[1], match[1]), inner, flags=re.DOTALL)


def _split(quoted: str) -> tuple[str, ...]:
    """The words of one label, parted at the bars that no backslash stands before."""
    return tuple(_read(word) for word in re.findall(r"(?:^|\|)((?:[^|\\]|\\.)*)", quoted[1:-1], flags=re.DOTALL))
