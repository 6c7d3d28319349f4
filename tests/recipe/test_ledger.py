"""What a job cost, over all its tries."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pegbox.backbone.seam import Spent
from pegbox.recipe import ledger as module
from pegbox.recipe.ledger import Ledger


def test_tokens_seconds_and_memory_of_a_block() -> None:
    model: Any = SimpleNamespace(spent=Spent(100, 50))
    with Ledger(model, None) as ledger:
        model.spent.forward += 7
        model.spent.backward += 3
        time.sleep(0.02)
    assert (ledger.total.forward, ledger.total.backward) == (7, 3)
    assert 0.02 <= ledger.total.seconds < 5
    assert ledger.total.peak > 1_000_000


def test_a_second_try_adds_to_the_first(tmp_path: Path) -> None:
    model: Any = SimpleNamespace(spent=Spent())
    with suppress(KeyboardInterrupt), Ledger(model, tmp_path):
        model.spent.forward += 7
        raise KeyboardInterrupt
    earlier = json.loads((tmp_path / "spent.json").read_text())
    assert earlier["forward"] == 7
    (tmp_path / "spent.json").write_text(json.dumps({**earlier, "seconds": 100.0, "peak": 10**15}))
    again: Any = SimpleNamespace(spent=Spent(500, 500))
    with Ledger(again, tmp_path) as ledger:
        again.spent.forward += 10
        again.spent.backward += 2
    assert (ledger.total.forward, ledger.total.backward, ledger.total.peak) == (17, 2, 10**15)
    assert 100 <= ledger.total.seconds < 105


def test_what_a_kill_leaves_is_less_than_a_second_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WRITE_S", 0.01)
    model: Any = SimpleNamespace(spent=Spent())
    with Ledger(model, tmp_path):
        model.spent.forward += 9
        until = time.monotonic() + 5
        while time.monotonic() < until:
            time.sleep(0.01)
            if (tmp_path / "spent.json").exists() and json.loads((tmp_path / "spent.json").read_text())["forward"] == 9:
                break
        else:
            pytest.fail("nothing was written while the block ran")
