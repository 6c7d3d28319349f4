"""From a GGUF file to a Transformers folder with plain weights.

The public route of Transformers reads the file. Then every matrix is kept in float16 and every vector (norms, biases)
in float32. What float16 drops is at most 1 part in 2,048 of a value, hundreds of times less than the rounding to 4 to 8
bits that the file has already been through; a matrix that float16 cannot hold that well stays in float32.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader
from safetensors.torch import save_file
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers import logging as transformers_logging

from pegbox.backbone.digest import ORIGIN
from pegbox.errors import BackboneError

REVISION = 1  # of this conversion: counted up whenever its result changes, so that old folders are made anew
TINIEST = 2.0**-24  # the smallest number that float16 can hold: what is lost below it is lost to no effect
SPLIT_DIGITS = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva")


def convert(file: Path, folder: Path, origin: str) -> None:
    """Write the model in a GGUF file as a Transformers folder: weights, configuration, tokenizer, chat template.

    Settings:
        file: the GGUF file.
        folder: an empty folder.
        origin: the SHA-256 of the source, kept in the folder for the model's digest.

    Raises:
        BackboneError: the file is damaged, or of an architecture that Transformers cannot read from GGUF.
    """
    try:
        reader = GGUFReader(file)
        with quiet(), contextlib.redirect_stderr(io.StringIO()):  # this reader draws a bar of its own, straight to the screen
            model, tokenizer = _read(file, reader)
    except Exception as problem:  # Transformers, gguf and tokenizers raise what comes, down to plain Exception
        raise BackboneError(
            f"{file} cannot be read as a model: {type(problem).__name__}: {problem}",
            "a whole GGUF file of an architecture that Transformers reads (Llama, Qwen2, Qwen3, GPT-2, Gemma, Mistral, ...)",
            "fetch the file again, or give the model's Transformers folder instead",
        ) from problem
    _check_positions(file, reader, model)
    _save(model, folder)
    tokenizer.save_pretrained(folder)
    (folder / ORIGIN).write_text(json.dumps({"source": origin, "revision": REVISION}), encoding="utf-8")


def _read(file: Path, reader: GGUFReader) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    where: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **where)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise TypeError(f"its tokenizer is a {type(tokenizer).__name__}, not a fast one")
    if _value(reader, "tokenizer.ggml.pre") in SPLIT_DIGITS:
        # Transformers rebuilds this tokenizer without its first step, which cuts every digit off.
        # It shows where blanks stand before a number: "\n\n1" must begin with one token for both line ends.
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    plain = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(file.parent, **where, quantization_config=plain, dtype=torch.float32)
    return model, tokenizer


def _value(reader: GGUFReader, key: str) -> Any:
    """One entry of the file's header, None where it is missing."""
    field = reader.get_field(key)
    return None if field is None else field.contents()


def _check_positions(file: Path, reader: GGUFReader, model: PreTrainedModel) -> None:
    """Refuse a file whose treatment of positions got lost on the way: its model would run, and be slightly wrong.

    Transformers drops the scaling of rotary positions (Llama 3.1 and later) and, for some families, the attention window.
    """
    architecture = _value(reader, "general.architecture")
    scaled = any(tensor.name == "rope_freqs.weight" for tensor in reader.tensors)
    scaled |= _value(reader, f"{architecture}.rope.scaling.type") not in (None, "none")
    rotary: dict[str, Any] = getattr(model.config, "rope_parameters", None) or {}
    window = _value(reader, f"{architecture}.attention.sliding_window")
    lost = []
    if scaled and rotary.get("rope_type", "default") == "default":
        lost.append("the scaling of its rotary positions")
    if window and window != getattr(model.config, "sliding_window", None):
        lost.append(f"its attention window of {window}")
    if lost:
        raise BackboneError(
            f"{file}, of which Transformers does not read {' and '.join(lost)}",
            "a GGUF file that Transformers reads completely",
            "give the model's Transformers folder or hub id instead",
        )


def _save(model: PreTrainedModel, folder: Path) -> None:
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # the weights are plain now; left in, it would send the next reader to the GGUF file
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(folder)
    save_file(_stored(model), folder / "model.safetensors", metadata={"format": "pt"})


def _stored(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """The weights as written to disk; one that is tied to an earlier one is written once."""
    kept: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            kept[name] = _narrowed(tensor) if tensor.dim() > 1 else tensor.contiguous()
    return kept


def _narrowed(matrix: torch.Tensor) -> torch.Tensor:
    """The matrix in float16, or unchanged where float16 would lose more than its last bit."""
    half = matrix.to(torch.float16)
    lost = (half.to(torch.float32) - matrix).abs()
    exact_enough = bool((lost <= matrix.abs() / 2048 + TINIEST).all())  # false, too, where it overflows to infinity
    return (half if exact_enough else matrix).contiguous()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of Transformers inside; its warnings still show."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
