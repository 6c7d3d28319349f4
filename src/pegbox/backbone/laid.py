"""A prompt over rows as codes, whatever the family of the model: laid out, its answers spelled, cut to the model's context."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch

from pegbox.backbone.core import Core
from pegbox.backbone.input_made import readings
from pegbox.backbone.layout import Ids, Own, Slot, Speller, cut_to, fill_frame, frame, sizes, slot_ids
from pegbox.backbone.live import Variants, codes, variants
from pegbox.backbone.seam import Answers, Choices, Live, Targets
from pegbox.backbone.trie import AnswerTrie, answer_trie
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.prompt import DeepSlot, InputSlot, Prompt, VectorSlot

PORTION = 128
"""Rows whose keys and values are held at a time when no gradient is asked for."""
HARD_ROOM = 64
"""Positions that an open hard slot is taken to need when texts are cut to the model's context."""


@dataclass(frozen=True)
class Written:
    """No answers to score: the model writes one itself, of at most so many tokens."""

    room: int


class LaidOut:
    """What is alike in all bounds; see `pegbox.backbone.seam.Bound`.

    Settings:
        end_token: the token that follows the answer.
        target_end: the token that ends a target.
        trie: of the choices, where the answer is read token by token.
        targets: each row's target as token ids.
        after: what follows the answer and is read before it is given.
        cut_rows: see `pegbox.backbone.seam.Bound`.
    """

    def __init__(self, prompt: Prompt, rows: Rows, engine: Core, speller: Speller) -> None:
        if not len(rows):
            raise PromptError("no rows to bind", "at least one row", "check the data")
        self.prompt = prompt
        self._engine = engine
        self._source, self._row_numbers = rows.source, rows.numbers
        framed = frame(prompt, speller)
        self.end_token, self._rest = framed.end, framed.rest
        self._space = " " if framed.answer_spaced else ""
        self._layouts = fill_frame(framed, rows, speller)
        self._words = slot_ids(framed, prompt, speller)
        self._own_pieces = [at for at, piece in enumerate(framed.pieces) if isinstance(piece, Own)]
        self._places = {piece.name: at for at, piece in enumerate(framed.pieces) if isinstance(piece, Slot)}
        self.numbers = {name: number for number, name in enumerate(prompt.slots)}
        self.trie: AnswerTrie | None = None
        self._over_vocabulary = False
        self.target_end, self._ended = framed.end, False
        self.targets: list[Ids] | None = None
        self.after: Ids = ()
        self.cut_rows: tuple[int, ...] = ()

    def _read_answers(self, answers: Answers | Written, space: str, speller: Speller) -> int:
        """Sets what is scored; returns how many positions the answers take beyond the first, targets left aside."""
        if isinstance(answers, Written):
            return answers.room
        if isinstance(answers, Choices):
            self.trie = answer_trie(self._spelled(answers, space, speller), self.end_token, answers.words)
            return max(len(path) for path in self.trie.trunks())
        self._read_targets(answers, space, speller)
        return 0

    def _spelled(self, answers: Choices, space: str, speller: Speller) -> list[Ids]:
        if len(answers.words) < 2:
            raise PromptError(f"{len(answers.words)} answers to choose from", "at least two", "give every label a word")
        self._over_vocabulary = answers.over == "vocabulary"
        return speller.plain([space + word for word in answers.words])

    def _read_targets(self, answers: Targets, space: str, speller: Speller) -> None:
        if len(answers.texts) != len(self._layouts):
            raise PromptError(
                f"{len(answers.texts)} targets for {len(self._layouts)} rows", "one for each row", "check the rows"
            )
        self.targets = speller.plain([space + text for text in answers.texts])
        self._ended = answers.ended
        if empty := next((number for number, ids in zip(self._row_numbers, self.targets, strict=True) if not ids), None):
            raise PromptError(f"an empty target for row {empty} of {self._source}", "at least one token", "drop the row")

    @cached_property
    def _slot_lengths(self) -> dict[str, int]:
        """How many positions each slot is taken to need."""
        return {
            name: slot.length if isinstance(slot, VectorSlot) else len(self._words[name]) if name in self._words else HARD_ROOM
            for name, slot in self.prompt.slots.items()
        }

    def _cut(self, context: int, reach: int) -> tuple[int, ...]:
        """Cuts what is too long for the model's context; returns which rows lost something.

        A target may take half of what the prompt's own words leave: a share that does not depend on the fields, so that a text
        is cut alike after every label's word.

        Settings:
            context: positions for the prompt and for the answer beyond its first token.
            reach: what `_read_answers` said.
        """
        cut = self._cut_targets(max(1, (context - self._fixed()) // 2))
        reaches = [reach] * len(self._layouts) if self.targets is None else [len(ids) - 1 for ids in self.targets]
        return tuple(sorted(cut | self._cut_fields([context - reach for reach in reaches])))

    def _fixed(self) -> int:
        """Positions of the prompt without any field."""
        return sum(sizes([p for at, p in enumerate(self._layouts[0]) if at not in self._own_pieces], self._slot_lengths))

    def _cut_targets(self, most: int) -> set[int]:
        """Cuts targets at their ends, and ends the others where that is asked for; returns which rows lost something."""
        targets = self.targets or []
        end = (self.target_end,) if self._ended else ()
        self.targets = [ids[:most] if len(ids) > most else ids + end for ids in targets] if targets else self.targets
        return {at for at, ids in enumerate(targets) if len(ids) > most}

    def _cut_fields(self, limits: Sequence[int]) -> set[int]:
        """Cuts the fields of rows that take more positions than these, never the prompt's own words."""
        cut = set()
        for at, (layout, limit) in enumerate(zip(self._layouts, limits, strict=True)):
            self._layouts[at], was_cut = cut_to(layout, self._own_pieces, limit, self._slot_lengths, self._source)
            if was_cut:
                cut.add(at)
        return cut

    @property
    def target_lengths(self) -> tuple[int, ...]:
        """See `pegbox.backbone.seam.Bound.target_lengths`."""
        return tuple(len(ids) for ids in self.targets or ())

    @property
    def given(self) -> int:
        """Positions of a filled deep slot, which have no codes."""
        return 0

    def values(self, asked: Sequence[int], live: Live | None = None) -> Variants:
        """What stands in the slots for these rows: what is live, and what input slots make of each row."""
        return variants(live or {}, self.prompt, self.numbers, len(asked), self._engine, self._read_rows(asked))

    def _read_rows(self, asked: Sequence[int]) -> torch.Tensor | None:
        if not self._made_from_rows:
            return None
        layouts = (self._layouts[row] for row in asked)
        texts = [sum((cast(Ids, layout[at]) for at in self._own_pieces), ()) for layout in layouts]
        return readings(texts, self._engine)

    @cached_property
    def _made_from_rows(self) -> bool:
        return any(isinstance(slot, InputSlot) for slot in self.prompt.slots.values())

    def contexts(self, index: Sequence[int]) -> list[Ids]:
        """Each row's codes up to the answer, all slots filled."""
        return [self._flat(self._layouts[row]) for row in index]

    def _checked(self, index: Iterable[int]) -> list[int]:
        asked = [operator.index(at) for at in index]
        if not asked:
            raise PromptError("no rows to score", "at least one row", "check the index")
        if wrong := [at for at in asked if not 0 <= at < len(self._layouts)]:
            raise PromptError(
                f"row {wrong[0]} of {len(self._layouts)} bound rows", f"0 to {len(self._layouts) - 1}", "check the index"
            )
        return asked

    def _check_room(self, taken: int, row: int) -> None:
        """Raises PromptError where live words leave a row with more positions than the model can read."""
        if taken > self._engine.context:
            raise PromptError(
                f"row {self._row_numbers[row]} of {self._source} takes {taken} positions",
                f"at most {self._engine.context}, the model's context ({HARD_ROOM} are left for an open hard slot's words)",
                "use fewer words in the slots, or shorten the texts",
            )

    def _flat(self, pieces: Sequence[Ids | Slot], now: Variants | None = None, variant: int = 0) -> Ids:
        """Pieces as codes: token ids, and negative numbers for the positions of vectors."""
        found: list[int] = []
        for piece in pieces:
            found.extend(self._slot(piece.name, now, variant) if isinstance(piece, Slot) else piece)
        return tuple(found)

    def _slot(self, name: str, now: Variants | None, variant: int) -> Iterable[int]:
        """What stands in a slot: what is live there, else what it is filled with."""
        if now is not None and name in now.words:
            return now.words[name][variant]
        slot = self.prompt.slots[name]
        if now is not None and name in now.vectors:
            length = now.vectors[name].shape[2]
        elif name in self._words:
            return self._words[name]
        elif isinstance(slot, VectorSlot) and (slot.vectors is not None or (now is not None and name in now.deep)):
            length = 0 if isinstance(slot, DeepSlot) else slot.length  # a deep slot's positions are kept already
        else:
            raise PromptError(f"slot {name!r} is open", "every slot filled or live", f"tune the prompt, or fill {name!r} first")
        return codes(self.numbers[name], length)

    def _in_portions(self, order: list[int], read: Callable[[list[int]], torch.Tensor]) -> torch.Tensor:
        """What some rows at a time give, so that memory does not grow with their number, put back in order.

        Settings:
            order: the rows' positions, near lengths together.

        Shape: read gives [K, rows, C]; result [K, B, C].
        """
        with torch.no_grad():
            found = torch.cat([read(order[at : at + PORTION]) for at in range(0, len(order), PORTION)], dim=1)
            return found[:, torch.tensor(order, device=found.device).argsort()]

    def _trunks(self) -> tuple[Ids, ...]:
        """What is run after each row, so that every place is passed where the choices part."""
        return self._known_trie().trunks()

    def _known_trie(self) -> AnswerTrie:
        if self.trie is None:
            raise PromptError("no answers to score", "choices or targets", "bind the prompt with answers")
        return self.trie

    def _choose(self, states: Sequence[torch.Tensor]) -> torch.Tensor:
        """Log-probabilities of the choices. Shape: for each row and trunk [T, H]; result [rows, C]."""
        each = len(self._trunks())
        return self._known_trie().read(
            lambda trunk, depth: torch.stack([states[n][depth] for n in range(trunk, len(states), each)]), self._shares
        )

    def _shares(self, states: torch.Tensor, tokens: tuple[int, ...]) -> torch.Tensor:
        if self._over_vocabulary:
            return self._engine.logits(states).log_softmax(-1)[:, list(tokens)]
        return self._engine.logits(states, tokens).log_softmax(-1)

    def _check_only(self, only: Sequence[int] | None) -> None:
        """Raises PromptError where one choice for each row is asked for, and what it scores depends on the others."""
        if only is not None and not self._over_vocabulary:
            raise PromptError("one answer for each row", "choices over the vocabulary", "ask for all answers")

    def _one_each(self, found: torch.Tensor, only: Sequence[int] | None) -> torch.Tensor:
        """Of each row the one choice asked for, where all were scored; all without `only`. Shape: [K, B, C]; [K, B, 1 or C]."""
        if only is None:
            return found
        return found.gather(-1, torch.tensor(list(only), device=found.device).expand(len(found), -1)[..., None])

    def _sum_choices(self, only: Sequence[int], hidden: Sequence[torch.Tensor]) -> torch.Tensor:
        """One choice's log-probability for each row, from the states on its own way. Shape: for each row [T, H]; [rows]."""
        chosen = [self._known_trie().choices(one) for one in only]
        states = torch.stack([own[depth] for own, some in zip(hidden, chosen, strict=True) for depth, _ in some])
        tokens = torch.tensor([token for some in chosen for _, token in some], device=states.device)
        logs = self._engine.logits(states).log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
        return torch.stack([part.sum() for part in logs.split([len(some) for some in chosen])])

    def _target_sum(self, row: int, states: torch.Tensor) -> torch.Tensor:
        """The sum of a target's tokens' log-probabilities, from the states that decide them. Shape: [T, H] to []."""
        assert self.targets is not None
        target = torch.tensor(self.targets[row], device=states.device)
        return self._engine.logits(states).log_softmax(-1).gather(-1, target[:, None]).sum()
