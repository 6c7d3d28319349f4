"""How long pegbox tunes until its prompt is as accurate on the dev rows as PEFT's prompt tuning is after 200 steps.

    bench/.venv/bin/python -m bench.time_to_accuracy [--steps 200] [--batch 16] [--methods deep-after,soft] [--dtype bfloat16]

Question types, rows, layout and starts as in `bench/soft_vs_peft.py`: 800 rows to learn from, 200 to choose on. PEFT runs in
the number type asked for, pegbox in the one that it would choose on this machine; both with the learning rate that their sweeps
there chose. The clocks count training steps (and, on pegbox's side, all that is read for them), not the looks at the dev rows,
which both could space as they like; pegbox's are every few steps, so the time is known to within these. Both look at all dev
rows. PEFT's accuracy is that of its best look (of three) by dev loss.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.soft_vs_peft import UNLIMITED, parts, theirs
from pegbox.api import open_backbone, task_and_prompt
from pegbox.recipe.run import Job, run
from pegbox.tune.trail import Event, Trail

PEFT_RATE = 1e-2
RATES = {"soft": 0.16, "soft-after": 1.0, "deep-after": 0.04}


def ours(backbone: Any, method: str, seed: int, steps: int, looks: int) -> list[tuple[float, int, float]]:
    """Seconds of training, steps and dev accuracy at every look of one run."""
    train, dev, _ = parts(seed, None)
    task, prompt = task_and_prompt(train, None, None, "batch", False)
    settings = {
        "schedule.learning_rates": (RATES[method],),
        "schedule.steps": steps,
        "schedule.evaluations": looks,
        "schedule.dev_rows": len(dev),
        "schedule.patience": looks,
    }
    trail = Trail(None)
    run(Job(method, prompt, task, UNLIMITED, seed, settings), backbone, train, dev, trail)
    return clocked(trail.events)


def clocked(events: Sequence[Event]) -> list[tuple[float, int, float]]:
    """From a trail the seconds up to each look, less those that looks took; with the steps done and the accuracy seen."""
    found, clock, before = [], 0.0, 0.0
    for event in events:
        if event["event"] == "dev":
            found.append((clock, int(event["step"]), float(event["accuracy"])))
        else:
            clock += event["seconds"] - before
        before = event["seconds"]
    return found


def first(looks: Sequence[tuple[float, int, float]], accuracy: float) -> tuple[float, int, float] | None:
    """The first look at which the accuracy is reached."""
    return next((look for look in looks if look[2] >= accuracy), None)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--steps", type=int, default=200, help="PEFT's; pegbox's plan is as long")
    ask.add_argument("--batch", type=int, default=16, help="PEFT's rows a step; pegbox's is its default")
    ask.add_argument("--methods", default="deep-after,soft")
    ask.add_argument("--seeds", type=int, default=1)
    ask.add_argument("--dtype", default="bfloat16", help="PEFT's number type")
    ask.add_argument("--looks", type=int, default=25)
    ask.add_argument("--out", type=Path, default=Path("bench/time_to_accuracy.json"))
    given = ask.parse_args()
    own, peers = open_backbone("smollm2"), open_backbone("smollm2", given.dtype)
    results = []
    for seed in range(given.seeds):
        peft = theirs(seed, given.steps, given.batch, PEFT_RATE, peers, None, False)
        for method in given.methods.split(","):
            looks = ours(own, method, seed, given.steps, given.looks)
            reached = first(looks, peft["dev_accuracy"])
            faster = None if reached is None else peft["seconds"] / reached[0]
            results.append(
                {"seed": seed, "peft": peft, "method": method, "dtype": own.dtype, "reached": reached, "faster": faster}
            )
            results[-1]["looks"] = looks
            print(json.dumps({key: value for key, value in results[-1].items() if key != "looks"}), flush=True)
            given.out.write_text(json.dumps(results, indent=1), encoding="utf-8")
    known = [one["faster"] for one in results if one["faster"] is not None]
    print(f"median {np.median(known):.1f} times" if known else "never reached")


if __name__ == "__main__":
    main()
