"""Frozen weights kept in fewer bits: `smollm2+nf4`, `./folder+int8`, `owner/name+nf4`.

What is tuned stays in float32, and so do embeddings, norms and the output matrix; gradients flow through the rounded weights
to the prompt. It saves memory, not time: a CPU multiplies the rounded weights no faster. The rounding is bitsandbytes', through
the public switch of Transformers. A prompt belongs to the rounded model: its digest is not that of the model in full.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from pathlib import Path
from typing import Any

import torch

from pegbox.errors import BackboneError

KINDS: dict[str, dict[str, Any]] = {
    # no columns in full where some row has a large number: a row's scores would depend on the rows beside it
    "int8": {"load_in_8bit": True, "llm_int8_threshold": 0.0},
    "nf4": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
}
"""The number of bits by its name, with the settings of Transformers' switch.

Source: Dettmers et al. 2022 (arXiv 2208.07339, LLM.int8(), here without its outlier columns) and 2023 (arXiv 2305.14314, NF4).
"""
LIBRARIES = ("bitsandbytes", "accelerate")


def parted(model: str) -> tuple[str, str | None]:
    """The model's own name, and in what its weights are to be kept; None: as they are.

    A path that is there is that path, whatever it ends with.
    """
    plain, _, kind = model.rpartition("+")
    return (plain, kind) if plain and kind in KINDS and not Path(model).exists() else (model, None)


def reading(kind: str, name: str, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """What Transformers must be told to round the weights while it reads them.

    Raises: BackboneError where the libraries that round are not installed.
    """
    if lacking := [library for library in LIBRARIES if importlib.util.find_spec(library) is None]:
        raise BackboneError(
            f"the model {name!r}, without {lacking[0]} on this machine",
            "the libraries that keep weights in fewer bits",
            "pip install 'pegbox[quantized]', or leave out the ending " + repr(f"+{kind}"),
        )
    from transformers import BitsAndBytesConfig

    hush()
    settings = KINDS[kind] | ({"bnb_4bit_compute_dtype": dtype} if kind == "nf4" else {})
    return {"quantization_config": BitsAndBytesConfig(**settings), "device_map": {"": device}}


def hush() -> None:
    """No advice of bitsandbytes: at its import, which PEFT's brings along, and at every product that casts numbers."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def differentiable(model: torch.nn.Module) -> None:
    """Keeps bitsandbytes from packing the weights anew for prediction, as it does where a CPU has AVX-512 with bfloat16.

    Packed so, no gradient flows through them any more, and scores without a gradient would be other than those with one.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010  # no attribute of every module


def rounded_digest(digest: str, kind: str) -> str:
    """The digest of a model whose weights were rounded."""
    return hashlib.sha256(f"{digest}+{kind}".encode()).hexdigest()
