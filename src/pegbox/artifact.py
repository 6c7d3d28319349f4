"""The artifact: a tuned prompt as a small folder that predicts.

    manifest.json        format, method, settings, seed, versions, digests of model and data, calibration, evaluations
    prompt.json          the prompt in notation, the labels and their words
    vectors.safetensors  the soft slots' vectors, float32 (only where there are soft slots)
    trail.jsonl          the record of the run

Nothing in it is executable. Loading it on another model is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.seam import Backbone
from pegbox.data.rows import Rows
from pegbox.data.table import read_rows
from pegbox.errors import ArtifactError
from pegbox.prompt import Prompt, SoftSlot, format, parse
from pegbox.task.calibration import Calibration
from pegbox.task.classification import Classification
from pegbox.task.predictor import PromptPredictor

FORMAT = 1
_FILES = ("manifest.json", "prompt.json")


@dataclass(frozen=True)
class Tuned:
    """A tuned prompt over its model.

    Settings:
        predictor: the filled prompt, the task, the backbone and the calibration.
        record: where it came from: method, settings, seed, budget, versions, digests, dev scores, evaluations.
        trail: the run's events.
    """

    predictor: PromptPredictor
    record: Mapping[str, Any] = field(default_factory=dict)
    trail: tuple[Mapping[str, Any], ...] = ()

    @property
    def prompt(self) -> Prompt:
        return self.predictor.prompt

    @property
    def labels(self) -> tuple[str, ...]:
        return self.predictor.task.labels

    @property
    def backbone(self) -> Backbone:
        return self.predictor.backbone

    def predict(self, texts: Any) -> list[str]:
        """The likeliest label for each text.

        Settings:
            texts: strings, Rows, a DataFrame, a data set, or a file.
        """
        return [self.labels[at] for at in self.predict_proba(texts).argmax(axis=1)]

    def predict_proba(self, texts: Any) -> NDArray[np.float32]:
        """Probabilities of the labels, columns in the order of `labels`. Shape: [B, C]."""
        return self.predictor.predict_proba(as_rows(texts))

    def save(self, folder: str | Path) -> Path:
        """Writes the artifact, whole or not at all.

        Raises: ArtifactError where the folder holds something else.
        """
        target = Path(folder)
        if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not (target / "manifest.json").exists())):
            raise ArtifactError(f"{target} is there already and is no artifact", "a new folder, or an artifact to replace", "choose another name")
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
        from safetensors.numpy import save_file

        prompt, task = self.prompt, self.predictor.task
        vectors = {
            name: np.asarray(slot.vectors)
            for name, slot in prompt.slots.items()
            if isinstance(slot, SoftSlot) and slot.vectors is not None
        }
        if vectors:
            save_file(vectors, folder / "vectors.safetensors")
        content = {"notation": format(prompt), "labels": task.labels, "words": task.words, "channel": task.channel}
        (folder / "prompt.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        backbone = self.backbone
        manifest = {
            "format": FORMAT,
            "model": {"name": backbone.name, "digest": backbone.digest, "width": backbone.width, "dtype": backbone.dtype},
            "prompt_digest": prompt.digest(),
            "calibration": {"method": self.predictor.calibration.method, "offsets": self.predictor.calibration.offsets},
            "task_calibration": task.calibration,
            **self.record,
        }
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        lines = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in self.trail)
        (folder / "trail.jsonl").write_text(lines, encoding="utf-8")


_OWN = {"format", "model", "prompt_digest", "calibration", "task_calibration"}


def as_rows(texts: Any) -> Rows:
    """Texts in any form as unlabelled or labelled Rows. A single string is one text only in a list."""
    if isinstance(texts, Rows):
        return texts
    if isinstance(texts, np.ndarray) or (isinstance(texts, Sequence) and not isinstance(texts, str)):
        plain = list(texts)
        if plain and all(isinstance(text, str) for text in plain):
            return Rows.from_texts([str(text) for text in plain])
    return read_rows(texts, labelled=False)


def read_folder(folder: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """An artifact's manifest and prompt, without the model.

    Raises: ArtifactError for a folder that is none, is damaged, or of a later format.
    """
    path = Path(folder)
    missing = [name for name in _FILES if not (path / name).is_file()]
    if missing:
        raise ArtifactError(f"{path} has no {missing[0]}", "a folder that `pegbox tune` wrote", "check the path")
    try:
        manifest, prompt = (json.loads((path / name).read_text(encoding="utf-8")) for name in _FILES)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is damaged: {error}", "whole JSON files", "copy or tune it again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise ArtifactError(f"{path} is of format {found}", f"format {FORMAT}", "use the pegbox that wrote it, or tune it again")
    return manifest, prompt


def read_prompt(folder: str | Path) -> Prompt:
    """An artifact's prompt with its vectors, without the model.

    Raises: ArtifactError where the vectors do not fit the prompt or the digest does not fit both.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = Path(folder)
    manifest, content = read_folder(path)
    prompt = parse(content["notation"])
    soft = [name for name, slot in prompt.slots.items() if isinstance(slot, SoftSlot)]
    if soft:
        try:
            vectors = load_file(path / "vectors.safetensors")
        except (OSError, SafetensorError) as error:
            raise ArtifactError(f"{path}/vectors.safetensors: {error}", "the soft slots' vectors", "copy or tune it again") from error
        if set(vectors) != set(soft) or any(not np.isfinite(v).all() for v in vectors.values()):
            raise ArtifactError(f"{path} has vectors for {sorted(vectors)}", f"finite vectors for {sorted(soft)}", "tune it again")
        prompt = prompt.fill(**vectors)
    if prompt.digest() != manifest["prompt_digest"]:
        raise ArtifactError(f"{path} was changed after it was written", "the prompt that was tuned", "copy or tune it again")
    return prompt


def load(folder: str | Path, model: str | HuggingFaceBackbone | None = None, device: str = "auto") -> Tuned:
    """An artifact, with its model.

    Settings:
        folder: what `Tuned.save` wrote.
        model: where to find the model, if it is not where it was (a name, or a backbone that is loaded already).
        device: auto, cpu or cuda.

    Raises: ArtifactError for a damaged artifact or another model.
    """
    manifest, content = read_folder(folder)
    prompt = read_prompt(folder)
    wanted = manifest["model"]
    backbone = model if isinstance(model, HuggingFaceBackbone) else _backbone(model or wanted["name"], wanted["dtype"], device)
    if backbone.digest != wanted["digest"]:
        raise ArtifactError(
            f"{folder} was tuned on {wanted['name']} ({wanted['digest'][:12]}), not on {backbone.name} ({backbone.digest[:12]})",
            "the very model that it was tuned on",
            f"load it with model={wanted['name']!r}, or tune a prompt for this model",
        )
    words = {label: tuple(some) for label, some in content["words"].items()}
    task = Classification(tuple(content["labels"]), words, manifest["task_calibration"], bool(content["channel"]))
    calibration = Calibration(manifest["calibration"]["method"], tuple(manifest["calibration"]["offsets"]))
    trail = (Path(folder) / "trail.jsonl").read_text(encoding="utf-8").splitlines() if (Path(folder) / "trail.jsonl").exists() else []
    record = {key: value for key, value in manifest.items() if key not in _OWN}
    return Tuned(PromptPredictor(prompt, task, backbone, calibration), record, tuple(json.loads(line) for line in trail))


def _backbone(model: str, dtype: str, device: str) -> HuggingFaceBackbone:
    from pegbox.backbone.weights import load as load_weights

    return HuggingFaceBackbone(load_weights(model, dtype, device))


def add_evaluation(folder: str | Path, evaluation: Mapping[str, Any]) -> int:
    """Writes an opening of a test set into the artifact; returns the how-manieth it was for the same rows (from 1)."""
    path = Path(folder) / "manifest.json"
    manifest, _ = read_folder(folder)
    before = manifest.setdefault("evaluations", [])
    count = 1 + sum(e["rows_digest"] == evaluation["rows_digest"] for e in before)
    before.append({**evaluation, "opening": count})
    made = path.with_suffix(".tmp")
    made.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(made, path)
    return count


def row_marks(rows: Rows) -> list[str]:
    """A short digest of each row's texts, to notice rows that were seen in tuning without keeping their words."""
    return [
        hashlib.sha256(json.dumps(dict(sorted(row.items())), ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()[:12]
        for row in rows
    ]


def seen_rows(tuned: Tuned, rows: Rows) -> int:
    """How many of these rows were there when the prompt was tuned."""
    seen = set(tuned.record.get("data", {}).get("seen", ()))
    return sum(mark in seen for mark in row_marks(rows))
