"""Tiny models that read texts in both directions, masked and encoder-decoder ones, with random weights and bytes for tokens.

See `pegbox.backbone.tiny`. Their tokenizers put the marks around a text that those of the real families do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    BartConfig,
    BertConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    T5Config,
)

from pegbox.backbone.loaded import Loaded
from pegbox.backbone.tiny import NUDGE, SPREAD, byte_core, put_together, random_model
from pegbox.errors import BackboneError

PAD, START, END, MASK = "<pad>", "<s>", "</s>", "<mask>"
IDS = {PAD: 256, START: 257, END: 258, MASK: 259}
VOCABULARY = 260
READS = 512
"""Positions that these models read."""


def tiny_two_way(name: str, seed: int = 0, dtype: str = "float32", device: str = "cpu") -> Loaded:
    """A tiny masked or encoder-decoder model.

    Settings:
        name: one of `MASKED` or `ENCODER_DECODER`.
        seed, dtype, device: as for `pegbox.backbone.tiny.tiny`.

    Raises:
        BackboneError: no such family.
    """
    if name in MASKED:
        model = random_model(AutoModelForMaskedLM, MASKED[name](), seed)
        return put_together(f"tiny-{name}", model, marked_tokenizer(START), dtype, device, "masked")
    if name in ENCODER_DECODER:
        model = _with_bias(random_model(AutoModelForSeq2SeqLM, ENCODER_DECODER[name](), seed), seed)
        tokenizer = marked_tokenizer("" if name == "t5" else START)
        return put_together(f"tiny-{name}", model, tokenizer, dtype, device, "encoder-decoder")
    known = ", ".join((*MASKED, *ENCODER_DECODER))
    raise BackboneError(f"the family {name!r}", f"one of {known}", "pick one of these")


def marked_tokenizer(start: str) -> PreTrainedTokenizerFast:
    """A tokenizer whose token ids 0 to 255 are the bytes of UTF-8; it puts marks around a text when it is asked to.

    Settings:
        start: the mark before a text; empty: only the one after it.
    """
    core = byte_core(*IDS)
    core.post_processor = TemplateProcessing(single=f"{start} $A {END}".strip(), special_tokens=list(IDS.items()))
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=START,
        eos_token=END,
        cls_token=START,
        sep_token=END,
        pad_token=PAD,
        mask_token=MASK,
        clean_up_tokenization_spaces=False,
        model_max_length=READS,
    )


def _special_ids() -> dict[str, Any]:
    return {"bos_token_id": IDS[START], "eos_token_id": IDS[END], "pad_token_id": IDS[PAD]}


def _encoder(positions: int) -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": positions,
        "initializer_range": SPREAD,
        **_special_ids(),
    }


def _t5() -> PreTrainedConfig:
    sizes: dict[str, Any] = {"d_model": 64, "d_ff": 128, "d_kv": 16, "num_layers": 2, "num_heads": 4}
    start: dict[str, Any] = {"decoder_start_token_id": IDS[PAD]}
    return T5Config(vocab_size=VOCABULARY, **sizes, **start, **_special_ids())


def _bart() -> PreTrainedConfig:
    layers: dict[str, Any] = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128}
    heads: dict[str, Any] = {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
    rest: dict[str, Any] = {"max_position_embeddings": READS, "init_std": SPREAD, "scale_embedding": True}
    start: dict[str, Any] = {"decoder_start_token_id": IDS[END], "forced_eos_token_id": None}
    return BartConfig(vocab_size=VOCABULARY, d_model=64, **layers, **heads, **rest, **start, **_special_ids())


MASKED: dict[str, Callable[[], PreTrainedConfig]] = {
    "bert": lambda: BertConfig(**_encoder(READS)),
    "roberta": lambda: RobertaConfig(**_encoder(READS + IDS[PAD] + 1)),  # it counts positions from behind its padding's number
}
ENCODER_DECODER: dict[str, Callable[[], PreTrainedConfig]] = {"t5": _t5, "bart": _bart}


def _with_bias(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """The model with BART's bias on its logits moved away from 0."""
    bias = getattr(model, "final_logits_bias", None)
    if isinstance(bias, torch.Tensor):
        bias.add_(NUDGE * torch.randn(bias.shape, generator=torch.Generator().manual_seed(seed)))
    return model
