"""What needs a process of its own: peak memory of training, and a cold `pegbox predict`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import names, steps, texts
from bench.setting import BATCH, Setting
from pegbox.data.rows import Rows

STEPS = 2


def peak_megabytes(who: str, dtype: str, threads: int) -> float:
    """Peak memory of a process that trains on 16 texts of 256 tokens."""
    command = [sys.executable, "-m", "bench.children", who, dtype, str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def cold_prediction(setting: Setting) -> float:
    """Seconds of `pegbox predict` with one row, from start to end, the weights being there: the median of three.

    One more goes first, untimed, since a fresh environment also compiles its modules then.
    """
    import pegbox

    rows = texts.short_rows(setting.backbone, 64)
    tuned = pegbox.tune(rows, method="zero-shot", model=setting.backbone, prompt=steps.WRITTEN)
    with tempfile.TemporaryDirectory() as place:
        folder, table = Path(place) / "prompt", Path(place) / "row.csv"
        tuned.save(folder)
        table.write_text("text\nWhat a lovely day it has been.\n", encoding="utf-8")
        command = [sys.executable, "-m", "pegbox.cli", "predict", str(folder), str(table)]
        return statistics.median([_seconds(command) for _ in range(4)][1:])


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Trains as one of the two and prints the peak."""
    import torch

    who, dtype, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    setting = Setting(dtype, 1)
    rows = texts.long_rows(setting.backbone, BATCH)
    run = _theirs(setting, rows) if who == "peft" else steps.stepper(setting, rows, "first" if who == "first" else "after")
    for turn in range(STEPS):
        run(turn)
    print(_peak())


def _peak() -> float:
    """Peak memory of this process in megabytes; `getrusage` would count that of the one that started it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _theirs(setting: Setting, rows: Rows) -> Callable[[int], None]:
    """PEFT's step; pegbox's own model was only needed for the texts."""
    from bench import peers

    batch = peers.padded(setting, rows)
    setting.__dict__.pop("backbone")
    return peers.stepper(setting, batch, peers.configurations()[names.PROMPT_TUNING])


if __name__ == "__main__":
    main()
