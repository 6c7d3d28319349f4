"""Word search: templates, label words, in-context examples and phrase edits, raced on blocks of training rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.errors import DataError, PromptError, SettingsError
from pegbox.prompt import Prompt
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget, Meter
from pegbox.tune.gate import Gate
from pegbox.tune.hunt import Judge
from pegbox.tune.label_words import WordChoice
from pegbox.tune.memo import Memo
from pegbox.tune.orders import drawn
from pegbox.tune.readings import Reader
from pegbox.tune.rounds import Plan, Rounds
from pegbox.tune.templates import open_soft_slots
from pegbox.tune.trail import Trail
from pegbox.tune.usual_rows import usual_rows
from pegbox.tune.wordings import Space

_SURVEY = 0.08  # share of the budget that the first look at possible label words may take
_GATE = 0.25  # share of the budget that the test on dev may take
_OVERHEAD = 0.75  # few-shot prompts take longer for each token than the first blocks, and words are chosen in between
_POOLED = 3  # rows for each label, on average, without which words telling of it cannot be found


@dataclass(frozen=True)
class Search:
    """Hard prompt search without a writer model.

    Candidates read blocks of training rows in the same order and are compared row by row. One reading of a row serves all
    choices of label words, so these are sought anew for every wording at no cost in tokens, and judged on rows left out of
    their choice. Rounds of new candidates take the first part of the budget; then the leader alone reads on, for better label
    words. At last the winner must beat the starting prompt on dev, or that is kept.

    Candidates are ranked by calibrated log loss, not by accuracy: on 60 question rows its rank correlation with the accuracy on
    other rows was 0.82 over 28 wordings, that of the accuracy itself 0.66.

    Settings:
        population: candidates that live on into the next round.
        children: new candidates in a round.
        block: rows in a block.
        most_blocks: training rows used, in blocks, at most.
        shots: numbers of in-context examples to begin with.
        room: tokens for the texts of the examples together.
        explore: share of the budget for rounds, before the leader reads on.
        level: chance that a race drops its truly best candidate.
        gate: level of the test on dev that the winner must pass.
        dev_rows: rows of that test.
        length_price: nats for each doubling of the prompt's length.
        words: label words for one label, at most. 0: only the labels' own words.
        lexicon: words considered as label words, in all.
        shortest: bytes of the shortest word considered.
        patience: rounds without a better leader before the search ends.

    Source: Zehle et al. 2025, "CAPO" (arXiv 2504.16005): evolution with in-context examples, racing on blocks, a price on
        length. We differ in phrase edits (GrIPS) for a writer model, label words, the loss, the corrected test, and the gate.
    Raises: SettingsError for impossible settings; PromptError for an open soft slot.
    """

    population: int = 3
    children: int = 5
    block: int = 30
    most_blocks: int = 40
    shots: tuple[int, ...] = (2, 4, 8)
    room: int = 512
    explore: float = 0.75
    level: float = 0.1
    gate: float = 0.05
    dev_rows: int = 200
    length_price: float = 0.01
    words: int = 4
    lexicon: int = 512
    shortest: int = 3
    patience: int = 4

    def __post_init__(self) -> None:
        counts = (self.population, self.children, self.block, self.most_blocks, self.room, self.dev_rows, self.patience)
        shares = (self.explore, self.level, self.gate)
        if min(counts) < 1 or min(shares) <= 0 or max(shares) > 1 or any(not 0 < k <= 16 for k in self.shots):
            raise SettingsError(
                f"search settings {self}", "counts from 1, shares in (0, 1], 1 to 16 shots", "correct the setting"
            )

    def tune(
        self,
        prompt: Prompt,
        task: Classification,
        backbone: Backbone,
        train: Rows,
        dev: Rows,
        *,
        budget: Budget,
        rng: np.random.Generator,
        trail: Trail,
    ) -> Prompt:
        """See `pegbox.tune.tuner.Tuner.tune`."""
        if missing := open_soft_slots(prompt):
            raise PromptError(
                f"the open soft slot {missing[0]!r} in a prompt for word search",
                "a prompt of words, or one whose soft slots are filled",
                "search first and add the slot afterwards, as the hybrid method does",
            )
        if len(train) < 2 or not len(dev):
            raise DataError(f"{len(train)} training and {len(dev)} dev rows", "at least 2 and 1", "give more rows")
        seed = int(rng.integers(2**31))
        train = usual_rows(train, prompt.field_names, trail, "training")
        dev = usual_rows(dev, prompt.field_names, trail, "dev")
        memo = Memo(Meter(budget, backbone, trail), trail)
        gate = Gate(task, backbone, dev.take(drawn(dev, seed, 1)[: self.dev_rows]), task.prior(train), self.gate, memo)
        judge = self._judge(prompt, task, backbone, train, memo, seed)
        start = judge.space.start
        judge.read(start, 0)
        memo.meter.settle(_OVERHEAD * memo.rate)
        gate.limit(2 * judge.cost(start) / self.block, _GATE)
        rounds = Rounds(judge, Plan(self.population, self.children, self.explore, self.level, self.patience), gate, memo, seed)
        found = rounds.run()
        if found == judge.start:
            trail.write("note", text="no candidate was better than the starting prompt, which is kept")
        elif not gate.limit(rounds.reserve / len(gate.rows)):
            trail.write("note", text="the budget is too small to prove a gain on dev; the starting prompt is kept")
            found = judge.start
        elif not gate.passes(judge.start, found):
            found = judge.start
        trail.write("best", prompt_digest=found.digest())
        memo.meter.close()
        return found

    def _judge(self, prompt: Prompt, task: Classification, backbone: Backbone, train: Rows, memo: Memo, seed: int) -> Judge:
        """What judges candidates; it knows which words might stand for the labels."""
        order = drawn(train, seed, 0)
        aside = min(4 * self.block, max(1, len(train) // 4))
        pool = train.take(order[:aside])
        rows = train.take(order[aside : aside + self.most_blocks * self.block])
        space = Space(prompt, task, backbone, pool, self.room, self.shots)
        reader = Reader(task, backbone, rows, self.block, memo)
        judge = Judge(space, reader, WordChoice(most=max(1, self.words)), task.gold(rows), task.prior(train), self.length_price)
        if not self.words or task.channel or not task.chooses:
            return judge
        if len(pool) < _POOLED * len(task.labels):
            told = f"{len(pool)} rows are too few to choose words for {len(task.labels)} labels from; their own are used"
            memo.trail.write("note", text=told)
        else:
            judge.learn_words(
                Reader(task, backbone, pool, self.block, memo), task.gold(pool), _SURVEY, self.lexicon, self.shortest
            )
        return judge
