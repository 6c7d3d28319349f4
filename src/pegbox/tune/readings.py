"""Readings: what the model says to a prompt over a block of rows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone, Bound, Choices
from pegbox.data.rows import Rows
from pegbox.errors import BackboneError, PromptError
from pegbox.prompt import Prompt
from pegbox.task.classification import Classification
from pegbox.tune.memo import Memo

_BOUND = 16  # prompts that are kept tied to the rows at once
_ANY = Choices(("yes", "no"))  # for prompts of which only the place of the answer is read


@dataclass
class Reader:
    """Reads prompts over blocks of the same rows.

    Settings:
        rows: the rows, in the order of the blocks.
        block: rows in a block; the last one may be shorter.
        tokens: the lexicon's tokens; a reading has their log-probabilities.
        replayed: digests of prompts whose readings come from an interrupted try. What the model keeps of them is lost, so they
            are read once more before they go on, without being counted: a second try must end where the first would have.
    """

    task: Classification
    backbone: Backbone
    rows: Rows
    block: int
    memo: Memo
    tokens: Sequence[int] = ()
    replayed: set[str] = field(default_factory=set)
    _bounds: OrderedDict[str, Bound] = field(default_factory=OrderedDict)
    _known: dict[tuple[str, int], NDArray[np.float64]] = field(default_factory=dict)
    _costs: dict[str, list[int]] = field(default_factory=dict)

    @property
    def blocks(self) -> int:
        return -(-len(self.rows) // self.block)

    def index(self, number: int) -> range:
        """Positions of the rows in a block."""
        return range(number * self.block, min(len(self.rows), (number + 1) * self.block))

    def has_read(self, prompt: Prompt, number: int) -> bool:
        """Whether this block of this prompt is known already."""
        return (prompt.digest(), number) in self._known

    def words(self, prompt: Prompt, number: int) -> NDArray[np.float64]:
        """Log-probabilities of the lexicon's words where the answer begins. Shape: [rows in the block, M]."""

        def read(block: int) -> NDArray[np.floating]:
            return self._tied(prompt).next_words(self.index(block), self.tokens).cpu().numpy()

        return self._asked(prompt, number, read)

    def labels(self, prompt: Prompt, number: int) -> NDArray[np.float64]:
        """Label log-probabilities under the prompt's own words, uncalibrated. Shape: [rows in the block, C]."""

        def scored(block: int) -> NDArray[np.floating]:
            return self._scored(prompt, self.rows.take(self.index(block)))

        return self._asked(prompt, number, scored)

    def vocabulary(self, prompt: Prompt, number: int) -> NDArray[np.floating]:
        """Log-probabilities of all tokens where the answer begins; not kept. Shape: [rows in the block, V]."""
        return self._tied(prompt).next_words(self.index(number)).cpu().numpy()

    def aside(self, prompt: Prompt, fields: Sequence[Mapping[str, str]]) -> NDArray[np.float64]:
        """What the prompt says to other texts: as `words`, or as `labels` without a lexicon. Shape: [texts, M or C]."""
        rows = Rows(tuple(fields), source="content-free texts")

        def read() -> NDArray[np.floating]:
            if not self.tokens:
                return self._scored(prompt, rows)
            return self.backbone.bind(prompt, rows, _ANY).next_words(range(len(rows)), self.tokens).cpu().numpy()

        key = prompt.digest(), -1
        if key not in self._known:
            self._known[key] = self.memo.ask(f"{key[0][:24]} {rows.source}", read)
        return self._known[key]

    def cost(self, prompt: Prompt, otherwise: float = 0.0) -> float:
        """Tokens that a block of this prompt took on average, or `otherwise` before the first."""
        costs = self._costs.get(prompt.digest())
        return sum(costs) / len(costs) if costs else otherwise

    def fits(self, prompt: Prompt) -> str:
        """Why the model cannot read this prompt; empty: it can."""
        try:
            if self.task.channel:
                self.task.bind(prompt, self.backbone, self.rows.take([0]))
            else:
                self._tied(prompt)
        except (PromptError, BackboneError) as error:
            return error.came
        return ""

    def _scored(self, prompt: Prompt, rows: Rows) -> NDArray[np.floating]:
        scores: NDArray[np.floating] = self.task.bind(prompt, self.backbone, rows).log_probabilities()[0]
        return scores

    def _tied(self, prompt: Prompt) -> Bound:
        key = prompt.digest()
        if key not in self._bounds:
            self._bounds[key] = self.backbone.bind(prompt, self.rows, _ANY)
        self._bounds.move_to_end(key)
        while len(self._bounds) > _BOUND:
            self._bounds.popitem(last=False)
        return self._bounds[key]

    def _asked(self, prompt: Prompt, number: int, compute: Callable[[int], NDArray[np.floating]]) -> NDArray[np.float64]:
        digest = prompt.digest()
        key = digest, number
        if key in self._known:
            return self._known[key]
        name = f"{digest[:24]} block {number}"
        if self.memo.knows(name):
            self.replayed.add(digest)
        elif digest in self.replayed:
            self.replayed.discard(digest)
            self.memo.uncounted(lambda: compute(0))
        self._known[key] = self.memo.ask(name, lambda: compute(number))
        self._costs.setdefault(digest, []).append(self.memo.last)
        return self._known[key]
