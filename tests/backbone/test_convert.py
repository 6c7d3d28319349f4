"""GGUF files and the wheels that carry them: converted once, exactly, in silence, or not at all."""

from __future__ import annotations

import math
import shutil
import zipfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pegbox.backbone import source as source_module
from pegbox.backbone.convert import _narrowed
from pegbox.backbone.loaded import Loaded
from pegbox.backbone.source import Wheel
from pegbox.backbone.tiny import tiny
from pegbox.backbone.weights import load
from pegbox.errors import BackboneError


def write_gguf(path: Path, quantised: bool = False, window: int = 0, scaling: str = "") -> Loaded:
    """The tiny Llama model as a GGUF file, its query and key rows in GGUF's own order. Returns the model."""
    made = tiny(hidden=64, heads=4, kv_heads=2)
    config, tokenizer = made.model.config, made.tokenizer
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(10000.0)
    if window:
        writer.add_sliding_window(window)
    if scaling:
        writer.add_string("llama.rope.scaling.type", scaling)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    tokens = tokenizer.convert_ids_to_tokens(range(259))
    tokens[255] = "ĠĠ"  # two blanks, in the place of a byte that no text holds
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 256 + [3] * 3)
    writer.add_token_merges(["Ġ Ġ"])
    writer.add_bos_token_id(257)
    writer.add_eos_token_id(258)
    writer.add_pad_token_id(256)
    writer.add_chat_template(str(tokenizer.chat_template))
    for name, tensor in gguf_tensors(made.model).items():
        if quantised and tensor.ndim > 1:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return made


def gguf_tensors(model: torch.nn.Module) -> dict[str, np.ndarray]:
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}
    parts = {
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    names |= {f"model.layers.{i}.{ours}": f"blk.{i}.{theirs}" for i in range(2) for ours, theirs in parts.items()}
    found: dict[str, np.ndarray] = {}
    for name, tensor in model.state_dict().items():
        if name != "lm_head.weight":
            matrix = tensor.numpy()
            heads = {"q_proj": 4, "k_proj": 2}.get(name.split(".")[-2])
            found[names[name.removesuffix(".weight")] + ".weight"] = matrix if heads is None else interleaved(matrix, heads)
    return found


def interleaved(matrix: np.ndarray, heads: int) -> np.ndarray:
    """Rows in GGUF's order: within a head, row j of the first half is followed by row j of the second."""
    half = matrix.shape[0] // heads // 2
    order = [h * 2 * half + side * half + j for h in range(heads) for j in range(half) for side in (0, 1)]
    return np.ascontiguousarray(matrix[order])


def test_a_gguf_file_becomes_the_model_it_was_made_from(tmp_path: Path, cache: Path) -> None:
    made = write_gguf(tmp_path / "m.gguf")
    loaded = load(str(tmp_path / "m.gguf"), dtype="float32", device="cpu")
    for name, tensor in made.model.state_dict().items():
        # float16 keeps 11 bits: half a unit in the last of them, or half its smallest step
        allowed = tensor.abs() / 2048 + 2.0**-25
        assert ((loaded.model.state_dict()[name] - tensor).abs() <= allowed).all(), name
    text = "The answer is 42."
    ids = torch.tensor([made.tokenizer.encode(text)])
    assert loaded.tokenizer.encode(text) == ids[0].tolist()
    assert torch.allclose(loaded.model(input_ids=ids).logits, made.model(input_ids=ids).logits, atol=0.02)
    stored = load_file(next((cache / "models").glob("gguf-*")) / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values() if tensor.dim() > 1} == {torch.float16}
    assert {tensor.dtype for tensor in stored.values() if tensor.dim() == 1} == {torch.float32}
    assert "lm_head.weight" not in stored  # tied: kept once
    embedding, head = loaded.model.get_input_embeddings(), loaded.model.get_output_embeddings()
    assert embedding.weight.data_ptr() == head.weight.data_ptr()


def test_a_quantised_gguf_file_becomes_its_dequantised_values(tmp_path: Path) -> None:
    write_gguf(tmp_path / "q.gguf", quantised=True)
    loaded = load(str(tmp_path / "q.gguf"), dtype="float32", device="cpu")
    block = next(tensor for tensor in gguf.GGUFReader(tmp_path / "q.gguf").tensors if tensor.name == "blk.1.ffn_down.weight")
    # Q8_0: 34 bytes for 32 numbers, a float16 step and 32 signed bytes
    raw = np.asarray(block.data).reshape(-1, 34)
    steps = raw[:, :2].copy().view(np.float16).astype(np.float32)
    expected = (steps * raw[:, 2:].copy().view(np.int8)).reshape(64, 128)
    found = loaded.model.state_dict()["model.layers.1.mlp.down_proj.weight"].numpy()
    assert np.abs(found - expected).max() <= np.abs(expected).max() / 2048


def test_digits_are_cut_off_one_by_one(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf")
    tokenizer = load(str(tmp_path / "m.gguf"), dtype="float32", device="cpu").tokenizer
    two_blanks = 255  # one token only if the digits are cut off before the blanks are looked at
    assert tokenizer.encode("in  2018") == [*b"in", two_blanks, *b"2018"]
    assert tokenizer.encode("in  it") == [*b"in  it"]  # before a word, the second blank belongs to the word


def test_a_gguf_file_is_converted_once_and_its_digest_follows_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_gguf(tmp_path / "m.gguf")
    first = load(str(tmp_path / "m.gguf"), dtype="float32", device="cpu")
    shutil.copy(tmp_path / "m.gguf", tmp_path / "copy.gguf")
    monkeypatch.setattr(source_module, "convert", None)  # a second conversion would fail
    second = load(str(tmp_path / "copy.gguf"), dtype="bfloat16", device="cpu")
    assert second.digest == first.digest


@pytest.mark.parametrize(
    ("setting", "lost"),
    [({"window": 8}, "its attention window of 8"), ({"scaling": "yarn"}, "the scaling of its rotary positions")],
)
def test_a_file_that_transformers_reads_in_part_is_refused(setting: dict[str, Any], lost: str, tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", **setting)
    with pytest.raises(BackboneError, match=f"m.gguf, of which Transformers does not read {lost}"):
        load(str(tmp_path / "m.gguf"), device="cpu")


def test_a_conversion_shows_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_gguf(tmp_path / "m.gguf")
    capfd.readouterr()
    load(str(tmp_path / "m.gguf"), dtype="float32", device="cpu")
    assert capfd.readouterr() == ("", "")


def test_a_damaged_gguf_file_is_refused_and_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    write_gguf(tmp_path / "m.gguf")
    whole = (tmp_path / "m.gguf").read_bytes()
    (tmp_path / "m.gguf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BackboneError, match="cannot be read as a model"):
        load(str(tmp_path / "m.gguf"), device="cpu")
    (tmp_path / "n.gguf").write_bytes(b"not a model")
    with pytest.raises(BackboneError, match="cannot be read as a model"):
        load(str(tmp_path / "n.gguf"), device="cpu")
    assert list((cache / "models").iterdir()) == []


def test_a_wheels_model_is_the_same_as_its_file(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(tmp_path / "m.gguf")
    with zipfile.ZipFile(tmp_path / "w.whl", "w") as archive:
        archive.write(tmp_path / "m.gguf", "inner/m.gguf")
    asked: list[tuple[str, str, str]] = []

    def fetch(package: str, version: str, sha256: str) -> Path:
        asked.append((package, version, sha256))
        return tmp_path / "w.whl"

    monkeypatch.setattr(source_module, "fetch", fetch)
    monkeypatch.setitem(source_module.WHEELS, "built-in", Wheel("pack", "1.0", "ab" * 32, "inner/m.gguf"))
    loaded = load("built-in", dtype="float32", device="cpu")
    again = load("built-in", dtype="float32", device="cpu")
    assert asked == [("pack", "1.0", "ab" * 32)]
    assert loaded.name == "built-in"
    assert loaded.digest == again.digest == load(str(tmp_path / "m.gguf"), dtype="float32", device="cpu").digest
    assert not list((cache / "models").glob("built-in*/*.gguf"))


def test_a_matrix_too_wild_for_float16_stays_in_float32() -> None:
    calm, wild = torch.tensor([[1.0, 1e-9]]), torch.tensor([[1.0, 1e6]])
    assert _narrowed(calm).dtype is torch.float16
    assert _narrowed(wild).dtype is torch.float32
    assert _narrowed(torch.tensor([[math.nan, 1.0]])).dtype is torch.float32
