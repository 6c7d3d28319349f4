"""What the fast path costs in accuracy: kept keys and values, fused layers, the machine's number type; against plain float32.

    bench/.venv/bin/python -m bench.fast_path [--samples questions,tweets] [--seeds 3] [--steps 200] [--method deep-after]
        [--rate 0.04] [--test-rows 1000] [--parts both,scoring]

The same method (one after the text, where keeping pays), rows, seeds, batches and steps; 1,000 training rows of which 200
choose. Prints the accuracies for each seed, and their mean difference with its 95 % interval over rows and seeds; and the same
for the vectors that the fast path found, scored plainly: what scoring costs by itself, without the chance that two runs of a
descent end apart.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.soft_vs_peft import UNLIMITED
from pegbox.api import task_and_prompt
from pegbox.backbone.fused import VARIABLE
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.weights import load
from pegbox.data import dev_split, split
from pegbox.data.rows import Rows
from pegbox.data.samples import load_sample
from pegbox.metrics.intervals import interval, resampled_accuracy
from pegbox.metrics.runs import Runs
from pegbox.prompt import Prompt
from pegbox.recipe.run import Job, run
from pegbox.task.classification import Classification
from pegbox.tune.trail import Trail

ROWS = 1000


@dataclass(frozen=True)
class Question:
    """The rows of one sample and seed, and the task that they are."""

    train: Rows
    dev: Rows
    test: Rows
    task: Classification
    prompt: Prompt

    @classmethod
    def of(cls, sample: str, seed: int, tested: int) -> Question:
        rest, chosen = split(load_sample(sample), ROWS, 0)
        train, dev = dev_split(chosen, seed)
        return cls(train, dev, split(rest, tested, 0)[1], *task_and_prompt(train, None, None, "batch", False))

    def tuned(self, backbone: HuggingFaceBackbone, seed: int, method: str, settings: dict[str, Any]) -> Prompt:
        """The prompt that a method finds on a backbone."""
        job = Job(method, self.prompt, self.task, UNLIMITED, seed, settings)
        found: Prompt = run(job, backbone, self.train, self.dev, Trail(None)).predictor.prompt
        return found

    def right(self, prompt: Prompt, backbone: HuggingFaceBackbone) -> np.ndarray:
        """Which test rows a prompt answers rightly on a backbone. Shape: [N]."""
        found: np.ndarray = self.task.predictor(prompt, backbone, self.train).predict_proba(self.test).argmax(1)
        return found == self.task.gold(self.test)


def both(
    asked: Question,
    backbones: dict[str, HuggingFaceBackbone],
    seed: int,
    method: str,
    settings: dict[str, Any],
    ways: Sequence[str],
) -> dict[str, np.ndarray]:
    """Which test rows are answered rightly in each of the ways."""
    found: dict[str, np.ndarray] = {}
    prompts: dict[str, Prompt] = {}
    for name in ways:
        began, backbone = time.monotonic(), backbones["fast" if name == "fast" else "plain"]
        prompts[name] = asked.tuned(backbone, seed, method, settings) if name in backbones else prompts["fast"]
        found[name] = asked.right(prompts[name], backbone)
        print(f"    {name}: {found[name].mean():.3f}, {time.monotonic() - began:.0f} s", flush=True)
    return found


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--samples", default="questions,tweets")
    ask.add_argument("--seeds", type=int, default=3)
    ask.add_argument("--steps", type=int, default=200)
    ask.add_argument("--rate", type=float, default=0.04, help="the one learning rate of both paths")
    ask.add_argument("--method", default="deep-after")
    ask.add_argument("--test-rows", type=int, default=ROWS)
    ask.add_argument("--dtype", default="bfloat16", help="the fast path's number type")
    ask.add_argument("--parts", default="both,scoring", help="tune on both paths; score the fast one's prompt on the plain one")
    ask.add_argument("--out", type=Path, default=Path("bench/fast_path.json"))
    given = ask.parse_args()
    fast = HuggingFaceBackbone(load("smollm2", given.dtype))
    os.environ[VARIABLE] = "0"  # heeded when a model is loaded
    backbones = {"fast": fast, "plain": HuggingFaceBackbone(load("smollm2", "float32"), cache_bytes=0)}
    results, seeds = [], tuple(range(given.seeds))
    parts = given.parts.split(",")
    ways = ["fast", *(["plain"] if "both" in parts else []), *(["fast, scored plainly"] if "scoring" in parts else [])]
    settings = {"schedule.steps": given.steps, "schedule.learning_rates": (given.rate,)}
    for sample in given.samples.split(","):
        lines = []
        for seed in seeds:
            print(f"{sample}, seed {seed}", flush=True)
            asked = Question.of(sample, seed, given.test_rows)
            lines.append(both(asked, backbones, seed, given.method, settings, ways))
        runs = {name: Runs(np.stack([line[name] for line in lines]), seeds) for name in lines[0]}
        samples = resampled_accuracy(list(runs.values()), 10_000)
        each = {name: [float(line.mean()) for line in some.correct] for name, some in runs.items()}
        gaps = {}
        for at, name in enumerate(list(runs)[1:], 1):
            gap = interval(runs["fast"].score - runs[name].score, samples[:, 0] - samples[:, at])
            gaps[f"fast minus {name}"] = [gap.value, gap.low, gap.high]
        results.append({"sample": sample, **each, **gaps})
        print(json.dumps(results[-1]), flush=True)
        given.out.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
