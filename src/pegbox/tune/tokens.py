"""Gradient-guided word swaps: the words of a hard slot, changed one at a time to lower the task's loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.errors import DataError, PromptError, SettingsError
from pegbox.prompt import Field, HardSlot, Prompt, Segment, SoftSlot, Text, Turn
from pegbox.task.calibration import CONTENT_FREE, Method
from pegbox.task.classification import BoundClassification, Classification
from pegbox.tune.budget import Budget, Meter
from pegbox.tune.swaps import State, filled, predicted_gains, proposals, usable
from pegbox.tune.trail import Trail

_OVERHEAD = 0.9  # share of the time that goes into the model


@dataclass(frozen=True)
class Tokens:
    """Hard prompt tuning by word swaps.

    At each step the gradient of the mean loss with respect to the slot's embeddings says which swaps should help. Some of these
    are scored exactly on half of the step's rows, the better ones on the other half too, and the best one is taken over if it
    also helps on the next step's rows. The loss is the calibrated one: otherwise the first swaps would only mend the model's
    leaning to some label, which calibration does for nothing. Dev rows are looked at a few times, and the best look is kept.

    Settings:
        length: tokens in a slot that pegbox puts in itself, or that is open.
        place: where it goes: "after" the text (whose keys and values are then kept), or "first".
        start: words that an open slot begins with; by default the instruction or the label words, whichever does better.
        rows: rows in a step.
        candidates: swaps that are scored in a step.
        finalists: of these, how many are scored on all of the step's rows.
        top: tokens considered in each place.
        steps: how many; None: as many as the budget allows, up to `most_steps`.
        most_steps: no more than these, whatever the budget.
        looks: how often the dev rows are looked at.
        dev_rows: how many of them.
        patience: looks without a better dev loss before it stops.

    Source: Shin et al. 2020, "AutoPrompt" (arXiv 2010.15980); Zou et al. 2023, "GCG" (arXiv 2307.15043). We differ in the
        calibrated loss, in halving the candidates, in the second opinion on other rows, and in starting from words.
    Raises: SettingsError for impossible settings; PromptError for an open soft slot.
    """

    length: int = 6
    place: str = "after"
    start: str | None = None
    rows: int = 32
    candidates: int = 16
    finalists: int = 4
    top: int = 32
    steps: int | None = None
    most_steps: int = 500
    looks: int = 5
    dev_rows: int = 200
    patience: int = 3

    def __post_init__(self) -> None:
        counts = (
            self.length,
            self.rows - 1,
            self.candidates,
            self.finalists,
            self.top,
            self.most_steps,
            self.dev_rows,
            self.patience,
        )
        if (
            self.place not in ("after", "first")
            or min(counts) < 1
            or self.looks < 1
            or (self.steps is not None and self.steps < 1)
        ):
            raise SettingsError(f"token settings {self}", "counts from 1, place after or first", "correct the setting")

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
        if task.channel:
            raise SettingsError("channel scoring with word swaps", "direct scoring", "switch channel off, or use search")
        if len(train) < 2 or not len(dev):
            raise DataError(f"{len(train)} training and {len(dev)} dev rows", "at least 2 and 1", "give more rows")
        soft = [slot.name for slot in prompt.slots.values() if isinstance(slot, SoftSlot) and slot.vectors is None]
        if soft:
            raise PromptError(f"the open soft slot {soft[0]!r}", "hard slots only, or filled soft ones", "swap words first")
        seed = int(rng.integers(2**31))
        return _Run(self, prompt, task, backbone, train, dev, budget, trail, seed).run()


@dataclass
class Loss:
    """The calibrated loss of words in the slots.

    Settings:
        bound: the prompt over some rows.
        basis: the same over texts that say nothing, for contextual calibration.
        prior: the labels' shares among the training rows. Shape: [C].
    """

    bound: BoundClassification
    basis: BoundClassification | None
    method: Method
    prior: torch.Tensor

    def __call__(self, index: Sequence[int], live: dict[str, Any]) -> torch.Tensor:
        """Calibrated label log-probabilities. Shape: [K, B, C], differentiable in live's vectors."""
        scores = self.bound.scores(index, live)
        if self.method == "none":
            return scores
        seen = scores if self.basis is None else self.basis.scores(range(self.basis.size), live)
        mean = seen.exp().mean(dim=1, keepdim=True).clamp_min(1e-12)
        return (scores + self.prior.to(scores.device).log() - mean.log()).log_softmax(-1)

    def losses(self, index: Sequence[int], live: dict[str, Any]) -> torch.Tensor:
        """Cross-entropy of each row. Shape: [K, B]."""
        scores = self(index, live)
        assert self.bound.gold is not None
        gold = self.bound.gold[list(index)].to(scores.device).expand(scores.shape[0], -1)
        return -scores.gather(-1, gold[..., None])[..., 0]

    @torch.no_grad()
    def of(self, states: Sequence[State], index: Sequence[int]) -> NDArray[np.float64]:
        """The losses of several states on the same rows. Shape: [K, B]."""
        return self.losses(index, _live(states)).cpu().numpy().astype(np.float64)


def _live(states: Sequence[State]) -> dict[str, list[tuple[int, ...]]]:
    return {name: [state[name] for state in states] for name in states[0]}


class _Run:
    """One run of word swaps; see `Tokens`."""

    def __init__(
        self,
        settings: Tokens,
        prompt: Prompt,
        task: Classification,
        backbone: Backbone,
        train: Rows,
        dev: Rows,
        budget: Budget,
        trail: Trail,
        seed: int,
    ) -> None:
        self.settings, self.task, self.backbone, self.trail, self.seed = settings, task, backbone, trail, seed
        self.written = prompt
        self.prompt = with_hard_slot(prompt, settings.place)
        self.slots = swapped_slots(self.prompt)
        self.train = train.take(_order(len(train), seed, 0))
        self.dev = dev.take(_order(len(dev), seed, 1)[: settings.dev_rows])
        self.prior = torch.from_numpy(task.prior(train)).float()
        self.meter = Meter(budget, backbone, trail)
        self.table, ordinary = backbone.vocabulary()
        self.allowed = usable(backbone) & ordinary
        self._chunks: dict[int, Loss] = {}
        self._judge: Loss | None = None
        self.steps = 1

    def run(self) -> Prompt:
        state = self._begin()
        state, first = self._step(state, 0)
        self.meter.settle(_OVERHEAD * first["tokens"] / max(1e-6, first["took"]))
        self.steps = self._plan(int(first["tokens"]))
        at = sorted({round(self.steps * look / self.settings.looks) for look in range(1, self.settings.looks + 1)} - {0})
        best, waited = self._look(self._starts_and_none(), 0), 0
        for step in range(1, self.steps + 1):
            if step in at:
                found = self._look([state], step)
                best, waited = (found, 0) if found[0] < best[0] else (best, waited + 1)
                if waited >= self.settings.patience:
                    self.trail.write("note", text=f"stopped early at step {step} of {self.steps}: the dev loss no longer falls")
                    break
            if step < self.steps:
                state, _ = self._step(state, step)
        return self._ended(best[1])

    # --- where it begins and ends -------------------------------------------------------------------------------------

    def _begin(self) -> State:
        """The best of the starts on the first rows."""
        starts = self._starts()
        if len(starts) == 1:
            return starts[0]
        losses = self._remembered("starts", lambda: self._chunk(0).of(starts, range(self._chunk(0).bound.size)).mean(axis=1))
        return starts[int(np.argmin(losses["values"]))]

    def _starts(self) -> list[State]:
        """Words that the slots may begin with; a filled slot begins with its own."""
        own = {name: slot.words for name, slot in self.slots.items() if slot.words is not None}
        kept = {name: self._encoded(name, words) for name, words in own.items()}
        if len(kept) == len(self.slots):
            return [kept]
        instruction = " ".join(segment.text for segment in self.written if isinstance(segment, Text))
        labels = " ".join(words[0] for words in self.task.words_in(self.written).values())
        offered = [self.settings.start] if self.settings.start is not None else [instruction, labels]
        found: list[State] = []
        for text in offered:
            state = {name: kept.get(name) or self._cut(name, " ".join(text.split())) for name in self.slots}
            if state not in found:
                found.append(state)
        return found

    def _encoded(self, name: str, words: str) -> tuple[int, ...]:
        ids = self.backbone.encode((" " if self.prompt.spaced(name) else "") + words)
        if not ids:
            raise PromptError(f"no words in hard slot {name!r}", "at least one word", "write some, or leave the slot open")
        return ids

    def _cut(self, name: str, text: str) -> tuple[int, ...]:
        """The text's first tokens, repeated if they are too few; as many as survive being written."""
        ids = self._encoded(name, text)
        ids = (ids * self.settings.length)[: self.settings.length]
        while len(ids) > 1 and filled(self.prompt, {name: ids}, self.backbone) is None:
            ids = ids[:-1]
        return ids

    def _starts_and_none(self) -> list[State]:
        """The starts, and no words at all where the slot was not asked for: the prompt as it was written."""
        none: State = dict.fromkeys(self.slots, ())
        return [*self._starts(), *([none] if self.prompt != self.written else [])]

    def _ended(self, best: State) -> Prompt:
        if not any(best.values()):
            self.trail.write(
                "note", text="no words in the slot were better on dev than none; the prompt is kept as it was written"
            )
            self.trail.write("best", prompt_digest=self.written.digest())
            return self.written
        found = filled(self.prompt, best, self.backbone)
        assert found is not None  # only such states are ever tried
        self.trail.write("best", prompt_digest=found.digest())
        return found

    # --- a step -------------------------------------------------------------------------------------------------------

    def _chunk(self, number: int) -> Loss:
        """The loss on one portion of the training rows; portions come round again."""
        size = min(self.settings.rows, len(self.train))
        portions = max(1, len(self.train) // size)
        number %= portions
        if number not in self._chunks:
            self._chunks[number] = self._loss(self.train.take(range(number * size, (number + 1) * size)))
        return self._chunks[number]

    def _loss(self, rows: Rows) -> Loss:
        basis = None
        if self.task.calibration == "contextual":
            texts = tuple(dict.fromkeys(self.prompt.field_names, text) for text in CONTENT_FREE)
            basis = self.task.bind(self.prompt, self.backbone, Rows(texts, source="content-free texts"))
        return Loss(self.task.bind(self.prompt, self.backbone, rows), basis, self.task.calibration, self.prior)

    def _step(self, state: State, step: int) -> tuple[State, dict[str, Any]]:
        """One swap, if a good one is found."""
        kept = self._remembered(f"step {step}", lambda: self._swap(state, step))
        new = {name: tuple(ids) for name, ids in kept["values"]["state"].items()}
        loss = float(kept["values"]["loss"])
        self.trail.write("step", step=step, of=self.steps, loss=loss, tokens=self.meter.tokens, variant=0)
        return new, kept

    def _swap(self, state: State, step: int) -> dict[str, Any]:
        loss, other = self._chunk(step), self._chunk(step + 1)
        rng = np.random.default_rng([self.seed, 2, step])
        gains = self._gains(state, loss)
        tried = proposals(
            self.prompt, state, gains, self.allowed, self.backbone, self.settings.candidates, self.settings.top, rng
        )
        if not tried:
            return {"state": state, "loss": float(loss.of([state], range(loss.bound.size)).mean())}
        half = loss.bound.size // 2
        early = loss.of([state, *tried], range(half))
        order = np.argsort(early[1:].mean(axis=1), kind="stable")[: self.settings.finalists]
        finalists = [state, *(tried[int(at)] for at in order)]
        late = loss.of(finalists, range(half, loss.bound.size))
        both = np.concatenate([early[[0, *(order + 1)]], late], axis=1).mean(axis=1)
        winner = finalists[int(np.argmin(both))]
        if winner != state:
            second = other.of([state, winner], range(other.bound.size)).mean(axis=1)
            winner = winner if second[1] < second[0] else state
        return {"state": winner, "loss": float(both.min() if winner != state else both[0])}

    def _gains(self, state: State, loss: Loss) -> dict[str, torch.Tensor]:
        """Predicted gains in every place of every slot. Shape: for each slot [P, V]."""
        vectors = {name: self.backbone.embed(ids)[None].requires_grad_() for name, ids in state.items()}
        mean = loss.losses(range(loss.bound.size), dict(vectors)).mean()
        found = torch.autograd.grad(mean, list(vectors.values()))
        return {
            name: predicted_gains(gradient[0], state[name], self.table) for name, gradient in zip(vectors, found, strict=True)
        }

    # --- dev, plan and memory -----------------------------------------------------------------------------------------

    def _look(self, states: Sequence[State], step: int) -> tuple[float, State]:
        """The best of some states on the dev rows, and its loss."""
        values = self._remembered(f"dev {step}", lambda: self._judged(states))["values"]
        for variant, (loss, accuracy) in enumerate(values):
            self.trail.write("dev", step=step, loss=loss, accuracy=accuracy, variant=variant, rows=len(self.dev))
        at = min(range(len(states)), key=lambda number: float(values[number][0]))
        return float(values[at][0]), states[at]

    @torch.no_grad()
    def _judged(self, states: Sequence[State]) -> list[tuple[float, float]]:
        if self._judge is None:
            self._judge = self._loss(self.dev)
        scores = self._judge(range(len(self.dev)), _live(states)).cpu().numpy()
        gold = self.task.gold(self.dev)
        losses = -scores[:, np.arange(len(gold)), gold].mean(axis=1)
        return [(float(loss), float((logs.argmax(axis=-1) == gold).mean())) for loss, logs in zip(losses, scores, strict=True)]

    def _plan(self, step: int) -> int:
        """Steps that the budget allows, and dev rows that a quarter of it pays for; decided once."""
        kept = self.trail.kept("steps")
        if kept is None:
            left = self.meter.tokens_left or 0
            tail = step / (self.settings.rows * (2 + self.settings.candidates / 2 + self.settings.finalists / 2 + 2))
            row = tail * (self.settings.looks + 3) + step / self.settings.rows / 4
            dev = int(min(len(self.dev), max(30, 0.25 * left / row)))
            steps = self.settings.steps or min(self.settings.most_steps, 1 + int(max(0.0, left - dev * row) / max(1, step)))
            kept = {"steps": steps, "dev": dev}
            self.trail.keep("steps", kept)
            self.trail.write("plan", steps=steps, dev_rows=dev, tokens=left)
        if kept["steps"] < 10:
            self.trail.write("note", text=f"the budget allows only {kept['steps']} steps; expect little from them")
        self.dev = self.dev.take(range(min(len(self.dev), int(kept["dev"]))))
        return int(kept["steps"])

    def _remembered(self, key: str, compute: Any) -> dict[str, Any]:
        """What `compute` finds, or what an interrupted try had found; its tokens count either way."""
        import time

        kept: dict[str, Any] | None = self.trail.kept(key)
        if kept is None:
            before, began = self.meter.tokens, time.monotonic()
            values = compute()
            values = values.tolist() if isinstance(values, np.ndarray) else values
            kept = {"values": values, "tokens": self.meter.tokens - before, "took": time.monotonic() - began}
            self.trail.keep(key, kept)
        else:
            self.meter.replay(int(kept["tokens"]))
        return kept


def with_hard_slot(prompt: Prompt, place: str) -> Prompt:
    """The prompt with a hard slot put in, unless it has some of its own: after the last field, or before everything else."""
    if swapped_slots(prompt):
        return prompt
    slot = HardSlot("words" if "words" not in prompt.slots else "words_")
    if place == "first":
        first = prompt.turns[0]
        return Prompt((Turn(first.role, (slot, Text(" "), *first.segments)), *prompt.turns[1:]))
    last = [segment for segment in prompt if isinstance(segment, Field)][-1:]
    if not last:
        raise PromptError(
            "a prompt without a text", "a field such as {text}", "write {text} in the prompt, or a [hard words] slot"
        )
    count = sum(isinstance(segment, Field) for segment in prompt)
    seen = 0

    def put(segment: Segment) -> Segment | tuple[Segment, ...]:
        nonlocal seen
        seen += isinstance(segment, Field)
        return (segment, Text(" "), slot) if isinstance(segment, Field) and seen == count else segment

    return prompt.map(put)


def swapped_slots(prompt: Prompt) -> dict[str, HardSlot]:
    """The slots whose words are swapped: the open ones, or all hard ones where none is open."""
    hard = {name: slot for name, slot in prompt.slots.items() if isinstance(slot, HardSlot)}
    return {name: slot for name, slot in hard.items() if slot.words is None} or hard


def _order(count: int, *key: int) -> list[int]:
    return [int(at) for at in np.random.default_rng(key).permutation(count)]
