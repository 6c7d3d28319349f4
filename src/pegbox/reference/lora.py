"""LoRA: small matrices added to the weights of a copy of the backbone, trained on the same loss as soft prompts."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pegbox.backbone.loaded_backbone import LoadedBackbone
from pegbox.backbone.quantized import hush
from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.errors import BackboneError
from pegbox.prompt import Prompt
from pegbox.reference.texts import row_texts
from pegbox.task.calibration import Calibration
from pegbox.task.classification import BoundClassification, Classification, Over
from pegbox.tune.budget import Budget, Meter
from pegbox.tune.orders import drawn, even_batch, flat, grouped, together
from pegbox.tune.parts import Lengths, parts
from pegbox.tune.trail import Trail

_LOOKING = 0.25  # share of the budget for looking at dev rows
_FEWEST_LOOKED = 32


@dataclass(frozen=True)
class Lora:
    """What changing the weights would give; the upper reference for prompts of any kind.

    A first quarter of the way is gone with every learning rate, the rest with the one whose dev loss is then lowest. An
    interrupted run starts anew, with the plan that it kept, and ends the same.

    Settings:
        rank: width of the added matrices.
        alpha: their weight is alpha / rank.
        modules: the layers that get them: "all-linear", or the ends of the layers' names.
        learning_rates: tried in this order; where the budget is small only the first ones, and others if those diverge.
        batch: rows in a step.
        most_steps: no more steps than these, whatever the budget.
        trial_steps: a learning rate is tried only if it can have so many steps.
        warmup: share of the steps in which the learning rate rises; then it falls in a line to 0.
        clip: largest norm of the gradient.
        evaluations: how often the dev rows are looked at.
        dev_rows: how many of them, as far as the budget goes.
        patience: evaluations without a better dev loss before it stops.
        loss: as in `pegbox.tune.schedule.Schedule`.

    Source: Hu et al. 2022 (arXiv 2106.09685), through PEFT. We differ in the layers (all, which Dettmers et al. 2023, arXiv
        2305.14314, found best), and in float32 for the added weights.
    """

    rank: int = 8
    alpha: int = 16
    modules: str | tuple[str, ...] = "all-linear"
    learning_rates: tuple[float, ...] = (3e-3, 1e-3, 3e-4)
    batch: int = 16
    most_steps: int = 1000
    trial_steps: int = 10
    warmup: float = 0.06
    clip: float = 1.0
    evaluations: int = 6
    dev_rows: int = 200
    patience: int = 3
    loss: Over = "vocabulary"

    def fit(
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
    ) -> LoraPredictor:
        """See `pegbox.reference.protocol.Reference.fit`. The backbone itself stays as it is.

        Raises: BackboneError without PEFT, or for a backbone whose weights are out of reach.
        """
        seed = int(rng.integers(2**31))
        train = task.taught(prompt, backbone, train, lambda text: trail.write("note", text=text))
        dev = task.looked_at(dev)
        adapted, weights = self._adapted(backbone, seed)
        meter = Meter(budget, adapted, trail)
        training = _Training(self, prompt, task, adapted, weights, train, seed, trail)
        plan = self._plan(training, meter, len(dev))
        dev = dev.take(drawn(dev, seed, 0)[: plan.dev_rows])
        training.run(plan, task.bind(prompt, adapted, dev))
        for some in weights:
            some.requires_grad_(False)
        return LoraPredictor(prompt, task, adapted, sum(some.numel() for some in weights))

    def _adapted(self, backbone: Backbone, seed: int) -> tuple[LoadedBackbone, list[torch.nn.Parameter]]:
        """A copy of the backbone with matrices added, and these."""
        if not isinstance(backbone, LoadedBackbone):
            raise BackboneError(
                f"LoRA for a {type(backbone).__name__}", "a Transformers model", "leave lora out of the comparison"
            )
        try:
            hush()
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError as error:
            raise BackboneError("LoRA without the package peft", "peft 0.21 or later", "pip install 'pegbox[lora]'") from error
        model: Any = copy.deepcopy(backbone.loaded.model)
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            target_modules=self.modules if isinstance(self.modules, str) else list(self.modules),
            fan_in_fan_out=any(
                type(layer).__name__ == "Conv1D" for layer in model.modules()
            ),  # GPT-2's layers lie the other way
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = inject_adapter_in_model(config, model).eval()
        weights = [some for some in model.parameters() if some.requires_grad]
        for some in weights:
            some.data = some.data.float()
        return backbone.with_model(model, f"{backbone.digest}+lora"), weights

    def _plan(self, training: _Training, meter: Meter, dev_rows: int) -> _Plan:
        """How the budget is divided. A second try starts from the same speed, so it does the same."""
        per_step = training.cost(meter)
        left = meter.tokens_left or 0
        per_row = per_step / 2 / self.batch  # a look at a row is a forward pass alone
        steps = (1 - _LOOKING) * left / per_step
        rates = len(self.learning_rates)
        while rates > 1 and steps / (3 + rates) < self.trial_steps:  # a quarter of the way with each, three with the best
            rates -= 1
        trials = rates if rates > 1 else 0
        looks = max(1 + trials, min(self.evaluations + trials, int(_LOOKING * left / (_FEWEST_LOOKED * per_row))))
        looked = min(dev_rows, self.dev_rows, max(_FEWEST_LOOKED, int(_LOOKING * left / looks / per_row)))
        whole = int(max(1, min(steps * 4 / (3 + rates), self.most_steps)))
        return _Plan(whole, max(1, whole // 4) if trials else 0, rates, looked, max(1, whole // (looks - trials)))

    def rate(self, step: int, steps: int) -> float:
        """The share of the learning rate in force at a step (0 based)."""
        rise = max(1, round(self.warmup * steps))
        return min((step + 1) / rise, (steps - step) / max(1, steps - rise))


@dataclass(frozen=True)
class _Plan:
    """How the steps go.

    Settings:
        steps: in all.
        trial: of these, those that every learning rate is tried with.
        rates: how many learning rates are tried.
        dev_rows: how many dev rows are looked at each time.
        every: steps between looks.
    """

    steps: int
    trial: int
    rates: int
    dev_rows: int
    every: int


@dataclass(eq=False)
class _Trial:
    """One learning rate on its way."""

    number: int
    rate: float
    optimizer: torch.optim.AdamW
    weights: list[torch.Tensor]
    step: int = 0
    loss: float = math.inf
    best: list[torch.Tensor] = field(default_factory=list)
    best_step: int = 0
    waited: int = 0
    sound: bool = True


class _Training:
    """The steps on the added weights."""

    def __init__(
        self,
        settings: Lora,
        prompt: Prompt,
        task: Classification,
        backbone: LoadedBackbone,
        weights: list[torch.nn.Parameter],
        train: Rows,
        seed: int,
        trail: Trail,
    ) -> None:
        self.settings, self.backbone, self.weights, self.seed, self.trail = settings, backbone, weights, seed, trail
        self.bound = task.bind(prompt, backbone, train, settings.loss)
        self.groups = together(train)
        self.strata = grouped(task.strata(train), self.groups)
        self.lengths = _lengths(train, prompt, backbone)
        self.start = self._copy()
        if self.bound.cut_rows:
            count = len(self.bound.cut_rows)
            trail.write("note", text=f"{count} of {len(train)} training texts were cut to the model's context")

    def cost(self, meter: Meter) -> float:
        """Tokens of one step, which also sets the speed; a first look at two rows warms up."""
        self._gradient(self._batch(0, 2))
        began, before = time.monotonic(), meter.tokens
        self._gradient(self._batch(0, self.settings.batch))
        tokens = meter.tokens - before
        meter.settle(tokens / (time.monotonic() - began))
        return tokens

    def run(self, plan: _Plan, judge: BoundClassification) -> None:
        """Leaves the best weights in place."""
        trials = [self._trial(number, rate) for number, rate in enumerate(self.settings.learning_rates[: plan.rates])]
        self.trail.write("plan", steps=plan.steps, trial=plan.trial, variants=len(trials), batch=self.settings.batch)
        if plan.steps * self.settings.batch < len(self.groups):
            seen, what = plan.steps * self.settings.batch, "rows" if len(self.groups) == self.bound.size else "sentences"
            self.trail.write(
                "note", text=f"the budget allows {plan.steps} steps: {seen} of {len(self.groups)} training {what} are seen"
            )
        for trial in trials:
            self._advance(trial, plan.trial, plan, judge)
        best = min(trials, key=lambda trial: trial.loss)
        self._advance(best, plan.steps, plan, judge)
        for number, rate in list(enumerate(self.settings.learning_rates))[plan.rates :]:
            if not best.best:
                best = self._trial(number, rate)
                self._advance(best, plan.steps, plan, judge)
        if not best.best:
            self.trail.write("note", text="no step gave a dev loss that is a number: the weights are those of the backbone")
        self._place(best.best or self.start)
        self.trail.write("best", step=best.best_step, loss=best.loss, variant=best.number, learning_rate=best.rate)

    def _trial(self, number: int, rate: float) -> _Trial:
        return _Trial(number, rate, torch.optim.AdamW(self.weights, lr=rate, weight_decay=0.0), self.start)

    def _advance(self, trial: _Trial, until: int, plan: _Plan, judge: BoundClassification) -> None:
        self._place(trial.weights)
        while trial.step < until and trial.sound:
            self._step(trial, plan.steps)
            if trial.step == until or (
                trial.step > max(plan.trial, plan.every) and (plan.steps - trial.step) % plan.every == 0
            ):
                self._judge(trial, judge)
                if trial.waited >= self.settings.patience:
                    self.trail.write(
                        "note", text=f"stopped early at step {trial.step} of {plan.steps}: the dev loss no longer falls"
                    )
                    break
        trial.weights = self._copy()

    def _step(self, trial: _Trial, steps: int) -> None:
        loss = self._gradient(self._batch(trial.step, self.settings.batch))
        norm = torch.nn.utils.clip_grad_norm_(self.weights, self.settings.clip)
        trial.sound = math.isfinite(loss) and bool(torch.isfinite(norm))
        if not trial.sound:
            self.trail.write("note", text=f"diverged: learning rate {trial.rate:g} at step {trial.step}")
            return
        for group in trial.optimizer.param_groups:
            group["lr"] = trial.rate * self.settings.rate(trial.step, steps)
        trial.optimizer.step()
        trial.step += 1
        spent = self.backbone.spent.forward + self.backbone.spent.backward
        self.trail.write("step", step=trial.step, of=steps, loss=loss, variant=trial.number, tokens=spent)

    def _batch(self, step: int, size: int) -> list[int]:
        """The rows of a step: so many, or so many groups of rows that stay together."""
        return flat([self.groups[at] for at in even_batch(step, size, self.strata, self.seed)])

    def _gradient(self, index: Sequence[int]) -> float:
        """Leaves the mean loss's gradient in the weights; part by part, where the batch is long."""
        for some in self.weights:
            some.grad = None
        total = 0.0
        for part in parts(index, self.lengths):
            loss = self.bound.losses(part).sum() / len(index)
            loss.backward()
            total += float(loss.detach())
        return total

    def _judge(self, trial: _Trial, judge: BoundClassification) -> None:
        scores = judge.log_probabilities()[0]
        assert judge.gold is not None
        gold = judge.gold.numpy()
        loss = -float(scores[np.arange(len(gold)), gold].mean())
        accuracy = float((scores.argmax(1) == gold).mean()) if scores.shape[1] > 1 else None
        self.trail.write("dev", step=trial.step, loss=loss, accuracy=accuracy, variant=trial.number, rows=len(gold))
        trial.waited += 1
        if loss < trial.loss:
            trial.loss, trial.best, trial.best_step, trial.waited = loss, self._copy(), trial.step, 0

    def _copy(self) -> list[torch.Tensor]:
        return [some.detach().clone() for some in self.weights]

    @torch.no_grad()
    def _place(self, values: Sequence[torch.Tensor]) -> None:
        for some, value in zip(self.weights, values, strict=True):
            some.copy_(value)


def _lengths(rows: Rows, prompt: Prompt, backbone: Backbone) -> Lengths:
    """How many positions a pass runs for the rows' own texts, which the words of a sentence share."""
    texts = [len(backbone.encode(text)) for text in row_texts(rows, prompt)]
    if not rows.kin:
        return Lengths(texts)
    words = [len(backbone.encode(row["word"])) for row in rows]
    return Lengths(words, 0, rows.kin, [text - word for text, word in zip(texts, words, strict=True)])


@dataclass(frozen=True, eq=False)
class LoraPredictor:
    """The written prompt over the adapted copy of the backbone. Its scores are trained, so nothing is calibrated.

    Settings:
        template: the written prompt.
        prompt: none: what was tuned are weights.
    """

    template: Prompt
    task: Classification
    backbone: LoadedBackbone
    parameters: int
    prompt: None = None
    calibration: Calibration = Calibration()  # noqa: RUF009  # immutable

    @property
    def nbytes(self) -> int:
        return 4 * self.parameters

    def request(self, rows: Rows) -> tuple[Prompt, Rows]:
        """See `pegbox.task.predictor.Requesting.request`."""
        return self.template, rows

    def predict_proba(self, rows: Rows) -> NDArray[np.float32]:
        """See `pegbox.task.predictor.Predictor.predict_proba`."""
        return self.task.predict_proba(self.template, self.backbone, rows, self.calibration)
