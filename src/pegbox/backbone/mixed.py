"""Rows of different prompts in one pass: what a server asks of the engine.

    standing = backbone.standing(prompt, words)      # once for each prompt
    passages = standing.ask(rows)                    # for each row the passages that decide its answer
    backbone.advance([...])                          # passages of any prompts, read on together
    standing.read([...])                             # log-probabilities [C] of one row's words

A prompt's own beginning, words or vectors, is computed once and kept in the backbone's store. A long passage is read in chunks,
so that a short one beside it need not wait for its end.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch

from pegbox.backbone.engine import Engine, Head
from pegbox.backbone.frozen import Frozen
from pegbox.backbone.input_made import readings
from pegbox.backbone.layout import Ids, Own, Slot, Speller, common_start, cut_to, fill_frame, frame, nothing_after, slot_ids
from pegbox.backbone.live import Variants, codes, variants
from pegbox.backbone.passes import Row, batches
from pegbox.backbone.prefix_store import PrefixStore
from pegbox.backbone.storage import Block, KeysValues
from pegbox.backbone.trees import LARGEST, read_folded
from pegbox.backbone.trie import answer_trie
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.prompt import DeepSlot, InputSlot, Prompt, VectorSlot

CHUNK = 256
"""The most positions of one passage in one pass."""


@dataclass(eq=False)
class Passage:
    """A sequence on its way through the model.

    Settings:
        standing: the prompt that it belongs to.
        head: what it looks back on.
        codes: what is still to be read.
        wanted: of how many last positions the hidden states are asked for; at least 1.
        keep: whether its keys and values are kept, to go on from.
        stem: what it branched off from, which is its head now; see `branch_off`.
        values: what stands in the prompt's slots for this row.
        later: once the codes are read, the keys and values of a deep slot that it looks back on from there, and the codes that
            are to be read then; None: there are none.

    Shape: states [wanted, H], once it is read to its end.
    """

    standing: Standing
    head: Head
    codes: Ids
    values: Variants
    wanted: int = 1
    keep: bool = False
    stem: Passage | None = None
    later: tuple[Head, Ids] | None = None
    states: torch.Tensor | None = None

    def __post_init__(self) -> None:
        self._go_past()

    @property
    def done(self) -> bool:
        return not self.codes and not self.later

    @property
    def part(self) -> Ids:
        """What is read in the next pass: the positions that are asked for come all in the last one."""
        before = len(self.codes) - self.asked
        return self.codes[: min(before, CHUNK)] if before > CHUNK else self.codes

    @property
    def asked(self) -> int:
        """Of how many of the codes' last positions the hidden states are asked for."""
        return 0 if self.later else self.wanted

    @property
    def left(self) -> int:
        """Positions still to be read."""
        return len(self.codes) + (len(self.later[1]) if self.later else 0)

    @property
    def length(self) -> int:
        """Positions that it looks back on, and those still to be read."""
        return sum(run.length for run in (*self.head, *(self.later[0] if self.later else ()))) + self.left

    def begin_at(self, stem: Passage, length: int) -> None:
        """Goes on from a stem, which holds so many of the positions that are to be read."""
        self.head, self.codes, self.stem = stem.head, self.codes[length:], stem
        self._go_past()

    def _go_past(self) -> None:
        """Where all before a deep slot is read, looks back on that too."""
        if self.later and not self.codes:
            infix, self.codes = self.later
            self.head, self.later = (*self.head, *infix), None

    def go_on(self, token: int) -> None:
        """Adds a token that was written, to be read next."""
        self.codes, self.wanted = (token,), 1

    def take(self, read: int, states: torch.Tensor, kept: KeysValues | None) -> None:
        """Notes that so many positions were read."""
        self.codes = self.codes[read:]
        if kept is not None:
            self.head = _joined(self.head, kept)
        if self.done:
            self.states = states[read - self.wanted : read]
        self._go_past()


class _Tail(NamedTuple):
    """A row's codes up to the answer, in two parts where a deep slot stands between them."""

    codes: Ids
    later: Ids


@dataclass(frozen=True)
class Asked:
    """What one row asks: its passages, and whether its texts were cut to the model's context."""

    passages: tuple[Passage, ...]
    cut: bool


class Standing:
    """A filled prompt over a model, ready for rows that come later.

    Settings:
        prompt: all slots filled.
        words: the answers to choose from; none where the prompt is only there to be written on from.

    Raises: PromptError where the prompt cannot be used on this model.
    """

    def __init__(self, prompt: Prompt, words: tuple[str, ...], engine: Engine, store: PrefixStore, speller: Speller) -> None:
        if prompt.open_slots:
            raise PromptError(
                f"slot {prompt.open_slots[0]!r} is open", "every slot filled", "tune the prompt, or fill the slot first"
            )
        self.prompt = prompt
        self._engine, self._speller = engine, speller
        self._framed = frame(prompt, speller)
        self._words = slot_ids(self._framed, prompt, speller)
        self._numbers = {name: number for number, name in enumerate(prompt.slots)}
        self._filled = variants({}, prompt, self._numbers, 1, engine)
        self._frozen = Frozen(prompt, self._numbers, engine, store)
        self._fields = [at for at, piece in enumerate(self._framed.pieces) if isinstance(piece, Own)]
        self._made_from_rows = any(isinstance(slot, InputSlot) for slot in prompt.slots.values())
        own = (at for at, piece in enumerate(self._framed.pieces) if self._of_rows(piece))
        self._infix = None if prompt.infix is None else self._framed.place(prompt.infix.name)
        self._beginning = self._codes(self._framed.pieces[: next(own, None)])
        spaced = [(" " if self._framed.answer_spaced else "") + word for word in words]
        self._trie = answer_trie(speller.plain(spaced), self._framed.end, words) if words else None
        self._trunks: tuple[Ids, ...] = ((),) if self._trie is None else self._trie.trunks()
        self.ends = engine.ends | {speller.eos, self._framed.end}
        self._row(Rows.from_texts([""]), 0, self._framed.pieces, max(map(len, self._trunks)))  # too long a prompt is told now

    @property
    def branches(self) -> int:
        """Passages that each row takes."""
        return len(self._trunks)

    def ask(self, rows: Rows) -> list[Asked]:
        """The passages that decide each row's answer among the words."""
        reach = max(map(len, self._trunks))
        made = []
        for tail, cut, values in self._tails(rows, reach):
            made.append(Asked(tuple(self._passage(tail, trunk, values, len(trunk) + 1) for trunk in self._trunks), cut))
        return made

    def write(self, rows: Rows, room: int) -> list[Asked]:
        """For each row the passage that the model goes on from, with room for so many tokens."""
        made = []
        for tail, cut, values in self._tails(rows, room):
            made.append(Asked((self._passage(tail, (), values, 1, keep=True),), cut))
        return made

    def _passage(self, tail: _Tail, then: Ids, values: Variants, wanted: int, keep: bool = False) -> Passage:
        """A row's passage, followed by these codes. Raises PromptError where nothing is read after a deep slot."""
        if self.prompt.infix is None:
            head, own = self._split(tail.codes)
            return Passage(self, head, own + then, values, wanted, keep)
        shared = self._beginning[: len(tail.codes)]  # what the row has of its own may be nothing
        if not tail.later:
            raise nothing_after(self.prompt.infix)
        later = self._frozen.infix, tail.later + then
        return Passage(self, self._frozen.shared(shared), tail.codes[len(shared) :], values, wanted, keep, later=later)

    @torch.no_grad()
    def read(self, passages: Sequence[Passage]) -> torch.Tensor:
        """Log-probabilities of the words, from one row's passages read to their ends. Shape: [C], float32."""
        assert self._trie is not None
        states = [passage.states for passage in passages]
        return self._trie.read(
            lambda trunk, depth: cast(torch.Tensor, states[trunk])[depth],
            lambda at, tokens: self._engine.logits(at, tokens).log_softmax(-1),
        )

    @torch.no_grad()
    def next_logits(self, passage: Passage) -> torch.Tensor:
        """Logits of the token after a passage that was read to its end. Shape: [V], float32."""
        assert passage.states is not None
        return self._engine.logits(passage.states[-1])

    def text(self, ids: Sequence[int]) -> str:
        """The text of tokens that were written."""
        return self._speller.words(ids)

    def _tails(self, rows: Rows, reach: int) -> list[tuple[_Tail, bool, Variants]]:
        """Each row's codes up to the answer, whether its texts were cut, and what stands in the slots for it."""
        layouts = fill_frame(self._framed, rows, self._speller)
        return [self._row(rows, at, layout, reach) for at, layout in enumerate(layouts)]

    def _row(self, rows: Rows, at: int, layout: Sequence[Ids | Slot | Own], reach: int) -> tuple[_Tail, bool, Variants]:
        slots = {
            name: slot.length if isinstance(slot, VectorSlot) else len(self._words[name])
            for name, slot in self.prompt.slots.items()
        }
        pieces = tuple(piece if not isinstance(piece, Own) else () for piece in layout)
        limit = self._engine.context - reach
        cut, was_cut = cut_to(pieces, self._fields, limit, slots, f"{rows.source}, row {rows.numbers[at]}")
        infix = len(cut) if self._infix is None else self._infix
        return _Tail(self._codes(cut[:infix]), self._codes(cut[infix:])), was_cut, self._values(cut)

    def _values(self, layout: Sequence[Ids | Slot]) -> Variants:
        if not self._made_from_rows:
            return self._filled
        own = tuple(token for at in self._fields for token in cast(Ids, layout[at]))
        read = readings([own], self._engine)
        return variants({}, self.prompt, self._numbers, 1, self._engine, read)

    def _of_rows(self, piece: Ids | Slot | Own) -> bool:
        """Whether what stands there differs from row to row."""
        return isinstance(piece, Own) or (isinstance(piece, Slot) and isinstance(self.prompt.slots[piece.name], InputSlot))

    def _split(self, codes: Ids) -> tuple[Head, Ids]:
        """A row's codes as what is kept and what is its own, of which there is at least one."""
        shared = self._beginning[: len(codes) - 1]
        return self._frozen.shared(shared), codes[len(shared) :]

    def _codes(self, pieces: Sequence[Ids | Slot | Own]) -> Ids:
        codes: list[int] = []
        for piece in pieces:
            if not isinstance(piece, Own):
                codes.extend(self._slot(piece.name) if isinstance(piece, Slot) else piece)
        return tuple(codes)

    def _slot(self, name: str) -> Ids:
        slot = self.prompt.slots[name]
        if isinstance(slot, DeepSlot):
            return ()  # its keys and values are what is kept
        if isinstance(slot, VectorSlot):
            return codes(self._numbers[name], slot.length)
        return self._words[name]


@torch.no_grad()
def advance(engine: Engine, passages: Sequence[Passage]) -> int:
    """Reads all passages on, to the end or by a chunk, those of near length in one pass; returns how many positions that is.

    Those that branched off from one stem are folded into a tree, in which it is held once, where no chunks are made of them.
    """
    families: dict[int, list[Passage]] = {}
    for passage in passages:
        families.setdefault(id(passage.stem), []).append(passage)
    single, folded, before = families.pop(id(None), []), [], engine.spent.forward
    for some in families.values():
        if engine.packs and _foldable(some):
            folded.append(some)
        else:
            single.extend(some)
    _read_singly(engine, single)
    _read_folded(engine, folded)
    return engine.spent.forward - before


def _foldable(some: Sequence[Passage]) -> bool:
    """Whether passages of one stem can be read in one pass: after a chunk of each they no longer look back on the same."""
    whole = all(_same(one.head, some[0].head) and len(one.part) == len(one.codes) and not one.later for one in some)
    return whole and len(some) > 1 and sum(len(one.codes) for one in some) <= LARGEST


def _read_singly(engine: Engine, passages: Sequence[Passage]) -> None:
    rows = [Row(passage.head, passage.part, len(passage.part), 0, at) for at, passage in enumerate(passages)]
    for batch in batches(rows) if rows else ():
        _pass(engine, [passages[at] for at in batch], [rows[at].codes for at in batch])


def _read_folded(engine: Engine, families: Sequence[Sequence[Passage]]) -> None:
    """Reads families of passages with one head each to their ends."""
    passages = [one for some in families for one in some]
    rows = [Row(one.head, one.codes, len(one.codes) - one.wanted + 1, at, at) for at, one in enumerate(passages)]
    ends = list(itertools.accumulate(len(some) for some in families))
    together = [range(end - len(some), end) for end, some in zip(ends, families, strict=True)]

    def embeds(codes: Sequence[Ids], whose: Sequence[int]) -> torch.Tensor:
        return _embeds(engine, [passages[at] for at in whose], codes)

    for one, states in zip(passages, read_folded(rows, together, embeds, engine) if rows else (), strict=True):
        one.codes, one.states = (), states


def _pass(engine: Engine, passages: Sequence[Passage], codes: Sequence[Ids]) -> None:
    kept = [at for at, one in enumerate(passages) if one.keep or one.later or len(codes[at]) < len(one.codes)]
    lengths, heads, embeds = [len(run) for run in codes], [p.head for p in passages], _embeds(engine, passages, codes)
    alike = not kept and len(heads) > 1 and all(head == heads[0] for head in heads)
    if alike and engine.fans(heads[:1], max(lengths), len(heads)):  # what all look back on is held once
        hidden = engine.fan(heads[:1], embeds, lengths, len(heads))
        blocks: Block = ()
    else:
        hidden, blocks = engine.read_on(heads, embeds, lengths, kept)
    found = dict(zip(kept, blocks, strict=True))
    for at, passage in enumerate(passages):
        passage.take(lengths[at], hidden[at], found.get(at))


def _embeds(engine: Engine, passages: Sequence[Passage], codes: Sequence[Ids]) -> torch.Tensor:
    """Embeddings, padded on the right: one look-up for all words, and each prompt's own vectors in their places.

    Shape: [N, T, H].
    """
    width = max(map(len, codes))
    ids = [[*(max(c, 0) for c in run), *[0] * (width - len(run))] for run in codes]
    made: torch.Tensor = engine.model.get_input_embeddings()(torch.tensor(ids, device=engine.device))
    for at, (passage, run) in enumerate(zip(passages, codes, strict=True)):
        if min(run) < 0:
            made[at, : len(run)] = passage.values.embeds([run], [0], [0])[0]
    return made


def _joined(head: Head, kept: KeysValues) -> Head:
    """The head with what was read since; the prompt's beginning, which others look back on too, stays a run of its own."""
    if len(head) < 2:
        return (*head, kept)
    *before, last = head
    keys = torch.cat([last.keys, kept.keys], dim=2)
    return (*before, KeysValues(keys, torch.cat([last.values, kept.values], dim=2)))


def stem_of(passages: Sequence[Passage]) -> Passage | None:
    """What passages of one prompt begin with alike, such as the words of a sentence: it is read once, and kept.

    Once it is done, `branch_off` lets each passage look back on it. None where they begin differently, or differ in what stands
    in the prompt's slots.
    """
    first = passages[0]
    if any(one.values is not first.values or not _same(one.head, first.head) for one in passages):
        return None
    common = common_start([one.codes[: len(one.codes) - one.asked] for one in passages])
    return Passage(first.standing, first.head, common, first.values, keep=True) if common else None


def branch_off(stem: Passage, length: int, passages: Sequence[Passage]) -> None:
    """Makes passages go on from a stem that was read to its end.

    Settings:
        length: the stem's positions, which the passages begin with.
    """
    for one in passages:
        one.begin_at(stem, length)


def _same(one: Head, other: Head) -> bool:
    return len(one) == len(other) and all(map(operator.is_, one, other))


def score_together(asked: Sequence[tuple[Standing, Rows]]) -> list[torch.Tensor]:
    """Scores rows of several prompts over one model in shared passes.

    Shape: for each pair log-probabilities [B, C] of its words, float32.
    """
    questions = [(standing, row) for standing, rows in asked for row in standing.ask(rows)]
    engine = asked[0][0]._engine
    while left := [passage for _, row in questions for passage in row.passages if not passage.done]:
        advance(engine, left)
    read = iter([standing.read(row.passages) for standing, row in questions])
    return [torch.stack([next(read) for _ in range(len(rows))]) for _, rows in asked]
