"""The public verbs: tune, compare, evaluate, load."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pegbox
from pegbox.artifact import Tuned, load, opened, row_marks, seen_rows
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.data.check import which
from pegbox.data.read import read
from pegbox.data.review import review
from pegbox.data.rows import Data, Rows, Sealed
from pegbox.data.samples import sample
from pegbox.data.split import dev_split, few_shot
from pegbox.data.table import SAMPLE, read_table
from pegbox.errors import DataError, PromptError, RunError, SettingsError
from pegbox.evaluate.report import Report
from pegbox.evaluate.scores import Evaluation, evaluate_predictor
from pegbox.prompt import Prompt, format, parse
from pegbox.recipe.comparison import Plan, Watch
from pegbox.recipe.comparison import compare as run_comparison
from pegbox.recipe.methods import DEFAULTS
from pegbox.recipe.methods import method as known_method
from pegbox.recipe.record import record_of
from pegbox.recipe.run import Job, default_prompt, run
from pegbox.recipe.settings import identity
from pegbox.task.calibration import Method as CalibrationMethod
from pegbox.task.classification import Classification
from pegbox.task.predictor import PromptPredictor
from pegbox.tune.budget import Budget
from pegbox.tune.trail import Event, Trail

__all__ = ["Report", "Tuned", "compare", "evaluate", "load", "tune"]

Words = Mapping[Any, str | Sequence[str]]


def open_backbone(model: str | HuggingFaceBackbone, dtype: str = "auto", device: str = "auto") -> HuggingFaceBackbone:
    """The frozen model behind the seam.

    Settings:
        model: smollm2, tiny, a Transformers folder, a .gguf file, a hub id, or a backbone that is loaded already.
        dtype: auto, float32, bfloat16 or float16.
        device: auto, cpu or cuda.

    Keys and values of texts are kept in memory and in files as the environment says (PEGBOX_CACHE_BYTES,
    PEGBOX_CACHE_DISK_BYTES, PEGBOX_CACHE_STORAGE); `tiny` keeps no files, as reading them takes longer than computing.
    """
    if isinstance(model, HuggingFaceBackbone):
        return model
    from pegbox.backbone.storage import default_storage
    from pegbox.backbone.weights import load as load_weights

    on_disk = 0 if model == "tiny" else None
    return HuggingFaceBackbone(load_weights(model, dtype, device), None, default_storage(), on_disk)


def tune(
    data: Any,
    *,
    method: str = "hybrid",
    model: str | HuggingFaceBackbone = "smollm2",
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
    dtype: str = "auto",
    device: str = "auto",
    folder: str | Path | None = None,
    watch: Callable[[Event], None] | None = None,
) -> Tuned:
    """Tunes a prompt on labelled rows.

    Settings:
        data: Rows, a file, a DataFrame, a data set, a list of (text, label) pairs or a tuple of two lists; a `Data` stands for
            its training rows.
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
        dtype, device: the model's number type and place.
        folder: where to keep the run, so that the same call goes on after an interruption. It may be deleted when the result
            is saved.
        watch: told of each event of the run.

    Raises: DataError, SettingsError, BackboneError; RunError where the folder holds another run.
    """
    if known_method(method).predictor:
        raise SettingsError(
            f"tuning with {method!r}", "a method that makes a prompt", "use it in pegbox.compare, as a reference"
        )
    given, chosen_on, notes = _parts(data, dev, text, label, _fields_of(prompt))
    given = given if shots is None else few_shot(given, shots, seed)
    train, judged = dev_split(given, seed) if chosen_on is None else (given, chosen_on)
    task, start = task_and_prompt(given, prompt, words, calibration, channel)
    task.gold(judged)  # an unknown label or a missing field is told now, not after an hour
    _check_fields(start, train, judged)
    job = Job(method, start, task, _budget(budget), seed, settings or {})
    backbone = open_backbone(model, dtype, device)
    place = None if folder is None else Path(folder)
    if place is not None:
        _claim(place, job, backbone, train, judged)
    outcome = run(job, backbone, train, judged, Trail(place, watch))
    assert isinstance(outcome.predictor, PromptPredictor)
    record = record_of(job, outcome, backbone, train, judged)
    record["notes"] = [*notes, *record["notes"]]
    names = outcome.predictor.prompt.field_names
    seen = frozenset((*row_marks(train, names), *row_marks(judged, names)))
    return Tuned(outcome.predictor, record, outcome.trail, seen)


def compare(
    data: Any,
    *,
    methods: Sequence[str] | None = None,
    model: str | HuggingFaceBackbone = "smollm2",
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
    dtype: str = "auto",
    device: str = "auto",
    folder: str | Path | None = None,
    watch: Watch | None = None,
) -> Report:
    """Compares methods on the same rows, splits, seeds and budget, and scores each once on the test rows.

    Settings:
        data: what `pegbox.read` returned, or anything that it reads.
        methods: names from `pegbox methods`; a choice of all kinds by default (`pegbox.recipe.methods.DEFAULTS`).
        budget: what each method may spend for each seed.
        seeds: how many seeds; `tuning_seeds` may give the methods that use up their budget fewer.
        settings: methods' settings, by method and dotted name.
        folder: where finished cells are kept, so that the same call goes on after an interruption.
        watch: told of each event of each cell.
        The rest is as in `tune`.

    Raises: DataError, SettingsError, BackboneError.
    """
    known = data if isinstance(data, Data) else read(data, text, label, fields=_fields_of(prompt))
    if known.test is None:
        raise DataError(
            "data without test rows",
            "a sealed test part for the final scores",
            "read it with test_size=0.2, or name a test file",
        )
    train = known.train if shots is None else few_shot(known.train, shots, 0)
    task, start = task_and_prompt(train, prompt, words, calibration, channel)
    _check_fields(start, train, *(() if known.dev is None else (known.dev,)))
    plan = Plan(tuple(methods or DEFAULTS), start, task, _budget(budget), seeds, tuning_seeds, settings or {})
    backbone = open_backbone(model, dtype, device)
    place = None if folder is None else Path(folder)
    told = watch or (lambda *_: None)
    return Report.of(run_comparison(plan, backbone, train, known.test, known.dev, place, told, known.notes))


def evaluate(tuned: Tuned, data: Any, *, text: str | None = None, label: str | None = None) -> Evaluation:
    """Scores a tuned prompt on labelled rows, with 95 % intervals. The opening of these rows is written in `tuned`.

    Settings:
        data: what `pegbox.read` returned, of which the test rows are opened, or labelled rows in any form.

    Raises: DataError for unlabelled rows, no rows, or labels that the prompt does not know.
    """
    sealed = data.test if isinstance(data, Data) else data if isinstance(data, Sealed) else None
    if isinstance(data, Data) and sealed is None:
        raise DataError("data without test rows", "a sealed test part", "read it with test_size=0.2, or give rows to score")
    more = tuned.further_fields
    rows, notes = (sealed.open("evaluate"), ()) if sealed is not None else _rows(data, text, label, more)
    found = evaluate_predictor(tuned.predictor, rows, tuned.labels)
    said = list(notes)
    opening = {"rows_digest": found.rows_digest, "rows": found.rows, "source": found.source, "accuracy": found.scores.accuracy}
    if (count := opened(tuned.evaluations, opening)) > 1:
        said.append(f"these rows have now been opened {count} times with this prompt; choose nothing by their scores")
    if isinstance(tuned.predictor, PromptPredictor):
        said += tuned.predictor.told(rows, "texts")
    elif cut := tuned.predictor.cut_rows(rows):
        said.append(f"{len(cut)} of {found.rows} texts were cut to the model's context")
    if seen := seen_rows(tuned, rows):
        were = "was" if len(seen) == 1 else "were"
        said.append(f"{len(seen)} of these rows {were} there in tuning ({which(seen)}): the scores flatter the prompt")
    return replace(found, opening=count, notes=tuple(said))


def task_and_prompt(
    rows: Rows, prompt: str | Prompt | None, words: Words | None, calibration: CalibrationMethod, channel: bool
) -> tuple[Classification, Prompt]:
    """The task that the rows describe, and the written prompt to start from; a sample brings its own words and instruction."""
    known = sample(rows.source.removeprefix(SAMPLE)) if rows.source.startswith(SAMPLE) else None
    if words is None and known is not None:
        words = known.words
    plain = {str(label): (some,) if isinstance(some, str) else tuple(some) for label, some in (words or {}).items()}
    task = Classification(rows.label_set(), plain, calibration, channel)
    if prompt is None:
        return task, default_prompt(task, None if known is None else known.instruction)
    return task, parse(prompt) if isinstance(prompt, str) else prompt


def _rows(data: Any, text: str | None, label: str | None, fields: Sequence[str] = ()) -> tuple[Rows, tuple[str, ...]]:
    """Labelled rows to be scored, and what the reader guessed, left out or noticed."""
    if isinstance(data, Rows):
        return data, review(data)
    table = read_table(data, text, label, labelled=True, fields=fields)
    return table.rows, (*table.notes, *review(table.rows))


def _check_fields(prompt: Prompt, *parts: Rows) -> None:
    """Raises PromptError where the prompt reads no field, and DataError where a row lacks one that it reads."""
    if not prompt.field_names:
        raise PromptError(
            f"a prompt that reads no text: {format(prompt)}", "at least one field", "say with {text} where it stands"
        )
    for rows in parts:
        for name in prompt.field_names:
            rows.column(name)


def _fields_of(prompt: str | Prompt | None) -> tuple[str, ...]:
    """The columns besides the text that a prompt reads."""
    known = parse(prompt) if isinstance(prompt, str) else prompt
    return () if known is None else tuple(name for name in known.field_names if name != "text")


def _parts(
    data: Any, dev: Any, text: str | None, label: str | None, fields: Sequence[str]
) -> tuple[Rows, Rows | None, tuple[str, ...]]:
    """Rows to learn from, rows to choose on where there are some, and notes: checked as `read` checks them."""
    said: tuple[str, ...] = ()
    if isinstance(data, Data):
        if dev is None:
            return data.train, data.dev, data.notes
        data, said = data.train, data.notes
    if isinstance(data, Rows) and dev is None:
        return data, None, review(data)
    found = read(data, text, label, fields=fields, dev=dev, test_size=0)
    return found.train, found.dev, tuple(dict.fromkeys((*said, *found.notes)))


def _budget(budget: str | Budget) -> Budget:
    return Budget.parse(budget) if isinstance(budget, str) else budget


def _claim(folder: Path, job: Job, backbone: HuggingFaceBackbone, train: Rows, dev: Rows) -> None:
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
