"""In which numbers kept keys and values lie, and what that does to a score."""

from __future__ import annotations

import pytest
import torch

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.seam import Choices
from pegbox.backbone.storage import KeysValues, Storage, default_storage, pack, packed_bytes, unpack
from pegbox.backbone.tiny import FAMILIES, tiny_family
from pegbox.data.rows import Rows
from pegbox.errors import SettingsError
from pegbox.prompt import parse

KEYS, VALUES = [1.0, -0.5, 0.25, 3.0, 300.0, -127.0], [0.0, 0.0, 2.54, 1.27, -1.0, 0.1]
RUN = KeysValues(torch.tensor(KEYS).view(1, 1, 3, 2), torch.tensor(VALUES).view(1, 1, 3, 2))


def test_exact_is_the_very_numbers() -> None:
    packed = pack((RUN,), "exact")
    assert packed["0.keys"] is RUN.keys
    (found,) = unpack(packed, torch.float32)
    assert found.keys is RUN.keys
    assert found.values is RUN.values


def test_int8_has_127_steps_of_each_vectors_largest_number() -> None:
    packed = pack((RUN,), "int8")
    assert packed["0.keys"].tolist() == [[[[127, -64], [11, 127], [127, -54]]]]  # -63.5 and 10.58 and -53.76, rounded
    assert packed["0.values"].tolist() == [[[[0, 0], [127, 64], [-127, 13]]]]  # 63.5 and 12.7, rounded to even
    (found,) = unpack(packed, torch.float32)
    assert torch.allclose(found.values[0, 0, 1], torch.tensor([2.54, 64 * 0.02]))
    assert found.values[0, 0, 0].tolist() == [0.0, 0.0]


def test_bytes_are_those_of_what_is_kept() -> None:
    run = KeysValues(torch.zeros(2, 3, 5, 8), torch.zeros(2, 3, 5, 8))
    numbers = 2 * 3 * 5 * 8 * 2
    assert [packed_bytes(pack((run,), kind)) for kind in ("exact", "bfloat16", "int8")] == [
        4 * numbers,
        2 * numbers,
        numbers + numbers // 8 * 4,
    ]


@pytest.mark.parametrize(("storage", "most"), [("bfloat16", 0.02), ("int8", 0.1)])
@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3", "gemma"])
def test_rounded_numbers_move_a_score_by_no_more_than_is_stated(family: str, storage: Storage, most: float) -> None:
    assert family in FAMILIES
    rows = Rows.from_texts(["one", "two words", "a longer text than these are", "x y z"])
    live = {"s": 0.2 * torch.randn(2, 3, 64, generator=torch.Generator().manual_seed(0))}

    def scored(kind: Storage) -> torch.Tensor:
        backbone = HuggingFaceBackbone(tiny_family(family), storage=kind)
        bound = backbone.bind(parse("Say: {text} [soft s 3] Is it? [answer]"), rows, Choices(("yes", "no", "maybe")))
        first = bound.score(range(4), live)
        assert torch.equal(bound.score(range(4), live), first)  # what was just computed is rounded as what is read again
        return first

    apart = (scored(storage) - scored("exact")).abs().max()
    assert 0 < apart < most


def test_the_storage_can_be_set_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PEGBOX_CACHE_STORAGE", raising=False)
    assert default_storage() == "exact"
    monkeypatch.setenv("PEGBOX_CACHE_STORAGE", "int8")
    assert default_storage() == "int8"
    monkeypatch.setenv("PEGBOX_CACHE_STORAGE", "int4")
    with pytest.raises(SettingsError, match="PEGBOX_CACHE_STORAGE='int4'"):
        default_storage()
