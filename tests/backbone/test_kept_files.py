"""Kept keys and values in files: found again, never stale, never too many, and no cheaper than they would be alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from pegbox.backbone import kept_files
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.kept_files import KeptFiles, default_disk_budget
from pegbox.backbone.seam import Choices, Spent
from pegbox.backbone.storage import Packed, Storage
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.errors import SettingsError
from pegbox.prompt import parse

ROWS = Rows.from_texts(["one", "two words", "a longer text than these are", "x y z"])
LIVE = {"s": 0.2 * torch.randn(2, 3, 64, generator=torch.Generator().manual_seed(0))}
GIGABYTE = 10**9


def numbers(value: float, size: int = 4) -> Packed:
    return {"0.keys": torch.full((1, 1, size, 2), value), "0.values": torch.full((1, 1, size, 2), -value)}


def scored(disk: int, memory: int | None = None, storage: Storage = "exact", text: str = "Say") -> tuple[torch.Tensor, Spent]:
    """Scores by a backbone of its own, as another process would have it."""
    backbone = HuggingFaceBackbone(tiny(), memory, storage, disk)
    bound = backbone.bind(parse(text + ": {text} [soft s 3] Is it? [answer]"), ROWS, Choices(("yes", "no", "maybe")))
    found = bound.score(range(4), LIVE)
    assert torch.equal(bound.score(range(4), LIVE), found)
    return found, backbone.spent


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    files = KeptFiles("model", GIGABYTE, tmp_path)
    assert files.read("a") is None
    assert files.write("a", numbers(1.5))
    found = files.read("a")
    assert found is not None
    assert {name: tensor.tolist() for name, tensor in found.items()} == {n: t.tolist() for n, t in numbers(1.5).items()}
    assert files.read("b") is None
    assert KeptFiles("another model", GIGABYTE, tmp_path).read("a") is None
    assert KeptFiles("model", GIGABYTE, tmp_path).read("a") is not None


def test_the_files_least_lately_read_give_way(tmp_path: Path) -> None:
    files = KeptFiles("model", GIGABYTE, tmp_path)
    for at, key in enumerate("abc"):
        files.write(key, numbers(float(at)))
        os.utime(files._place(key), ns=(at, at))
    files.read("a")  # read just now
    files.budget = 3 * files._place("a").stat().st_size + 1000  # a file more with its names and shapes is reckoned as larger
    files.write("d", numbers(4.0))
    assert [files.read(key) is not None for key in "abcd"] == [True, False, True, True]
    assert sum(place.stat().st_size for place in tmp_path.iterdir()) <= files.budget
    assert not KeptFiles("model", 100, tmp_path).write("e", numbers(1.0))


def test_a_damaged_file_is_not_read_and_is_made_anew(tmp_path: Path) -> None:
    files = KeptFiles("model", GIGABYTE, tmp_path)
    files.write("a", numbers(1.0))
    place = files._place("a")
    place.write_bytes(place.read_bytes()[:40])
    assert files.read("a") is None
    assert not place.exists()
    assert files.write("a", numbers(1.0))
    assert files.read("a") is not None


def test_a_disk_that_refuses_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("in the way")
    assert not KeptFiles("model", GIGABYTE, tmp_path / "a file" / "folder").write("a", numbers(1.0))


def test_the_next_run_finds_them_and_pays_all_the_same(cache: Path) -> None:
    alone, cost = scored(0)
    first, before = scored(GIGABYTE)
    assert any((cache / "keys-values").iterdir())
    again, after = scored(GIGABYTE)
    assert torch.equal(first, alone)
    assert torch.equal(again, alone)
    assert before.forward == after.forward == cost.forward
    assert before.reused == 0
    texts = sum(len(" " + row["text"]) for row in ROWS.fields)
    assert abs(after.reused - texts) <= len(ROWS) + 1


def test_another_prompt_or_storage_is_another_file(cache: Path) -> None:
    scored(GIGABYTE)
    assert scored(GIGABYTE, text="Tell")[1].reused == 0
    assert scored(GIGABYTE, storage="int8")[1].reused == 0
    assert scored(GIGABYTE, storage="int8")[1].reused > 0


def test_what_memory_cannot_hold_lies_in_files_and_is_computed_once(cache: Path) -> None:
    config = tiny().model.config
    position = config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 2 * 4
    memory = (len("Say:") + 1) * position  # of the prompt's beginning, and no text
    alone, cost = scored(0)
    found, spent = scored(GIGABYTE, memory)
    assert torch.equal(found, alone)
    assert spent.forward == cost.forward
    assert scored(0, memory)[1].forward > cost.forward  # without files the texts are read at each call
    again, after = scored(GIGABYTE, memory)
    assert torch.equal(again, alone)
    assert after.forward == cost.forward  # so an interrupted run ends where another would have
    assert after.reused > 0


def test_the_budget_on_disk_can_be_set_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PEGBOX_CACHE_DISK_BYTES", raising=False)
    assert 0 < default_disk_budget(tmp_path / "not" / "there") <= kept_files.MOST
    monkeypatch.setenv("PEGBOX_CACHE_DISK_BYTES", "77")
    assert default_disk_budget(tmp_path) == 77
    monkeypatch.setenv("PEGBOX_CACHE_DISK_BYTES", "much")
    with pytest.raises(SettingsError, match="PEGBOX_CACHE_DISK_BYTES='much'"):
        default_disk_budget(tmp_path)
