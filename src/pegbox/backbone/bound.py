"""A prompt, rows and answers tied to a model: what is frozen is computed once, the rest at each call.

Before the first slot that is live in a call, everything is frozen (see `pegbox.backbone.frozen`). What follows, the tail, is
run at each call: with a gradient in one pass, without one in portions of rows, so that memory does not grow with their number.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from pegbox.backbone.engine import CHECKPOINTED, Engine, Head
from pegbox.backbone.frozen import Front, Frozen
from pegbox.backbone.layout import Ids, Own, Slot, Speller, common_start, cut_to, fill_frame, frame, sizes, slot_ids
from pegbox.backbone.live import Variants, codes, variants
from pegbox.backbone.passes import TOKENS, Plan, Row, batches, fan
from pegbox.backbone.prefix_store import PrefixStore
from pegbox.backbone.seam import Answers, Choices, Live, Targets
from pegbox.backbone.trie import AnswerTrie, answer_trie
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.prompt import Prompt, SoftSlot

PORTION = 128
"""Rows whose keys and values are held at a time when no gradient is asked for."""
PACKED = 512
"""Most positions in a training step that runs its rows as branches of one sequence: all of them look at each other in vain."""
HARD_ROOM = 64
"""Positions that an open hard slot is taken to need when texts are cut to the model's context."""


@dataclass(frozen=True)
class Written:
    """No answers to score: the model writes one itself, of at most so many tokens."""

    room: int


class HuggingFaceBound:
    """See `pegbox.backbone.seam.Bound`."""

    def __init__(
        self, prompt: Prompt, rows: Rows, answers: Answers | Written, engine: Engine, store: PrefixStore, speller: Speller
    ) -> None:
        if not len(rows):
            raise PromptError("no rows to bind", "at least one row", "check the data")
        self.prompt = prompt
        self._engine = engine
        self._source, self._row_numbers = rows.source, rows.numbers
        framed = frame(prompt, speller)
        self.end_token = framed.end
        self._layouts = fill_frame(framed, rows, speller)
        self._words = slot_ids(framed, prompt, speller)
        self._own_pieces = [at for at, piece in enumerate(framed.pieces) if isinstance(piece, Own)]
        self._places = {piece.name: at for at, piece in enumerate(framed.pieces) if isinstance(piece, Slot)}
        self.numbers = {name: number for number, name in enumerate(prompt.slots)}
        self._frozen = Frozen(prompt, self.numbers, engine, store)
        self._fronts: dict[int, Front] = {}
        self._commons: dict[tuple[object, ...], int] = {}
        self.trie: AnswerTrie | None = None
        self._over_vocabulary = isinstance(answers, Choices) and answers.over == "vocabulary"
        self.targets: list[Ids] | None = None
        reach = self._read_answers(answers, " " if framed.answer_spaced else "", speller)
        self._long: set[int] = set()  # rows whose passes are not held for the way back
        self.cut_rows = self._cut(reach)

    def _read_answers(self, answers: Answers | Written, space: str, speller: Speller) -> int:
        """Sets what is scored; returns how many positions the answers take beyond the first, targets left aside."""
        if isinstance(answers, Written):
            return answers.room
        if isinstance(answers, Choices):
            if len(answers.words) < 2:
                raise PromptError(f"{len(answers.words)} answers to choose from", "at least two", "give every label a word")
            self.trie = answer_trie(speller.plain([space + word for word in answers.words]), self.end_token, answers.words)
            return max(len(path) for path in self.trie.trunks())
        self._read_targets(answers, space, speller)
        return 0

    def _read_targets(self, answers: Targets, space: str, speller: Speller) -> None:
        if len(answers.texts) != len(self._layouts):
            raise PromptError(
                f"{len(answers.texts)} targets for {len(self._layouts)} rows", "one for each row", "check the rows"
            )
        self.targets = speller.plain([space + text for text in answers.texts])
        self._ended = answers.ended
        if empty := next((number for number, ids in zip(self._row_numbers, self.targets, strict=True) if not ids), None):
            raise PromptError(f"an empty target for row {empty} of {self._source}", "at least one token", "drop the row")

    def _cut(self, reach: int) -> tuple[int, ...]:
        """Cuts what is too long for the model's context; returns which rows lost something.

        Fields are cut, never the prompt's own words. A target may take half of what these leave: a share that does not depend
        on the fields, so that a text is cut alike after every label's word.
        """
        lengths = {
            name: slot.length if isinstance(slot, SoftSlot) else len(self._words[name]) if name in self._words else HARD_ROOM
            for name, slot in self.prompt.slots.items()
        }
        cut = set()
        if self.targets is not None:
            fixed = [piece for at, piece in enumerate(self._layouts[0]) if at not in self._own_pieces]
            left = self._engine.context - sum(sizes(fixed, lengths))
            most = max(1, left // 2)
            cut = {at for at, ids in enumerate(self.targets) if len(ids) > most}
            last = (self.end_token,) if self._ended else ()
            self.targets = [ids[:most] if at in cut else ids + last for at, ids in enumerate(self.targets)]
        for at, layout in enumerate(self._layouts):
            limit = self._engine.context - (reach if self.targets is None else len(self.targets[at]) - 1)
            self._layouts[at], was_cut = cut_to(layout, self._own_pieces, limit, lengths, self._source)
            if was_cut:
                cut.add(at)
            if sum(sizes(self._layouts[at], lengths)) >= CHECKPOINTED:
                self._long.add(at)
        return tuple(sorted(cut))

    @property
    def target_lengths(self) -> tuple[int, ...]:
        """See `pegbox.backbone.seam.Bound.target_lengths`."""
        return tuple(len(ids) for ids in self.targets or ())

    def score(self, index: Sequence[int], live: Live | None = None) -> torch.Tensor:
        """See `pegbox.backbone.seam.Bound.score`."""
        asked = self._checked(index)
        now = variants(live or {}, self.prompt, self.numbers, len(asked), self._engine)
        if torch.is_grad_enabled() and (now.needs_gradient or self._engine.training):
            return self._read(self._plan(asked, now), range(len(asked)), now)
        with torch.no_grad():
            plan = self._plan(asked, now)
            order = sorted(range(len(asked)), key=lambda at: (len(plan.front.own[asked[at]]), asked[at]))
            portions = [order[at : at + PORTION] for at in range(0, len(order), PORTION)]
            found = torch.cat([self._read(plan, portion, now) for portion in portions], dim=1)
            return found[:, torch.tensor(order, device=found.device).argsort()]

    @torch.no_grad()
    def next_words(self, index: Sequence[int], tokens: Sequence[int] | None = None) -> torch.Tensor:
        """See `pegbox.backbone.seam.Bound.next_words`."""
        asked = self._checked(index)
        now = variants({}, self.prompt, self.numbers, len(asked), self._engine)
        states = self._hidden(self._rows(self._plan(asked, now), range(len(asked)), now, ((),)), now)
        return self._engine.logits(torch.stack([row[0] for row in states]), tokens).log_softmax(-1)

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

    def _plan(self, asked: list[int], now: Variants) -> Plan:
        """Where what is live begins, and what all the rows asked about look back on there."""
        whole = len(self._layouts[0])
        first = min((self._places[name] for name in now.names), default=whole)
        if any(not run for runs in now.words.values() for run in runs):
            first = 0  # a slot without words could leave no position to read the answer from
        if first <= min(self._own_pieces, default=0) and now.needs_gradient and self._long.intersection(asked):
            first = 0  # a pass over so long a text is not held for the way back, which nothing kept may stand before
        plan = Plan(asked, first, first == whole, self._front(first, first == whole), [], [])
        plan.commons.extend(self._branching(plan, now))
        plan.stems.extend(self._stems(plan, now))
        return plan

    def _front(self, first: int, whole: bool) -> Front:
        """What is frozen before piece number `first`; worked out once."""
        if first not in self._fronts:
            codes = [self._flat(layout[:first]) for layout in self._layouts]
            shared = common_start(codes)
            if whole:  # nothing is live: leave at least the position that is read
                shared = shared[: min(map(len, codes)) - 1]
                if len(codes) == 1 and self._own_pieces:  # a single request keeps the prompt's beginning, not the user's text
                    shared = shared[: len(self._flat(self._layouts[0][: self._own_pieces[0]]))]
            own = tuple(run[len(shared) :] for run in codes)
            self._fronts[first] = Front(shared, own) if whole else self._frozen.front(shared, own)
        return self._fronts[first]

    def _stems(self, plan: Plan, now: Variants) -> list[tuple[Head, int]]:
        """For each variant what all rows look back on, and how much of every tail that includes.

        A slot that stands before all the rows' own texts is the same for every row: it is run once for each variant, and the
        gradient flows back through its keys and values.
        """
        shared = self._frozen.shared(plan.front.shared)
        if plan.commons:
            return [(shared, len(common)) for common in plan.commons]
        if plan.whole or plan.front.blocks or now.per_row or len(plan.asked) == 1:
            return [(shared, 0)] * now.count
        commons = [self._common(plan, now, variant) for variant in range(now.count)]
        with_one = [variant for variant, common in enumerate(commons) if common]
        stems: list[tuple[Head, int]] = [(shared, 0)] * now.count
        at_once = max(1, TOKENS // max(1, *map(len, commons)))
        for first in range(0, len(with_one), at_once):
            some = with_one[first : first + at_once]
            runs = [commons[variant] for variant in some]
            embeds = now.embeds(runs, some, [0] * len(runs))
            made = self._engine.extend([shared] * len(runs), embeds, [len(run) for run in runs])
            for variant, kept in zip(some, made, strict=True):
                stems[variant] = ((*shared, kept), kept.length)
        return stems

    def _common(self, plan: Plan, now: Variants, variant: int) -> Ids:
        """The codes that begin the tails of all bound rows, short of the last one.

        How many there are depends on how long the words in the slots before the first field are, not on which; behind it, on
        which they are too, where one row's text is the beginning of another's.
        """
        field = min(self._own_pieces, default=0)
        words = {name: now.words[name][variant] for name in sorted(now.words)}
        key = (plan.first, *(run if self._places[name] > field else len(run) for name, run in words.items()))
        if key not in self._commons:
            tails = [self._tail(plan, row, now, variant) for row in range(len(self._layouts))]
            self._commons[key] = len(common_start(tails)[: min(map(len, tails)) - 1])
        return self._tail(plan, 0, now, variant)[: self._commons[key]]

    def _branching(self, plan: Plan, now: Variants) -> list[Ids]:
        """What each variant's rows have in common, where a gradient is asked for and they are few and short enough to be run as
        branches of one sequence; else nothing."""
        if not (torch.is_grad_enabled() and now.needs_gradient) or now.per_row or plan.whole or plan.front.blocks:
            return []
        commons = [self._common(plan, now, variant) for variant in range(now.count)]
        widths = {tuple(len(self._tail(plan, row, now, variant)) for row in plan.asked) for variant in range(now.count)}
        if len(widths) > 1 or len({len(common) for common in commons}) > 1:
            return []
        trunks, skip = (((),) if self.trie is None else self.trie.trunks()), len(commons[0])
        own = sum(len(self.targets[row]) - 1 for row in plan.asked) if self.targets else len(plan.asked) * sum(map(len, trunks))
        size = skip + own + len(trunks) * sum(width - skip for width in widths.pop())
        return commons if size <= PACKED and self._engine.packs else []

    def _rows(self, plan: Plan, some: Sequence[int], now: Variants, trunks: Sequence[Ids]) -> list[Row]:
        """The rows of a pass: for each variant some of those asked about, each followed by the answers' trunks."""
        owns = [()] * len(some) if plan.whole else self._frozen.own(plan.front, [plan.asked[at] for at in some])
        rows = []
        for variant, (head, skip) in enumerate(plan.stems):
            for at, own in zip(some, owns, strict=True):
                row = plan.asked[at]
                tail = self._tail(plan, row, now, variant)[skip:]
                for trunk in trunks:
                    path = self.targets[row][:-1] if self.targets else trunk
                    rows.append(Row((*head, *own), tail + path, len(tail), variant, at))
                    self._check_room(rows[-1], row, skip if plan.commons else 0)
        return rows

    def _check_room(self, made: Row, row: int, common: int) -> None:
        taken = made.past + common + len(made.codes)
        if taken > self._engine.context:
            raise PromptError(
                f"row {self._row_numbers[row]} of {self._source} takes {taken} positions",
                f"at most {self._engine.context}, the model's context ({HARD_ROOM} are left for an open hard slot's words)",
                "use fewer words in the slots, or shorten the texts",
            )

    def _tail(self, plan: Plan, row: int, now: Variants, variant: int) -> Ids:
        return plan.front.own[row] if plan.whole else self._flat(self._layouts[row][plan.first :], now, variant)

    def _flat(self, pieces: Sequence[Ids | Slot], now: Variants | None = None, variant: int = 0) -> Ids:
        """Pieces as codes: token ids, and negative numbers for the positions of vectors."""
        codes: list[int] = []
        for piece in pieces:
            codes.extend(self._slot(piece.name, now, variant) if isinstance(piece, Slot) else piece)
        return tuple(codes)

    def _slot(self, name: str, now: Variants | None, variant: int) -> Iterable[int]:
        """What stands in a slot: what is live there, else what it is filled with."""
        if now is not None and name in now.words:
            return now.words[name][variant]
        slot = self.prompt.slots[name]
        if now is not None and name in now.vectors:
            length = now.vectors[name].shape[2]
        elif name in self._words:
            return self._words[name]
        elif isinstance(slot, SoftSlot) and slot.vectors is not None:
            length = slot.length
        else:
            raise PromptError(f"slot {name!r} is open", "every slot filled or live", f"tune the prompt, or fill {name!r} first")
        return codes(self.numbers[name], length)

    def _hidden(self, rows: Sequence[Row], now: Variants, commons: Sequence[Ids] = ()) -> list[torch.Tensor]:
        """Last hidden states of every row's tail, from where the answer begins. Shape: for each row [T, H]."""
        if commons:
            return self._branches(rows, now, commons)
        if torch.is_grad_enabled():
            return self._pass(rows, now)
        found: dict[int, torch.Tensor] = {}
        for batch in batches(rows):
            found.update(zip(batch, self._pass([rows[at] for at in batch], now), strict=True))
        return [found[at] for at in range(len(rows))]

    def _pass(self, rows: Sequence[Row], now: Variants) -> list[torch.Tensor]:
        """The same for rows that are run together; what several look back on is held once, where the model allows it."""
        groups = fan(rows)
        heads = [rows[group[0]].head for group in groups]
        if groups and not self._engine.fans(heads, max(len(row.codes) for row in rows), len(groups[0])):
            groups = []
        order = [at for group in groups for at in group] or range(len(rows))
        some = [rows[at] for at in order]
        embeds = now.embeds([row.codes for row in some], [row.variant for row in some], [row.at for row in some])
        lengths = [len(row.codes) for row in some]
        if groups:
            hidden = self._engine.fan(heads, embeds, lengths, len(groups[0]))
        else:
            hidden = self._engine.hidden([row.head for row in some], embeds, lengths)
        found = dict(zip(order, hidden, strict=True))
        return [found[at][row.read - 1 : len(row.codes)] for at, row in enumerate(rows)]

    def _branches(self, rows: Sequence[Row], now: Variants, commons: Sequence[Ids]) -> list[torch.Tensor]:
        """The same, with all rows of a variant as branches of one sequence."""
        count = len(rows) // now.count
        of = [rows[at : at + count] for at in range(0, len(rows), count)]  # the rows of each variant
        codes = [sum((row.codes for row in some), common) for some, common in zip(of, commons, strict=True)]
        lengths = [len(row.codes) for row in of[0]]
        embeds = now.embeds(codes, range(now.count), [0] * now.count)
        hidden = self._engine.branches(rows[0].head, embeds, len(commons[0]), lengths)[:, len(commons[0]) :]
        states = [part for variant in hidden for part in variant.split(lengths)]
        return [part[row.read - 1 :] for part, row in zip(states, rows, strict=True)]

    def _read(self, plan: Plan, some: Sequence[int], now: Variants) -> torch.Tensor:
        """Log-probabilities for some of the rows asked about. Shape: [K, rows, C]."""
        if self.targets is not None:
            return self._sum_targets(self._rows(plan, some, now, ((),)), plan, now)
        if self.trie is None:
            raise PromptError("no answers to score", "choices or targets", "bind the prompt with answers")
        trunks = self.trie.trunks()
        states = self._hidden(self._rows(plan, some, now, trunks), now, plan.commons)
        found = self.trie.read(
            lambda trunk, depth: torch.stack([states[n][depth] for n in range(trunk, len(states), len(trunks))]), self._shares
        )
        return found.view(now.count, len(some), -1)

    def _shares(self, states: torch.Tensor, tokens: tuple[int, ...]) -> torch.Tensor:
        if self._over_vocabulary:
            return self._engine.logits(states).log_softmax(-1)[:, list(tokens)]
        return self._engine.logits(states, tokens).log_softmax(-1)

    def _sum_targets(self, rows: Sequence[Row], plan: Plan, now: Variants) -> torch.Tensor:
        """Sums the targets' tokens' log-probabilities. Shape: [K, rows, 1]."""
        assert self.targets is not None
        sums = []
        for row, states in zip(rows, self._hidden(rows, now, plan.commons), strict=True):
            target = torch.tensor(self.targets[plan.asked[row.at]], device=states.device)
            sums.append(self._engine.logits(states).log_softmax(-1).gather(-1, target[:, None]).sum())
        return torch.stack(sums).view(now.count, -1, 1)
