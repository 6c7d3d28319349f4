"""Loading: as saved, frozen and silent; what cannot be prompted is refused; and the real weights read English."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertLMHeadModel, MambaConfig, MambaForCausalLM

from pegbox.backbone.loaded import Loaded, state_digest
from pegbox.backbone.opening import backbone_of
from pegbox.backbone.tiny import tiny, tiny_family
from pegbox.backbone.tiny_two_way import ENCODER_DECODER, MASKED, marked_tokenizer, tiny_two_way
from pegbox.backbone.weights import load
from pegbox.errors import BackboneError

Save = Callable[[Loaded, Path], Path]

SENTENCES = [
    "The capital of France is Paris, and the capital of Germany is Berlin.",
    "Water boils at one hundred degrees Celsius and freezes at zero degrees.",
    "She walked to the store to buy some milk and bread for breakfast.",
]


def test_load_tiny_is_tiny_in_float32() -> None:
    loaded = load("tiny")
    assert loaded.name == "tiny"
    assert loaded.dtype == "float32"
    assert loaded.digest == tiny().digest
    assert load("tiny", dtype="bfloat16", device="cpu").model.dtype is torch.bfloat16


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3", "gemma3"])
def test_a_folder_loads_as_it_was_save(family: str, tmp_path: Path, save: Save) -> None:
    made = tiny_family(family)
    loaded = load(str(save(made, tmp_path / "m")), dtype="float32", device="cpu")
    assert loaded.name == str(tmp_path / "m")
    assert (loaded.dtype, loaded.device) == ("float32", "cpu")
    assert state_digest(loaded.model) == state_digest(made.model)
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.tokenizer.encode("é<|im_end|>") == [195, 169, 258]
    assert loaded.tokenizer.chat_template == made.tokenizer.chat_template


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_number_type_is_the_one_asked_for(dtype: str, tmp_path: Path, save: Save) -> None:
    loaded = load(str(save(tiny(), tmp_path)), dtype=dtype, device="cpu")
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {getattr(torch, dtype)}
    assert loaded.dtype == dtype


def test_loading_shows_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str], save: Save) -> None:
    folder = save(tiny(), tmp_path)
    capfd.readouterr()
    load(str(folder), dtype="float32", device="cpu")
    assert capfd.readouterr() == ("", "")


def _bert(is_decoder: bool) -> Any:
    sizes = {"vocab_size": 259, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return (BertLMHeadModel if is_decoder else BertForMaskedLM)(BertConfig(**sizes, is_decoder=is_decoder))


def _stating(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    ("model_type", "architecture"), [("t5", "T5EncoderModel"), ("bert", "BertForSequenceClassification"), ("bert", "BertModel")]
)
def test_a_model_without_an_output_head_is_refused(model_type: str, architecture: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type, "architectures": [architecture]}))
    with pytest.raises(BackboneError, match=rf"which is a {architecture} \({model_type}\)") as caught:
        load(str(tmp_path), device="cpu")
    assert caught.value.expected.startswith("a language model with its output head: causal")


@pytest.mark.parametrize(
    ("is_decoder", "stated", "kind"),
    [
        (False, ["BertForMaskedLM"], "masked"),
        (False, ["BertForPreTraining"], "masked"),
        (False, None, "masked"),
        (True, ["BertLMHeadModel"], "causal"),
        (True, None, "causal"),
    ],
)
def test_what_a_bert_is_follows_from_what_its_configuration_states(
    is_decoder: bool, stated: list[str] | None, kind: str, tmp_path: Path
) -> None:
    _bert(is_decoder).save_pretrained(tmp_path)
    marked_tokenizer("<s>").save_pretrained(tmp_path)
    _stating(tmp_path, architectures=stated)
    loaded = load(str(tmp_path), device="cpu")
    assert loaded.kind == kind
    assert type(loaded.model).__name__ == ("BertForMaskedLM" if kind == "masked" else "BertLMHeadModel")


@pytest.mark.parametrize("family", [*MASKED, *ENCODER_DECODER])
def test_a_two_way_folder_loads_as_it_was_saved(family: str, tmp_path: Path, save: Save) -> None:
    made = tiny_two_way(family)
    loaded = load(str(save(made, tmp_path)), dtype="float32", device="cpu")
    assert loaded.kind == made.kind
    assert state_digest(loaded.model) == state_digest(made.model)
    assert loaded.tokenizer("é").input_ids == made.tokenizer("é").input_ids


def test_a_bart_saved_without_a_head_has_its_input_matrix_for_one(tmp_path: Path, save: Save) -> None:
    made = tiny_two_way("bart")
    folder = save(made, tmp_path)
    _stating(folder, architectures=["BartModel"])
    assert state_digest(load(str(folder), dtype="float32", device="cpu").model) == state_digest(made.model)


def test_a_decoder_that_does_not_say_how_it_begins_is_refused() -> None:
    loaded = tiny_two_way("t5")
    loaded.model.config.decoder_start_token_id = None
    loaded.model.generation_config.decoder_start_token_id = None
    with pytest.raises(BackboneError, match="T5ForConditionalGeneration without a decoder_start_token_id"):
        backbone_of(loaded)


def test_a_masked_model_whose_tokenizer_has_no_mask_is_refused() -> None:
    loaded = tiny_two_way("bert")
    with pytest.raises(BackboneError, match="the model 'tiny-bert', whose tokenizer has no mask"):
        backbone_of(replace(loaded, tokenizer=tiny().tokenizer))


def test_a_model_without_attention_is_refused(tmp_path: Path) -> None:
    sizes = {"vocab_size": 259, "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}
    MambaForCausalLM(MambaConfig(**sizes)).save_pretrained(tmp_path)
    tiny().tokenizer.save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match=r"\(MambaForCausalLM\), which takes no position_ids, past_key_values"):
        load(str(tmp_path), device="cpu")


def test_a_model_with_holes_is_refused(tmp_path: Path, save: Save) -> None:
    folder = save(tiny(), tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=r"lack 1 weights, among them model.layers.1.mlp.up_proj.weight"):
        load(str(folder), dtype="float32", device="cpu")


def test_a_cut_off_file_is_refused(tmp_path: Path, save: Save) -> None:
    folder = save(tiny(), tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BackboneError, match="cannot be read: SafetensorError"):
        load(str(folder), dtype="float32", device="cpu")


def test_pickled_weights_are_refused(tmp_path: Path, save: Save) -> None:
    folder = save(tiny(), tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(BackboneError, match="cannot be read: OSError") as caught:
        load(str(folder), dtype="float32", device="cpu")
    assert "no pickled weights" in caught.value.expected


def test_a_model_that_brings_its_own_code_is_refused_and_not_run(tmp_path: Path, save: Save) -> None:
    folder = save(tiny(), tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    own = {"auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}, "model_type": "own"}
    (folder / "config.json").write_text(json.dumps(config | own))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    with pytest.raises(BackboneError, match="cannot be read"):
        load(str(folder), device="cpu")
    assert not (tmp_path / "ran").exists()


@pytest.mark.weights
def test_smollm2_reads_english(smollm2: Loaded) -> None:
    losses, count = 0.0, 0
    for sentence in SENTENCES:
        ids = torch.tensor([smollm2.tokenizer.encode(sentence)])
        scores = torch.log_softmax(smollm2.model(input_ids=ids).logits[0, :-1], dim=-1)
        losses -= float(scores.gather(1, ids[0, 1:, None]).sum())
        count += ids.shape[1] - 1
    assert math.exp(losses / count) < 40  # a model with its rows in the wrong order is in the thousands


@pytest.mark.weights
def test_smollm2_knows_the_capital_of_france(smollm2: Loaded) -> None:
    ids = torch.tensor([smollm2.tokenizer.encode("The capital of France is")])
    best = int(smollm2.model(input_ids=ids).logits[0, -1].argmax())
    assert smollm2.tokenizer.decode([best]) == " Paris"


@pytest.mark.weights
@pytest.mark.parametrize(
    "text", ["plain", " lead", "trail ", "a\n\n  b\t c", "in  2018\n\n1. x", "é中文🙂 \x00\x01", "don't 's , x ."]
)
def test_smollm2s_tokenizer_gives_texts_back(text: str, smollm2: Loaded) -> None:
    assert smollm2.tokenizer.decode(smollm2.tokenizer.encode(text)) == text


@pytest.mark.weights
def test_smollm2s_chat_tokens_and_template(smollm2: Loaded) -> None:
    tokenizer = smollm2.tokenizer
    assert tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_start|>", "<|im_end|>"]) == [0, 1, 2]
    text = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True)
    assert text.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
    ids = tokenizer.encode(text)
    assert ids[:1] == [1]
    assert ids.count(1) == 3
    assert ids.count(2) == 2
    doubled = tokenizer.encode("\n\n1")
    assert len(doubled) == 2  # both line ends are one token, the digit another


@pytest.mark.weights
def test_smollm2_loads_in_under_four_seconds(smollm2: Loaded) -> None:
    start = time.perf_counter()
    again = load("smollm2", dtype="float32", device="cpu")
    assert time.perf_counter() - start < 4.0
    assert again.digest == smollm2.digest
    assert again.model.config.tie_word_embeddings
    assert again.model.get_input_embeddings().weight.data_ptr() == again.model.get_output_embeddings().weight.data_ptr()
