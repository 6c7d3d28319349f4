"""The artifact: a tuned prompt as a small folder that predicts.

    manifest.json        format, method, settings, seed, versions, digests of model and data, evaluations
    prompt.json          the prompt in notation; the task with its settings, and what was fitted besides: of a classification
                          the labels and their words, and the calibration
    vectors.safetensors  what soft slots and their like hold, float32 (only where there are such slots)
    seen.txt             short digests of the rows that were there in tuning, to notice them among test rows
    trail.jsonl          the record of the run

The first three are all that is needed to predict. Nothing in it is executable. Loading it on another model is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.loaded_backbone import LoadedBackbone
from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.data.texts import as_rows
from pegbox.errors import ArtifactError, PromptError, SettingsError
from pegbox.prompt import Prompt, format, parse
from pegbox.slot_files import check_vectors, model_of, vectors_of, widths_of
from pegbox.task.classification import Classification
from pegbox.task.predictor import PromptPredictor
from pegbox.task.registry import entry
from pegbox.task.task import Task

FORMAT = 1
NEEDED = ("manifest.json", "prompt.json", "vectors.safetensors")
FILES = (*NEEDED, "seen.txt", "trail.jsonl")
"""What must be kept to predict."""
_OWN = {"format", "model", "digest", "evaluations"}


@dataclass(frozen=True)
class Tuned:
    """A tuned prompt over its model.

    Settings:
        predictor: the filled prompt, the task, the backbone and what was fitted besides: a `PromptPredictor` of a
            classification, a `pegbox.task.task.Prompted` of any other task.
        record: where it came from: method, settings, seed, budget, versions, digests, dev scores.
        trail: the run's events.
        seen: marks of the rows that were there in tuning; see `pegbox.task.task.Task.marks`.
        evaluations: the openings of test rows so far, in order.
    """

    predictor: Any
    record: Mapping[str, Any] = field(default_factory=dict)
    trail: tuple[Mapping[str, Any], ...] = ()
    seen: frozenset[str] = frozenset()
    evaluations: list[Mapping[str, Any]] = field(default_factory=list)

    def __repr__(self) -> str:
        what = f"labels {', '.join(self.labels)}" if self.labels else f"task {self.task.name}"
        return f"Tuned({format(self.prompt)!r}, {what}, on {self.backbone.name})"

    @property
    def task(self) -> Task:
        found: Task = self.predictor.task
        return found

    @property
    def classifier(self) -> PromptPredictor:
        """The predictor of a classification. Raises SettingsError for a prompt of another task."""
        if not isinstance(self.predictor, PromptPredictor):
            raise SettingsError(f"a prompt for {self.task.name}", "a prompt for classification", "predict or evaluate with it")
        return self.predictor

    @property
    def prompt(self) -> Prompt:
        found: Prompt = self.predictor.prompt
        return found

    @property
    def labels(self) -> tuple[str, ...]:
        """The task's labels; none where it has none."""
        return tuple(getattr(self.task, "labels", ()))

    @property
    def backbone(self) -> Backbone:
        found: Backbone = self.predictor.backbone
        return found

    @property
    def further_fields(self) -> tuple[str, ...]:
        """The columns that the prompt reads besides the text."""
        return tuple(name for name in self.task.reads(self.prompt) if name != "text")

    def predict(self, texts: Any) -> list[Any]:
        """The likeliest label for each text, or whatever the task answers with.

        Settings:
            texts: strings, Rows, a DataFrame, a data set, or a file.
        """
        if isinstance(self.task, Classification):
            return [self.labels[at] for at in self.predict_proba(texts).argmax(axis=1)]
        rows, _ = entry(self.task.name).rows(texts, None, None, False, fields=self.further_fields)
        return list(self.predictor.answers(rows))

    def predict_proba(self, texts: Any) -> NDArray[np.float32]:
        """Probabilities of the labels, columns in the order of `labels`. Shape: [B, C].

        Raises: SettingsError for a prompt of another task than classification.
        """
        return self.classifier.predict_proba(as_rows(texts, self.further_fields))

    def cut_rows(self, rows: Rows) -> tuple[int, ...]:
        """Positions of the rows whose texts are cut to fit into the model's context."""
        return tuple(self.predictor.cut_rows(rows))

    def save(self, folder: str | Path) -> Path:
        """Writes the artifact, whole or not at all.

        Raises: ArtifactError where the folder holds something else.
        """
        target = free_place(folder)
        made = target.with_name(f".{target.name}.{os.getpid()}.new")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        self._write(made)
        if target.exists():
            old = target.with_name(f".{target.name}.{os.getpid()}.old")
            target.rename(old)
            made.rename(target)
            shutil.rmtree(old)
        else:
            made.rename(target)
        return target

    def _write(self, folder: Path) -> None:
        from safetensors.numpy import save

        prompt = self.prompt
        if vectors := vectors_of(prompt):
            (folder / "vectors.safetensors").write_bytes(save(vectors))  # `save_file` would lock others out
        write_json(folder / "prompt.json", self._content())
        manifest = {
            "format": FORMAT,
            "model": model_of(self.backbone, prompt),
            "digest": _digest(prompt, self._content()),
            "evaluations": self.evaluations,
            **self.record,
        }
        write_json(folder / "manifest.json", manifest)
        (folder / "seen.txt").write_text("".join(f"{mark}\n" for mark in sorted(self.seen)), encoding="utf-8")
        lines = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in self.trail)
        (folder / "trail.jsonl").write_text(lines, encoding="utf-8")

    def _content(self) -> dict[str, Any]:
        state = self.predictor.state()
        if isinstance(self.task, Classification):  # as it was when there were no other tasks
            return {"notation": format(self.prompt), **self.task.to_json(), **state}
        return {"notation": format(self.prompt), "task": self.task.name, "settings": self.task.to_json(), "state": state}


def free_place(folder: str | Path) -> Path:
    """The path of a folder that an artifact may be written to.

    Raises: ArtifactError where something else is there already.
    """
    target = Path(folder).expanduser().resolve()
    if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not (target / "manifest.json").exists())):
        raise ArtifactError(
            f"{folder} is there already and is no artifact", "a new folder, or an artifact to replace", "choose another name"
        )
    return target


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a page that people can read."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _digest(prompt: Prompt, content: Mapping[str, Any]) -> str:
    """Of all that decides a prediction besides the model: the prompt with its vectors, labels, words, calibration."""
    plain = json.dumps(content, sort_keys=True)
    return hashlib.sha256(f"{prompt.digest()}{plain}".encode()).hexdigest()


def read_folder(folder: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """An artifact's manifest and prompt, without the model.

    Raises: ArtifactError for a folder that is none, is damaged, or of a later format.
    """
    path = Path(folder)
    files = ("manifest.json", "prompt.json")
    if missing := [name for name in files if not (path / name).is_file()]:
        raise ArtifactError(f"{path} has no {missing[0]}", "a folder that `pegbox tune` wrote", "check the path")
    try:
        manifest, prompt = (json.loads((path / name).read_text(encoding="utf-8")) for name in files)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT or not isinstance(prompt, dict):
        raise ArtifactError(
            f"{path} is of format {found}", f"format {FORMAT}", "use the pegbox that wrote it, or tune it again"
        )
    return manifest, prompt


def read_prompt(folder: str | Path) -> Prompt:
    """An artifact's prompt with its vectors, without the model.

    Raises: ArtifactError where the vectors do not fit the prompt or the digest does not fit all of it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = Path(folder)
    manifest, content = read_folder(path)
    try:
        prompt = parse(content["notation"])
        if widths := widths_of(prompt, manifest["model"]):
            vectors = load_file(path / "vectors.safetensors")
            check_vectors(path, vectors, widths)
            prompt = prompt.fill(**vectors)
        known = manifest["digest"]
    except (OSError, SafetensorError, PromptError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error.came if isinstance(error, PromptError) else f"{type(error).__name__}: {error}") from error
    if _digest(prompt, content) != known:
        raise ArtifactError(f"{path} was changed after it was written", "the prompt that was tuned", "copy or tune it again")
    return prompt


def read_task(folder: str | Path) -> Task:
    """An artifact's task with its settings, without the model. Raises ArtifactError where it is unknown or damaged."""
    path = Path(folder)
    content = read_folder(path)[1]
    try:
        return entry(content.get("task", Classification.name)).task.from_json(content.get("settings", content))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = error.came if isinstance(error, SettingsError) else f"{type(error).__name__}: {error}"
        raise _damaged(path, why) from error


def _damaged(path: Path, why: str) -> ArtifactError:
    return ArtifactError(f"{path} is damaged: {why}", "a folder as `pegbox tune` wrote it", "copy or tune it again")


def load(folder: str | Path, model: str | LoadedBackbone | None = None, device: str = "auto") -> Tuned:
    """An artifact, with its model.

    Settings:
        folder: what `Tuned.save` wrote.
        model: where to find the model, if it is not where it was (a name, or a backbone that is loaded already).
        device: auto, cpu or cuda.

    Raises: ArtifactError for a damaged artifact or another model.
    """
    path = Path(folder).expanduser()
    prompt = read_prompt(path)
    manifest, content = read_folder(path)
    task = read_task(path)
    try:
        state = content["state"] if "task" in content else content
        record = {key: value for key, value in manifest.items() if key not in _OWN}
        wanted = manifest["model"]
        name, digest, dtype = wanted["name"], wanted["digest"], wanted["dtype"]
        trail = tuple(json.loads(line) for line in _lines(path / "trail.jsonl"))
        evaluations = list(manifest["evaluations"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    backbone = _backbone(model or name, dtype, device) if model is None or isinstance(model, str) else model
    if backbone.digest != digest:
        raise ArtifactError(
            f"{folder} was tuned on {name} ({digest[:12]}), not on {backbone.name} ({backbone.digest[:12]})",
            "the very model that it was tuned on",
            f"load it with model={name!r}, or tune a prompt for this model",
        )
    try:
        predictor = task.restored(prompt, backbone, state)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    return Tuned(predictor, record, trail, frozenset(_lines(path / "seen.txt")), evaluations)


def _lines(path: Path) -> list[str]:
    """A text file's lines; none where there is no file."""
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line] if path.exists() else []


def _backbone(model: str, dtype: str, device: str) -> LoadedBackbone:
    from pegbox.backbone.opening import backbone_of
    from pegbox.backbone.weights import load as load_weights

    return backbone_of(load_weights(model, dtype, device))


def add_evaluation(folder: str | Path, evaluation: Mapping[str, Any]) -> int:
    """Writes an opening of a test set into the artifact; returns the how-manieth it was for the same rows (from 1)."""
    path = Path(folder) / "manifest.json"
    manifest, _ = read_folder(folder)
    count = opened(manifest.setdefault("evaluations", []), evaluation)
    made = path.with_suffix(".tmp")
    write_json(made, manifest)
    made.replace(path)
    return count


def opened(evaluations: list[Mapping[str, Any]], evaluation: Mapping[str, Any]) -> int:
    """Adds an opening to the list; returns the how-manieth it was for the same rows (from 1)."""
    count = 1 + len([before for before in evaluations if before.get("rows_digest") == evaluation["rows_digest"]])
    evaluations.append({**evaluation, "opening": count})
    return count


def seen_rows(tuned: Tuned, rows: Rows) -> list[int]:
    """The numbers of those of these rows that were there when the prompt was tuned."""
    marks = tuned.task.marks(tuned.prompt, rows)
    return [number for number, mark in zip(rows.numbers, marks, strict=True) if mark in tuned.seen]
