"""Tiny models with random weights and a byte-level tokenizer: every test and example runs with no download.

They are real Transformers models of the families that pegbox supports, built in a fraction of a second, and too small
to know anything. Their weights are scaled up, so that a change of prompt is plainly seen in the scores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from pegbox.backbone.loaded import Kind, Loaded, state_digest
from pegbox.errors import BackboneError

START, END, TEXT_END = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
POSITIONS = 2048
WINDOW = 8  # attention window of the families that have one: short, so that it matters in short texts
SPREAD = 0.2  # standard deviation of the weights; Transformers' 0.02 would leave every score alike
NUDGE = 0.1  # standard deviation of what is added to norms and biases, so that none is a silent 0 or 1


def tiny(
    seed: int = 0,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 4,
    kv_heads: int = 2,
    dtype: str = "float32",
    device: str = "cpu",
) -> Loaded:
    """A small Llama-type model whose tokens are bytes.

    Settings:
        seed: equal seeds give equal weights.
        hidden, layers, heads, kv_heads: its width, depth, attention heads and key-value heads.
        dtype, device: as in `pegbox.backbone.weights.load`; the weights are drawn in float32 on the CPU first.
    """
    config = LlamaConfig(**_sizes(hidden, layers, heads, kv_heads))
    return _built("tiny", config, seed, dtype, device)


def tiny_family(name: str, seed: int = 0, dtype: str = "float32", device: str = "cpu") -> Loaded:
    """A tiny model of another family, with the same tokenizer as `tiny`.

    Settings:
        name: one of `FAMILIES`.

    Raises:
        BackboneError: no such family.
    """
    if name not in FAMILIES:
        raise BackboneError(f"the family {name!r}", f"one of {', '.join(FAMILIES)}", "pick one of these")
    return _built(f"tiny-{name}", FAMILIES[name](), seed, dtype, device)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer whose token ids 0 to 255 are the bytes of UTF-8, followed by three special tokens.

    Any text decodes to itself. It sees no words: `é` is two tokens.
    """
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_core(TEXT_END, START, END),
        bos_token=START,
        eos_token=END,
        pad_token=TEXT_END,
        clean_up_tokenization_spaces=False,
        model_max_length=POSITIONS,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def byte_core(*special: str) -> Tokenizer:
    """The rules by which bytes become tokens 0 to 255, and these special tokens 256 and so on."""
    vocabulary = {symbol: byte for byte, symbol in enumerate(_byte_symbols())}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in special])
    return core


def _byte_symbols() -> list[str]:
    """The character that byte-level BPE writes for each byte.

    Printable Latin-1 stands for itself; the 68 other bytes, in order, take the characters from 256 on.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(256)]


def _special_ids() -> dict[str, Any]:
    return {"bos_token_id": 257, "eos_token_id": 258, "pad_token_id": 256}


def _sizes(hidden: int = 64, layers: int = 2, heads: int = 4, kv_heads: int = 2) -> dict[str, Any]:
    """The settings that all families but GPT-2 share."""
    return {
        "vocab_size": 259,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": hidden // heads,
        "max_position_embeddings": POSITIONS,
        "initializer_range": SPREAD,
        "tie_word_embeddings": True,
        **_special_ids(),
    }


def _gpt2() -> PreTrainedConfig:
    sizes: dict[str, Any] = {"vocab_size": 259, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": POSITIONS}
    still: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2Config(**sizes, **still, initializer_range=SPREAD, **_special_ids())


def _gemma2() -> PreTrainedConfig:
    caps: dict[str, Any] = {
        "attn_logit_softcapping": 5.0,
        "final_logit_softcapping": 5.0,
    }  # low enough to bend these small scores
    return Gemma2Config(**_sizes(), **caps, query_pre_attn_scalar=16, sliding_window=WINDOW)


def _gemma3() -> PreTrainedConfig:
    kinds = ["sliding_attention", "full_attention"]
    return Gemma3TextConfig(**_sizes(), query_pre_attn_scalar=16, sliding_window=WINDOW, layer_types=kinds)


FAMILIES: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(**_sizes()),
    "gpt2": _gpt2,
    "qwen2": lambda: Qwen2Config(**_sizes()),
    "qwen3": lambda: Qwen3Config(**_sizes()),
    "gemma": lambda: GemmaConfig(**_sizes(kv_heads=1)),
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "mistral": lambda: MistralConfig(**_sizes(), sliding_window=WINDOW),
}


def _built(name: str, config: PreTrainedConfig, seed: int, dtype: str, device: str) -> Loaded:
    return put_together(name, random_model(AutoModelForCausalLM, config, seed), byte_tokenizer(), dtype, device)


def put_together(
    name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, dtype: str, device: str, kind: Kind = "causal"
) -> Loaded:
    """A model and its tokenizer under a name, with a digest of their contents."""
    described = "\n".join((name, state_digest(model), tokenizer.backend_tokenizer.to_str(), tokenizer.chat_template or ""))
    placed: torch.nn.Module = model  # PreTrainedModel.to is wrapped in a way that hides its type
    placed.to(device=torch.device(device), dtype=getattr(torch, dtype))
    return Loaded(model, tokenizer, name, hashlib.sha256(described.encode()).hexdigest(), dtype, device, kind)


def random_model(kind: Any, config: PreTrainedConfig, seed: int) -> PreTrainedModel:
    """The model of a configuration, with weights drawn from the seed; the caller's random state is left alone.

    Settings:
        kind: one of Transformers' automatic classes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = kind.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(NUDGE * torch.randn_like(parameter))
    model.eval().requires_grad_(False)
    return model
