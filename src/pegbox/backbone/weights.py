"""Load a frozen language model with its tokenizer.

The name is resolved to a local folder (`pegbox.backbone.source`); everything here reads that folder through the
public classes of Transformers, runs no code that came with the model and unpickles nothing.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_PRETRAINING_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    MODEL_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from pegbox.backbone.convert import quiet
from pegbox.backbone.digest import folder_digest
from pegbox.backbone.dtype import DTYPES, choose_device, choose_dtype
from pegbox.backbone.loaded import Kind, Loaded
from pegbox.backbone.quantized import differentiable, parted, reading, rounded_digest
from pegbox.backbone.source import materialise, resolve
from pegbox.backbone.tiny import tiny
from pegbox.errors import BackboneError

NEEDED: dict[Kind, tuple[str, ...]] = {
    "causal": ("inputs_embeds", "attention_mask", "position_ids", "past_key_values"),
    "masked": ("inputs_embeds", "attention_mask"),
    "encoder-decoder": ("inputs_embeds", "attention_mask", "encoder_outputs", "decoder_input_ids"),
}
"""What the engines pass to a model."""
CLASSES: dict[Kind, tuple[Any, Any]] = {
    "causal": (MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM),
    "masked": (MODEL_FOR_MASKED_LM_MAPPING, AutoModelForMaskedLM),
    "encoder-decoder": (MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, AutoModelForSeq2SeqLM),
}
"""For each kind the model classes by configuration, and what makes one of these."""
FIXED: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def load(model: str, dtype: str = "auto", device: str = "auto") -> Loaded:
    """A frozen model, in evaluation mode, with its tokenizer and digest.

    Settings:
        model: smollm2, tiny, a Transformers folder, a .gguf file, or a hub id; with "+int8" or "+nf4" after it the frozen
            weights are kept in 8 or 4 bits (`pegbox.backbone.quantized`).
        dtype: auto, float32, bfloat16 or float16; auto is bfloat16 where the device multiplies it directly, else
            float32, and always float32 for tiny.
        device: auto, cpu, cuda or cuda:1; auto is the first GPU where there is one.

    Raises:
        BackboneError: there is no such model or device, or the model is of a kind that cannot be prompted here.
        DownloadError: a built-in model's package could not be fetched.
    """
    place = choose_device(device)
    plain, bits = parted(model)
    source = resolve(plain)
    if source.kind == "tiny" and bits is not None:
        raise BackboneError(f"the model {model!r}", "a model worth keeping in fewer bits", "leave out what follows the +")
    if source.kind == "tiny":
        return tiny(dtype="float32" if dtype == "auto" else choose_dtype(dtype, place), device=place)
    number = choose_dtype(dtype, place)
    return _load_folder(materialise(source), model, number, place, bits)


def _load_folder(folder: Path, name: str, dtype: str, device: str, bits: str | None) -> Loaded:
    try:
        config = AutoConfig.from_pretrained(folder, **FIXED)
        kind = _kind(config, name)
        tokenizer = AutoTokenizer.from_pretrained(folder, **FIXED)
        rounding = {} if bits is None else reading(bits, name, DTYPES[dtype], device)
        model, loading = _read_weights(folder, config, DTYPES[dtype], kind, rounding)
    except BackboneError:
        raise
    except Exception as problem:  # Transformers, safetensors and tokenizers raise what comes, down to plain Exception
        raise _unreadable(folder, name, problem) from problem
    fast = _check_tokenizer(tokenizer, name)
    _check_whole(model, loading, name, kind)
    placed: torch.nn.Module = model.eval().requires_grad_(False)
    digest = folder_digest(folder, str(fast.chat_template))
    if bits is not None:
        differentiable(model)
        # it was put in its place at reading
        return Loaded(model, fast, name, rounded_digest(digest, bits), dtype, device, kind)
    placed.to(torch.device(device))
    return Loaded(model, fast, name, digest, dtype, device, kind)


def _read_weights(
    folder: Path, config: PreTrainedConfig, dtype: torch.dtype, kind: Kind, rounding: dict[str, Any]
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The model and what Transformers says of the loading. It picks the attention itself: sdpa where that is right."""
    with quiet():
        found: Any = CLASSES[kind][1].from_pretrained(
            folder, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True, **rounding, **FIXED
        )
    model, loading = found
    return model, loading


def _kind(config: PreTrainedConfig, name: str) -> Kind:
    """How the model reads and answers, by its configuration. Refuses what cannot be prompted before gigabytes are read."""
    kinds: tuple[Kind, ...] = ("encoder-decoder",) if config.is_encoder_decoder else ("causal", "masked")
    stated = config.architectures or []
    ours = [kind for kind in kinds if type(config) in CLASSES[kind][0]]
    fitting = [kind for kind in ours if not stated or _names(config, kind).intersection(stated)]
    if not fitting:
        raise BackboneError(
            f"the model {name!r}, which is a {' / '.join(stated) or config.model_type} ({config.model_type})",
            "a language model with its output head: causal (Llama, Qwen, GPT-2, Gemma, Mistral, ...), masked (BERT, RoBERTa, "
            "...) or encoder-decoder (T5, BART, ...)",
            "give such a model; smollm2 needs no download from a hub",
        )
    return fitting[0] if stated or getattr(config, "is_decoder", True) else fitting[-1]


def _names(config: PreTrainedConfig, kind: Kind) -> set[str]:
    """The classes whose weights may hold all of a kind's: BERT is also saved as its makers trained it, and BART, whose output
    matrix is its input's, without a head. Where weights are missing all the same, that is told when they are read."""
    further: dict[Kind, Any] = {"masked": MODEL_FOR_PRETRAINING_MAPPING, "encoder-decoder": MODEL_MAPPING}
    tables: list[Any] = [CLASSES[kind][0], *([further[kind]] if kind in further else [])]
    return {table[type(config)].__name__ for table in tables if type(config) in table}


def _check_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str) -> PreTrainedTokenizerFast:
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise BackboneError(
            f"the model {name!r}, whose tokenizer is a {type(tokenizer).__name__}",
            "a fast tokenizer (a tokenizer.json)",
            "convert it with Transformers, or give another model",
        )
    return tokenizer


def _check_whole(model: PreTrainedModel, loading: dict[str, Any], name: str, kind: Kind) -> None:
    """Refuse a model with holes in it, or one that cannot take vectors for words and a cache."""
    missing = sorted(loading["missing_keys"])
    if missing:
        raise BackboneError(
            f"the model {name!r}, whose files lack {len(missing)} weights, among them {missing[0]}",
            "a file for every weight; a missing one would be filled with random numbers",
            "fetch the model again, or give a language model that was saved whole, output head included",
        )
    taken = inspect.signature(model.forward).parameters
    lacking = [argument for argument in NEEDED[kind] if argument not in taken]
    if lacking:
        raise BackboneError(
            f"the model {name!r} ({type(model).__name__}), which takes no {', '.join(lacking)}",
            "a model that takes vectors in place of words, and keeps keys and values",
            "give a Transformer with attention, such as Llama, Qwen, GPT-2, Gemma, Mistral, BERT or T5",
        )


def _unreadable(folder: Path, name: str, problem: Exception) -> BackboneError:
    text = next(iter(str(problem).strip().splitlines()), "no reason given")
    return BackboneError(
        f"the model {name!r} in {folder} cannot be read: {type(problem).__name__}: {text}",
        "a whole Transformers folder: config.json, *.safetensors, tokenizer.json; no pickled weights, no code of its own",
        "fetch or save the model again; a folder in pegbox's own cache may be deleted, it is then made anew",
    )
