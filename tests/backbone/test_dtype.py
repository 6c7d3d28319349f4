"""Which number type and which device are chosen."""

from __future__ import annotations

import pytest
import torch

from pegbox.backbone import dtype
from pegbox.backbone.dtype import choose_device, choose_dtype
from pegbox.errors import BackboneError


@pytest.mark.parametrize(
    ("features", "chosen"),
    [
        ({"avx512_bf16": True, "amx_tile": False}, "bfloat16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bfloat16"),
        ({"amx_tile": True}, "bfloat16"),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, "float32"),
        ({"cpu_name": "avx512_bf16", "avx512_bf16": 1}, "float32"),  # only a plain True counts, not a name or a size
        ({}, "float32"),
    ],
)
def test_auto_on_a_cpu_follows_its_features(features: dict[str, object], chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    monkeypatch.setattr(dtype, "_gain_of_bfloat16", lambda: 2.0)
    assert choose_dtype("auto", "cpu") == chosen


@pytest.mark.parametrize(("gain", "chosen"), [(2.0, "bfloat16"), (1.1, "float32"), (0.5, "float32")])
def test_a_cpu_must_be_faster_with_its_instructions(gain: float, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(dtype, "_gain_of_bfloat16", lambda: gain)
    assert choose_dtype("auto", "cpu") == chosen


@pytest.mark.parametrize(("float32", "bfloat16", "gain"), [(4.0, 2.0, 2.0), (2.0, 4.0, 0.5)])
def test_the_gain_is_of_the_fastest_products(
    float32: float, bfloat16: float, gain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = (float32, bfloat16)  # in the order the trials go
    ticks = []
    for trial in range(dtype.TRIALS):
        for taken in seconds:
            ticks += [0.0, taken + trial]
    clock = iter(ticks)
    monkeypatch.setattr(dtype.time, "perf_counter", lambda: next(clock))
    assert dtype._gain_of_bfloat16.__wrapped__() == gain


@pytest.mark.parametrize(("supported", "chosen"), [(True, "bfloat16"), (False, "float32")])
def test_auto_on_a_gpu_asks_the_gpu(supported: bool, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported and not including_emulation)
    assert choose_dtype("auto", "cuda") == chosen


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_named_type_is_taken_as_it_is(name: str) -> None:
    assert choose_dtype(name, "cpu") == name
    assert dtype.DTYPES[name] is getattr(torch, name)


def test_an_unknown_type_names_the_known_ones() -> None:
    with pytest.raises(BackboneError, match="'int8'") as caught:
        choose_dtype("int8", "cpu")
    assert caught.value.expected == "auto, float32, bfloat16, float16"


@pytest.mark.parametrize(("gpus", "chosen"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_the_gpu_where_there_is_one(gpus: bool, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    assert choose_device("auto") == chosen


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("cuda") == "cuda"
    assert choose_device("cuda:0") == "cuda:0"
    with pytest.raises(BackboneError, match=r"'cuda:1' on a machine where PyTorch sees 1 GPUs"):
        choose_device("cuda:1")


def test_a_device_that_means_nothing_is_refused() -> None:
    with pytest.raises(BackboneError, match="'toaster'"):
        choose_device("toaster")
