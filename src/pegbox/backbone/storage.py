"""In which numbers kept keys and values lie: exactly as the model made them, rounded to bfloat16, or as int8 with scales."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from pegbox.errors import SettingsError

Storage = Literal["exact", "bfloat16", "int8"]
"""What is kept of each number. int8: 127 steps of the largest number of each position's vector, in every layer and head."""


@dataclass(frozen=True, eq=False)
class KeysValues:
    """The keys and values of a run of positions in every layer.

    Shape: keys [L, heads, T, D]; values [L, heads, T, D'].
    """

    keys: torch.Tensor
    values: torch.Tensor

    @property
    def length(self) -> int:
        return self.keys.shape[2]

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes


Block = tuple[KeysValues, ...]

Packed = dict[str, torch.Tensor]
"""A block as named tensors: `0.keys`, `0.values`, with int8 also `0.keys.scale` [L, heads, T, 1] and its like."""


def default_storage() -> Storage:
    """The environment's PEGBOX_CACHE_STORAGE, else exact. Raises SettingsError for a kind that there is not."""
    given = os.environ.get("PEGBOX_CACHE_STORAGE", "exact")
    for kind in get_args(Storage):
        if given == kind:
            return kind  # type: ignore[no-any-return]  # one of the literals
    raise SettingsError(
        f"PEGBOX_CACHE_STORAGE={given!r}", f"one of {', '.join(get_args(Storage))}", "set it to one of these, or unset it"
    )


def bytes_asked(name: str, remedy: str) -> int | None:
    """A number of bytes from the environment; None where it says nothing. Raises SettingsError for anything else."""
    given = os.environ.get(name)
    if given is not None and not given.isdigit():
        raise SettingsError(f"{name}={given!r}", "a whole number of bytes", remedy)
    return None if given is None else int(given)


def pack(block: Block, storage: Storage) -> Packed:
    """The block as it is kept."""
    found: Packed = {}
    for number, run in enumerate(block):
        for name, tensor in (("keys", run.keys), ("values", run.values)):
            found |= _packed(f"{number}.{name}", tensor, storage)
    return found


def unpack(packed: Packed, dtype: torch.dtype) -> Block:
    """The block in the model's numbers again."""
    count = sum(name.endswith(".values") for name in packed)
    return tuple(
        KeysValues(_unpacked(packed, f"{number}.keys", dtype), _unpacked(packed, f"{number}.values", dtype))
        for number in range(count)
    )


def packed_bytes(packed: Packed) -> int:
    """Bytes of a packed block."""
    return sum(tensor.nbytes for tensor in packed.values())


def _packed(name: str, tensor: torch.Tensor, storage: Storage) -> Packed:
    if storage == "exact":
        return {name: tensor}
    if storage == "bfloat16":
        return {name: tensor.bfloat16()}
    if not tensor.shape[-1]:  # an encoder's reading has no values
        return {name: tensor}
    scale = tensor.float().abs().amax(-1, keepdim=True).clamp_min(1e-12) / 127
    return {name: (tensor.float() / scale).round().to(torch.int8), f"{name}.scale": scale}


def _unpacked(packed: Packed, name: str, dtype: torch.dtype) -> torch.Tensor:
    tensor, scale = packed[name], packed.get(f"{name}.scale")
    return tensor.to(dtype) if scale is None else (tensor.float() * scale).to(dtype)
