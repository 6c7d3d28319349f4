"""What a word search knows of its candidates: what they have read, how good they are, and under which label words."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pegbox.prompt import Answer, HardSlot, Prompt, Text
from pegbox.task.calibration import CONTENT_FREE, fit_calibration
from pegbox.tune.label_words import Sheet, WordChoice, held_out, label_scores
from pegbox.tune.lexicon import Columns, Lexicon, build_lexicon, distinct, telling
from pegbox.tune.memo import packed, unpacked
from pegbox.tune.readings import Reader
from pegbox.tune.wordings import Space, Wording

_SHORT = 20  # tokens added before lengths are compared, so that a tiny start does not make every prompt look long


@dataclass(frozen=True)
class Outcome:
    """How a candidate does on the rows that it has read.

    Settings:
        losses: calibrated log loss of each row, in nats. Shape: [N].
        hits: whether each row's likeliest label is the right one. Shape: [N].
        found: whether this is with label words found from data; otherwise with the labels' own.
        price: what its length costs, in nats.
    """

    losses: NDArray[np.float64]
    hits: NDArray[np.bool_]
    found: bool
    price: float

    @property
    def loss(self) -> float:
        """Mean loss, length included: what candidates are ranked by."""
        return float(self.losses.mean()) + self.price


@dataclass
class Judge:
    """Judges wordings by the blocks of rows that they have read.

    Settings:
        gold: the rows' labels. Shape: [N].
        prior: the labels' shares among the training rows. Shape: [C].
        length_price: nats for each doubling of the prompt's length.
        lexicon: words that may stand for labels; None where none can be looked up.
        first_words: the label words from which a wording's own are sought.
    """

    space: Space
    reader: Reader
    choice: WordChoice
    gold: NDArray[np.int64]
    prior: NDArray[np.float64]
    length_price: float
    lexicon: Lexicon | None = None
    first_words: Columns = ()
    _outcomes: dict[tuple[Wording, int], Outcome] = field(default_factory=dict)
    _prompts: dict[Wording, Prompt] = field(default_factory=dict)

    def learn_words(self, pool: Reader, gold: NDArray[np.int64], share: float, size: int, shortest: int) -> None:
        """Finds out which words might stand for the labels, from the starting wording's readings of the pool.

        Settings:
            gold: the pool rows' labels.
            share: of the budget, at most.
            size, shortest: see `pegbox.tune.lexicon.build_lexicon`.
        """
        prompt = self.space.prompt(self.space.start)
        if pool.memo.knows("lexicon"):
            self.reader.replayed.add(prompt.digest())

        def survey() -> dict[str, Any]:
            lexicon, logs = self._survey(pool, prompt, gold, share, size, shortest)
            return {"words": lexicon.words, "tokens": lexicon.tokens, "own": lexicon.own, "logs": packed(logs)}

        kept = pool.memo.recall("lexicon", survey)
        lexicon = Lexicon(tuple(kept["words"]), tuple(kept["tokens"]), tuple(tuple(some) for some in kept["own"]))
        logs = unpacked(kept["logs"])
        if len(lexicon.tokens) < 2 * len(self.prior):
            pool.memo.trail.write("note", text="no single words were found that could stand for the labels; their own are used")
            return
        self.lexicon, self.reader.tokens = lexicon, lexicon.tokens
        sheet = self._sheet(logs, gold[: len(logs)], prompt)
        scores = telling(logs, sheet.gold, len(self.prior))
        self.first_words = self.choice.find(sheet, lexicon.own or distinct(scores))
        best = (max(some, key=lambda at: scores[label, at]) for label, some in enumerate(self.first_words))
        self.space.found = tuple(lexicon.words[at] for at in best)

    def _survey(
        self, pool: Reader, prompt: Prompt, gold: NDArray[np.int64], share: float, size: int, shortest: int
    ) -> tuple[Lexicon, NDArray[np.float64]]:
        """A lexicon, and the pool's log-probabilities over it."""
        read = []
        for block in range(pool.blocks):
            read.append(pool.vocabulary(prompt, block))
            if pool.memo.meter.used > share:
                break
        logs = np.concatenate(read)
        own = [self.space.words[label] for label in pool.task.labels]
        lexicon = build_lexicon(logs, gold[: len(logs)], own, pool.backbone, self.space.spaced, size, shortest)
        return lexicon, logs[:, list(lexicon.tokens)].astype(np.float64)

    # --- a wording --------------------------------------------------------------------------------------------------

    def prompt(self, wording: Wording) -> Prompt:
        """The wording as a prompt; its label words are left out where they are looked up in a lexicon."""
        if wording not in self._prompts:
            self._prompts[wording] = self.space.prompt(wording)
        bare = self._prompts[wording]
        return bare if self.lexicon is not None else self._with_own_words(bare)

    @property
    def start(self) -> Prompt:
        """The starting prompt as it was written, its open hard slots filled."""
        return self._with_own_words(self.space.prompt(self.space.start))

    def _with_own_words(self, prompt: Prompt) -> Prompt:
        return prompt.map(lambda segment: self.space.answer if isinstance(segment, Answer) else segment)

    def length(self, wording: Wording) -> int:
        """Tokens of the prompt's own words."""
        texts = [
            s.text if isinstance(s, Text) else s.words or "" for s in self.prompt(wording) if isinstance(s, Text | HardSlot)
        ]
        return sum(len(self.reader.backbone.encode(text)) for text in texts if text)

    def read(self, wording: Wording, block: int) -> None:
        """Reads one block, unless it is known."""
        (self.reader.labels if self.lexicon is None else self.reader.words)(self.prompt(wording), block)

    def blocks_read(self, wording: Wording) -> int:
        """Blocks known, from the first on."""
        prompt, all_ = self.prompt(wording), self.reader.blocks
        return next((number for number in range(all_) if not self.reader.has_read(prompt, number)), all_)

    def cost(self, wording: Wording) -> float:
        """Tokens that the next block of this wording will take, about."""
        more = max(0, self.length(wording) - self.length(self.space.start))
        return self.reader.cost(self.prompt(wording), self.reader.cost(self.prompt(self.space.start)) + more)

    def outcome(self, wording: Wording, blocks: int) -> Outcome:
        """How the wording does on the first `blocks` blocks, under the better of its own and of found label words."""
        key = wording, blocks
        if key not in self._outcomes:
            ratio = (self.length(wording) + _SHORT) / (self.length(self.space.start) + _SHORT)
            price = self.length_price * max(0.0, math.log2(ratio))
            ways = [self._outcome(scores, found, price) for scores, found in self._ways(wording, blocks)]
            self._outcomes[key] = min(ways, key=lambda outcome: outcome.loss)
        return self._outcomes[key]

    def finished(self, wording: Wording, blocks: int) -> Prompt:
        """The wording as a prompt with its label words, those found on everything that it has read."""
        prompt = self.prompt(wording)
        if self.lexicon is None or not self.outcome(wording, blocks).found:
            return self._with_own_words(prompt)
        sheet = self._read_sheet(wording, blocks)
        columns = self.choice.find(sheet, self.first_words)
        scores = telling(sheet.logs, sheet.gold, len(self.prior))
        ordered = tuple(tuple(sorted(some, key=lambda at: -scores[label, at])) for label, some in enumerate(columns))
        return prompt.with_words(self.lexicon.written(ordered, self.reader.task.labels))

    def _ways(self, wording: Wording, blocks: int) -> list[tuple[NDArray[np.float64], bool]]:
        """Calibrated label log-probabilities, and whether they are those of found words: for each way there is."""
        if self.lexicon is None:
            logs = np.concatenate([self.reader.labels(self.prompt(wording), block) for block in range(blocks)])
            method = self.reader.task.calibration
            basis = self._basis(self.prompt(wording)) if method == "contextual" else logs
            return [(fit_calibration(method, basis, list(self.prior)).apply(logs), False)]
        sheet, own = self._read_sheet(wording, blocks), self.lexicon.own
        ways = [(held_out(sheet, self.choice, self.first_words), True)]
        if own:
            ways.append((sheet.calibration(own).apply(label_scores(sheet.logs, own)), False))
        return ways

    def _outcome(self, scores: NDArray[np.float64], found: bool, price: float) -> Outcome:
        gold = self.gold[: len(scores)]
        return Outcome(-scores[np.arange(len(gold)), gold], scores.argmax(axis=1) == gold, found, price)

    def _read_sheet(self, wording: Wording, blocks: int) -> Sheet:
        prompt = self.prompt(wording)
        logs = np.concatenate([self.reader.words(prompt, block) for block in range(blocks)])
        return self._sheet(logs, self.gold[: len(logs)], prompt)

    def _sheet(self, logs: NDArray[np.float64], gold: NDArray[np.int64], prompt: Prompt) -> Sheet:
        return Sheet(logs, gold, self.prior, self.reader.task.calibration, self._basis(prompt))

    def _basis(self, prompt: Prompt) -> NDArray[np.float64]:
        """For contextual calibration: readings of texts that say nothing. Shape: [texts, M]; without a lexicon [texts, C]."""
        if self.reader.task.calibration != "contextual":
            return np.zeros((0, 0))
        return self.reader.aside(prompt, [dict.fromkeys(prompt.field_names, text) for text in CONTENT_FREE])
