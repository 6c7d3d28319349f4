"""Gradient descent on soft slots: K variants at once, thinned out as the better ones show, the best step kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.errors import BackboneError
from pegbox.prompt import Prompt
from pegbox.task.classification import BoundClassification, Classification
from pegbox.task.verbalizer import NAMED
from pegbox.tune.adam import adam_direction
from pegbox.tune.budget import Budget, Meter
from pegbox.tune.orders import drawn, drawn_groups, even_batch, first_groups, flat, grouped, together
from pegbox.tune.parts import Lengths, live_lengths, parts
from pegbox.tune.schedule import Costs, Prices, Schedule
from pegbox.tune.standing import Parameters, Standing
from pegbox.tune.trail import Trail
from pegbox.tune.written import or_written

Vectors = dict[str, torch.Tensor]
"""What the slots hold, by slot name. Shape: [K, P, H]."""

_DEAD = 1e-4  # nats: a prompt that moves no dev row's scores by more does nothing
_ASTRAY = 1.5  # a dev loss of so many times the start's, and that of guessing, is said to have diverged
_FEW = 20  # steps


@dataclass
class _Course:
    """One run: how many steps, what each costs, over which rows, groups of rows and strata of groups, within what budget."""

    steps: int
    costs: Costs
    bound: BoundClassification
    groups: list[list[int]]
    strata: list[list[int]]
    lengths: Lengths
    judge: BoundClassification
    meter: Meter
    seed: int


@dataclass(frozen=True)
class _Sample:
    """Rows that a step is tried on: how many there are, and how many a step takes."""

    descent: Descent
    bound: BoundClassification
    rows: int
    used: int
    lengths: Lengths

    def passed(self, start: Parameters, meter: Meter) -> tuple[int, float]:
        """Tokens and seconds of one step's gradient."""
        before, began = meter.tokens, time.monotonic()
        _, losses = self.descent._gradient(start, self.bound, range(self.used), self.lengths)
        losses.tolist()  # waits for the device
        return meter.tokens - before, time.monotonic() - began


@dataclass(frozen=True)
class Descent:
    """One run of gradient descent.

    Settings:
        schedule: see there.
        written: the prompt before soft slots were put in; it may have open ones of its own.
        prompt: with soft slots.
        start: K variants' parameters at the beginning.
        make: what the slots hold, given parameters; differentiable.
    """

    schedule: Schedule
    written: Prompt
    prompt: Prompt
    start: Parameters
    make: Callable[[Parameters], Vectors]
    task: Classification
    backbone: Backbone
    trail: Trail

    def run(self, train: Rows, dev: Rows, budget: Budget, seed: int) -> Prompt:
        """The prompt with the best vectors in its slots, or as it was written where they do not beat that on dev.

        Raises: BackboneError where the model's scores are not numbers.
        """
        whole, dev = dev, self.task.looked_at(dev)
        prior = list(self.task.prior(train if dev is whole else dev))  # where the shares in dev were changed, those
        saved = Standing.saved(self.trail, next(iter(self.start.values())).device)
        meter = Meter(budget, self.backbone, self.trail)
        steps, looked, costs = self._plan(train, len(dev), meter, seed, say=saved is None)
        if not steps:
            return self._untouched()
        dev = dev.take(drawn(dev, seed, 0)[:looked])
        rows = train.take(flat(first_groups(drawn_groups(train, seed, 1), self.task.strata(train), steps, self.schedule.batch)))
        course = self.course(rows, dev, steps, costs, meter, seed)
        standing = self._begun(course) if saved is None else self._resumed(*saved, course)
        while (why := self._over(standing, course)) is None:
            self._thin(standing, course)
            self._step(standing, course)
            if standing.variants and self.schedule.looks(standing.step, steps, self._variants):
                self._judge(standing, course)
                standing.save(self.trail, meter.tokens)
        if standing.variants and standing.judged < standing.step:  # the budget ended between two looks
            self._judge(standing, course)
            standing.save(self.trail, meter.tokens)
        self._say_end(standing, why)
        tuned = self.prompt.fill(**standing.best)
        return or_written(tuned, self.written, self.task, self.backbone, dev, prior, meter, self.trail)

    def course(self, rows: Rows, dev: Rows, steps: int, costs: Costs, meter: Meter, seed: int) -> _Course:
        """A run over these rows, all of which are read, that goes by all of these dev rows."""
        bound = self.task.bind(self.prompt, self.backbone, rows, self.schedule.loss)
        judge = self.task.bind(self.prompt, self.backbone, dev)
        groups = together(rows)
        strata = grouped(self.task.strata(rows), groups)
        return _Course(steps, costs, bound, groups, strata, self._lengths(rows), judge, meter, seed)

    def _over(self, standing: Standing, course: _Course) -> str | None:
        """None where the descent goes on, else what is to be said of its end.

        Known from what is saved alone, so that a second try ends where the first one did.
        """
        if standing.step >= course.steps:
            by_budget = self.schedule.steps is None and course.steps < self.schedule.most_steps
            falling = ", while the dev loss was still falling" if standing.waited == 0 else ""
            return f"the budget is spent: it allowed {course.steps} steps{falling}" if by_budget else ""
        if not standing.variants:
            return "every variant has diverged"
        if standing.waited >= self.schedule.patience and len(standing.variants) == 1:
            return f"stopped early at step {standing.step} of {course.steps}: the dev loss no longer falls"
        if not course.meter.allows(len(standing.variants) * (course.costs.step + course.costs.look) + course.costs.check):
            return f"the budget was spent after {standing.step} of {course.steps} steps"
        return None

    # --- the plan ---------------------------------------------------------------------------------------------------

    def _plan(self, train: Rows, dev_rows: int, meter: Meter, seed: int, say: bool) -> tuple[int, int, Costs]:
        """How many steps the budget allows, with looks at how many dev rows, and what they cost in tokens: measured once, and
        kept."""
        kept = self.trail.kept("costs")
        if kept is None or "allowance" not in kept:  # none, or of a version that kept less
            kept = self._planned(train, dev_rows, meter, seed)
            self.trail.keep("costs", kept)
        else:
            meter.replay(kept["tokens"])
        meter.allow(kept["allowance"])
        self.backbone.forget()  # else the passes just measured would make a first try cheaper than a second one
        steps = int(kept["steps"])
        if say:
            self.trail.write("plan", steps=steps, variants=self._variants, tokens=kept["left"], batch=self.schedule.batch)
            self._say_plan(steps)
        return steps, int(kept["looked"]), Costs(**kept["costs"])

    def _planned(self, train: Rows, dev_rows: int, meter: Meter, seed: int) -> dict[str, Any]:
        """A new plan. A budget in seconds is planned in seconds, since a token costs more in a step of few than in a reading of
        many; and allows as many tokens as what was planned takes."""
        groups = together(train)
        sizes, drawn = [len(stratum) for stratum in grouped(self.task.strata(train), groups)], len(train) / len(groups)
        prices = self._measured(train, meter, seed)
        timed = not meter.settled
        left = meter.seconds_left if timed else meter.tokens_left or 0
        used = prices[timed]
        looked = self.schedule.looked(left, self._variants, used.look, dev_rows)
        in_tokens, costs = (some.over(looked, drawn, not self.written.open_slots) for some in (prices[False], used))
        steps = costs.affordable(left, self.schedule, self._variants, sizes)
        if timed:
            of = (max(1, steps), self.schedule, self._variants, sizes)
            left = int(left * in_tokens.of(*of) / max(1e-9, costs.of(*of)))
        said = {"costs": asdict(in_tokens), "looked": looked, "steps": steps}
        return said | {"tokens": meter.tokens, "left": left, "allowance": meter.tokens + left}

    def _measured(self, train: Rows, meter: Meter, seed: int) -> tuple[Prices, Prices]:
        """What a step, a row's first reading and a look at a row take: in tokens, and in seconds where the budget is in these.

        From two passes over a few rows, the first of which also reads what is kept afterwards. For seconds two more: of one
        variant, and a first one over other rows, since what is done for the first time takes longer.
        """
        drawn, batch = drawn_groups(train, seed, 2), self.schedule.batch
        some = self._sampled(train, drawn[: 2 * batch], batch)
        variants, alone = self._variants, {name: values[:1] for name, values in self.start.items()}
        first, second = some.passed(self.start, meter), some.passed(self.start, meter)
        read = max(0, first[0] - second[0])
        many = len(self.task.labels) > NAMED
        look = self._look(some, meter) if many else (second[0] / 2, second[1] / 2)
        tokens = Prices(second[0] / variants, read / some.rows, look[0] / variants / some.used)
        if meter.settled:
            return tokens, tokens
        if meter.seconds_left < 2 * first[1]:  # there is no time for more, and hardly for a step
            row = max(0.0, first[1] - second[1]) / some.rows if read else 0.0
            return tokens, Prices(second[1] / variants, row, look[1] / variants / some.used)
        single = min(second[1], some.passed(alone, meter)[1]) if variants > 1 else second[1]
        each = (second[1] - single) / max(1, variants - 1)
        again = 0.0
        if read:
            others = drawn[2 * batch : 4 * batch]
            enough = len(others) >= batch
            if not enough:  # the same ones once more
                self.backbone.forget()
            other = self._sampled(train, others, batch) if enough else some
            again = max(0.0, other.passed(self.start, meter)[1] - second[1]) / other.rows
        return tokens, Prices(each, again, look[1] / variants / some.used, single - each)

    def _sampled(self, train: Rows, groups: Sequence[Sequence[int]], batch: int) -> _Sample:
        """Some groups of rows, of which the first make up a step."""
        sample = train.take(flat(groups))
        bound = self.task.bind(self.prompt, self.backbone, sample, self.schedule.loss)
        return _Sample(self, bound, len(sample), sum(map(len, groups[:batch])), self._lengths(sample))

    @torch.no_grad()
    def _look(self, some: _Sample, meter: Meter) -> tuple[int, float]:
        """Tokens and seconds of a look at some rows, where labels are many: it reads all their words, and a step reads one."""
        before, began = meter.tokens, time.monotonic()
        some.bound.scores(range(some.used), self.make(self.start))
        return meter.tokens - before, time.monotonic() - began

    @property
    def _variants(self) -> int:
        return len(next(iter(self.start.values())))

    # --- a step -----------------------------------------------------------------------------------------------------

    def _gradient(
        self, parameters: Parameters, bound: BoundClassification, index: Sequence[int], lengths: Lengths
    ) -> tuple[Parameters, torch.Tensor]:
        """Each variant's own gradient, and its mean loss [K]; part by part, where the batch is long."""
        asked = {name: values.detach().requires_grad_() for name, values in parameters.items()}
        total: torch.Tensor | None = None
        found: list[torch.Tensor] = []
        for part in parts(index, lengths, len(next(iter(asked.values())))):
            losses = bound.losses(part, self.make(asked)).sum(dim=1) / len(index)
            more = torch.autograd.grad(losses.sum(), list(asked.values()))
            found = [old + new for old, new in zip(found, more, strict=True)] if found else list(more)
            total = losses.detach() if total is None else total + losses.detach()
        assert total is not None
        return dict(zip(asked, found, strict=True)), total

    def _lengths(self, rows: Rows) -> Lengths:
        return live_lengths(self._at_start(), self.task, self.backbone, rows)

    def _step(self, standing: Standing, course: _Course) -> None:
        index = self._batch(standing.step, course)
        gradient, losses = self._gradient(standing.parameters, course.bound, index, course.lengths)
        norms = torch.stack([g.flatten(1).square().sum(1) for g in gradient.values()]).sum(0).sqrt()
        sound = torch.isfinite(norms) & torch.isfinite(losses)
        scale = torch.where(sound, (self.schedule.clip / norms.clamp_min(1e-12)).clamp(max=1.0), 0.0)
        share = self.schedule.rate(standing.step, course.steps)
        rates = share * torch.tensor([self.schedule.learning_rate(v) for v in standing.variants], device=norms.device)
        standing.step += 1
        for name, values in standing.parameters.items():
            over = (-1, *[1] * (values.ndim - 1))
            clipped = torch.nan_to_num(gradient[name]) * scale.view(over)
            change = adam_direction(standing.first[name], standing.second[name], clipped, standing.step)
            standing.parameters[name] = values - rates.view(over) * (change + self.schedule.weight_decay * values)
        for variant, loss in zip(standing.variants, losses.tolist(), strict=True):
            shown = loss if math.isfinite(loss) else None
            self.trail.write(
                "step", step=standing.step, of=course.steps, loss=shown, variant=variant, tokens=course.meter.tokens
            )
        if not bool(sound.all()):
            self._drop(standing, [at for at, ok in enumerate(sound.tolist()) if ok], "its loss is no longer a number")

    def _batch(self, step: int, course: _Course) -> list[int]:
        """The rows of a step: so many, or so many groups of rows that stay together."""
        return flat([course.groups[at] for at in even_batch(step, self.schedule.batch, course.strata, course.seed)])

    def _thin(self, standing: Standing, course: _Course) -> None:
        """Drops the variants that the schedule no longer affords, those with the highest dev loss first."""
        keep = self.schedule.alive(standing.step, course.steps, self._variants)
        if len(standing.variants) > keep and standing.losses:
            order = sorted(range(len(standing.losses)), key=lambda at: standing.losses[at])
            self._drop(standing, sorted(order[:keep]), "another variant does better on dev")
            standing.waited = 0  # those that are left get their own time

    def _drop(self, standing: Standing, keep: Sequence[int], why: str) -> None:
        for at, variant in enumerate(standing.variants):
            if at not in keep:
                rate = self.schedule.learning_rate(variant)
                self.trail.write("dropped", variant=variant, step=standing.step, why=why, learning_rate=rate)
                self._say_astray(standing, variant, standing.losses[at] if standing.losses else math.nan, why)
        standing.keep_only(keep)

    # --- the dev rows -----------------------------------------------------------------------------------------------

    def _judge(self, standing: Standing, course: _Course) -> None:
        gold = course.judge.gold
        assert gold is not None
        with torch.no_grad():
            vectors = self.make(standing.parameters)
            scores = course.judge.log_probabilities(None, vectors)
        losses = _mean_losses(scores, gold.numpy())
        right = (scores.argmax(-1) == gold.numpy()).mean(1).tolist()
        accuracy = right if self.task.chooses else [None] * len(right)
        standing.losses, standing.judged = losses, standing.step
        standing.waited += 1
        if not standing.start_scores.size:
            standing.start_scores, standing.start_loss = scores[0], losses[0]
        with np.errstate(invalid="ignore"):
            apart = np.abs(scores - standing.start_scores).max()
        standing.moved = max(standing.moved, math.inf if math.isnan(apart) else float(apart))
        for at, variant in enumerate(standing.variants):
            loss = losses[at] if math.isfinite(losses[at]) else None
            self.trail.write("dev", step=standing.step, loss=loss, accuracy=accuracy[at], variant=variant, rows=len(gold))
            if losses[at] < standing.best_loss:
                standing.best_loss, standing.best_variant, standing.best_step = losses[at], variant, standing.step
                standing.best = {name: v[at].detach().cpu().numpy().astype(np.float32).copy() for name, v in vectors.items()}
                standing.waited = 0

    def _begun(self, course: _Course) -> Standing:
        standing = Standing.begun(self.start)
        self._judge(standing, course)  # the start counts as a step: tuning may not leave a prompt worse than it was
        if not standing.best:
            raise BackboneError(
                f"scores of {self.backbone.name} that are not numbers, with the vectors tuning starts from",
                "finite log-probabilities",
                "try --dtype float32, or another model",
            )
        standing.losses = []  # all variants are the same still
        self._say_cuts(course)
        return standing

    # --- the prompt as it was ---------------------------------------------------------------------------------------

    def _untouched(self) -> Prompt:
        """What is returned where nothing was learned."""
        return self._at_start() if self.written.open_slots else self.written

    def _at_start(self) -> Prompt:
        return self.prompt.fill(**{name: vectors[0].detach().cpu().numpy() for name, vectors in self.make(self.start).items()})

    # --- what is said -----------------------------------------------------------------------------------------------

    def _say_plan(self, steps: int) -> None:
        asked = self.schedule.steps
        if not steps:
            self.trail.write("note", text="the budget was spent before the first step; the prompt stays as it was")
        elif asked is not None and steps < asked:
            self.trail.write("note", text=f"the budget allows only {steps} of the {asked} steps that were asked for")
        elif asked is None and steps < min(_FEW, self.schedule.most_steps):
            self.trail.write("note", text=f"the budget allows only {steps} steps; expect little from them")

    def _say_end(self, standing: Standing, why: str) -> None:
        for variant, loss in zip(standing.variants, standing.losses, strict=False):
            self._say_astray(standing, variant, loss, "")
        if why:
            self.trail.write("note", text=why)
        if standing.moved < _DEAD:
            self.trail.write("note", text=f"dead prompt: after {standing.step} steps no dev row's scores have changed")
        elif standing.best_step == 0:
            self.trail.write("note", text="no step was better on dev than the start, which was kept")
        self.trail.write("best", step=standing.best_step, loss=standing.best_loss, variant=standing.best_variant)

    def _say_astray(self, standing: Standing, variant: int, loss: float, why: str) -> None:
        """Says of a variant that is dropped, or that came to the end, that it has diverged, if it has."""
        limit = _ASTRAY * max(standing.start_loss, math.log(len(self.task.labels)))
        began = f"learning rate {self.schedule.learning_rate(variant):g}"
        if "number" in why:
            self.trail.write("note", text=f"diverged: {began}, at step {standing.step} {why}")
        elif loss > limit:
            self.trail.write(
                "note", text=f"diverged: {began}, dev loss {loss:.2f} after {standing.start_loss:.2f} at the start"
            )

    def _say_cuts(self, course: _Course) -> None:
        for text in course.bound.told("training texts"):
            self.trail.write("note", text=text)

    # --- resume -----------------------------------------------------------------------------------------------------

    def _resumed(self, standing: Standing, tokens: int, course: _Course) -> Standing:
        """Where an interrupted try stood, with what it had kept of the rows read again: only so do tokens count alike."""
        with torch.no_grad():
            vectors = self.make({name: values[:1] for name, values in self.start.items()})
            course.judge.scores(range(course.judge.size), vectors)
            seen = list(dict.fromkeys(row for at in range(standing.step) for row in self._batch(at, course)))
            for at in range(0, len(seen), self.schedule.batch):
                course.bound.scores(seen[at : at + self.schedule.batch], vectors)
        course.meter.replay(tokens - course.meter.tokens)
        return standing


def _mean_losses(scores: NDArray[np.float32], gold: NDArray[np.int64]) -> list[float]:
    """Each variant's mean loss; infinite where it is not a number. Shape: scores [K, B, C]; gold [B]."""
    picked = np.take_along_axis(scores, np.broadcast_to(gold, scores.shape[:2])[..., None], -1)[..., 0]
    return [float(-row.mean()) if np.isfinite(row).all() else math.inf for row in picked]
