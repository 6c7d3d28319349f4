"""To PEFT's prompt tuning, and back.

PEFT puts its vectors before everything else, and knows no words, labels or calibration. So a prompt goes there if its one soft
slot stands first; the words after it, the labels and the calibration are told in the folder's README, and the artifact itself
travels along, so that the folder can come back. PEFT is not needed for either way.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from pegbox.artifact import NEEDED, Tuned, load, read_prompt, write_json
from pegbox.backbone.layout import Speller
from pegbox.backbone.loaded_backbone import LoadedBackbone
from pegbox.backbone.opening import causal
from pegbox.errors import ArtifactError, PromptError
from pegbox.export.place import new_folder, written_labels
from pegbox.prompt import Prompt, SoftSlot, format, parse
from pegbox.task.classification import Classification
from pegbox.task.predictor import PromptPredictor

WEIGHTS = "adapter_model.safetensors"
TENSOR = "prompt_embeddings"
ALONG = "pegbox"
"""The folder in the export where the artifact travels along."""
KINDS = ("PROMPT_TUNING", "P_TUNING")
"""What PEFT saves as plain vectors before the text."""
_OTHER_KINDS = "tune the prompt of a causal model, or keep the artifact"


def to_peft(artifact: str | Path, folder: str | Path, model: str | None = None) -> Path:
    """Writes a folder that `PeftModel.from_pretrained` loads, with logits equal to ours.

    Settings:
        artifact: a tuned prompt whose one soft slot stands first.
        model: where the model is, if it has moved.

    Raises: PromptError for a prompt that PEFT cannot hold.
    """
    tuned = load(artifact, model, "cpu")
    backbone = causal(tuned.backbone, "exporting to PEFT's prompt tuning", _OTHER_KINDS)
    slot = _first_slot(tuned.prompt)
    assert slot.vectors is not None
    vectors = np.concatenate([_start(backbone), slot.vectors])
    with new_folder(folder) as draft:
        (draft / WEIGHTS).write_bytes(save({TENSOR: vectors}))
        write_json(draft / "adapter_config.json", _config(backbone, len(vectors)))
        (draft / "README.md").write_text(_card(tuned, len(vectors)), encoding="utf-8")
        (draft / ALONG).mkdir()
        for name in NEEDED:
            shutil.copyfile(Path(artifact).expanduser() / name, draft / ALONG / name)
    return Path(folder)


def from_peft(
    folder: str | Path, artifact: str | Path, backbone: LoadedBackbone | None = None, prompt: str | None = None
) -> Path:
    """Makes an artifact of a folder of PEFT's prompt tuning or p-tuning.

    Settings:
        backbone: the model that the vectors were learned on; not needed for a folder that `to_peft` wrote.
        prompt: the whole prompt in notation, its soft slot first and with the labels' words in [answer]; not needed either.

    Raises: ArtifactError for a folder of another kind; PromptError for a prompt that does not fit it.
    """
    path = Path(folder).expanduser()
    vectors = _read(path)
    if prompt is None:
        return _brought_back(path, artifact, vectors)
    if backbone is None:
        raise PromptError("a prompt without its model", "the model that the vectors were learned on", "name it with --model")
    written = parse(prompt)
    slot = _first_slot(written)
    causal(backbone, "importing PEFT's prompt tuning", _OTHER_KINDS)
    if Speller(backbone.loaded.tokenizer).start:
        raise PromptError(
            f"vectors that stood before {backbone.name}'s start token",
            "a model whose texts begin with no token of their own",
            "tune the prompt here: elsewhere its vectors would stand in another place",
        )
    if vectors.shape != (slot.length, backbone.width):
        raise PromptError(
            f"vectors of shape {vectors.shape} for [soft {slot.name} {slot.length}] on a model of width {backbone.width}",
            "as many vectors as the slot is long, as wide as the model",
            f"write [soft {slot.name} {len(vectors)}], and name the model they were learned on",
        )
    words = dict(written.answer.words)
    task = Classification(tuple(words), words, "none")
    predictor = PromptPredictor(written.fill(**{slot.name: vectors}), task, backbone)
    return Tuned(predictor, {"method": "imported from PEFT"}).save(artifact)


def _brought_back(path: Path, artifact: str | Path, vectors: NDArray[np.float32]) -> Path:
    """The artifact that travelled along, if the vectors are still its own."""
    if not (path / ALONG / "manifest.json").is_file():
        raise PromptError(
            f"{path}, which holds vectors alone",
            "the prompt around them, with the labels' words",
            'say --prompt \'[soft s 20] Review: {text} Mood: [answer good="good" bad="bad"]\'',
        )
    slot = _first_slot(read_prompt(path / ALONG))
    if slot.vectors is None or not np.array_equal(vectors[-slot.length :], slot.vectors):
        raise ArtifactError(
            f"{path} holds other vectors than the artifact in it",
            "the vectors that went out",
            "say with --prompt what they are for",
        )
    with new_folder(artifact) as draft:
        for name in NEEDED:
            shutil.copyfile(path / ALONG / name, draft / name)
    return Path(artifact)


def _first_slot(prompt: Prompt) -> SoftSlot:
    """The prompt's one soft slot. Raises PromptError unless it stands first."""
    soft = [slot for slot in prompt.slots.values() if isinstance(slot, SoftSlot)]
    if prompt.is_chat or len(soft) != 1 or next(iter(prompt)) is not soft[0]:
        raise PromptError(
            f"the prompt {format(prompt)!r}",
            "one soft slot, before everything else: that is all that PEFT's prompt tuning can hold",
            "export it --to text or --to vllm, or tune one with the method `soft`",
        )
    return soft[0]


def _start(backbone: LoadedBackbone) -> NDArray[np.float32]:
    """The embedding of the model's start token, where it has one: it stands before the slot here. Shape: [0 or 1, H]."""
    start = Speller(backbone.loaded.tokenizer).start
    return backbone.embed(start).numpy().reshape(len(start), backbone.width)


def _config(backbone: LoadedBackbone, length: int) -> dict[str, Any]:
    config = backbone.loaded.model.config.get_text_config()
    return {
        "peft_type": "PROMPT_TUNING",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": backbone.name,
        "inference_mode": True,
        "num_virtual_tokens": length,
        "token_dim": backbone.width,
        "num_transformer_submodules": 1,
        "num_attention_heads": config.num_attention_heads,
        "num_layers": config.num_hidden_layers,
        "prompt_tuning_init": "RANDOM",
    }


def _card(tuned: Tuned, length: int) -> str:
    labelled = bool(tuned.labels)  # a prompt after which texts are written has neither labels nor a calibration
    words = dict(tuned.classifier.task.words_in(tuned.prompt)) if labelled else {}
    offsets = tuned.classifier.calibration.offsets if labelled else ()
    told = (
        ", ".join(f"{label} {offset:+.4f}" for label, offset in zip(tuned.labels, offsets, strict=True)) if offsets else "none"
    )
    return f"""# A tuned prompt for {tuned.backbone.name}

{length} vectors before the text, as PEFT's prompt tuning. After them comes, in pegbox's notation:

    {format(tuned.prompt)}

Spell each piece between the marks on its own, without special tokens, a space before a field or an answer with what follows it;
pad on the right. The answer's words:

{written_labels(words)}
Offsets to add to the labels' log-probabilities, which PEFT does not do: {told}.

The model's digest is {tuned.backbone.digest}. `pegbox import` brings the prompt back.
"""


def _read(path: Path) -> NDArray[np.float32]:
    """The vectors in a PEFT folder. Raises ArtifactError for another kind, or a damaged one."""
    try:
        config: Mapping[str, Any] = json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))
        kind = config["peft_type"]
        if kind not in KINDS:
            raise ArtifactError(f"{path}, a folder of PEFT's {kind}", f"one of {', '.join(KINDS)}", "tune the prompt here")
        vectors = load_file(path / WEIGHTS)[TENSOR].astype(np.float32)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ArtifactError(
            f"{path} cannot be read: {type(error).__name__}: {error}",
            f"a PEFT folder with adapter_config.json and {WEIGHTS}",
            "save it again with PEFT's save_pretrained",
        ) from error
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise ArtifactError(f"{path} has vectors of shape {vectors.shape}", "a table of finite numbers", "save it again")
    return vectors
