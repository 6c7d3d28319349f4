"""To PEFT's prompt tuning and prefix tuning, and back.

PEFT puts its vectors before everything else, and knows no words, labels or calibration. So a prompt goes there if its one soft
or deep slot stands first; the words after it, the labels and the calibration are told in the folder's README, and the artifact
itself travels along, so that the folder can come back. PEFT is not needed for either way.
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
from pegbox.prompt import DeepSlot, Prompt, SoftSlot, VectorSlot, format, parse
from pegbox.task.classification import Classification
from pegbox.task.predictor import PromptPredictor

WEIGHTS = "adapter_model.safetensors"
TENSOR = "prompt_embeddings"
ALONG = "pegbox"
"""The folder in the export where the artifact travels along."""
KINDS: Mapping[str, type[VectorSlot]] = {"PROMPT_TUNING": SoftSlot, "P_TUNING": SoftSlot, "PREFIX_TUNING": DeepSlot}
"""What PEFT saves as plain vectors before the text: embeddings, or keys and values of every layer. An encoder or projection
that it learned them through has done its work by then."""
_OTHER_KINDS = "tune the prompt of a causal model, or keep the artifact"


def to_peft(artifact: str | Path, folder: str | Path, model: str | None = None) -> Path:
    """Writes a folder that `PeftModel.from_pretrained` loads, with logits equal to ours.

    Settings:
        artifact: a tuned prompt whose one soft or deep slot stands first.
        model: where the model is, if it has moved.

    Raises: PromptError for a prompt that PEFT cannot hold.
    """
    tuned = load(artifact, model, "cpu")
    backbone = causal(tuned.backbone, "exporting to PEFT's prompt tuning", _OTHER_KINDS)
    slot = _first_slot(tuned.prompt)
    assert slot.vectors is not None
    vectors = np.concatenate([_start(backbone), slot.vectors]) if isinstance(slot, SoftSlot) else slot.vectors
    with new_folder(folder) as draft:
        (draft / WEIGHTS).write_bytes(save({TENSOR: vectors}))
        write_json(draft / "adapter_config.json", _config(backbone, vectors, slot))
        (draft / "README.md").write_text(_card(tuned, len(vectors), slot), encoding="utf-8")
        (draft / ALONG).mkdir()
        for name in NEEDED:
            shutil.copyfile(Path(artifact).expanduser() / name, draft / ALONG / name)
    return Path(folder)


def from_peft(
    folder: str | Path, artifact: str | Path, backbone: LoadedBackbone | None = None, prompt: str | None = None
) -> Path:
    """Makes an artifact of a folder of PEFT's prompt tuning, p-tuning or prefix tuning.

    Settings:
        backbone: the model that the vectors were learned on; not needed for a folder that `to_peft` wrote.
        prompt: the whole prompt in notation, its soft slot (of prefix tuning: deep slot) first and with the labels' words in
            [answer]; not needed either.

    Raises: ArtifactError for a folder of another kind; PromptError for a prompt that does not fit it.
    """
    path = Path(folder).expanduser()
    kind, vectors = _read(path)
    if prompt is None:
        return _brought_back(path, artifact, vectors, kind)
    if backbone is None:
        raise PromptError("a prompt without its model", "the model that the vectors were learned on", "name it with --model")
    written = parse(prompt)
    slot = _first_slot(written, kind)
    causal(backbone, "importing a prompt of PEFT's", _OTHER_KINDS)
    if Speller(backbone.loaded.tokenizer).start:
        raise PromptError(
            f"vectors that stood before {backbone.name}'s start token",
            "a model whose texts begin with no token of their own",
            "tune the prompt here: elsewhere its vectors would stand in another place",
        )
    width = backbone.width if kind is SoftSlot else backbone.deep_width
    if vectors.shape != (slot.length, width):
        raise PromptError(
            f"vectors of shape {vectors.shape} for [{kind.kind} {slot.name} {slot.length}] on a model of width {width}",
            "as many vectors as the slot is long, as wide as the model",
            f"write [{kind.kind} {slot.name} {len(vectors)}], and name the model they were learned on",
        )
    words = dict(written.answer.words)
    task = Classification(tuple(words), words, "none")
    predictor = PromptPredictor(written.fill(**{slot.name: vectors}), task, backbone)
    return Tuned(predictor, {"method": "imported from PEFT"}).save(artifact)


def _brought_back(path: Path, artifact: str | Path, vectors: NDArray[np.float32], kind: type[VectorSlot]) -> Path:
    """The artifact that travelled along, if the vectors are still its own."""
    if not (path / ALONG / "manifest.json").is_file():
        raise PromptError(
            f"{path}, which holds vectors alone",
            "the prompt around them, with the labels' words",
            f'say --prompt \'[{kind.kind} s {len(vectors)}] Review: {{text}} Mood: [answer good="good" bad="bad"]\'',
        )
    slot = _first_slot(read_prompt(path / ALONG), kind)
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


def _first_slot(prompt: Prompt, kind: type[VectorSlot] | None = None) -> VectorSlot:
    """The prompt's one soft or deep slot, of this kind if one is named. Raises PromptError unless it stands first."""
    found = [slot for slot in prompt.slots.values() if isinstance(slot, VectorSlot)]
    deep = any(isinstance(one, DeepSlot) for one in found)
    slot = found[0] if len(found) == 1 and isinstance(found[0], kind or tuple(KINDS.values())) else None
    if slot is None or next(iter(prompt)) is not slot or (prompt.is_chat and isinstance(slot, SoftSlot)):
        raise PromptError(
            f"the prompt {format(prompt)!r}",
            f"one {kind.kind if kind else 'soft or deep'} slot, before everything else: that is all that PEFT can hold",
            "export it --to text, or tune one with the method `deep`"
            if deep
            else "export it --to text or --to vllm, or tune one with the method `soft`",
        )
    return slot


def _start(backbone: LoadedBackbone) -> NDArray[np.float32]:
    """The embedding of the model's start token, where it has one: it stands before the slot here. Shape: [0 or 1, H]."""
    start = Speller(backbone.loaded.tokenizer).start
    return backbone.embed(start).numpy().reshape(len(start), backbone.width)


def _config(backbone: LoadedBackbone, vectors: NDArray[np.float32], slot: VectorSlot) -> dict[str, Any]:
    config = backbone.loaded.model.config.get_text_config()
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    kind: dict[str, Any] = {"peft_type": "PROMPT_TUNING", "token_dim": backbone.width, "prompt_tuning_init": "RANDOM"}
    if isinstance(slot, DeepSlot):  # here heads are those of keys and values, and the width is theirs together
        heads = getattr(config, "num_key_value_heads", None) or heads
        kind = {"peft_type": "PREFIX_TUNING", "token_dim": vectors.shape[1] // (2 * layers), "prefix_projection": False}
    return {
        **kind,
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": backbone.name,
        "inference_mode": True,
        "num_virtual_tokens": len(vectors),
        "num_transformer_submodules": 1,
        "num_attention_heads": heads,
        "num_layers": layers,
    }


def _card(tuned: Tuned, length: int, slot: VectorSlot) -> str:
    labelled = bool(tuned.labels)  # a prompt after which texts are written has neither labels nor a calibration
    words = dict(tuned.classifier.task.words_in(tuned.prompt)) if labelled else {}
    offsets = tuned.classifier.calibration.offsets if labelled else ()
    told = (
        ", ".join(f"{label} {offset:+.4f}" for label, offset in zip(tuned.labels, offsets, strict=True)) if offsets else "none"
    )
    soft = isinstance(slot, SoftSlot)
    what = (
        f"{length} vectors, as PEFT's prompt tuning," if soft else f"{length} keys and values a layer, as PEFT's prefix tuning,"
    )
    return f"""# A tuned prompt for {tuned.backbone.name}

{length} {what} before the text. After them comes, in pegbox's notation:

    {format(tuned.prompt)}

Spell each piece between the marks on its own, without special tokens, a space before a field or an answer with what follows it;
pad on the right. The answer's words:

{written_labels(words)}
Offsets to add to the labels' log-probabilities, which PEFT does not do: {told}.

The model's digest is {tuned.backbone.digest}. `pegbox import` brings the prompt back.
"""


def _read(path: Path) -> tuple[type[VectorSlot], NDArray[np.float32]]:
    """What slot a PEFT folder fills, and its vectors. Raises ArtifactError for another kind, or a damaged one."""
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
    return KINDS[kind], vectors
