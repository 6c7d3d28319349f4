"""The hard methods against the written prompt, on the three samples.

    .venv/bin/python bench/search_samples.py [--budget 60s] [--seeds 1] [--samples questions,sms] [--methods search,tokens]

For each sample 1,000 rows are test rows and 1,000 others are training rows, of which 200 choose; batch calibration, fitted on
training rows, is on for every prompt. The table shows test accuracy and loss, and the exact p value of McNemar's test against
the written prompt on the same rows. `--spare` takes all rows from what is left over beside these, for trying out settings.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.weights import load
from pegbox.data import dev_split
from pegbox.data.rows import Rows
from pegbox.data.samples import load_sample, sample
from pegbox.prompt import Prompt, notation
from pegbox.recipe.run import default_prompt
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget
from pegbox.tune.search import Search
from pegbox.tune.trail import Trail

ROWS = 1000


def tuners() -> dict[str, object]:
    """The hard methods at their defaults."""
    from pegbox.tune.tokens import Tokens

    return {"search": Search(), "tokens": Tokens()}


def parts(name: str, seed: int, spare: bool) -> tuple[Rows, Rows, Rows]:
    """Rows to learn from, to choose on, and to test on."""
    rows = load_sample(name)
    order = np.random.default_rng(20).permutation(len(rows))
    test, train = (order[:ROWS], order[ROWS : 2 * ROWS]) if not spare else np.array_split(order[2 * ROWS :][: 2 * ROWS], 2)
    learn, dev = dev_split(rows.take(train), seed)
    return learn, dev, rows.take(test)


def scored(prompt: Prompt, task: Classification, backbone: HuggingFaceBackbone, train: Rows, test: Rows) -> NDArray[np.float32]:
    """Probabilities on the test rows."""
    return task.predict_proba(prompt, backbone, test, task.calibrate(prompt, backbone, train))


def figures(found: NDArray[np.float32], gold: NDArray[np.int64], before: NDArray[np.bool_]) -> str:
    """Accuracy, log loss, and McNemar's p value against the rows that were right before."""
    hits = found.argmax(axis=1) == gold
    won, lost = int((hits & ~before).sum()), int((before & ~hits).sum())
    p = binomtest(won, won + lost).pvalue if won + lost else 1.0
    loss = -np.log(np.maximum(found[np.arange(len(gold)), gold], 1e-9)).mean()
    return f"{hits.mean():8.3f} {loss:6.3f}   +{won:<4d} -{lost:<4d} p {p:.2g}"


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--budget", default="60s")
    ask.add_argument("--seeds", type=int, default=1)
    ask.add_argument("--first-seed", type=int, default=0)
    ask.add_argument("--samples", default="questions,sms,tweets")
    ask.add_argument("--methods", default="search,tokens")
    ask.add_argument("--spare", action="store_true")
    ask.add_argument("--verbose", action="store_true")
    given = ask.parse_args()
    backbone = HuggingFaceBackbone(load("smollm2"))
    print(f"{'sample':10} {'method':10} {'seed':4} {'accuracy':>8} {'loss':>6}   won  lost", flush=True)
    for name in given.samples.split(","):
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            train, dev, test = parts(name, seed, given.spare)
            task = Classification.of(train)
            task = replace(task, words={label: (word,) for label, word in sample(name).words.items()})
            prompt = default_prompt(task, sample(name).instruction)
            gold = task.gold(test)
            written = scored(prompt, task, backbone, train, test)
            before = written.argmax(axis=1) == gold
            print(f"{name:10} {'zero-shot':10} {seed:<4d} {figures(written, gold, before)}", flush=True)
            for method in given.methods.split(","):
                backbone.forget()
                trail, began, spent = Trail(), time.monotonic(), backbone.spent.forward + backbone.spent.backward
                rng = np.random.default_rng([seed, 7])
                tuner = tuners()[method]
                found = tuner.tune(prompt, task, backbone, train, dev, budget=Budget.parse(given.budget), rng=rng, trail=trail)
                took, spent = time.monotonic() - began, backbone.spent.forward + backbone.spent.backward - spent
                line = figures(scored(found, task, backbone, train, test), gold, before)
                print(f"{name:10} {method:10} {seed:<4d} {line}   {took:.0f} s, {spent:,} tokens", flush=True)
                if given.verbose:
                    for event in trail.events:
                        if event["event"] in ("candidate", "note", "plan", "refused"):
                            print("   ", {k: round(v, 3) if isinstance(v, float) else v for k, v in event.items()})
                print(f"    {notation.format(found)}", flush=True)


if __name__ == "__main__":
    main()
