"""The tiny models: real families, deterministic, and with scores that move when the prompt does."""

from __future__ import annotations

import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pegbox.backbone.loaded import Loaded, state_digest
from pegbox.backbone.tiny import FAMILIES, WINDOW, byte_tokenizer, tiny, tiny_family
from pegbox.errors import BackboneError

TOKENIZER = byte_tokenizer()


def next_token_scores(loaded: Loaded, text: str) -> torch.Tensor:
    ids = torch.tensor([loaded.tokenizer.encode(text)])
    return torch.log_softmax(loaded.model(input_ids=ids).logits[0, -1].double(), dim=-1)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_becomes_its_own_bytes_and_comes_back(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert ids == list(text.encode("utf-8"))
    assert TOKENIZER.decode(ids) == text


def test_special_tokens_are_single_and_can_be_kept_out() -> None:
    assert TOKENIZER.encode("<|im_start|>a<|im_end|><|endoftext|>") == [257, 97, 258, 256]
    assert TOKENIZER.encode("<|im_end|>", split_special_tokens=True) == list(b"<|im_end|>")
    assert TOKENIZER.decode([104, 105, 258], skip_special_tokens=True) == "hi"


def test_the_chat_template_is_chatml() -> None:
    chat = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    text = TOKENIZER.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"


def test_equal_seeds_give_equal_models_and_the_callers_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second, other = tiny(seed=3), tiny(seed=3), tiny(seed=4)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.digest == second.digest
    assert first.digest != other.digest
    assert state_digest(first.model) == state_digest(second.model)
    assert state_digest(first.model) != state_digest(other.model)


def test_the_sizes_are_those_asked_for() -> None:
    loaded = tiny(hidden=32, layers=3, heads=8, kv_heads=4)
    config = loaded.model.config
    assert (config.hidden_size, config.num_hidden_layers) == (32, 3)
    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (8, 4, 4)
    assert loaded.model.get_input_embeddings().weight.shape == (259, 32)


def test_the_number_type_changes_but_not_the_digest() -> None:
    half = tiny(dtype="bfloat16")
    assert half.model.dtype is torch.bfloat16
    assert half.dtype == "bfloat16"
    assert half.digest == tiny().digest


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_frozen_quick_and_moved_by_its_prompt(name: str) -> None:
    tiny_family(name)  # the first of a family imports its module
    start = time.perf_counter()
    loaded = tiny_family(name)
    assert time.perf_counter() - start < 0.3
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    one, other = next_token_scores(loaded, "a good film. "), next_token_scores(loaded, "a poor film. ")
    assert torch.isfinite(one).all()
    assert (one - other).abs().max() > 0.1
    assert one.std() > 0.5  # not all tokens alike
    assert one.max() < -0.01  # nor one of them certain


def test_families_differ_from_each_other() -> None:
    assert len({tiny_family(name).digest for name in FAMILIES}) == len(FAMILIES)


def test_norms_and_biases_are_not_their_silent_defaults() -> None:
    for name in FAMILIES:
        for key, tensor in tiny_family(name).model.named_parameters():
            assert tensor.std() > 0.01, (name, key)


@pytest.mark.parametrize("name", ["gemma2", "gemma3", "mistral"])
def test_a_short_attention_window_matters(name: str) -> None:
    loaded = tiny_family(name)
    text = "the answer is said first"
    short = next_token_scores(loaded, text)
    loaded.model.config.sliding_window = 1000
    wide = next_token_scores(loaded, text)
    assert not torch.allclose(short, wide, atol=1e-3)


def test_two_windowed_layers_reach_twice_the_window_and_no_further() -> None:
    loaded = tiny_family("mistral")
    reach = 2 * (WINDOW - 1)  # each layer looks back over the 7 positions before its own
    text = "abcdefghijklmnopqrstuvwxyz"
    base = next_token_scores(loaded, text)
    within, beyond = len(text) - 1 - reach, len(text) - 2 - reach
    assert (next_token_scores(loaded, text[:within] + "#" + text[within + 1 :]) - base).abs().max() > 1e-4
    assert (next_token_scores(loaded, text[:beyond] + "#" + text[beyond + 1 :]) - base).abs().max() < 1e-6


def test_an_unknown_family_names_the_known_ones() -> None:
    with pytest.raises(BackboneError, match="'bert'") as caught:
        tiny_family("bert")
    assert caught.value.expected == "one of llama, gpt2, qwen2, qwen3, gemma, gemma2, gemma3, mistral"
