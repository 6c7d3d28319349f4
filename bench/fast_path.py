"""What the fast path costs in accuracy: kept keys and values, fused layers, the machine's number type; against plain float32.

    bench/.venv/bin/python -m bench.fast_path [--samples questions,tweets] [--seeds 3] [--steps 200] [--rate 0.08]

The same method (vectors after the text, where keeping pays), rows, seeds, batches and steps; 1,000 training rows of which 200
choose, 1,000 test rows. Prints both accuracies for each seed, and their mean difference with its 95 % interval over rows and
seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.soft_vs_peft import UNLIMITED
from pegbox.api import task_and_prompt
from pegbox.backbone.fused import VARIABLE
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.weights import load
from pegbox.data import dev_split, split
from pegbox.data.samples import load_sample
from pegbox.metrics.intervals import interval, resampled_accuracy
from pegbox.metrics.runs import Runs
from pegbox.recipe.run import Job, run
from pegbox.tune.trail import Trail

ROWS = 1000


def right(backbone: HuggingFaceBackbone, sample: str, seed: int, method: str, settings: dict[str, Any]) -> np.ndarray:
    """Which test rows one run answers rightly. Shape: [N]."""
    rest, chosen = split(load_sample(sample), ROWS, 0)
    test = split(rest, ROWS, 0)[1]
    train, dev = dev_split(chosen, seed)
    task, prompt = task_and_prompt(train, None, None, "batch", False)
    outcome = run(Job(method, prompt, task, UNLIMITED, seed, settings), backbone, train, dev, Trail(None))
    found: np.ndarray = outcome.predictor.predict_proba(test).argmax(1) == task.gold(test)
    return found


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--samples", default="questions,tweets")
    ask.add_argument("--seeds", type=int, default=3)
    ask.add_argument("--steps", type=int, default=200)
    ask.add_argument("--rate", type=float, default=0.08, help="the one learning rate of both paths")
    ask.add_argument("--method", default="soft-after")
    ask.add_argument("--dtype", default="bfloat16", help="the fast path's number type")
    ask.add_argument("--out", type=Path, default=Path("bench/fast_path.json"))
    given = ask.parse_args()
    fast = HuggingFaceBackbone(load("smollm2", given.dtype))
    os.environ[VARIABLE] = "0"  # heeded when a model is loaded
    backbones = {"fast": fast, "plain": HuggingFaceBackbone(load("smollm2", "float32"), cache_bytes=0)}
    results, seeds = [], tuple(range(given.seeds))
    settings = {"schedule.steps": given.steps, "schedule.learning_rates": (given.rate,)}
    for sample in given.samples.split(","):
        rows: dict[str, list[np.ndarray]] = {name: [] for name in backbones}
        for seed in seeds:
            for name, backbone in backbones.items():
                began = time.monotonic()
                rows[name].append(right(backbone, sample, seed, given.method, settings))
                took = f"{time.monotonic() - began:.0f} s"
                print(f"{sample}, seed {seed}, {name}: {rows[name][-1].mean():.3f}, {took}", flush=True)
        found = {name: Runs(np.stack(lines), seeds) for name, lines in rows.items()}
        samples = resampled_accuracy(list(found.values()), 10_000)
        gap = interval(found["fast"].score - found["plain"].score, samples[:, 0] - samples[:, 1])
        each = {name: [float(line.mean()) for line in runs.correct] for name, runs in found.items()}
        results.append({"sample": sample, **each, "difference": gap.value, "low": gap.low, "high": gap.high})
        print(json.dumps(results[-1]), flush=True)
        given.out.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
