"""Which device and which number type the backbone runs in."""

from __future__ import annotations

import functools
import time

import torch

from pegbox.errors import BackboneError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FAST_BFLOAT16 = ("avx512_bf16", "amx_bf16", "amx_tile")  # CPU features that multiply bfloat16 directly
TRIALS = 5  # of a product in each number type, the fastest counts: about 10 ms
GAIN = 1.2  # how much faster bfloat16 must be to be worth its rounding


def choose_device(device: str = "auto") -> str:
    """The device's plain name: for "auto" the first GPU where there is one, else the CPU.

    Raises:
        BackboneError: the name means nothing, or this machine has no such device.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        wanted = torch.device(device)
    except RuntimeError as problem:
        raise BackboneError(f"the device {device!r}", "auto, cpu, cuda or cuda:1", "pick one of these") from problem
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        raise BackboneError(
            f"the device {device!r} on a machine where PyTorch sees {torch.cuda.device_count()} GPUs",
            "a device that is there",
            "use --device cpu or --device auto, or install a PyTorch build for your GPU",
        )
    return str(wanted)


def choose_dtype(dtype: str = "auto", device: str = "cpu") -> str:
    """The number type's plain name: for "auto" bfloat16 where the device multiplies it faster, else float32.

    A CPU that has the instructions need not be fast at them: an Intel Xeon with avx512_bf16 whose matrix unit (AMX) is
    hidden from a virtual machine multiplies float32 twice as fast. So the CPU is asked, by a product in each type.

    Raises:
        BackboneError: no such type.
    """
    if dtype == "auto":
        fast = knows_bfloat16(device) and (torch.device(device).type != "cpu" or _gain_of_bfloat16() >= GAIN)
        return "bfloat16" if fast else "float32"
    if dtype not in DTYPES:
        raise BackboneError(f"the number type {dtype!r}", f"auto, {', '.join(DTYPES)}", "pick one of these")
    return dtype


def knows_bfloat16(device: str = "cpu") -> bool:
    """Whether the device has instructions that multiply bfloat16 directly, fast or not."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    features = torch.cpu.get_capabilities() if torch.device(device).type == "cpu" else {}
    return any(features.get(name) is True for name in FAST_BFLOAT16)


@functools.cache
def _gain_of_bfloat16() -> float:
    """How much faster this CPU multiplies matrices of a small model's size in bfloat16 than in float32."""
    fastest = dict.fromkeys((torch.float32, torch.bfloat16), float("inf"))
    for _ in range(TRIALS):
        for dtype in fastest:
            rows, weights = torch.ones(256, 576, dtype=dtype), torch.ones(576, 1536, dtype=dtype)
            start = time.perf_counter()
            rows @ weights
            fastest[dtype] = min(fastest[dtype], time.perf_counter() - start)
    return fastest[torch.float32] / fastest[torch.bfloat16]
