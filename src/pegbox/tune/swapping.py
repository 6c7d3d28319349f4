"""One run of word swaps: steps on portions of the training rows, and a few looks at the dev rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.prompt import Prompt, Text
from pegbox.task.calibration import CONTENT_FREE
from pegbox.task.classification import Classification
from pegbox.tune.hard_place import swapped_slots
from pegbox.tune.memo import Memo
from pegbox.tune.swap_loss import Loss, live_words
from pegbox.tune.swaps import State, filled, predicted_gains, proposals, usable

_FEWEST = 30  # dev rows, where there are as many
_DEV = 0.25  # share of the budget for looks at them


@dataclass(frozen=True)
class SwapPlan:
    """The part of the settings that a run needs; see `pegbox.tune.tokens.Tokens`."""

    rows: int
    candidates: int
    finalists: int
    top: int
    steps: int | None
    most_steps: int
    looks: int
    patience: int


@dataclass
class Swapping:
    """A prompt whose hard slots' words are swapped.

    Settings:
        written: the prompt as it was given.
        prompt: the same with a slot, if it had none.
        train, dev: rows in the order in which they are used.
        seed: all of the run's chance.
    """

    plan: SwapPlan
    written: Prompt
    prompt: Prompt
    task: Classification
    backbone: Backbone
    train: Rows
    dev: Rows
    prior: torch.Tensor
    memo: Memo
    seed: int
    _portions: dict[int, Loss] = field(default_factory=dict)
    _judge: Loss | None = None
    _steps: int = 0
    _words: tuple[torch.Tensor, NDArray[np.bool_]] | None = None

    def run(self, starts: Sequence[State], overhead: float) -> Prompt:
        """The prompt with the best words that were found.

        Settings:
            starts: what the slots may begin with.
            overhead: share of the time that goes into the model.
        """
        state = self._best_start(starts)
        state = self._step(state, 0)
        self.memo.meter.settle(overhead * self.memo.rate)
        self._decide()
        looks = {round(self._steps * look / self.plan.looks) for look in range(1, self.plan.looks + 1)}
        loss, best = self._look([*starts, *self._no_words()], 0)
        waited = 0
        for step in range(1, self._steps + 1):
            if step in looks:
                found, _ = self._look([state], step)
                waited = 0 if found < loss else waited + 1
                loss, best = min((found, state), (loss, best), key=lambda pair: pair[0])
            if waited >= self.plan.patience:
                text = f"stopped early at step {step} of {self._steps}: the dev loss no longer falls"
                self.memo.trail.write("note", text=text)
                break
            if step < self._steps:
                state = self._step(state, step)
        return self._finished(best)

    def _best_start(self, starts: Sequence[State]) -> State:
        """The start with the lowest loss on the first rows."""
        if len(starts) == 1:
            return starts[0]
        first = self._portion(0)
        losses = self.memo.recall("starts", lambda: first.of(starts, range(first.bound.size)).mean(axis=1).tolist())
        return starts[int(np.argmin(losses))]

    def _no_words(self) -> list[State]:
        """Empty slots, where none were asked for: the prompt as it was written."""
        return [dict.fromkeys(swapped_slots(self.prompt), ())] if self.prompt != self.written else []

    def _finished(self, best: State) -> Prompt:
        found = self.written
        if any(best.values()):
            found = filled(self.prompt, best, self.backbone) or self.prompt  # only a slot's own words may not survive
        else:
            text = "no words in the slot were better on dev than none; the prompt is kept as it was written"
            self.memo.trail.write("note", text=text)
        self.memo.trail.write("best", prompt_digest=found.digest())
        return found

    # --- a step -----------------------------------------------------------------------------------------------------

    def _step(self, state: State, step: int) -> State:
        """One swap, if a good one is found."""
        kept = self.memo.recall(f"step {step}", lambda: self._swap(state, step))
        tokens = self.memo.meter.tokens
        self.memo.trail.write("step", step=step, of=self._steps or None, loss=kept["loss"], tokens=tokens, variant=0)
        return {name: tuple(ids) for name, ids in kept["state"].items()}

    def _swap(self, state: State, step: int) -> dict[str, Any]:
        """The state after a step, and its loss on the step's rows."""
        loss, other = self._portion(step), self._portion(step + 1)
        tried = self._proposals(state, loss, step)
        winner, found = self._raced([state, *tried], loss)
        if winner != state:
            before, after = other.of([state, winner], range(other.bound.size)).mean(axis=1)
            winner = winner if after < before else state
        return {"state": dict(winner), "loss": found}

    def _raced(self, states: Sequence[State], loss: Loss) -> tuple[State, float]:
        """The best of some states, of which the first is in place, and its loss: all on half of the rows, the better on all."""
        half = loss.bound.size // 2
        early = loss.of(states, range(half))
        order = [0, *(1 + np.argsort(early[1:].mean(axis=1), kind="stable")[: self.plan.finalists])]
        late = loss.of([states[at] for at in order], range(half, loss.bound.size))
        means = np.concatenate([early[order], late], axis=1).mean(axis=1)
        best = int(np.argmin(means))
        return states[order[best]], float(means[best])

    def _proposals(self, state: State, loss: Loss, step: int) -> list[State]:
        table, allowed = self._vocabulary()
        vectors = {name: self.backbone.embed(ids)[None].requires_grad_() for name, ids in state.items()}
        mean = loss.losses(range(loss.bound.size), dict(vectors)).mean()
        found = dict(zip(vectors, torch.autograd.grad(mean, list(vectors.values())), strict=True))
        gains = {name: predicted_gains(gradient[0], state[name], table) for name, gradient in found.items()}
        rng = np.random.default_rng([self.seed, 2, step])
        return proposals(self.prompt, state, gains, allowed, self.backbone, self.plan.candidates, self.plan.top, rng)

    def _vocabulary(self) -> tuple[torch.Tensor, NDArray[np.bool_]]:
        if self._words is None:
            self._words = self.backbone.vocabulary()[0], usable(self.backbone)
        return self._words

    def _portion(self, number: int) -> Loss:
        """The loss on a step's rows; they come round again."""
        size = min(self.plan.rows, len(self.train))
        number %= max(1, len(self.train) // size)
        if number not in self._portions:
            self._portions[number] = self._loss(self.train.take(range(number * size, (number + 1) * size)))
        return self._portions[number]

    def _loss(self, rows: Rows) -> Loss:
        basis = None
        if self.task.calibration == "contextual":
            texts = tuple(dict.fromkeys(self.prompt.field_names, text) for text in CONTENT_FREE)
            basis = self.task.bind(self.prompt, self.backbone, Rows(texts, source="content-free texts"))
        return Loss(self.task.bind(self.prompt, self.backbone, rows), basis, self.task.calibration, self.prior)

    # --- dev and plan -----------------------------------------------------------------------------------------------

    def _look(self, states: Sequence[State], step: int) -> tuple[float, State]:
        """The lowest loss of some states on the dev rows, and whose it is."""
        values = self.memo.recall(f"dev {step}", lambda: self._judged(states))
        for variant, (loss, accuracy) in enumerate(values):
            self.memo.trail.write("dev", step=step, loss=loss, accuracy=accuracy, variant=variant, rows=len(self.dev))
        at = min(range(len(states)), key=lambda number: float(values[number][0]))
        return float(values[at][0]), states[at]

    @torch.no_grad()
    def _judged(self, states: Sequence[State]) -> list[tuple[float, float]]:
        """Each state's loss and accuracy on the dev rows."""
        if self._judge is None:
            self._judge = self._loss(self.dev)
        scores = self._judge(range(len(self.dev)), live_words(states)).cpu().numpy()
        gold = self.task.gold(self.dev)
        losses = -scores[:, np.arange(len(gold)), gold].mean(axis=1)
        hits = (scores.argmax(axis=-1) == gold).mean(axis=1)
        return [(float(loss), float(hit)) for loss, hit in zip(losses, hits, strict=True)]

    def _decide(self) -> None:
        """How many steps the budget allows, and how many dev rows a quarter of it pays for; decided once."""
        step = self.memo.last
        kept = self.memo.trail.kept("steps")
        if kept is None:
            left = self.memo.meter.tokens_left or 0
            passes = 4 + (self.plan.candidates + self.plan.finalists) / 2  # of the step's rows: one back, one for each state
            row = step / self.plan.rows * (1 / 4 + (self.plan.looks + 3) / passes)  # a quarter of a step reads texts, about
            dev = int(min(len(self.dev), max(_FEWEST, _DEV * left / row)))
            steps = self.plan.steps or min(self.plan.most_steps, 1 + int(max(0.0, left - dev * row) / max(1, step)))
            kept = {"steps": steps, "dev": dev}
            self.memo.trail.keep("steps", kept)
            self.memo.trail.write("plan", steps=steps, dev_rows=dev, tokens=left)
        self._steps = int(kept["steps"])
        self.dev = self.dev.take(range(min(len(self.dev), int(kept["dev"]))))
        if self._steps < 10:
            text = f"the budget allows only {self._steps} steps; expect little from them"
            self.memo.trail.write("note", text=text)


def first_words(
    prompt: Prompt, written: Prompt, task: Classification, backbone: Backbone, length: int, start: str | None
) -> list[State]:
    """Token ids that the slots may begin with: a filled slot's own, and real words for an open one.

    Settings:
        start: words for an open slot; None: the instruction, or the label words.
    """
    slots = swapped_slots(prompt)
    own = {name: _encoded(name, slot.words, prompt, backbone) for name, slot in slots.items() if slot.words is not None}
    if len(own) == len(slots):
        return [own]
    instruction = " ".join(segment.text for segment in written if isinstance(segment, Text))
    labels = " ".join(words[0] for words in task.words_in(written).values())
    found: list[State] = []
    for text in [instruction, labels] if start is None else [start]:
        tidy = " ".join(text.split())
        state = {name: own.get(name) or _cut(name, tidy, prompt, backbone, length) for name in slots}
        if state not in found:
            found.append(state)
    return found


def _encoded(name: str, words: str, prompt: Prompt, backbone: Backbone) -> tuple[int, ...]:
    ids = backbone.encode((" " if prompt.spaced(name) else "") + words)
    if not ids:
        raise PromptError(f"no words in hard slot {name!r}", "at least one word", "write some, or leave the slot open")
    return ids


def _cut(name: str, text: str, prompt: Prompt, backbone: Backbone, length: int) -> tuple[int, ...]:
    """The text's first tokens, repeated if they are too few; as many as survive being written."""
    ids = (_encoded(name, text, prompt, backbone) * length)[:length]
    while ids and filled(prompt, {name: ids}, backbone) is None:
        ids = ids[:-1]
    if not ids:
        raise PromptError(
            f"the start {text!r} for hard slot {name!r}", "words that can be written and read back", "give others"
        )
    return ids
