"""The rounds of a word search: new candidates race against the living ones; then the leader reads on for its label words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pegbox.data.check import count
from pegbox.prompt import Prompt, notation
from pegbox.tune.gate import Gate
from pegbox.tune.hunt import Judge
from pegbox.tune.memo import Memo
from pegbox.tune.racing import Rule
from pegbox.tune.wordings import Wording

_FIRST = ("examples", "template", "examples", "edit", "examples", "template")
"""Kinds of the first round's steps; later ones are drawn by what each kind has brought."""
_TRIES = 20  # attempts at a wording that was not seen before


@dataclass(frozen=True)
class Plan:
    """The part of a search's settings that its rounds need; see `pegbox.tune.search.Search`."""

    population: int
    children: int
    explore: float
    level: float
    patience: int


@dataclass
class Tally:
    """How often a kind of step was taken, and how often it led into the population."""

    tries: int = 0
    wins: int = 0

    @property
    def weight(self) -> float:
        return (1 + self.wins) / (2 + self.tries)


@dataclass
class Rounds:
    """One search.

    Settings:
        judge: knows the candidates.
        gate: what the end of the search will cost is kept back for it.
        living: the wordings that live, best first.
        why: how it ended.
    """

    judge: Judge
    plan: Plan
    gate: Gate
    memo: Memo
    seed: int
    living: list[Wording] = field(default_factory=list)
    why: str = ""
    _number: int = 0
    _waited: int = 0
    _seen: set[str] = field(default_factory=set)
    _tallies: dict[str, Tally] = field(default_factory=dict)

    def run(self) -> Prompt:
        """The winning prompt, with its label words."""
        start = self.judge.space.start
        self.living = [start]
        self._seen = {self.judge.prompt(start).digest()}
        self._tallies = {kind: Tally() for kind in [*self.judge.space.steps(), "cross"]}
        while not self.why:
            if self._exploring:
                self._round()
            elif not self._read(self.living[0], self.judge.blocks_read(self.living[0])):
                self.why = "the budget is spent"
        leader = self.living[0]
        self._tell(leader, self.judge.blocks_read(leader), kept=True)
        self.memo.trail.write("note", text=f"the search ended after {count(self._number, 'round')}: {self.why}")
        return self.judge.finished(leader, self.judge.blocks_read(leader))

    @property
    def _exploring(self) -> bool:
        done = self.judge.blocks_read(self.living[0]) == self.judge.reader.blocks
        left = self.memo.meter.tokens_left or 0
        allowance = self.memo.meter.tokens + left - self.reserve
        return done or self.memo.meter.tokens < self.plan.explore * allowance

    @property
    def reserve(self) -> float:
        """Tokens that the gate will take."""
        block = self.judge.reader.block
        leader, start = (self.judge.cost(wording) for wording in (self.living[0], self.judge.space.start))
        return len(self.gate.rows) * (leader + start) / block

    def _read(self, wording: Wording, block: int) -> bool:
        """Reads a block of a wording, if the budget allows."""
        if block < self.judge.blocks_read(wording):
            return True
        if not self.memo.meter.allows(self.judge.cost(wording) + self.reserve):
            return False
        self.judge.read(wording, block)
        return True

    # --- a round ----------------------------------------------------------------------------------------------------

    def _round(self) -> None:
        """New candidates and the living ones race; the best live on."""
        rng = np.random.default_rng([self.seed, 2, self._number])
        children = self._children(rng)
        if not children:
            self.why = "there is nothing left to try"
            return
        self._number += 1
        leader = self.living[0]
        depth = min(self.judge.reader.blocks, 1 + self._number)
        racers, blocks, spent = self._race([*self.living, *children], depth)
        ranked = sorted(racers, key=lambda wording: self.judge.outcome(wording, blocks).loss)
        self.living = ranked[: self.plan.population]
        for wording in racers:
            self._tell(wording, blocks, kept=wording in self.living)
        for child, kind in children.items():
            self._tallies[kind].tries += 1
            self._tallies[kind].wins += child in self.living
        self._waited = 0 if self.living[0] != leader else self._waited + 1
        if spent:
            self.why = "the budget is spent"
        elif self._waited >= self.plan.patience:
            self.why = f"{count(self._waited, 'round')} brought no better leader"

    def _race(self, racers: Sequence[Wording], depth: int) -> tuple[list[Wording], int, bool]:
        """Those not beaten, the blocks that they all have read, and whether the budget ended the race."""
        rule = Rule(self.plan.level, depth)
        alive = list(racers)
        for block in range(depth):
            for wording in alive:
                if not self._read(wording, block):
                    enough = max(1, block)
                    return [w for w in alive if self.judge.blocks_read(w) >= enough], enough, True
            losers = rule.losers({w: self._priced(w, block + 1) for w in alive})
            for wording in losers:
                self._tell(wording, block + 1, kept=False)
            alive = [wording for wording in alive if wording not in losers]
        return alive, depth, False

    def _priced(self, wording: Wording, blocks: int) -> NDArray[np.float64]:
        outcome = self.judge.outcome(wording, blocks)
        return outcome.losses + outcome.price

    def _children(self, rng: np.random.Generator) -> dict[Wording, str]:
        """New wordings, and the kind of step that led to each."""
        steps = self.judge.space.steps()
        wanted = [kind for kind in _FIRST if kind in steps] if not self._number else []
        children: dict[Wording, str] = {}
        for _ in range(_TRIES * self.plan.children):
            if len(children) == self.plan.children or not steps:
                break
            kind = wanted[len(children)] if len(children) < len(wanted) else self._drawn_kind(rng)
            one, other = (self.living[int(at)] for at in rng.integers(len(self.living), size=2))
            child = self.judge.space.cross(one, other) if kind == "cross" else steps[kind](one, rng)
            if self._is_new(child):
                children[child] = kind
        return children

    def _drawn_kind(self, rng: np.random.Generator) -> str:
        kinds = [kind for kind in self._tallies if kind != "cross" or len(self.living) > 1]
        weights = np.array([self._tallies[kind].weight for kind in kinds])
        return kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]

    def _is_new(self, wording: Wording) -> bool:
        """Whether this prompt was not seen before and can be read; remembers it."""
        prompt = self.judge.prompt(wording)
        digest = prompt.digest()
        if digest in self._seen:
            return False
        self._seen.add(digest)
        if why := self.judge.reader.fits(prompt):
            self.memo.trail.write("refused", prompt=notation.format(prompt), why=why)
        return not why

    def _tell(self, wording: Wording, blocks: int, kept: bool) -> None:
        outcome = self.judge.outcome(wording, blocks)
        self.memo.trail.write(
            "candidate",
            prompt=notation.format(self.judge.finished(wording, blocks)),
            score=float(outcome.hits.mean()),
            fit=-float(outcome.losses.mean()),
            rows=len(outcome.losses),
            kept=kept,
            tokens=self.memo.meter.tokens,
        )
