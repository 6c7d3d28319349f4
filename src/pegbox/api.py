"""The public verbs: tune, compare, evaluate, load."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pegbox
from pegbox.artifact import Tuned, load, opened, seen_rows
from pegbox.backbone.loaded_backbone import LoadedBackbone
from pegbox.backbone.seam import Backbone
from pegbox.data.check import which
from pegbox.data.review import review
from pegbox.data.rows import Data, Rows, Sealed
from pegbox.data.split import dev_split, few_shot
from pegbox.data.stream import Reading
from pegbox.errors import BackboneError, DataError, RunError, SettingsError
from pegbox.evaluate.report import Report
from pegbox.evaluate.scores import Evaluation, MeasuredEvaluation, evaluate_predictor, evaluate_task
from pegbox.prompt import Prompt, parse
from pegbox.recipe.comparison import Plan, Watch
from pegbox.recipe.comparison import compare as run_comparison
from pegbox.recipe.methods import defaults, for_task
from pegbox.recipe.record import record_of
from pegbox.recipe.run import Job, run
from pegbox.recipe.settings import identity, with_settings
from pegbox.task.calibration import Method as CalibrationMethod
from pegbox.task.classification import Classification
from pegbox.task.entry import Asked
from pegbox.task.groups import in_groups
from pegbox.task.predictor import told_of
from pegbox.task.registry import entry
from pegbox.task.task import Task
from pegbox.tune.budget import Budget
from pegbox.tune.trail import Event, Trail

__all__ = ["Report", "Tuned", "compare", "evaluate", "load", "tune"]

Words = Mapping[Any, str | Sequence[str]]


def open_backbone(model: str | LoadedBackbone, dtype: str = "auto", device: str = "auto") -> LoadedBackbone:
    """The frozen model behind the seam.

    Settings:
        model: smollm2, tiny, a Transformers folder, a .gguf file, a hub id, or a backbone that is loaded already.
        dtype: auto, float32, bfloat16 or float16.
        device: auto, cpu or cuda.

    Keys and values of texts are kept in memory and in files as the environment says (PEGBOX_CACHE_BYTES,
    PEGBOX_CACHE_DISK_BYTES, PEGBOX_CACHE_STORAGE); `tiny` keeps no files, as reading them takes longer than computing.
    """
    if not isinstance(model, str):
        return model
    from pegbox.backbone.opening import backbone_of
    from pegbox.backbone.storage import default_storage
    from pegbox.backbone.weights import load as load_weights

    on_disk = 0 if model == "tiny" else None
    return backbone_of(load_weights(model, dtype, device), None, default_storage(), on_disk)


def default_methods(task: str, model: str | LoadedBackbone) -> tuple[str, ...]:
    """What a comparison with this model compares unless it is told: see `pegbox.recipe.methods.defaults`."""
    backbone = open_backbone(model)
    try:
        keeps = backbone.deep_width > 0
    except BackboneError:
        keeps = False
    return defaults(task, keeps)


def tune(
    data: Any,
    *,
    task: str = "classify",
    method: str = "hybrid",
    model: str | LoadedBackbone = "smollm2",
    text: str | None = None,
    label: str | None = None,
    dev: Any = None,
    prompt: str | Prompt | None = None,
    words: Words | None = None,
    budget: str | Budget = "5m",
    seed: int = 0,
    shots: int | None = None,
    calibration: CalibrationMethod = "batch",
    channel: bool = False,
    settings: Mapping[str, Any] | None = None,
    task_settings: Mapping[str, Any] | None = None,
    dtype: str = "auto",
    device: str = "auto",
    folder: str | Path | None = None,
    watch: Callable[[Event], None] | None = None,
) -> Tuned:
    """Tunes a prompt on labelled rows.

    Settings:
        data: Rows, a file, a DataFrame, a data set, a list of (text, label) pairs or a tuple of two lists; a `Data` stands for
            its training rows. Other tasks read what `pegbox tune --help` and their pages say.
        task: what is asked of a text: classify, or another name in `pegbox.task.registry.TASKS`.
        method: a name from `pegbox methods` that makes a prompt.
        model: the frozen model.
        text, label: the columns, where they cannot be guessed.
        dev: rows to choose on; by default split off the data.
        prompt: the written prompt, in notation; by default one that names the labels.
        words: for each label its word or words; by default its own name.
        budget: ``90s``, ``5m``, ``2Mtokens``.
        seed: all chance in tuning.
        shots: take only so many rows of each label.
        calibration: batch, contextual or none.
        channel: noisy-channel scoring.
        settings: the method's settings, by dotted name.
        task_settings: the task's own settings, by name.
        dtype, device: the model's number type and place.
        folder: where to keep the run, so that the same call goes on after an interruption. It may be deleted when the result
            is saved.
        watch: told of each event of the run.

    Raises: DataError, SettingsError, BackboneError; RunError where the folder holds another run.
    """
    entry(task)  # complains of an unknown task before an unknown method
    if for_task(method, task).predictor:
        raise SettingsError(
            f"tuning with {method!r}", "a method that makes a prompt", "use it in pegbox.compare, as a reference"
        )
    given, chosen_on, notes = _parts(task, data, dev, text, label, _fields_of(prompt))
    given = given if shots is None else few_shot(given, shots, seed)
    train, judged = dev_split(given, seed) if chosen_on is None else (given, chosen_on)
    asked, start = task_and_prompt(given, prompt, words, calibration, channel, task, task_settings)
    asked.gold_texts(judged)  # an unknown label or a missing field is told now, not after an hour
    asked.check(start, train, judged)
    job = Job(method, start, asked, _budget(budget), seed, settings or {})
    backbone = open_backbone(model, dtype, device)
    place = None if folder is None else Path(folder)
    if place is not None:
        _claim(place, job, backbone, train, judged)
    outcome = run(job, backbone, train, judged, Trail(place, watch))
    record = record_of(job, outcome, backbone, train, judged)
    record["notes"] = [*notes, *record["notes"]]
    seen = frozenset(mark for part in (train, judged) for mark in asked.marks(outcome.predictor.prompt, part))
    return Tuned(outcome.predictor, record, outcome.trail, seen)


def compare(
    data: Any,
    *,
    task: str = "classify",
    methods: Sequence[str] | None = None,
    model: str | LoadedBackbone = "smollm2",
    text: str | None = None,
    label: str | None = None,
    prompt: str | Prompt | None = None,
    words: Words | None = None,
    budget: str | Budget = "5m",
    seeds: int = 1,
    tuning_seeds: int | None = None,
    shots: int | None = None,
    calibration: CalibrationMethod = "batch",
    channel: bool = False,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    task_settings: Mapping[str, Any] | None = None,
    group: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    folder: str | Path | None = None,
    watch: Watch | None = None,
) -> Report:
    """Compares methods on the same rows, splits, seeds and budget, and scores each once on the test rows.

    Settings:
        data: what `pegbox.read` returned, or anything that it reads.
        methods: names from `pegbox methods`; a choice of all kinds by default (`pegbox.recipe.methods.defaults`).
        budget: what each method may spend for each seed.
        seeds: how many seeds; `tuning_seeds` may give the methods that use up their budget fewer.
        settings: methods' settings, by method and dotted name.
        group: a column by whose values (a language, a source) every score is told as well; methods do not see it. Of a `Data`
            it is a field that was asked for when it was read.
        folder: where finished cells are kept, so that the same call goes on after an interruption.
        watch: told of each event of each cell.
        The rest is as in `tune`.

    Raises: DataError, SettingsError, BackboneError.
    """
    known = data if isinstance(data, Data) else entry(task).read(data, text, label, fields=_fields_of(prompt))
    if group is not None and not isinstance(data, Data):
        known = in_groups(known, group, task, data, text=text, label=label, fields=_fields_of(prompt))
    if known.test is None:
        raise DataError(
            "data without test rows",
            "a sealed test part for the final scores",
            "read it with test_size=0.2, or name a test file",
        )
    train = known.train if shots is None else few_shot(known.train, shots, 0)
    asked, start = task_and_prompt(train, prompt, words, calibration, channel, task, task_settings)
    if group is not None and not known.test.in_groups:
        known, train = known.grouped(group, asked.reads(start)), train.grouped(group, asked.reads(start))
    asked.check(start, train, *(() if known.dev is None else (known.dev,)))
    chosen = tuple(methods or defaults(task))
    plan = Plan(chosen, start, asked, _budget(budget), seeds, tuning_seeds, settings or {}, group)
    assert known.test is not None
    backbone = open_backbone(model, dtype, device)
    if not methods:
        plan = replace(plan, methods=default_methods(task, backbone))
    place = None if folder is None else Path(folder)
    told = watch or (lambda *_: None)
    return Report.of(run_comparison(plan, backbone, train, known.test, known.dev, place, told, known.notes))


def evaluate(
    tuned: Tuned, data: Any, *, text: str | None = None, label: str | None = None, group: str | None = None
) -> Evaluation | MeasuredEvaluation:
    """Scores a tuned prompt on labelled rows, with 95 % intervals. The opening of these rows is written in `tuned`.

    Settings:
        data: what `pegbox.read` returned, of which the test rows are opened, or labelled rows in any form.
        group: a column by whose values every score is told as well.

    Raises: DataError for unlabelled rows, no rows, or labels that the prompt does not know.
    """
    sealed = data.test if isinstance(data, Data) else data if isinstance(data, Sealed) else None
    if isinstance(data, Data) and sealed is None:
        raise DataError("data without test rows", "a sealed test part", "read it with test_size=0.2, or give rows to score")
    more = (*tuned.further_fields, *([] if group is None or group in tuned.further_fields else [group]))
    rows, notes = (sealed.open("evaluate"), ()) if sealed is not None else _rows(tuned, data, text, label, more)
    rows = rows if group is None or rows.groups is not None else rows.grouped(group, tuned.task.reads(tuned.prompt))
    found: Evaluation | MeasuredEvaluation
    if isinstance(tuned.task, Classification):
        found = evaluate_predictor(tuned.classifier, rows, tuned.labels)
    else:
        found = evaluate_task(tuned.predictor, tuned.task, rows)
    said = [*notes, *tuned.task.said(rows)]
    opening = {"rows_digest": found.rows_digest, "rows": found.rows, "source": found.source, **found.main}
    if (count := opened(tuned.evaluations, opening)) > 1:
        said.append(f"these rows have now been opened {count} times with this prompt; choose nothing by their scores")
    said += told_of(tuned.predictor, rows, "texts")
    if seen := seen_rows(tuned, rows):
        were = "was" if len(seen) == 1 else "were"
        said.append(f"{len(seen)} of these rows {were} there in tuning ({which(seen)}): the scores flatter the prompt")
    return replace(found, opening=count, notes=tuple(said))


def task_and_prompt(
    rows: Rows,
    prompt: str | Prompt | None,
    words: Words | None,
    calibration: CalibrationMethod,
    channel: bool,
    task: str = "classify",
    task_settings: Mapping[str, Any] | None = None,
) -> tuple[Task, Prompt]:
    """The task that the rows describe, and the written prompt to start from."""
    known = parse(prompt) if isinstance(prompt, str) else prompt
    made, start = entry(task).make(rows, Asked(known, words, calibration, channel))
    return with_settings(made, task_settings or {}), start


def _rows(
    tuned: Tuned, data: Any, text: str | None, label: str | None, fields: Sequence[str] = ()
) -> tuple[Rows, tuple[str, ...]]:
    """Rows to be scored, and what the reader guessed, left out or noticed."""
    reading = Reading(known=frozenset(tuned.labels))
    return entry(tuned.task.name).rows(data, text, label, True, fields=fields, reading=reading)


def _fields_of(prompt: str | Prompt | None) -> tuple[str, ...]:
    """The columns besides the text that a prompt reads."""
    known = parse(prompt) if isinstance(prompt, str) else prompt
    return () if known is None else tuple(name for name in known.field_names if name != "text")


def _parts(
    task: str, data: Any, dev: Any, text: str | None, label: str | None, fields: Sequence[str]
) -> tuple[Rows, Rows | None, tuple[str, ...]]:
    """Rows to learn from, rows to choose on where there are some, and notes: checked as `read` checks them."""
    said: tuple[str, ...] = ()
    if isinstance(data, Data):
        if dev is None:
            return data.train, data.dev, data.notes
        data, said = data.train, data.notes
    if isinstance(data, Rows) and dev is None:
        return data, None, review(data)
    found = entry(task).read(data, text, label, fields=fields, dev=dev, test_size=0)
    return found.train, found.dev, tuple(dict.fromkeys((*said, *found.notes)))


def _budget(budget: str | Budget) -> Budget:
    return Budget.parse(budget) if isinstance(budget, str) else budget


def _claim(folder: Path, job: Job, backbone: Backbone, train: Rows, dev: Rows) -> None:
    """Takes a folder for this run, or finds that it is this run's already. Raises RunError if it is another's."""
    model = [backbone.digest, backbone.dtype, backbone.device, pegbox.__version__]
    made = [job.method, identity(job.made()), job.seed, str(job.budget), job.prompt.digest(), repr(job.task)]
    digest = hashlib.sha256(json.dumps([*made, *model, train.digest(), dev.digest()]).encode()).hexdigest()
    mark = folder / "run.json"
    if mark.exists():
        if json.loads(mark.read_text(encoding="utf-8")).get("digest") != digest:
            raise RunError(
                f"{folder} holds a run with other settings or data",
                "the same run, to go on with",
                "delete the folder, or choose another",
            )
        return
    draft = folder / "run.tmp"
    if folder.exists() and (not folder.is_dir() or any(path != draft for path in folder.iterdir())):
        raise RunError(f"{folder} is there already and is no run", "a new folder", "choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    draft.write_text(json.dumps({"digest": digest, "method": job.method}) + "\n", encoding="utf-8")
    draft.replace(mark)
