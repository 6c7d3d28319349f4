"""From a prompt and a row to token ids with open places in them.

Each segment is tokenised on its own, so that a row's text has the same ids whatever words stand around it. A space at the end
of a text moves to the start of what follows it, for that is how byte-level tokenizers spell words. The user's text and the
prompt's are encoded with special tokens switched off; only a chat template's own text may contain them.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pegbox.backbone.conversation import Conversation, conversation
from pegbox.data.rows import Rows
from pegbox.errors import BackboneError, PromptError
from pegbox.prompt import TURNS, Answer, DeepSlot, Field, HardSlot, InputSlot, Prompt, Text, VectorSlot
from pegbox.prompt.turns import said

Ids = tuple[int, ...]
_ROLES_KEPT = 64


@dataclass(frozen=True)
class Slot:
    """The place of a slot in a layout. `spaced`: words in it begin with a space."""

    name: str
    spaced: bool = False


@dataclass(frozen=True)
class Own:
    """The place of one of the row's own texts, or of its own turns.

    Settings:
        after: for turns the roles of the prompt's turns before them; None for a text.
    """

    name: str
    spaced: bool = False
    after: tuple[str, ...] | None = None


Piece = Ids | Slot | Own


@dataclass(frozen=True)
class Frame:
    """A prompt's layout before any row is put into it.

    Settings:
        pieces: fixed ids, slots and fields in order, up to the answer.
        answer_spaced: answers begin with a space.
        end: the token that follows the answer.
        rest: all that follows the answer in the prompt.
    """

    pieces: tuple[Piece, ...]
    answer_spaced: bool
    end: int
    rest: Ids = ()

    def place(self, slot: str) -> int:
        """Which piece a slot is."""
        return next(at for at, piece in enumerate(self.pieces) if isinstance(piece, Slot) and piece.name == slot)


class Speller:
    """A tokenizer reduced to what layouts need.

    Settings:
        tokenizer: a fast one.
        wraps: texts go to the model between the tokenizer's own marks, such as [CLS] and [SEP].
    """

    def __init__(self, tokenizer: Any, wraps: bool = False) -> None:
        self.tokenizer = tokenizer
        bos = getattr(tokenizer, "bos_token_id", None)
        start = tokenizer("", add_special_tokens=True)["input_ids"]
        self.start: Ids = (bos,) if bos is not None and bos in start else ()
        eos = tokenizer.eos_token_id
        self.eos: int = 0 if eos is None else int(eos)
        added = getattr(tokenizer, "added_tokens_decoder", {})
        # such as <think>: marks to the model, though its tokenizer does not call them special. Runs of white space are none.
        self._between: dict[tuple[str, ...], list[str]] = {}
        self._marks = {int(token): str(mark) for token, mark in added.items() if len(str(mark).strip()) > 1}
        self.after: Ids = ()  # what stands after every text
        if wraps:
            self.start, self.after = self._wrapping()

    def _wrapping(self) -> tuple[Ids, Ids]:
        """What the tokenizer puts before and after a text."""
        bare, whole = self.plain(["a"])[0], tuple(self.tokenizer("a", add_special_tokens=True)["input_ids"])
        at = next(at for at in range(len(whole)) if whole[at : at + len(bare)] == bare)
        return whole[:at], whole[at + len(bare) :]

    def plain(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of texts in which nothing is special."""
        if not texts:
            return []
        # not verbose: it would warn of texts longer than the model's context, which are cut afterwards
        found = self.tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        return [
            tuple(ids) if len(text) < 2 or self._marks.keys().isdisjoint(ids) else self._parted(text)
            for text, ids in zip(texts, found, strict=True)
        ]

    def _parted(self, text: str) -> Ids:
        """Token ids of a text with each mark in it cut in two, so that its halves are spelled as the characters they are."""
        marks = sorted(self._marks.values(), key=len, reverse=True)
        cuts = [match.start() + 1 for match in re.finditer("|".join(map(re.escape, marks)), text)]
        if not cuts:  # a mark that stands in the text in another spelling
            cuts = list(range(1, len(text)))
        ends = zip([0, *cuts], [*cuts, len(text)], strict=True)
        return tuple(token for ids in self.plain([text[start:end] for start, end in ends]) for token in ids)

    def words(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens left out."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def between(self, roles: Sequence[str]) -> list[str]:
        """What the chat template writes before, between and after the contents of turns of these roles."""
        key = tuple(roles)
        if key not in self._between:
            if len(self._between) >= _ROLES_KEPT:
                self._between.clear()
            self._between[key] = _chat_texts(key, self)
        return self._between[key]

    def structure(self, text: str) -> Ids:
        """Token ids of a chat template's own text, special tokens included."""
        return tuple(self.tokenizer(text, add_special_tokens=False, split_special_tokens=False)["input_ids"])


def frame(prompt: Prompt, speller: Speller) -> Frame:
    """The prompt's layout: fixed ids, and the places of slots and fields.

    A model that starts its texts with no token of its own reads the end of another text first, where otherwise an empty field
    could leave it with nothing to read. A deep slot that comes first stands before all this, a chat template's beginning
    included; the keys and values of a start token are among its own, so none follows it.

    Raises: BackboneError when chat turns do not fit the model's template; PromptError for a deep slot that nothing looks back
            on, or that an input slot stands before.
    """
    own = _turns_at(prompt)
    # a user's turn in place of the row's own, whose piece then holds all that the template writes around them
    roles = ["user" if turn.role == TURNS else turn.role for turn in prompt.turns]
    between = speller.between(roles) if prompt.is_chat else None
    first = next(iter(prompt))
    deep = Slot(first.name) if isinstance(first, DeepSlot) else None
    begin = speller.structure(between[0]) if between else () if deep else speller.start
    pieces: list[Piece] = [() if own == 0 else begin]
    end: Ids = ()
    spaced = False
    for number, turn in enumerate(prompt.turns):
        pending = ""
        if number == own:
            pieces += [Own(name, False, tuple(roles[:own])) for name in (s.name for s in turn.segments if isinstance(s, Field))]
            continue
        for segment in turn.segments:
            if isinstance(segment, Text):
                pending += segment.text
                continue
            if isinstance(segment, Answer):
                pending, spaced = _lend_space(pending)
                pieces.append(_one(speller, pending))
                pending = ""
                continue
            if segment is first and deep:
                continue
            pending, lent = _lend_space(pending)
            pieces.append(_one(speller, pending))
            pending = ""
            pieces.append(Own(segment.name, lent) if isinstance(segment, Field) else Slot(segment.name, lent))
        if number == len(prompt.turns) - 1:
            end = _one(speller, pending) + (speller.structure(between[-1]) if between else ())
        else:
            pieces.append(_one(speller, pending))
            if between and number + 1 != own:
                pieces.append(speller.structure(between[number + 1]))
    if not speller.after and not any(_never_empty(piece, prompt) for piece in pieces):
        pieces.insert(0, (speller.eos,))
    framed = Frame(_merged([*([deep] if deep else []), *pieces]), spaced, end[0] if end else speller.eos, end)
    _check_infix(framed, prompt)
    return framed


def _check_infix(framed: Frame, prompt: Prompt) -> None:
    """Raises PromptError where there may be nothing between a deep slot and the answer, or each row's own vectors before it."""
    if prompt.infix is None:
        return
    place = framed.place(prompt.infix.name)
    if not any(_never_empty(piece, prompt) or _filled_words(piece, prompt) for piece in framed.pieces[place + 1 :]):
        raise nothing_after(prompt.infix)
    before = [piece.name for piece in framed.pieces[:place] if isinstance(piece, Slot)]
    if made := next((name for name in before if isinstance(prompt.slots[name], InputSlot)), None):
        raise PromptError(
            f"the input slot {made!r} before the deep slot {prompt.infix.name!r}",
            "nothing that is made anew for each row before a deep slot",
            f"let one of them go, or write the deep slot before {made!r}",
        )


def nothing_after(infix: DeepSlot) -> PromptError:
    """What is said where nothing looks back on a deep slot."""
    return PromptError(
        f"nothing between [deep {infix.name} {infix.length}] and the answer",
        "words that the model reads there, looking back on the slot",
        f"write for example [deep {infix.name} {infix.length}]\\nLabel: [answer]",
    )


def _filled_words(piece: Piece, prompt: Prompt) -> bool:
    slot = prompt.slots[piece.name] if isinstance(piece, Slot) else None
    return isinstance(slot, HardSlot) and bool((slot.words or "").strip())


def _never_empty(piece: Piece, prompt: Prompt) -> bool:
    if isinstance(piece, Slot):
        slot = prompt.slots[piece.name]
        return isinstance(slot, VectorSlot) and not isinstance(slot, DeepSlot)
    return piece.spaced or piece.after is not None if isinstance(piece, Own) else bool(piece)


def _turns_at(prompt: Prompt) -> int | None:
    """Which of the prompt's turns is the place of the row's own."""
    return next((number for number, turn in enumerate(prompt.turns) if turn.role == TURNS), None)


def _one(speller: Speller, text: str) -> Ids:
    return speller.plain([text])[0] if text else ()


def _lend_space(text: str) -> tuple[str, bool]:
    return (text[:-1], True) if text.endswith(" ") else (text, False)


def _merged(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    merged: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, tuple) and merged and isinstance(merged[-1], tuple):
            merged[-1] = (*merged[-1], *piece)
        elif piece != ():
            merged.append(piece)
    return tuple(merged)


def _chat_texts(roles: Sequence[str], speller: Speller) -> list[str]:
    """What the chat template writes before, between and after the turns' contents."""
    if not getattr(speller.tokenizer, "chat_template", None):
        raise BackboneError(
            "chat turns for a model without a chat template", "a plain prompt", "drop [system], [user] and [assistant]"
        )
    # private-use characters: no template writes them, and trimming leaves them alone
    marks = [f"\ue000{number}\ue001" for number in range(len(roles))]
    turns = [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)]
    try:
        rendered = speller.tokenizer.apply_chat_template(turns, tokenize=False)
    except Exception as error:  # templates raise what they like
        raise BackboneError(
            f"the model's chat template refuses turns of {list(roles)}: {error}",
            "roles that this model was trained with",
            "move the system turn's words into the user turn",
        ) from error
    texts = []
    for mark in marks:
        before, found, rendered = rendered.partition(mark)
        if not found:
            raise BackboneError(
                "the model's chat template drops a turn", "a template that shows every turn", "use a plain prompt"
            )
        texts.append(before)
    return [*texts, rendered]


def slot_ids(framed: Frame, prompt: Prompt, speller: Speller) -> dict[str, Ids]:
    """The token ids of the filled hard slots' words, by name."""
    found = {}
    for piece in framed.pieces:
        slot = prompt.slots[piece.name] if isinstance(piece, Slot) else None
        if isinstance(slot, HardSlot) and slot.words is not None and isinstance(piece, Slot):
            found[slot.name] = speller.plain([(" " if piece.spaced else "") + slot.words])[0]
    return found


def fill_frame(framed: Frame, rows: Rows, speller: Speller) -> list[tuple[Ids | Slot, ...]]:
    """Each row's layout: the fields become ids, slots stay places.

    Raises: PromptError when a row lacks a field.
    """
    columns: dict[Own, list[Ids]] = {}
    for piece in framed.pieces:
        if isinstance(piece, Own) and piece not in columns:
            texts = _column(rows, piece.name)
            if piece.after is not None:
                columns[piece] = [conversation(said(text), piece.after, speller) for text in texts]
                continue
            columns[piece] = speller.plain([(" " if piece.spaced else "") + text for text in texts])
    return [
        tuple(columns[piece][number] if isinstance(piece, Own) else piece for piece in framed.pieces)
        for number in range(len(rows))
    ]


def _column(rows: Rows, name: str) -> list[str]:
    for number, row in zip(rows.numbers, rows.fields, strict=True):
        if name not in row:
            raise PromptError(
                f"row {number} of {rows.source} has no field {name!r} (it has {', '.join(row) or 'none'})",
                f"every field of the prompt in every row: {name}",
                "rename the field in the prompt, or name the column when reading the data",
            )
    return [row[name] for row in rows.fields]


def common_start(runs: Sequence[Ids]) -> Ids:
    """The codes with which all runs begin."""
    low, high = min(runs), max(runs)  # whatever these two share, all between them share
    same = next((at for at, (one, other) in enumerate(zip(low, high, strict=False)) if one != other), len(low))
    return low[:same]


def sizes(layout: Sequence[Ids | Slot], slot_lengths: Mapping[str, int]) -> list[int]:
    """How many positions each piece takes."""
    return [len(piece) if isinstance(piece, tuple) else slot_lengths[piece.name] for piece in layout]


def cut_to(
    layout: tuple[Ids | Slot, ...], own: Sequence[int], limit: int, slot_lengths: Mapping[str, int], source: str
) -> tuple[tuple[Ids | Slot, ...], bool]:
    """The layout with its longest fields cut at their ends until it has at most `limit` positions, and whether it was cut.

    Settings:
        own: which of the pieces are the row's own texts.

    Raises: PromptError when the prompt is too long without any field.
    """
    lengths = sizes(layout, slot_lengths)
    excess = sum(lengths) - limit
    if excess <= 0:
        return layout, False
    fixed = sum(length for at, length in enumerate(lengths) if at not in own)
    if fixed > limit:
        raise PromptError(
            f"the prompt without any text has {fixed} positions ({source})",
            f"at most {limit}: the model's context, less what the answer needs",
            "shorten the prompt, its examples or its slots",
        )
    room = limit - fixed
    # the greatest common length at which all fields together still fit: short fields stay whole
    level = bisect.bisect_right(range(limit + 1), room, key=lambda most: sum(min(lengths[at], most) for at in own)) - 1
    pieces = list(layout)
    for at in own:
        piece = pieces[at]
        pieces[at] = piece.cut(level, source) if isinstance(piece, Conversation) else piece[:level]  # type: ignore[index]  # ids
    return tuple(pieces), True
