"""A comparison: every method on the same rows, splits, seeds and budget, then once on the test rows.

Each (method, seed) is a cell in a folder of its own, named by a digest of everything that could change its result. A cell that
is done is read; one that was interrupted goes on from its trail; the rest is run.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pegbox
from pegbox.artifact import NEEDED, Tuned
from pegbox.backbone.loaded_backbone import LoadedBackbone
from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows, Sealed
from pegbox.data.split import dev_split
from pegbox.errors import SettingsError
from pegbox.evaluate.record import Cell, Comparison, Cost
from pegbox.metrics.measures import measure, overall
from pegbox.prompt import Prompt, format
from pegbox.recipe.cells import read_cell, write_cell
from pegbox.recipe.methods import for_task
from pegbox.recipe.openings import LABELS, REPORT, Openings
from pegbox.recipe.record import record_of
from pegbox.recipe.run import Job, Outcome, run
from pegbox.recipe.settings import identity, with_settings
from pegbox.recipe.speed import extra_tokens, predict_speed
from pegbox.task.classification import Classification
from pegbox.task.predictor import Predictor, PromptPredictor, Requesting, told_of
from pegbox.task.task import Task
from pegbox.tune.budget import Budget
from pegbox.tune.trail import Event, Trail

Watch = Callable[[str, int, Event], None]
"""Told of what happens: method, seed, event."""


@dataclass(frozen=True)
class Plan:
    """What is compared, and on what terms.

    Settings:
        methods: names in the registry, in the table's order.
        prompt: the written prompt that all of them start from.
        task: what is asked of each row and how it is scored, one for all.
        budget: what each method may spend for each seed.
        seeds: how many seeds: each has its own dev split (where no dev rows are given), starts and batches.
        tuning_seeds: how many of these the methods that use up their budget get; None: all.
        settings: changes to methods' settings, by method and dotted name.
        group: the column whose values part the test rows into slices.
    """

    methods: tuple[str, ...]
    prompt: Prompt
    task: Task
    budget: Budget
    seeds: int = 1
    tuning_seeds: int | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    group: str | None = None

    def __post_init__(self) -> None:
        if not self.methods or len(set(self.methods)) != len(self.methods):
            raise SettingsError(
                f"methods {', '.join(self.methods) or 'none'}", "different methods, at least one", "name each once"
            )
        if self.seeds < 1 or (self.tuning_seeds is not None and self.tuning_seeds < 1):
            raise SettingsError(f"{self.seeds} seeds ({self.tuning_seeds} for tuning)", "at least 1", "say --seeds 3")
        for name in self.methods:
            with_settings(
                for_task(name, self.task.name).make(), self.settings.get(name, {})
            )  # complains now, not after an hour
        if unknown := sorted(set(self.settings) - set(self.methods)):
            raise SettingsError(
                f"settings for {unknown[0]!r}", f"one of the methods compared: {', '.join(self.methods)}", "add the method"
            )

    def cells(self) -> list[tuple[str, int]]:
        """Every (method, seed), the quick methods' first."""
        spends = {name: for_task(name, self.task.name).spends for name in self.methods}
        order = sorted(self.methods, key=lambda name: spends[name])
        many = self.seeds if self.tuning_seeds is None else min(self.seeds, self.tuning_seeds)
        return [(name, seed) for name in order for seed in range(many if spends[name] else self.seeds)]


def compare(
    plan: Plan,
    backbone: LoadedBackbone,
    train: Rows,
    test: Sealed,
    dev: Rows | None,
    folder: Path | None,
    watch: Watch,
    notes: Sequence[str],
) -> Comparison:
    """Runs every cell that is not done yet, and puts all of them together.

    Raises: DataError where a test row has a right answer that the task does not know, before anything is run.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pegbox-") as scratch:
        place = folder or Path(scratch)
        place.mkdir(parents=True, exist_ok=True)
        openings = Openings(place, test)
        plan.task.gold_texts(openings.open(LABELS))
        work = _Work(plan, backbone, train, test, dev, place, watch, openings)
        cells = [work.cell(name, seed) for name, seed in plan.cells()]
        rows = openings.open(REPORT)
        opened = [{"reason": one["reason"], "count": one["count"]} for one in openings.all()]
        notes = (*notes, *plan.task.said(rows), *openings.note({work.folder(name, seed).name for name, seed in plan.cells()}))
    order = {name: at for at, name in enumerate(plan.methods)}
    settings = {
        **_settings(plan, backbone, train, test, dev),
        "wall_seconds": round(time.monotonic() - began, 1),
        "test_openings": opened,
    }
    return Comparison(
        texts=tuple(plan.task.inputs(plan.prompt, rows)),
        numbers=rows.numbers,
        cells=tuple(sorted(cells, key=lambda cell: (order[cell.method], cell.seed))),
        settings=settings,
        notes=tuple(notes),
        groups=rows.groups or (),
        **_answers(plan.task, rows),
    )


def _answers(task: Task, rows: Rows) -> dict[str, Any]:
    """The right answers, as a comparison of this task holds them."""
    if isinstance(task, Classification):
        return {"labels": task.labels, "gold": task.gold(rows)}
    answers = tuple(task.gold_texts(rows))
    return {"labels": (), "gold": np.zeros(0, np.int64), "answers": answers, "measures": tuple(task.measures)}


@dataclass(frozen=True)
class _Work:
    """The cells of one comparison, one at a time."""

    plan: Plan
    backbone: LoadedBackbone
    train: Rows
    test: Sealed
    dev: Rows | None
    place: Path
    watch: Watch
    openings: Openings
    scored: dict[str, tuple[NDArray[np.float32], tuple[str, ...]]] = field(default_factory=dict)
    """The test rows' label scores under a prompt that some cell has found, before calibration, and notes on long texts."""
    outputs: dict[str, Sequence[Any]] = field(default_factory=dict)
    """The outputs for the test rows of a prompt and what was fitted beside it, of tasks other than classification."""

    def folder(self, name: str, seed: int) -> Path:
        return self.place / "cells" / f"{name}-{seed}-{self._digest(name, seed)[:10]}"

    def cell(self, name: str, seed: int) -> Cell:
        """The result of one method under one seed: read, gone on with, or run."""
        own = self.folder(name, seed)
        if (own / "cell.json").exists():
            self.watch(name, seed, {"event": "read", "folder": str(own)})
            return read_cell(own)
        train, dev = dev_split(self.train, seed) if self.dev is None else (self.train, self.dev)
        self.watch(name, seed, {"event": "begin", "train": len(train), "dev": len(dev)})
        job = Job(name, self.plan.prompt, self.plan.task, self.plan.budget, seed, self.plan.settings.get(name, {}))
        outcome = run(job, self.backbone, train, dev, Trail(own, lambda event: self.watch(name, seed, event)))
        self.watch(name, seed, {"event": "test", "rows": len(self.test), "dev_accuracy": outcome.dev_accuracy})
        rows = self.openings.open(f"final scores of {name}, seed {seed}", own.name)
        found, told = self._found(outcome, rows)
        saved = self._save(job, outcome, (train, dev, rows), own / "prompt")
        cell = Cell(
            **found,
            method=name,
            kind=for_task(name, self.plan.task.name).kind,
            seed=seed,
            dev_accuracy=outcome.dev_accuracy,
            cost=self._cost(outcome, saved, rows),
            prompt="" if outcome.predictor.prompt is None else format(outcome.predictor.prompt),
            readable=outcome.kept and outcome.predictor.prompt.readable,
            nearest=outcome.nearest,
            trail=outcome.trail,
            notes=(*outcome.notes, *told),
            spends=for_task(name, self.plan.task.name).spends,
        )
        write_cell(own, cell)
        self.watch(name, seed, {"event": "end", **self._said(cell, rows)})
        return cell

    def _found(self, outcome: Outcome, rows: Rows) -> tuple[dict[str, Any], tuple[str, ...]]:
        """What the test rows gave: probabilities, or sums for each measure; and notes on texts that were too long."""
        task, predictor = self.plan.task, outcome.predictor
        if isinstance(task, Classification):
            probabilities, told = self._scored(predictor, rows)
            return {"probabilities": probabilities}, told
        outputs = self._answered(outcome, rows)
        statistics = task.statistics(outputs, rows)
        return {
            "probabilities": np.zeros((len(rows), 0), np.float32),
            "statistics": {name: np.asarray(statistics[name], np.float64) for name in task.measures},
            "breakdown": task.breakdown(outputs, rows),
            "outputs": tuple(task.show(output) for output in outputs),
        }, told_of(predictor, rows, "test texts")

    def _answered(self, outcome: Outcome, rows: Rows) -> Sequence[Any]:
        """The outputs for the test rows; a prompt that several seeds ended with is asked once."""
        if not outcome.kept:
            return list(outcome.predictor.answers(rows))
        known = json.dumps([outcome.predictor.prompt.digest(), outcome.predictor.state()])
        if known not in self.outputs:
            self.outputs[known] = list(outcome.predictor.answers(rows))
        return self.outputs[known]

    def _said(self, cell: Cell, rows: Rows) -> dict[str, Any]:
        """The cell's score, for those who watch."""
        if isinstance(self.plan.task, Classification):
            return {"accuracy": float((cell.probabilities.argmax(1) == self.plan.task.gold(rows)).mean())}
        main = measure(self.plan.task.measures[0])
        return {"score": overall(cell.statistics[main.name], main), "measure": main.title}

    def _scored(self, predictor: Predictor, rows: Rows) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        """The test rows' probabilities, and what is to be said of texts that were too long.

        A prompt that several seeds ended with, such as the written one, reads the rows once.
        """
        if not isinstance(predictor, Requesting):
            return predictor.predict_proba(rows), told_of(predictor, rows, "test texts")
        known = f"{predictor.prompt.digest()} {predictor.task.long}" if isinstance(predictor, PromptPredictor) else None
        scores, told = self.scored.get(known or "", (None, ()))
        if scores is None:
            prompt, sent = predictor.request(rows)
            bound = predictor.task.bind(prompt, predictor.backbone, sent)
            scores, told = bound.log_probabilities()[0], bound.told("test texts")
        if known is not None:
            self.scored[known] = scores, told
        return predictor.calibration.probabilities(scores), told

    def _save(self, job: Job, outcome: Outcome, rows: tuple[Rows, Rows, Rows], place: Path) -> Path | None:
        """The artifact's folder, where there is a prompt to save; the opening of the test rows is written in it."""
        if not outcome.kept:
            return None
        train, dev, test = rows
        opening = {"rows_digest": test.digest(), "rows": len(test), "source": test.source, "reason": "compare"}
        many = len([one for one in self.openings.all() if one["cell"] == place.parent.name])  # 2 after a kill amid the scores
        evaluations: list[Mapping[str, Any]] = [{**opening, "opening": count} for count in range(1, many + 1)]
        record = record_of(job, outcome, self.backbone, train, dev)
        prompt = outcome.predictor.prompt
        seen = frozenset(mark for part in (train, dev) for mark in self.plan.task.marks(prompt, part))
        return Tuned(outcome.predictor, record, outcome.trail, seen, evaluations).save(place)

    def _cost(self, outcome: Outcome, saved: Path | None, rows: Rows) -> Cost:
        nbytes = outcome.predictor.nbytes
        if saved is not None:
            nbytes = sum((saved / name).stat().st_size for name in NEEDED if (saved / name).exists())
        single, batched = predict_speed(outcome.predictor, rows)
        return Cost(
            trained_parameters=outcome.predictor.parameters,
            artifact_bytes=nbytes,
            tokens_forward=outcome.spending.forward,
            tokens_backward=outcome.spending.backward,
            tune_seconds=outcome.spending.seconds,
            predict_ms_1=single,
            predict_ms_32=batched,
            extra_tokens=extra_tokens(outcome.predictor, self.backbone, rows),
            peak_memory_bytes=outcome.spending.peak,
        )

    def _digest(self, name: str, seed: int) -> str:
        """Everything that could change the cell's result."""
        made = with_settings(for_task(name, self.plan.task.name).make(), self.plan.settings.get(name, {}))
        model = [self.backbone.digest, self.backbone.dtype, self.backbone.device, pegbox.__version__]
        data = [self.train.digest(), self.test.digest(), None if self.dev is None else self.dev.digest()]
        known = [identity(made), seed, str(self.plan.budget), self.plan.prompt.digest(), repr(self.plan.task), model, data]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def _settings(plan: Plan, backbone: Backbone, train: Rows, test: Sealed, dev: Rows | None) -> dict[str, Any]:
    from pegbox.recipe.record import versions

    task = plan.task
    if isinstance(task, Classification):
        own: dict[str, Any] = {"words": {label: list(words) for label, words in task.words.items()}}
        own |= {"calibration": task.calibration, "channel": task.channel}
    else:
        own = {"task": {"name": task.name, **task.to_json()}}
    return {
        "model": backbone.name,
        "model_digest": backbone.digest,
        "dtype": backbone.dtype,
        "device": backbone.device,
        "prompt": format(plan.prompt),
        **own,
        "budget": str(plan.budget),
        "seeds": plan.seeds,
        "tuning_seeds": plan.tuning_seeds or plan.seeds,
        "train_rows": len(train),
        "dev_rows": "split off the training rows for each seed" if dev is None else len(dev),
        "test_rows": len(test),
        "train_digest": train.digest(),
        "test_digest": test.digest(),
        "versions": versions(),
        **({} if plan.group is None else {"group": plan.group}),
    }
