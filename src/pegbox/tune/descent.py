"""Gradient descent on soft slots: K variants at once, thinned out as the better ones show, the best step kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt
from pegbox.task.classification import BoundClassification, Classification
from pegbox.tune.budget import Budget, Meter
from pegbox.tune.trail import Trail

Parameters = dict[str, torch.Tensor]
"""Trained numbers of K variants, by name. Shape: [K, ...]."""
Vectors = dict[str, torch.Tensor]
"""What the slots hold, by slot name. Shape: [K, P, H]."""

_BETAS, _EPSILON = (0.9, 0.999), 1e-8
_DEAD = 1e-4  # nats: a prompt that moves no dev row's scores by more does nothing


@dataclass(frozen=True)
class Schedule:
    """How a descent goes about it.

    Settings:
        learning_rates: one variant for each; they share every pass through the model.
        batch: rows in a step.
        steps: how many steps; None: as many as the budget allows, up to `most_steps`.
        most_steps: no more than these, whatever the budget.
        warmup: share of the steps in which the learning rate rises; then it falls as a cosine.
        clip: largest norm of one variant's gradient.
        evaluations: how often the dev rows are looked at.
        dev_rows: how many of them.
        patience: evaluations without a better dev loss before it stops.
        weight_decay: pull towards the start (AdamW).
    """

    learning_rates: tuple[float, ...] = (0.03, 0.1, 0.3)
    batch: int = 16
    steps: int | None = None
    most_steps: int = 1000
    warmup: float = 0.06
    clip: float = 1.0
    evaluations: int = 12
    dev_rows: int = 200
    patience: int = 4
    weight_decay: float = 0.0

    def rate(self, step: int, steps: int) -> float:
        """The share of the learning rate in force at a step (0 based)."""
        rise = max(1, round(self.warmup * steps))
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))

    def alive(self, step: int, steps: int, variants: int) -> int:
        """How many variants are still run at a step: all, from a quarter of the way half, from half of the way one."""
        if step < steps / 4:
            return variants
        return 1 if step >= steps / 2 else min(variants, -(-variants // 2))


@dataclass
class Standing:
    """Where a descent stands: all that a second try needs.

    Settings:
        step: steps done.
        parameters, first, second: trained numbers and AdamW's two moments, of the living variants.
        variants: the living variants' numbers, in order.
        best_loss: the lowest dev loss seen.
        best: the slots' vectors there.
        best_variant, best_step: whose, and when.
        waited: evaluations since then.
        losses: the living variants' latest dev losses.
    """

    step: int
    parameters: Parameters
    first: Parameters
    second: Parameters
    variants: list[int]
    best_loss: float = math.inf
    best: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    best_variant: int = -1
    best_step: int = -1
    waited: int = 0
    losses: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Descent:
    """One run of gradient descent.

    Settings:
        schedule: see there.
        prompt: with open soft slots.
        start: K variants' parameters at the beginning.
        make: what the slots hold, given parameters; differentiable.
    """

    schedule: Schedule
    prompt: Prompt
    start: Parameters
    make: Callable[[Parameters], Vectors]
    task: Classification
    backbone: Backbone
    trail: Trail

    def run(self, train: Rows, dev: Rows, budget: Budget, seed: int) -> dict[str, NDArray[np.float32]]:
        """The best vectors for each slot. Shape: [P, H]."""
        meter = Meter(budget, self.backbone, self.trail)
        dev = dev.take(np.random.default_rng([seed, 0]).permutation(len(dev))[: self.schedule.dev_rows])
        steps = self._plan(train, len(dev), meter, seed)
        used = min(len(train), steps * self.schedule.batch)
        train = train.take(np.random.default_rng([seed, 1]).permutation(len(train))[:used])
        bound, judge = (self.task.bind(self.prompt, self.backbone, rows) for rows in (train, dev))
        self._say_cuts(bound, len(train))
        standing = self._resumed() or self._begun(judge)
        every = max(1, steps // self.schedule.evaluations)
        while standing.step < steps:
            self._thin(standing, steps)
            self._step(standing, steps, bound, seed)
            if standing.step % every == 0 or standing.step == steps:
                self._judge(standing, judge)
                self._save(standing)
                if not standing.variants:
                    break
                if standing.waited >= self.schedule.patience and len(standing.variants) == 1:
                    self.trail.write("note", text=f"stopped early at step {standing.step} of {steps}: the dev loss no longer falls")
                    break
        if standing.step >= steps and self.schedule.steps is None and steps < self.schedule.most_steps:
            falling = ", while the dev loss was still falling" if standing.waited == 0 else ""
            self.trail.write("note", text=f"the budget is spent: it allowed {steps} steps{falling}")
        self._say_dead(standing, judge)
        return standing.best

    # --- the plan ---------------------------------------------------------------------------------------------------

    def _plan(self, train: Rows, dev_rows: int, meter: Meter, seed: int) -> int:
        """How many steps the budget allows; decided once, and kept for a second try."""
        if self.schedule.steps is not None:
            return self.schedule.steps
        kept = self.trail.kept("steps")
        if kept is not None:
            return int(kept)
        rows = min(len(train), 2 * self.schedule.batch)
        sample = train.take(np.random.default_rng([seed, 2]).permutation(len(train))[:rows])
        bound = self.task.bind(self.prompt, self.backbone, sample)
        costs, clock = [], 0.0
        for _ in range(2):  # the first pass also computes what is kept afterwards
            before, began = meter.tokens, time.monotonic()
            self._gradient(self.start, bound, range(min(rows, self.schedule.batch)))
            costs.append(meter.tokens - before)
            clock = time.monotonic() - began
        meter.settle(costs[1] / clock)
        left = meter.tokens_left or 0
        per_row = max(0, costs[0] - costs[1]) / rows
        per_step = costs[1] / self._variants * self.schedule.batch / min(rows, self.schedule.batch)
        per_look = per_step / 2 / self.schedule.batch * dev_rows
        steps = self._affordable(left - per_row * dev_rows, per_step, per_look, per_row, len(train))
        self.trail.keep("steps", steps)
        self.trail.write("plan", steps=steps, variants=self._variants, tokens=left, batch=self.schedule.batch)
        if steps < 20:
            self.trail.write("note", text=f"the budget allows only {steps} steps; expect little from them")
        return steps

    def _affordable(self, tokens: float, per_step: float, per_look: float, per_row: float, rows: int) -> int:
        """The most steps that so many tokens allow, evaluations and first readings of the rows included."""

        def cost(steps: int) -> float:
            alive = sum(self.schedule.alive(step, steps, self._variants) for step in range(steps))
            every = max(1, steps // self.schedule.evaluations)
            looks = sum(self.schedule.alive(step, steps, self._variants) for step in range(0, steps, every))
            return alive * per_step + looks * per_look + per_row * min(rows, steps * self.schedule.batch)

        low, high = 1, self.schedule.most_steps
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if cost(middle) <= tokens else (low, middle - 1)
        return low

    @property
    def _variants(self) -> int:
        return len(next(iter(self.start.values())))

    # --- a step -----------------------------------------------------------------------------------------------------

    def _gradient(self, parameters: Parameters, bound: BoundClassification, index: Sequence[int]) -> tuple[Parameters, torch.Tensor]:
        """Each variant's own gradient, and its mean loss [K]."""
        asked = {name: values.detach().requires_grad_() for name, values in parameters.items()}
        losses = bound.losses(index, self.make(asked)).mean(dim=1)
        found = torch.autograd.grad(losses.sum(), list(asked.values()))
        return dict(zip(asked, found, strict=True)), losses.detach()

    def _step(self, standing: Standing, steps: int, bound: BoundClassification, seed: int) -> None:
        index = batch_rows(standing.step, self.schedule.batch, bound.size, seed)
        gradient, losses = self._gradient(standing.parameters, bound, index)
        norms = torch.stack([g.flatten(1).square().sum(1) for g in gradient.values()]).sum(0).sqrt()
        sound = torch.isfinite(norms) & torch.isfinite(losses)
        scale = torch.where(sound, (self.schedule.clip / norms.clamp_min(1e-12)).clamp(max=1.0), 0.0)
        share = self.schedule.rate(standing.step, steps)
        rates = share * torch.tensor([self.schedule.learning_rates[v % len(self.schedule.learning_rates)] for v in standing.variants])
        standing.step += 1
        for name, values in standing.parameters.items():
            over = (-1, *[1] * (values.ndim - 1))
            clipped = torch.nan_to_num(gradient[name]) * scale.view(over)
            first = standing.first[name].mul_(_BETAS[0]).add_(clipped, alpha=1 - _BETAS[0])
            second = standing.second[name].mul_(_BETAS[1]).addcmul_(clipped, clipped, value=1 - _BETAS[1])
            change = (first / (1 - _BETAS[0] ** standing.step)) / ((second / (1 - _BETAS[1] ** standing.step)).sqrt() + _EPSILON)
            standing.parameters[name] = values - rates.view(over) * (change + self.schedule.weight_decay * values)
        for variant, loss in zip(standing.variants, losses.tolist(), strict=True):
            tokens = self.backbone.spent.forward + self.backbone.spent.backward
            self.trail.write("step", step=standing.step, of=steps, loss=loss, variant=variant, tokens=tokens)
        if not bool(sound.all()):
            self._drop(standing, [at for at, ok in enumerate(sound.tolist()) if ok], "its loss is no longer a number")

    def _thin(self, standing: Standing, steps: int) -> None:
        """Drops the variants that the schedule no longer affords, those with the highest dev loss first."""
        keep = self.schedule.alive(standing.step, steps, self._variants)
        if len(standing.variants) > keep and len(standing.losses) == len(standing.variants):
            order = sorted(range(len(standing.losses)), key=lambda at: standing.losses[at])
            self._drop(standing, sorted(order[:keep]), "another learning rate does better on dev")

    def _drop(self, standing: Standing, keep: Sequence[int], why: str) -> None:
        for at, variant in enumerate(standing.variants):
            if at not in keep:
                rate = self.schedule.learning_rates[variant % len(self.schedule.learning_rates)]
                self.trail.write("dropped", variant=variant, step=standing.step, why=why, learning_rate=rate)
                if "number" in why:
                    self.trail.write("note", text=f"diverged: learning rate {rate:g} at step {standing.step}")
        chosen = torch.tensor(list(keep), dtype=torch.long)
        for values in (standing.parameters, standing.first, standing.second):
            values.update({name: tensor[chosen] for name, tensor in values.items()})
        standing.variants = [standing.variants[at] for at in keep]
        standing.losses = [standing.losses[at] for at in keep] if standing.losses else []

    # --- the dev rows -----------------------------------------------------------------------------------------------

    def _judge(self, standing: Standing, judge: BoundClassification) -> None:
        if not standing.variants:
            return
        with torch.no_grad():
            vectors = self.make(standing.parameters)
            scores = judge.log_probabilities(None, vectors)
        assert judge.gold is not None
        gold = judge.gold.numpy()
        losses = -np.take_along_axis(scores, np.broadcast_to(gold, scores.shape[:2])[..., None], -1)[..., 0].mean(1)
        accuracy = (scores.argmax(-1) == gold).mean(1)
        standing.losses = [float(loss) for loss in losses]
        standing.waited += 1
        for at, variant in enumerate(standing.variants):
            self.trail.write(
                "dev", step=standing.step, loss=float(losses[at]), accuracy=float(accuracy[at]), variant=variant, rows=len(gold)
            )
            if losses[at] < standing.best_loss:
                standing.best_loss, standing.best_variant, standing.best_step = float(losses[at]), variant, standing.step
                standing.best = {name: v[at].detach().numpy().astype(np.float32).copy() for name, v in vectors.items()}
                standing.waited = 0

    def _begun(self, judge: BoundClassification) -> Standing:
        zeros = [{name: torch.zeros_like(values) for name, values in self.start.items()} for _ in range(2)]
        standing = Standing(0, dict(self.start), zeros[0], zeros[1], list(range(self._variants)))
        self._judge(standing, judge)  # the start counts as a step: tuning may not leave a prompt worse than it was
        standing.losses = []
        return standing

    def _say_dead(self, standing: Standing, judge: BoundClassification) -> None:
        with torch.no_grad():
            began = {name: vectors[:1] for name, vectors in self.make(self.start).items()}
        ended = {name: torch.from_numpy(vectors)[None] for name, vectors in standing.best.items()}
        moved = np.abs(judge.log_probabilities(None, ended) - judge.log_probabilities(None, began)).max()
        if standing.best_step > 0 and moved < _DEAD:
            self.trail.write("note", text=f"dead prompt: after {standing.best_step} steps no dev row's scores have changed")
        if standing.best_step <= 0:
            self.trail.write("note", text="no step was better on dev than the start, which was kept")
        self.trail.write("best", step=standing.best_step, loss=standing.best_loss, variant=standing.best_variant)

    def _say_cuts(self, bound: BoundClassification, rows: int) -> None:
        if bound.cut_rows:
            self.trail.write("note", text=f"{len(bound.cut_rows)} of {rows} training texts were cut to the model's context")

    # --- resume -----------------------------------------------------------------------------------------------------

    def _save(self, standing: Standing) -> None:
        arrays = {f"best.{name}": vectors for name, vectors in standing.best.items()}
        for part in ("parameters", "first", "second"):
            arrays |= {f"{part}.{name}": values.detach().numpy() for name, values in getattr(standing, part).items()}
        values = {k: getattr(standing, k) for k in ("step", "variants", "best_loss", "best_variant", "best_step", "waited", "losses")}
        self.trail.save(arrays, values)

    def _resumed(self) -> Standing | None:
        saved = self.trail.load()
        if saved is None:
            return None
        arrays, values = saved
        parts: dict[str, dict[str, NDArray[np.float32]]] = {"parameters": {}, "first": {}, "second": {}, "best": {}}
        for key, array in arrays.items():
            part, name = key.split(".", 1)
            parts[part][name] = array
        tensors = [{name: torch.from_numpy(a) for name, a in parts[part].items()} for part in ("parameters", "first", "second")]
        return Standing(parameters=tensors[0], first=tensors[1], second=tensors[2], best=parts["best"], **values)


def batch_rows(step: int, batch: int, rows: int, seed: int) -> list[int]:
    """The rows of one step: each epoch goes once through all rows in an order of its own, known from the step's number alone."""
    found: list[int] = []
    at = step * batch
    while len(found) < min(batch, rows):
        epoch, place = divmod(at, rows)
        order = np.random.default_rng([seed, 3, epoch]).permutation(rows)
        found.extend(int(row) for row in order[place : place + batch - len(found)])
        at = (epoch + 1) * rows
    return found


def root_mean_square(vectors: torch.Tensor) -> float:
    """The size of a typical number in an embedding matrix. Shape: [V, H]."""
    return float(vectors.square().mean().sqrt())
