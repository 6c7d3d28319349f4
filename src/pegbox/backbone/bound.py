"""A prompt, rows and answers tied to a model: what is frozen is computed once, the rest at each call.

Before the first slot that is live in a call, everything is frozen. What all rows have in common there is run once for all
(`shared`); the rest of it once for each row (`own`), in fixed blocks of rows of near length, so that a number never depends on
which rows were asked for before. What follows (`tail`) is run at each call.
"""

from __future__ import annotations

import hashlib
import os.path
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch

from pegbox.backbone.engine import Engine, Head
from pegbox.backbone.layout import Ids, Own, Slot, Speller, cut_to, fill_frame, frame
from pegbox.backbone.live import Variants, code, variants
from pegbox.backbone.prefix_store import KeysValues, PrefixStore
from pegbox.backbone.seam import Answers, Choices, Live
from pegbox.backbone.trie import AnswerTrie, answer_trie
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.prompt import HardSlot, Prompt, SoftSlot

BLOCK = 32
"""Rows whose frozen parts are computed together."""
TOKENS = 4096
"""New positions in one pass when no gradient is asked for."""


@dataclass
class Front:
    """What is frozen when the pieces from number `first` on may change.

    Settings:
        shared: codes common to all rows.
        own: for each row the codes between `shared` and the first live piece.
        blocks: the rows by length of `own`, in fixed groups.
        granted: keys of the blocks that the store has room for.
    """

    shared: Ids
    own: tuple[Ids, ...]
    blocks: tuple[tuple[int, ...], ...] = ()
    block_of: dict[int, int] = field(default_factory=dict)
    granted: frozenset[Hashable] = frozenset()


class HuggingFaceBound:
    """See `pegbox.backbone.seam.Bound`."""

    def __init__(
        self, prompt: Prompt, rows: Rows, answers: Answers, engine: Engine, store: PrefixStore, speller: Speller
    ) -> None:
        if not len(rows):
            raise PromptError("no rows to bind", "at least one row", "check the data")
        self.prompt = prompt
        self._engine, self._store = engine, store
        framed = frame(prompt, speller)
        self.end_token = framed.end
        self._layouts = fill_frame(framed, prompt.slots, rows.fields, speller, rows.source)
        self._spaced = {piece.name: piece.spaced for piece in framed.pieces if isinstance(piece, Slot)}
        self._own_pieces = [at for at, piece in enumerate(framed.pieces) if isinstance(piece, Own)]
        self.numbers = {name: number for number, name in enumerate(prompt.slots)}
        self._places = {piece.name: at for at, piece in enumerate(framed.pieces) if isinstance(piece, Slot)}
        self._source = rows.source
        self._fronts: dict[int, Front] = {}
        self._read_answers(answers, " " if framed.answer_spaced else "", speller)
        self.cut_rows: tuple[int, ...] = ()
        self._cut(engine.context)

    def _read_answers(self, answers: Answers, space: str, speller: Speller) -> None:
        self.trie: AnswerTrie | None = None
        self.targets: list[Ids] | None = None
        if isinstance(answers, Choices):
            if len(answers.words) < 2:
                raise PromptError(f"{len(answers.words)} answers to choose from", "at least two", "give every label a word")
            sequences = speller.plain([space + word for word in answers.words])
            self.trie = answer_trie(sequences, self.end_token, answers.words)
            self._reach = max((len(path) for path in self.trie.trunks()), default=0)
            return
        if len(answers.texts) != len(self._layouts):
            raise PromptError(
                f"{len(answers.texts)} targets for {len(self._layouts)} rows", "one for each row", "check the rows"
            )
        self.targets = speller.plain([space + text for text in answers.texts])
        if empty := [at for at, ids in enumerate(self.targets) if not ids]:
            raise PromptError(f"an empty target for row {empty[0] + 1}", "at least one token", "drop the row")
        self._reach = max(len(ids) for ids in self.targets) - 1

    def _cut(self, context: int) -> None:
        lengths = {name: slot.length if isinstance(slot, SoftSlot) else HARD_ROOM for name, slot in self.prompt.slots.items()}
        cut = []
        for at, layout in enumerate(self._layouts):
            self._layouts[at], was_cut = cut_to(layout, self._own_pieces, context - self._reach, lengths, self._source)
            if was_cut:
                cut.append(at)
        self.cut_rows = tuple(cut)

    def score(self, index: Sequence[int], live: Live | None = None) -> torch.Tensor:
        """See `pegbox.backbone.seam.Bound.score`."""
        if not len(index):
            raise PromptError("no rows to score", "at least one row", "check the index")
        now = variants(live or {}, self.prompt, self.numbers, len(index), self._engine)
        trunks = self.trie.trunks() or ((),) if self.trie else ((),)
        rows = self._rows(index, now, trunks)
        if self.targets is not None:
            return self._read_targets(rows, index, now)
        return self._read_choices(rows, trunks, len(index), now)

    @torch.no_grad()
    def next_words(self, index: Sequence[int], tokens: Sequence[int] | None = None) -> torch.Tensor:
        """See `pegbox.backbone.seam.Bound.next_words`."""
        if not len(index):
            raise PromptError("no rows to read", "at least one row", "check the index")
        now = variants({}, self.prompt, self.numbers, len(index), self._engine)
        states = self._hidden(self._rows(index, now, ((),)), now)
        return self._engine.logits(torch.stack([row[0] for row in states]), tokens).log_softmax(-1)

    def _rows(self, index: Sequence[int], now: Variants, trunks: Sequence[Ids]) -> list[_Row]:
        """The rows of a pass: for each variant each row asked about, followed by each of the answers' trunks."""
        first = min((self._places[name] for name in now.names), default=len(self._layouts[0]))
        front = self._front(first)
        stems = self._stems(now, front, index, first)
        rows = []
        for variant in range(now.count):
            head, skip = stems[variant]
            owns = self._own(front, index) if first < len(self._layouts[0]) else [()] * len(index)
            for at, row in enumerate(index):
                tail = self._tail(front, row, first, now, variant)[skip:]
                for trunk in trunks:
                    path = self.targets[row][:-1] if self.targets else trunk
                    rows.append(_Row((*head, *owns[at]), tail + path, len(tail), variant, at))
        return rows

    def contexts(self, index: Sequence[int]) -> list[Ids]:
        """Each row's codes up to the answer, all slots filled."""
        return [self._flat(self._layouts[row]) for row in index]

    def _front(self, first: int) -> Front:
        """What is frozen before piece number `first`; worked out once."""
        if first not in self._fronts:
            fronts = [self._flat(layout[:first]) for layout in self._layouts]
            shared: Ids = tuple(os.path.commonprefix(fronts))
            if first == len(self._layouts[0]):  # nothing is live: leave at least the position that is read
                shared = shared[: min(map(len, fronts)) - 1]
            own = tuple(codes[len(shared) :] for codes in fronts)
            self._fronts[first] = self._blocked(Front(shared, own)) if first < len(self._layouts[0]) else Front(shared, own)
        return self._fronts[first]

    def _blocked(self, front: Front) -> Front:
        order = sorted((at for at, codes in enumerate(front.own) if codes), key=lambda at: (len(front.own[at]), at))
        front.blocks = tuple(tuple(order[at : at + BLOCK]) for at in range(0, len(order), BLOCK))
        front.block_of = {row: number for number, block in enumerate(front.blocks) for row in block}
        if front.blocks:
            probe = self._shared(front.shared or front.own[order[0]][:1])
            size = probe.nbytes // probe.length
            wanted = [(self._key(front, block), sum(len(front.own[row]) for row in block) * size) for block in front.blocks]
            front.granted = self._store.reserve(self, wanted)
        return front

    def _flat(self, pieces: Sequence[Ids | Slot], now: Variants | None = None, variant: int = 0) -> Ids:
        """Pieces as codes: token ids, and negative numbers for the positions of vectors."""
        codes: list[int] = []
        for piece in pieces:
            if not isinstance(piece, Slot):
                codes.extend(piece)
                continue
            words = now.words.get(piece.name) if now else None
            slot = self.prompt.slots[piece.name]
            if words is not None:
                codes.extend(words[variant])
            elif now is not None and piece.name in now.vectors:
                codes.extend(code(self.numbers[piece.name], p) for p in range(now.vectors[piece.name].shape[2]))
            elif isinstance(slot, SoftSlot) and slot.vectors is not None:
                codes.extend(code(self.numbers[piece.name], p) for p in range(slot.length))
            else:
                raise PromptError(
                    f"slot {piece.name!r} is open",
                    "every slot filled or live",
                    f"tune the prompt, or fill {piece.name!r} first",
                )
        return tuple(codes)

    def _tail(self, front: Front, row: int, first: int, now: Variants, variant: int) -> Ids:
        if first == len(self._layouts[row]):
            return front.own[row]
        return self._flat(self._layouts[row][first:], now, variant)

    def _stems(self, now: Variants, front: Front, index: Sequence[int], first: int) -> list[tuple[Head, int]]:
        """For each variant what all rows look back on, and how much of every tail that includes.

        A slot that stands before all the rows' own texts is the same for every row: it is run once for each variant, and the
        gradient flows back through its keys and values.
        """
        shared: Head = (self._shared(front.shared),) if front.shared else ()
        if first == len(self._layouts[0]) or front.blocks or now.per_row:
            return [(shared, 0)] * now.count
        stems = []
        for variant in range(now.count):
            tails = [self._tail(front, row, first, now, variant) for row in range(len(self._layouts))]
            common = tuple(os.path.commonprefix(tails))
            common = common[: min(map(len, tails)) - 1]
            if not common or len(index) == 1:
                stems.append((shared, 0))
                continue
            embeds = now.embeds([common], [variant], [0])
            stems.append(((*shared, *self._engine.extend([shared], embeds, [len(common)])), len(common)))
        return stems

    def _shared(self, codes: Ids) -> KeysValues:
        key = ("shared", self._content(codes))
        kept = self._store.get(key)
        if kept is None:
            with torch.set_grad_enabled(self._engine.training):
                embeds = variants({}, self.prompt, self.numbers, 1, self._engine).embeds([codes], [0], [0])
                kept = self._engine.extend([()], embeds, [len(codes)])
            self._store.put(key, kept)
        return kept[0]

    def _content(self, *runs: Ids) -> str:
        """A digest of what stands at these codes: ids, and the vectors of filled slots."""
        found = hashlib.sha256(repr(runs).encode())
        if any(c < 0 for codes in runs for c in codes):
            found.update(self.prompt.digest().encode())
        return found.hexdigest()

    def _key(self, front: Front, block: Sequence[int]) -> Hashable:
        return ("own", self._content(front.shared, *(front.own[row] for row in block)))

    def _own(self, front: Front, index: Sequence[int]) -> list[Head]:
        """Each row's own frozen keys and values; kept blocks are read, blocks without room are computed as needed."""
        found: dict[int, KeysValues] = {}
        for number in sorted({front.block_of[row] for row in index if row in front.block_of}):
            block = front.blocks[number]
            key = self._key(front, block)
            kept = self._store.get(key)
            if kept is None:
                asked = block if key in front.granted else tuple(row for row in block if row in set(index))
                kept = self._compute_own(front, asked)
                if key in front.granted:
                    self._store.put(key, kept)
                block = asked
            found.update(zip(block, kept, strict=True))
        return [(found[row],) if row in found else () for row in index]

    def _compute_own(self, front: Front, rows: Sequence[int]) -> tuple[KeysValues, ...]:
        codes = [front.own[row] for row in rows]
        with torch.set_grad_enabled(self._engine.training):
            embeds = variants({}, self.prompt, self.numbers, 1, self._engine).embeds(codes, [0] * len(rows), [0] * len(rows))
            head: Head = (self._shared(front.shared),) if front.shared else ()
            return self._engine.extend([head] * len(rows), embeds, [len(run) for run in codes])

    def _hidden(self, rows: Sequence[_Row], now: Variants) -> list[torch.Tensor]:
        """Last hidden states of every row's tail. Shape: for each row [T, H]."""
        if (now.needs_gradient and torch.is_grad_enabled()) or self._engine.training:
            return self._pass(rows, now)
        found: dict[int, torch.Tensor] = {}
        with torch.no_grad():
            for batch in _batches(rows):
                found.update(zip(batch, self._pass([rows[at] for at in batch], now), strict=True))
        return [found[at] for at in range(len(rows))]

    def _pass(self, rows: Sequence[_Row], now: Variants) -> list[torch.Tensor]:
        embeds = now.embeds([row.codes for row in rows], [row.variant for row in rows], [row.at for row in rows])
        hidden = self._engine.hidden([row.head for row in rows], embeds, [len(row.codes) for row in rows])
        return [states[row.read - 1 : len(row.codes)] for states, row in zip(hidden, rows, strict=True)]

    def _read_choices(self, rows: Sequence[_Row], trunks: Sequence[Ids], count: int, now: Variants) -> torch.Tensor:
        """Follows every answer through the forks of the trie. Shape: [K, B, C]."""
        assert self.trie is not None
        states = self._hidden(rows, now)
        ways: list[torch.Tensor] = []
        for fork in self.trie.forks:
            trunk = next(n for n, path in enumerate(trunks) if path[: len(fork.path)] == fork.path)
            at = torch.stack([states[n][len(fork.path)] for n in range(trunk, len(states), len(trunks))])
            ways.append(self._engine.logits(at, fork.tokens).log_softmax(-1).view(now.count, count, -1))
        return torch.stack([sum_ways(ways, turns) for turns in self.trie.turns], dim=-1)

    def _read_targets(self, rows: Sequence[_Row], index: Sequence[int], now: Variants) -> torch.Tensor:
        """Sums the targets' tokens' log-probabilities. Shape: [K, B, 1]."""
        assert self.targets is not None
        sums = []
        for row, states in zip(rows, self._hidden(rows, now), strict=True):
            target = torch.tensor(self.targets[index[row.at]], device=states.device)
            sums.append(self._engine.logits(states).log_softmax(-1).gather(-1, target[:, None]).sum())
        return torch.stack(sums).view(now.count, len(index), 1)


HARD_ROOM = 64
"""Positions that an open hard slot is taken to need when texts are cut to the model's context."""


@dataclass(frozen=True, eq=False)
class _Row:
    """One row of a pass: what it looks back on, its new codes, how many of them come before the answer, and whose it is."""

    head: Head
    codes: Ids
    read: int
    variant: int
    at: int


def _batches(rows: Sequence[_Row]) -> list[list[int]]:
    """Positions of rows of near length, together at most TOKENS new positions with their padding."""
    order = sorted(range(len(rows)), key=lambda at: (len(rows[at].codes), sum(run.length for run in rows[at].head)))
    batches: list[list[int]] = [[]]
    for at in order:
        if batches[-1] and (len(batches[-1]) + 1) * len(rows[at].codes) > TOKENS:
            batches.append([])
        batches[-1].append(at)
    return batches


def sum_ways(ways: Sequence[torch.Tensor], turns: Sequence[tuple[int, int]]) -> torch.Tensor:
    """The log-probability of one answer: the sum over the forks on its way."""
    parts = [ways[fork][..., token] for fork, token in turns]
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
