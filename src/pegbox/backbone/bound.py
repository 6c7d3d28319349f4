"""A prompt, rows and answers tied to a model: what is frozen is computed once, the rest at each call.

Before the first slot that is live in a call, everything is frozen (see `pegbox.backbone.frozen`). What follows, the tail, is
run at each call: with a gradient in one pass, without one in portions of rows, so that memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch

from pegbox.backbone.engine import CHECKPOINTED, Engine, Head
from pegbox.backbone.frozen import Front, Frozen
from pegbox.backbone.laid import PORTION, LaidOut, Written
from pegbox.backbone.layout import Ids, Speller, common_start, nothing_after, sizes
from pegbox.backbone.live import Variants
from pegbox.backbone.passes import TOKENS, Plan, Row, batches, fan, portions
from pegbox.backbone.prefix_store import PrefixStore
from pegbox.backbone.seam import Answers, Live
from pegbox.backbone.stems import stemmed, worth_it
from pegbox.backbone.storage import Block
from pegbox.backbone.trees import groves, read_folded
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.prompt import Prompt

PACKED = 512
"""Most positions in a training step that runs its rows as branches of one sequence: all of them look at each other in vain."""


class HuggingFaceBound(LaidOut):
    """See `pegbox.backbone.seam.Bound`."""

    _engine: Engine

    def __init__(
        self, prompt: Prompt, rows: Rows, answers: Answers | Written, engine: Engine, store: PrefixStore, speller: Speller
    ) -> None:
        super().__init__(prompt, rows, engine, speller)
        self._frozen = Frozen(prompt, self.numbers, engine, store)
        self._fronts: dict[tuple[int, bool], Front] = {}
        self._commons: dict[tuple[object, ...], int] = {}
        self.cut_rows = self._cut(engine.context, self._read_answers(answers, self._space, speller))
        lengths = [sum(sizes(layout, self._slot_lengths)) for layout in self._layouts]
        # rows whose passes are not held for the way back
        self._long = {at for at, length in enumerate(lengths) if length >= CHECKPOINTED}

    def score(self, index: Sequence[int], live: Live | None = None, only: Sequence[int] | None = None) -> torch.Tensor:
        """See `pegbox.backbone.seam.Bound.score`."""
        asked = self._checked(index)
        self._check_only(only)
        if self._made_from_rows and len(asked) > PORTION and not torch.is_grad_enabled():  # each row's vectors are its own
            ends = [(at, at + PORTION) for at in range(0, len(asked), PORTION)]
            some = [self.score(asked[at:end], live, None if only is None else only[at:end]) for at, end in ends]
            return torch.cat(some, dim=1)
        now = self.values(asked, live)
        if torch.is_grad_enabled() and (now.needs_gradient or self._engine.training):
            return self._read(self._plan(asked, now, only), range(len(asked)), now)
        with torch.no_grad():
            plan = self._plan(asked, now, only)
            parts = portions(asked, [len(plan.front.own[row]) for row in asked], list(map(self._kin, asked)), PORTION)
            found = torch.cat([self._read(plan, part, now) for part in parts], dim=1)
            return found[:, torch.tensor([at for part in parts for at in part], device=found.device).argsort()]

    @torch.no_grad()
    def next_words(self, index: Sequence[int], tokens: Sequence[int] | None = None) -> torch.Tensor:
        """See `pegbox.backbone.seam.Bound.next_words`."""
        asked = self._checked(index)
        now = self.values(asked)
        states = self._hidden(self._rows(self._plan(asked, now), range(len(asked)), now), now)
        return self._engine.logits(torch.stack([row[0] for row in states]), tokens).log_softmax(-1)

    def _kin(self, row: int) -> object:
        """What rows share that are best read together, such as the words of a sentence: all fields but the last one."""
        return tuple(self._layouts[row][piece] for piece in self._own_pieces[:-1]) or row

    @property
    def given(self) -> int:
        """See `LaidOut.given`."""
        return sum(run.length for run in (*self._frozen.given, *self._frozen.infix))

    def _plan(self, asked: list[int], now: Variants, only: Sequence[int] | None = None) -> Plan:
        """Where what is live begins, and what all the rows asked about look back on there."""
        whole = len(self._layouts[0])
        first = min((self._places[name] for name in now.names), default=whole)
        if self.prompt.infix is not None:
            first = self._before_infix(first)
        elif any(not run for runs in now.words.values() for run in runs):
            first = 0  # a slot without words could leave no position to read the answer from
        elif first <= min(self._own_pieces, default=0) and now.needs_gradient and self._long.intersection(asked):
            first = 0  # a pass over so long a text is not held for the way back, which nothing kept may stand before
        front = self._front(first, first == whole, bool(now.names))
        at_once = not now.names and only is None and not torch.is_grad_enabled() and self._reads_past_infix
        # rows that share texts are better read in two passes, the first of which reads each text once
        at_once = at_once and bool(front.blocks) and len(set(front.same)) == len(self._layouts)
        plan = Plan(asked, first, first == whole, front, [], [], only, at_once)
        plan.commons.extend(self._branching(plan, now))
        plan.stems.extend(self._stems(plan, now))
        return plan

    def _before_infix(self, first: int) -> int:
        """The place of the deep slot, up to which all is read before what looks back on the slot is.

        Raises: PromptError where a slot is live that stands before it.
        """
        assert self.prompt.infix is not None
        place = self._places[name := self.prompt.infix.name]
        if first < place:
            live = next(slot for slot, at in self._places.items() if at == first)
            raise PromptError(
                f"the slot {live!r} to be learned or tried before the deep slot {name!r}",
                "open slots only after a deep slot that stands after something",
                f"fill {live!r} first, or let the deep slot stand first in the prompt",
            )
        return place

    @cached_property
    def _reads_past_infix(self) -> bool:
        """Whether text, and what looks back on a deep slot behind it, are read in one pass where nothing of it is kept."""
        if self.prompt.infix is None or self.trie is None or len(self._trunks()) > 1:
            return False
        return self._engine.packs

    def _infixes(self, now: Variants) -> tuple[Head, ...]:
        """For each variant the keys and values of a deep slot that does not stand first."""
        if self.prompt.infix is None:
            return ((),) * now.count
        return now.heads or (self._frozen.infix,) * now.count

    def _front(self, first: int, whole: bool, keep: bool) -> Front:
        """What is frozen before piece number `first`; worked out once.

        Settings:
            whole: that is all there is.
            keep: it will be asked for again, with something else behind it.
        """
        if (first, keep) not in self._fronts:
            codes = [self._flat(layout[:first]) for layout in self._layouts]
            shared = common_start(codes)
            if whole:  # nothing is live: leave at least the position that is read
                shared = shared[: min(map(len, codes)) - 1]
            if whole or self.prompt.infix is not None:
                one = len({self._kin(row) for row in range(len(codes))}) == 1
                if one and self._own_pieces:  # a single request keeps the prompt's beginning, not the user's text
                    shared = shared[: len(self._flat(self._layouts[0][: self._own_pieces[0]]))]
            own = tuple(run[len(shared) :] for run in codes)
            self._fronts[first, keep] = Front(shared, own) if whole else self._frozen.front(shared, own, keep)
        return self._fronts[first, keep]

    def _stems(self, plan: Plan, now: Variants) -> list[tuple[Head, int]]:
        """For each variant what all rows look back on, and how much of every tail that includes.

        A slot that stands before all the rows' own texts is the same for every row: it is run once for each variant, and the
        gradient flows back through its keys and values.
        """
        shared = self._frozen.shared(plan.front.shared)
        if self.prompt.infix is None:
            before = now.heads or (shared,) * now.count
        else:  # it comes after what each row has of its own
            before = tuple((*shared, *infix) if not plan.front.blocks else shared for infix in self._infixes(now))
        if plan.commons:
            return [(head, len(common)) for head, common in zip(before, plan.commons, strict=True)]
        if plan.whole or plan.front.blocks or now.per_row or len(plan.asked) == 1:
            return [(head, 0) for head in before]
        commons = [self._common(plan, now, variant) for variant in range(now.count)]
        with_one = [variant for variant, common in enumerate(commons) if common]
        stems: list[tuple[Head, int]] = [(head, 0) for head in before]
        at_once = max(1, TOKENS // max(1, *map(len, commons)))
        for first in range(0, len(with_one), at_once):
            some = with_one[first : first + at_once]
            runs = [commons[variant] for variant in some]
            embeds = now.embeds(runs, some, [0] * len(runs))
            made = self._engine.extend([before[variant] for variant in some], embeds, [len(run) for run in runs])
            for variant, kept in zip(some, made, strict=True):
                stems[variant] = ((*before[variant], kept), kept.length)
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
        skip = len(commons[0])
        ways = [self._ways(plan, at) for at in range(len(plan.asked))]
        size = skip + sum(width - skip + len(way) for width, some in zip(widths.pop(), ways, strict=True) for way in some)
        if size > PACKED or not self._engine.packs:
            return []
        tails = [Row((), self._tail(plan, row, now, 0)[skip:], 0, 0, at) for at, row in enumerate(plan.asked)]
        return [] if groves(tails) else commons  # rows that share more than what all share are folded instead

    def _ways(self, plan: Plan, at: int) -> Sequence[Ids]:
        """What is to be read after a row, its number among those asked about, for what is scored."""
        if self.targets is not None:
            return (self.targets[plan.asked[at]][:-1],)
        if self.trie is None:
            return ((),)
        return self.trie.trunks() if plan.only is None else (self.trie.path(plan.only[at]),)

    def _rows(self, plan: Plan, some: Sequence[int], now: Variants, answered: bool = False, room: int = 0) -> list[Row]:
        """The rows of a pass: for each variant some of those asked about, where `answered` each followed by its ways.

        Settings:
            room: positions that must be left after each.
        """
        kept = not plan.whole and not plan.at_once
        owns = self._frozen.own(plan.front, [plan.asked[at] for at in some]) if kept else [()] * len(some)
        infixes = self._infixes(now) if plan.front.blocks else ((),) * now.count
        rows = []
        for variant, ((head, skip), infix) in enumerate(zip(plan.stems, infixes, strict=True)):
            for at, own in zip(some, owns, strict=True):
                row = plan.asked[at]
                tail = self._tail(plan, row, now, variant)[skip:]
                text = plan.front.own[row] if plan.at_once else ()
                for way in self._ways(plan, at) if answered else ((),):
                    read = len(text) + len(tail)
                    if plan.at_once:
                        rows.append(Row(head, text + tail + way, read, variant, at, infix[0], len(text)))
                    else:
                        rows.append(Row((*head, *own, *infix), tail + way, read, variant, at))
                    self._check_room(rows[-1].past + room + (skip if plan.commons else 0) + len(rows[-1].codes), row)
        return rows

    def _tail(self, plan: Plan, row: int, now: Variants, variant: int) -> Ids:
        found = plan.front.own[row] if plan.whole else self._flat(self._layouts[row][plan.first :], now, variant)
        if self.prompt.infix and not found:
            raise nothing_after(self.prompt.infix)
        return found

    def _hidden(self, rows: Sequence[Row], now: Variants, commons: Sequence[Ids] = ()) -> list[torch.Tensor]:
        """Last hidden states of every row's tail, from where the answer begins. Shape: for each row [T, H]."""
        if commons:
            return self._branches(rows, now, commons)
        if not now.per_row and not rows[0].infix and (together := groves(rows)) and self._engine.packs:
            return read_folded(
                rows, together, lambda codes, variant: now.embeds(codes, variant, [0] * len(codes)), self._engine
            )
        if torch.is_grad_enabled():
            return self._pass(rows, now)
        found: dict[int, torch.Tensor] = {}
        for batch in batches(rows):
            found.update(zip(batch, self._pass([rows[at] for at in batch], now), strict=True))
        return [found[at] for at in range(len(rows))]

    def _pass(self, rows: Sequence[Row], now: Variants) -> list[torch.Tensor]:
        """The same for rows that are run together; what several look back on is held once, where the model allows it."""
        groups = [] if rows[0].infix else fan(rows)
        heads = [rows[group[0]].head for group in groups]
        if groups and not self._engine.fans(heads, max(len(row.codes) for row in rows), len(groups[0])):
            groups = []
        order = [at for group in groups for at in group] or range(len(rows))
        some = [rows[at] for at in order]
        embeds = now.embeds([row.codes for row in some], [row.variant for row in some], [row.at for row in some])
        lengths, skipped = [len(row.codes) for row in some], [row.read - 1 for row in some]
        if (infix := rows[0].infix) is not None:
            before = [row.before for row in some]
            hidden = self._engine.past_infix([row.head for row in some], infix, embeds, lengths, before, skipped)
        elif groups:
            hidden = self._engine.fan(heads, embeds, lengths, len(groups[0]), skipped)
        else:
            hidden = self._engine.hidden([row.head for row in some], embeds, lengths, skipped)
        found = dict(zip(order, hidden, strict=True))
        return [found[at][row.read - 1 : len(row.codes)] for at, row in enumerate(rows)]

    def _branches(self, rows: Sequence[Row], now: Variants, commons: Sequence[Ids]) -> list[torch.Tensor]:
        """The same, with all rows of a variant as branches of one sequence."""
        count = len(rows) // now.count
        of = [rows[at : at + count] for at in range(0, len(rows), count)]  # the rows of each variant
        codes = [sum((row.codes for row in some), common) for some, common in zip(of, commons, strict=True)]
        lengths = [len(row.codes) for row in of[0]]
        embeds = now.embeds(codes, range(now.count), [0] * now.count)
        hidden = self._engine.branches([some[0].head for some in of], embeds, len(commons[0]), lengths)[:, len(commons[0]) :]
        states = [part for variant in hidden for part in variant.split(lengths)]
        return [part[row.read - 1 :] for part, row in zip(states, rows, strict=True)]

    def _read(self, plan: Plan, some: Sequence[int], now: Variants) -> torch.Tensor:
        """Log-probabilities for some of the rows asked about. Shape: [K, rows, C]."""
        if self.targets is not None:
            rows = self._rows(plan, some, now, answered=True)
            states = self._hidden(rows, now, plan.commons)
            sums = [self._target_sum(plan.asked[row.at], found) for row, found in zip(rows, states, strict=True)]
            return torch.stack(sums).view(now.count, -1, 1)
        if plan.only is not None:
            rows = self._rows(plan, some, now, answered=True)
            return self._sum_choices([plan.only[row.at] for row in rows], self._hidden(rows, now, plan.commons)).view(
                now.count, -1, 1
            )
        return self._choose(self._after(plan, some, now, self._trunks())).view(now.count, len(some), -1)

    def _after(self, plan: Plan, some: Sequence[int], now: Variants, trunks: Sequence[Ids]) -> Sequence[torch.Tensor]:
        """Last hidden states from where the answer begins, for each variant, row and trunk."""
        if len(trunks) > 1 and not plan.commons:
            rows = self._rows(plan, some, now, room=max(map(len, trunks)))
            if worth_it(rows, len(trunks)) and (now.per_row or not groves(rows)):  # those are folded, ways and all
                return stemmed(rows, trunks, lambda own: self._kept(own, now), lambda on: self._hidden(on, now))
        return self._hidden(self._rows(plan, some, now, answered=True), now, plan.commons)

    def _kept(self, rows: Sequence[Row], now: Variants) -> tuple[list[torch.Tensor], Block]:
        """Rows' last hidden states, from where the answer begins, and their keys and values."""
        embeds = now.embeds([row.codes for row in rows], [row.variant for row in rows], [row.at for row in rows])
        lengths = [len(row.codes) for row in rows]
        hidden, kept = self._engine.read_on([row.head for row in rows], embeds, lengths, range(len(rows)))
        return [hidden[at, row.read - 1 : len(row.codes)] for at, row in enumerate(rows)], kept
